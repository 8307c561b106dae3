//! Storage commitment (PS3.4 annex J): which of the named instances are kept.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::client::{Call, Client};
use super::command::{Command, Operation};
use super::failure::Failure;
use crate::inbox::Kept;

/// The action that asks for commitment.
pub(super) const REQUEST: u16 = 1;
/// The event that all instances are kept, and the one that some are not.
const SUCCESSFUL: u16 = 1;
const FAILURES_EXIST: u16 = 2;
/// The well-known instance of the service.
const INSTANCE: &str = uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE;
/// Failure reasons (PS3.3 C.14.1.1).
const NO_SUCH_INSTANCE: u16 = 0x0112;
const CLASS_CONFLICT: u16 = 0x0119;

/// A reference to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    class: String,
    instance: String,
}

/// What is kept of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    transaction: String,
    kept: Vec<Reference>,
    failed: Vec<(Reference, u16)>,
}

impl Report {
    /// Answers a request.
    ///
    /// # Errors
    ///
    /// Says what the request lacks.
    pub(super) fn of(data: &[u8], syntax: &str, kept: &Kept) -> Result<Self, &'static str> {
        let request = operators::dicom::data_set(data, syntax).map_err(|_| "the request cannot be parsed")?;
        let text = |object: &InMemDicomObject, tag: Tag| {
            let text = object.get(tag)?.value().to_str().ok()?;
            Some(text.trim_matches(['\0', ' ']).to_owned()).filter(|text| !text.is_empty())
        };
        let transaction = text(&request, tags::TRANSACTION_UID).ok_or("the request has no Transaction UID")?;
        let items = request.get(tags::REFERENCED_SOP_SEQUENCE).and_then(|element| element.value().items());
        let mut report = Self { transaction, kept: Vec::new(), failed: Vec::new() };
        let index = kept.index();
        for item in items.ok_or("the request names no instance")? {
            let class = text(item, tags::REFERENCED_SOP_CLASS_UID).ok_or("an instance has no class")?;
            let instance = text(item, tags::REFERENCED_SOP_INSTANCE_UID).ok_or("an instance has no UID")?;
            match index.is_of_class(&instance, &class) {
                Some(true) => report.kept.push(Reference { class, instance }),
                Some(false) => report.failed.push((Reference { class, instance }, CLASS_CONFLICT)),
                None => report.failed.push((Reference { class, instance }, NO_SUCH_INSTANCE)),
            }
        }
        Ok(report)
    }

    /// The command of the report.
    pub(super) fn command(&self) -> Command {
        let kind = if self.failed.is_empty() { SUCCESSFUL } else { FAILURES_EXIST };
        let request = Command::request(Operation::EventReport, 1, uids::STORAGE_COMMITMENT_PUSH_MODEL, INSTANCE);
        Command { has_data: true, kind: Some(kind), ..request }
    }

    /// The data set of the report.
    ///
    /// # Errors
    ///
    /// Says that it has no form.
    pub(super) fn write(&self, syntax: &str) -> Result<Vec<u8>, &'static str> {
        let syntax = TransferSyntaxRegistry.get(syntax).ok_or("the transfer syntax is not known")?;
        let uid = |tag: Tag, uid: &str| DataElement::new(tag, VR::UI, PrimitiveValue::from(uid));
        let item = |Reference { class, instance }: &Reference, reason: Option<u16>| {
            let mut item = InMemDicomObject::new_empty();
            item.put(uid(tags::REFERENCED_SOP_CLASS_UID, class));
            item.put(uid(tags::REFERENCED_SOP_INSTANCE_UID, instance));
            if let Some(reason) = reason {
                item.put(DataElement::new(tags::FAILURE_REASON, VR::US, PrimitiveValue::from(reason)));
            }
            item
        };
        let mut data = InMemDicomObject::new_empty();
        data.put(uid(tags::TRANSACTION_UID, &self.transaction));
        let mut sequence = |tag: Tag, items: Vec<InMemDicomObject>| {
            if !items.is_empty() {
                data.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
            }
        };
        sequence(tags::REFERENCED_SOP_SEQUENCE, self.kept.iter().map(|kept| item(kept, None)).collect());
        sequence(
            tags::FAILED_SOP_SEQUENCE,
            self.failed.iter().map(|(failed, reason)| item(failed, Some(*reason))).collect(),
        );
        let mut bytes = Vec::new();
        data.write_dataset_with_ts(&mut bytes, syntax).map_err(|_| "the report has no form")?;
        Ok(bytes)
    }
}

/// Sends a report over an association of its own, in which this side provides the service.
pub(super) async fn report_to(call: Result<Call, Failure>, report: Report) {
    let send = async {
        let mut client = Client::commitment(&call?).await?;
        let syntax = client.syntax(uids::STORAGE_COMMITMENT_PUSH_MODEL)?;
        let data = report.write(&syntax).map_err(Failure::nonsense)?;
        client.send(report.command(), &data).await?;
        client.release().await
    };
    // Whoever asked asks again if it hears nothing; the instances are kept all the same.
    if let Err(error) = send.await {
        tracing::warn!("a report of storage commitment did not reach its peer: {error}");
    }
}

//! What a sender says over an association, as protocol data units.

use dicom_ul::pdu::{self, PDataValue, PDataValueType};
use hemoflow::dimse::{Command, Operation};

use super::slices::{CT, EXPLICIT, Sent};

/// A request for an association: CT slices and storage commitment.
pub(crate) fn request(calling: &str, called: &str) -> pdu::AssociationRQ {
    let context = |id, class: &str| pdu::PresentationContextProposed {
        id,
        abstract_syntax: class.to_owned(),
        transfer_syntaxes: vec![EXPLICIT.to_owned()],
    };
    pdu::AssociationRQ {
        protocol_version: 1,
        calling_ae_title: calling.to_owned(),
        called_ae_title: called.to_owned(),
        application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
        presentation_contexts: vec![context(1, CT), context(3, "1.2.840.10008.1.20.1")],
        user_variables: vec![pdu::UserVariableItem::MaxLength(16_384)],
    }
}

/// A store request, as presentation data values of these sizes, which are repeated.
pub(crate) fn values(slice: &Sent, sizes: &[usize]) -> Vec<PDataValue> {
    let command = Command { has_data: true, ..Command::request(Operation::Store, 1, &slice.class, &slice.instance) };
    let command = command.write().expect("a form");
    let mut sizes = sizes.iter().copied().cycle();
    let mut values = Vec::new();
    for (value_type, bytes) in [(PDataValueType::Command, command.as_slice()), (PDataValueType::Data, &slice.data)] {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(sizes.next().expect("endless").clamp(1, rest.len()));
            let value_type = value_type.clone();
            rest = behind;
            let is_last = rest.is_empty();
            values.push(PDataValue { presentation_context_id: 1, value_type, is_last, data: part.to_vec() });
        }
    }
    values
}

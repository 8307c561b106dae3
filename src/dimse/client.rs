//! A small client: verification, storage, and the reports of storage commitment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResultReason, RequestorRoles, UserVariableItem,
};

use super::command::{Command, Operation};
use super::failure::Failure;
use super::negotiate::{APPLICATION_CONTEXT, user_variables};
use super::pdu::{Next, Units};
use super::stream::{Prompt, Stream};
use crate::config::{Dicom, Peer};
use crate::reach::{Unreached, reach};
use crate::tls::Caller;

/// Bytes of a P-DATA-TF that are read at most.
const MAX_PDU: u32 = 131_072;

/// Whom to call, and how.
#[derive(Clone)]
pub struct Call {
    /// Where the other side listens.
    pub address: SocketAddr,
    /// The title that this side calls itself.
    pub calling: String,
    /// The title that the other side is called.
    pub called: String,
    /// How the call is encrypted, if it is.
    pub tls: Option<Caller>,
    /// How long the other side may be silent.
    pub patience: Duration,
}

impl Call {
    /// How a node calls one of its peers, if that says where it listens. Its files of TLS are read.
    #[must_use]
    pub fn to_peer(dicom: &Dicom, peer: &Peer, patience: Duration) -> Option<Result<Self, Failure>> {
        let address = peer.address?;
        let tls = peer.tls.as_ref().map(|tls| Caller::to_peer(tls, dicom.tls.as_ref(), address.ip())).transpose();
        let call = |tls| Self {
            address,
            calling: dicom.ae_title.to_string(),
            called: peer.ae_title.to_string(),
            tls,
            patience,
        };
        Some(tls.map(call).map_err(|error| Unreached::Tls(format!("{error:#}")).into()))
    }
}

/// A context to ask for: SOP Class, transfer syntaxes.
type Wish = (String, Vec<String>);

fn verification() -> Wish {
    (uids::VERIFICATION.to_owned(), vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()])
}

/// An association that was asked for.
pub struct Client {
    units: Units<Box<dyn Stream>>,
    /// Context and transfer syntax of each class.
    agreed: BTreeMap<(String, String), u8>,
    /// What the other side says of the classes that it does not take.
    refused: BTreeMap<String, PresentationContextResultReason>,
    max_pdu: u32,
    message: u16,
}

impl Client {
    /// Asks the node at `address` for an association: for verification, and for storage of these SOP classes in these
    /// transfer syntaxes.
    ///
    /// # Errors
    ///
    /// Returns an error that says why there is none.
    pub async fn associate(
        address: SocketAddr,
        calling: &str,
        called: &str,
        stored: &[(String, String)],
        patience: Duration,
    ) -> Result<Self, Failure> {
        let call = Call { address, calling: calling.to_owned(), called: called.to_owned(), tls: None, patience };
        let stored = stored.iter().map(|(class, syntax)| (class.clone(), vec![syntax.clone()]));
        Self::ask(&call, std::iter::once(verification()).chain(stored).collect(), None).await
    }

    /// Asks for an association for verification alone, does a C-ECHO over it, and releases it.
    ///
    /// # Errors
    ///
    /// Says what is in the way.
    pub async fn verify(call: &Call) -> Result<(), Failure> {
        let mut client = Self::ask(call, vec![verification()], None).await?;
        let echoed = client.echo().await;
        // What was to be seen was seen.
        client.release().await.ok();
        echoed
    }

    /// Asks for an association in which this side provides storage commitment.
    pub(super) async fn commitment(call: &Call) -> Result<Self, Failure> {
        let class = uids::STORAGE_COMMITMENT_PUSH_MODEL.to_owned();
        let syntaxes = vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(), uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()];
        let role =
            UserVariableItem::ScuScpRoleSelectionSubItem(class.clone(), RequestorRoles { scu: false, scp: true });
        Self::ask(call, vec![(class, syntaxes)], Some(role)).await
    }

    async fn ask(call: &Call, wishes: Vec<Wish>, role: Option<UserVariableItem>) -> Result<Self, Failure> {
        let mut units = Units::new(connect(call).await?, MAX_PDU, call.patience);
        let proposed = wishes.into_iter().zip((1_u8..=255).step_by(2)).map(|((class, syntaxes), id)| {
            PresentationContextProposed { id, abstract_syntax: class, transfer_syntaxes: syntaxes }
        });
        let proposed: Vec<PresentationContextProposed> = proposed.collect();
        let mut variables = user_variables(MAX_PDU);
        variables.extend(role);
        let request = AssociationRQ {
            protocol_version: 1,
            calling_ae_title: call.calling.clone(),
            called_ae_title: call.called.clone(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: proposed.clone(),
            user_variables: variables,
        };
        units.send(&Pdu::AssociationRQ(request)).await?;
        let answer = match units.next().await? {
            Next::Unit(unit) => match *unit {
                Pdu::AssociationAC(answer) => answer,
                Pdu::AssociationRJ(rejected) => return Err(Failure::Rejected(rejected)),
                Pdu::AbortRQ { source } => return Err(Failure::Aborted(source)),
                _ => return Err(Failure::nonsense("a unit that answers no association request")),
            },
            Next::Value(_) => return Err(Failure::nonsense("data before an answer to an association request")),
            Next::Closed => return Err(Failure::Closed),
        };
        let (mut agreed, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for result in answer.presentation_contexts {
            let Some(asked) = proposed.iter().find(|proposed| proposed.id == result.id) else { continue };
            let class = asked.abstract_syntax.clone();
            if result.reason == PresentationContextResultReason::Acceptance {
                let syntax = result.transfer_syntax.trim_end_matches(['\0', ' ']).to_owned();
                agreed.insert((class, syntax), result.id);
            } else {
                refused.insert(class, result.reason);
            }
        }
        let max_pdu = answer.user_variables.iter().find_map(|item| match item {
            UserVariableItem::MaxLength(length) => Some(*length).filter(|length| *length > 0),
            _ => None,
        });
        Ok(Self { units, agreed, refused, max_pdu: max_pdu.unwrap_or(MAX_PDU).min(MAX_PDU), message: 0 })
    }

    fn not_agreed(&self, class: &str) -> Failure {
        Failure::NotAgreed { class: class.to_owned(), reason: self.refused.get(class).cloned() }
    }

    /// The transfer syntax that was agreed for a class.
    ///
    /// # Errors
    ///
    /// Returns an error that names the class if there is none.
    pub fn syntax(&self, class: &str) -> Result<String, Failure> {
        let found = self.agreed.keys().find(|(agreed, _)| agreed == class);
        found.map(|(_, syntax)| syntax.clone()).ok_or_else(|| self.not_agreed(class))
    }

    /// C-ECHO.
    ///
    /// # Errors
    ///
    /// Returns an error that says what failed, or the status if it is not success.
    pub async fn echo(&mut self) -> Result<(), Failure> {
        self.send(Command::request(Operation::Echo, 0, uids::VERIFICATION, ""), &[]).await
    }

    /// C-STORE of a data set in an agreed transfer syntax. Gives the status.
    ///
    /// # Errors
    ///
    /// Returns an error that says what failed.
    pub async fn store(&mut self, class: &str, syntax: &str, instance: &str, data: &[u8]) -> Result<u16, Failure> {
        let request = Command { has_data: true, ..Command::request(Operation::Store, 0, class, instance) };
        self.exchange((class, Some(syntax)), request, data).await
    }

    /// Sends a request that must succeed.
    pub(super) async fn send(&mut self, request: Command, data: &[u8]) -> Result<(), Failure> {
        let class = request.class.clone();
        match self.exchange((&class, None), request, data).await? {
            0 => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }

    async fn exchange(
        &mut self,
        (class, syntax): (&str, Option<&str>),
        mut request: Command,
        data: &[u8],
    ) -> Result<u16, Failure> {
        let mut agreed = self.agreed.iter();
        let context = agreed.find(|((a, s), _)| a == class && syntax.is_none_or(|syntax| s == syntax));
        let context = *context.ok_or_else(|| self.not_agreed(class))?.1;
        self.message = self.message.wrapping_add(1);
        request.message = self.message;
        let command = request.write().map_err(Failure::nonsense)?;
        if request.has_data {
            self.units.send_message(context, command, data, self.max_pdu).await?;
        } else {
            self.units.send_command(context, command).await?;
        }
        let mut bytes = Vec::new();
        loop {
            match self.units.next().await? {
                Next::Value(head) if head.is_command => {
                    self.units.take(&mut bytes, head.bytes).await?;
                    if head.is_last {
                        let response = Command::read(&bytes).map_err(Failure::nonsense)?;
                        return response.status.ok_or_else(|| Failure::nonsense("a response without a status"));
                    }
                }
                Next::Value(head) => self.units.skip(head.bytes).await?,
                Next::Unit(unit) => {
                    return Err(match *unit {
                        Pdu::AbortRQ { source } => Failure::Aborted(source),
                        _ => Failure::nonsense("a unit that is no response"),
                    });
                }
                Next::Closed => return Err(Failure::Closed),
            }
        }
    }

    /// Ends the association.
    ///
    /// # Errors
    ///
    /// Returns an error if the other side does not answer.
    pub async fn release(mut self) -> Result<(), Failure> {
        self.units.send(&Pdu::ReleaseRQ).await?;
        match self.units.next().await? {
            Next::Unit(unit) if *unit == Pdu::ReleaseRP => Ok(()),
            _ => Err(Failure::nonsense("a release is answered with something else")),
        }
    }
}

/// Connects, and encrypts if that is wanted.
async fn connect(call: &Call) -> Result<Box<dyn Stream>, Unreached> {
    let stream = Prompt::new(reach(call.address, call.patience).await?)?;
    let stream: Box<dyn Stream> = match &call.tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.connect(stream, call.patience).await?),
    };
    Ok(stream)
}

//! A small client: verification, storage, and the reports of storage commitment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResultReason, RequestorRoles, UserVariableItem,
};
use tokio::net::TcpStream;

use super::command::{Command, Operation};
use super::negotiate::{APPLICATION_CONTEXT, user_variables};
use super::pdu::{Next, Units};
use super::stream::Prompt;

/// Bytes of a P-DATA-TF that are read at most.
const MAX_PDU: u32 = 131_072;

/// A context to ask for: SOP Class, transfer syntaxes.
type Wish = (String, Vec<String>);

/// An association that was asked for.
pub struct Client {
    units: Units<Prompt>,
    /// Context and transfer syntax of each class.
    agreed: BTreeMap<(String, String), u8>,
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
    ) -> anyhow::Result<Self> {
        let verification = (uids::VERIFICATION.to_owned(), vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()]);
        let stored = stored.iter().map(|(class, syntax)| (class.clone(), vec![syntax.clone()]));
        Self::ask(address, calling, called, std::iter::once(verification).chain(stored).collect(), None, patience).await
    }

    /// Asks for an association in which this side provides storage commitment.
    pub(super) async fn commitment(
        address: SocketAddr,
        calling: &str,
        called: &str,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let class = uids::STORAGE_COMMITMENT_PUSH_MODEL.to_owned();
        let syntaxes = vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(), uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()];
        let role =
            UserVariableItem::ScuScpRoleSelectionSubItem(class.clone(), RequestorRoles { scu: false, scp: true });
        Self::ask(address, calling, called, vec![(class, syntaxes)], Some(role), patience).await
    }

    async fn ask(
        address: SocketAddr,
        calling: &str,
        called: &str,
        wishes: Vec<Wish>,
        role: Option<UserVariableItem>,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let connect = tokio::time::timeout(patience, TcpStream::connect(address)).await;
        let stream = connect.map_err(|_| anyhow!("no answer"))?.with_context(|| format!("cannot reach {address}"))?;
        let mut units = Units::new(Prompt::new(stream)?, MAX_PDU, patience);
        let proposed = wishes.into_iter().zip((1_u8..=255).step_by(2)).map(|((class, syntaxes), id)| {
            PresentationContextProposed { id, abstract_syntax: class, transfer_syntaxes: syntaxes }
        });
        let proposed: Vec<PresentationContextProposed> = proposed.collect();
        let mut variables = user_variables(MAX_PDU);
        variables.extend(role);
        let request = AssociationRQ {
            protocol_version: 1,
            calling_ae_title: calling.to_owned(),
            called_ae_title: called.to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: proposed.clone(),
            user_variables: variables,
        };
        units.send(&Pdu::AssociationRQ(request)).await?;
        let answer = match units.next().await? {
            Next::Unit(unit) => match *unit {
                Pdu::AssociationAC(answer) => answer,
                Pdu::AssociationRJ(rejected) => bail!("{called} refuses {calling}: {:?}", rejected.source),
                _ => bail!("{called} answers something else"),
            },
            Next::Value(_) | Next::Closed => bail!("{called} closed the connection"),
        };
        let mut agreed = BTreeMap::new();
        for result in answer.presentation_contexts {
            let accepted = result.reason == PresentationContextResultReason::Acceptance;
            let asked = proposed.iter().find(|proposed| proposed.id == result.id).filter(|_| accepted);
            agreed.extend(asked.map(|asked| {
                let syntax = result.transfer_syntax.trim_end_matches(['\0', ' ']).to_owned();
                ((asked.abstract_syntax.clone(), syntax), result.id)
            }));
        }
        let max_pdu = answer.user_variables.iter().find_map(|item| match item {
            UserVariableItem::MaxLength(length) => Some(*length).filter(|length| *length > 0),
            _ => None,
        });
        Ok(Self { units, agreed, max_pdu: max_pdu.unwrap_or(MAX_PDU).min(MAX_PDU), message: 0 })
    }

    /// The transfer syntax that was agreed for a class.
    ///
    /// # Errors
    ///
    /// Returns an error that names the class if there is none.
    pub fn syntax(&self, class: &str) -> anyhow::Result<String> {
        let found = self.agreed.keys().find(|(agreed, _)| agreed == class);
        Ok(found.with_context(|| format!("the other side does not take {class}"))?.1.clone())
    }

    /// C-ECHO.
    ///
    /// # Errors
    ///
    /// Returns an error that says what failed, or the status if it is not success.
    pub async fn echo(&mut self) -> anyhow::Result<()> {
        self.send(Command::request(Operation::Echo, 0, uids::VERIFICATION, ""), &[]).await.map(|_| ())
    }

    /// C-STORE of a data set in an agreed transfer syntax. Gives the status.
    ///
    /// # Errors
    ///
    /// Returns an error that says what failed.
    pub async fn store(&mut self, class: &str, syntax: &str, instance: &str, data: &[u8]) -> anyhow::Result<u16> {
        let request = Command { has_data: true, ..Command::request(Operation::Store, 0, class, instance) };
        self.exchange((class, Some(syntax)), request, data).await
    }

    /// Sends a request that must succeed.
    pub(super) async fn send(&mut self, request: Command, data: &[u8]) -> anyhow::Result<u16> {
        let class = request.class.clone();
        match self.exchange((&class, None), request, data).await? {
            0 => Ok(0),
            status => bail!("the other side answers with status {status:04X}"),
        }
    }

    async fn exchange(
        &mut self,
        (class, syntax): (&str, Option<&str>),
        mut request: Command,
        data: &[u8],
    ) -> anyhow::Result<u16> {
        let mut agreed = self.agreed.iter();
        let context = agreed.find(|((a, s), _)| a == class && syntax.is_none_or(|syntax| s == syntax));
        let context = *context.with_context(|| format!("the other side does not take {class}"))?.1;
        self.message = self.message.wrapping_add(1);
        request.message = self.message;
        let command = request.write().map_err(anyhow::Error::msg)?;
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
                        let response = Command::read(&bytes).map_err(anyhow::Error::msg)?;
                        return response.status.context("a response without a status");
                    }
                }
                Next::Value(head) => self.units.skip(head.bytes).await?,
                Next::Unit(unit) => bail!("the other side sends {}", unit.short_description()),
                Next::Closed => bail!("the other side closed the connection"),
            }
        }
    }

    /// Ends the association.
    ///
    /// # Errors
    ///
    /// Returns an error if the other side does not answer.
    pub async fn release(mut self) -> anyhow::Result<()> {
        self.units.send(&Pdu::ReleaseRQ).await?;
        match self.units.next().await? {
            Next::Unit(unit) if *unit == Pdu::ReleaseRP => Ok(()),
            _ => bail!("the other side answers a release with something else"),
        }
    }
}

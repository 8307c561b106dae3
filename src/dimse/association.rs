//! One association, from its request to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use dicom_dictionary_std::uids;
use dicom_object::FileMetaTableBuilder;
use dicom_ul::pdu::{AbortRQServiceProviderReason, AbortRQSource, AssociationRQ, Pdu};
use operators::dicom::IMPLEMENTATION_CLASS_UID;
use operators::event::AssociationAsked;
use operators::record::SeriesKey;
use tokio::sync::{SemaphorePermit, watch};

use super::client::Call;
use super::command::{Command, Operation};
use super::commitment::{self, Report};
use super::listener::{Seat, Shared};
use super::negotiate::{self, Accepted, Context, Rejected};
use super::pdu::{Broken, Next, Units, ValueHead};
use super::status::Status;
use super::stream::Stream;
use crate::inbox::Via;
use crate::ingest::{Door, Sender};

/// Bytes of a command set at most.
const LONGEST_COMMAND: usize = 1 << 16;
/// Bytes that a data set is expected to have, until one has come.
const FIRST_GUESS: usize = 600 << 10;

/// An association that was accepted.
pub(super) struct Association<S> {
    units: Units<S>,
    shared: Arc<Shared>,
    from: IpAddr,
    sender: Sender,
    contexts: BTreeMap<u8, Context>,
    max_pdu: u32,
    /// The series that came.
    series: BTreeSet<SeriesKey>,
    instances: usize,
    /// Bytes of the last data set: the next one is most likely as large.
    expected: usize,
    _seat: Seat,
}

/// A message whose data set is being read.
struct Incoming<'a> {
    command: Command,
    context: u8,
    data: Data<'a>,
}

/// Where a data set goes.
enum Data<'a> {
    /// Into memory. A large one has a permit.
    Kept(Vec<u8>, Option<SemaphorePermit<'a>>),
    /// Nowhere, for this reason.
    Dropped(Status),
}

impl<S: Stream> Association<S> {
    /// Serves a connection until it ends.
    pub(super) async fn serve(
        stream: S,
        from: IpAddr,
        shared: Arc<Shared>,
        mut ended: watch::Receiver<bool>,
    ) -> Result<(), Broken> {
        let mut units = Units::new(stream, shared.options.rules.max_pdu, shared.options.rules.timeout);
        let asked = tokio::select! {
            next = units.next() => next?,
            _ = ended.wait_for(|ended| *ended) => return Ok(()),
        };
        let request = match asked {
            Next::Unit(unit) => match *unit {
                Pdu::AssociationRQ(request) => request,
                _ => return abort(&mut units, "a first unit that is no association request").await,
            },
            Next::Value(_) => return abort(&mut units, "data before an association request").await,
            // Somebody looks whether the port is open.
            Next::Closed => return Ok(()),
        };
        let (accepted, seat) = match admit(&request, from, &shared) {
            Ok(admitted) => admitted,
            Err(rejected) => {
                tracing::warn!("an association was refused: {}", rejected.word());
                shared.door.telemetry().emit(AssociationAsked { outcome: rejected.word() });
                units.send(&Pdu::AssociationRJ(rejected.answer())).await?;
                units.close().await;
                return Ok(());
            }
        };
        shared.door.telemetry().emit(AssociationAsked { outcome: "accepted" });
        let Accepted { answer, contexts, caller, max_pdu } = accepted;
        units.send(&Pdu::AssociationAC(answer)).await?;
        let sender = Sender { via: Via::Dimse, name: caller };
        let door = shared.door.clone();
        let mut association = Self {
            units,
            shared,
            from,
            sender,
            contexts,
            max_pdu,
            series: BTreeSet::new(),
            instances: 0,
            expected: FIRST_GUESS,
            _seat: seat,
        };
        let ended = association.converse(&door).await;
        // However it ended: what came over it came.
        association.over(&door).await;
        match ended {
            Err(Broken::Io(error)) => Err(Broken::Io(error)),
            Err(broken) => {
                abort(&mut association.units, "").await.ok();
                Err(broken)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Writes down that nothing more comes of the series that came.
    async fn over(&mut self, door: &Door) {
        let series = std::mem::take(&mut self.series);
        if let Err(error) = door.ended(series.into_iter().collect()).await {
            tracing::warn!("the end of an association was not written down: {error}");
        }
    }

    async fn converse(&mut self, door: &Door) -> Result<(), Broken> {
        let mut command: (u8, Vec<u8>) = (0, Vec::new());
        let mut incoming: Option<Incoming<'_>> = None;
        loop {
            let head = match self.units.next().await? {
                Next::Value(head) => head,
                Next::Closed => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                Next::Unit(unit) => match *unit {
                    Pdu::ReleaseRQ => {
                        // Whoever hears of the release may count on what it means.
                        self.over(door).await;
                        self.units.send(&Pdu::ReleaseRP).await?;
                        self.units.close().await;
                        return Ok(());
                    }
                    Pdu::AbortRQ { .. } => return Err(Broken::Protocol("the sender aborted")),
                    _ => return Err(Broken::Protocol("a unit that has no place within an association")),
                },
            };
            match (&mut incoming, head.is_command) {
                (None, true) => {
                    if command.1.is_empty() {
                        command.0 = head.context;
                    } else if command.0 != head.context {
                        return Err(Broken::Protocol("a command set in two presentation contexts"));
                    }
                    let length = usize::try_from(head.bytes).unwrap_or(usize::MAX);
                    if command.1.len().saturating_add(length) > LONGEST_COMMAND {
                        return Err(Broken::Protocol("a command set that is too long"));
                    }
                    self.units.take(&mut command.1, head.bytes).await?;
                    if head.is_last {
                        let read = Command::read(&std::mem::take(&mut command.1)).map_err(Broken::Protocol)?;
                        incoming = self.commanded(head.context, read, door).await?;
                    }
                }
                (Some(message), false) => {
                    self.receive(message, head, door).await?;
                    if head.is_last
                        && let Some(message) = incoming.take()
                    {
                        self.received(message, door).await?;
                    }
                }
                (None, false) => return Err(Broken::Protocol("a data set without a command")),
                (Some(_), true) => return Err(Broken::Protocol("a command where a data set was announced")),
            }
        }
    }

    /// A command set has come: answered here unless a data set follows.
    async fn commanded<'a>(
        &mut self,
        context: u8,
        command: Command,
        door: &'a Door,
    ) -> Result<Option<Incoming<'a>>, Broken> {
        let Some(agreed) = self.contexts.get(&context) else {
            return Err(Broken::Protocol("a presentation context that was not agreed"));
        };
        if command.has_data {
            let data = match command.operation {
                Operation::Store => {
                    door.pace().await;
                    match self.head(&command, agreed) {
                        Ok(head) => Data::Kept(head, None),
                        Err(status) => Data::Dropped(status),
                    }
                }
                Operation::Action => Data::Kept(Vec::new(), None),
                Operation::Response(_) => Data::Dropped(Status::success()),
                Operation::Echo | Operation::EventReport | Operation::Other(_) => {
                    Data::Dropped(Status::failure(Status::UNRECOGNIZED_OPERATION, "this operation is not known here"))
                }
            };
            return Ok(Some(Incoming { command, context, data }));
        }
        let status = match command.operation {
            Operation::Echo => Status::success(),
            Operation::Response(_) => return Ok(None),
            Operation::Store | Operation::Action => {
                Status::failure(Status::MISTYPED_ARGUMENT, "the data set is missing")
            }
            Operation::EventReport | Operation::Other(_) => {
                Status::failure(Status::UNRECOGNIZED_OPERATION, "this operation is not known here")
            }
        };
        self.respond(context, &command, &status).await?;
        Ok(None)
    }

    /// What stands before the data set in the file: preamble and file meta information (PS3.10 section 7.1). The same
    /// instance has the same bytes, whoever sends it.
    fn head(&self, command: &Command, agreed: &Context) -> Result<Vec<u8>, Status> {
        if command.class != agreed.class || !super::classes().any(|class| class == agreed.class) {
            return Err(Status::failure(Status::CLASS_NOT_SUPPORTED, "the SOP class is not that of the context"));
        }
        if self.instances >= self.shared.door.limits().association_instances {
            return Err(Status::failure(Status::OUT_OF_RESOURCES, "too many instances over one association"));
        }
        let invalid = |_| Status::failure(Status::MISTYPED_ARGUMENT, "Affected SOP Instance UID is no UID");
        let table = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(&command.class)
            .media_storage_sop_instance_uid(&command.instance)
            .transfer_syntax(&agreed.syntax)
            .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
            .build()
            .map_err(invalid)?;
        let mut bytes = Vec::with_capacity(self.expected + 1024);
        bytes.resize(128, 0);
        bytes.extend_from_slice(b"DICM");
        table.write(&mut bytes).map_err(invalid)?;
        Ok(bytes)
    }

    /// Reads a part of a data set.
    async fn receive<'a>(&mut self, message: &mut Incoming<'a>, head: ValueHead, door: &'a Door) -> Result<(), Broken> {
        if head.context != message.context {
            return Err(Broken::Protocol("a data set in another presentation context than its command"));
        }
        if let Data::Kept(bytes, permit) = &mut message.data {
            let length = bytes.len().saturating_add(usize::try_from(head.bytes).unwrap_or(usize::MAX));
            let refused = if permit.is_some() && length <= door.limits().instance_bytes {
                None
            } else {
                match door.room(length).await {
                    Ok(room) => {
                        *permit = room;
                        None
                    }
                    Err(refused) => Some(Status::of(&refused)),
                }
            };
            if let Some(status) = refused {
                message.data = Data::Dropped(status);
            }
        }
        match &mut message.data {
            Data::Kept(bytes, _) => self.units.take(bytes, head.bytes).await,
            Data::Dropped(_) => self.units.skip(head.bytes).await,
        }
    }

    /// A message has come whole.
    async fn received(&mut self, message: Incoming<'_>, door: &Door) -> Result<(), Broken> {
        let Incoming { command, context, data } = message;
        match (command.operation, data) {
            (Operation::Response(_), _) => Ok(()),
            (_, Data::Dropped(status)) => self.respond(context, &command, &status).await,
            (Operation::Store, Data::Kept(bytes, permit)) => {
                self.expected = bytes.len();
                self.instances += 1;
                let announced = Some((command.class.as_str(), command.instance.as_str()));
                let kept = door.keep(&self.sender, bytes, announced).await;
                drop(permit);
                let status = match kept {
                    Ok(taken) => {
                        if !self.series.contains(&taken.told.key) {
                            self.series.insert(taken.told.key);
                        }
                        Status::success()
                    }
                    Err(refused) => Status::of(&refused),
                };
                self.respond(context, &command, &status).await
            }
            (_, Data::Kept(bytes, _)) => self.commit(context, &command, &bytes, door).await,
        }
    }

    /// Answers a request for storage commitment, and reports.
    async fn commit(&mut self, context: u8, command: &Command, data: &[u8], door: &Door) -> Result<(), Broken> {
        let Some(agreed) = self.contexts.get(&context).filter(|agreed| {
            agreed.class == uids::STORAGE_COMMITMENT_PUSH_MODEL && command.kind == Some(commitment::REQUEST)
        }) else {
            let status = Status::failure(Status::UNRECOGNIZED_OPERATION, "this action is not known here");
            return self.respond(context, command, &status).await;
        };
        let syntax = agreed.syntax.clone();
        let report = match Report::of(data, &syntax, door.inbox().kept()) {
            Ok(report) => report,
            Err(what) => {
                let status = Status::failure(Status::PROCESSING_FAILURE, what);
                return self.respond(context, command, &status).await;
            }
        };
        self.respond(context, command, &Status::success()).await?;
        let rules = self.shared.rules.borrow().clone();
        let patience = self.shared.options.rules.timeout;
        let peer = rules.peer(&self.sender.name, self.from);
        match peer.and_then(|peer| Call::to_peer(&rules, peer, patience)) {
            Some(call) => {
                // Whoever asked may end this association before it listens for the report.
                tokio::spawn(commitment::report_to(call, report));
                Ok(())
            }
            None => {
                let data = report.write(&syntax).map_err(Broken::Protocol)?;
                let command = report.command().write().map_err(Broken::Protocol)?;
                self.units.send_message(context, command, &data, self.max_pdu).await
            }
        }
    }

    async fn respond(&mut self, context: u8, command: &Command, status: &Status) -> Result<(), Broken> {
        let response = command.response(status).map_err(Broken::Protocol)?;
        self.units.send_command(context, response).await
    }
}

/// Judges a request, and takes a seat for it.
fn admit(request: &AssociationRQ, from: IpAddr, shared: &Arc<Shared>) -> Result<(Accepted, Seat), Rejected> {
    let accepted = negotiate::judge(&shared.rules.borrow(), request, from, shared.door.open())?;
    let seat = shared.seat(&accepted.caller).ok_or(Rejected::Busy)?;
    Ok((accepted, seat))
}

/// Ends an association that went wrong.
async fn abort<S: Stream>(units: &mut Units<S>, what: &'static str) -> Result<(), Broken> {
    let source = AbortRQSource::ServiceProvider(AbortRQServiceProviderReason::UnexpectedPdu);
    units.send(&Pdu::AbortRQ { source }).await?;
    units.close().await;
    if what.is_empty() { Ok(()) } else { Err(Broken::Protocol(what)) }
}

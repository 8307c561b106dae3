//! The door: what every listener hands instances to, and what decides whether they are kept.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use operators::dicom::identity::{self, Told};
use operators::event::{InboxFollowed, InstanceAcknowledged, InstanceTurnedAway, Telemetry};
use operators::record::{Digest, Refusal, SeriesKey};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::pressure::{self, Closed};
use super::space::free_bytes;
use crate::config::Limits;
use crate::inbox::{Identity, Inbox, InboxError, Received, Record, Via};

/// Who hands something in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The way.
    pub via: Via,
    /// The AE title, the name of the token, or the folder.
    pub name: String,
}

/// An instance that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Who it is.
    pub told: Told,
    /// The position in the inbox.
    pub position: u64,
}

/// Why an instance was not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// Nothing is taken now.
    #[error("nothing is taken now: {}", .0.word())]
    Closed(Closed),
    /// It is no instance, or has no legal identifiers.
    #[error("{}: {}", .0.reason, .0.detail)]
    Unreadable(Refusal),
    /// It is not what was announced: the attribute that differs.
    #[error("{0} is not what was announced")]
    Mismatch(&'static str),
    /// The instance is kept with other content, which is not to be replaced.
    #[error("the instance is kept with other content")]
    Resent,
    /// The study has as many instances as it may have.
    #[error("the study has too many instances")]
    TooMany,
    /// It is larger than an instance may be.
    #[error("the instance is too large")]
    TooLarge,
    /// It could not be written.
    #[error("{0}")]
    Inbox(#[from] InboxError),
}

impl Refused {
    /// The fixed word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Closed(closed) => closed.word(),
            Self::Unreadable(_) => "unreadable",
            Self::Mismatch(_) => "mismatch",
            Self::Resent => "resent",
            Self::TooMany => "too_many",
            Self::TooLarge => "too_large",
            Self::Inbox(InboxError::Full(_)) => "disk",
            Self::Inbox(_) => "inbox",
        }
    }
}

/// Bytes up to which an instance is received without asking for room.
const SMALL: usize = 4 << 20;
/// How long the room on the disk is believed to be what it was.
const BELIEVED: Duration = Duration::from_millis(250);

struct Inner {
    inbox: Inbox,
    limits: Limits,
    /// Whether other content under a known UID is taken for its replacement.
    replaces: bool,
    /// Where the room on the disk is looked at, and what there was when.
    disk: PathBuf,
    free: Mutex<Option<(Instant, usize)>>,
    /// The position that the graph is given next.
    fed: AtomicU64,
    draining: AtomicBool,
    large: Semaphore,
    telemetry: Telemetry,
}

/// The door of a node. Clones are the same door.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

impl Door {
    /// A door to `inbox`, of which the graph was given what stands before `fed`. `disk` is a folder on the disk of the inbox.
    #[must_use]
    pub fn new(inbox: Inbox, fed: u64, limits: Limits, replaces: bool, disk: &Path, telemetry: Telemetry) -> Self {
        let large = Semaphore::new((limits.receiving_bytes / limits.instance_bytes.max(1)).max(1));
        Self(Arc::new(Inner {
            inbox,
            limits,
            replaces,
            disk: disk.to_owned(),
            free: Mutex::new(None),
            fed: AtomicU64::new(fed),
            draining: AtomicBool::new(false),
            large,
            telemetry,
        }))
    }

    /// The inbox behind the door.
    #[must_use]
    pub fn inbox(&self) -> &Inbox {
        &self.0.inbox
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Who hears of what comes in.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    /// Records that wait for the graph.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waiting = self.0.inbox.next_position().saturating_sub(self.0.fed.load(Ordering::Acquire));
        usize::try_from(waiting).unwrap_or(usize::MAX)
    }

    /// The graph was given what stands before this position.
    pub fn feed(&self, position: u64) {
        self.0.fed.store(position, Ordering::Release);
    }

    /// Nothing new is taken from here on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the node is ending.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Whether something new is taken: associations, requests, files.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub fn open(&self) -> Result<(), Closed> {
        if self.is_draining() {
            return Err(Closed::Draining);
        }
        pressure::admit(&self.0.limits, self.waiting(), self.free())
    }

    /// Waits as long as a listener should before it reads the next instance.
    pub async fn pace(&self) {
        let pause = pressure::pause(&self.0.limits, self.waiting());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks for room for an instance that has become so large: nothing to ask for while it is small. Waits while other large
    /// ones are received.
    ///
    /// # Errors
    ///
    /// Refuses what is larger than an instance may be.
    pub async fn room(&self, bytes: usize) -> Result<Option<SemaphorePermit<'_>>, Refused> {
        if bytes > self.0.limits.instance_bytes {
            return Err(Refused::TooLarge);
        }
        if bytes <= SMALL {
            return Ok(None);
        }
        // It is never closed.
        Ok(self.0.large.acquire().await.ok())
    }

    /// Bytes up to which no room need be asked for.
    #[must_use]
    pub fn small(&self) -> usize {
        SMALL.min(self.0.limits.instance_bytes)
    }

    /// Keeps an instance, a DICOM file (PS3.10), and says so once the promise holds. `announced` are the SOP Class and the SOP
    /// Instance that the sender said it would be.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if it is not kept.
    pub async fn keep(
        &self,
        sender: &Sender,
        bytes: Vec<u8>,
        announced: Option<(&str, &str)>,
    ) -> Result<Taken, Refused> {
        let started = Instant::now();
        let length = bytes.len();
        let kept = self.try_keep(sender, bytes, announced).await;
        let via = sender.via.word();
        match &kept {
            Ok(_) => self.0.telemetry.emit(InstanceAcknowledged { via, bytes: length, took: started.elapsed() }),
            Err(refused) => {
                tracing::warn!("an instance was turned away: {refused}");
                self.0.telemetry.emit(InstanceTurnedAway { via, reason: refused.word() });
            }
        }
        kept
    }

    async fn try_keep(
        &self,
        sender: &Sender,
        bytes: Vec<u8>,
        announced: Option<(&str, &str)>,
    ) -> Result<Taken, Refused> {
        if bytes.len() > self.0.limits.instance_bytes {
            return Err(Refused::TooLarge);
        }
        // An association that was let in may end what it has begun, unless there is no room.
        if self.free() < self.0.limits.free_disk {
            return Err(Refused::Closed(Closed::Disk));
        }
        let told = identity::identify(&bytes).map_err(Refused::Unreadable)?;
        if let Some((class, instance)) = announced {
            if told.class != class {
                return Err(Refused::Mismatch("SOPClassUID (0008,0016)"));
            }
            if told.instance.as_str() != instance {
                return Err(Refused::Mismatch("SOPInstanceUID (0008,0018)"));
            }
        }
        let content = Digest::of(&bytes);
        self.judge(&told, &content)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Told { class, instance, key } = told.clone();
        let received = Received {
            identity: Identity { key, instance, class },
            content,
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            via: sender.via,
            sender: sender.name.clone(),
            unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        };
        let position = self.0.inbox.append(Record::Received(received), bytes).await?;
        self.0.telemetry.emit(InboxFollowed { waiting: self.waiting() });
        Ok(Taken { told, position })
    }

    /// Judges an instance by what is kept already.
    fn judge(&self, told: &Told, content: &Digest) -> Result<(), Refused> {
        let kept = self.0.inbox.kept().index();
        match kept.content(&told.instance) {
            Some(before) if before != *content && !self.0.replaces => Err(Refused::Resent),
            None if kept.instances_of(&told.key.study) >= self.0.limits.study_instances => Err(Refused::TooMany),
            _ => Ok(()),
        }
    }

    /// The association, the request or the folder ended that these series came by.
    ///
    /// # Errors
    ///
    /// Returns an error if that cannot be written down.
    pub async fn ended(&self, series: Vec<SeriesKey>) -> Result<(), InboxError> {
        if !series.is_empty() {
            self.0.inbox.append(Record::Ended(series), Vec::new()).await?;
            self.0.telemetry.emit(InboxFollowed { waiting: self.waiting() });
        }
        Ok(())
    }

    /// Bytes that are free on the disk, as of a moment ago. All there could be where the system does not say.
    fn free(&self) -> usize {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        match *free {
            Some((since, bytes)) if since.elapsed() < BELIEVED => bytes,
            _ => {
                let bytes = free_bytes(&self.0.disk).unwrap_or(usize::MAX);
                *free = Some((Instant::now(), bytes));
                bytes
            }
        }
    }
}

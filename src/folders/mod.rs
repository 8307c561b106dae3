//! Watched folders: a file that is moved or written there is taken, and moved on.
//!
//! ```text
//! FOLDER/sub/name  ->  Door  ->  DONE/sub/name, or FAILED/sub/name with FAILED/sub/name.reason
//! ```
//!
//! One thread looks at all folders, again and again: that works on every file system. A file is moved when it is kept; one
//! that was kept and not moved, because the node was killed between, is taken once more, without effect (law 4). The log
//! names no file: names of files may be names of people.

mod place;
mod seen;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use operators::dicom::identity;
use operators::event::InstanceTurnedAway;
use operators::record::SeriesKey;
use rustix::fs::{Mode, OFlags};
use tokio::runtime::Handle;

use self::place::Place;
use self::seen::{Look, Seen, Stamp};
use crate::config::Folder;
use crate::dimse;
use crate::inbox::Via;
use crate::ingest::{Door, Refused, Sender};

/// How often folders are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// How often at most, where files need stand still for a shorter time.
const SHORTEST: Duration = Duration::from_millis(50);

/// Folders that are watched. It ends when dropped.
pub struct Folders {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Folders {
    /// Watches folders, and hands what comes to `door`; `runtime` is where the door is waited for. Files that are there
    /// already are taken as well.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder that cannot be used.
    pub fn start(folders: &[Folder], door: Door, runtime: Handle) -> anyhow::Result<Self> {
        let mut watches = Vec::new();
        for folder in folders {
            let place = Place::open(folder)?;
            let sender = Sender { via: Via::Folder, name: folder.path.display().to_string() };
            watches.push(Watch {
                place,
                settle: folder.settle,
                sender,
                seen: Seen::default(),
                series: BTreeSet::new(),
            });
        }
        // No folder looks into what belongs to another.
        let others: BTreeSet<_> = watches.iter().flat_map(|watch| watch.place.folders()).cloned().collect();
        watches.iter_mut().for_each(|watch| watch.place.leave_out(&others));
        let period = folders.iter().map(|folder| folder.settle).fold(PERIOD, Duration::min).max(SHORTEST);
        let end = Arc::<AtomicBool>::default();
        let watching = {
            let end = Arc::clone(&end);
            move || {
                while !end.load(Ordering::Acquire) {
                    for watch in &mut watches {
                        watch.pass(&door, &runtime, &end);
                    }
                    std::thread::park_timeout(period);
                }
            }
        };
        let thread = std::thread::Builder::new().name("folders".to_owned()).spawn(watching);
        Ok(Self { end, thread: Some(thread.context("the watched folders have no thread")?) })
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the watch of folders panicked");
            }
        }
    }
}

/// A folder that is watched.
struct Watch {
    place: Place,
    /// How long a file must stand still.
    settle: Duration,
    sender: Sender,
    seen: Seen,
    /// The series that came since the folder was empty.
    series: BTreeSet<SeriesKey>,
}

/// What becomes of a file.
enum Fate {
    /// It is kept, an instance of this series.
    Kept(SeriesKey),
    /// It is not kept and never will be, for this reason.
    Refused(String),
    /// It is still being written.
    Moving,
    /// Nothing is taken now.
    Waits,
    /// Something was wrong with it, which was told.
    Left,
}

impl Watch {
    /// Takes what has come to rest.
    fn pass(&mut self, door: &Door, runtime: &Handle, end: &AtomicBool) {
        let found = match self.place.files() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("the watched folder {} cannot be read: {}", self.sender.name, error.kind());
                return;
            }
        };
        self.seen.forget_all_but(&found);
        let mut emptied = true;
        for path in &found {
            if end.load(Ordering::Acquire) {
                return;
            }
            let moved = match self.take(path, door, runtime) {
                Ok(Fate::Kept(key)) => {
                    self.series.insert(key);
                    self.place.done(path)
                }
                Ok(Fate::Refused(reason)) => self.place.failed(path, &reason),
                Ok(Fate::Moving) => {
                    emptied = false;
                    Ok(())
                }
                Ok(Fate::Waits) => {
                    emptied = false;
                    break;
                }
                Ok(Fate::Left) => Ok(()),
                Err(error) => Err(error),
            };
            match moved {
                // Whoever wrote it took it away.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!("a file in {} cannot be read or moved: {}", self.sender.name, error.kind());
                    self.seen.leave(path);
                }
                Ok(()) => {}
            }
        }
        if emptied && !self.series.is_empty() {
            let series = std::mem::take(&mut self.series).into_iter().collect();
            if let Err(error) = runtime.block_on(door.ended(series)) {
                tracing::warn!("the end of what came by a folder was not written down: {error}");
            }
        }
    }

    /// Hands in a file, if it stands still.
    fn take(&mut self, path: &Path, door: &Door, runtime: &Handle) -> io::Result<Fate> {
        let stamp = Stamp::of(&path.symlink_metadata()?)?;
        match self.seen.look(path, stamp, Instant::now(), self.settle) {
            Look::Moving => return Ok(Fate::Moving),
            Look::Left => return Ok(Fate::Left),
            Look::Still => {}
        }
        if door.open().is_err() {
            return Ok(Fate::Waits);
        }
        runtime.block_on(offer(path, stamp, &self.sender, door))
    }
}

/// Reads a file once there is room for it, and hands it in.
async fn offer(path: &Path, stamp: Stamp, sender: &Sender, door: &Door) -> io::Result<Fate> {
    door.pace().await;
    let room = match door.room(stamp.bytes()).await {
        Ok(room) => room,
        Err(refused) => return Ok(turned_away(door, refused.word(), refused.to_string())),
    };
    let Some(bytes) = read(path, stamp)? else { return Ok(Fate::Moving) };
    let fate = hand_in(bytes, sender, door).await;
    drop(room);
    Ok(fate)
}

/// The bytes of a file, if it is what it was.
fn read(path: &Path, stamp: Stamp) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut bytes = Vec::with_capacity(stamp.bytes());
    (&file).take(stamp.length().saturating_add(1)).read_to_end(&mut bytes)?;
    let is_same = bytes.len() == stamp.bytes() && Stamp::of(&file.metadata()?)? == stamp;
    Ok(is_same.then_some(bytes))
}

async fn hand_in(bytes: Vec<u8>, sender: &Sender, door: &Door) -> Fate {
    // What cannot be read, the door refuses.
    if let Ok(told) = identity::identify(&bytes)
        && !dimse::classes().any(|class| class == told.class)
    {
        return turned_away(door, "class", "its SOP class is not taken here".to_owned());
    }
    match door.keep(sender, bytes, None).await {
        Ok(taken) => Fate::Kept(taken.told.key),
        Err(Refused::Closed(_) | Refused::Inbox(_)) => Fate::Waits,
        Err(refused) => Fate::Refused(refused.to_string()),
    }
}

fn turned_away(door: &Door, word: &'static str, reason: String) -> Fate {
    door.telemetry().emit(InstanceTurnedAway { via: Via::Folder.word(), reason: word });
    Fate::Refused(reason)
}

//! The thread that appends to the inbox. What comes while it waits for the disk goes to the disk together next time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, bail};
use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::segment::{self, Place};
use super::shed;
use super::{Kept, Promise, Record};
use crate::config::Ack;

/// Why something was not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InboxError {
    /// There is no room. It may come back.
    #[error("the disk is full: {0}")]
    Full(String),
    /// It could not be written; what comes next may.
    #[error("the inbox cannot be written: {0}")]
    Unwritable(String),
    /// The disk did not say whether it has what was written. Nothing can be promised until the node was started again.
    #[error("the inbox has failed: {0}")]
    Failed(String),
    /// The node is ending.
    #[error("the inbox has ended")]
    Ended,
}

/// Records that go to the disk together at most.
const TOGETHER: usize = 256;

struct Append {
    record: Record,
    payload: Vec<u8>,
    done: oneshot::Sender<Result<u64, InboxError>>,
}

/// What the thread is asked for.
enum Job {
    Append(Append),
    /// To begin another segment, if the one that is written holds a record before a position.
    Roll(u64, Sender<io::Result<()>>),
}

/// How far the promise holds.
#[derive(Debug)]
struct Reach {
    /// The position of the next record.
    next: u64,
    /// The segment that is written, by its first position, and the first byte behind its records.
    end: (u64, u64),
    ended: bool,
}

/// How far the promise holds, as readers see it.
#[derive(Debug)]
pub(super) struct Progress(Mutex<Reach>, Condvar);

impl Progress {
    pub(super) fn next(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    fn hold(&self, next: u64, end: (u64, u64)) {
        let mut reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (reach.next, reach.end) = (next, end);
        self.1.notify_all();
    }

    fn finish(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.1.notify_all();
    }

    /// Waits until there is a record of `position`, `until` is over, or the inbox has ended. Gives where records end, if
    /// the record is there.
    pub(super) fn wait(&self, position: u64, until: Instant) -> Option<(u64, u64)> {
        let mut reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while reach.next <= position {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || reach.ended {
                return None;
            }
            reach = self.1.wait_timeout(reach, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(reach.end)
    }
}

/// The way to the thread. It ends when this is dropped, once all is written.
pub(super) struct Writer {
    folder: PathBuf,
    jobs: Option<Sender<Job>>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(folder: &Path, promise: Promise, kept: Kept) -> anyhow::Result<Self> {
        let tail = Tail::open(folder, promise, kept)?;
        let reach = Reach { next: tail.next, end: (tail.first, tail.whole), ended: false };
        let progress = Arc::new(Progress(Mutex::new(reach), Condvar::new()));
        let (jobs, incoming) = crossbeam_channel::unbounded();
        let thread = {
            let progress = Arc::clone(&progress);
            std::thread::Builder::new().name("inbox".to_owned()).spawn(move || tail.run(&incoming, &progress))?
        };
        Ok(Self { folder: folder.to_owned(), jobs: Some(jobs), progress, thread: Some(thread) })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    pub(super) fn append(&self, record: Record, payload: Vec<u8>) -> oneshot::Receiver<Result<u64, InboxError>> {
        let (done, answer) = oneshot::channel();
        // A thread that has ended drops the sender, which the caller is told.
        if let Some(jobs) = &self.jobs {
            jobs.send(Job::Append(Append { record, payload, done })).ok();
        }
        answer
    }

    /// Sees that no record before a position lies in the segment that is written.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder if another segment cannot be begun.
    pub(super) fn roll(&self, before: u64) -> anyhow::Result<()> {
        let (done, wait) = crossbeam_channel::bounded(1);
        let asked = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job::Roll(before, done)).is_ok());
        let Some(rolled) = asked.then(|| wait.recv().ok()).flatten() else { bail!("the inbox has ended") };
        rolled.with_context(|| format!("cannot begin a segment in {}", self.folder.display()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the inbox panicked");
        }
    }
}

/// The end of the inbox, where records are added.
struct Tail {
    folder: PathBuf,
    promise: Promise,
    kept: Kept,
    file: File,
    /// The first position of the segment.
    first: u64,
    /// The position of the next record.
    next: u64,
    /// Bytes of whole records.
    whole: u64,
    /// What makes every further promise void.
    failed: Option<String>,
}

impl Tail {
    /// Finds the end. What stands behind it was never promised, and is moved aside.
    fn open(folder: &Path, promise: Promise, kept: Kept) -> anyhow::Result<Self> {
        shed::mend(folder).with_context(|| format!("the inbox {}", folder.display()))?;
        let firsts = segment::list(folder)?;
        let (mut index, mut next) = (super::Index::default(), 0);
        let mut newest = None;
        for (number, first) in firsts.iter().enumerate() {
            let path = segment::path(folder, *first);
            let named = || format!("the inbox {}", path.display());
            if *first != next && number > 0 {
                bail!("{}: it begins with record {first}, must be {next}", named());
            }
            let last = number + 1 == firsts.len();
            let file = OpenOptions::new().read(true).append(true).open(&path).with_context(named)?;
            next = *first;
            let whole = segment::scan(&file, last, |found| {
                index.note(*first, next, &found);
                next += 1;
            });
            let whole = whole.with_context(named)?;
            let length = file.metadata().with_context(named)?.len();
            if whole < length && !last {
                bail!("{}: the record at byte {whole} is broken", named());
            }
            if last {
                newest = Some((file, *first, whole, length));
            }
        }
        index.let_go();
        *kept.change() = index;
        let mut tail = match newest {
            Some((file, first, whole, length)) => {
                let mut tail =
                    Self { folder: folder.to_owned(), promise, kept, file, first, next, whole, failed: None };
                tail.mend(length)?;
                tail
            }
            None => {
                let (file, whole) = create(folder, 0)?;
                Self { folder: folder.to_owned(), promise, kept, file, first: 0, next: 0, whole, failed: None }
            }
        };
        // What an ended process wrote and did not bring to the disk is promised from here on as well.
        tail.sync().with_context(|| format!("the inbox {}", folder.display()))?;
        Ok(tail)
    }

    fn mend(&mut self, length: u64) -> anyhow::Result<()> {
        let path = segment::path(&self.folder, self.first);
        let named = || format!("the inbox {}", path.display());
        if self.whole < length {
            let beside = path.with_extension(format!("torn-{}", self.whole));
            fs::copy(&path, &beside).with_context(named)?;
            tracing::warn!(
                "the torn end of {} was cut off; the file as it was is {}",
                path.display(),
                beside.display()
            );
            self.file.set_len(self.whole).with_context(named)?;
        }
        if self.whole == 0 {
            self.whole = segment::begin(&mut self.file).with_context(named)?;
        }
        Ok(())
    }

    fn run(mut self, incoming: &Receiver<Job>, progress: &Progress) {
        while let Ok(first) = incoming.recv() {
            let (mut written, mut rolls) = (Vec::new(), Vec::new());
            for job in std::iter::once(first).chain(incoming.try_iter().take(TOGETHER)) {
                match job {
                    Job::Append(Append { record, payload, done }) => {
                        let position = self.write(&record, &payload);
                        written.push((position, record, self.first, done));
                    }
                    Job::Roll(before, done) => rolls.push((before, done)),
                }
            }
            if let Err(error) = self.sync() {
                tracing::error!("the inbox has failed, nothing more is acknowledged: {error}");
                self.failed = Some(error.to_string());
            }
            let mut answers = Vec::new();
            for (position, record, segment, done) in written {
                let position = match &self.failed {
                    Some(failed) => Err(InboxError::Failed(failed.clone())),
                    None => position,
                };
                if let (Ok(position), Record::Received(received)) = (&position, &record) {
                    self.kept.change().note_instance(received, segment, *position);
                }
                answers.push((done, position));
            }
            for (before, done) in rolls {
                let rolled = if self.first < before && self.first < self.next { self.next_segment() } else { Ok(()) };
                // Who asked may have gone.
                done.send(rolled).ok();
            }
            if self.failed.is_none() {
                progress.hold(self.next, (self.first, self.whole));
            }
            for (done, position) in answers {
                // Who asked may have gone: what is kept is kept.
                done.send(position).ok();
            }
        }
        progress.finish();
    }

    /// Writes a record and gives its position.
    fn write(&mut self, record: &Record, payload: &[u8]) -> Result<u64, InboxError> {
        if let Some(failed) = &self.failed {
            return Err(InboxError::Failed(failed.clone()));
        }
        let content = record.received().map(|received| received.content);
        let known = content.is_some_and(|content| self.kept.change().hold(&content, self.next));
        let payload = if known { &[] } else { payload };
        let head =
            segment::head(record, payload.len()).map_err(|error| InboxError::Unwritable(format!("{error:#}")))?;
        let bytes = length(&head) + length(payload);
        let written = self.roll(bytes).and_then(|()| {
            self.file.write_all(&head)?;
            self.file.write_all(payload)
        });
        if let Err(error) = written {
            // Half a record would make all behind it unreadable.
            if let Err(error) = self.file.set_len(self.whole) {
                self.failed = Some(error.to_string());
            }
            return Err(refused(&error));
        }
        if let Some(received) = record.received().filter(|_| !payload.is_empty()) {
            let place = Place { segment: self.first, at: self.whole + length(&head), bytes: length(payload) };
            self.kept.change().note_payload(received.content, &received.identity.key.study, place, self.next);
        }
        self.whole += bytes;
        self.next += 1;
        Ok(self.next - 1)
    }

    /// Begins a new segment if the current one has no room for so many bytes.
    fn roll(&mut self, bytes: u64) -> io::Result<()> {
        if self.whole == segment::start() || self.whole + bytes <= self.promise.segment_bytes {
            return Ok(());
        }
        self.next_segment()
    }

    fn next_segment(&mut self) -> io::Result<()> {
        self.sync()?;
        let (file, whole) = create(&self.folder, self.next)?;
        (self.file, self.whole, self.first) = (file, whole, self.next);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.promise.ack == Ack::Fsync { self.file.sync_data() } else { Ok(()) }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "of the many kinds of errors, these say that there is no room")]
fn refused(error: &io::Error) -> InboxError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => InboxError::Full(error.to_string()),
        _ => InboxError::Unwritable(error.to_string()),
    }
}

/// Makes the segment that begins with a position: on the disk, so that what is written into it can be found.
fn create(folder: &Path, first: u64) -> io::Result<(File, u64)> {
    let path = segment::path(folder, first);
    let mut file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
    let begun = segment::begin(&mut file).and_then(|whole| {
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(whole)
    });
    // Half a segment must not stand in the way of the next try.
    let whole = begun.inspect_err(|_| drop(fs::remove_file(&path)))?;
    Ok((file, whole))
}

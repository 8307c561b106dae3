//! The log: every change that entered and every version that left, in order.
//!
//! A record is its length (4 bytes, little endian), the first 8 bytes of its SHA-256, and its content in the form of
//! [`operators::codec`]. A torn record at the end is what an interrupted write leaves: it is moved aside when the log is
//! opened to be written. A broken record elsewhere is an error.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use operators::codec;
use operators::completeness::Status;
use operators::record::{Change, Digest, Outcome, Role, SeriesKey, Tick};
use operators::report::Latency;
use serde::{Deserialize, Serialize};

use crate::book::Followed;

pub(super) const MAGIC: &[u8; 8] = b"HEMOLOG1";
pub(super) const VERSION: u8 = 2;
/// The ending of a log that is being written anew.
pub(super) const PARTIAL: &str = "partial";
/// Bytes before the content of a record.
pub(super) const HEAD: usize = 12;
/// A record is never longer: an instance of a thousand frames takes a fraction of it.
const LONGEST: usize = 64 << 20;

/// What happened at a tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in the time of the graph.
    pub tick: Tick,
    /// When, by the clock of the machine: milliseconds since 1970. For people; no result is computed from it. What it
    /// decides is when a study is forgotten.
    pub unix_ms: i64,
    /// What.
    pub event: Event,
}

/// What the log holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A change entered. The pixels of an arrival are a payload of this name.
    Changed {
        /// The change.
        change: Change,
        /// The payload, if it is an arrival.
        payload: Option<String>,
        /// Whether the series cannot wait.
        stat: bool,
        /// The record of the inbox that it follows from, if it is one.
        from: Option<u64>,
    },
    /// A method came into use in a role, or none.
    Used {
        /// The role.
        role: Role,
        /// The method.
        method: Option<MethodEntry>,
    },
    /// A version of a result was published.
    Published(Published),
    /// Studies were forgotten: the log was written anew without them, up to here.
    Forgotten {
        /// The digests of their UIDs, each with the position of the inbox before which nothing of it is kept, as long as
        /// the inbox may hold something.
        studies: Vec<(Digest, u64)>,
        /// How far the inbox was followed, which an entry that is not here any more may have said.
        followed: Followed,
    },
}

/// A method as the log names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodEntry {
    /// The method.
    pub method: Digest,
    /// SHA-256 of the weights.
    pub sha256: String,
    /// The numbers, JSON.
    pub config: String,
}

/// A published version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The series.
    pub key: SeriesKey,
    /// The role of the method.
    pub role: Role,
    /// The method.
    pub method: Digest,
    /// The version.
    pub version: u64,
    /// Its status.
    pub status: Status,
    /// Slices, the probability and the segmented volume, mL: what changed between versions, at a glance.
    pub slices: u32,
    /// The probability of the series.
    pub probability: f32,
    /// The volume of the segmentation, mL.
    pub volume_ml: f64,
    /// Seconds from the first slice to the first result, and from the last change to this one.
    pub latency_seconds: [f64; 2],
    /// SHA-256 of the bytes of `result.json`.
    pub result: Digest,
    /// What the views across studies know of it; `None` if it says withdrawn.
    pub outcome: Option<Outcome>,
}

impl Published {
    /// How long it, and the first one, took.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let [first, last] = self.latency_seconds;
        Latency { first, last }
    }
}

/// A log that is written. Nobody else can open it meanwhile.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    /// Bytes of whole records.
    whole: u64,
}

impl Log {
    /// Opens the log and gives the entries from byte `from` on, which must be the end of a record or 0.
    pub(super) fn open(path: &Path, from: u64) -> anyhow::Result<(Self, Vec<Entry>)> {
        let named = || format!("the log {}", path.display());
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).with_context(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{} is in use by another process", named()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(named),
        }
        if !stands_at(&file, path).with_context(named)? {
            bail!("{} is in use by another process, which has just written it anew", named());
        }
        // What was to take its place and did not.
        std::fs::remove_file(path.with_extension(PARTIAL)).ok();
        let mut bytes = Vec::new();
        (&mut file).take(start()).read_to_end(&mut bytes).with_context(named)?;
        // Interrupted before it was a log.
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(&bytes) {
            file.set_len(0).and_then(|()| file.write_all(MAGIC)).with_context(named)?;
            bytes = MAGIC.to_vec();
        }
        let from = from.max(start());
        if from > file.seek(SeekFrom::End(0)).with_context(named)? {
            bail!("{} is shorter than it was", named());
        }
        file.seek(SeekFrom::Start(from)).with_context(named)?;
        file.read_to_end(&mut bytes).with_context(named)?;
        let (entries, whole) = parse(&bytes, |_| true).with_context(named)?;
        let torn = bytes.get(whole..).unwrap_or_default();
        let whole = from + u64::try_from(whole)? - start();
        let mut log = Self { file, path: path.to_owned(), whole };
        if !torn.is_empty() {
            log.move_aside(torn).with_context(named)?;
        }
        Ok((log, entries))
    }

    /// Cuts off the torn end, which stays beside the log.
    fn move_aside(&mut self, torn: &[u8]) -> anyhow::Result<()> {
        let beside = self.path.with_extension(format!("torn-{}", self.whole));
        std::fs::write(&beside, torn)?;
        tracing::warn!("the torn end of {} was moved to {}", self.path.display(), beside.display());
        Ok(self.file.set_len(self.whole)?)
    }

    pub(super) fn read(path: &Path, wanted: impl Fn(&Entry) -> bool) -> anyhow::Result<Vec<Entry>> {
        let named = || format!("the log {}", path.display());
        let bytes = std::fs::read(path).with_context(named)?;
        Ok(parse(&bytes, wanted).with_context(named)?.0)
    }

    /// A log that cannot be written, as on a disk that is full.
    #[cfg(test)]
    pub(crate) fn unwritable(path: &Path) -> Self {
        std::fs::write(path, MAGIC).expect("a file");
        Self { file: File::open(path).expect("a file"), path: path.to_owned(), whole: 8 }
    }

    /// Adds entries, in one write: all of them or none.
    ///
    /// # Errors
    ///
    /// Returns an error that names the log if it cannot be written.
    pub fn append(&mut self, entries: &[Entry]) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend_from_slice(&frame(&codec::encode(VERSION, entry)?)?);
        }
        let named = || format!("cannot write the log {}", self.path.display());
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a record would make all behind it unreadable.
            self.file.set_len(self.whole).with_context(named)?;
            return Err(error).with_context(named);
        }
        self.whole += u64::try_from(bytes.len())?;
        Ok(())
    }

    /// Where it stands.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Goes on in another file, which has taken the place of this one and has so many bytes of whole records.
    pub(super) fn continue_with(&mut self, file: File, whole: u64) {
        (self.file, self.whole) = (file, whole);
    }

    /// Bytes of whole records: where the next one begins.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.whole
    }

    /// Waits until the disk has all that was added.
    ///
    /// # Errors
    ///
    /// Returns an error that names the log if it cannot be written.
    pub fn sync(&self) -> anyhow::Result<()> {
        self.file.sync_data().with_context(|| format!("cannot write the log {}", self.path.display()))
    }
}

/// Whether an open file is the one of this name.
fn stands_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let (open, named) = (file.metadata()?, std::fs::metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// The first byte of the first record.
pub(super) fn start() -> u64 {
    u64::try_from(MAGIC.len()).unwrap_or_default()
}

/// A record of this content.
pub(super) fn frame(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(content.len())?.to_le_bytes();
    Ok([&length[..], &check(content), content].concat())
}

/// Bytes of the content of a record that begins so; `None` if no record does.
pub(super) fn length(record: &[u8]) -> Option<usize> {
    let length = record.get(..4)?.try_into().map(u32::from_le_bytes).ok()?;
    usize::try_from(length).ok().filter(|length| *length <= LONGEST)
}

/// The content of a whole record, if it is what was written.
pub(super) fn sound(record: &[u8]) -> Option<&[u8]> {
    let (sum, content) = (record.get(4..HEAD)?, record.get(HEAD..)?);
    (check(content) == *sum).then_some(content)
}

fn check(content: &[u8]) -> [u8; 8] {
    let digest = Digest::of(content);
    let mut check = [0; 8];
    check.copy_from_slice(digest.as_bytes().get(..8).unwrap_or(&[0; 8]));
    check
}

/// The entries of a log that are wanted, and how many of its bytes are whole records.
fn parse(bytes: &[u8], wanted: impl Fn(&Entry) -> bool) -> anyhow::Result<(Vec<Entry>, usize)> {
    if MAGIC.starts_with(bytes) {
        return Ok((Vec::new(), bytes.len()));
    }
    if !bytes.starts_with(MAGIC) {
        bail!("it is not a log of this program");
    }
    let (mut entries, mut at) = (Vec::new(), MAGIC.len());
    while let Some((content, end)) = record(bytes, at)? {
        let entry = codec::decode(VERSION, content).with_context(|| format!("the record at byte {at}"))?;
        entries.extend(Some(entry).filter(&wanted));
        at = end;
    }
    Ok((entries, at))
}

/// The content of the record at `at` and the end of it; `None` at the end, and where the last record is torn.
pub(super) fn record(bytes: &[u8], at: usize) -> anyhow::Result<Option<(&[u8], usize)>> {
    let Some(head) = bytes.get(at..at + HEAD) else { return Ok(None) };
    let (length, sum) = head.split_at(4);
    let length = length.try_into().map(u32::from_le_bytes).ok().and_then(|length| usize::try_from(length).ok());
    let length = length.unwrap_or(LONGEST + 1);
    let end = at + HEAD + length;
    let Some(content) = bytes.get(at + HEAD..end).filter(|_| length <= LONGEST) else {
        return Ok(None);
    };
    match check(content) == *sum {
        true => Ok(Some((content, end))),
        false if end == bytes.len() => Ok(None),
        false => bail!("the record at byte {at} is broken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(ticks: std::ops::Range<Tick>) -> Vec<Entry> {
        ticks.map(|tick| Entry { tick, unix_ms: 0, event: Event::Used { role: Role::Shadow, method: None } }).collect()
    }

    #[test]
    fn what_was_written_is_read_whatever_was_torn_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let (mut log, before) = Log::open(&path, 0).expect("a new log");
        assert!(before.is_empty());
        log.append(&entries(0..3)).expect("written");
        let whole = std::fs::read(&path).expect("there");
        let record = (whole.len() - MAGIC.len()) / 3;
        drop(log);
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).expect("torn");
            let (mut log, read) = Log::open(&path, 0).expect("a torn end is no error");
            let kept = Tick::try_from(length.saturating_sub(MAGIC.len()) / record).expect("small");
            assert_eq!(read, entries(0..kept), "{length} bytes");
            log.append(&entries(kept..3)).expect("written");
            assert_eq!(Log::read(&path, |_| true).expect("whole"), entries(0..3), "{length} bytes");
        }
    }

    #[test]
    fn a_log_has_one_writer_and_any_readers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let (mut log, _) = Log::open(&path, 0).expect("a new log");
        log.append(&entries(0..1)).expect("written");
        assert!(format!("{:#}", Log::open(&path, 0).expect_err("in use")).contains("in use by another process"));
        assert_eq!(Log::read(&path, |_| true).expect("readable"), entries(0..1));
        drop(log);
        assert_eq!(Log::open(&path, 0).expect("free").1, entries(0..1));
    }

    #[test]
    fn a_broken_record_in_the_middle_and_another_file_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let (mut log, _) = Log::open(&path, 0).expect("a new log");
        log.append(&entries(0..3)).expect("written");
        drop(log);
        let mut bytes = std::fs::read(&path).expect("there");
        bytes[MAGIC.len() + HEAD] ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        let error = format!("{:#}", Log::open(&path, 0).expect_err("broken"));
        assert!(error.contains("byte 8") && error.contains("log"), "{error}");
        std::fs::write(&path, b"something else").expect("written");
        assert!(format!("{:#}", Log::read(&path, |_| true).expect_err("no log")).contains("not a log"));
    }
}

//! A segment: records in a file, in order.
//!
//! A record is the length of its head (4 bytes, little endian), the length of its payload (8 bytes), the first 8 bytes of
//! the SHA-256 of these and the head, the head in the form of [`operators::codec`], and the payload, whose SHA-256 the head
//! names. A record of a content that is there already has no payload.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use operators::codec;
use operators::record::Digest;

use super::Record;

const MAGIC: &[u8; 8] = b"HEMOINB1";
const VERSION: u8 = 1;
/// Bytes before the head of a record.
const LENGTHS: usize = 20;
/// A head is never longer: an association over which a hundred thousand series came takes a part of it.
const LONGEST: usize = 32 << 20;
const ENDING: &str = "seg";

/// Where a payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first position of the segment.
    pub segment: u64,
    /// The first byte.
    pub at: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A record and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) record: Record,
    /// The first byte of its payload, and how many there are.
    pub(super) payload: (u64, u64),
}

impl Found {
    /// The first byte behind the record.
    pub(super) fn end(&self) -> u64 {
        self.payload.0 + self.payload.1
    }
}

/// The path of the segment that begins with a position.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:016x}.{ENDING}"))
}

/// The first positions of the segments in a folder, in order; none if there is no folder.
///
/// # Errors
///
/// Returns an error that names the folder if it cannot be read.
pub(super) fn list(folder: &Path) -> anyhow::Result<Vec<u64>> {
    let named = || format!("cannot read the folder {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(named)?,
    };
    let mut firsts = Vec::new();
    for entry in entries {
        let path = entry.with_context(named)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let first = stem.filter(|_| path.extension().is_some_and(|ending| ending == ENDING));
        firsts.extend(first.and_then(|first| u64::from_str_radix(first, 16).ok()));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Begins a segment.
///
/// # Errors
///
/// Returns the system's error if the file cannot be written.
pub(super) fn begin(file: &mut File) -> io::Result<u64> {
    file.write_all(MAGIC)?;
    Ok(start())
}

/// The first byte of the first record.
pub(super) fn start() -> u64 {
    u64::try_from(MAGIC.len()).unwrap_or_default()
}

/// The bytes of a record before its payload.
///
/// # Errors
///
/// Returns an error if the record has no form.
pub(super) fn head(record: &Record, payload: usize) -> anyhow::Result<Vec<u8>> {
    let content = codec::encode(VERSION, record)?;
    if content.len() > LONGEST {
        bail!("a record of {} bytes, must be at most {LONGEST}", content.len());
    }
    let mut bytes = u32::try_from(content.len())?.to_le_bytes().to_vec();
    bytes.extend_from_slice(&u64::try_from(payload)?.to_le_bytes());
    bytes.extend_from_slice(&check(&bytes, &content));
    bytes.extend_from_slice(&content);
    Ok(bytes)
}

fn check(lengths: &[u8], content: &[u8]) -> [u8; 8] {
    let digest = Digest::of(&[lengths, content].concat());
    let mut check = [0; 8];
    check.copy_from_slice(digest.as_bytes().get(..8).unwrap_or(&[0; 8]));
    check
}

/// The record at byte `at`, whose payload lies before byte `end`; `None` if there is no whole one.
///
/// # Errors
///
/// Returns the system's error if the file cannot be read.
pub(super) fn read(file: &File, at: u64, end: u64) -> io::Result<Option<Found>> {
    let mut lengths = [0; LENGTHS];
    let Some(()) = exact(file, &mut lengths, at)? else { return Ok(None) };
    let [a, b, c, d, rest @ ..] = lengths;
    let (payload, sum) = rest.split_at(8);
    let payload = payload.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let head = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let from = at + u64::try_from(LENGTHS).unwrap_or_default();
    let behind = u64::try_from(head).ok().and_then(|head| from.checked_add(head)).unwrap_or(u64::MAX);
    if head > LONGEST || behind.checked_add(payload).is_none_or(|last| last > end) {
        return Ok(None);
    }
    let mut content = vec![0; head];
    let Some(()) = exact(file, &mut content, from)? else { return Ok(None) };
    let sound = check(lengths.get(..12).unwrap_or_default(), &content) == *sum;
    let record = sound.then(|| codec::decode::<Record>(VERSION, &content).ok()).flatten();
    Ok(record.map(|record| Found { record, payload: (behind, payload) }))
}

/// Fills `bytes` from byte `at` on; `None` if the file ends before.
fn exact(file: &File, bytes: &mut [u8], at: u64) -> io::Result<Option<()>> {
    match file.read_exact_at(bytes, at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(Some),
    }
}

/// The payload of a record.
///
/// # Errors
///
/// Returns the system's error, or one that says that the payload is not what its record says.
pub(super) fn payload(file: &File, (at, bytes): (u64, u64), content: &Digest) -> io::Result<Vec<u8>> {
    let mut payload = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut payload, at)?;
    if Digest::of(&payload) != *content {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the payload at byte {at} is broken")));
    }
    Ok(payload)
}

/// Looks at the records of a segment in order and gives the first byte behind the whole ones. With `whole`, payloads are
/// read as well and must be what their records say: what was not brought to the disk in time shows there.
///
/// # Errors
///
/// Returns the system's error, or one that says that the file is no segment.
pub(super) fn scan(file: &File, whole: bool, mut see: impl FnMut(Found)) -> io::Result<u64> {
    let end = file.metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    match exact(file, &mut magic, 0)? {
        None => return Ok(0),
        Some(()) if magic == *MAGIC => {}
        Some(()) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not an inbox of this program")),
    }
    let mut at = start();
    while let Some(found) = read(file, at, end)? {
        if let (true, Record::Received(received)) = (whole && found.payload.1 > 0, &found.record) {
            match payload(file, found.payload, &received.content) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => break,
                read => drop(read?),
            }
        }
        at = found.end();
        see(found);
    }
    Ok(at)
}

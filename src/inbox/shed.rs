//! What is forgotten leaves the inbox: segments of which nothing is of use go as a whole, first of all, and the others are
//! written anew, one beside the other, without it.
//!
//! Positions stay what they are: a record that goes leaves [`Record::Gone`] behind, some 25 bytes that name nobody, and at the
//! beginning of the inbox nothing at all. So the inbox takes what is kept, these, and while a segment is written anew that
//! one twice. A stop at any point leaves each segment as it was or as it shall be; what is left is done when it is asked for
//! again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, bail};
use operators::record::Digest;

use super::segment::{self, Found, Place};
use super::{Index, Kept, Record};
use crate::files::Files;

/// Bytes that are copied at once.
const AT_ONCE: usize = 1 << 20;

/// What goes: studies by the digest of their UIDs, each with the position before which all of it does.
struct Going<'a> {
    studies: &'a BTreeMap<Digest, u64>,
    /// All before it was followed.
    followed: u64,
}

impl Going<'_> {
    /// What is left of the record at a position. `holds` says whether the index has its content here.
    fn left_of(&self, position: u64, record: Record, holds: impl FnOnce(&Digest) -> bool) -> Record {
        match record {
            Record::Received(received) => {
                let before = self.studies.get(&received.identity.key.study.digest());
                if before.is_some_and(|before| position < *before) {
                    Record::Gone(Some(received.content).filter(holds))
                } else {
                    Record::Received(received)
                }
            }
            // What it said has had its effect.
            Record::Ended(_) if position < self.followed => Record::Gone(None),
            Record::Ended(series) => Record::Ended(series),
            Record::Gone(content) => Record::Gone(content.filter(holds)),
        }
    }
}

/// Removes what came of studies, each before a position, from segments that are not written any more. Gives how many bytes
/// that takes off the disk.
pub(super) fn shed(kept: &Kept, studies: &BTreeMap<Digest, u64>, files: &Files) -> anyhow::Result<u64> {
    let going = Going { studies, followed: studies.values().copied().max().unwrap_or_default() };
    let mut segments = kept.change().forget(studies);
    let folder = kept.folder();
    let mut freed = 0;
    // First what makes room without needing any. The last segment is the one that is written.
    let mut all = segment::list(folder)?;
    all.truncate(all.len().saturating_sub(1));
    for first in all {
        let path = segment::path(folder, first);
        let named = || format!("the inbox {}", path.display());
        let bytes = std::fs::metadata(&path).with_context(named)?.len();
        if left(kept, first, &going).with_context(named)? > 0 {
            break;
        }
        files.remove(&path).and_then(|()| files.sync_folder(folder)).with_context(named)?;
        segments.remove(&first);
        kept.change().shed(first);
        freed += bytes;
    }
    // Then what needs least.
    let mut by_size = Vec::new();
    for first in segments {
        let path = segment::path(folder, first);
        if path.exists() {
            by_size.push((left(kept, first, &going).with_context(|| format!("the inbox {}", path.display()))?, first));
        }
    }
    by_size.sort_unstable();
    for (_, first) in by_size {
        freed += rewrite(kept, first, &going, files)?;
        kept.change().shed(first);
    }
    Ok(freed)
}

fn holds(index: &Index, content: &Digest, place: Place) -> bool {
    place.bytes > 0 && index.place(content) == Some(place)
}

/// Bytes of the records of a segment that are of use.
fn left(kept: &Kept, first: u64, going: &Going<'_>) -> io::Result<u64> {
    let file = File::open(segment::path(kept.folder(), first))?;
    let (mut position, mut left, mut before) = (first, 0, segment::start());
    let index = kept.index();
    let see = |found: Found| {
        let (at, bytes) = found.payload;
        let place = Place { segment: first, at, bytes };
        let end = found.end();
        match going.left_of(position, found.record, |content| holds(&index, content, place)) {
            Record::Gone(None) => {}
            Record::Gone(Some(_)) | Record::Received(_) | Record::Ended(_) => left += end - before,
        }
        (position, before) = (position + 1, end);
    };
    segment::scan(&file, false, see)?;
    Ok(left)
}

/// Writes a segment anew without what goes, and gives how many bytes that takes off the disk.
fn rewrite(kept: &Kept, first: u64, going: &Going<'_>, files: &Files) -> anyhow::Result<u64> {
    let path = segment::path(kept.folder(), first);
    let named = || format!("the inbox {}", path.display());
    let file = File::open(&path).with_context(named)?;
    let length = file.metadata().with_context(named)?.len();
    let mut found = Vec::new();
    let end = segment::scan(&file, false, |record| found.push(record)).with_context(named)?;
    if end != length {
        bail!("{}: the record at byte {end} is broken", named());
    }
    let partial = path.with_extension("partial");
    let mut write = || -> anyhow::Result<(Vec<(Digest, Place)>, u64)> {
        let mut new = files.begin(&partial)?;
        let mut at = segment::begin(&mut new)?;
        let mut out = BufWriter::with_capacity(AT_ONCE, new);
        let mut moved = Vec::new();
        for (found, position) in found.drain(..).zip(first..) {
            let (from, bytes) = found.payload;
            let old = Place { segment: first, at: from, bytes };
            let record = going.left_of(position, found.record, |content| holds(&kept.index(), content, old));
            let content = match &record {
                Record::Received(received) => Some(received.content),
                Record::Gone(content) => *content,
                Record::Ended(_) => None,
            };
            let bytes = if content.is_some() { bytes } else { 0 };
            let head = segment::head(&record, usize::try_from(bytes)?)?;
            out.write_all(&head)?;
            at += u64::try_from(head.len())?;
            copy(&file, from, bytes, &mut out)?;
            moved.extend(content.filter(|_| bytes > 0).map(|content| (content, Place { segment: first, at, bytes })));
            at += bytes;
        }
        let new = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        files.sync(&new)?;
        Ok((moved, at))
    };
    let written = write().inspect_err(|_| drop(std::fs::remove_file(&partial)));
    let (moved, bytes) = written.with_context(|| format!("cannot write {}", partial.display()))?;
    {
        // Who looks for a payload finds the old place in the old file, or the new one in the new.
        let mut index = kept.change();
        files.replace(&partial, &path).with_context(named)?;
        index.moved(moved);
    }
    files.sync_folder(kept.folder()).with_context(named)?;
    Ok(length.saturating_sub(bytes))
}

fn copy(file: &File, from: u64, bytes: u64, out: &mut impl io::Write) -> anyhow::Result<()> {
    let mut part = vec![0; AT_ONCE.min(usize::try_from(bytes)?)];
    let mut done = 0;
    while done < bytes {
        let length = part.len().min(usize::try_from(bytes - done)?);
        let part = part.get_mut(..length).unwrap_or_default();
        file.read_exact_at(part, from + done)?;
        out.write_all(part)?;
        done += u64::try_from(length)?;
    }
    Ok(())
}

/// Removes what an interrupted try left.
pub(super) fn mend(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "partial") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

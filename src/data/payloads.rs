//! What was received, each content once and named by its SHA-256: a file of its own, or a part of the inbox.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use operators::dicom::{Instance, read};
use operators::intake;
use operators::record::{Change, Digest, Rejection};

use super::put;
use crate::book::Kept;
use crate::files::Files;
use crate::inbox::Kept as Inbox;

/// What was received: a folder of files, and what the inbox keeps.
#[derive(Clone, Debug)]
pub struct Payloads {
    folder: PathBuf,
    inbox: Inbox,
}

impl Payloads {
    pub(super) fn at(folder: PathBuf, inbox: Inbox) -> Self {
        Self { folder, inbox }
    }

    /// The name of a DICOM file of this content.
    #[must_use]
    pub fn name(content: &Digest) -> String {
        format!("{content}.dcm")
    }

    /// Keeps the content of an input and gives its name. `input` tells by its ending whether it is NIfTI.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be written.
    pub fn keep(&self, input: &Path, bytes: &[u8]) -> anyhow::Result<String> {
        let name = format!("{}.{}", Digest::of(bytes), extension(input));
        let path = self.folder.join(&name);
        // What has another length was torn when the machine lost power.
        if !fs::metadata(&path).is_ok_and(|found| usize::try_from(found.len()) == Ok(bytes.len())) {
            fs::create_dir_all(&self.folder)
                .with_context(|| format!("cannot create the folder {}", self.folder.display()))?;
            put(&path, bytes)?;
        }
        Ok(name)
    }

    /// The names of the files that were kept.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder if it cannot be read.
    pub(crate) fn files(&self) -> anyhow::Result<BTreeSet<String>> {
        let named = || format!("cannot read the folder {}", self.folder.display());
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.with_context(named)?,
        };
        let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        entries.map(name).collect::<std::io::Result<_>>().with_context(named)
    }

    /// Removes files that nothing names any more, and gives how many bytes they had.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be removed.
    pub(crate) fn remove(&self, names: &BTreeSet<String>, files: &Files) -> anyhow::Result<u64> {
        let mut freed = 0;
        for path in names.iter().map(|name| self.folder.join(name)) {
            let bytes = fs::metadata(&path).map_or(0, |found| found.len());
            files.remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            freed += bytes;
        }
        Ok(freed)
    }

    /// The content of a payload.
    ///
    /// # Errors
    ///
    /// Returns an error that names the payload if it is missing or is not what its name says.
    pub fn bytes(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let content = name.strip_suffix(".dcm").and_then(Digest::from_hex);
        if let Some(bytes) = content.map(|content| self.inbox.payload(&content)).transpose()?.flatten() {
            return Ok(bytes);
        }
        let path = self.folder.join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read the payload {}", path.display()))?;
        let digest = Digest::of(&bytes).to_string();
        if !name.strip_prefix(&digest).is_some_and(|rest| rest.starts_with('.')) {
            bail!("the payload {} is not what its name says", path.display());
        }
        Ok(bytes)
    }

    /// The instances of a payload.
    ///
    /// # Errors
    ///
    /// Returns an error that names the payload if it is missing or is not what its name says.
    pub fn instances(&self, name: &str) -> anyhow::Result<Vec<Instance>> {
        let bytes = self.bytes(name)?;
        let read = if extension(Path::new(name)) == "dcm" {
            read::read_bytes(name, &bytes).map(|instance| vec![instance])
        } else {
            // A volume is read from its file, which was seen to be what its name says.
            intake::read(&self.folder.join(name))
        };
        read.map_err(|Rejection { reason, detail, .. }| anyhow!("the payload {name}: {reason}: {detail}"))
    }
}

/// Reads instances of payloads, and each payload once as long as the same is asked for: a volume is one for many.
pub(crate) struct Loader {
    payloads: Payloads,
    last: (String, Vec<Instance>),
}

impl Loader {
    pub(crate) fn of(payloads: Payloads) -> Self {
        Self { payloads, last: Default::default() }
    }

    /// The instance of a payload that arrived so.
    pub(crate) fn instance(&mut self, payload: &str, arrival: &Change) -> anyhow::Result<Instance> {
        if self.last.0 != payload {
            self.last = (payload.to_owned(), self.payloads.instances(payload)?);
        }
        let instance = self.last.1.iter().find(|instance| instance.arrival() == *arrival);
        instance.cloned().with_context(|| format!("the payload {payload} is not what arrived"))
    }

    /// All of these.
    pub(crate) fn all(&mut self, kept: &[Kept]) -> anyhow::Result<Vec<Instance>> {
        kept.iter().map(|Kept { arrival, payload }| self.instance(payload, arrival)).collect()
    }
}

/// What the form of a file is told by.
fn extension(input: &Path) -> &'static str {
    let name = input.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if name.ends_with(".nii.gz") {
        "nii.gz"
    } else if name.ends_with(".nii") {
        "nii"
    } else {
        "dcm"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_kept_once_and_a_changed_file_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::read(&folder.path().join("inbox")).expect("no inbox is an empty one");
        let payloads = Payloads::at(folder.path().join("payloads"), inbox);
        let name = payloads.keep(Path::new("a.dcm"), b"content").expect("kept");
        assert_eq!(payloads.keep(Path::new("b.dcm"), b"content").expect("kept"), name);
        assert_eq!(fs::read_dir(folder.path().join("payloads")).expect("a folder").count(), 1);
        fs::write(folder.path().join("payloads").join(&name), b"contend").expect("written");
        let error = payloads.instances(&name).expect_err("not the content");
        assert!(error.to_string().contains(&name), "{error}");
        assert!(payloads.instances("missing.dcm").is_err());
        fs::write(folder.path().join("payloads").join(&name), b"cont").expect("torn");
        assert_eq!(payloads.keep(Path::new("a.dcm"), b"content").expect("kept"), name);
        let error = payloads.instances(&name).expect_err("no image");
        assert!(error.to_string().contains("not_dicom"), "whole again, and what it is: {error}");
    }
}

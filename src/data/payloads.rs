//! What was received, each content once: files named by the SHA-256 of their content.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use operators::dicom::Instance;
use operators::intake;
use operators::record::{Digest, InstanceUid};

use super::content_name;

/// A folder of payloads.
#[derive(Clone, Debug)]
pub struct Payloads {
    folder: PathBuf,
}

impl Payloads {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps the content of an input and gives its name. `input` tells by its ending whether it is NIfTI.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be written.
    pub fn keep(&self, input: &Path, bytes: &[u8]) -> anyhow::Result<String> {
        let name = content_name(bytes, extension(input));
        let path = self.folder.join(&name);
        if path.exists() {
            return Ok(name);
        }
        let partial = self.folder.join(format!(".{name}.partial"));
        let write = || {
            fs::create_dir_all(&self.folder)?;
            fs::write(&partial, bytes)?;
            fs::rename(&partial, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(name)
    }

    /// An instance of a payload.
    ///
    /// # Errors
    ///
    /// Returns an error that names the payload if it is missing, is not what its name says, or lacks the instance.
    pub fn instance(&self, name: &str, instance: &InstanceUid) -> anyhow::Result<Instance> {
        let path = self.folder.join(name);
        let check = || -> io::Result<bool> {
            let digest = Digest::of(&fs::read(&path)?).to_string();
            Ok(name.strip_prefix(&digest).is_some_and(|rest| rest.starts_with('.')))
        };
        if !check().with_context(|| format!("cannot read the payload {}", path.display()))? {
            bail!("the payload {} is not what its name says", path.display());
        }
        let instances = intake::read(&path)
            .map_err(|rejection| anyhow::anyhow!("the payload {name}: {}: {}", rejection.reason, rejection.detail))?;
        let found = instances.into_iter().find(|found| found.uid == *instance);
        found.with_context(|| format!("the payload {name} does not hold the instance {instance}"))
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
        let payloads = Payloads::at(folder.path().join("payloads"));
        let name = payloads.keep(Path::new("a.dcm"), b"content").expect("kept");
        assert_eq!(payloads.keep(Path::new("b.dcm"), b"content").expect("kept"), name);
        assert_eq!(fs::read_dir(folder.path().join("payloads")).expect("a folder").count(), 1);
        fs::write(folder.path().join("payloads").join(&name), b"contend").expect("written");
        let error = payloads.instance(&name, &InstanceUid::new("1").expect("a UID")).expect_err("not the content");
        assert!(error.to_string().contains(&name), "{error}");
        assert!(payloads.instance("missing.dcm", &InstanceUid::new("1").expect("a UID")).is_err());
    }
}

//! A watched folder on the disk: which files are in it, and where they go.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use walkdir::WalkDir;

use crate::config::Folder;

/// What stands behind the name of a file while it is written, in small letters.
const PARTIAL: [&str; 3] = [".part", ".partial", ".tmp"];
/// What stands behind the name of a file that was refused, in the file that says why.
const REASON: &str = ".reason";

/// A watched folder, and where its files go. All paths are real ones, without links.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    done: PathBuf,
    failed: PathBuf,
    /// Folders that are not looked into.
    left_out: BTreeSet<PathBuf>,
}

impl Place {
    /// Makes the folders that files go to, if they are not there.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder that cannot be used.
    pub(super) fn open(folder: &Folder) -> anyhow::Result<Self> {
        let real = |path: &Path| {
            path.canonicalize().with_context(|| format!("the watched folder {} cannot be used", path.display()))
        };
        let made = |path: PathBuf| {
            fs::create_dir_all(&path).with_context(|| format!("cannot create the folder {}", path.display()))?;
            real(&path)
        };
        let place = Self {
            root: real(&folder.path)?,
            done: made(folder.done())?,
            failed: made(folder.failed())?,
            left_out: BTreeSet::new(),
        };
        let apart = place.done != place.root && place.failed != place.root;
        ensure!(apart, "the watched folder {} cannot be where its files go", folder.path.display());
        Ok(place)
    }

    /// The folder, and those that its files go to.
    pub(super) fn folders(&self) -> [&PathBuf; 3] {
        [&self.root, &self.done, &self.failed]
    }

    /// Looks into none of these folders from here on, but into its own.
    pub(super) fn leave_out(&mut self, folders: &BTreeSet<PathBuf>) {
        self.left_out.extend(folders.iter().filter(|folder| **folder != self.root).cloned());
    }

    /// The files that may be taken, in order.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be read.
    pub(super) fn files(&self) -> io::Result<BTreeSet<PathBuf>> {
        let walk = WalkDir::new(&self.root).min_depth(1).into_iter();
        let mut files = BTreeSet::new();
        for entry in walk.filter_entry(|entry| is_whole(entry.file_name()) && !self.left_out.contains(entry.path())) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    files.insert(entry.into_path());
                }
                Err(error) if error.depth() == 0 => return Err(error.into()),
                // Folders are looked into, links are not followed; what was taken away meanwhile is gone.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(files)
    }

    /// Moves a file that was taken.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot be moved.
    pub(super) fn done(&self, path: &Path) -> io::Result<()> {
        rename(path, &self.free(path, &self.done)?)
    }

    /// Moves a file that was refused, and says why beside it.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot be moved.
    pub(super) fn failed(&self, path: &Path, reason: &str) -> io::Result<()> {
        let to = self.free(path, &self.failed)?;
        fs::write(beside(&to, REASON), format!("{reason}\n"))?;
        rename(path, &to)
    }

    /// A path in another folder for a file: its own, or with a number if that is taken.
    fn free(&self, path: &Path, folder: &Path) -> io::Result<PathBuf> {
        let wanted = folder.join(path.strip_prefix(&self.root).map_err(io::Error::other)?);
        if let Some(parent) = wanted.parent() {
            fs::create_dir_all(parent)?;
        }
        let is_free = |path: &PathBuf| !exists(path) && !exists(&beside(path, REASON));
        if is_free(&wanted) {
            return Ok(wanted);
        }
        let mut numbered = (2_u64..).map(|number| beside(&wanted, &format!(".{number}")));
        numbered.find(is_free).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether a name is one of a file that is whole, or of a folder of such.
fn is_whole(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes().to_ascii_lowercase();
    !name.starts_with(b".") && !PARTIAL.iter().any(|partial| name.ends_with(partial.as_bytes()))
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A path with more behind its name.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// Moves a file at once: nobody sees half of it.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let half = beside(to, ".part");
            fs::copy(from, &half)?;
            File::open(&half)?.sync_all()?;
            fs::rename(&half, to)?;
            fs::remove_file(from)
        }
        moved => moved,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_are_found_and_moved_with_their_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a folder");
        let config = Folder { path: root.clone(), done: None, failed: None, settle: Duration::from_secs(1) };
        let mut place = Place::open(&config).expect("usable");
        let own = place.folders().into_iter().cloned().collect();
        place.leave_out(&own);
        fs::create_dir_all(root.join("s/.hidden")).expect("a folder");
        for name in ["a", "s/b.dcm", ".c", "s/d.PART", "e.tmp", "f.partial", "s/.hidden/g", "done/h", "failed/i"] {
            fs::write(root.join(name), name).expect("written");
        }
        std::os::unix::fs::symlink(root.join("done/h"), root.join("link")).expect("a link");
        let found = |place: &Place| -> Vec<PathBuf> { place.files().expect("readable").into_iter().collect() };
        assert_eq!(found(&place), [root.join("a"), root.join("s/b.dcm")]);
        for _ in 0..2 {
            fs::write(root.join("s/b.dcm"), "again").expect("written");
            place.done(&root.join("s/b.dcm")).expect("moved");
            fs::write(root.join("a"), "again").expect("written");
            place.failed(&root.join("a"), "because").expect("moved");
        }
        assert!(found(&place).is_empty());
        for name in ["done/s/b.dcm", "done/s/b.dcm.2", "failed/a", "failed/a.2"] {
            assert_eq!(fs::read_to_string(root.join(name)).expect(name), "again");
        }
        assert_eq!(fs::read_to_string(root.join("failed/a.2.reason")).expect("a reason"), "because\n");
    }
}

//! The data folder: what a node must not forget.
//!
//! ```text
//! DIR/log                      every change and every publication, in order (`log`), of what is not forgotten (`rewrite`)
//! DIR/snapshot                 what the log has come to, so that a start reads only its end (`snapshot`)
//! DIR/inbox/<position>.seg     what listeners received and acknowledged, in order (`crate::inbox`)
//! DIR/payloads/<sha256>.<ext>  what was read from files, each content once (`payloads`)
//! DIR/models/<sha256>/         the weights that results were made by
//! DIR/salt                     what patients are hashed with
//! DIR/store/                   blocks by name: what need not be computed again
//! ```
//!
//! The inbox, the log, the payloads and the models are what must not be lost; the store can be computed again from them. A
//! folder has one user at a time, who holds a lock on the log; others may read. What was acknowledged outlives the death of
//! the process. Whether it outlives that of the machine is the promise of the inbox; the log is brought to the disk before
//! a version is shown if it is told to.

mod journal;
mod log;
mod payloads;
mod rewrite;
mod snapshot;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use kernels::Device;
use operators::model::Model;
use operators::outcome::Salt;
use operators::record::{Method, MethodConfig};

use crate::book::Book;
use crate::files::Files;
use crate::inbox::{Inbox, Kept, Promise, Record};

pub(crate) use journal::{Forgotten, now_ms};
pub use journal::{Journal, published_as};
pub use log::{Entry, Event, Log, MethodEntry, Published};
pub(crate) use payloads::Loader;
pub use payloads::Payloads;

/// A data folder.
#[derive(Clone, Debug)]
pub struct DataFolder {
    root: PathBuf,
    kept: Kept,
}

impl DataFolder {
    /// The folder at `root`, which is made if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder if it cannot be made.
    pub fn create(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot create the folder {}", root.display()))?;
        Self::at(root)
    }

    /// The folder at `root`, which must hold a log.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder if it holds none.
    pub fn existing(root: &Path) -> anyhow::Result<Self> {
        let data = Self::at(root)?;
        fs::metadata(data.log_path()).with_context(|| format!("{} holds no log", root.display()))?;
        Ok(data)
    }

    fn at(root: &Path) -> anyhow::Result<Self> {
        Ok(Self { root: root.to_owned(), kept: Kept::read(&root.join("inbox"))? })
    }

    fn log_path(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Whether somebody uses the folder at `root`. Nothing is made or written.
    ///
    /// # Errors
    ///
    /// Returns the system's error if that cannot be seen.
    pub fn is_in_use(root: &Path) -> io::Result<bool> {
        let log = match File::open(root.join("log")) {
            Ok(log) => log,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        match log.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Opens the log, and gives what is in it.
    ///
    /// # Errors
    ///
    /// Returns an error that names the log if it cannot be read or written, is none, or is open elsewhere.
    pub fn log(&self) -> anyhow::Result<(Log, Vec<Entry>)> {
        Log::open(&self.log_path(), 0)
    }

    /// The entries of the log, which is not touched.
    ///
    /// # Errors
    ///
    /// Returns an error that names the log if it cannot be read, or is none.
    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        Log::read(&self.log_path(), |_| true)
    }

    /// Opens the log, and gives what it has come to up to some entry, and the entries behind that. With `whole`, these are
    /// all.
    pub(crate) fn log_and_book(&self, whole: bool) -> anyhow::Result<(Log, Book, Vec<Entry>)> {
        let kept = match snapshot::read(&self.snapshot_path()) {
            _ if whole => None,
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("starting from the whole log: {error:#}");
                None
            }
        };
        if let Some((from, book)) = kept {
            match Log::open(&self.log_path(), from) {
                // Another model makes new results of every series that is held, and none is that starts from a book.
                Ok((_, entries)) if entries.iter().any(|entry| matches!(entry.event, Event::Used { .. })) => {}
                Ok((log, entries)) => return Ok((log, book, entries)),
                // Somebody else's log, or one that is really broken, shows again.
                Err(error) => tracing::warn!("starting from the whole log: {error:#}"),
            }
        }
        let (log, entries) = self.log()?;
        Ok((log, Book::default(), entries))
    }

    /// Keeps what the log has come to up to byte `log_bytes`.
    pub(crate) fn keep_book(&self, log_bytes: u64, parts: &[Vec<u8>]) -> anyhow::Result<()> {
        snapshot::write(&self.snapshot_path(), log_bytes, parts)
    }

    /// Removes what [`Self::keep_book`] kept, for the log is about to be another.
    fn drop_book(&self, files: &Files) -> anyhow::Result<()> {
        let path = self.snapshot_path();
        let drop = || files.remove(&path).and_then(|()| files.sync_folder(&self.root));
        drop().with_context(|| format!("cannot remove {}", path.display()))
    }

    fn snapshot_path(&self) -> PathBuf {
        self.root.join("snapshot")
    }

    /// What was received.
    #[must_use]
    pub fn payloads(&self) -> Payloads {
        Payloads::at(self.root.join("payloads"), self.kept.clone())
    }

    /// Opens the inbox. The log must be open: who has it has the folder.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read or written, or is broken before its end.
    pub fn inbox(&self, promise: Promise) -> anyhow::Result<Inbox> {
        Inbox::open(&self.root.join("inbox"), promise, self.kept.clone())
    }

    /// What listeners received, each with its position.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read.
    pub fn received(&self) -> anyhow::Result<Vec<(u64, Record)>> {
        self.kept.records()
    }

    /// Where blocks stand.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// What patients are hashed with: drawn once for the folder.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read or written.
    pub fn salt(&self) -> anyhow::Result<Salt> {
        let path = self.root.join("salt");
        if !path.exists() {
            put(&path, &random()?)?;
        }
        let salt = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Salt::new(&salt))
    }

    fn model_folder(&self, sha256: &str) -> PathBuf {
        self.root.join("models").join(sha256)
    }

    /// Keeps the weights of a model, and says how the log names its use.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder that cannot be written.
    pub fn keep_model(&self, model: &Model, method: &Method) -> anyhow::Result<MethodEntry> {
        let folder = self.model_folder(&method.name.sha256);
        if !folder.exists() {
            // Whole or not at all: an interrupted copy leaves another name.
            let partial = folder.with_extension("partial");
            model.save(&partial).with_context(|| format!("cannot keep the model in {}", partial.display()))?;
            fs::rename(&partial, &folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let config = serde_json::to_string(&method.config)?;
        Ok(MethodEntry { method: method.digest, sha256: method.name.sha256.clone(), config })
    }

    /// The model and the numbers that the log names so.
    ///
    /// # Errors
    ///
    /// Returns an error that names the model if it cannot be loaded.
    pub fn model(&self, entry: &MethodEntry, device: Device) -> anyhow::Result<(Model, MethodConfig)> {
        let folder = self.model_folder(&entry.sha256);
        let model =
            Model::load(&folder, device).with_context(|| format!("the model {} cannot be loaded", folder.display()))?;
        let config = serde_json::from_str(&entry.config).context("the numbers of a method in the log")?;
        Ok((model, config))
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

/// Writes a file, whole or not at all.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_added_extension("partial");
    let write = || fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    write().inspect_err(|_| drop(fs::remove_file(&partial))).with_context(|| format!("cannot write {}", path.display()))
}

//! Blocks in a file: one table of values and one of names for each kind.
//!
//! A value is the first 16 bytes of the digest of its table, its name and its bytes, and then the bytes. The names stand
//! beside the values so that a start reads names only. Each commit is in the file when it returns, and on the platter if the
//! file is to last, for memory lets go of what is committed. Broken pages make the database panic; that, too, ends here.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError, TableHandle as _,
};

use super::StoreError;
use super::medium::{Medium, Overlay};
use crate::record::Digest;

type Cause = Box<dyn Error + Send + Sync>;
/// Names by kind.
pub(super) type Names = HashMap<String, HashSet<[u8; 32]>>;

/// The file of a store that persists.
pub(super) const FILE: &str = "blocks.redb";
/// What the database keeps of its own pages, bytes.
const CACHE: usize = 32 << 20;
const CHECKSUM: usize = 16;
/// Marks a file as ours, and its form.
const MARK: TableDefinition<'_, &str, u64> = TableDefinition::new("hemoflow");
const FORM: u64 = 1;
const VALUES: &str = "values:";
const NAMES: &str = "names:";

/// A change of what is on disk.
pub(super) enum Change {
    Put { table: Arc<str>, name: Digest, bytes: Vec<u8> },
    Remove { table: Arc<str>, name: [u8; 32] },
    Drop { table: String },
}

/// A file of blocks.
pub(super) struct Disk {
    path: PathBuf,
    medium: Medium,
    database: RwLock<Option<Database>>,
    fault: Mutex<Option<String>>,
}

impl Disk {
    /// Opens the file of `folder`, which is created if it is not there, and lists the names in it.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the file cannot be opened, is open elsewhere, or is no store.
    pub(super) fn open(folder: &Path) -> Result<(Self, Names), StoreError> {
        let path = folder.join(FILE);
        let unusable = |source| StoreError::Unusable { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(unusable)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        Self::over(file, path, true)
    }

    /// A file in `folder` that has no name and is gone with the process.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the file cannot be created.
    pub(super) fn nameless(folder: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Unusable { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(unusable)?;
        let file = tempfile::tempfile_in(folder).map_err(unusable)?;
        Ok(Self::over(file, folder.to_owned(), false)?.0)
    }

    fn over(file: File, path: PathBuf, lasting: bool) -> Result<(Self, Names), StoreError> {
        match FileBackend::new(file) {
            Ok(file) => Self::on(Medium::new(file, lasting), path),
            Err(error) => Err(StoreError::Foreign { path, source: error.into() }),
        }
    }

    /// A store on any medium.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Foreign`] if there is something else on it.
    pub(super) fn on(medium: Medium, path: PathBuf) -> Result<(Self, Names), StoreError> {
        let opened = guarded(|| {
            let database = builder().create_with_backend(medium.clone())?;
            mark(&database)?;
            let names = names(&database)?;
            Ok((database, names))
        });
        match opened {
            Ok((database, names)) => {
                let disk = Self { path, medium, database: RwLock::new(Some(database)), fault: Mutex::default() };
                Ok((disk, names))
            }
            Err(source) => Err(StoreError::Foreign { path, source }),
        }
    }

    /// Where the blocks are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The first failure.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bytes of a block, or `None` if it is not there, or not what was written.
    pub(super) fn read(&self, table: &str, name: &Digest) -> Option<Vec<u8>> {
        let read = || self.with(|database| value(database, table, name));
        let stored = match read() {
            Ok(stored) => stored?,
            Err(cause) => {
                self.fail(&cause);
                read().ok()??
            }
        };
        let (sum, bytes) = stored.split_at_checked(CHECKSUM)?;
        (sum == checksum(table, name, bytes)).then(|| bytes.to_vec())
    }

    /// Makes changes, all or none, and returns once they are in the file, for good if it lasts; says whether they are. What was there
    /// before stays readable after a failure, but nothing is written any more.
    pub(super) fn commit(&self, changes: &[Change]) -> bool {
        if self.fault().is_some() {
            return false;
        }
        let result = self.with(|database| apply(database, changes));
        if let Err(cause) = &result {
            self.fail(cause);
        }
        result.is_ok()
    }

    fn with<T>(&self, act: impl FnOnce(&Database) -> Result<T, Cause>) -> Result<T, Cause> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        guarded(|| act(database.as_ref().ok_or("the file is lost")?))
    }

    /// Notes the first failure and opens what had been committed for reading.
    fn fail(&self, cause: &Cause) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.is_some() {
            return;
        }
        *fault = Some(format!("{}: {}", self.path.display(), chain(cause.as_ref())));
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let reopened = guarded(|| {
            drop(database.take());
            Ok(builder().create_with_backend(Overlay::new(self.medium.clone())?)?)
        });
        *database = reopened.ok();
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// A panic as one more error.
fn guarded<T>(act: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err("broken pages".into()))
}

/// An error with its sources, on one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line
}

fn checksum(table: &str, name: &Digest, bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Digest::builder("stored").bytes(table.as_bytes()).digest(name).bytes(bytes).finish();
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest.as_bytes()[..CHECKSUM]);
    sum
}

/// Marks a new file; refuses one that holds something else.
fn mark(database: &Database) -> Result<(), Cause> {
    let transaction = database.begin_read()?;
    match transaction.open_table(MARK) {
        Ok(table) => {
            let form = table.get("form")?.map(|form| form.value());
            return if form == Some(FORM) { Ok(()) } else { Err(format!("form {form:?}, must be {FORM}").into()) };
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if transaction.list_tables()?.next().is_some() {
        return Err("a database of something else".into());
    }
    drop(transaction);
    let transaction = database.begin_write()?;
    transaction.open_table(MARK)?.insert("form", FORM)?;
    transaction.commit()?;
    Ok(())
}

fn names(database: &Database) -> Result<Names, Cause> {
    let transaction = database.begin_read()?;
    let mut names = Names::new();
    for handle in transaction.list_tables()? {
        let Some(kind) = handle.name().strip_prefix(NAMES) else { continue };
        let table = transaction.open_table(names_of(handle.name()))?;
        let rows = table.iter()?.map(|row| Ok(*row?.0.value()));
        names.insert(kind.to_owned(), rows.collect::<Result<_, Cause>>()?);
    }
    Ok(names)
}

fn names_of(table: &str) -> TableDefinition<'_, &'static [u8; 32], ()> {
    TableDefinition::new(table)
}

fn values_of(table: &str) -> TableDefinition<'_, &'static [u8; 32], &'static [u8]> {
    TableDefinition::new(table)
}

fn value(database: &Database, table: &str, name: &Digest) -> Result<Option<Vec<u8>>, Cause> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(values_of(&format!("{VALUES}{table}"))) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let found = table.get(name.as_bytes())?;
    Ok(found.map(|found| found.value().to_vec()))
}

fn apply(database: &Database, changes: &[Change]) -> Result<(), Cause> {
    let mut transaction = database.begin_write()?;
    // A start after a crash need not read every page.
    transaction.set_quick_repair(true);
    for change in changes {
        match change {
            Change::Put { table, name, bytes } => {
                let mut value = checksum(table, name, bytes).to_vec();
                value.extend_from_slice(bytes);
                let mut values = transaction.open_table(values_of(&format!("{VALUES}{table}")))?;
                values.insert(name.as_bytes(), value.as_slice())?;
                transaction.open_table(names_of(&format!("{NAMES}{table}")))?.insert(name.as_bytes(), ())?;
            }
            Change::Remove { table, name } => {
                transaction.open_table(values_of(&format!("{VALUES}{table}")))?.remove(name)?;
                transaction.open_table(names_of(&format!("{NAMES}{table}")))?.remove(name)?;
            }
            Change::Drop { table } => {
                transaction.delete_table(values_of(&format!("{VALUES}{table}")))?;
                transaction.delete_table(names_of(&format!("{NAMES}{table}")))?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

//! Results as a node writes them: the newest of each series, as soon as there is time for it.
//!
//! A series that changes with every slice would be written with every slice; so a thread takes what is newest whenever it is
//! free, and writes nothing that was overtaken. What cannot be written stays, and is tried again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use operators::record::{Rejection, Role, SeriesKey};

use crate::collector::{Current, Watch};
use crate::result_tree::ResultTree;

/// How long it waits after something could not be written.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Waiting {
    results: BTreeMap<SeriesKey, Current>,
    rejections: Vec<Rejection>,
    /// Whether something is being written.
    busy: bool,
    /// Whether something could not be written, and is tried again.
    failing: bool,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that writes. It ends when dropped, once all is written or cannot be.
pub struct Results {
    written: Written,
    thread: Option<JoinHandle<()>>,
}

/// Knows whether all is written.
#[derive(Clone)]
pub struct Written {
    shared: Arc<Shared>,
    root: PathBuf,
}

impl Written {
    /// Waits until all is written that was heard of before, or something cannot be. Says whether all is.
    #[must_use]
    pub fn settle(&self) -> bool {
        let mut waiting = self.shared.lock();
        loop {
            if waiting.failing {
                return false;
            }
            if !waiting.busy && waiting.results.is_empty() && waiting.rejections.is_empty() {
                return true;
            }
            waiting = self.shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same, and brings what is written to the disk.
    #[must_use]
    pub fn keep(&self) -> bool {
        self.settle() && File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?)).is_ok()
    }
}

/// Hears of results and lets them be written.
pub struct Listening(Arc<Shared>);

impl Watch for Listening {
    fn result(&mut self, current: &Current) {
        if current.publication.role == Role::Active {
            self.0.lock().results.insert(current.publication.key.clone(), current.clone());
            self.0.changed.notify_all();
        }
    }

    fn rejection(&mut self, rejection: &Rejection, diff: isize) {
        if diff > 0 {
            self.0.lock().rejections.push(rejection.clone());
            self.0.changed.notify_all();
        }
    }
}

impl Results {
    /// Writes into a tree at `root`, which is made.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder if it cannot be made, or says that there is no thread.
    pub fn start(root: &Path) -> anyhow::Result<(Self, Listening)> {
        let tree = ResultTree::create(root, false)?;
        let shared = Arc::<Shared>::default();
        let rejections = root.join("rejections.jsonl");
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("results".to_owned()).spawn(move || write(&shared, &tree, &rejections))?
        };
        let listening = Listening(Arc::clone(&shared));
        let written = Written { shared, root: root.to_owned() };
        Ok((Self { written, thread: Some(thread) }, listening))
    }

    /// Who knows whether all is written.
    #[must_use]
    pub fn written(&self) -> &Written {
        &self.written
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        self.written.shared.lock().ended = true;
        self.written.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the results panicked");
        }
    }
}

fn write(shared: &Shared, tree: &ResultTree, rejected: &Path) {
    let mut patience = Duration::ZERO;
    loop {
        let mut waiting = shared.lock();
        waiting.busy = false;
        waiting.failing = !patience.is_zero();
        shared.changed.notify_all();
        while !waiting.ended && (!patience.is_zero() || (waiting.results.is_empty() && waiting.rejections.is_empty())) {
            if patience.is_zero() {
                waiting = shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            } else {
                waiting = shared.changed.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner).0;
                break;
            }
        }
        let ended = waiting.ended;
        let rejections = std::mem::take(&mut waiting.rejections);
        let next = waiting.results.pop_first();
        waiting.busy = true;
        drop(waiting);
        if rejections.is_empty() && next.is_none() && ended {
            return;
        }
        let mut failed = false;
        if let Err(error) = append(rejected, &rejections) {
            tracing::warn!("{error:#}");
            failed = true;
            shared.lock().rejections.splice(0..0, rejections);
        }
        if let Some((key, current)) = next
            && let Err(error) = tree.write(&current.report(), &current.publication)
        {
            tracing::warn!("a result was not written and is tried again: {}", nameless(&key, format!("{error:#}")));
            failed = true;
            // What came meanwhile is newer.
            shared.lock().results.entry(key).or_insert(current);
        }
        patience = if failed { AGAIN } else { Duration::ZERO };
        if failed && ended {
            // No snapshot tells of them: the node publishes them again when it starts.
            return;
        }
    }
}

/// What is said of a series without its identifiers, which are in the paths of its files.
fn nameless(key: &SeriesKey, said: String) -> String {
    let digest = key.digest().to_string();
    let short = digest.get(..12).unwrap_or_default();
    let said = [key.series.as_str(), key.study.as_str()].into_iter().fold(said, |said, uid| said.replace(uid, "*"));
    format!("series {short}: {said}")
}

/// Adds a line for each rejection.
fn append(path: &Path, rejections: &[Rejection]) -> anyhow::Result<()> {
    if rejections.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for rejection in rejections {
        serde_json::to_writer(&mut lines, rejection)?;
        lines.push(b'\n');
    }
    let write = || OpenOptions::new().append(true).create(true).open(path)?.write_all(&lines);
    write().with_context(|| format!("cannot write {}", path.display()))
}

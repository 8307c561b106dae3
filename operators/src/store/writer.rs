//! The thread that writes: changes in the order of their asking, many to a commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::core::Core;
use super::disk::{Change, Disk};
use super::ledger::{OnDisk, Removal, Write};

/// Changes of one commit at most.
const BATCH: usize = 64;
/// How long a commit waits for one more change.
const GATHER: Duration = Duration::from_millis(5);

pub(super) enum Job {
    Write(Write),
    Remove(Removal),
    /// Removes a whole kind.
    Drop(String),
    /// Answers once all that was asked before is done.
    Flush(Sender<()>),
}

/// Works until all senders are gone and nothing is left to do.
pub(super) fn run(core: &Core, disk: &Disk, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut writes = Vec::new();
        let mut changes = Vec::new();
        let mut flushed = None;
        for job in gather(first, jobs) {
            match job {
                Job::Write(write) => {
                    let bytes = form(&write);
                    writes.push((write, bytes.is_some()));
                    let Some((write, _)) = writes.last() else { continue };
                    let (table, name) = (Arc::clone(&write.table), write.place.name);
                    changes.extend(bytes.map(|bytes| Change::Put { table, name, bytes }));
                }
                Job::Remove((table, name)) => changes.push(Change::Remove { table, name }),
                Job::Drop(table) => changes.push(Change::Drop { table }),
                Job::Flush(done) => flushed = Some(done),
            }
        }
        let committed = changes.is_empty() || disk.commit(&changes);
        let outcome = |has_form: bool| if has_form && committed { OnDisk::Yes } else { OnDisk::Never };
        core.written(writes.iter().map(|(write, has_form)| (write, outcome(*has_form))), disk.fault().is_some());
        if let Some(done) = flushed {
            // It fails only when the one who asked has gone.
            done.send(()).ok();
        }
    }
}

/// A form on disk that breaks is none.
fn form(write: &Write) -> Option<Vec<u8>> {
    catch_unwind(AssertUnwindSafe(|| (write.to_bytes)(&write.value))).unwrap_or_default()
}

fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut batch = vec![first];
    while batch.len() < BATCH
        && !matches!(batch.last(), Some(Job::Flush(_)))
        && let Ok(job) = jobs.recv_timeout(GATHER)
    {
        batch.push(job);
    }
    batch
}

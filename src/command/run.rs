//! `hemoflow run`: files through the same graph as the node's, and out as a result tree.

use std::collections::BTreeSet;

use kernels::Device;
use operators::intake::{self, Item};
use operators::record::Rejection;

use super::inference::{ModelInUse, Running};
use super::{Exit, table};
use crate::arguments::Run;
use crate::collector::Collected;
use crate::console::Console;
use crate::result_tree::ResultTree;

/// Streams the inputs and writes what came out.
pub(super) fn run(arguments: &Run, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let tree = ResultTree::create(&arguments.out, arguments.nifti)?;
    let mut running = Running::start(&arguments.inference, device, |current| {
        tracing::debug!(version = current.publication.version, "a result was updated");
    })?;
    let model = running.model().clone();
    stream(&arguments.inputs, &mut running)?;
    let (collected, _metrics) = running.finish()?;
    write(&tree, &collected, &model, console)
}

/// Sends every instance of the inputs, then says that their series are complete.
pub(super) fn stream(inputs: &[std::path::PathBuf], running: &mut Running) -> anyhow::Result<()> {
    let mut keys = BTreeSet::new();
    for item in intake::items(inputs) {
        let instances = match item {
            Item::File(path) => intake::read(&path),
            Item::Rejected(rejection) => Err(rejection),
        };
        match instances {
            Ok(instances) => {
                for instance in instances {
                    running.arrive(&instance)?;
                    keys.insert(instance.key);
                }
            }
            Err(rejection) => {
                running.refuse(rejection)?;
            }
        }
    }
    for key in keys {
        running.complete(key)?;
    }
    Ok(())
}

/// Writes the result tree and tells what is in it. A result that cannot be written costs no other.
pub(super) fn write(
    tree: &ResultTree,
    collected: &Collected,
    model: &ModelInUse,
    console: &mut Console,
) -> anyhow::Result<Exit> {
    let mut failed = false;
    let mut reports = Vec::new();
    console.line(table::HEADER)?;
    for current in collected.series.values() {
        let report = model.report(current);
        console.line(table::row(&report))?;
        if let Err(error) = tree.write(&report, &current.publication, &model.weights) {
            tracing::warn!("{error:#}");
            failed = true;
        }
        reports.push(report);
    }
    let rejections: Vec<Rejection> = collected.rejections.keys().cloned().collect();
    for rejection in &rejections {
        tracing::warn!("rejected {}: {}: {}", rejection.input, rejection.reason, rejection.detail);
    }
    tree.finish(&reports, &rejections)?;
    console.json(&reports)?;
    Ok(match (failed, rejections.is_empty()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Done,
        (false, false) => Exit::SomeRejected,
    })
}

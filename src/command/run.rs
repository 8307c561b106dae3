//! `hemoflow run`: files through the same graph as the node's, and out as a result tree.

use std::collections::BTreeSet;
use std::path::PathBuf;

use kernels::Device;
use operators::intake::{self, Arrival, Item};
use operators::record::{Rejection, SeriesKey};
use rayon::prelude::*;

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

/// Reads the inputs, sends every instance of the series that are selected, and says that these are complete.
pub(super) fn stream(inputs: &[PathBuf], running: &mut Running) -> anyhow::Result<()> {
    let read = |item: Item| match item {
        Item::File(path) => {
            let input = path.display().to_string();
            let arrival = |instance| Arrival { input: input.clone(), instance };
            intake::read(&path).map(|instances| instances.into_iter().map(arrival).collect())
        }
        Item::Rejected(rejection) => Err(rejection),
    };
    let items: Vec<Result<Vec<Arrival>, Rejection>> = intake::items(inputs).into_par_iter().map(read).collect();
    let (mut arrivals, mut rejections) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Ok(found) => arrivals.extend(found),
            Err(rejection) => rejections.push(rejection),
        }
    }
    let (selected, left_out) = intake::select(arrivals);
    for rejection in rejections.into_iter().chain(left_out) {
        running.refuse(rejection)?;
    }
    let keys: BTreeSet<SeriesKey> = selected.iter().map(|arrival| arrival.instance.key.clone()).collect();
    for arrival in selected {
        running.arrive(&arrival.instance)?;
    }
    for key in keys {
        running.complete(&key)?;
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
        if let Err(error) = tree.write(&report, &current.publication, &model.method) {
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

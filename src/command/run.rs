//! `hemoflow run`: files through the same graph as the node's, and out as a result tree.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use kernels::Device;
use operators::intake::{self, Arrival, Item};
use operators::labels::{self, SliceLabels};
use operators::record::{Change, InstanceUid, Rejection, SeriesKey, Truth};
use operators::selection::Rules;
use rayon::prelude::*;

use super::inference::{Running, load_model};
use super::{Exit, table};
use crate::arguments::Run;
use crate::collector::{Collected, Current};
use crate::config::Config;
use crate::console::Console;
use crate::node::{Node, Payload};
use crate::result_tree::ResultTree;

/// Streams the inputs and writes what came out. Of the configuration `config`, if one is named, the selection counts.
pub(super) fn run(
    arguments: &Run,
    config: Option<&Path>,
    device: Device,
    console: &mut Console,
) -> anyhow::Result<Exit> {
    let rules = config.map(Config::read).transpose()?.unwrap_or_default().selection;
    let tree = ResultTree::create(&arguments.out, arguments.nifti)?;
    let truths = arguments.labels.as_deref().map(truths).transpose()?.unwrap_or_default();
    let watch = |current: &Current| tracing::debug!(version = current.publication.version, "a result was updated");
    let mut running = Running::start(&arguments.inference, &arguments.keep, truths, device, watch)?;
    let shadow = arguments.shadow.as_deref().map(|shadow| load_model(Some(shadow), device)).transpose()?;
    let shadow = shadow.map(|shadow| shadow.with_precision(arguments.inference.precision)).transpose()?;
    running.node.shadow(shadow)?;
    stream(&arguments.inputs, &mut running.node, arguments.keep.data.is_some(), &rules)?;
    let (collected, _metrics) = running.finish()?;
    write(&tree, &collected, console)
}

/// The labels of a table, as what is known to be true.
fn truths(table: &Path) -> anyhow::Result<Vec<Truth>> {
    let named = || format!("the labels {}", table.display());
    let labels = labels::read(File::open(table).with_context(named)?).with_context(named)?;
    let truth = |(instance, labels): (InstanceUid, SliceLabels)| Truth::Label { instance, hemorrhage: labels.any };
    Ok(labels.into_iter().map(truth).collect())
}

/// Reads the inputs, sends every instance of the series that `rules` take, and says that these are complete. The content of
/// the inputs goes along if the node is to `keep` it.
pub(super) fn stream(inputs: &[PathBuf], node: &mut Node, keep: bool, rules: &Rules) -> anyhow::Result<()> {
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
    let (selected, left_out) = intake::select(arrivals, rules);
    for rejection in rejections.into_iter().chain(left_out) {
        node.send(Change::Refused(rejection))?;
    }
    let keys: BTreeSet<SeriesKey> = selected.iter().map(|arrival| arrival.instance.key.clone()).collect();
    let mut content: (PathBuf, Vec<u8>) = Default::default();
    for arrival in selected {
        let input = PathBuf::from(arrival.input);
        if keep && content.0 != input {
            let bytes = fs::read(&input).with_context(|| format!("cannot read {} again", input.display()))?;
            content = (input, bytes);
        }
        let payload = keep.then_some(Payload { input: &content.0, bytes: &content.1 });
        node.arrive(&arrival.instance, payload, false)?;
    }
    for key in keys {
        node.complete(&key)?;
    }
    Ok(())
}

/// Writes the result tree and tells what is in it. A result that cannot be written costs no other.
pub(super) fn write(tree: &ResultTree, collected: &Collected, console: &mut Console) -> anyhow::Result<Exit> {
    let mut failed = false;
    let mut reports = Vec::new();
    console.line(table::HEADER)?;
    for current in collected.series.values() {
        let report = current.report();
        console.line(table::row(&report))?;
        if let Err(error) = tree.write(&report, &current.publication) {
            tracing::warn!("{error:#}");
            failed = true;
        }
        reports.push(report);
    }
    let rejections: Vec<Rejection> = collected.rejections.keys().cloned().collect();
    for rejection in &rejections {
        tracing::warn!("rejected {}: {}: {}", rejection.input, rejection.reason, rejection.detail);
    }
    tree.write_views(&collected.views)?;
    tree.finish(&reports, &rejections)?;
    console.json(&reports)?;
    Ok(match (failed, rejections.is_empty()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Done,
        (false, false) => Exit::SomeRejected,
    })
}

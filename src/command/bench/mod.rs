//! `hemoflow bench`: kernels, networks, and what updates cost, measured by the program itself.

mod cost;
mod figures;
mod ingest;
mod input;
mod networks;
mod resident;
mod rig;
mod shadow;
mod soak;
mod stopwatch;
mod study;
mod sweep;
mod trace;
mod urgency;

use std::fs;
use std::path::Path;

use anyhow::Context;
use kernels::Device;
use serde::Serialize;

use super::Exit;
use crate::arguments::{Bench, BenchGraph, Part};
use crate::console::Console;

/// Measures what was asked for.
pub(super) fn bench(arguments: &Bench, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    match arguments {
        Bench::Kernels(kernels) => sweep::measure(kernels, device, console),
        Bench::Models(models) => networks::measure(models, device, console),
        Bench::Graph(graph) => measure_graph(graph, device, console),
        Bench::Ingest(ingest) => ingest::measure(ingest, device, console),
    }
}

/// Where the figures come from. They are worth comparing only with others of the same run.
#[derive(Debug, Serialize)]
struct Setting {
    revision: &'static str,
    device: String,
    /// What the device calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    cores: usize,
    seed: u64,
    quick: bool,
    note: &'static str,
}

impl Setting {
    fn of(device: Device, device_name: Option<String>, seed: u64, quick: bool, note: &'static str) -> Self {
        Self {
            revision: env!("HEMOFLOW_REVISION"),
            device: device.to_string(),
            device_name,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            seed,
            quick,
            note,
        }
    }

    /// The device, by what it is and what it calls itself.
    fn device_line(&self) -> String {
        let name = self.device_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        format!("{}{name} on {} cores", self.device, self.cores)
    }
}

/// All figures. What was not asked for is not there.
#[derive(Debug, Serialize)]
struct Figures {
    setting: Setting,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<cost::Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<resident::Residents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    soak: Option<soak::Soaks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    urgency: Option<urgency::Lanes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<shadow::Shadow>,
}

const NOTE: &str = "slices of 64 x 64 that need no decoding, a tiny model with random weights, every slice passes the gate \
                    of the masks: the graph is measured, not the networks";

fn measure_graph(arguments: &BenchGraph, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let setting = Setting::of(device, None, arguments.seed, arguments.quick, NOTE);
    console.line(format!(
        "revision {}, {}, seed {}\n{NOTE}\n",
        setting.revision,
        setting.device_line(),
        setting.seed
    ))?;
    let mut figures = Figures { setting, cost: None, resident: None, soak: None, urgency: None, shadow: None };
    let wanted = |part: Part| arguments.only.is_empty() || arguments.only.contains(&part);
    if wanted(Part::Cost) {
        figures.cost = Some(told(cost::measure(arguments, device)?, cost::Cost::lines, console)?);
    }
    if wanted(Part::Resident) {
        figures.resident = Some(told(resident::measure(arguments, device)?, resident::Residents::lines, console)?);
    }
    if wanted(Part::Urgency) {
        figures.urgency = Some(told(urgency::measure(arguments, device)?, urgency::Lanes::lines, console)?);
    }
    if wanted(Part::Shadow) {
        figures.shadow = Some(told(shadow::measure(arguments, device)?, shadow::Shadow::lines, console)?);
    }
    if wanted(Part::Soak) {
        figures.soak = Some(told(soak::measure(arguments, device)?, soak::Soaks::lines, console)?);
    }
    console.json(&figures)?;
    write(arguments.out.as_deref(), "graph.json", &figures)?;
    Ok(Exit::Done)
}

/// Tells the lines of a part and passes it on.
fn told<T>(part: T, lines: impl Fn(&T) -> Vec<String>, console: &mut Console) -> anyhow::Result<T> {
    for line in lines(&part) {
        console.line(line)?;
    }
    console.line("")?;
    Ok(part)
}

/// Writes figures as a file into a folder, if there is one to write to.
fn write(folder: Option<&Path>, file: &str, figures: &impl Serialize) -> anyhow::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    let file = folder.join(file);
    let text = serde_json::to_string_pretty(figures)?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, text))
        .with_context(|| format!("{} cannot be written", file.display()))
}

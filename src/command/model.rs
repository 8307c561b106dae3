//! `hemoflow model`: what a model is made of, and weights in and out.

use std::fs;
use std::path::Path;

use anyhow::Context;
use kernels::Device;
use operators::model::{self, import};
use operators::record::Digest;
use operators::train::TrainConfig;

use super::{Exit, inference};
use crate::arguments::Model;
use crate::console::Console;

/// Does what was asked with a model.
pub(super) fn model(arguments: &Model, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    match arguments {
        Model::Show { path } => show(path.as_deref(), device, console),
        Model::Import { file, out, name, seed } => import(file, out, name, *seed, device, console),
        Model::Export { path, out } => export(path.as_deref(), out, device, console),
    }
}

/// Prints the card, the digest and the layers.
fn show(path: Option<&Path>, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let model = inference::load_model(path, device)?;
    console.line(serde_json::to_string_pretty(model.card())?)?;
    console.line(format!("digest {}", model.digest()))?;
    let layers = model.layers()?;
    for (name, shape) in &layers {
        console.line(format!("{name:<48} {shape:?}"))?;
    }
    console.json(&serde_json::json!({
        "card": model.card(), "digest": model.digest().to_string(), "layers": layers,
    }))?;
    Ok(Exit::Done)
}

/// Makes a model whose encoder has the weights of a file.
fn import(
    file: &Path,
    out: &Path,
    name: &str,
    seed: u64,
    device: Device,
    console: &mut Console,
) -> anyhow::Result<Exit> {
    let named = || format!("the weights {}", file.display());
    let bytes = fs::read(file).with_context(named)?;
    let dictionary = import::state_dictionary(&bytes).with_context(named)?;
    let card = TrainConfig { seed, ..TrainConfig::default() }.card(name, env!("CARGO_PKG_VERSION"));
    let (mut card, network) = import::encoder(&dictionary, &card, seed, device).with_context(named)?;
    card.trained.data = format!("encoder from {}, sha256 {}", file.display(), Digest::of(&bytes));
    "as the imported weights; the other networks are untrained".clone_into(&mut card.trained.supervision);
    let model = model::Model::new(card, &network, device)?;
    model.save(out)?;
    let card = model.card();
    console.line(format!("model {}: {}, width {}, in {}", card.name, card.arch.word(), card.width, out.display()))?;
    console.json(card)?;
    Ok(Exit::Done)
}

/// Writes the encoder of a model.
fn export(path: Option<&Path>, out: &Path, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let model = inference::load_model(path, device)?;
    let bytes = import::export(&model.card().name, model.network())?;
    fs::write(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    console.line(format!(
        "the encoder of {} in {}, sha256 {}",
        model.card().name,
        out.display(),
        Digest::of(&bytes)
    ))?;
    console.json(&serde_json::json!({ "file": out, "sha256": Digest::of(&bytes).to_string() }))?;
    Ok(Exit::Done)
}

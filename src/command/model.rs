//! `hemoflow model`: what a model is made of.

use kernels::Device;

use super::{Exit, inference};
use crate::arguments::Model;
use crate::console::Console;

/// Prints the card, the digest and the layers.
pub(super) fn model(arguments: &Model, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let Model::Show { path } = arguments;
    let model = inference::load_model(path.as_deref(), device)?;
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

//! `hemoflow graphs`: the dataflow graphs as named trees.

use anyhow::bail;
use kernels::Device;

use super::Exit;
use crate::arguments::Graphs;
use crate::console::Console;

/// Prints the graphs, or the one that was named.
pub(super) fn graphs(arguments: &Graphs, _device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let known = graphs::catalogue()?;
    let wanted = |name: &str| arguments.name.as_deref().is_none_or(|wanted| wanted == name);
    if !known.iter().any(|(name, _)| wanted(name)) {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        bail!("no graph is named {:?}: there is {}", arguments.name.as_deref().unwrap_or_default(), names.join(", "));
    }
    for (name, tree) in known.into_iter().filter(|(name, _)| wanted(name)) {
        console.line(&tree)?;
        console.json(&serde_json::json!({ "name": name, "tree": tree.lines().collect::<Vec<_>>() }))?;
    }
    Ok(Exit::Done)
}

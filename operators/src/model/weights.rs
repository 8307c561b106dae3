//! Files: the card as JSON, the weights as safetensors with PyTorch's names and orders, so that torchvision reads the
//! encoder (`encoder.` dropped) and other tools read the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_store::{BurnToPyTorchAdapter, ModuleSnapshot as _, PyTorchToBurnAdapter, SafetensorsStore};
use kernels::Device;

use super::{Card, ModelError, Network, device};
use crate::record::Digest;

/// The configuration of a training lies beside the card under this name.
pub(crate) const CONFIG: &str = "config.json";

/// The networks as bytes of a safetensors file: the same weights give the same bytes.
pub(crate) fn write(name: &str, network: &Network) -> Result<Vec<u8>, ModelError> {
    let refused = |error: burn_store::SafetensorsStoreError| ModelError::Weights {
        name: name.to_owned(),
        reason: error.to_string(),
    };
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata().with_to_adapter(BurnToPyTorchAdapter);
    network.save_into(&mut store).map_err(refused)?;
    store.get_bytes().map_err(refused)
}

/// Name and shape of each array, from the header of a safetensors file: its length as a little-endian `u64`, then JSON.
pub(crate) fn shapes(name: &str, network: &Network) -> Result<BTreeMap<String, Vec<usize>>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Array {
        shape: Vec<usize>,
    }
    let bytes = write(name, network)?;
    let refused = |reason: &str| ModelError::Weights { name: name.to_owned(), reason: reason.to_owned() };
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| refused("no header"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let header = rest.get(..length).ok_or_else(|| refused("a header longer than the file"))?;
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|error| refused(&error.to_string()))?;
    header.remove("__metadata__");
    let shape = |(name, array)| {
        let array: Array = serde_json::from_value(array).map_err(|error| refused(&error.to_string()))?;
        Ok((name, array.shape))
    };
    header.into_iter().map(shape).collect()
}

/// The networks of `card` with the weights of a safetensors file.
pub(crate) fn read(card: &Card, bytes: Vec<u8>, device: Device) -> Result<Network, ModelError> {
    let refused = |reason: String| ModelError::Weights { name: card.name.clone(), reason };
    let mut network = Network::new(card, 0, &device::connect(device)?);
    let mut store = SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(PyTorchToBurnAdapter);
    let result = network.load_from(&mut store).map_err(|error| refused(error.to_string()))?;
    match (result.missing.first(), result.unused.first()) {
        (Some((missing, _)), _) => Err(refused(format!("{missing} is missing"))),
        (None, Some(unused)) => Err(refused(format!("{unused} belongs to no network of the card"))),
        (None, None) => Ok(network),
    }
}

/// Reads a card, or the one card of a folder, and the weights beside it.
pub(crate) fn load(path: &Path, device: Device) -> Result<(Card, Network), ModelError> {
    let path = find(path)?;
    let text = std::fs::read(&path).map_err(|source| ModelError::File { path: path.clone(), source })?;
    let card: Card = serde_json::from_slice(&text).map_err(|source| ModelError::Card { path: path.clone(), source })?;
    card.check()?;
    let weights = path.with_file_name(format!("{}.safetensors", card.name));
    let bytes = std::fs::read(&weights).map_err(|source| ModelError::File { path: weights.clone(), source })?;
    let found = Digest::of(&bytes).to_string();
    if found != card.sha256 {
        return Err(ModelError::Checksum { path: weights, expected: card.sha256, found });
    }
    let network = read(&card, bytes, device)?;
    Ok((card, network))
}

/// Writes both files, the weights first: a card never names weights that are not there.
pub(crate) fn save(folder: &Path, card: &Card, network: &Network) -> Result<(), ModelError> {
    std::fs::create_dir_all(folder).map_err(|source| ModelError::File { path: folder.to_owned(), source })?;
    let put =
        |path: PathBuf, bytes: &[u8]| std::fs::write(&path, bytes).map_err(|source| ModelError::File { path, source });
    put(folder.join(format!("{}.safetensors", card.name)), &write(&card.name, network)?)?;
    let path = folder.join(format!("{}.json", card.name));
    let mut text = serde_json::to_vec_pretty(card).map_err(|source| ModelError::Card { path: path.clone(), source })?;
    text.push(b'\n');
    put(path, &text)
}

/// The card that a path means.
fn find(path: &Path) -> Result<PathBuf, ModelError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let unreadable = |source| ModelError::File { path: path.to_owned(), source };
    let mut cards = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".json") && name != CONFIG {
            cards.push(file);
        }
    }
    match (cards.pop(), cards.len()) {
        (Some(card), 0) => Ok(card),
        (Some(_), others) => Err(ModelError::Cards { path: path.to_owned(), found: others + 1 }),
        (None, _) => Err(ModelError::Cards { path: path.to_owned(), found: 0 }),
    }
}

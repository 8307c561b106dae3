//! Weights of others as an encoder: a state dictionary of torchvision's ResNets, from PyTorch (`.pt`, `.pth`) or safetensors.
//!
//! Names and shapes say which network it is. The last layer is left out (its classes are others), and so is what no encoder
//! has (`num_batches_tracked`). Nothing of a pickle is executed.

mod archive;
mod pickle;

use std::collections::BTreeMap;
use std::path::Path;

use super::{Arch, Card, ModelError, Network, connect, weights};

/// An array of weights, row major.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Sides.
    pub shape: Vec<usize>,
    /// Numbers, as many as the sides say.
    pub values: Vec<f32>,
}

/// Arrays by name.
pub type StateDictionary = BTreeMap<String, Weights>;

/// Why a file gives no encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is neither a PyTorch nor a safetensors file, or is damaged.
    #[error("{0}")]
    Form(String),
    /// The arrays are those of another network.
    #[error("not the weights of a ResNet of torchvision: {0}")]
    Network(String),
    /// The networks cannot be made.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The arrays of a file, PyTorch's or safetensors, by its first bytes. What is stored as anything but floating-point numbers
/// is left out.
///
/// # Errors
///
/// Returns [`ImportError::Form`] if it is neither, or damaged.
pub fn state_dictionary(bytes: &[u8]) -> Result<StateDictionary, ImportError> {
    let arrays = if bytes.starts_with(b"PK") {
        archive::zipped(bytes)
    } else if bytes.starts_with(&[0x80]) {
        archive::legacy(bytes)
    } else {
        archive::safetensors(bytes)
    };
    arrays.map_err(ImportError::Form)
}

/// The name of an array in an encoder: without what stands before torchvision's names.
fn plain(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = ["state_dict.", "model.", "module.", "encoder.", "backbone."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
    {
        name = rest;
    }
    name
}

/// Which network the arrays are of: kind and width.
fn kind(arrays: &BTreeMap<&str, &Weights>) -> Result<(Arch, usize, usize), ImportError> {
    let wrong = |what: &str| ImportError::Network(what.to_owned());
    let stem = arrays.get("conv1.weight").ok_or_else(|| wrong("there is no conv1.weight"))?;
    let [width, channels, 7, 7] = stem.shape[..] else {
        return Err(wrong(&format!("conv1.weight is {:?}, must be [width, channels, 7, 7]", stem.shape)));
    };
    let blocks = |stage: usize| {
        (0..).take_while(|block| arrays.contains_key(format!("layer{stage}.{block}.conv1.weight").as_str())).count()
    };
    let blocks = [1, 2, 3, 4].map(blocks);
    let bottleneck = arrays.contains_key("layer1.0.conv3.weight");
    let all = [Arch::ResNet18, Arch::ResNet34, Arch::ResNet50, Arch::ResNet101];
    let found = all.into_iter().find(|arch| arch.blocks() == blocks && arch.bottleneck() == bottleneck);
    let arch = found.ok_or_else(|| wrong(&format!("its stages have {blocks:?} blocks")))?;
    Ok((arch, width, channels))
}

/// A card and networks whose encoder has the imported weights; `card` is what they otherwise are, `seed` decides their other
/// weights.
///
/// # Errors
///
/// Returns [`ImportError`] if the arrays are no ResNet's, see another number of windows, or one is missing or of another
/// shape.
pub fn encoder(
    dictionary: &StateDictionary,
    card: &Card,
    seed: u64,
    device: kernels::Device,
) -> Result<(Card, Network), ImportError> {
    let arrays: BTreeMap<&str, &Weights> = dictionary.iter().map(|(name, array)| (plain(name), array)).collect();
    let (arch, width, channels) = kind(&arrays)?;
    if channels != card.windows.len() {
        let windows = card.windows.len();
        return Err(ImportError::Network(format!("it sees {channels} channels, the card has {windows} windows")));
    }
    let card = Card { arch, width, ..card.clone() };
    card.check()?;
    let network = Network::new(&card, seed, &connect(device)?);
    let mut own = archive::safetensors(&weights::write(&card.name, &network)?).map_err(ImportError::Form)?;
    let mut unused: Vec<&str> = arrays.keys().copied().filter(|name| !is_left_out(name)).collect();
    for (name, slot) in &mut own {
        let Some(name) = name.strip_prefix("encoder.").filter(|name| !is_left_out(name)) else { continue };
        let array = arrays.get(name).ok_or_else(|| ImportError::Network(format!("{name} is missing")))?;
        if array.shape != slot.shape {
            let detail = format!("{name} is {:?}, must be {:?}", array.shape, slot.shape);
            return Err(ImportError::Network(detail));
        }
        slot.values.clone_from(&array.values);
        unused.retain(|other| *other != name);
    }
    if let Some(name) = unused.first() {
        return Err(ImportError::Network(format!("{name} belongs to no layer of {}", arch.word())));
    }
    let network = weights::read(&card, archive::as_safetensors(&own), device)?;
    Ok((card, network))
}

/// The last layer, and counters.
fn is_left_out(name: &str) -> bool {
    name.starts_with("fc.") || name.ends_with("num_batches_tracked")
}

/// The encoder of some networks as a safetensors file with torchvision's names, without its last layer.
///
/// # Errors
///
/// Returns [`ImportError`] if the weights cannot be written.
pub fn export(name: &str, network: &Network) -> Result<Vec<u8>, ImportError> {
    let own = archive::safetensors(&weights::write(name, network)?).map_err(ImportError::Form)?;
    let encoder = own.into_iter().filter_map(|(name, array)| {
        let name = name.strip_prefix("encoder.").filter(|name| !is_left_out(name))?;
        Some((name.to_owned(), array))
    });
    Ok(archive::as_safetensors(&encoder.collect()))
}

/// Reads a file; see [`state_dictionary`].
///
/// # Errors
///
/// Returns [`ImportError`] if it cannot be read, or as [`state_dictionary`].
pub fn read(path: &Path) -> Result<StateDictionary, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::File { path: path.to_owned(), source })?;
    state_dictionary(&bytes)
}

#[cfg(test)]
mod tests {
    use super::super::card::tests::tiny;
    use super::*;
    use crate::model::Model;
    use kernels::Device;

    #[test]
    fn what_was_exported_is_imported_for_every_kind() {
        for arch in [Arch::ResNet18, Arch::ResNet34, Arch::ResNet50, Arch::ResNet101] {
            let card = Card { arch, width: 2, ..tiny() };
            let model = Model::untrained(card.clone(), 4, Device::Cpu).unwrap();
            let file = export("tiny", model.network()).unwrap();
            let dictionary = state_dictionary(&file).unwrap();
            assert!(dictionary.contains_key("layer4.1.bn1.running_var") && !dictionary.contains_key("fc.weight"));
            let (found, network) =
                encoder(&dictionary, &Card { arch: Arch::ResNet18, width: 9, ..card }, 5, Device::Cpu).unwrap();
            assert_eq!((found.arch, found.width), (arch, 2));
            assert_eq!(export("tiny", &network).unwrap(), file);
        }
    }

    #[test]
    fn what_is_no_such_network_is_named() {
        let model = Model::untrained(Card { width: 2, ..tiny() }, 4, Device::Cpu).unwrap();
        let dictionary = state_dictionary(&export("tiny", model.network()).unwrap()).unwrap();
        let refused = |dictionary: &StateDictionary, card: &Card| {
            encoder(dictionary, card, 1, Device::Cpu).unwrap_err().to_string()
        };
        let without = |name: &str| {
            dictionary.iter().filter(|(other, _)| *other != name).map(|(n, a)| (n.clone(), a.clone())).collect()
        };
        assert!(refused(&without("conv1.weight"), &tiny()).contains("conv1.weight"));
        assert!(refused(&without("layer2.0.bn1.bias"), &tiny()).contains("layer2.0.bn1.bias is missing"));
        assert!(refused(&without("layer4.1.conv1.weight"), &tiny()).contains("[2, 2, 2, 1] blocks"));
        let one = Card { windows: tiny().windows[..1].to_vec(), ..tiny() };
        assert!(refused(&dictionary, &one).contains("3 channels"));
        let mut other = dictionary.clone();
        other.insert("layer9.weight".to_owned(), Weights { shape: vec![1], values: vec![0.0] });
        assert!(refused(&other, &tiny()).contains("layer9.weight belongs to no layer"));
        other.remove("layer9.weight");
        other.insert("bn1.bias".to_owned(), Weights { shape: vec![3], values: vec![0.0; 3] });
        assert!(refused(&other, &tiny()).contains("bn1.bias is [3], must be [2]"));
    }
}

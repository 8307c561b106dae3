//! A stage of training on disk, after an epoch: what a killed training goes on from.
//!
//! `<stage>.checkpoint` holds, in this order: the line `hemoflow checkpoint 1`, the length of the header as a little-endian
//! `u64`, the header as JSON, the weights (safetensors), the state of the optimizer (burnpack), the best weights so far
//! (safetensors), and the SHA-256 of all that. It is written beside its place, flushed, and moved there: a kill leaves the
//! file of this epoch or of the one before, never half a file.
//!
//! There is no random state to keep: what a step draws follows from the seed and the number of the step ([`Random::item`]).
//!
//! [`Random::item`]: super::Random::item

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Tensor};
use burn_store::{ModuleSnapshot as _, SafetensorsStore};
use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::record::Digest;

const MAGIC: &[u8] = b"hemoflow checkpoint 1\n";

/// What an epoch told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) loss: f64,
    pub(crate) score: Option<f64>,
}

/// A number to the last bit, which decimal digits are not sure to keep.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Bits(u64);

impl Bits {
    fn of(number: f64) -> Self {
        Self(number.to_bits())
    }

    fn number(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A stage after some epochs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// Names what is trained, from what and on what.
    pub(crate) key: Digest,
    /// All epochs so far.
    pub(crate) told: Vec<Told>,
    /// The score of the best weights.
    pub(crate) best_score: Option<f64>,
    /// The weights after the last of these epochs.
    pub(crate) weights: Vec<u8>,
    /// The optimizer's state then.
    pub(crate) optimizer: Vec<u8>,
    /// The best weights so far.
    pub(crate) best: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    key: Digest,
    /// Loss and score of each epoch.
    told: Vec<(Bits, Option<Bits>)>,
    best_score: Option<Bits>,
    /// Lengths of weights, optimizer and best weights, bytes.
    lengths: [usize; 3],
}

impl Checkpoint {
    fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let header = Header {
            key: self.key,
            told: self.told.iter().map(|told| (Bits::of(told.loss), told.score.map(Bits::of))).collect(),
            best_score: self.best_score.map(Bits::of),
            lengths: [self.weights.len(), self.optimizer.len(), self.best.len()],
        };
        let header = serde_json::to_vec(&header)?;
        let length = u64::try_from(header.len()).unwrap_or(u64::MAX).to_le_bytes();
        let mut bytes =
            [MAGIC, length.as_slice(), header.as_slice(), &self.weights, &self.optimizer, &self.best].concat();
        let sum = Digest::of(&bytes);
        bytes.extend_from_slice(sum.as_bytes());
        Ok(bytes)
    }

    /// `None` for bytes that are no whole checkpoint.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk::<32>()?;
        if Digest::of(content).as_bytes() != sum {
            return None;
        }
        let (length, rest) = content.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let (header, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let Header { key, told, best_score, lengths: [weights, optimizer, best] } =
            serde_json::from_slice(header).ok()?;
        let (weights, rest) = rest.split_at_checked(weights)?;
        let (optimizer, rest) = rest.split_at_checked(optimizer)?;
        let best = (rest.len() == best).then(|| rest.to_vec())?;
        let told = told.into_iter().map(|(loss, score)| Told { loss: loss.number(), score: score.map(Bits::number) });
        let (told, best_score) = (told.collect(), best_score.map(Bits::number));
        Some(Self { key, told, best_score, weights: weights.to_vec(), optimizer: optimizer.to_vec(), best })
    }

    /// Writes the checkpoint of a stage into a folder, which is made if there is none.
    pub(crate) fn write(&self, folder: &Path, stage: &str) -> Result<(), TrainError> {
        let path = place(folder, stage);
        let put = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&self.bytes()?)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(folder)?.sync_all()
        };
        put().map_err(|source| TrainError::Checkpoint { path: path.clone(), reason: source.to_string() })
    }

    /// Reads the checkpoint of a stage; `None` if there is none.
    pub(crate) fn read(folder: &Path, stage: &str) -> Result<Option<Self>, TrainError> {
        let path = place(folder, stage);
        let refused = |path: &Path, reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(&path, error.to_string())),
            Ok(bytes) => match Self::parse(&bytes) {
                Some(checkpoint) => Ok(Some(checkpoint)),
                None => Err(refused(&path, "it is damaged: remove it, or train without --resume".to_owned())),
            },
        }
    }
}

fn place(folder: &Path, stage: &str) -> PathBuf {
    folder.join(format!("{stage}.checkpoint"))
}

/// The module with its parameters numbered in the order of its fields: an optimizer's state knows parameters by number, and
/// random numbers of another process would mean nothing.
pub(crate) fn numbered<M: Module>(module: M) -> M {
    struct Number(u64);
    impl ModuleMapper for Number {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (_, tensor, mapper) = param.consume();
            self.0 += 1;
            Param::from_mapped_value(ParamId::from(self.0), tensor, mapper)
        }
    }
    module.map(&mut Number(0))
}

/// The weights of a module that is not in training, to the bit.
pub(crate) fn weights<M: Module>(module: &M) -> Result<Vec<u8>, String> {
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata();
    module.save_into(&mut store).map_err(|error| error.to_string())?;
    store.get_bytes().map_err(|error| error.to_string())
}

/// The module with weights that [`weights`] gave.
pub(crate) fn with_weights<M: Module>(mut module: M, bytes: &[u8]) -> Result<M, String> {
    let mut store = SafetensorsStore::from_bytes(Some(bytes.to_vec()));
    let result = module.load_from(&mut store).map_err(|error| error.to_string())?;
    match (result.missing.first(), result.unused.first()) {
        (Some((missing, _)), _) => Err(format!("{missing} is missing")),
        (None, Some(unused)) => Err(format!("{unused} belongs to another network")),
        (None, None) => Ok(module),
    }
}

/// The optimizer's state.
pub(crate) fn state(optimizer: &ModuleOptimizer) -> Result<Vec<u8>, String> {
    optimizer.into_bytes().map(|bytes| bytes.to_vec()).map_err(|error| error.to_string())
}

/// The optimizer with a state that [`state`] gave.
pub(crate) fn with_state(optimizer: ModuleOptimizer, bytes: &[u8]) -> Result<ModuleOptimizer, String> {
    optimizer.from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            key: Digest::of(b"key"),
            told: vec![Told { loss: 0.1 + 0.2, score: None }, Told { loss: 1.0 / 3.0, score: Some(0.7) }],
            best_score: Some(0.7),
            weights: vec![1, 2, 3],
            optimizer: vec![],
            best: vec![4],
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_next_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made");
        assert_eq!(Checkpoint::read(&folder, "head").unwrap(), None);
        for best_score in [None, Some(0.5)] {
            let checkpoint = Checkpoint { best_score, ..checkpoint() };
            checkpoint.write(&folder, "head").unwrap();
            assert_eq!(Checkpoint::read(&folder, "head").unwrap(), Some(checkpoint));
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        }
    }

    #[test]
    fn no_damage_passes() {
        let bytes = checkpoint().bytes().unwrap();
        assert_eq!(Checkpoint::parse(&bytes), Some(checkpoint()));
        assert!((0..bytes.len()).all(|length| Checkpoint::parse(&bytes[..length]).is_none()));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(Checkpoint::parse(&damaged), None, "byte {place}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(place(folder.path(), "cam"), b"no checkpoint").unwrap();
        let error = Checkpoint::read(folder.path(), "cam").unwrap_err().to_string();
        assert!(error.contains("cam.checkpoint") && error.contains("damaged"), "{error}");
    }
}

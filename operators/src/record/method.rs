//! The numbers of the method, and the name that they give to results together with the model.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::model::{Card, MapGrid};
use crate::refine::RefineConfig;

/// How evidence becomes masks. Every number is part of the name of a result: a changed number is a new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MethodConfig {
    /// Positions on each side that the probability of a slice depends on.
    pub context_radius: usize,
    /// A wider step between slices, mm, ends a run: no context, no fusion and no volume across it.
    pub max_gap_mm: f64,
    /// Positions on each side whose activation maps are fused.
    pub fuse_reach: usize,
    /// The part of a slice's normalized activation map above this is the region to refine.
    pub cam_threshold: f32,
    /// Whether the cells of a map lie where the encoder looks; otherwise each lies in the middle of its square, as published, half a
    /// cell off or more.
    pub cam_aligned: bool,
    /// Slices below this single-slice probability have no activation map.
    pub cam_gate: f32,
    /// Slices at or above this probability in their sequence have masks.
    pub mask_gate: f32,
    /// How a region becomes a pseudo-mask.
    pub refine: RefineConfig,
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self {
            context_radius: 7,
            max_gap_mm: 12.0,
            fuse_reach: 2,
            cam_threshold: 0.7,
            cam_aligned: true,
            cam_gate: 0.1,
            mask_gate: 0.5,
            refine: RefineConfig::default(),
        }
    }
}

impl MethodConfig {
    /// The numbers that only the card of a model can tell: how far its context reaches, and where its masks begin.
    pub const OF_CARD: [&str; 2] = ["context_radius", "mask_gate"];

    /// These numbers with [those of a model's card](Self::OF_CARD).
    #[must_use]
    pub fn of(self, card: &Card) -> Self {
        Self { context_radius: card.context_radius, mask_gate: card.gate, ..self }
    }

    /// Where the cells of a model's maps lie to this method.
    #[must_use]
    pub fn grid(&self, maps: MapGrid) -> MapGrid {
        if self.cam_aligned { maps } else { MapGrid { before: [0.0; 2], ..maps } }
    }
}

/// A model by name, version and weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelName {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its weights.
    pub sha256: String,
}

/// A method as it names its results: the numbers and the digests that stand for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// The numbers.
    pub config: MethodConfig,
    /// What people call the model.
    pub name: ModelName,
    /// Names the weights: encodings and logits depend on nothing else.
    pub model: Digest,
    /// Names the weights and the numbers: masks depend on both.
    pub digest: Digest,
}

impl Method {
    /// The method of this model and these numbers.
    ///
    /// # Errors
    ///
    /// Returns the serializer's error if a number cannot be written.
    pub fn new(model: Digest, name: ModelName, config: MethodConfig) -> Result<Self, serde_json::Error> {
        let numbers = serde_json::to_vec(&config)?;
        let digest = Digest::builder("method").digest(&model).bytes(&numbers).finish();
        Ok(Self { config, name, model, digest })
    }
}

/// The methods that records can name. A method's numbers are no identities, so they stand here and their name flows.
#[derive(Clone, Debug, Default)]
pub struct Methods(Arc<RwLock<BTreeMap<Digest, Arc<Method>>>>);

impl Methods {
    /// Adds a method. Do so before a record names it.
    pub fn add(&self, method: Method) -> Arc<Method> {
        let mut methods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(methods.entry(method.digest).or_insert_with(|| Arc::new(method)))
    }

    /// The method of this name.
    #[must_use]
    pub fn get(&self, name: &Digest) -> Option<Arc<Method>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::card::tests::tiny;

    #[test]
    fn a_card_decides_its_own_numbers_and_no_others() {
        let card = Card { context_radius: 3, gate: 0.25, ..tiny() };
        let before = MethodConfig { fuse_reach: 1, ..MethodConfig::default() };
        let [before, after] =
            [before.clone(), before.of(&card)].map(|config| serde_json::to_value(config).expect("plain data"));
        let (before, after) = (before.as_object().expect("numbers"), after.as_object().expect("numbers"));
        let differ: Vec<&str> =
            before.iter().filter(|(name, number)| after[*name] != **number).map(|(name, _)| name.as_str()).collect();
        assert_eq!(differ, MethodConfig::OF_CARD);
        assert_eq!((&after["context_radius"], &after["mask_gate"]), (&3.into(), &0.25.into()));
    }
}

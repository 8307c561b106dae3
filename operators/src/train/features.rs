//! What stages 2 and 3 learn from: the features of all slices, from an encoder that no longer changes.

use super::classifier::encode;
use super::{Images, Split, TrainError};
use crate::model::Model;

/// Pooled features and single-slice logits, by slice; empty for slices that the split leaves out.
#[derive(Clone, Debug)]
pub struct Features {
    pub(crate) features: Vec<Vec<f32>>,
    pub(crate) logits: Vec<f32>,
}

impl Features {
    /// Encodes every slice of the split once.
    ///
    /// # Errors
    ///
    /// Returns [`TrainError::Model`] if the encoder cannot run.
    pub fn of(model: &Model, images: &Images, split: &Split) -> Result<Self, TrainError> {
        let mut all = Self { features: vec![Vec::new(); images.slices()], logits: vec![0.0; images.slices()] };
        for runs in [&split.training, &split.validation] {
            let slices = images.slices_of(runs);
            for (&slice, (feature, logit)) in slices.iter().zip(encode(model, images, &slices)?) {
                (all.features[slice], all.logits[slice]) = (feature, logit);
            }
        }
        Ok(all)
    }
}

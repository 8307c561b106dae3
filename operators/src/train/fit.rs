//! The loop that all stages share.

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Tensor;

use super::checkpoint::{self, Checkpoint, Told};
use super::{Course, StageConfig, TrainError};

/// What a stage tells after each epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// `classifier`, `head`, `cam` or `segmenter`.
    pub stage: &'static str,
    /// The epoch, from 1.
    pub epoch: usize,
    /// How many there will be.
    pub epochs: usize,
    /// The mean loss of its steps.
    pub loss: f64,
    /// What the weights score on the slices that were held back, if there are any of both labels.
    pub score: Option<f64>,
}

/// What a stage tells after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// As in [`Progress`].
    pub stage: &'static str,
    /// Steps that are done, through all epochs.
    pub done: usize,
    /// How many there will be.
    pub steps: usize,
}

/// Trains a module and gives its best weights, by `score` (the last ones where there is none), with their score.
///
/// `loss` draws `count` samples for a step and gives their mean loss. Its step number counts through all epochs and is all that
/// it may remember: a training that goes on from a checkpoint begins with a later step.
#[allow(clippy::needless_pass_by_value, reason = "a training ends what it began with")]
pub(crate) fn fit<M: Module>(
    stage: &'static str,
    config: StageConfig,
    module: M,
    mut loss: impl FnMut(&M, usize, usize) -> Result<Tensor<1>, TrainError>,
    mut score: impl FnMut(&M) -> Result<Option<f64>, TrainError>,
    course: &mut Course,
) -> Result<(M, Option<f64>), TrainError> {
    if config.batch == 0 {
        return Err(TrainError::Config { what: "batch", value: 0.0, must: "at least 1" });
    }
    let unkept = |reason| TrainError::Unkept { stage, reason };
    let epochs = config.epochs;
    let steps = config.samples.div_ceil(config.batch);
    let mut module = module.valid();
    let key = course.key(stage, || checkpoint::weights(&module)).map_err(unkept)?;
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(config.weight_decay).init();
    let mut told: Vec<Told> = Vec::new();
    // The best weights, or the bytes that they are kept as: two modules of one may share what batches taught them.
    let (mut best, mut kept_best, mut best_score) = (None, None, None);
    if let Some(kept) = course.kept(stage, key)? {
        (kept_best, best_score) = (Some(kept.best), kept.best_score);
        module = checkpoint::with_weights(module, &kept.weights).map_err(unkept)?;
        optimizer = checkpoint::with_state(optimizer, &kept.optimizer).map_err(unkept)?;
        told = kept.told;
        for (epoch, Told { loss, score }) in (1..).zip(&told) {
            course.tell(&Progress { stage, epoch, epochs, loss: *loss, score: *score });
        }
    }
    let mut module = checkpoint::numbered(module).train().unfreeze();
    for epoch in told.len() + 1..=epochs {
        let mut sum = 0.0;
        for index in 0..steps {
            let step = (epoch - 1) * steps + index;
            let loss = loss(&module, step, config.batch)?;
            sum += f64::from(loss.clone().into_scalar::<f32>());
            if !sum.is_finite() {
                return Err(TrainError::Diverged { stage, epoch });
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &module);
            let rate = learning_rate(config.learning_rate, step, epochs * steps);
            module = optimizer.step(rate, module, gradients);
            course.step(Step { stage, done: step + 1, steps: epochs * steps });
        }
        let valid = module.valid();
        let (loss, score) = (sum / count(steps.max(1)), score(&valid)?);
        told.push(Told { loss, score });
        if score.is_none() || best_score.is_none() || score > best_score {
            (best, kept_best, best_score) = (Some(valid.clone()), None, score);
        }
        course.keep(stage, || {
            Ok(Checkpoint {
                key,
                told: told.clone(),
                best_score,
                weights: checkpoint::weights(&valid)?,
                optimizer: checkpoint::state(&optimizer)?,
                best: kept_best.clone().map_or_else(|| checkpoint::weights(best.as_ref().unwrap_or(&valid)), Ok)?,
            })
        })?;
        course.tell(&Progress { stage, epoch, epochs, loss, score });
    }
    let last = module.valid();
    let best = match kept_best {
        Some(kept) => checkpoint::with_weights(last, &kept).map_err(unkept)?,
        None => best.unwrap_or(last),
    };
    Ok((best, best_score))
}

/// The learning rate of a step: rising over the first twentieth of all steps, then falling to zero along a cosine.
fn learning_rate(highest: f64, step: usize, total: usize) -> f64 {
    let rise = total.div_ceil(20);
    if step < rise {
        highest * count(step + 1) / count(rise)
    } else {
        let part = count(step - rise) / count((total - rise).max(1));
        highest * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * part))
    }
}

/// A count as the arithmetic of a training takes it.
#[allow(clippy::as_conversions, reason = "counts are far below 2^52")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls_to_zero() {
        let rates: Vec<f64> = (0..100).map(|step| learning_rate(1.0, step, 100)).collect();
        assert!(rates[..5].is_sorted() && rates[5..].is_sorted_by(|a, b| a >= b));
        assert!((rates[4] - 1.0).abs() < 1e-12 && rates[0] > 0.0 && rates[99] < 1e-3 && rates[99] > 0.0);
    }
}

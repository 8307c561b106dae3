//! What training reads: slices with their labels, brought to the networks' input once and kept as bytes.

use std::ops::Range;
use std::sync::Arc;

use kernels::units::Window;
use rayon::prelude::*;

use super::fit::count;
use super::{Random, TrainConfig, TrainError};
use crate::record::{Digest, Plane};

/// One slice and its label.
#[derive(Clone, Debug)]
pub struct TrainSlice {
    /// The pixels.
    pub plane: Arc<Plane>,
    /// Distance between rows and between columns, mm.
    pub spacing_mm: [f64; 2],
    /// Whether the slice shows a hemorrhage of any kind.
    pub label: bool,
}

/// One contiguous run of slices. A series with gaps gives several, with the same key.
#[derive(Clone, Debug)]
pub struct TrainSeries {
    /// Names the series: runs of one key are never split between training and validation.
    pub key: String,
    /// In z order.
    pub slices: Vec<TrainSlice>,
}

/// One run of the images.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) key: String,
    pub(crate) slices: Range<usize>,
}

/// The training data at the networks' input size: intensities in 1/255, `[windows, size, size]` for each slice.
#[derive(Clone, Debug)]
pub struct Images {
    pub(crate) size: usize,
    pub(crate) windows: Vec<Window>,
    pub(crate) pixels: Vec<Box<[u8]>>,
    pub(crate) labels: Vec<bool>,
    pub(crate) runs: Vec<Run>,
}

/// Which slices train and which choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Runs to train on.
    pub(crate) training: Vec<usize>,
    /// Runs that are held back.
    pub(crate) validation: Vec<usize>,
}

impl Split {
    /// Whether a run is trained on or held back, and not left out.
    #[must_use]
    pub fn uses(&self, run: usize) -> bool {
        self.training.contains(&run) || self.validation.contains(&run)
    }
}

impl Images {
    /// No slice yet, of the size and windows of `config`.
    #[must_use]
    pub fn new(config: &TrainConfig) -> Self {
        Self {
            size: config.input_size,
            windows: config.windows.clone(),
            pixels: Vec::new(),
            labels: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Adds a run. `preprocess` gives the intensities of a slice in `[0, 1]`, `[windows, size, size]`: the `window` kernel.
    ///
    /// # Errors
    ///
    /// Returns [`TrainError::Preprocess`] for the first slice that has no such image; nothing is added then.
    pub fn add<E: std::fmt::Display + Send>(
        &mut self,
        series: &TrainSeries,
        preprocess: impl Fn(&Plane) -> Result<Vec<f32>, E> + Sync,
    ) -> Result<(), TrainError> {
        let expected = self.windows.len() * self.size * self.size;
        let images = series.slices.par_iter().enumerate().map(|(slice, input)| {
            let failed = |reason: String| TrainError::Preprocess { series: series.key.clone(), slice, reason };
            let image = preprocess(&input.plane).map_err(|error| failed(error.to_string()))?;
            if image.len() != expected {
                return Err(failed(format!("{} intensities, must be {expected}", image.len())));
            }
            Ok(image.into_iter().map(byte).collect())
        });
        let images: Vec<Box<[u8]>> = images.collect::<Result<_, TrainError>>()?;
        let start = self.pixels.len();
        self.pixels.extend(images);
        self.labels.extend(series.slices.iter().map(|slice| slice.label));
        self.runs.push(Run { key: series.key.clone(), slices: start..self.pixels.len() });
        Ok(())
    }

    /// The number of slices.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.labels.len()
    }

    /// The number of slices with a hemorrhage.
    #[must_use]
    pub fn positive_slices(&self) -> usize {
        self.labels.iter().filter(|&&label| label).count()
    }

    /// The number of series.
    #[must_use]
    pub fn series(&self) -> usize {
        self.runs.iter().map(|run| run.key.as_str()).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Splits by series: each label keeps its share, and the seed decides which.
    ///
    /// # Errors
    ///
    /// Returns [`TrainError::Config`] for a part outside `0..=1` and [`TrainError::OneLabel`] if nothing can be learned from
    /// what is left for training.
    pub fn split(&self, config: &TrainConfig) -> Result<Split, TrainError> {
        if !(config.fraction > 0.0 && config.fraction <= 1.0) {
            return Err(TrainError::Config { what: "fraction", value: config.fraction, must: "in 0..=1 and not 0" });
        }
        if !(0.0..=1.0).contains(&config.partners) {
            return Err(TrainError::Config { what: "partners", value: config.partners, must: "in 0..=1" });
        }
        if !(0.0..1.0).contains(&config.validation) {
            return Err(TrainError::Config { what: "validation", value: config.validation, must: "in 0..1" });
        }
        let mut keys: Vec<&str> = self.runs.iter().map(|run| run.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        Random::new(config.seed, "split").shuffle(&mut keys);
        let positive = |key: &str| {
            self.runs.iter().filter(|run| run.key == key).any(|run| self.labels[run.slices.clone()].contains(&true))
        };
        let (with, without): (Vec<&str>, Vec<&str>) = keys.into_iter().partition(|key| positive(key));
        let mut held: Vec<&str> = Vec::new();
        let mut used: Vec<&str> = Vec::new();
        for keys in [with, without] {
            let count = share(keys.len(), config.fraction).max(keys.len().min(1));
            let back = share(count, config.validation);
            held.extend(&keys[..back]);
            used.extend(&keys[back..count]);
        }
        let runs = |keys: &[&str]| -> Vec<usize> {
            (0..self.runs.len()).filter(|&run| keys.contains(&self.runs[run].key.as_str())).collect()
        };
        let split = Split { training: runs(&used), validation: runs(&held) };
        let slices = self.slices_of(&split.training);
        let positive = slices.iter().filter(|&&slice| self.labels[slice]).count();
        if positive == 0 || positive == slices.len() {
            return Err(TrainError::OneLabel { slices: slices.len(), positive });
        }
        Ok(split)
    }

    /// Names all that a training with `config` depends on, but for its first weights and its masks.
    pub(crate) fn digest(&self, config: &TrainConfig) -> Digest {
        let slices: Vec<Digest> = self.pixels.par_iter().map(|pixels| Digest::of(pixels)).collect();
        let labels: Vec<u8> = self.labels.iter().map(|label| u8::from(*label)).collect();
        let numbers = serde_json::to_vec(config).unwrap_or_default();
        let start = Digest::builder("training").bytes(&numbers).bytes(&labels);
        let runs = self.runs.iter().fold(start, |name, run| {
            let length = u64::try_from(run.slices.len()).unwrap_or(u64::MAX);
            name.bytes(run.key.as_bytes()).bytes(&length.to_le_bytes())
        });
        slices.iter().fold(runs, |name, slice| name.digest(slice)).finish()
    }

    /// The slices of some runs.
    pub(crate) fn slices_of(&self, runs: &[usize]) -> Vec<usize> {
        runs.iter().flat_map(|&run| self.runs[run].slices.clone()).collect()
    }

    /// For each slice the one without a hemorrhage in a run of the same key whose place in its run is nearest, if there is one.
    pub(crate) fn partners(&self) -> Vec<Option<usize>> {
        let places = |run: &Run| {
            let slices = count(run.slices.len());
            run.slices.clone().enumerate().map(move |(index, slice)| (slice, (count(index) + 0.5) / slices))
        };
        let mut partners = vec![None; self.slices()];
        for run in &self.runs {
            let runs = self.runs.iter().filter(|other| other.key == run.key);
            let negatives: Vec<(usize, f64)> =
                runs.flat_map(places).filter(|(slice, _)| !self.labels[*slice]).collect();
            for (slice, place) in places(run) {
                let far = |other: &&(usize, f64)| (other.1 - place).abs();
                let nearest = negatives.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
                partners[slice] = nearest.map(|(slice, _)| *slice);
            }
        }
        partners
    }

    /// A slice's first `channels` channels as intensities, appended to `into`.
    pub(crate) fn intensities(&self, slice: usize, channels: usize, into: &mut Vec<f32>) {
        into.extend(
            self.pixels[slice][..channels * self.size * self.size].iter().map(|&value| f32::from(value) / 255.0),
        );
    }
}

#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=255"
)]
fn byte(intensity: f32) -> u8 {
    (intensity.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// A part of a count, rounded.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of series")]
fn share(number: usize, part: f64) -> usize {
    (count(number) * part).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::{images, toy};

    #[test]
    fn a_split_is_by_series_stratified_and_repeats() {
        let (images, config) = images(40, &TrainConfig { validation: 0.25, ..toy() });
        let split = images.split(&config).unwrap();
        assert_eq!(split, images.split(&config).unwrap());
        let keys = |runs: &[usize]| -> Vec<&str> { runs.iter().map(|&run| images.runs[run].key.as_str()).collect() };
        let (training, validation) = (keys(&split.training), keys(&split.validation));
        assert!(validation.len() == 10 && training.len() == 30);
        assert!(validation.iter().all(|key| !training.contains(key)));
        let other = images.split(&TrainConfig { seed: config.seed + 1, ..config }).unwrap();
        assert_ne!(split, other);
    }

    #[test]
    fn a_fraction_keeps_the_mix_of_series() {
        let (images, config) = images(40, &TrainConfig { fraction: 0.5, validation: 0.0, ..toy() });
        let positive = |runs: &[usize]| {
            runs.iter().filter(|&&run| images.labels[images.runs[run].slices.clone()].contains(&true)).count()
        };
        let split = images.split(&config).unwrap();
        let all: Vec<usize> = (0..images.runs.len()).collect();
        assert!(split.validation.is_empty() && split.training.len().abs_diff(20) <= 1);
        assert!((2 * positive(&split.training)).abs_diff(positive(&all)) <= 1);
        let used: Vec<usize> = all.into_iter().filter(|run| split.uses(*run)).collect();
        assert_eq!(used, split.training, "what the fraction leaves out is not used");
    }

    #[test]
    fn a_partner_is_the_nearest_slice_without_a_hemorrhage_of_the_same_key() {
        let run = |key: &str, slices| Run { key: key.to_owned(), slices };
        let labels =
            [false, true, true, true, /* one without */ false, false, false, false, /* alone */ true, true];
        let images = Images {
            labels: labels.to_vec(),
            runs: vec![run("a", 0..4), run("a", 4..8), run("b", 8..10)],
            ..Images::new(&toy())
        };
        let partners = images.partners();
        assert_eq!(partners[1..4], [Some(5), Some(6), Some(7)]);
        assert_eq!(partners[8..], [None, None]);
        let half = Images { labels: labels[..7].to_vec(), runs: vec![run("a", 0..4), run("a", 4..7)], ..images };
        assert_eq!(half.partners()[1..4], [Some(5), Some(5), Some(6)]);
    }

    #[test]
    fn one_label_and_parts_without_meaning_are_refused() {
        let (mut images, config) = images(4, &toy());
        for fraction in [0.0, -0.5, 1.5, f64::NAN] {
            assert!(matches!(
                images.split(&TrainConfig { fraction, ..config.clone() }),
                Err(TrainError::Config { what: "fraction", .. })
            ));
        }
        for partners in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(
                images.split(&TrainConfig { partners, ..config.clone() }),
                Err(TrainError::Config { what: "partners", .. })
            ));
        }
        images.labels.fill(false);
        assert!(matches!(images.split(&config), Err(TrainError::OneLabel { positive: 0, .. })));
    }
}

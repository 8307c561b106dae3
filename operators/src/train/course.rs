//! How a training is watched and kept: whom it tells of each epoch, and where its checkpoints lie.

use std::path::PathBuf;

use super::checkpoint::Checkpoint;
use super::{Progress, Step, TrainError};
use crate::record::Digest;

/// Where checkpoints lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// The folder; it is made if there is none.
    pub folder: PathBuf,
    /// Whether to go on from what lies there. Otherwise it is replaced.
    pub resume: bool,
}

/// A training that is watched and, if so wished, kept.
pub struct Course<'a> {
    tell: &'a mut dyn FnMut(&Progress),
    step: Option<&'a mut dyn FnMut(Step)>,
    checkpoints: Option<Checkpoints>,
    of: Digest,
}

impl<'a> Course<'a> {
    /// A training that tells of each epoch and keeps nothing.
    pub fn new(tell: &'a mut dyn FnMut(&Progress)) -> Self {
        Self { tell, step: None, checkpoints: None, of: Digest::of(b"") }
    }

    /// The same, which tells of each step as well.
    #[must_use]
    pub fn stepping(self, step: &'a mut dyn FnMut(Step)) -> Self {
        Self { step: Some(step), ..self }
    }

    /// The same, with a checkpoint after each epoch.
    #[must_use]
    pub fn keeping(self, checkpoints: Checkpoints) -> Self {
        Self { checkpoints: Some(checkpoints), ..self }
    }

    /// Says what is trained on: what was kept of another training is refused. `of` is not asked where nothing is kept.
    pub(crate) fn about(&mut self, of: impl FnOnce() -> Digest) {
        if self.checkpoints.is_some() {
            self.of = of();
        }
    }

    pub(crate) fn tell(&mut self, progress: &Progress) {
        (self.tell)(progress);
    }

    pub(crate) fn step(&mut self, step: Step) {
        if let Some(tell) = &mut self.step {
            tell(step);
        }
    }

    /// Names a stage of this training, which begins with these weights; `None` where nothing is kept.
    pub(crate) fn key(&self, stage: &str, weights: impl FnOnce() -> Result<Vec<u8>, String>) -> Result<Digest, String> {
        if self.checkpoints.is_none() {
            return Ok(self.of);
        }
        Ok(Digest::builder("stage").bytes(stage.as_bytes()).digest(&self.of).bytes(&weights()?).finish())
    }

    /// What was kept of a stage, if it is to go on.
    pub(crate) fn kept(&self, stage: &str, key: Digest) -> Result<Option<Checkpoint>, TrainError> {
        let Some(Checkpoints { folder, resume: true }) = &self.checkpoints else { return Ok(None) };
        let kept = Checkpoint::read(folder, stage)?;
        if kept.as_ref().is_some_and(|kept| kept.key != key) {
            return Err(TrainError::Checkpoint {
                path: folder.join(format!("{stage}.checkpoint")),
                reason: "it is of another training (data, labels, numbers, seed): remove it, or train without --resume"
                    .to_owned(),
            });
        }
        Ok(kept)
    }

    /// Keeps a stage, if anything is kept. `checkpoint` is not asked otherwise.
    pub(crate) fn keep(
        &self,
        stage: &str,
        checkpoint: impl FnOnce() -> Result<Checkpoint, String>,
    ) -> Result<(), TrainError> {
        let Some(Checkpoints { folder, .. }) = &self.checkpoints else { return Ok(()) };
        let refused = |reason| TrainError::Checkpoint { path: folder.join(format!("{stage}.checkpoint")), reason };
        checkpoint().map_err(refused)?.write(folder, stage)
    }
}

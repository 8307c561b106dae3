//! What a training tells those who watch: gauges by stage.

use prometheus::{GaugeVec, Opts, Registry};

use super::Progress;

/// The metrics of a training. `docs/telemetry.md` lists them.
#[derive(Clone, Debug)]
pub struct TrainingMetrics {
    epoch: GaugeVec,
    epochs: GaugeVec,
    loss: GaugeVec,
    score: GaugeVec,
}

impl TrainingMetrics {
    /// Registers the metrics on `registry`.
    ///
    /// # Errors
    ///
    /// Returns the registry's error if a metric of one of the names is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let metric = GaugeVec::new(Opts::new(name, help), &["stage"])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            epoch: gauge("hemoflow_training_epoch", "Epochs that a stage of training has behind it.")?,
            epochs: gauge("hemoflow_training_epochs", "Epochs that a stage of training will have.")?,
            loss: gauge("hemoflow_training_loss", "Mean loss of the steps of the last epoch.")?,
            score: gauge("hemoflow_training_score", "Validation score of the last epoch.")?,
        })
    }

    /// Takes what an epoch told.
    pub fn tell(&self, progress: &Progress) {
        #[allow(clippy::as_conversions, reason = "epochs are far below 2^52")]
        let number = |count: usize| count as f64;
        let stage = &[progress.stage];
        self.epoch.with_label_values(stage).set(number(progress.epoch));
        self.epochs.with_label_values(stage).set(number(progress.epochs));
        self.loss.with_label_values(stage).set(progress.loss);
        if let Some(score) = progress.score {
            self.score.with_label_values(stage).set(score);
        }
    }
}

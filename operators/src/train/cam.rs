//! Stage 3: the linear layer whose weights weigh the activation maps.

use burn::tensor::{Tensor, TensorData};

use super::classifier::number;
use super::fit::fit;
use super::loss::cross_entropy;
use super::sampler::Balanced;
use super::{Course, Features, Images, Random, Split, TrainConfig, TrainError};
use crate::model::{Network, connect, host};
use crate::score::auc::auc;

/// Trains the CAM head alone, from the classifier's layer, on features of a frozen encoder: of the whole model exactly D + 1
/// numbers change. Gives the slice AUC on the series that are held back.
///
/// # Errors
///
/// Returns [`TrainError`] if the network cannot run or the loss is lost.
pub fn train_cam(
    mut network: Network,
    features: &Features,
    images: &Images,
    split: &Split,
    config: &TrainConfig,
    device: kernels::Device,
    course: &mut Course,
) -> Result<(Network, Option<f64>), TrainError> {
    let plain = connect(device)?;
    let training = plain.clone().autodiff();
    let sampler = Balanced::new(&images.slices_of(&split.training), |slice| images.labels[slice]);
    let held = images.slices_of(&split.validation);
    let gather = |slices: &[usize], device: &burn::tensor::Device| {
        let values: Vec<f32> = slices.iter().flat_map(|&slice| features.features[slice].iter().copied()).collect();
        let width = values.len() / slices.len().max(1);
        Tensor::<2>::from_data(TensorData::new(values, [slices.len(), width]), device)
    };
    let (cam, score) = fit(
        "cam",
        config.cam,
        network.cam,
        |cam, step, count| {
            let slices = sampler.draws(count, &mut Random::step(config.seed, "cam", step));
            let labels: Vec<f32> = slices.iter().map(|&slice| number(images.labels[slice])).collect();
            let labels = Tensor::<2>::from_data(TensorData::new(labels, [slices.len(), 1]), &training);
            Ok(cross_entropy(cam.forward(gather(&slices, &training)), labels).mean())
        },
        |cam| {
            if held.is_empty() {
                return Ok(None);
            }
            let logits = host("CAM head", cam.forward(gather(&held, &plain)))?;
            Ok(auc(&logits, &held.iter().map(|&slice| images.labels[slice]).collect::<Vec<_>>()))
        },
        course,
    )?;
    network.cam = cam;
    Ok((network, score))
}

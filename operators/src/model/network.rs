//! All networks of a model as one module, and the weights that they start from.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};

use super::Card;
use super::head::Head;
use super::resnet::ResNet;
use super::unet::UNet;
use crate::train::Random;

/// Encoder, CAM head, sequence head and segmenter. The field names are the prefixes in the file of weights.
#[derive(Module, Debug)]
pub struct Network {
    pub(crate) encoder: ResNet,
    pub(crate) cam: Linear,
    pub(crate) head: Head,
    pub(crate) unet: UNet,
}

impl Network {
    /// The networks of `card`, with weights that `seed` decides: convolutions normal with variance 2 / fan-out (He et
    /// al., ICCV 2015), linear layers uniform within 1 / sqrt(fan-in), normalizations 1 and 0, biases 0.
    #[must_use]
    pub fn new(card: &Card, seed: u64, device: &Device) -> Self {
        let network = Self {
            encoder: card.encoder().init(device),
            cam: LinearConfig::new(card.features(), 1).init(device),
            head: card.head().init(device),
            unet: card.unet().init(device),
        };
        network.map(&mut Draw { random: Random::new(seed, "weights"), parameter: String::new(), transposed: false })
    }
}

/// Draws the weights of a module, in the order of its fields. Normalizations keep 1 and 0.
struct Draw {
    random: Random,
    parameter: String,
    transposed: bool,
}

impl ModuleMapper for Draw {
    fn enter_module(&mut self, name: &str, container: &str) {
        name.clone_into(&mut self.parameter);
        self.transposed = container.contains("ConvTranspose2d");
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let count: usize = shape.iter().product();
        let values: Vec<f32> = match shape[..] {
            [from, _] => {
                let bound = 1.0 / small(from).sqrt();
                (0..count).map(|_| bound * (2.0 * self.random.uniform() - 1.0)).collect()
            }
            [first, second, rows, columns] => {
                let to = if self.transposed { second } else { first };
                let scale = (2.0 / small(to * rows * columns)).sqrt();
                (0..count).map(|_| scale * self.random.normal()).collect()
            }
            _ if self.parameter == "bias" => vec![0.0; count],
            _ => return Param::from_mapped_value(id, tensor, mapper),
        };
        let drawn = Tensor::from_data(TensorData::new(values, shape), &tensor.device());
        Param::from_mapped_value(id, drawn.set_require_grad(tensor.is_require_grad()), mapper)
    }
}

#[allow(clippy::as_conversions, reason = "layer sizes are far below 2^24")]
fn small(number: usize) -> f32 {
    number as f32
}

//! The numbers that a network computes in.
//!
//! `cpu` uses `f32`. A GPU multiplies narrow numbers several times as fast. For inference weights and activations are cast
//! when the model is loaded, and sums stay as wide as the device keeps them. In training the weights, their gradients and the
//! optimizer stay `f32`, and each layer casts its weights to the numbers of its input (Micikevicius et al., ICLR 2018); `bf16`
//! alone, because small gradients vanish in `f16` unless the loss is scaled. What narrow numbers cost inference is bounded by a test,
//! on the maps of an encoder with random weights, relative to their largest value: see [`Precision::error`].

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// A width of numbers, by name: `f32`, `f16` or `bf16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of mantissa.
    #[default]
    F32,
    /// 11 bits of mantissa; no number above 65,504.
    F16,
    /// 8 bits of mantissa, the range of `f32`.
    Bf16,
}

impl Precision {
    /// Whether the device computes in these numbers.
    #[must_use]
    pub fn is_supported(self, device: &Device) -> bool {
        device.supports_dtype(self.dtype())
    }

    /// The largest error of an encoder's maps against `f32`, as part of their largest value.
    #[must_use]
    pub fn error(self) -> f32 {
        match self {
            Self::F32 => 0.0,
            Self::F16 => 0.01,
            Self::Bf16 => 0.05,
        }
    }

    /// The module with weights of this width.
    #[must_use]
    pub fn cast<M: Module>(self, module: M) -> M {
        if self == Self::F32 { module } else { module.map(&mut Cast(self.dtype())) }
    }

    /// The same numbers in this width.
    #[must_use]
    pub fn tensor<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        tensor.cast(self.dtype())
    }

    fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("no precision is named {name:?}: say f32, f16 or bf16")),
        }
    }
}

struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, tensor.cast(self.0), mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::model::card::tests::tiny;
    use crate::model::{Arch, Card, Network, host};
    use crate::tensor::devices;
    use crate::train::Random;

    #[test]
    fn narrow_numbers_stay_within_the_stated_error() {
        for device in devices() {
            for arch in [Arch::ResNet18, Arch::ResNet50] {
                let card = Card { arch, width: 8, ..tiny() };
                let encoder = Network::new(&card, 3, &device).encoder.folded();
                let mut random = Random::new(4, "precision");
                let pixels: Vec<f32> = (0..3 * 64 * 64).map(|_| random.uniform()).collect();
                let images = || Tensor::<4>::from_data(TensorData::new(pixels.clone(), [1, 3, 64, 64]), &device);
                let exact = host("test", encoder.maps(images())).unwrap();
                let largest = exact.iter().copied().fold(0.0, f32::max);
                for precision in [Precision::F16, Precision::Bf16] {
                    if !precision.is_supported(&device) {
                        println!("skipped: {precision} on {device:?}: not supported");
                        continue;
                    }
                    let maps = precision.cast(encoder.clone()).maps(precision.tensor(images()));
                    let maps = host("test", maps).unwrap();
                    let furthest = maps.iter().zip(&exact).map(|(a, e)| (a - e).abs()).fold(0.0, f32::max);
                    println!("{precision} {arch:?} on {device:?}: {:.5} of the largest value", furthest / largest);
                    assert!(furthest <= precision.error() * largest, "{precision}: {furthest} of {largest}");
                    assert!(furthest > 0.0, "{precision} is {}", Precision::F32);
                }
            }
        }
    }

    #[test]
    fn a_name_is_what_it_prints() {
        for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert!("f8".parse::<Precision>().is_err());
    }
}

use burn::tensor::Device as BurnDevice;
use proptest::prelude::*;

use super::convolution::{Convolution, Pixels, Then};
use super::image::Layout;
use super::*;
use crate::model::card::tests::tiny;
use crate::model::{Arch, Engine, Model};
use crate::train::Random;

fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, "direct");
    (0..count).map(|_| 2.0 * random.uniform() - 1.0).collect()
}

/// Networks whose normalizations have statistics, scales and shifts other than those of a new network.
fn trained(card: &Card, seed: u64) -> Network {
    use burn::module::{Module as _, ModuleMapper, Param};
    use burn::tensor::Tensor;

    struct Change(Random);
    impl ModuleMapper for Change {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let tensor = if D == 1 { tensor.mul_scalar(0.8).add_scalar(0.4 * self.0.uniform()) } else { tensor };
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    let device = BurnDevice::flex();
    let network = Network::new(card, seed, &device).map(&mut Change(Random::new(seed, "change")));
    let training = network.train();
    let images = noise(2 * card.windows.len() * card.input_size * card.input_size, seed);
    let images = burn::tensor::TensorData::new(images, [2, card.windows.len(), card.input_size, card.input_size]);
    let images = Tensor::<4>::from_data(images, &device.autodiff());
    training.unet.forward(images.clone().narrow(1, 0, 1));
    training.encoder.forward(images, card.pooling);
    training.valid()
}

/// Whether two arrays agree to `1e-4` of the largest number.
fn close(ours: &[f32], theirs: &[f32]) -> Result<(), TestCaseError> {
    let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    prop_assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        prop_assert!((a - b).abs() <= 1e-4 * largest, "{a} and {b}, the largest is {largest}");
    }
    Ok(())
}

fn agrees(card: Card, seed: u64) -> Result<(), TestCaseError> {
    let network = trained(&card, seed);
    let direct = Model::new(card.clone(), &network, kernels::Device::Cpu).unwrap();
    let burn = direct.clone().with_engine(Engine::Burn).unwrap();
    prop_assert_eq!((direct.engine(), burn.engine()), (Engine::Direct, Engine::Burn));
    prop_assert_eq!((direct.digest(), direct.name()), (burn.digest(), burn.name()));
    let pixels = card.input_size * card.input_size;
    let images = noise(2 * card.windows.len() * pixels, seed ^ 1);
    let (ours, theirs) = (direct.encode(&images, 2).unwrap(), burn.encode(&images, 2).unwrap());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        close(&ours.map, &theirs.map)?;
        close(&ours.feature, &theirs.feature)?;
    }
    prop_assert!(theirs.iter().any(|slice| slice.map.iter().any(|&value| value > 0.0)));
    close(&direct.segment(&images[..2 * pixels], 2).unwrap(), &burn.segment(&images[..2 * pixels], 2).unwrap())
}

fn cards() -> impl Strategy<Value = Card> {
    let arch = prop_oneof![Just(Arch::ResNet18), Just(Arch::ResNet34), Just(Arch::ResNet50)];
    (arch, 1_usize..20, any::<bool>(), 1_usize..3, 1_usize..5, 1_usize..20, 1_usize..3).prop_map(
        |(arch, width, last_stride_one, sides, windows, unet_width, unet_patch)| Card {
            arch,
            width,
            last_stride_one,
            input_size: 32 * sides,
            windows: vec![kernels::units::Window::BRAIN; windows],
            unet_width,
            unet_patch,
            ..tiny()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_engine_says_what_burn_says(card in cards(), seed in 0_u64..1 << 32) {
        agrees(card, seed)?;
    }
}

#[test]
fn the_deepest_encoder_says_what_burn_says() {
    agrees(Card { arch: Arch::ResNet101, width: 3, ..tiny() }, 7).unwrap();
}

#[test]
fn the_batch_the_pool_and_the_split_change_no_bit() {
    // Large enough that convolutions are split into bands.
    let card = Card { input_size: 96, width: 12, unet_width: 5, ..tiny() };
    let model = Model::new(card.clone(), &trained(&card, 3), kernels::Device::Cpu).unwrap();
    let (pixels, slices) = (card.input_size * card.input_size, 5);
    let images = noise(slices * 3 * pixels, 4);
    let run = |threads: usize, slices: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let encoded: Vec<_> = images
                .chunks(slices * 3 * pixels)
                .flat_map(|images| model.encode(images, images.len() / (3 * pixels)).unwrap())
                .collect();
            let masks: Vec<f32> = images[..5 * pixels]
                .chunks(slices * pixels)
                .flat_map(|images| model.segment(images, images.len() / pixels).unwrap())
                .collect();
            (encoded, masks.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>())
        })
    };
    let alone = run(1, 1);
    for (threads, slices) in [(1, 5), (2, 1), (3, 2), (7, 1), (4, 5)] {
        assert!(run(threads, slices) == alone, "{threads} threads, {slices} slices at once");
    }
}

/// A convolution in plain loops: `[channels, rows, columns]` in and out.
fn reference(weights: &Weights, stride: usize, input: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let [out, channels, side, _] = weights.shape;
    let pad = if side % 2 == 1 { side / 2 } else { 0 };
    let at = |channel: usize, row: usize, column: usize| {
        let inside = (pad..rows + pad).contains(&row) && (pad..columns + pad).contains(&column);
        if inside { f64::from(input[(channel * rows + row - pad) * columns + column - pad]) } else { 0.0 }
    };
    let mut output = Vec::new();
    for to in 0..out {
        for row in (0..rows).step_by(stride) {
            for column in (0..columns).step_by(stride) {
                let mut sum = f64::from(weights.bias.as_ref().map_or(0.0, |bias| bias[to]));
                for from in 0..channels {
                    for y in 0..side {
                        for x in 0..side {
                            let weight = weights.values[((to * channels + from) * side + y) * side + x];
                            sum += f64::from(weight) * at(from, row + y, column + x);
                        }
                    }
                }
                output.push(sum as f32);
            }
        }
    }
    output
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_convolution_is_its_sum(
        (out, parts, odd) in (1_usize..70, proptest::collection::vec(1_usize..20, 1..3), 0_usize..4),
        (rows, columns, stride, relu) in (1_usize..34, 1_usize..34, 1_usize..3, any::<bool>()),
        bands in 1_usize..4,
        seed in any::<u64>(),
    ) {
        let (side, channels) = (2 * odd + 1, parts.iter().sum::<usize>());
        let weights = Weights {
            values: noise(out * channels * side * side, seed),
            shape: [out, channels, side, side],
            bias: (seed % 2 == 0).then(|| noise(out, seed ^ 1)),
        };
        let from = Layout { border: 3, ..Layout::blocks(rows, columns, &parts) };
        let to = Layout::blocks(rows.div_ceil(stride), columns.div_ceil(stride), &[out]);
        let (planes, add) = (noise(channels * rows * columns, seed ^ 2), noise(out * to.rows * to.columns, seed ^ 3));
        let [mut input, mut output, mut added] = [&from, &to, &to].map(|layout| vec![0.0; layout.len()]);
        from.fill(&planes, &mut input);
        to.fill(&add, &mut added);
        let affine = (seed % 3 == 0).then(|| (noise(out, seed ^ 4), noise(out, seed ^ 5)));
        let then = Then { relu, affine: affine.clone() };
        let ready = Convolution::new(&weights, stride, then, [&from, &to], Pixels::default()).unwrap();
        prop_assert!(ready.run(&input, &mut output, Some(&added), bands));

        let mut expected = reference(&weights, stride, &planes, rows, columns);
        for (index, (value, add)) in expected.iter_mut().zip(&add).enumerate() {
            *value += add;
            if relu {
                *value = value.max(0.0);
            }
            if let Some((scale, shift)) = &affine {
                let channel = index / (to.rows * to.columns);
                *value = *value * scale[channel] + shift[channel];
            }
        }
        close(&to.planes(&output), &expected)?;
        // The border stays zero: the next convolution reads it.
        let inside = to.planes(&output).iter().filter(|value| **value != 0.0).count();
        prop_assert_eq!(output.iter().filter(|value| **value != 0.0).count(), inside);
        prop_assert!(!ready.run(&input[1..], &mut output[..1], None, bands), "too short for its layout");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let layout = Layout::blocks(8, 8, &[4]);
    let of = |shape: [usize; 4]| Weights { values: vec![0.0; shape.iter().product()], shape, bias: None };
    let fits = |weights: &Weights| {
        Convolution::new(weights, 1, Then::default(), [&layout, &layout], Pixels::default()).is_some()
    };
    assert!(fits(&of([4, 4, 3, 3])));
    assert!(!fits(&of([4, 5, 3, 3])), "channels");
    assert!(!fits(&of([4, 4, 5, 5])), "a border of two");
    assert!(!fits(&Weights { values: vec![0.0; 7], ..of([4, 4, 3, 3]) }), "too few weights");
}

use burn::module::{Module as _, ModuleMapper, Param};
use burn::tensor::{Device as BurnDevice, Tensor, TensorData};
use proptest::prelude::*;

use super::card::tests::tiny;
use super::*;
use crate::train::Random;

fn model(card: Card, seed: u64) -> Model {
    let network = Network::new(&card, seed, &BurnDevice::flex());
    Model::new(card, &network, Device::Cpu).unwrap()
}

fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, "noise");
    (0..count).map(|_| random.uniform()).collect()
}

#[test]
fn every_architecture_and_context_runs_and_has_the_card_s_shapes() {
    for arch in [Arch::ResNet18, Arch::ResNet34, Arch::ResNet50, Arch::ResNet101] {
        for last_stride_one in [true, false] {
            let card = Card { arch, last_stride_one, width: 2, ..tiny() };
            let model = model(card, 1);
            let encoded = model.encode(&noise(2 * 3 * 32 * 32, 2), 2).unwrap();
            let side = if last_stride_one { 2 } else { 1 };
            assert_eq!(model.map_grid().size, [side, side]);
            assert_eq!(model.cam_weights().len(), model.card().features());
            for slice in &encoded {
                assert_eq!(slice.feature.len(), model.card().features());
                assert_eq!(slice.map.len(), model.card().features() * side * side);
                assert!(slice.logit.is_finite() && slice.map.iter().any(|&value| value > 0.0));
            }
        }
    }
}

#[test]
fn n_slices_give_n_logits_for_every_context_and_length() {
    for context in [Context::Gru, Context::BiGru, Context::Lstm, Context::BiLstm] {
        let model = model(Card { context, context_layers: 2, ..tiny() }, 1);
        let features: Vec<Vec<f32>> = (0..300).map(|slice| noise(32, slice)).collect();
        for slices in [0, 1, 5, 24, 32, 33, 300] {
            let windows = windows::windows(slices, model.card().context_radius);
            let inputs: Vec<Vec<&[f32]>> =
                windows.iter().map(|window| features[window.clone()].iter().map(Vec::as_slice).collect()).collect();
            let logits = windows::mean(&windows, &model.classify(&inputs).unwrap(), slices);
            assert_eq!(logits.len(), slices);
            assert!(logits.iter().all(|logit| logit.is_finite()));
        }
    }
}

#[test]
fn only_two_way_contexts_look_ahead() {
    for (context, ahead) in
        [(Context::Gru, false), (Context::Lstm, false), (Context::BiGru, true), (Context::BiLstm, true)]
    {
        let model = model(Card { context, ..tiny() }, 1);
        let mut features: Vec<Vec<f32>> = (0..4).map(|slice| noise(32, slice)).collect();
        let ask =
            |features: &[Vec<f32>]| model.classify(&[features.iter().map(Vec::as_slice).collect()]).unwrap()[0].clone();
        let before = ask(&features);
        features[3].fill(5.0);
        let after = ask(&features);
        assert_ne!(before[3].to_bits(), after[3].to_bits());
        assert_eq!(before[0].to_bits() != after[0].to_bits(), ahead, "{context:?}");
    }
}

#[test]
fn a_label_moves_the_gradient_of_its_own_logit_only() {
    let device = BurnDevice::flex().autodiff();
    let logits = Tensor::<2>::from_floats([[0.3, -1.2, 0.7, 2.0, -0.1]], &device);
    let gradient = |labels: [f32; 5]| -> Vec<f32> {
        let logits = logits.clone().require_grad();
        let labels = Tensor::<1>::from_floats(labels, &device).reshape([1, 5]);
        let loss = crate::train::cross_entropy(logits.clone(), labels).mean();
        host("test", logits.grad(&loss.backward()).unwrap()).unwrap()
    };
    let before = gradient([0.0; 5]);
    for k in 0..5 {
        let mut labels = [0.0; 5];
        labels[k] = 1.0;
        let after = gradient(labels);
        for j in 0..5 {
            assert_eq!(before[j].to_bits() != after[j].to_bits(), j == k, "label {k}, logit {j}");
        }
        assert!((before[k] - after[k] - 0.2).abs() < 1e-6);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn a_batch_of_one_is_a_batch_of_many_to_the_last_bit(seed in any::<u64>(), slices in 2_usize..6) {
        let model = model(tiny(), 3);
        let images = noise(slices * 3 * 32 * 32, seed);
        let together = model.encode(&images, slices).unwrap();
        for (image, encoded) in images.chunks(3 * 32 * 32).zip(&together) {
            prop_assert_eq!(&model.encode(image, 1).unwrap()[0], encoded);
        }
        let brain = &images[..slices * 32 * 32];
        let together = model.segment(brain, slices).unwrap();
        for (image, mask) in brain.chunks(32 * 32).zip(together.chunks(32 * 32)) {
            prop_assert_eq!(&model.segment(image, 1).unwrap(), mask);
        }
    }

    #[test]
    fn a_sequence_alone_is_a_sequence_among_many_to_the_last_bit(
        seed in any::<u64>(),
        lengths in proptest::collection::vec(1_usize..9, 1..24),
    ) {
        let model = model(tiny(), 3);
        let features: Vec<Vec<f32>> = (0..40).map(|slice| noise(32, seed.wrapping_add(slice))).collect();
        let sequences: Vec<Vec<&[f32]>> = lengths
            .iter()
            .enumerate()
            .map(|(start, &length)| features[start..start + length].iter().map(Vec::as_slice).collect())
            .collect();
        let together = model.classify(&sequences).unwrap();
        for (sequence, logits) in sequences.iter().zip(&together) {
            prop_assert_eq!(&model.classify(std::slice::from_ref(sequence)).unwrap()[0], logits);
        }
    }
}

#[test]
fn the_folded_encoder_is_the_encoder() {
    for arch in [Arch::ResNet18, Arch::ResNet50] {
        let card = Card { arch, ..tiny() };
        let device = BurnDevice::flex();
        let network = Network::new(&card, 5, &device);
        let training = network.clone().train();
        // A few batches move the running statistics away from 0 and 1.
        for seed in 0..3 {
            let images = TensorData::new(noise(4 * 3 * 32 * 32, seed), [4, 3, 32, 32]);
            training.encoder.forward(Tensor::from_data(images, &device.clone().autodiff()), Pooling::Average);
        }
        let encoder = training.valid().encoder;
        let images = Tensor::<4>::from_data(TensorData::new(noise(3 * 32 * 32, 9), [1, 3, 32, 32]), &device);
        let plain = host("encoder", encoder.maps(images.clone())).unwrap();
        let untrained = host("encoder", network.encoder.maps(images.clone())).unwrap();
        let folded = host("encoder", encoder.folded().maps(images)).unwrap();
        let largest = plain.iter().fold(0.0_f32, |a, &b| a.max(b));
        assert!(largest > 0.0);
        assert!(plain.iter().zip(&folded).all(|(a, b)| (a - b).abs() <= 1e-4 * largest));
        assert_ne!(plain, untrained, "the statistics moved");
    }
}

/// Makes all weights of a convolution alike: no side of a window counts for more.
struct Even;

impl ModuleMapper for Even {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let inputs: usize = tensor.dims().iter().skip(1).product();
        let even = if D == 4 { tensor.ones_like() / inputs as f32 } else { tensor };
        Param::from_mapped_value(id, even, mapper)
    }
}

#[test]
fn a_cell_of_a_map_looks_before_the_middle_of_its_square() {
    const SIZE: usize = 512;
    for (arch, last_stride_one) in [(Arch::ResNet18, true), (Arch::ResNet18, false), (Arch::ResNet50, true)] {
        let card = Card { arch, last_stride_one, input_size: SIZE, ..tiny() };
        let MapGrid { size: [rows, columns], before } = card.map_grid();
        let network = Network::new(&card, 1, &BurnDevice::flex()).map(&mut Even);
        let model = Model::new(card, &network, Device::Cpu).unwrap();
        let dark = vec![0.5; 3 * SIZE * SIZE];
        for pixel in [[256, 256], [250, 265]] {
            let mut lit = dark.clone();
            (0..3).for_each(|window| lit[(window * SIZE + pixel[0]) * SIZE + pixel[1]] = 1.0);
            let [dark, lit] = [&dark, &lit].map(|image| model.encode(image, 1).unwrap().remove(0).map);
            let (mut moved, mut place) = (0.0, [0.0, 0.0]);
            for (index, (dark, lit)) in dark.iter().zip(&lit).enumerate() {
                let by = lit - dark;
                moved += by;
                place[0] += by * ((index / columns % rows) as f32 + 0.5);
                place[1] += by * ((index % columns) as f32 + 0.5);
            }
            for axis in 0..2 {
                let cell = (pixel[axis] as f32 + 0.5) / SIZE as f32 * rows as f32;
                let seen = place[axis] / moved - cell;
                assert!((seen - before[axis]).abs() < 0.1, "{arch:?}, {last_stride_one}: {seen} for {before:?}");
            }
        }
    }
}

#[test]
fn a_cam_from_the_class_weights_is_grad_cam_after_min_max() {
    let model = model(Card { pooling: Pooling::Average, ..tiny() }, 11);
    let images = noise(3 * 32 * 32, 4);
    let encoded = model.encode(&images, 1).unwrap().remove(0);
    let pixels = encoded.map.len() / encoded.feature.len();
    let cam: Vec<f32> = (0..pixels)
        .map(|pixel| {
            encoded.map.chunks(pixels).zip(model.cam_weights()).map(|(map, weight)| map[pixel] * weight).sum::<f32>()
        })
        .collect();

    let device = BurnDevice::flex().autodiff();
    let side = model.map_grid().size[0];
    let maps =
        Tensor::<4>::from_data(TensorData::new(encoded.map.clone(), [1, encoded.feature.len(), side, side]), &device)
            .require_grad();
    let logit = model.network().cam.clone().train().forward(resnet::pool(maps.clone(), Pooling::Average));
    assert!((logit.clone().into_scalar::<f32>() - encoded.logit).abs() < 1e-4);
    let gradient = host("test", maps.grad(&logit.backward()).unwrap()).unwrap();
    let grad_cam: Vec<f32> = (0..pixels)
        .map(|pixel| {
            let terms = encoded.map.chunks(pixels).zip(gradient.chunks(pixels));
            terms.map(|(map, gradient)| map[pixel] * gradient.iter().sum::<f32>()).sum::<f32>()
        })
        .collect();
    let normal = |map: &[f32]| -> Vec<f32> {
        let (low, high) =
            map.iter().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        assert!(high - low > 1e-3);
        map.iter().map(|value| (value - low) / (high - low)).collect()
    };
    for (a, b) in normal(&cam).iter().zip(normal(&grad_cam)) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn a_saved_model_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (arch, context, unet_patch) in [(Arch::ResNet18, Context::BiGru, 1), (Arch::ResNet50, Context::Lstm, 2)] {
        let model = model(Card { name: format!("{arch:?}"), arch, context, unet_patch, ..tiny() }, 21);
        model.save(folder.path()).unwrap();
        let path = folder.path().join(format!("{arch:?}.json"));
        let loaded = Model::load(&path, Device::Cpu).unwrap();
        assert_eq!((loaded.card(), loaded.digest()), (model.card(), model.digest()));
        let images = noise(3 * 32 * 32, 1);
        assert_eq!(loaded.encode(&images, 1).unwrap(), model.encode(&images, 1).unwrap());
        assert_eq!(loaded.segment(&images[..1024], 1).unwrap(), model.segment(&images[..1024], 1).unwrap());
        let feature = noise(model.card().features(), 2);
        assert_eq!(loaded.classify(&[vec![&feature]]).unwrap(), model.classify(&[vec![&feature]]).unwrap());
    }
    assert!(matches!(Model::load(folder.path(), Device::Cpu), Err(ModelError::Cards { found: 2, .. })));
}

#[test]
fn weights_have_torchvision_s_names_and_shapes() {
    use burn_store::ModuleStore as _;
    let model = model(tiny(), 1);
    let bytes = weights::write("tiny", model.network()).unwrap();
    let mut store = burn_store::SafetensorsStore::from_bytes(Some(bytes));
    let names = store.keys().unwrap();
    for name in [
        "encoder.conv1.weight",
        "encoder.bn1.running_mean",
        "encoder.layer1.0.bn1.weight",
        "encoder.layer2.0.downsample.0.weight",
        "encoder.layer2.0.downsample.1.running_var",
        "encoder.layer4.1.conv2.weight",
        "encoder.fc.bias",
        "cam.weight",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    let fc = store.get_tensor("encoder.fc.weight").unwrap().unwrap();
    assert_eq!(fc.shape.to_vec(), [1, 32]);
    assert!(
        names
            .iter()
            .filter(|name| name.starts_with("encoder."))
            .all(|name| !name.contains("gamma") && !name.contains("training"))
    );
}

#[test]
fn other_weights_than_the_card_s_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    model(tiny(), 1).save(folder.path()).unwrap();
    let path = folder.path().join("tiny.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = Model::load(folder.path(), Device::Cpu).unwrap_err();
    assert!(matches!(error, ModelError::Checksum { .. }));
    assert!(error.to_string().contains("tiny.safetensors: sha256 is "), "{error}");

    let mut card = serde_json::from_slice::<Card>(&std::fs::read(folder.path().join("tiny.json")).unwrap()).unwrap();
    card.sha256 = Digest::of(&bytes).to_string();
    card.width = 8;
    std::fs::write(folder.path().join("tiny.json"), serde_json::to_vec(&card).unwrap()).unwrap();
    assert!(matches!(Model::load(folder.path(), Device::Cpu), Err(ModelError::Weights { .. })));

    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Model::load(folder.path(), Device::Cpu), Err(ModelError::File { .. })));
    std::fs::write(folder.path().join("tiny.json"), "{").unwrap();
    assert!(matches!(Model::load(folder.path(), Device::Cpu), Err(ModelError::Card { .. })));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Model::load(empty.path(), Device::Cpu), Err(ModelError::Cards { found: 0, .. })));
}

#[test]
fn the_digest_names_the_weights() {
    assert_eq!(model(tiny(), 1).digest(), model(tiny(), 1).digest());
    assert_ne!(model(tiny(), 1).digest(), model(tiny(), 2).digest());
}

#[test]
fn inputs_of_other_shapes_are_refused() {
    let model = model(tiny(), 1);
    assert!(matches!(model.encode(&[0.0; 7], 1), Err(ModelError::Length { array: "images", len: 7, .. })));
    assert!(matches!(model.segment(&[0.0; 7], 1), Err(ModelError::Length { .. })));
    assert!(matches!(model.classify(&[vec![&[0.0; 7]]]), Err(ModelError::Length { array: "feature", .. })));
    assert!(model.encode(&[], 0).unwrap().is_empty() && model.segment(&[], 0).unwrap().is_empty());
    assert_eq!(model.classify(&[Vec::new()]).unwrap(), [Vec::<f32>::new()]);
}

#[test]
fn blank_images_have_finite_answers() {
    let model = model(tiny(), 1);
    for value in [0.0, 1.0] {
        let encoded = model.encode(&[value; 3 * 32 * 32], 1).unwrap();
        assert!(encoded[0].logit.is_finite() && encoded[0].map.iter().all(|value| value.is_finite()));
        assert!(model.segment(&[value; 32 * 32], 1).unwrap().iter().all(|logit| logit.is_finite()));
    }
}

#[test]
fn a_model_moves_between_threads() {
    fn moves<T: Send>() {}
    moves::<Model>();
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_is_not_built_is_named() {
    let network = Network::new(&tiny(), 1, &BurnDevice::flex());
    let error = Model::new(tiny(), &network, Device::Cuda(0)).err().unwrap();
    assert!(error.to_string().contains("--features cuda"), "{error}");
}

proptest! {
    #[test]
    fn the_host_pools_as_the_network_does(values in prop::collection::vec(0.0_f32..4.0, 12)) {
        let maps = Tensor::<1>::from_data(TensorData::new(values.clone(), [12]), &BurnDevice::flex()).reshape([1, 2, 2, 3]);
        for pooling in [Pooling::Average, Pooling::GeneralizedMean] {
            let pooled = host("test", resnet::pool(maps.clone(), pooling)).unwrap();
            for (channel, pooled) in values.chunks(6).zip(pooled) {
                let expected = resnet::pool_channel(channel, pooling);
                prop_assert!((pooled - expected).abs() <= 1e-5 * expected.max(1.0), "{pooled} and {expected}");
            }
        }
    }
}

#[test]
fn other_numbers_are_another_model_with_nearly_the_same_results() {
    use crate::tensor::Precision;

    let direct = model(tiny(), 1);
    assert!(matches!(direct.clone().with_precision(Precision::F16), Err(ModelError::Precision { .. })));
    let exact = direct.with_engine(Engine::Burn).unwrap();
    let images = noise(2 * 3 * 32 * 32, 2);
    for precision in [Precision::F16, Precision::Bf16] {
        if !precision.is_supported(&BurnDevice::flex()) {
            println!("skipped: {precision} on flex: not supported");
            continue;
        }
        let narrow = exact.clone().with_precision(precision).unwrap();
        assert_ne!(narrow.digest(), exact.digest());
        assert_eq!(
            narrow.clone().with_precision(Precision::F32).unwrap().digest(),
            exact.digest(),
            "back to {}",
            Precision::F32
        );
        let [exact, narrow] = [&exact, &narrow].map(|model| model.encode(&images, 2).unwrap());
        for (exact, narrow) in exact.iter().zip(&narrow) {
            let largest = exact.map.iter().copied().fold(0.0, f32::max);
            for (e, n) in exact.map.iter().zip(&narrow.map) {
                assert!((e - n).abs() <= precision.error() * largest, "{precision}: {n} for {e}");
            }
        }
    }
}

#[test]
fn maps_of_arrays_are_those_of_slices() {
    let images = noise(2 * 3 * 32 * 32, 2);
    let client = Device::Cpu.client().unwrap();
    for engine in [Engine::Direct, Engine::Burn] {
        let model = model(tiny(), 1).with_engine(engine).unwrap();
        let (maps, features) = model.encode_there(Array::upload(&client, &images), 2).unwrap();
        let maps = maps.download().unwrap();
        let encoded = model.encode(&images, 2).unwrap();
        for (Pooled { feature, logit }, slice) in features.iter().zip(&encoded) {
            assert!((logit - slice.logit).abs() <= 1e-4, "logits differ on {engine}");
            assert!(
                feature.iter().zip(&slice.feature).all(|(a, e)| (a - e).abs() <= 1e-4),
                "features differ on {engine}"
            );
        }
        assert_eq!(features.len(), encoded.len());
        let expected: Vec<f32> = encoded.into_iter().flat_map(|slice| slice.map).collect();
        assert_eq!(maps.len(), expected.len());
        assert!(maps.iter().zip(&expected).all(|(a, e)| (a - e).abs() <= 1e-4), "maps differ on {engine}");
    }
}

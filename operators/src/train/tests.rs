use std::sync::Arc;

use kernels::units::{Rescale, Window};

use super::*;
use crate::model::{Arch, Context};
use crate::record::{Plane, StoredValues};

const SIZE: usize = 32;

/// Networks and stages that train in seconds.
pub(crate) fn toy() -> TrainConfig {
    let stage = |epochs, samples, batch, learning_rate| StageConfig {
        epochs,
        samples,
        batch,
        learning_rate,
        weight_decay: 1e-4,
    };
    TrainConfig {
        arch: Arch::ResNet18,
        width: 4,
        last_stride_one: true,
        pooling: crate::model::Pooling::GeneralizedMean,
        input_size: SIZE,
        windows: vec![Window::BRAIN, Window::SUBDURAL],
        context: Context::BiGru,
        context_hidden: 16,
        context_layers: 1,
        context_radius: 3,
        unet_width: 4,
        unet_patch: 2,
        precision: crate::tensor::Precision::F32,
        seed: 5,
        fraction: 1.0,
        validation: 0.25,
        coarse_epochs: 1,
        partners: 0.5,
        classifier: stage(4, 256, 16, 3e-3),
        head: stage(3, 128, 16, 5e-3),
        cam: stage(2, 128, 16, 1e-3),
        segmenter: stage(6, 192, 8, 1e-2),
        student: Student::default(),
        self_training: 0,
    }
}

/// [`toy`] with so many epochs in each stage, and few samples: it learns nothing.
fn short(epochs: usize) -> TrainConfig {
    let stage = |stage: StageConfig| StageConfig { epochs, samples: 32, ..stage };
    let toy = toy();
    TrainConfig {
        classifier: stage(toy.classifier),
        head: stage(toy.head),
        cam: stage(toy.cam),
        segmenter: stage(toy.segmenter),
        ..toy
    }
}

/// Where the bright square of a slice is, if it has one: row and column of its corner.
fn square(series: usize, slice: usize) -> Option<[usize; 2]> {
    let mut random = Random::item(9, "square", (series * 100 + slice) as u64);
    (series.is_multiple_of(2) && (2..5).contains(&slice)).then(|| [6 + random.below(14), 6 + random.below(14)])
}

/// A mask of the first rows, for a slice with a square: as good as any where only bits count.
fn band(series: usize, slice: usize) -> Option<Vec<bool>> {
    square(series, slice).map(|_| (0..SIZE * SIZE).map(|at| at < 70).collect())
}

/// Noise around 30 HU in a disc, with a square of 60 HU.
fn plane(series: usize, slice: usize) -> Plane {
    let mut random = Random::item(9, "plane", (series * 100 + slice) as u64);
    let square = square(series, slice);
    #[allow(clippy::cast_possible_truncation, reason = "HU of a toy")]
    let hu = (0..SIZE * SIZE).map(|index| {
        let (row, column) = (index / SIZE, index % SIZE);
        let inside = row.abs_diff(16).pow(2) + column.abs_diff(16).pow(2) < 196;
        let bright =
            square.is_some_and(|[top, left]| (top..top + 7).contains(&row) && (left..left + 7).contains(&column));
        let base = if bright {
            60.0
        } else if inside {
            30.0
        } else {
            -1000.0
        };
        (base + 4.0 * random.normal()) as i16
    });
    let values = StoredValues::Signed(hu.collect());
    Plane { rows: SIZE, columns: SIZE, values, rescale: Rescale::IDENTITY }
}

fn preprocess(windows: &[Window]) -> impl Fn(&Plane) -> Result<Vec<f32>, String> + Sync {
    |plane| {
        Ok(windows.iter().flat_map(|window| plane.hu().into_iter().map(|hu| window.intensity(f32::from(hu)))).collect())
    }
}

/// `series` series of 6 slices; every other one has squares in 3 of them.
pub(crate) fn images(series: usize, config: &TrainConfig) -> (Images, TrainConfig) {
    let mut images = Images::new(config);
    for index in 0..series {
        let slices = (0..6).map(|slice| TrainSlice {
            plane: Arc::new(plane(index, slice)),
            spacing_mm: [0.5; 2],
            label: square(index, slice).is_some(),
        });
        let series = TrainSeries { key: format!("series {index}"), slices: slices.collect() };
        images.add(&series, preprocess(&config.windows)).unwrap();
    }
    (images, config.clone())
}

fn train_toy(config: &TrainConfig, series: usize) -> (Images, Model, Vec<Progress>) {
    let (images, config) = images(series, config);
    let mut told = Vec::new();
    let model = train(
        config.card("toy", "1"),
        None,
        &images,
        &config,
        Device::Cpu,
        &mut Course::new(&mut |progress| told.push(progress.clone())),
    )
    .unwrap();
    (images, model, told)
}

#[test]
fn a_toy_is_learned_from_slice_labels_and_then_segmented() {
    let config = toy();
    let (images, model, told) = train_toy(&config, 48);
    let metrics = &model.card().trained.metrics;
    for name in ["slice_auc", "sequence_auc", "cam_auc"] {
        assert!(metrics[name] > 0.9, "{metrics:?}");
    }
    assert!((0.0..=1.0).contains(&model.card().gate));
    assert_eq!(
        (model.card().trained.studies, model.card().trained.slices, model.card().trained.positive_slices),
        (48, 288, 72)
    );
    for (stage, epochs) in [("classifier", 4), ("head", 3), ("cam", 2)] {
        let epochs_told: Vec<usize> = told.iter().filter(|told| told.stage == stage).map(|told| told.epoch).collect();
        assert_eq!(epochs_told, (1..=epochs).collect::<Vec<_>>());
    }

    // Series that training never saw.
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for (series, slice) in (100..120).flat_map(|series| (0..6).map(move |slice| (series, slice))) {
        let image = preprocess(&config.windows)(&plane(series, slice)).unwrap();
        scores.push(model.encode(&image, 1).unwrap()[0].logit);
        labels.push(square(series, slice).is_some());
    }
    assert!(crate::score::auc::auc(&scores, &labels).unwrap() > 0.9);

    let truth = |series: usize, slice: usize| {
        square(series, slice).map(|[top, left]| {
            (0..SIZE * SIZE)
                .map(|index| (top..top + 7).contains(&(index / SIZE)) && (left..left + 7).contains(&(index % SIZE)))
                .collect::<Vec<bool>>()
        })
    };
    let with = add_segmenter(&model, Teacher::Maps, &images, truth, &config, &mut Course::new(&mut |_| {})).unwrap();
    let loss = with.card().trained.metrics["segmenter_loss"];
    assert!(with.card().segmenter && loss < 1.0, "{loss}");
    let (mut both, mut either) = (0, 0);
    for (series, slice) in (100..120).step_by(2).flat_map(|series| (2..5).map(move |slice| (series, slice))) {
        let image = preprocess(&config.windows)(&plane(series, slice)).unwrap();
        let logits = with.segment(&image[..SIZE * SIZE], 1).unwrap();
        for (logit, truth) in logits.iter().zip(truth(series, slice).unwrap()) {
            both += 2 * usize::from(*logit > 0.0 && truth);
            either += usize::from(*logit > 0.0) + usize::from(truth);
        }
    }
    assert!(both * 10 > either * 6, "Dice {both} / {either}");
    // Stage 4 leaves all but the U-Net as it was.
    let image = preprocess(&config.windows)(&plane(100, 3)).unwrap();
    assert_eq!(with.encode(&image, 1).unwrap(), model.encode(&image, 1).unwrap());
}

#[test]
fn a_segmenter_is_new_each_time_and_the_card_tells_of_the_last() {
    let config = short(1);
    let (images, model, _) = train_toy(&config, 8);
    let taught = |model: &Model, teacher, config: &TrainConfig| {
        add_segmenter(model, teacher, &images, band, config, &mut Course::new(&mut |_| {})).unwrap()
    };
    let once = taught(&model, Teacher::Maps, &config);
    let longer = TrainConfig { segmenter: StageConfig { epochs: 2, ..config.segmenter }, ..config.clone() };
    let other = taught(&once, Teacher::People, &longer);
    assert_eq!(other.card().trained.config, serde_json::to_value(&longer).unwrap());
    assert!(other.card().sha256 != once.card().sha256 && other.card().trained.supervision.contains("masks"));
    assert_eq!(taught(&other, Teacher::Maps, &config).card(), once.card());
}

#[test]
fn narrow_numbers_learn_as_well_and_too_narrow_ones_are_refused() {
    use crate::tensor::Precision;
    if !Precision::Bf16.is_supported(&connect(Device::Cpu).unwrap()) {
        println!("skipped: bf16 on cpu: not supported");
        return;
    }
    let (_, model, _) = train_toy(&TrainConfig { precision: Precision::Bf16, ..toy() }, 48);
    let auc = model.card().trained.metrics["slice_auc"];
    assert!(auc > 0.9, "{auc}");

    let (images, half) = images(8, &TrainConfig { precision: Precision::F16, ..toy() });
    let result = train(half.card("toy", "1"), None, &images, &half, Device::Cpu, &mut Course::new(&mut |_| {}));
    assert!(matches!(result, Err(TrainError::Precision(Precision::F16))));
}

#[test]
fn a_training_repeats_to_the_last_bit() {
    let train = |seed| train_toy(&TrainConfig { seed, ..short(1) }, 8).1;
    assert_eq!(train(1).card(), train(1).card());
    assert_ne!(train(1).card().sha256, train(2).card().sha256);
}

/// Copies a folder of files.
fn copied(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_training_goes_on_from_every_epoch_to_the_same_last_bit() {
    let (images, config) = images(8, &short(2));
    // Trains with checkpoints in `folder`; `tell` hears of each epoch once its checkpoint lies there.
    let whole = |folder: &std::path::Path, resume: bool, config: &TrainConfig, tell: &mut dyn FnMut(&Progress)| {
        let mut course = Course::new(tell).keeping(Checkpoints { folder: folder.to_owned(), resume });
        let model = train(config.card("toy", "1"), None, &images, config, Device::Cpu, &mut course)?;
        add_segmenter(&model, Teacher::Maps, &images, band, config, &mut course)
    };
    let root = tempfile::tempdir().unwrap();
    let (kept, mut told) = (root.path().join("kept"), Vec::new());
    let model = whole(&kept, false, &config, &mut |progress: &Progress| {
        copied(&kept, &root.path().join(told.len().to_string()));
        told.push(progress.clone());
    });
    let model = model.unwrap();
    assert_eq!(told.len(), 8);
    for place in 0..told.len() {
        let mut again = Vec::new();
        let folder = root.path().join(place.to_string());
        let resumed = whole(&folder, true, &config, &mut |progress: &Progress| again.push(progress.clone())).unwrap();
        assert_eq!(resumed.card(), model.card(), "killed after {:?}", told[place]);
        assert_eq!(again, told, "the curves are whole");
    }
    // What was kept of another training is refused by name.
    for other in [TrainConfig { seed: 6, ..config.clone() }, TrainConfig { validation: 0.5, ..config }] {
        let error = whole(&kept, true, &other, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("classifier.checkpoint") && error.contains("another training"), "{error}");
    }
}

#[test]
fn a_training_begins_with_another_s_weights_and_has_its_own_strides() {
    let (images, config) = images(4, &short(0));
    let other = TrainConfig { last_stride_one: false, seed: 9, ..config.clone() };
    let [plain, other] = [&config, &other].map(|config| {
        let model = Model::untrained(config.card("toy", "1"), config.seed, Device::Cpu).unwrap();
        (config, model)
    });
    let (pixels, side) = (vec![0.5; 2 * SIZE * SIZE], |model: &Model| model.map_grid().size[0]);
    for ((config, own), (_, start)) in [(&plain, &other), (&other, &plain)] {
        let mut course = |_: &Progress| {};
        let begun =
            train(config.card("toy", "1"), Some(start), &images, config, Device::Cpu, &mut Course::new(&mut course))
                .unwrap();
        let stages = |model: &Model| crate::model::import::export("toy", model.network()).unwrap();
        assert!(stages(&begun) == stages(start) && stages(start) != stages(own));
        assert_eq!(side(&begun), side(own));
        let map = begun.encode(&pixels, 1).unwrap().remove(0).map;
        assert_eq!(map.len(), begun.card().features() * side(own) * side(own));
    }
}

#[test]
fn stage_three_changes_exactly_the_cam_head() {
    use burn_store::ModuleSnapshot as _;
    let (images, config) = images(8, &toy());
    let split = images.split(&config).unwrap();
    let network = Network::new(&config.card("toy", "1"), 1, &connect(Device::Cpu).unwrap());
    let features =
        Features::of(&Model::new(config.card("toy", "1"), &network, Device::Cpu).unwrap(), &images, &split).unwrap();
    let tensors = |network: &Network| -> Vec<(String, Vec<u8>)> {
        let tensors = network.collect(None, None, false);
        tensors.iter().map(|tensor| (tensor.name.to_string(), tensor.to_bytes().unwrap().to_vec())).collect()
    };
    let before = tensors(&network);
    let (after, _) =
        train_cam(network, &features, &images, &split, &config, Device::Cpu, &mut Course::new(&mut |_| {})).unwrap();
    let mut changed = 0;
    for ((name, before), (_, after)) in before.iter().zip(tensors(&after)) {
        let numbers = before.chunks(4).zip(after.chunks(4)).filter(|(before, after)| before != after).count();
        assert!(numbers == 0 || name.starts_with("cam."), "{name} changed");
        changed += numbers;
    }
    assert_eq!(changed, config.card("toy", "1").features() + 1);
    assert!(before.iter().any(|(name, _)| name.ends_with("running_mean")));
}

#[test]
fn what_cannot_be_trained_is_named() {
    let (images, config) = images(8, &toy());
    let none = |_: usize, _: usize| None;
    let network = Network::new(&config.card("toy", "1"), 1, &connect(Device::Cpu).unwrap());
    let model = Model::new(config.card("toy", "1"), &network, Device::Cpu).unwrap();
    assert!(matches!(
        add_segmenter(&model, Teacher::Maps, &images, none, &config, &mut Course::new(&mut |_| {})),
        Err(TrainError::NoMasks { positive: 9 })
    ));
    let short = |_: usize, _: usize| Some(vec![true; 4]);
    assert!(matches!(
        add_segmenter(&model, Teacher::Maps, &images, short, &config, &mut Course::new(&mut |_| {})),
        Err(TrainError::Mask { len: 4, .. })
    ));

    let mut empty = Images::new(&config);
    let series = TrainSeries {
        key: "broken".to_owned(),
        slices: vec![TrainSlice { plane: Arc::new(plane(0, 0)), spacing_mm: [0.5; 2], label: true }],
    };
    let error = empty.add(&series, |_| Err::<Vec<f32>, _>("no pixels")).unwrap_err();
    assert_eq!(error.to_string(), "series broken, slice 0: no pixels");
    assert!(matches!(empty.add(&series, |_| Ok::<_, String>(vec![0.0; 3])), Err(TrainError::Preprocess { .. })));
    assert_eq!(empty.slices(), 0);

    let wild = TrainConfig { classifier: StageConfig { learning_rate: f64::INFINITY, ..config.classifier }, ..config };
    let result = train(wild.card("toy", "1"), None, &images, &wild, Device::Cpu, &mut Course::new(&mut |_| {}));
    assert!(matches!(result, Err(TrainError::Diverged { stage: "classifier", .. })));
}

#[test]
fn a_configuration_reads_back_and_unknown_numbers_are_refused() {
    let text = serde_json::to_string(&toy()).unwrap();
    assert_eq!(serde_json::from_str::<TrainConfig>(&text).unwrap(), toy());
    assert_eq!(serde_json::from_str::<TrainConfig>("{}").unwrap(), TrainConfig::default());
    assert!(serde_json::from_str::<TrainConfig>("{\"widht\": 8}").is_err());
}

//! The networks as torch computes them from the same weights: encoder, pooling, CAM, sequence head, segmenter, resampling.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use hemoflow::kernels::{Device, cam, resize};
use hemoflow::operators::model::{Arch, Card, Context, Engine, Model, Pooling, import};
use hemoflow::operators::train::TrainConfig;

use crate::support::{assert_exit, complaints, hemoflow};

/// A Python that has torch.
fn python() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/torch-python");
    let output = Command::new(script).output().expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a path").trim().into()
}

/// Small networks of every kind of block, pooling and recurrence.
fn cards() -> [Card; 4] {
    let card = |arch, context, context_layers, unet_patch, pooling| {
        let config = TrainConfig {
            arch,
            context,
            context_layers,
            unet_patch,
            pooling,
            last_stride_one: unet_patch == 2,
            width: 4,
            unet_width: 2,
            input_size: 64,
            context_hidden: 12,
            ..TrainConfig::default()
        };
        Card { segmenter: true, ..config.card("layers", "1") }
    };
    [
        card(Arch::ResNet18, Context::BiGru, 1, 2, Pooling::GeneralizedMean),
        card(Arch::ResNet34, Context::Gru, 3, 1, Pooling::Average),
        card(Arch::ResNet50, Context::BiLstm, 2, 2, Pooling::Average),
        card(Arch::ResNet101, Context::Lstm, 1, 1, Pooling::GeneralizedMean),
    ]
}

/// To 1e-4 of the largest number, or of 1.
fn assert_close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    let least = theirs.iter().fold(f32::MAX, |least, value| least.min(value.abs()));
    assert!(scale.is_finite() && (theirs.len() < 3 || least < 0.9 * scale), "{what} says nothing");
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= 1e-4 * scale, "{what} [{index}]: {ours} for {theirs}");
    }
}

#[test]
fn networks_are_those_of_torch() {
    let python = python();
    let client = Device::Cpu.client().expect("a processor");
    for card in cards() {
        let folder = tempfile::tempdir().expect("a folder");
        Model::untrained(card, 3, Device::Cpu).expect("a model").save(folder.path()).expect("written");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layers.py");
        let output = Command::new(&python).arg(script).arg(folder.path()).output().expect("Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read(folder.path().join("expected.txt")).expect("what torch says");
        let expected: BTreeMap<String, Vec<f32>> = serde_json::from_slice(&text).expect("numbers by name");
        let loaded = Model::load(folder.path(), Device::Cpu).expect("the same model");
        for engine in [Engine::Direct, Engine::Burn] {
            let model = loaded.clone().with_engine(engine).expect("the engine");
            let what = |name: &str| format!("{:?}, {engine}: {name}", model.card().arch);
            let close = |name: &str, ours: &[f32]| assert_close(&what(name), ours, &expected[name]);
            let images = &expected["images"];
            let slices = model.encode(images, 2).expect("encoded");
            let maps: Vec<f32> = slices.iter().flat_map(|slice| slice.map.clone()).collect();
            close("maps", &maps);
            close("features", &slices.iter().flat_map(|slice| slice.feature.clone()).collect::<Vec<_>>());
            close("logits", &slices.iter().map(|slice| slice.logit).collect::<Vec<_>>());

            let [rows, columns] = model.map_grid().size;
            let shape = [2, model.card().features(), rows, columns];
            let activation = cam::activation(&client, &maps, shape, model.cam_weights()).expect("maps");
            close("activation", &activation);
            let enlarged =
                activation.chunks(rows * columns).flat_map(|map| resize::bilinear(map, [rows, columns], [37, 50]));
            close("enlarged", &enlarged.collect::<Vec<_>>());

            let features = model.card().features();
            let sequences: Vec<Vec<&[f32]>> =
                expected["sequences"].chunks(5 * features).map(|steps| steps.chunks(features).collect()).collect();
            close("sequence_logits", &model.classify(&sequences).expect("logits").concat());

            let window = model.card().input_size * model.card().input_size;
            let first: Vec<f32> = images.chunks(images.len() / 2).flat_map(|slice| slice[..window].to_vec()).collect();
            close("segmented", &model.segment(&first, 2).expect("segmented"));
        }
    }
}

#[test]
fn imported_weights_make_the_maps_that_torch_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imported.py");
    let output = Command::new(python()).arg(script).arg(folder.path()).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, arch, width) in [("new", Arch::ResNet18, 4), ("old", Arch::ResNet50, 3)] {
        let bytes = std::fs::read(folder.path().join(format!("{name}.pth"))).expect("a file of torch");
        let dictionary = import::state_dictionary(&bytes).expect("a state dictionary");
        let card = TrainConfig { input_size: 64, ..TrainConfig::default() }.card("imported", "1");
        let (card, network) = import::encoder(&dictionary, &card, 1, Device::Cpu).expect("an encoder");
        assert_eq!((card.arch, card.width), (arch, width));
        let model = Model::new(card, &network, Device::Cpu).expect("a model");
        let text = std::fs::read(folder.path().join(format!("{name}.expected.txt"))).expect("what torch says");
        let expected: BTreeMap<String, Vec<f32>> = serde_json::from_slice(&text).expect("numbers by name");
        let slices = model.encode(&expected["images"], 2).expect("encoded");
        let maps: Vec<f32> = slices.iter().flat_map(|slice| slice.map.clone()).collect();
        assert_close(name, &maps, &expected["maps"]);
    }

    // The program does the same: a model to begin a training with, and its encoder out again.
    let path = |name: &str| folder.path().join(name).display().to_string();
    let output = hemoflow(["model", "import", &path("new.pth"), "--out", &path("model"), "--name", "start"]);
    assert_exit(&output, 0);
    assert_exit(&hemoflow(["model", "export", &path("model"), "--out", &path("out.safetensors")]), 0);
    let out = import::read(&folder.path().join("out.safetensors")).expect("safetensors");
    let saved = import::read(&folder.path().join("new.pth")).expect("a state dictionary");
    assert!(out.len() == 100 && out.iter().all(|(name, array)| saved.get(name) == Some(array)));
    std::fs::write(folder.path().join("none.pth"), b"PK none").expect("written");
    let output = hemoflow(["model", "import", &path("none.pth"), "--out", &path("none")]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("none.pth"), "{}", complaints(&output));
}

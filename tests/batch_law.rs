//! The batch law: what is published does not depend on how its slices came, only on which they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use hemoflow::collector::{Arrivals, Collected, collect};
use hemoflow::engine::Engine;
use hemoflow::graphs::stages::Stages;
use hemoflow::kernels::Device;
use hemoflow::kernels::executor::Fault;
use hemoflow::operators::completeness::Status;
use hemoflow::operators::dicom::{Instance, read};
use hemoflow::operators::event::{Metrics, Telemetry};
use hemoflow::operators::model::Model;
use hemoflow::operators::phantom::{self, PhantomConfig, PhantomSlice};
use hemoflow::operators::record::{Change, MethodConfig};
use hemoflow::operators::report::{Latency, ModelName, report};
use hemoflow::operators::train::TrainConfig;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{assert_exit, files, phantoms, run, summary};

/// A result without what tells of its history: ticks, latencies, versions.
pub(crate) fn without_history(mut result: Value) -> Value {
    let fields = result.as_object_mut().expect("an object");
    for field in ["tick", "version", "latency_seconds"] {
        fields.remove(field).unwrap_or_else(|| panic!("no {field}"));
    }
    result
}

/// Every file of a series by its bytes, JSON without the lines of ticks and latencies.
fn objects(tree: &Path) -> Vec<(String, Vec<u8>)> {
    let history =
        |line: &str| ["\"tick\":", "\"first\":", "\"last\":"].iter().any(|field| line.trim().starts_with(field));
    let named = files(tree).into_iter().filter(|path| path.parent() != Some(tree));
    let content = |path: std::path::PathBuf| {
        let name = path.strip_prefix(tree).expect("below the tree").display().to_string();
        let bytes = std::fs::read(&path).expect("a file");
        if path.extension().is_none_or(|extension| extension != "json") {
            return (name, bytes);
        }
        let text = String::from_utf8(bytes).expect("text");
        (name, text.lines().filter(|line| !history(line)).collect::<Vec<_>>().join("\n").into_bytes())
    };
    named.map(content).collect()
}

#[test]
fn the_order_of_inputs_and_repeated_inputs_change_nothing() {
    let data = phantoms(2, 10, 5);
    let dicom = files(&data.path().join("dicom"));
    let forwards: Vec<&Path> = dicom.iter().map(AsRef::as_ref).collect();
    let backwards: Vec<&Path> = forwards.iter().rev().copied().collect();
    let twice: Vec<&Path> = forwards.iter().chain(backwards.iter()).copied().collect();
    let strided: Vec<&Path> = (0..7).flat_map(|start| forwards.iter().skip(start).step_by(7).copied()).collect();
    assert_eq!(strided.len(), forwards.len());
    let (expected, output) = run(&forwards);
    assert_exit(&output, 0);
    assert!(
        summary(expected.path()).iter().any(|result| result["volume_ml"]["pseudo_mask"] != 0.0),
        "no mask to compare"
    );
    for inputs in [backwards, twice, strided] {
        let (tree, output) = run(&inputs);
        assert_exit(&output, 0);
        assert_eq!(objects(tree.path()), objects(expected.path()), "versions too: an instance sent twice makes none");
    }
}

/// The instances of two small series, each in two forms: as it is, and with the pixels of its neighbor.
fn instances() -> Vec<[Instance; 2]> {
    let config = PhantomConfig { seed: 31, slices: Some(6), matrix: 64, ..PhantomConfig::default() };
    let form = |study: &phantom::PhantomStudy, slice: &PhantomSlice| {
        let mut bytes = Vec::new();
        phantom::dicom_object(study, slice).expect("an object").write_all(&mut bytes).expect("bytes");
        read::read_bytes("phantom", &bytes).expect("an instance")
    };
    let studies: Vec<_> = (0..2).map(|index| phantom::study(&config, index)).collect();
    let forms = |study: &phantom::PhantomStudy| -> Vec<[Instance; 2]> {
        let neighbors = study.slices.iter().skip(1).chain(study.slices.first());
        let both = study.slices.iter().zip(neighbors).map(|(slice, neighbor)| {
            [form(study, slice), form(study, &PhantomSlice { plane: neighbor.plane.clone(), ..slice.clone() })]
        });
        both.collect()
    };
    studies.iter().flat_map(forms).collect()
}

static INSTANCES: LazyLock<Vec<[Instance; 2]>> = LazyLock::new(instances);

/// A small model of random weights whose gate lets many slices through.
fn stages(fault: &Fault) -> Stages {
    let config = TrainConfig { width: 2, input_size: 32, context_hidden: 4, unet_width: 2, ..TrainConfig::default() };
    let mut card = config.card("random", "0");
    card.segmenter = true;
    let model = Model::untrained(card, 3, Device::Cpu).expect("a model");
    let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
    let method = MethodConfig { mask_gate: 0.3, cam_gate: 0.0, ..MethodConfig::default() };
    Stages::start(model, method, Device::Cpu, telemetry, fault.clone()).expect("stages")
}

/// What a graph publishes in the end, and how many blocks it still holds.
fn outcome(changes: &[Step], instances: &[[Instance; 2]], workers: usize) -> (Vec<Value>, usize) {
    let fault = Fault::default();
    let stages = stages(&fault);
    let (mut engine, outputs) = Engine::start(stages.clone(), workers, fault).expect("an engine");
    for step in changes {
        match *step {
            Step::Arrive(index, form) => engine.arrive(&instances[index][form]),
            Step::Withdraw(index) => {
                let [instance, _] = &instances[index];
                engine.send(Change::Withdrawn { key: instance.key.clone(), instance: instance.uid.clone() })
            }
        }
        .expect("sent");
    }
    engine.finish().expect("a clean end");
    let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
    let collected: Collected = collect(&outputs, &Arrivals::default(), &telemetry, |_| {});
    let model = ModelName { name: "random".into(), version: "0".into(), sha256: "0".repeat(64) };
    let results = collected.series.values().filter(|current| current.publication.status != Status::Withdrawn);
    let results = results.map(|current| {
        let report = report(&current.publication, &model, 12.0, Latency::default());
        without_history(serde_json::to_value(report).expect("JSON"))
    });
    (results.collect(), stages.blocks().iter().map(|(_, blocks)| blocks).sum())
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive(usize, usize),
    Withdraw(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_usize..12, 0_usize..2).prop_map(|(index, form)| Step::Arrive(index, form)),
        1 => (0_usize..12).prop_map(Step::Withdraw),
    ];
    prop::collection::vec(step, 1..30)
}

/// The arrivals of what is present after all steps, in the order of the instances.
fn present(steps: &[Step]) -> Vec<Step> {
    let mut forms = BTreeMap::new();
    for step in steps {
        match *step {
            Step::Arrive(index, form) => forms.insert(index, form),
            Step::Withdraw(index) => forms.remove(&index),
        };
    }
    forms.into_iter().map(|(index, form)| Step::Arrive(index, form)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_ends_as_a_batch_run_and_holds_no_more(steps in steps(), workers in 1_usize..3) {
        let instances = &INSTANCES;
        let (streamed, held) = outcome(&steps, instances, workers);
        let (batch, needed) = outcome(&present(&steps), instances, 1);
        prop_assert_eq!(streamed, batch);
        prop_assert_eq!(held, needed, "blocks that nobody needs");
    }

    #[test]
    fn inserting_then_withdrawing_leaves_nothing(steps in steps()) {
        let instances = &INSTANCES;
        let everything = (0..instances.len()).map(Step::Withdraw);
        let (results, held) = outcome(&steps.into_iter().chain(everything).collect::<Vec<_>>(), instances, 1);
        prop_assert!(results.is_empty());
        prop_assert_eq!(held, 0);
    }
}

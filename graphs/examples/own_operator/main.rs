//! The graph of hemorrhage with an operator of one's own between refining and segmenting, and no line of ours changed.
//!
//! `cargo run --release --example own_operator [MODEL]` streams a phantom, slice by slice, and shows how the gate to the
//! segmenter opens for the whole series once its pseudo-masks have a quorum; the model is that of the folder `models`
//! unless another is named. `docs/adding-an-operator.md` tells how the operator came to be.

mod quorum;

use std::error::Error;
use std::path::Path;

use differential_dataflow::input::InputSession;
use graphs::hemorrhage::{self, Hemorrhage, Received};
use graphs::stages::{Compute, Setup, Stages, take};
use kernels::Device;
use kernels::executor::Fault;
use operators::dicom::{Instance, read};
use operators::event::{Metrics, Telemetry};
use operators::model::Model;
use operators::phantom::{self, PhantomConfig};
use operators::plumbing::{Collection, Stage};
use operators::publish::Publication;
use operators::record::{Change, MethodConfig, Role, Tick, Use};
use operators::store::Store;
use prometheus::Registry;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;

pub(crate) use quorum::{Quorate, Quorum, Solid, WeighTask, solid};

type Failure = Box<dyn Error + Send + Sync>;

/// Opens the stage that weighs pseudo-masks, beside the stages of the graph.
pub(crate) fn weigh(setup: &mut Setup) -> Stage<WeighTask, Solid> {
    let pseudo_masks = setup.stages().shelves().pseudo_masks;
    setup.on_host("Weigh", move |tasks: Vec<WeighTask>| {
        let weighed = |task: &WeighTask| {
            let mask = take(&pseudo_masks, &task.pseudo_mask, "pseudo-mask")?;
            Ok(solid(&mask, task.shape, task.least))
        };
        tasks.iter().map(weighed).collect()
    })
}

/// Installs the graph with a quorum in it.
pub(crate) fn install<'scope>(
    changes: Collection<'scope, Change>,
    uses: Collection<'scope, Use>,
    stages: &Stages,
    (rule, weigh): (Quorum, Stage<WeighTask, Solid>),
) -> Hemorrhage<'scope> {
    let Received { slices, rejections } = hemorrhage::receive(changes.clone(), stages);
    let calls = hemorrhage::classify(slices, uses, stages);
    let delineated = hemorrhage::delineate(calls, stages);
    let quorate = delineated.quorum(rule, stages.methods().clone(), weigh);
    let segmented = hemorrhage::segment(quorate, stages);
    let publications = hemorrhage::publish(segmented, changes, stages);
    Hemorrhage { publications, rejections }
}

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1);
    let model = Model::load(Path::new(folder.as_deref().unwrap_or("models")), Device::Cpu)?;
    run(phantom()?, model, |line| println!("{line}"))
}

/// Reads `instances` one after the other, and says of each result how many of its slices the segmenter saw.
pub(crate) fn run(
    instances: Vec<Instance>,
    model: Model,
    say: impl Fn(&str) + Clone + Send + Sync + 'static,
) -> Result<(), Failure> {
    let telemetry = Telemetry::new(Metrics::register(&Registry::new())?);
    let mut setup = Setup::new(Compute::on(Device::Cpu), Store::unbounded(), telemetry.clone())?;
    let weigh = weigh(&mut setup);
    let stages = setup.start(Fault::default())?;
    let config = MethodConfig::default().of(model.card());
    let (method, rule) = (stages.load(model, config)?.digest, Quorum { least_mm2: 20.0, least_ml: 2.0 });
    let heard = say.clone();

    let workers = timely::execute(timely::Config::process(2), move |worker| {
        let (mut changes, mut uses) = (InputSession::new(), InputSession::new());
        let (probe, heard) = (ProbeHandle::new(), heard.clone());
        worker.dataflow::<Tick, _, _>(|scope| {
            let (changes, uses) = (changes.to_collection(scope), uses.to_collection(scope));
            let graph = install(changes, uses, &stages, (rule, weigh.clone()));
            graph.publications.map(move |result| heard(&line(&result))).probe_with(&probe);
        });
        if worker.index() == 0 {
            uses.insert(Use { role: Role::Active, method });
            for (instance, tick) in instances.iter().zip(0..) {
                changes.update_at(stages.accept(instance, tick), tick, 1);
            }
        }
        drop((changes, uses));
        stages.step_while(worker, |worker| worker.has_dataflows())
    })?;
    workers.join().into_iter().collect::<Result<Result<Vec<()>, _>, String>>()??;
    let [weighed, segmented] = ["Weigh", "Segment"].map(|stage| telemetry.metrics().tasks_of(stage));
    say(&format!("{weighed} pseudo-masks weighed, {segmented} slices segmented"));
    Ok(())
}

/// A result in a line: how many slices the classifier calls positive, and how many of them the segmenter saw.
fn line(Publication { version, method, slices, .. }: &Publication) -> String {
    let positive = slices.iter().filter(|slice| slice.probability >= method.config.mask_gate).count();
    let segmented = slices.iter().filter(|slice| slice.mask.is_some()).count();
    format!("version {version}: {} slices, {positive} positive, {segmented} segmented", slices.len())
}

/// A synthetic study with a bleed, as it would come over the network.
pub(crate) fn phantom() -> Result<Vec<Instance>, Failure> {
    let config = PhantomConfig { matrix: 128, slices: Some(16), positive_share: 1.0, ..PhantomConfig::default() };
    let study = phantom::study(&config, 4);
    let instance = |slice| {
        let mut bytes = Vec::new();
        phantom::dicom_object(&study, slice)?.write_all(&mut bytes)?;
        Ok(read::read_bytes("phantom", &bytes).map_err(|rejection| rejection.detail)?)
    };
    study.slices.iter().map(instance).collect()
}

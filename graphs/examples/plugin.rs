//! Hemorrhage in a dataflow of one's own: who ordered a head CT hears what it shows, as its slices arrive.
//!
//! `cargo run --release --example plugin [FOLDER [MODEL]]` reads the DICOM files of a folder, or else
//! makes two phantoms up; without the folder of a model its weights are random, and so are its answers.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use differential_dataflow::AsCollection;
use differential_dataflow::input::InputSession;
use graphs::hemorrhage;
use graphs::stages::{Compute, Stages};
use kernels::Device;
use kernels::executor::Fault;
use operators::dicom::{Instance, read};
use operators::event::{Metrics, Telemetry};
use operators::intake;
use operators::measure::series_probability;
use operators::model::Model;
use operators::outcome::ppm;
use operators::phantom::{self, PhantomConfig};
use operators::plumbing::Collection;
use operators::publish::Publication;
use operators::record::{MethodConfig, Role, SeriesKey, StudyUid, Tick, Use};
use operators::store::Store;
use operators::train::TrainConfig;
use prometheus::Registry;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::{ProbeHandle, StreamVec};

type Failure = Box<dyn Error + Send + Sync>;

/// What there is to say of a series. A collection orders and counts its records, so the numbers are integers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct Finding {
    slices: usize,
    probability_ppm: u32,
}

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let instances = arguments.first().map_or_else(phantoms, |folder| files(Path::new(folder)))?;
    let model = arguments.get(1).map_or_else(random, |folder| Ok(Model::load(Path::new(folder), Device::Cpu)?))?;
    run(instances, model, |line| println!("{line}"))
}

/// Reads `instances` one after the other, and says line by line how the findings of what was ordered change.
pub(crate) fn run(
    instances: Vec<Instance>,
    model: Model,
    say: impl Fn(&str) + Clone + Send + Sync + 'static,
) -> Result<(), Failure> {
    // Once a process: what the graph runs on. All of it is ours to choose, nothing is global.
    let registry = Registry::new();
    let telemetry = Telemetry::new(Metrics::register(&registry)?);
    let stages = Stages::start(Compute::on(Device::Cpu), Store::unbounded(), telemetry.clone(), Fault::default())?;
    let config = MethodConfig::default().of(model.card());
    let method = stages.load(model, config)?.digest;
    let heard = say.clone();

    // Once a worker: our dataflow, which the graph is a part of.
    let workers = timely::execute(timely::Config::process(2), move |worker| {
        let (mut changes, mut uses, mut orders) = (InputSession::new(), InputSession::new(), InputSession::new());
        let (probe, heard) = (ProbeHandle::new(), heard.clone());
        worker.dataflow::<Tick, _, _>(|scope| {
            let graph = hemorrhage::install(changes.to_collection(scope), uses.to_collection(scope), &stages);
            orders
                .to_collection(scope)
                .join(newest(graph.publications))
                .inspect(move |((study, (ward, finding)), tick, diff)| {
                    heard(&format!("{tick:>4} {diff:+} {ward}: {finding:?} in {study}"));
                })
                .probe_with(&probe);
        });

        // One worker says what happens, a tick for each slice; the graph brings it to the worker of its series.
        if worker.index() == 0 {
            let order = |instance: &Instance, ward: &str| (instance.key.study.clone(), ward.to_owned());
            uses.insert(Use { role: Role::Active, method });
            if let Some(instance) = instances.first() {
                orders.insert(order(instance, "emergency"));
            }
            for (instance, tick) in instances.iter().zip(1..) {
                changes.insert(stages.accept(instance, tick - 1));
                changes.advance_to(tick);
                uses.advance_to(tick);
                orders.advance_to(tick);
                changes.flush();
                uses.flush();
                orders.flush();
                stages.step_while(worker, |_| probe.less_than(&tick))?;
                stages.store.compact(tick);
            }
            // An order that comes after the slices is answered at once.
            if let Some(instance) = instances.last() {
                orders.insert(order(instance, "ward 7"));
            }
        }
        // An input that is closed keeps what it said.
        drop((changes, uses, orders));
        stages.step_while(worker, |worker| worker.has_dataflows())
    })?;
    workers.join().into_iter().collect::<Result<Result<Vec<()>, _>, String>>()??;
    say(&format!("{} slices encoded, each once", telemetry.metrics().tasks_of("Encode")));
    Ok(())
}

/// Publications as a collection: each takes the place of the one before it. They come in the order of their ticks, and
/// those of one series on one worker.
fn newest(publications: StreamVec<'_, Tick, Publication>) -> Collection<'_, (StudyUid, Finding)> {
    let mut current: BTreeMap<SeriesKey, Finding> = BTreeMap::new();
    publications
        .flat_map(move |Publication { key, tick, slices, .. }| {
            let probabilities: Vec<f32> = slices.iter().map(|slice| slice.probability).collect();
            let finding = Finding { slices: slices.len(), probability_ppm: ppm(series_probability(&probabilities)) };
            // A withdrawn series has no slices, and nothing is found in it.
            let next = (!slices.is_empty()).then_some(finding);
            let before = match next.clone() {
                Some(next) => current.insert(key.clone(), next),
                None => current.remove(&key),
            };
            let update = move |finding, diff| ((key.study.clone(), finding), tick, diff);
            let went = before.map(|finding| update(finding, -1));
            went.into_iter().chain(next.map(|finding| update(finding, 1))).collect::<Vec<_>>()
        })
        .as_collection()
}

/// What a folder holds, without what is refused.
fn files(folder: &Path) -> Result<Vec<Instance>, Failure> {
    let read = |item| if let intake::Item::File(path) = item { intake::read(&path).ok() } else { None };
    Ok(intake::items(&[folder.to_path_buf()]).into_iter().filter_map(read).flatten().collect())
}

/// Two synthetic studies, as they would come over the network.
pub(crate) fn phantoms() -> Result<Vec<Instance>, Failure> {
    let config = PhantomConfig { matrix: 64, slices: Some(6), ..PhantomConfig::default() };
    let mut instances = Vec::new();
    for study in [0, 1].map(|index| phantom::study(&config, index)) {
        for slice in &study.slices {
            let mut bytes = Vec::new();
            phantom::dicom_object(&study, slice)?.write_all(&mut bytes)?;
            instances.push(read::read_bytes("phantom", &bytes).map_err(|rejection| rejection.detail)?);
        }
    }
    Ok(instances)
}

/// A small model of random weights.
pub(crate) fn random() -> Result<Model, Failure> {
    let config = TrainConfig { width: 2, input_size: 32, context_hidden: 16, unet_width: 2, ..TrainConfig::default() };
    Ok(Model::untrained(config.card("random", "0"), 7, Device::Cpu)?)
}

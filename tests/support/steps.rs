//! What the laws let happen to the streaming graph: small series, each instance in several forms, and the steps between.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hemoflow::operators::dicom::{Frame, Instance, Pixels, read};
use hemoflow::operators::phantom::{self, PhantomConfig, PhantomSlice, PhantomStudy};
use hemoflow::operators::record::{Digest, Geometry, InstanceUid, Reason, Rejection, SeriesKey, Sign, Slice};
use proptest::prelude::*;

/// One change of what is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An instance, by its place in [`INSTANCES`], arrives: for the first time, again, or in another form.
    Arrive(usize, Form),
    /// An instance is taken back, if it is there.
    Withdraw(usize),
    /// A sign that a series, by its place in [`SERIES`], is complete: one of [`SIGNS`].
    Sign(usize, usize),
    /// A series, by its place in [`SERIES`], is let go.
    Release(usize),
    /// A model of two makes the results from now on.
    Use(usize),
    /// A model of two stands beside it from now on, or none.
    Shadow(Option<usize>),
    /// An input that is no image comes to the door.
    Refuse(usize),
}

/// What an instance holds when it arrives. Its identity is the same in every form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// With the pixels of the next slice.
    Repainted,
    /// At the place of the next slice, which then may lie twice there.
    Moved,
    /// With wider pixels: no neighbor of what is plain.
    Widened,
    /// With pixels that do not decode.
    Broken,
}

impl Form {
    const ALL: [Self; 5] = [Self::Plain, Self::Repainted, Self::Moved, Self::Widened, Self::Broken];
}

/// An instance in each of its forms.
pub(crate) type Forms = BTreeMap<Form, Instance>;

/// What may say that a series is complete, at once or under a condition.
pub(crate) const SIGNS: [Sign; 6] = [
    Sign::Requested,
    Sign::AssociationEnded,
    Sign::Quiet,
    Sign::Expected { instances: 3 },
    Sign::Expected { instances: 4 },
    Sign::Coverage { um: 12_000 },
];

/// Slices of each series. The first two series are of one study.
const SLICES: [usize; 3] = [5, 4, 4];

/// The instances of three series, in the order of series and place; the last of the third has two frames. Behind them one
/// more of the second and of the third: twins, which hold the same under other identities, so that all their blocks have
/// the same names.
pub(crate) static INSTANCES: LazyLock<Vec<Forms>> = LazyLock::new(instances);

/// The series of [`INSTANCES`].
pub(crate) static SERIES: LazyLock<Vec<SeriesKey>> = LazyLock::new(|| {
    let mut series: Vec<SeriesKey> = INSTANCES.iter().map(|forms| forms[&Form::Plain].key.clone()).collect();
    series.truncate(SLICES.iter().sum::<usize>() - 1);
    series.dedup();
    assert!(series.len() == 3 && series[0].study == series[1].study && series[1].study != series[2].study);
    series
});

/// What a file of each instance holds, before two become the frames of one.
static CONTENTS: LazyLock<Vec<BTreeMap<Form, Vec<u8>>>> = LazyLock::new(contents);

/// What a file of an instance of [`INSTANCES`] holds, if one can hold it: not for the last of the third series, and not
/// for twins.
pub(crate) fn payload(index: usize, form: Form) -> Option<&'static [u8]> {
    CONTENTS.get(index).filter(|_| index + 2 < CONTENTS.len()).map(|forms| forms[&form].as_slice())
}

fn contents() -> Vec<BTreeMap<Form, Vec<u8>>> {
    let config = PhantomConfig { seed: 30, matrix: 64, positive_share: 1.0, ..PhantomConfig::default() };
    let study = |index: u64| {
        let slices = Some(SLICES[usize::try_from(index).expect("one of three")]);
        phantom::study(&PhantomConfig { slices, ..config }, index)
    };
    let [first, second, third] = [0, 1, 2].map(study);
    let second = PhantomStudy { study: first.study.clone(), ..second };
    [&first, &second, &third].into_iter().flat_map(forms).collect()
}

fn instances() -> Vec<Forms> {
    let parsed = |(form, bytes): (&Form, &Vec<u8>)| (*form, read::read_bytes("phantom", bytes).expect("an instance"));
    let mut instances: Vec<Forms> = CONTENTS.iter().map(|forms| forms.iter().map(parsed).collect()).collect();
    let (last, before) = (instances.pop().expect("the last"), instances.pop().expect("the one before"));
    instances.push(in_one(before, last));
    let twins = [SLICES[0], SLICES[0] + SLICES[1]].map(|sibling| twin(&instances[1], &instances[sibling]));
    instances.into_iter().chain(twins).collect()
}

fn forms(study: &PhantomStudy) -> Vec<BTreeMap<Form, Vec<u8>>> {
    let count = study.slices.len();
    let form = |place: usize, form: Form| {
        let next = |by: usize| &study.slices[(place + by) % count];
        let slice = study.slices[place].clone();
        let geometry = slice.geometry.clone();
        let changed = match form {
            Form::Plain => slice,
            Form::Repainted => PhantomSlice { plane: next(1).plane.clone(), ..slice },
            Form::Moved => {
                PhantomSlice { geometry: Geometry { position_um: next(1).geometry.position_um, ..geometry }, ..slice }
            }
            Form::Widened => {
                let spacing_nm = geometry.spacing_nm.map(|nm| nm + nm / 10);
                PhantomSlice { geometry: Geometry { spacing_nm, ..geometry }, ..slice }
            }
            // Pixels of its own: the digest does not tell of the transfer syntax that they are said to be in.
            Form::Broken => PhantomSlice { plane: next(2).plane.clone(), ..slice },
        };
        file(study, &changed, form == Form::Broken)
    };
    (0..count).map(|place| Form::ALL.into_iter().map(|kind| (kind, form(place, kind))).collect()).collect()
}

fn file(study: &PhantomStudy, slice: &PhantomSlice, broken: bool) -> Vec<u8> {
    const PLAIN: &[u8] = b"1.2.840.10008.1.2.1\0";
    const RUN_LENGTH: &[u8] = b"1.2.840.10008.1.2.5\0";
    let mut bytes = Vec::new();
    phantom::dicom_object(study, slice).expect("an object").write_all(&mut bytes).expect("bytes");
    if broken {
        let syntax = bytes.windows(PLAIN.len()).position(|uid| uid == PLAIN).expect("a transfer syntax");
        bytes[syntax..syntax + PLAIN.len()].copy_from_slice(RUN_LENGTH);
    }
    bytes
}

/// Two instances as the frames of one. A broken one has one frame that decodes.
fn in_one(first: Forms, second: Forms) -> Forms {
    let plain = first[&Form::Plain].frames.clone();
    let join = |((form, first), second): ((Form, Instance), Instance)| {
        let below = if form == Form::Broken { plain.clone() } else { first.frames };
        let frames = below.into_iter().chain(second.frames).zip(1..).map(|(frame, number)| {
            let Slice { digest, geometry, .. } = frame.slice;
            Frame { slice: Slice::new(first.uid.clone(), number, digest, geometry), ..frame }
        });
        (form, Instance { key: first.key.clone(), uid: first.uid.clone(), frames: frames.collect() })
    };
    first.into_iter().zip(second.into_values()).map(join).collect()
}

/// An instance in the series of `sibling` with the content of `original`, as files without headers give it.
fn twin(original: &Forms, sibling: &Forms) -> Forms {
    let key = &sibling[&Form::Plain].key;
    let uid = InstanceUid::new(&format!("1.2.3.{}", key.series)).expect("a UID");
    let renamed = |(form, instance): (&Form, &Instance)| {
        let frames = instance.frames.iter().map(|frame| {
            let Slice { digest, geometry, .. } = frame.slice.clone();
            let digest = Digest::builder("without a header").digest(&digest).finish();
            let pixels = Pixels { header: None, ..frame.pixels.clone() };
            Frame { slice: Slice::new(uid.clone(), 1, digest, geometry), pixels }
        });
        (*form, Instance { key: key.clone(), uid: uid.clone(), frames: frames.collect() })
    };
    original.iter().map(renamed).collect()
}

/// An instance of the first series that no step of [`steps`] names, and that does not decode.
pub(crate) static STRANGER: LazyLock<Instance> = LazyLock::new(|| {
    let broken = INSTANCES[1][&Form::Broken].clone();
    let uid = InstanceUid::new("1.2.3.4").expect("a UID");
    let frames = broken.frames.into_iter().map(|frame| {
        let Slice { digest, geometry, .. } = frame.slice;
        Frame { slice: Slice::new(uid.clone(), 1, digest, geometry), ..frame }
    });
    Instance { uid: uid.clone(), frames: frames.collect(), ..broken }
});

/// An input that is refused at the door.
pub(crate) fn refusal(index: usize) -> Rejection {
    Rejection::new(format!("input-{index}"), Reason::NotDicom, "no DICOM element at its beginning")
}

/// The instances present after all steps, of those that were not let go: the form that each has.
pub(crate) fn present(steps: &[Step]) -> BTreeMap<usize, Form> {
    let mut forms = BTreeMap::new();
    for step in steps {
        match *step {
            Step::Arrive(index, form) => forms.insert(index, form),
            Step::Withdraw(index) => forms.remove(&index),
            Step::Release(series) => {
                forms.retain(|index, _| {
                    INSTANCES.get(*index).is_none_or(|forms| forms[&Form::Plain].key != SERIES[series])
                });
                None
            }
            Step::Sign(..) | Step::Use(_) | Step::Shadow(_) | Step::Refuse(_) => None,
        };
    }
    forms
}

/// The models that read after all steps, by role: the first model is active until another is.
pub(crate) fn models(steps: &[Step]) -> [Option<usize>; 2] {
    let (mut active, mut shadow) = (0, None);
    for step in steps {
        match *step {
            Step::Use(model) => active = model,
            Step::Shadow(model) => shadow = model,
            Step::Arrive(..) | Step::Withdraw(_) | Step::Sign(..) | Step::Release(_) | Step::Refuse(_) => {}
        }
    }
    [Some(active), shadow]
}

/// Any steps: some instances arrive in any order, then anything happens. Shrinks to fewer steps, lower numbers and plain
/// forms.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count: usize = INSTANCES.len();
    let all: Vec<Step> = (0..count).map(|index| Step::Arrive(index, Form::Plain)).collect();
    let arrivals = prop::sample::subsequence(all, 0..=count).prop_shuffle();
    let step = prop_oneof![
        8 => (0..count, prop::sample::select(&Form::ALL[..])).prop_map(|(index, form)| Step::Arrive(index, form)),
        4 => (0..count).prop_map(Step::Withdraw),
        2 => (0..SLICES.len(), 0..SIGNS.len()).prop_map(|(series, sign)| Step::Sign(series, sign)),
        1 => (0..SLICES.len()).prop_map(Step::Release),
        1 => (0_usize..2).prop_map(Step::Use),
        1 => prop::option::of(0_usize..2).prop_map(Step::Shadow),
        1 => (0_usize..3).prop_map(Step::Refuse),
    ];
    let then = prop::collection::vec(step, 0..16);
    (arrivals, then).prop_map(|(arrivals, then)| [arrivals, then].concat())
}

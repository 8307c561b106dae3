//! The selector: which of the instances that came are given to the graph, as they come and go.
//!
//! First what the rules say of an instance alone, then what a soft series means for a sharp one beside it. No clock and no file
//! here: the same again gives the same steps, so that a restart goes on where it was.

use std::collections::BTreeMap;

use operators::dicom::Instance;
use operators::intake::Candidate;
use operators::record::{Digest, InstanceUid, SeriesKey, SeriesUid, StudyUid};
use operators::selection::{Attributes, Decision, Rules, SoftFirst, Switch, decide};

/// Studies that are known at most; one that is forgotten must be told again.
const STUDIES: usize = 1000;

/// An instance that came.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) uid: InstanceUid,
    /// SHA-256 of the file that it came in.
    pub(super) content: Digest,
    pub(super) candidate: Candidate,
    pub(super) attributes: Attributes,
}

impl Came {
    pub(super) fn of(instance: &Instance, content: &Digest) -> Self {
        let (candidate, attributes) = (Candidate::of(instance), Attributes::of(instance));
        Self { uid: instance.uid.clone(), content: *content, candidate, attributes }
    }
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An instance enters the graph, with the content that it came with last.
    Enter { instance: InstanceUid, content: Digest },
    /// An instance leaves the graph, if it is there.
    Withdraw { key: SeriesKey, instance: InstanceUid },
    /// It is told why an instance is not in the graph.
    LeaveOut { instance: InstanceUid, decision: Decision },
}

/// What the rules take of a study.
#[derive(Clone, Debug, Default)]
struct Study {
    instances: BTreeMap<(SeriesUid, InstanceUid), Digest>,
    /// When something of it came last.
    used: u64,
}

/// The rules, and what is known of the studies that came.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    rules: Rules,
    soft: SoftFirst,
    studies: BTreeMap<StudyUid, Study>,
    uses: u64,
}

impl Selector {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Whether it must be told what came of a study before, in order, before something else comes of it.
    pub(super) fn must_hear_of(&self, study: &StudyUid) -> bool {
        self.rules.soft_first && !self.studies.contains_key(study)
    }

    /// An instance came, for the first time or again.
    pub(super) fn arrived(&mut self, came: Came) -> Vec<Step> {
        let Came { uid, content, candidate, attributes } = came;
        let decision = decide(&self.rules, &attributes);
        if !decision.taken {
            return vec![Step::LeaveOut { instance: uid, decision }];
        }
        let enter = Step::Enter { instance: uid.clone(), content };
        if !self.rules.soft_first {
            return vec![enter];
        }
        let key = &candidate.key;
        self.uses += 1;
        let study = self.studies.entry(key.study.clone()).or_default();
        study.used = self.uses;
        study.instances.insert((key.series.clone(), uid.clone()), content);
        let switches = self.soft.arrived(&candidate, &uid);
        let mut steps = self.switched(switches, Some(&uid));
        let left_out = self.soft.leaves_out(key);
        steps.push(if left_out { Step::LeaveOut { instance: uid, decision: Decision::soft_first() } } else { enter });
        steps
    }

    /// An instance was taken back.
    pub(super) fn withdrawn(&mut self, key: &SeriesKey, instance: &InstanceUid) -> Vec<Step> {
        if let Some(study) = self.studies.get_mut(&key.study) {
            study.instances.remove(&(key.series.clone(), instance.clone()));
        }
        let switches = self.soft.withdrawn(key, instance);
        let mut steps = vec![Step::Withdraw { key: key.clone(), instance: instance.clone() }];
        steps.extend(self.switched(switches, None));
        steps
    }

    /// Forgets the study that nothing came of for the longest time, if there are too many.
    pub(super) fn forget(&mut self) -> Option<StudyUid> {
        if self.studies.len() <= STUDIES {
            return None;
        }
        let (study, _) = self.studies.iter().min_by_key(|(_, study)| study.used)?;
        let study = study.clone();
        self.studies.remove(&study);
        self.soft.forget(&study);
        Some(study)
    }

    /// Forgets studies.
    pub(super) fn forget_all(&mut self, goes: impl Fn(&StudyUid) -> bool) {
        let soft = &mut self.soft;
        self.studies.retain(|study, _| {
            let goes = goes(study);
            if goes {
                soft.forget(study);
            }
            !goes
        });
    }

    /// What happens to the instances of series that are taken from now on, or left out. What is said of `except` is left to
    /// the caller.
    fn switched(&self, switches: Vec<Switch>, except: Option<&InstanceUid>) -> Vec<Step> {
        let mut steps = Vec::new();
        for Switch { key, taken } in switches {
            let study = self.studies.get(&key.study).into_iter().flat_map(|study| &study.instances);
            for ((_, instance), content) in study.filter(|((series, _), _)| *series == key.series) {
                let (key, instance, content, other) =
                    (key.clone(), instance.clone(), *content, Some(instance) != except);
                if !taken {
                    steps.push(Step::Withdraw { key, instance: instance.clone() });
                }
                if other && taken {
                    steps.push(Step::Enter { instance, content });
                } else if other {
                    steps.push(Step::LeaveOut { instance, decision: Decision::soft_first() });
                }
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use operators::intake::sharp_series;
    use operators::selection::Rule;
    use proptest::prelude::*;

    use super::*;

    fn came((series, number, place, sharp, thin): (u8, u8, u8, bool, bool)) -> Came {
        let study = StudyUid::new("1").expect("a UID");
        let key = SeriesKey { study, series: SeriesUid::new(&format!("2.{series}")).expect("a UID") };
        Came {
            uid: InstanceUid::new(&format!("3.{series}.{number}")).expect("a UID"),
            content: Digest::of(&[series, number, place, u8::from(sharp)]),
            candidate: Candidate { key, frame_of_reference: Some(format!("4.{place}")), sharp },
            attributes: Attributes { rows: Some(if thin { 1 } else { 9 }), ..Attributes::default() },
        }
    }

    fn rules() -> Rules {
        let range = operators::selection::Range { least: None, most: Some(1.0) };
        let rule = Rule { name: "thin".to_owned(), take: false, rows: Some(range), ..Rule::default() };
        Rules { rules: vec![rule], ..Rules::default() }
    }

    proptest! {
        /// What the steps leave in the graph is what a batch over what is present would take: the newest content of every
        /// instance that the rules take, without the series that are sharp beside a soft one.
        #[test]
        fn steps_end_where_a_batch_ends(
            steps in prop::collection::vec(((0_u8..3, 0_u8..3, 0_u8..2, any::<bool>(), any::<bool>()), any::<bool>()), 0..40)
        ) {
            let mut selector = Selector::new(rules());
            let mut graph: BTreeMap<InstanceUid, Digest> = BTreeMap::new();
            let mut present: BTreeMap<InstanceUid, Came> = BTreeMap::new();
            for (which, arrives) in steps {
                let came = came(which);
                let steps = if arrives {
                    // What the rules leave out replaces nothing.
                    if decide(&rules(), &came.attributes).taken {
                        present.insert(came.uid.clone(), came.clone());
                    }
                    selector.arrived(came)
                } else {
                    present.remove(&came.uid);
                    selector.withdrawn(&came.candidate.key, &came.uid)
                };
                for step in steps {
                    match step {
                        Step::Enter { instance, content } => drop(graph.insert(instance, content)),
                        Step::Withdraw { instance, .. } => drop(graph.remove(&instance)),
                        Step::LeaveOut { .. } => {}
                    }
                }
                let sharp = sharp_series(present.values().map(|came| came.candidate.clone()));
                let batch = present.values().filter(|came| !sharp.contains(&came.candidate.key));
                let batch: BTreeMap<InstanceUid, Digest> = batch.map(|came| (came.uid.clone(), came.content)).collect();
                prop_assert_eq!(&graph, &batch);
            }
        }
    }

    #[test]
    fn what_it_has_forgotten_it_must_hear_of_again() {
        let mut selector = Selector::new(Rules::default());
        let mut forgotten = BTreeSet::new();
        for number in 0..=STUDIES {
            let mut came = came((1, 1, 1, false, false));
            came.candidate.key.study = StudyUid::new(&format!("1.{number}")).expect("a UID");
            assert!(selector.must_hear_of(&came.candidate.key.study));
            selector.arrived(came);
            forgotten.extend(selector.forget());
        }
        let first = StudyUid::new("1.0").expect("a UID");
        assert!(forgotten == BTreeSet::from([first.clone()]) && selector.must_hear_of(&first));
        assert!(!Selector::new(Rules { soft_first: false, ..Rules::default() }).must_hear_of(&first));
    }
}

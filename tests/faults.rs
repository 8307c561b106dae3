//! What hospitals do to a node: it is killed, stopped, cut off, flooded, spoken to slowly, and its disk is full. The
//! real program with real senders, in an order that a seed draws.
//!
//! After each round, all that was acknowledged is in the inbox, byte for byte. In the end results equal a batch run
//! over the slices that are left, and the versions of each result count from 1 without a gap or a repeat.
//!
//! | variable | says |
//! |---|---|
//! | `HEMOFLOW_FAULT_ROUNDS` | rounds: 3, or as many as `make faults ROUNDS=1000` says |
//! | `HEMOFLOW_FAULT_SEED` | what the rounds are drawn from; a failure tells it |
//!
//! The seed repeats who does what and when it begins, not how far each had come by then. Does not cover: power that
//! fails, so that what was written is not on the disk; a clock that is set.

mod disk;
mod schedule;
mod sender;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use hemoflow::data::{DataFolder, Entry, Event};
use hemoflow::inbox::{Kept, Record};
use hemoflow::operators::dicom::rejection_note::{KEY_OBJECT, rejected};
use hemoflow::operators::phantom::PhantomStudy;
use hemoflow::operators::record::{Change, InstanceUid};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::serve::{batch, configuration, results};
use crate::support::dice::{Dice, told};
use crate::support::node::{Served, peers};
use crate::support::slices::{Sent, slices, study};

use schedule::{Act, End, Round, SLICES, STUDIES};

/// Says from what the rounds were drawn, if they fail, and leaves the folder of the node.
struct Drawn {
    seed: u64,
    round: u64,
    folder: TempDir,
}

impl Drop for Drawn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            let Self { seed, round, folder } = self;
            eprintln!(
                "round {round} of HEMOFLOW_FAULT_SEED={seed} has failed; the node is in {}",
                folder.path().display()
            );
        }
    }
}

/// What is sent in all rounds.
struct World {
    studies: Vec<PhantomStudy>,
    slices: Vec<Sent>,
    /// The slices as files, named by their place, for senders of others.
    files: TempDir,
}

impl World {
    fn new(seed: u64) -> Self {
        let studies: Vec<PhantomStudy> = (0..STUDIES as u64).map(|index| study(seed, index, SLICES)).collect();
        let slices: Vec<Sent> = studies.iter().flat_map(slices).collect();
        let files = tempfile::tempdir().expect("a folder");
        for (place, slice) in slices.iter().enumerate() {
            fs::write(files.path().join(place.to_string()), &slice.file).expect("written");
        }
        Self { studies, slices, files }
    }

    fn at(&self, places: &[usize]) -> Vec<Sent> {
        places.iter().map(|place| self.slices[*place].clone()).collect()
    }

    /// Does what a sender of a round does, and gives the instances that were acknowledged to it.
    fn perform(&self, act: &Act, address: SocketAddr, dcmtk: Option<&Path>) -> Vec<String> {
        match act {
            Act::Send(places) => sender::send(address, &self.at(places)),
            Act::Flood(places) => sender::flood(address, self.at(places)),
            Act::Cut { whole, torn, permille } => sender::cut(address, &self.at(whole), &self.slices[*torn], *permille),
            Act::Slow { slice, at_once } => sender::slow(address, &self.slices[*slice], *at_once),
            Act::Withdraw(places) => {
                let study = &self.studies[places[0] / SLICES];
                let uids: Vec<InstanceUid> =
                    places.iter().map(|place| study.slices[place % SLICES].instance.clone()).collect();
                sender::send(address, &[sender::note(study, &uids)])
            }
            Act::Dcmtk(place) => match dcmtk {
                Some(folder) => {
                    let file = self.files.path().join(place.to_string());
                    let taken = sender::storescu(folder, address, &file);
                    if taken { vec![self.slices[*place].instance.clone()] } else { Vec::new() }
                }
                None => sender::send(address, &self.at(&[*place])),
            },
        }
    }

    /// Plays a round on a running node, which it ends, and gives what was acknowledged.
    fn play(&self, round: &Round, node: Served, dcmtk: Option<&Path>) -> BTreeSet<String> {
        let address = node.dicom;
        std::thread::scope(|scope| {
            let senders: Vec<_> = (round.acts.iter())
                .map(|(after, act)| {
                    scope.spawn(move || {
                        std::thread::sleep(*after);
                        self.perform(act, address, dcmtk)
                    })
                })
                .collect();
            if let Some((after, long)) = round.stop {
                std::thread::sleep(after);
                node.signal(Signal::STOP);
                std::thread::sleep(long);
                node.signal(Signal::CONT);
            }
            std::thread::sleep(round.then);
            match round.end {
                End::Kill => drop(node.kill()),
                End::Drain => {
                    let (status, said) = node.drain();
                    assert!(status.success(), "{said}");
                }
            }
            senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
        })
    }

    /// That each acknowledged instance is in the inbox, a slice with the bytes that were sent. Nothing is mended: that
    /// is left to the node.
    fn holds(&self, folder: &Path, acknowledged: &BTreeSet<String>) {
        let kept = Kept::read(&folder.join("data/inbox")).expect("an inbox");
        for uid in acknowledged {
            let instance = InstanceUid::new(uid).expect("a UID");
            let content = kept.index().content(&instance);
            let content = content.unwrap_or_else(|| panic!("{uid} was acknowledged and is not in the inbox"));
            let bytes = kept.payload(&content).expect("sound").expect("there");
            if let Some(sent) = self.slices.iter().find(|slice| slice.instance == *uid) {
                assert!(bytes.ends_with(&sent.data), "{uid} is not what was sent");
            }
        }
    }
}

/// The slices that are present after all that the inbox holds, in its order.
fn present(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let data = DataFolder::existing(&folder.join("data")).expect("a data folder");
    let (_log, _) = data.log().expect("nobody uses it");
    let inbox = data.inbox(Default::default()).expect("an inbox");
    let mut reader = inbox.reader(0).expect("readable");
    let mut present = BTreeMap::new();
    while let Some(entry) = reader.next_until(Instant::now()).expect("sound") {
        let Record::Received(received) = entry.record else { continue };
        let bytes = inbox.kept().payload(&received.content).expect("sound").expect("there");
        if received.identity.class == KEY_OBJECT {
            for (_, instance) in rejected(&bytes).expect("a note") {
                present.remove(instance.as_str());
            }
        } else {
            present.insert(received.identity.instance.to_string(), bytes);
        }
    }
    present
}

/// A configuration that promises the disk, or only the system.
fn promising(synced: bool) -> String {
    let plain = configuration("");
    if synced { plain.replace("'written'", "'fsync'") } else { plain }
}

#[test]
fn whatever_happens_to_a_node_it_has_what_it_acknowledged_and_ends_as_a_batch_run() {
    let (rounds, seed) = (told("HEMOFLOW_FAULT_ROUNDS", 3), told("HEMOFLOW_FAULT_SEED", 1));
    let mut drawn = Drawn { seed, round: 0, folder: tempfile::tempdir().expect("a folder") };
    let folder = drawn.folder.path().to_owned();
    let dcmtk = peers("whatever_happens_to_a_node, with DCMTK").map(|(folder, _)| folder);
    let world = World::new(61);
    let mut dice = Dice::new(seed);
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        drawn.round = round;
        let round = Round::drawn(&mut dice.split());
        let node = Served::start(&folder, &promising(round.synced));
        acknowledged.extend(world.play(&round, node, dcmtk.as_deref()));
        world.holds(&folder, &acknowledged);
    }
    // Calm, once: what was not withdrawn is sent again, so that each series has an end.
    let node = Served::start(&folder, &promising(false));
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    let left = present(&folder);
    let gone = |slice: &Sent| acknowledged.contains(&slice.instance) && !left.contains_key(&slice.instance);
    let calm: Vec<Sent> = world.slices.iter().filter(|slice| !gone(slice)).cloned().collect();
    let node = Served::start(&folder, &promising(false));
    assert_eq!(sender::send(node.dicom, &calm).len(), calm.len(), "nothing is in the way");
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(present(&folder).keys().cloned().collect::<BTreeSet<_>>(), names(&calm));
    assert_eq!(results(&folder.join("data/results")), batch(&calm));
    counts_from_one(&folder);
}

fn names(slices: &[Sent]) -> BTreeSet<String> {
    slices.iter().map(|slice| slice.instance.clone()).collect()
}

/// That nothing was published twice or left out, and that a node that starts again has nothing to say: at most it lets go of
/// what the one before still held.
fn counts_from_one(folder: &Path) {
    let entries = || DataFolder::existing(&folder.join("data")).expect("a folder").entries().expect("a log");
    let before = entries();
    for (series, versions) in crate::durable::versions(&before) {
        assert_eq!(versions, (1..).take(versions.len()).collect::<Vec<u64>>(), "{series:?}");
    }
    let node = Served::start(folder, &promising(false));
    node.caught_up();
    assert!(node.drain().0.success());
    let after = entries();
    assert_eq!(after[..before.len()], before, "what was there is there");
    let lets_go = |entry: &&Entry| matches!(&entry.event, Event::Changed { change: Change::Released { .. }, .. });
    let said: Vec<&Entry> = after[before.len()..].iter().filter(|entry| !lets_go(entry)).collect();
    assert!(said.is_empty(), "it has nothing to say: {said:?}");
}

#[test]
fn a_seed_draws_the_same_rounds_again() {
    let rounds = |seed| {
        let mut dice = Dice::new(seed);
        (0..20).map(|_| format!("{:?}", Round::drawn(&mut dice.split()))).collect::<Vec<_>>()
    };
    assert_eq!(rounds(7), rounds(7));
    assert_ne!(rounds(7), rounds(8));
    let all = rounds(1).concat();
    for word in ["Send", "Cut", "Slow", "Flood", "Withdraw", "Dcmtk", "Kill", "Drain", "stop: Some"] {
        assert!(all.contains(word), "{word} is never drawn");
    }
}

/// How long a sender of these tests waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

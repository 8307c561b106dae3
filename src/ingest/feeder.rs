//! The feeder: follows the inbox, and gives the node what each record means.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use crossbeam_channel::Receiver;
use operators::completion::Completion;
use operators::dicom::{Instance, read, rejection_note};
use operators::event::{ForgettingFailed, InboxFollowed, StudiesForgotten, Telemetry};
use operators::record::{Change, Digest, Reason, Rejection, StudyUid};
use operators::selection::Rules;

use super::Door;
use super::selector::{Came, Selector, Step};
use crate::book::Followed;
use crate::data::now_ms;
use crate::files::Files;
use crate::inbox::{Entry, Reader, Received, Record};
use crate::node::Node;
use crate::results::Written;
use crate::retention::{begin, finish, forget, forgotten, touched};

/// How long it waits for a record before it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);
/// Entries of the log after which what it has come to is kept, once nothing waits.
const KEEP_AFTER: u64 = 2000;

/// How often it looks for what is to be forgotten.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Who waits until all that is in the inbox has had its effect. It is told once.
pub type Settle = crossbeam_channel::Sender<()>;

/// A node with what it is fed from.
pub struct Feeder {
    node: Node,
    reader: Reader,
    door: Door,
    completion: Completion,
    selector: Selector,
    /// Studies that something came of which the selector has not heard of.
    unheard: HashSet<StudyUid>,
    since: Instant,
    /// What the log says of the first record.
    followed: Followed,
    settles: Receiver<Settle>,
    written: Written,
    telemetry: Telemetry,
    /// Days after which a study is forgotten, or 0. They may change.
    after_days: Arc<AtomicU32>,
    /// When it looked for what is to be forgotten.
    looked: Option<Instant>,
}

impl Feeder {
    /// A feeder that goes on where the log of the node ended.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder of the inbox if it cannot be read.
    pub fn new(
        node: Node,
        door: Door,
        completion: Completion,
        rules: Rules,
        settles: Receiver<Settle>,
        written: Written,
    ) -> anyhow::Result<Self> {
        let followed = node.followed();
        // What was forgotten must not come back.
        finish(&node, door.inbox(), &Files::default());
        // The last record may have meant more than was written down of it.
        let reader = door.inbox().reader(followed.position.unwrap_or(0))?;
        door.feed(reader.position());
        let telemetry = door.telemetry().clone();
        let (selector, unheard) = (Selector::new(rules), unheard(&door, reader.position())?);
        let since = Instant::now();
        let mut feeder = Self {
            node,
            reader,
            door,
            completion,
            selector,
            unheard,
            since,
            followed,
            settles,
            written,
            telemetry,
            after_days: Arc::default(),
            looked: None,
        };
        feeder.recall();
        Ok(feeder)
    }

    /// A feeder that forgets studies that nothing came of for so many days, as many as are there when it looks; none if it is 0.
    #[must_use]
    pub fn forgetting(self, after_days: Arc<AtomicU32>) -> Self {
        Self { after_days, ..self }
    }

    /// Series that no sign has come for since their last change: the clock of their silence starts again.
    fn recall(&mut self) {
        for key in self.node.residents() {
            // What that announces was announced before.
            drop(self.completion.arrived(&key, None, Duration::ZERO));
        }
    }

    /// Follows the inbox until `end` is set, and gives the node back. `caught_up` is called once, when all has had its effect
    /// that was in the inbox at the start.
    ///
    /// # Errors
    ///
    /// Returns an error that says what has failed: the inbox, the graph, or the disk.
    pub fn run(mut self, end: &AtomicBool, caught_up: impl FnOnce()) -> anyhow::Result<Node> {
        let last = self.door.inbox().next_position();
        let mut caught_up = Some(caught_up);
        let mut kept = u64::MAX - KEEP_AFTER;
        while !end.load(Ordering::Acquire) {
            if self.reader.position() >= last && caught_up.is_some() {
                self.node.settle()?;
                if let Some(tell) = caught_up.take() {
                    tell();
                    kept = self.keep_book();
                }
            }
            if let Some(entry) = self.reader.next_until(Instant::now() + GLANCE)? {
                self.follow(entry)?;
                self.door.feed(self.reader.position());
            }
            self.node.sound()?;
            if self.door.waiting() == 0
                && let Ok(settle) = self.settles.try_recv()
            {
                self.node.settle()?;
                // It fails only when nobody waits any more.
                settle.send(()).ok();
            }
            for change in self.completion.pass(self.since.elapsed()) {
                self.node.send(change)?;
            }
            if self.door.waiting() == 0 && self.node.entries() >= kept + KEEP_AFTER {
                kept = self.keep_book();
            }
            if caught_up.is_none() && self.door.waiting() == 0 && self.forget() {
                kept = self.keep_book();
            }
            self.telemetry.emit(InboxFollowed { waiting: self.door.waiting() });
        }
        Ok(self.node)
    }

    /// Forgets what is old, at most once an hour. Says whether there was something. What cannot be forgotten stays for the next
    /// hour.
    fn forget(&mut self) -> bool {
        let after_days = self.after_days.load(Ordering::Relaxed);
        if after_days == 0 || self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return false;
        }
        self.looked = Some(Instant::now());
        let inbox = self.door.inbox().clone();
        finish(&self.node, &inbox, &Files::default());
        let Some(begin_ms) = begin(now_ms(), after_days) else { return false };
        let studies = forgotten(touched(&self.node, &inbox), begin_ms);
        if studies.is_empty() {
            return false;
        }
        // What nothing tells of any more is not published again.
        if !self.written.settle() {
            self.telemetry.emit(ForgettingFailed);
            tracing::warn!("studies could not be forgotten: their results cannot be written");
            return false;
        }
        let until = (self.reader.position(), begin_ms);
        match forget(&mut self.node, &inbox, &studies, until, &Files::default()) {
            Ok(bytes) => {
                tracing::info!("{} studies were forgotten, {bytes} bytes are free again", studies.len());
                self.telemetry.emit(StudiesForgotten { studies: studies.len(), bytes });
            }
            Err(error) => {
                self.telemetry.emit(ForgettingFailed);
                tracing::warn!("studies could not be forgotten: {error:#}");
                return false;
            }
        }
        let gone = |study: &StudyUid| studies.contains(&study.digest());
        self.completion.forget(|key| gone(&key.study));
        self.selector.forget_all(gone);
        self.unheard.retain(|study| !gone(study));
        true
    }

    /// Keeps what the log has come to, and gives the entries that it has. A result that a snapshot tells of is not published
    /// again, so all must be written before. The log is whole: if it fails, the next start takes longer.
    fn keep_book(&self) -> u64 {
        let keep = || match self.node.settle() {
            Ok(()) if self.written.keep() => self.node.keep_book(),
            settled => settled,
        };
        keep().unwrap_or_else(|error| tracing::warn!("{error:#}"));
        self.node.entries()
    }

    fn follow(&mut self, Entry { position, record }: Entry) -> anyhow::Result<()> {
        if self.door.inbox().kept().index().is_going(position, &record) {
            return Ok(());
        }
        match record {
            Record::Received(received) => self.received(position, &received),
            Record::Ended(series) => {
                let changes = self.completion.association_ended(&series);
                changes.into_iter().try_for_each(|change| self.send(position, change))
            }
            Record::Gone(_) => Ok(()),
        }
    }

    fn received(&mut self, position: u64, received: &Received) -> anyhow::Result<()> {
        let uid = &received.identity.instance;
        let Some(bytes) = self.door.inbox().kept().payload(&received.content)? else {
            bail!("the inbox does not keep what it acknowledged at position {position}");
        };
        if received.identity.class == rejection_note::KEY_OBJECT {
            let rejected = match rejection_note::rejected(&bytes) {
                Ok(rejected) => rejected,
                Err(refusal) => return self.send(position, Change::Refused(refusal.of(uid.as_str()))),
            };
            for (key, instance) in rejected {
                self.hear_of(&key.study, position)?;
                let steps = self.selector.withdrawn(&key, &instance);
                self.take(position, steps, None)?;
            }
            return Ok(());
        }
        let instance = match read::read_bytes(uid.as_str(), &bytes) {
            Ok(instance) => instance,
            Err(rejection) => return self.send(position, Change::Refused(rejection)),
        };
        let (decoded, most) = (decoded_bytes(&instance), self.door.limits().decoded_bytes);
        if decoded > most {
            let detail = format!("{decoded} bytes when decoded, must be at most {most}");
            return self
                .send(position, Change::Refused(Rejection::new(uid.as_str(), Reason::UnsupportedPixels, detail)));
        }
        self.hear_of(&instance.key.study, position)?;
        let steps = self.selector.arrived(Came::of(&instance, &received.content));
        self.unheard.extend(self.selector.forget());
        self.take(position, steps, Some(&instance))
    }

    /// Tells the selector what came of a study before `position`, if it was forgotten or came before the node started.
    fn hear_of(&mut self, study: &StudyUid, position: u64) -> anyhow::Result<()> {
        if !self.selector.must_hear_of(study) || !self.unheard.remove(study) {
            return Ok(());
        }
        let kept = self.door.inbox().kept().clone();
        for (before, record) in kept.records()? {
            let Record::Received(received) = record else { continue };
            let note = received.identity.class == rejection_note::KEY_OBJECT;
            if before >= position || !(note || received.identity.key.study == *study) {
                continue;
            }
            let Some(bytes) = kept.payload(&received.content)? else { continue };
            // What could not be read was told when it came; the steps were taken then.
            if note {
                let rejected = rejection_note::rejected(&bytes).unwrap_or_default();
                for (key, instance) in rejected.iter().filter(|(key, _)| key.study == *study) {
                    drop(self.selector.withdrawn(key, instance));
                }
            } else if let Ok(instance) = read::read_bytes(received.identity.instance.as_str(), &bytes) {
                drop(self.selector.arrived(Came::of(&instance, &received.content)));
            }
        }
        Ok(())
    }

    /// Does what the selector says; `came` is the instance that was read already.
    fn take(&mut self, position: u64, steps: Vec<Step>, came: Option<&Instance>) -> anyhow::Result<()> {
        for step in steps {
            match step {
                Step::Enter { instance, content } => match came.filter(|came| came.uid == instance) {
                    Some(came) => self.enter(position, came, &content)?,
                    None => {
                        let Some(bytes) = self.door.inbox().kept().payload(&content)? else { continue };
                        if let Ok(again) = read::read_bytes(instance.as_str(), &bytes) {
                            self.enter(position, &again, &content)?;
                        }
                    }
                },
                Step::Withdraw { key, instance } => self.send(position, Change::Withdrawn { key, instance })?,
                Step::LeaveOut { instance, decision } => {
                    let refused = decision.refusal(instance.as_str()).map(Change::Refused);
                    refused.into_iter().try_for_each(|change| self.send(position, change))?;
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, position: u64, instance: &Instance, content: &Digest) -> anyhow::Result<()> {
        let signs = self.completion.arrived(&instance.key, None, self.since.elapsed());
        if self.is_new(position, &instance.arrival()) {
            self.node.arrive_from(position, instance, content, false)?;
        }
        signs.into_iter().try_for_each(|sign| self.send(position, sign))
    }

    fn send(&mut self, position: u64, change: Change) -> anyhow::Result<()> {
        if self.is_new(position, &change) { self.node.send_from(position, change) } else { Ok(()) }
    }

    /// Whether the log does not hold that change of that record.
    fn is_new(&self, position: u64, change: &Change) -> bool {
        self.followed.position != Some(position) || !self.followed.changes.contains(change)
    }
}

/// Bytes of the pixels of an instance once they are decoded: two for each.
fn decoded_bytes(instance: &Instance) -> usize {
    let frames = instance.frames.iter().map(|frame| {
        let geometry = &frame.slice.geometry;
        2 * u64::from(geometry.rows) * u64::from(geometry.columns)
    });
    usize::try_from(frames.sum::<u64>()).unwrap_or(usize::MAX)
}

/// The studies that something came of before a position.
fn unheard(door: &Door, position: u64) -> anyhow::Result<HashSet<StudyUid>> {
    let records = door.inbox().kept().records()?;
    let before = records.into_iter().filter(|(before, _)| *before < position);
    Ok(before.filter_map(|(_, record)| Some(record.received()?.identity.key.study.clone())).collect())
}

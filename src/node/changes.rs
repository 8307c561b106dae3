//! How changes enter a node: written down first, with their series brought back if it was let go, and with room made after.

use std::path::Path;

use anyhow::{Context, bail};
use kernels::executor::Urgency;
use operators::dicom::Instance;
use operators::event::SlicesReceived;
use operators::record::{Change, Digest, SeriesKey, Sign, Tick};

use super::{Durable, Node};
use crate::data::{Event, Loader, Payloads};

/// What an instance was read from.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The name of the input; its ending tells the form.
    pub input: &'a Path,
    /// Its content.
    pub bytes: &'a [u8],
}

/// What stands beside a change in the log.
#[derive(Clone, Debug, Default)]
struct Cause {
    payload: Option<String>,
    stat: bool,
    from: Option<u64>,
}

impl Node {
    /// Lets an instance arrive; a node with a data folder keeps its `payload`. A series that cannot wait is `stat`.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed, the data folder cannot be read or written, or there is nothing to keep in
    /// it.
    pub fn arrive(&mut self, instance: &Instance, payload: Option<Payload<'_>>, stat: bool) -> anyhow::Result<()> {
        self.telemetry.emit(SlicesReceived { slices: instance.frames.len() });
        self.unhurt()?;
        let keep = |durable: &Durable| {
            let Payload { input, bytes } = payload.context("an instance without its content cannot be kept")?;
            durable.data.payloads().keep(input, bytes)
        };
        let payload = self.durable.as_ref().map(keep).transpose()?;
        self.enter(instance, Cause { payload, stat, from: None })
    }

    /// Lets an instance arrive that the inbox keeps at position `from`, with this content.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed, or the data folder cannot be read or written.
    pub fn arrive_from(&mut self, from: u64, instance: &Instance, content: &Digest, stat: bool) -> anyhow::Result<()> {
        self.telemetry.emit(SlicesReceived { slices: instance.frames.len() });
        self.enter(instance, Cause { payload: Some(Payloads::name(content)), stat, from: Some(from) })
    }

    fn enter(&mut self, instance: &Instance, cause: Cause) -> anyhow::Result<()> {
        let stat = cause.stat;
        if self.admit(&instance.arrival(), cause)? {
            self.engine.arrive(instance, if stat { Urgency::Stat } else { Urgency::Routine })?;
        }
        self.make_room()
    }

    /// Sends a change that brings no pixels.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed, or the data folder cannot be read or written.
    pub fn send(&mut self, change: Change) -> anyhow::Result<()> {
        if let Change::Released { key } = &change {
            return self.release(key);
        }
        self.follow(change, Cause::default())
    }

    /// Sends a change that brings no pixels and follows from the record of the inbox at position `from`.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed, or the data folder cannot be read or written.
    pub fn send_from(&mut self, from: u64, change: Change) -> anyhow::Result<()> {
        self.follow(change, Cause { from: Some(from), ..Cause::default() })
    }

    fn follow(&mut self, change: Change, cause: Cause) -> anyhow::Result<()> {
        if self.admit(&change, cause)? {
            self.engine.send(change)?;
        }
        self.make_room()
    }

    /// Lets a series go: its result stays, what it was made of leaves memory. The next change of the series brings it back.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed, the log cannot be written, or there is no data folder.
    pub fn release(&mut self, key: &SeriesKey) -> anyhow::Result<()> {
        if self.durable.is_none() {
            bail!("the series {} cannot be let go: there is no data folder to bring it back from", key.series);
        }
        if self.admit(&Change::Released { key: key.clone() }, Cause::default())? {
            self.engine.release(key)?;
        }
        Ok(())
    }

    /// Says that all instances of a series were sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn complete(&mut self, key: &SeriesKey) -> anyhow::Result<()> {
        self.send(Change::Signed { key: key.clone(), sign: Sign::Requested })
    }

    /// Writes a change down that is about to enter the graph, and brings its series back if it was let go. Says whether the
    /// change changes anything.
    fn admit(&mut self, change: &Change, cause: Cause) -> anyhow::Result<bool> {
        let Cause { payload, stat, from } = cause;
        let event = Event::Changed { change: change.clone(), payload, stat, from };
        let Some(durable) = &mut self.durable else { return self.unhurt().map(|()| true) };
        let away = change.key().filter(|key| durable.residents.is_away(key));
        let back = match away {
            Some(key) => durable.journal.comeback(key, change)?,
            None => Some(Vec::new()),
        };
        let instances = Loader::of(durable.data.payloads()).all(back.as_deref().unwrap_or_default())?;
        // Written first: what it publishes must have its reason in the log.
        let tick = self.engine.next_tick() + Tick::from(!instances.is_empty());
        self.write(tick, event)?;
        if let Some(key) = away.filter(|_| !instances.is_empty()) {
            self.engine.bring_back(key, &instances)?;
        }
        if let Some(durable) = self.durable.as_mut().filter(|_| back.is_some()) {
            durable.residents.note(change, tick);
        } else {
            self.engine.skip_to(tick + 1);
        }
        Ok(back.is_some())
    }

    /// Lets series go while there are more than there may be.
    fn make_room(&mut self) -> anyhow::Result<()> {
        let excess = |durable: &Durable| durable.residents.excess(durable.series).cloned();
        while let Some(key) = self.durable.as_ref().and_then(excess) {
            self.release(&key)?;
        }
        Ok(())
    }
}

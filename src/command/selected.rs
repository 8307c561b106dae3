//! Which series of a study were taken and which were not, and why: a part of `hemoflow explain`.
//!
//! What was left out is told as the log tells it. Why something was taken is told by the rules of the configuration that is
//! named, which may be others than those of its time.

use std::collections::{BTreeMap, HashMap};

use operators::record::{Change, InstanceUid, Rejection, SeriesKey, Tick};
use operators::selection::{Attributes, Decision, Rules, decide};
use serde::Serialize;

use super::export::present;
use crate::console::Console;
use crate::data::{DataFolder, Entry, Event, Payloads};
use crate::inbox::Record;

/// What was decided of instances of a series.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Selected {
    series_uid: String,
    taken: bool,
    /// Of how many instances.
    instances: usize,
    /// The rule, or the fixed word of a rejection.
    by: String,
    because: String,
}

/// What was decided of the instances of a study up to a tick: what was taken first, then what was not.
pub(super) fn selected(
    data: &DataFolder,
    entries: &[Entry],
    study: &str,
    at: Tick,
    rules: &Rules,
) -> anyhow::Result<Vec<Selected>> {
    let until: Vec<Entry> = entries.iter().filter(|entry| entry.tick <= at).cloned().collect();
    let mut selected = taken(&data.payloads(), &until, study, rules)?;
    let series = data.received()?.into_iter().filter_map(|(_, record)| match record {
        Record::Received(received) if received.identity.key.study.as_str() == study => {
            Some((received.identity.instance, received.identity.key))
        }
        Record::Received(_) | Record::Ended(_) | Record::Gone(_) => None,
    });
    selected.extend(left_out(&until, &series.collect()));
    Ok(selected)
}

/// Why what is present was taken: by the attributes of the first instance of each series.
fn taken(payloads: &Payloads, entries: &[Entry], study: &str, rules: &Rules) -> anyhow::Result<Vec<Selected>> {
    let mut series: BTreeMap<SeriesKey, Vec<String>> = BTreeMap::new();
    for ((key, _), payload) in present(entries, study) {
        series.entry(key).or_default().push(payload);
    }
    let mut selected = Vec::new();
    for (key, payloads_of) in series {
        let instances = payloads_of.first().map(|name| payloads.instances(name)).transpose()?.unwrap_or_default();
        let Some(instance) = instances.first() else { continue };
        let Decision { taken, by, because } = decide(rules, &Attributes::of(instance));
        let because = if taken { because } else { format!("it was, but the rules would leave it out now: {because}") };
        selected.push(Selected {
            series_uid: key.series.to_string(),
            taken: true,
            instances: payloads_of.len(),
            by,
            because,
        });
    }
    Ok(selected)
}

/// What was refused and did not come otherwise later, by series and reason. `series` says which series an instance of the
/// inbox is of: what is left out may be so because of another one that came.
fn left_out(entries: &[Entry], series: &HashMap<InstanceUid, SeriesKey>) -> Vec<Selected> {
    let mut refused: BTreeMap<&str, (&SeriesKey, &Rejection)> = BTreeMap::new();
    for entry in entries {
        let Event::Changed { change, .. } = &entry.event else { continue };
        if let Change::Refused(rejection) = change {
            if let Some(key) = InstanceUid::new(&rejection.input).and_then(|instance| series.get(&instance)) {
                refused.insert(&rejection.input, (key, rejection));
            }
        } else if let Change::Arrived { instance, .. } = change {
            refused.remove(instance.as_str());
        }
    }
    let mut counts: BTreeMap<(&SeriesKey, &str, &str), usize> = BTreeMap::new();
    for (key, rejection) in refused.into_values() {
        *counts.entry((key, rejection.reason.word(), &rejection.detail)).or_default() += 1;
    }
    let selected = |((key, by, because), instances): ((&SeriesKey, &str, &str), usize)| Selected {
        series_uid: key.series.to_string(),
        taken: false,
        instances,
        by: by.to_owned(),
        because: because.to_owned(),
    };
    counts.into_iter().map(selected).collect()
}

/// Tells it, a line each.
pub(super) fn tell(selected: &[Selected], console: &mut Console) -> anyhow::Result<()> {
    if !selected.is_empty() {
        console.line("\nseries that were taken or left out")?;
    }
    for Selected { series_uid, taken, instances, by, because } in selected {
        let what = if *taken { "taken" } else { "left out" };
        console.line(format!("  {series_uid}: {instances} instances {what}: {by}: {because}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use operators::record::{Reason, SeriesUid, StudyUid};

    use super::*;

    #[test]
    fn what_was_refused_is_told_by_series_unless_it_came_otherwise_later() {
        let key = SeriesKey { study: StudyUid::new("1").expect("a UID"), series: SeriesUid::new("2").expect("a UID") };
        let entry = |tick, change| {
            let event = Event::Changed { change, payload: None, stat: false, from: Some(tick) };
            Entry { tick, unix_ms: 0, event }
        };
        let uid = |text: &str| InstanceUid::new(text).expect("a UID");
        let refuse = |uid: &str| Change::Refused(Rejection::new(uid, Reason::NotSelected, "thin: rows is 1 or less"));
        let entries = [
            entry(0, refuse("1.1")),
            entry(1, refuse("1.2")),
            entry(2, refuse("1.3")),
            entry(3, refuse("a file")),
            entry(4, Change::Arrived { key: key.clone(), instance: uid("1.3"), slices: Vec::new() }),
        ];
        let series = ["1.1", "1.2", "1.3"].map(|instance| (uid(instance), key.clone())).into();
        let told = left_out(&entries, &series);
        let [Selected { series_uid, taken: false, instances: 2, by, because }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&**series_uid, &**by, &**because), ("2", "not_selected", "thin: rows is 1 or less"));
    }
}

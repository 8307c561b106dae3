//! Flips: the series that the active and a shadow model call differently.
//!
//! The newest outcomes of both are compared, each of its own version: while a late slice is under way, one may know it
//! before the other does.

use std::collections::BTreeSet;

use operators::measure::Priority;
use operators::plumbing::Collection;
use operators::record::{Digest, Outcome, Role, SeriesKey};
use serde::{Deserialize, Serialize};

use super::hex;

/// What one model says of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Side {
    /// Names its weights and numbers.
    #[serde(with = "hex")]
    pub method: Digest,
    /// Counts its results of the series.
    pub version: u64,
    /// Whether it calls the series positive.
    pub positive: bool,
    /// How soon a reader should look.
    pub priority: Priority,
    /// The probability of hemorrhage, parts per million.
    pub probability_ppm: u32,
}

impl Side {
    fn of(outcome: &Outcome) -> Self {
        let Outcome { method, version, positive, priority, probability_ppm, .. } = outcome;
        Self {
            method: *method,
            version: *version,
            positive: *positive,
            priority: *priority,
            probability_ppm: *probability_ppm,
        }
    }

    fn agrees(&self, other: &Self) -> bool {
        self.positive == other.positive && self.priority == other.priority
    }
}

/// A series that two models call differently: one says positive and the other does not, or their priorities differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flip {
    /// The series.
    pub key: SeriesKey,
    /// What the active model says.
    pub active: Side,
    /// What the shadow model says.
    pub shadow: Side,
}

/// The definition: what [`flips`] must equal.
#[must_use]
pub fn reference(outcomes: &[Outcome]) -> BTreeSet<Flip> {
    let mut flips = BTreeSet::new();
    for active in outcomes.iter().filter(|outcome| outcome.role == Role::Active) {
        for shadow in outcomes.iter().filter(|outcome| outcome.role == Role::Shadow && outcome.key == active.key) {
            if active.positive != shadow.positive || active.priority != shadow.priority {
                flips.insert(Flip { key: active.key.clone(), active: Side::of(active), shadow: Side::of(shadow) });
            }
        }
    }
    flips
}

fn sides<'scope>(outcomes: Collection<'scope, Outcome>, role: Role) -> Collection<'scope, (SeriesKey, Side)> {
    let of_role = outcomes.filter(move |outcome| outcome.role == role);
    of_role.map(|outcome| (outcome.key.clone(), Side::of(&outcome)))
}

/// Maintains the flips. A changed outcome costs a look at the other outcomes of its series.
#[must_use]
pub fn flips<'scope>(outcomes: Collection<'scope, Outcome>) -> Collection<'scope, Flip> {
    let active = sides(outcomes.clone(), Role::Active);
    active
        .join_map(sides(outcomes, Role::Shadow), |key, active, shadow| Flip {
            key: key.clone(),
            active: active.clone(),
            shadow: shadow.clone(),
        })
        .filter(|flip| !flip.active.agrees(&flip.shadow))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::law;

    #[test]
    fn is_its_reference_at_every_tick() {
        law::holds(flips, reference);
    }

    #[test]
    fn names_both_sides_by_their_methods() {
        let both = [Role::Active, Role::Shadow].map(|role| Outcome {
            positive: role == Role::Shadow,
            method: Digest::of(role.word().as_bytes()),
            ..law::outcome("1", "1", role)
        });
        let flips = reference(&both);
        let json = serde_json::to_value(flips.first().expect("a flip")).expect("plain data");
        assert_eq!(json["shadow"]["method"], Digest::of(b"shadow").to_string());
        assert_eq!(json["active"]["positive"], false);
    }
}

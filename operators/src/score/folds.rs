//! Cross validation: patients in parts, each the test of what was learned from the others.

use crate::train::Random;

/// Splits patients into `folds` parts: each patient in one, those with and without a hemorrhage spread evenly, the seed decides
/// which. Parts may be empty if there are few patients.
#[must_use]
pub fn folds(patients: &[(String, bool)], folds: usize, seed: u64) -> Vec<Vec<String>> {
    let mut order: Vec<&(String, bool)> = patients.iter().collect();
    order.sort();
    Random::new(seed, "folds").shuffle(&mut order);
    // Positives first; dealt out one by one, both kinds come evenly.
    order.sort_by_key(|(_, positive)| !positive);
    let mut parts = vec![Vec::new(); folds.max(1)];
    for (place, (patient, _)) in order.into_iter().enumerate() {
        parts[place % folds.max(1)].push(patient.clone());
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_patient_is_tested_once_and_both_kinds_are_spread(
            kinds in proptest::collection::vec(any::<bool>(), 0..60), parts in 1_usize..8, seed: u64,
        ) {
            let patients: Vec<(String, bool)> =
                kinds.iter().enumerate().map(|(number, kind)| (format!("p{number}"), *kind)).collect();
            let kind: BTreeMap<&String, bool> = patients.iter().map(|(patient, kind)| (patient, *kind)).collect();
            let split = folds(&patients, parts, seed);
            let mut all: Vec<&String> = split.iter().flatten().collect();
            all.sort();
            prop_assert_eq!(all, kind.keys().copied().collect::<Vec<_>>());
            for wanted in [true, false] {
                let counts = split.iter().map(|part| part.iter().filter(|patient| kind[patient] == wanted).count());
                let (least, most) = counts.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
                prop_assert!(most - least <= 1);
            }
            // The order in which patients are found says nothing.
            let mut turned = patients.clone();
            turned.reverse();
            prop_assert_eq!(split, folds(&turned, parts, seed));
        }
    }
}

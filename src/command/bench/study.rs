//! Synthetic slices for the graph: cheap to make, decoded already, with something to see on each.

use std::sync::Arc;

use anyhow::Context;
use kernels::units::Rescale;
use operators::dicom::{Frame, Instance, Pixels, Source};
use operators::record::{Digest, Geometry, InstanceUid, Plane, SeriesKey, SeriesUid, Slice, StoredValues, StudyUid};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Rows and columns of each slice.
const SIDE: u32 = 64;
/// From slice to slice, mm.
const STEP_MM: f64 = 2.5;

/// A slice by what is said of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    /// Names the study.
    pub(super) study: usize,
    /// Its place in the series, from the bottom.
    pub(super) place: usize,
    /// Says what is drawn, together with the place: slices of two studies with one content hold the same.
    pub(super) content: u64,
}

/// The key of a study's only series.
pub(super) fn key(study: usize) -> anyhow::Result<SeriesKey> {
    let study_uid = StudyUid::new(&format!("1.2.3.{study}")).context("a UID")?;
    Ok(SeriesKey { study: study_uid, series: SeriesUid::new(&format!("1.2.3.{study}.1")).context("a UID")? })
}

impl Drawn {
    /// The identifier of the slice's instance.
    pub(super) fn uid(self) -> anyhow::Result<InstanceUid> {
        InstanceUid::new(&format!("1.2.3.{}.1.{}", self.study, self.place)).context("a UID")
    }

    /// The slice as it arrives.
    pub(super) fn instance(self, seed: u64) -> anyhow::Result<Instance> {
        let Self { study, place, content } = self;
        let position = u32::try_from(place).context("a place")?;
        let (position_mm, plain) = ([0.0, 0.0, f64::from(position) * STEP_MM], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let geometry = Geometry::new(position_mm, plain, [3.0; 2], [SIDE; 2], Some(STEP_MM)).context("a plane")?;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let digest = Digest::builder("bench").number(number(seed)).number(number(content)).number(position.into());
        let uid = self.uid()?;
        let slice = Slice::new(uid.clone(), 1, digest.finish(), geometry);
        let random = seed.wrapping_mul(0x9e37_79b9).wrapping_add(content).wrapping_mul(0x85eb_ca6b);
        let plane = plane(random.wrapping_add(position.into()))?;
        let pixels = Pixels { source: Source::Decoded(Arc::new(plane)), header: None };
        Ok(Instance { key: key(study)?, uid, frames: vec![Frame { slice, pixels }] })
    }
}

/// A disk of brain in air with a ring of bone and a brighter spot somewhere inside, and noise, HU.
fn plane(seed: u64) -> anyhow::Result<Plane> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |bound: u32| i64::from(random.next_u32() % bound);
    let (row, column) = (20 + below(24), 20 + below(24));
    let middle = i64::from(SIDE / 2);
    let mut value = |at: i64, across: i64| {
        let from = |row: i64, column: i64| (at - row).pow(2) + (across - column).pow(2);
        let tissue = match from(middle, middle) {
            0..676 if from(row, column) < 25 => 68,
            0..676 => 33,
            676..841 => 900,
            _ => -1000,
        };
        i16::try_from(tissue + below(7)).context("HU")
    };
    let side = i64::from(SIDE);
    let values =
        (0..side * side).map(|pixel| value(pixel / side, pixel % side)).collect::<anyhow::Result<Vec<i16>>>()?;
    let (rows, columns) = (usize::try_from(SIDE)?, usize::try_from(SIDE)?);
    Ok(Plane { rows, columns, values: StoredValues::Signed(values.into()), rescale: Rescale::IDENTITY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_has_one_name_in_all_studies_and_another_has_another() {
        let slice = |study, place, content| Drawn { study, place, content }.instance(1).expect("an instance");
        let digest = |instance: &Instance| instance.frames[0].slice.digest;
        assert_eq!(digest(&slice(1, 2, 3)), digest(&slice(9, 2, 3)));
        assert_ne!(digest(&slice(1, 2, 3)), digest(&slice(1, 2, 4)));
        assert_ne!(digest(&slice(1, 2, 3)), digest(&slice(1, 3, 3)));
        assert_ne!(slice(1, 2, 3).key, slice(9, 2, 3).key);
    }
}

//! Consistency: a component of a candidate stays where a neighboring slice agrees.

use kernels::components::{Connectivity, components};

use super::RefineConfig;

/// Keeps the 2-D components of `own` that overlap the candidate of the slice next below or above in the run, or all of them
/// if the single-slice `probability` exceeds that of the configuration or the slice has no neighbor. A bleed on one slice
/// is not rare: half of subarachnoid and subdural ones are.
#[must_use]
pub fn consistent(
    own: &[u8],
    rows: usize,
    columns: usize,
    below: Option<&[u8]>,
    above: Option<&[u8]>,
    probability: f32,
    config: &RefineConfig,
) -> Vec<u8> {
    let alone = below.is_none() && above.is_none();
    if alone || probability > config.keep_probability || !own.contains(&1) {
        return own.to_vec();
    }
    let parts = components(own, [rows, columns], Connectivity::Eight);
    let mut supported = vec![false; parts.sizes.len() + 1];
    for neighbor in [below, above].into_iter().flatten() {
        for (label, neighbor) in parts.labels.iter().zip(neighbor) {
            supported[index(*label)] |= *neighbor != 0;
        }
    }
    parts.labels.iter().map(|label| u8::from(*label != 0 && supported[index(*label)])).collect()
}

#[allow(clippy::as_conversions, reason = "u32 fits usize")]
fn index(label: u32) -> usize {
    label as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two components, 2 x 2 at the left and 1 x 2 at the right, of 3 x 6.
    const OWN: [u8; 18] = [1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    const LEFT: [u8; 18] = [1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn kept(below: Option<&[u8]>, above: Option<&[u8]>, probability: f32) -> Vec<u8> {
        consistent(&OWN, 3, 6, below, above, probability, &RefineConfig::default())
    }

    #[test]
    fn a_bleed_on_one_slice_stays_if_the_slice_is_sure_or_alone() {
        let empty = [0; 18];
        assert_eq!(kept(None, None, 0.5), OWN, "no neighbor");
        assert_eq!(kept(Some(&empty), Some(&empty), 0.91), OWN, "sure");
        assert_eq!(kept(Some(&empty), Some(&empty), 0.9), empty, "not sure: the bound itself is not enough");
        assert_eq!(kept(None, Some(&empty), 0.5), empty, "the only neighbor does not agree");
    }

    #[test]
    fn one_shared_pixel_keeps_a_component_and_only_it() {
        let mut neighbor = [0; 18];
        neighbor[7] = 1;
        assert_eq!(kept(Some(&neighbor), Some(&[0; 18]), 0.5), LEFT);
        assert_eq!(kept(Some(&[0; 18]), Some(&neighbor), 0.5), LEFT);
        assert_eq!(kept(None, Some(&[1; 18]), 0.5), OWN);
    }

    proptest! {
        #[test]
        fn nothing_is_added_and_more_support_never_removes(
            own in prop::collection::vec(0..2_u8, 30),
            below in prop::collection::vec(0..2_u8, 30),
            more in prop::collection::vec(0..2_u8, 30),
        ) {
            let config = RefineConfig::default();
            let kept = consistent(&own, 5, 6, Some(&below), None, 0.5, &config);
            prop_assert!(kept.iter().zip(&own).all(|(kept, own)| kept <= own));
            let supported = consistent(&own, 5, 6, Some(&below), Some(&more), 0.5, &config);
            prop_assert!(kept.iter().zip(&supported).all(|(kept, supported)| kept <= supported));
            prop_assert_eq!(&kept, &consistent(&kept, 5, 6, Some(&below), None, 0.5, &config), "once is enough");
        }
    }
}

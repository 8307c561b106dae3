//! What of a mask can be blood: pixels that are brighter than the brain around, once levelled.

use super::RefineConfig;
use super::candidate::Scene;
use crate::record::Mask;

/// The part of `mask` inside the brain whose levelled HU are above the brain outside the mask by
/// [`RefineConfig::faint_above_brain_hu`] and below [`RefineConfig::dense_hu`]; small components are dropped and small
/// holes filled. The shape is `[rows, columns]`; arrays of other lengths give an empty mask.
///
/// A network that was trained on one scanner's rim of beam hardening takes another's for a subdural bleed; what is not
/// brighter than the rest all around the skull is none.
#[must_use]
pub fn plausible(
    mask: &[u8],
    hu: &[i16],
    shape: [usize; 2],
    spacing_mm: [f64; 2],
    brain: &[u8],
    config: &RefineConfig,
) -> Mask {
    let len = shape[0] * shape[1];
    if [mask.len(), hu.len(), brain.len()].iter().any(|other| *other != len) {
        return Mask { voxels: vec![0; len] };
    }
    Scene::new(hu, shape, spacing_mm, mask, brain, config).plausible(config)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scene::{Bleed, Drawing, Head, dice};
    use super::*;
    use crate::brain::brain_mask;

    fn kept(head: &Head, mask: &[u8]) -> Vec<u8> {
        let (shape, spacing_mm) = ([head.side; 2], [head.pixel_mm; 2]);
        let brain = brain_mask(&head.hu, head.side, head.side, spacing_mm);
        plausible(mask, &head.hu, shape, spacing_mm, &brain, &RefineConfig::default()).voxels
    }

    #[test]
    fn a_mask_of_the_bleed_stays() {
        for (bleed, bleed_hu) in [(Bleed::Disk(12.0), 60.0), (Bleed::Disk(8.0), 50.0), (Bleed::Crescent(8.0), 60.0)] {
            let head = Drawing { bleed, bleed_hu, hardening_hu: 6.0, ..Drawing::default() }.head();
            let brain = brain_mask(&head.hu, head.side, head.side, [head.pixel_mm; 2]);
            let inside: Vec<u8> = head.truth.iter().zip(brain).map(|(truth, brain)| truth & brain).collect();
            let found = dice(&kept(&head, &head.truth), &inside);
            assert!(found > 0.85, "{bleed:?} at {bleed_hu} HU: dice {found:.2}");
        }
    }

    #[test]
    fn a_hardened_rim_does_not_stay() {
        for (hardening_hu, seed) in [(4.0, 1), (8.0, 2), (12.0, 3)] {
            let head = Drawing { hardening_hu, seed, ..Drawing::default() }.head();
            let half = head.disk(45.0, 0.0, 40.0);
            let (kept, claimed) = (head.area_mm2(&kept(&head, &half)), head.area_mm2(&half));
            assert!(kept < 0.005 * claimed, "{hardening_hu} HU: {kept} of {claimed} mm2");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn what_stays_is_brain_and_in_the_mask_but_for_small_holes(seed in 0_u32..20, radius_mm in 5.0..60.0_f64) {
            let head = Drawing { bleed: Bleed::Disk(10.0), bleed_hu: 60.0, seed, ..Drawing::default() }.head();
            let mask = head.disk(20.0, 0.0, radius_mm);
            let brain = brain_mask(&head.hu, head.side, head.side, [head.pixel_mm; 2]);
            let kept = kept(&head, &mask);
            prop_assert!(kept.iter().zip(&brain).all(|(kept, brain)| kept <= brain));
            let outside: Vec<u8> = kept.iter().zip(&mask).map(|(kept, mask)| kept & (1 - mask)).collect();
            prop_assert!(head.area_mm2(&outside) <= 4.0 * RefineConfig::default().least_component_mm2);
        }
    }
}

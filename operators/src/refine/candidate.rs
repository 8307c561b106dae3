//! The candidate mask of one slice: clusters of HU, the acceptance rule, growth and morphology. No device, no neighbors.

use kernels::components::{Connectivity, components};
use kernels::morphology::{dilate, disk_mm, open, square};

use super::RefineConfig;
use super::level::{Counts, level};
use crate::kmeans::{Cluster, clusters};
use crate::record::Mask;

/// The candidate mask of a slice of HU: what is blood in `region`, and what is connected to it, inside `brain` or at most
/// `edge_mm` over it. Empty if an array has not `rows * columns` elements.
#[must_use]
pub fn candidate(
    hu: &[i16],
    rows: usize,
    columns: usize,
    spacing_mm: [f64; 2],
    region: &[u8],
    brain: &[u8],
    config: &RefineConfig,
) -> Mask {
    if [hu.len(), region.len(), brain.len()].iter().any(|len| *len != rows * columns) {
        return Mask { voxels: vec![0; rows * columns] };
    }
    let scene = Scene::new(hu, [rows, columns], spacing_mm, region, brain, config);
    let mut counts = Counts::new(config);
    for (hu, _) in scene.hu.iter().zip(&scene.inside).filter(|(_, inside)| **inside != 0) {
        counts.add(*hu);
    }
    scene.mask(&counts.bins, config)
}

/// A slice with the region to refine.
pub(super) struct Scene<'a> {
    /// HU, levelled.
    pub(super) hu: Vec<i16>,
    /// 1 in the region and the brain.
    pub(super) inside: Vec<u8>,
    brain: &'a [u8],
    shape: [usize; 2],
    spacing_mm: [f64; 2],
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        hu: &[i16],
        shape: [usize; 2],
        spacing_mm: [f64; 2],
        region: &[u8],
        brain: &'a [u8],
        config: &RefineConfig,
    ) -> Self {
        let in_both = |(region, brain): (&u8, &u8)| u8::from(*region != 0 && *brain != 0);
        let inside: Vec<u8> = region.iter().zip(brain).map(in_both).collect();
        // Without a region nothing is clustered, so nothing needs levelling.
        let hu = if inside.contains(&1) { level(hu, shape, spacing_mm, brain, config) } else { Vec::new() };
        let mut scene = Self { hu, inside, brain, shape, spacing_mm };
        scene.leave_out_halos(config);
        scene
    }

    /// Takes out of the inside what is near to dense pixels of the brain.
    fn leave_out_halos(&mut self, config: &RefineConfig) {
        let dense = |(hu, brain): (&i16, &u8)| u8::from(*hu >= config.dense_hu && *brain != 0);
        let dense: Vec<u8> = self.hu.iter().zip(self.brain).map(dense).collect();
        if config.halo_mm <= 0.0 || !dense.contains(&1) {
            return;
        }
        let halos = self.near(&dense, config.halo_mm);
        for (inside, halo) in self.inside.iter_mut().zip(halos) {
            *inside &= 1 - halo;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hu.is_empty()
    }

    /// The mask, from the histogram of the HU inside.
    pub(super) fn mask(&self, histogram: &[u32], config: &RefineConfig) -> Mask {
        let empty = || Mask { voxels: vec![0; self.brain.len()] };
        if self.is_empty() {
            return empty();
        }
        let median = self.median_outside(config);
        let clusters = clusters(histogram, i32::from(config.lower_hu), config.clusters);
        let seed =
            [bright(&clusters, config), faint(&clusters, median, config)].into_iter().flatten().find_map(|blood| {
                let own = self.pixels(&self.inside, blood.first.into(), blood.last.into(), config);
                Some((blood, self.cleaned(own, config))).filter(|(_, mask)| mask.contains(&1))
            });
        let Some((blood, mut mask)) = seed else { return empty() };
        if config.grow_mm > 0.0 {
            // A bleed ends half-way to the brain; where it is faint, that would be among the noise.
            let edge = f64::midpoint(median, blood.mean).max(median + config.faint_above_brain_hu);
            let (lower, upper) = (edge.min(blood.first.into()), config.accept_high_hu.max(blood.last.into()));
            let reach = self.pixels(self.brain, lower, upper, config);
            let limit_mm = if blood.mean < config.accept_low_hu { config.faint_grow_mm } else { config.grow_mm };
            mask = self.cleaned(self.grown(&mask, reach, limit_mm), config);
        }
        if config.fill {
            self.fill(&mut mask, config);
        }
        if config.dilation_mm > 0.0 {
            let near = self.near(&mask, config.dilation_mm);
            mask = near.iter().zip(self.brain).map(|(near, brain)| near & brain.min(&1)).collect();
        }
        if config.edge_mm > 0.0 {
            let near = self.near(&mask, config.edge_mm);
            for (((mask, near), brain), hu) in mask.iter_mut().zip(near).zip(self.brain).zip(&self.hu) {
                *mask |= u8::from(near != 0 && *brain == 0 && *hu <= config.edge_hu);
            }
        }
        Mask { voxels: mask }
    }

    /// What of the region can be blood; see [`plausible`](super::plausible::plausible).
    pub(super) fn plausible(&self, config: &RefineConfig) -> Mask {
        if self.is_empty() {
            return Mask { voxels: vec![0; self.brain.len()] };
        }
        let lower = self.median_outside(config) + config.faint_above_brain_hu;
        let mut mask = self.cleaned(self.pixels(&self.inside, lower, config.dense_hu.into(), config), config);
        if config.fill {
            self.fill(&mut mask, config);
        }
        Mask { voxels: mask }
    }

    /// The median of the brain outside the region, HU; of all of the brain if the region covers it.
    fn median_outside(&self, config: &RefineConfig) -> f64 {
        let mut outside = Counts::new(config);
        let mut all = Counts::new(config);
        for ((hu, brain), inside) in self.hu.iter().zip(self.brain).zip(&self.inside) {
            if *brain != 0 {
                all.add(*hu);
                if *inside == 0 {
                    outside.add(*hu);
                }
            }
        }
        outside.median().or(all.median()).unwrap_or(0.0)
    }

    /// Opens the mask where that does not erase a component, and drops components that are too small.
    fn cleaned(&self, mut mask: Vec<u8>, config: &RefineConfig) -> Vec<u8> {
        if config.open {
            let opened = open(&mask, self.shape, &square(1));
            let whole = components(&mask, self.shape, Connectivity::Eight);
            let mut survives = vec![false; whole.sizes.len() + 1];
            for (label, opened) in whole.labels.iter().zip(&opened) {
                survives[index(*label)] |= *opened != 0;
            }
            for ((pixel, label), opened) in mask.iter_mut().zip(&whole.labels).zip(&opened) {
                if survives[index(*label)] {
                    *pixel = *opened;
                }
            }
        }
        let parts = components(&mask, self.shape, Connectivity::Eight);
        for (pixel, label) in mask.iter_mut().zip(&parts.labels) {
            if let Some(part) = index(*label).checked_sub(1) {
                *pixel = u8::from(self.area_mm2(parts.sizes[part]) >= config.least_component_mm2);
            }
        }
        mask
    }

    /// Fills the holes of the mask that are too small for a component.
    fn fill(&self, mask: &mut [u8], config: &RefineConfig) {
        let around: Vec<u8> = mask.iter().map(|pixel| 1 - pixel).collect();
        let parts = components(&around, self.shape, Connectivity::Four);
        for ((pixel, label), brain) in mask.iter_mut().zip(&parts.labels).zip(self.brain) {
            let hole = index(*label)
                .checked_sub(1)
                .is_some_and(|part| self.area_mm2(parts.sizes[part]) < config.least_component_mm2);
            *pixel |= u8::from(hole && *brain != 0);
        }
    }

    fn area_mm2(&self, pixels: usize) -> f64 {
        crate::geometry::count(pixels) * self.spacing_mm[0] * self.spacing_mm[1]
    }

    /// The pixels of `mask` whose HU, clipped, are in a range.
    fn pixels(&self, mask: &[u8], lower: f64, upper: f64, config: &RefineConfig) -> Vec<u8> {
        let within = |hu: &i16| (lower..=upper).contains(&f64::from((*hu).max(config.lower_hu).min(config.upper_hu)));
        mask.iter().zip(&self.hu).map(|(inside, hu)| u8::from(*inside != 0 && within(hu))).collect()
    }

    /// The seed, and what of `reach` is connected to it and no farther than `limit_mm`.
    fn grown(&self, seed: &[u8], mut reach: Vec<u8>, limit_mm: f64) -> Vec<u8> {
        for ((reach, seed), near) in reach.iter_mut().zip(seed).zip(self.near(seed, limit_mm)) {
            *reach = *seed | (*reach & near);
        }
        let parts = components(&reach, self.shape, Connectivity::Eight);
        let mut seeded = vec![false; parts.sizes.len() + 1];
        for (label, seed) in parts.labels.iter().zip(seed) {
            seeded[index(*label)] |= *seed != 0;
        }
        parts.labels.iter().map(|label| u8::from(*label != 0 && seeded[index(*label)])).collect()
    }

    /// The pixels within a distance of the mask.
    fn near(&self, mask: &[u8], radius_mm: f64) -> Vec<u8> {
        dilate(mask, self.shape, &disk_mm(radius_mm, self.spacing_mm))
    }
}

/// HU that are held to be blood.
#[derive(Clone, Copy)]
struct Blood {
    first: i32,
    last: i32,
    mean: f64,
}

/// All clusters that are blood by their mean alone: a bleed and its partial volume with bone may be two.
fn bright(clusters: &[Cluster], config: &RefineConfig) -> Option<Blood> {
    joined(clusters.iter().filter(|cluster| (config.accept_low_hu..=config.accept_high_hu).contains(&cluster.mean)))
}

/// The brightest cluster that is not, if it lies far enough above the rest of the brain.
fn faint(clusters: &[Cluster], brain_median: f64, config: &RefineConfig) -> Option<Blood> {
    let least = config.faint_low_hu.max(brain_median + config.faint_above_brain_hu);
    let brightest = clusters.iter().rfind(|cluster| cluster.mean < config.accept_low_hu);
    joined(brightest.filter(|cluster| cluster.mean >= least).into_iter())
}

fn joined<'a>(clusters: impl Iterator<Item = &'a Cluster>) -> Option<Blood> {
    let (mut ends, mut count, mut sum) = (None, 0.0, 0.0);
    for cluster in clusters {
        let (first, _) = ends.unwrap_or((cluster.first, cluster.last));
        ends = Some((first, cluster.last));
        let own = crate::geometry::count(usize::try_from(cluster.count).unwrap_or(usize::MAX));
        count += own;
        sum += own * cluster.mean;
    }
    ends.map(|(first, last)| Blood { first, last, mean: sum / count })
}

#[allow(clippy::as_conversions, reason = "u32 fits usize")]
fn index(label: u32) -> usize {
    label as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scene::{Bleed, Drawing, Head, dice};
    use super::*;
    use crate::brain::brain_mask;

    /// The candidate where the region is a disk: mm right and down of the middle, radius.
    fn refined(head: &Head, [x_mm, y_mm, radius_mm]: [f64; 3]) -> Vec<u8> {
        let (side, spacing_mm) = (head.side, [head.pixel_mm; 2]);
        let brain = brain_mask(&head.hu, side, side, spacing_mm);
        let region = head.disk(x_mm, y_mm, radius_mm);
        let mask = candidate(&head.hu, side, side, spacing_mm, &region, &brain, &RefineConfig::default()).voxels;
        let bone = mask.iter().zip(&head.hu).filter(|(mask, hu)| **mask != 0 && **hu > 600).count();
        assert_eq!(bone, 0, "pixels of bone");
        mask
    }

    fn assert_found(drawing: Drawing, region: [f64; 3], least_dice: f64) {
        let head = drawing.head();
        let mask = refined(&head, region);
        let found = dice(&mask, &head.truth);
        assert!(found > least_dice, "{drawing:?}: dice {found:.2}, {:.0} mm2", head.area_mm2(&mask));
    }

    #[test]
    fn a_subdural_bleed_at_the_bone_is_found_and_the_bone_is_not() {
        for (thick_mm, bleed_hu, hardening_hu) in [(8.0, 60.0, 0.0), (8.0, 60.0, 10.0), (4.0, 55.0, 6.0)] {
            let bleed = Bleed::Crescent(thick_mm);
            let drawing = Drawing { bleed, bleed_hu, hardening_hu, ..Drawing::default() };
            assert_found(drawing, [63.0, 0.0, 15.0], 0.65);
        }
    }

    #[test]
    fn a_hardened_rim_without_a_bleed_is_refused() {
        for (hardening_hu, seed) in [(4.0, 1), (8.0, 2), (12.0, 3)] {
            let head = Drawing { hardening_hu, seed, ..Drawing::default() }.head();
            for region in [[60.0, 0.0, 16.0], [0.0, -75.0, 16.0]] {
                let area = head.area_mm2(&refined(&head, region));
                assert!(area < 1e-9, "{hardening_hu} HU at {region:?}: {area} mm2");
            }
        }
    }

    #[test]
    fn a_calcification_and_its_partial_volume_are_refused() {
        for radius_mm in [1.5, 4.0] {
            let head = Drawing { bleed: Bleed::Disk(radius_mm), bleed_hu: 150.0, ..Drawing::default() }.head();
            let area = head.area_mm2(&refined(&head, [30.0, -10.0, 14.0]));
            assert!(area < 1e-9, "{area} mm2");
        }
    }

    #[test]
    fn faint_blood_in_a_ventricle_and_in_a_sulcus_is_found() {
        let ventricle = Drawing { bleed: Bleed::Ventricle, bleed_hu: 40.0, ..Drawing::default() };
        assert_found(ventricle, [-14.0, 22.0, 12.0], 0.85);
        let sulcus = Drawing { bleed: Bleed::Sulcus(3.0), bleed_hu: 45.0, hardening_hu: 6.0, ..Drawing::default() };
        assert_found(sulcus, [55.0, 20.0, 14.0], 0.8);
    }

    #[test]
    fn a_large_bleed_is_covered_from_its_core() {
        for bleed_hu in [45.0, 60.0, 75.0] {
            let drawing = Drawing { bleed: Bleed::Disk(25.0), bleed_hu, ..Drawing::default() };
            assert_found(drawing, [35.0, -10.0, 14.0], 0.95);
        }
    }

    #[test]
    fn pixels_of_other_sizes_give_the_same_area() {
        for (bleed, region) in [(Bleed::Disk(6.0), [30.0, -10.0, 14.0]), (Bleed::Crescent(6.0), [63.0, 0.0, 15.0])] {
            let [fine, coarse] = [0.3, 0.6].map(|pixel_mm| {
                let head = Drawing { pixel_mm, bleed, ..Drawing::default() }.head();
                head.area_mm2(&refined(&head, region))
            });
            assert!((fine / coarse - 1.0).abs() < 0.1, "{bleed:?}: {fine:.1} mm2 and {coarse:.1} mm2");
        }
    }

    #[test]
    fn blank_and_constant_slices_give_empty_masks() {
        let config = RefineConfig::default();
        for hu in [-1000, 0, 30, 60, 3000] {
            let (slice, all) = (vec![hu; 32 * 32], vec![1; 32 * 32]);
            let mask = candidate(&slice, 32, 32, [0.5; 2], &all, &vec![0; 32 * 32], &config);
            assert!(mask.is_empty() && mask.voxels.len() == 32 * 32, "no brain");
            let mask = candidate(&slice, 32, 32, [0.5; 2], &vec![0; 32 * 32], &all, &config);
            assert!(mask.is_empty(), "no region");
            let mask = candidate(&slice, 32, 32, [0.5; 2], &all, &all, &config);
            assert_eq!(mask.is_empty(), hu != 60, "{hu} HU: blood if anything");
        }
        assert!(candidate(&[], 0, 0, [0.5; 2], &[], &[], &config).voxels.is_empty());
        assert_eq!(candidate(&[60], 1, 1, [0.5; 2], &[], &[1], &config).voxels, [0], "the region has no pixel");
        let upside_down = RefineConfig { lower_hu: 10, upper_hu: -10, ..config };
        assert!(candidate(&[60], 1, 1, [0.5; 2], &[1], &[1], &upside_down).is_empty());
    }

    #[test]
    fn without_growth_nothing_lies_outside_the_region_and_dilation_only_adds() {
        let head = Drawing { bleed: Bleed::Disk(25.0), ..Drawing::default() }.head();
        let (side, spacing_mm) = (head.side, [head.pixel_mm; 2]);
        let brain = brain_mask(&head.hu, side, side, spacing_mm);
        let region = head.disk(35.0, -10.0, 14.0);
        let of = |config| candidate(&head.hu, side, side, spacing_mm, &region, &brain, &config).voxels;
        let bare = RefineConfig { grow_mm: 0.0, edge_mm: 0.0, ..RefineConfig::default() };
        let plain = of(bare.clone());
        assert!(plain.contains(&1) && plain.iter().zip(&region).all(|(mask, region)| mask <= region));
        let dilated = of(RefineConfig { dilation_mm: 0.5, ..bare });
        assert!(plain.iter().zip(&dilated).all(|(plain, dilated)| plain <= dilated) && plain != dilated);
    }

    fn flipped<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
        values.chunks_exact(columns).flat_map(|row| row.iter().rev().copied()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn masks_stay_at_the_brain_and_turn_with_the_slice(
            hu in prop::collection::vec(prop_oneof![3 => 10..50_i16, 2 => 45..75_i16, 1 => -1000..2000_i16], 24 * 16),
            region in prop::collection::vec(0..2_u8, 24 * 16),
            brain in prop::collection::vec(prop::bool::weighted(0.9).prop_map(u8::from), 24 * 16),
            grow_mm in prop_oneof![Just(0.0), Just(3.0)],
            edge_mm in prop_oneof![Just(0.0), Just(0.7)],
        ) {
            let config = RefineConfig { grow_mm, edge_mm, least_component_mm2: 0.5, ..RefineConfig::default() };
            let mask = candidate(&hu, 24, 16, [0.5; 2], &region, &brain, &config).voxels;
            let near = dilate(&brain, [24, 16], &disk_mm(edge_mm, [0.5; 2]));
            prop_assert!(mask.iter().zip(&near).all(|(mask, near)| mask <= near));
            let [hu, region, brain] = [hu, region.iter().map(|r| i16::from(*r)).collect(), brain.iter().map(|b| i16::from(*b)).collect()]
                .map(|values| flipped(&values, 16));
            let [region, brain] = [region, brain].map(|values| values.iter().map(|v| u8::from(*v != 0)).collect::<Vec<u8>>());
            let turned = candidate(&hu, 24, 16, [0.5; 2], &region, &brain, &config).voxels;
            prop_assert_eq!(flipped(&mask, 16), turned);
        }
    }
}

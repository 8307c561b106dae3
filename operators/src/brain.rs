//! The brain mask of one slice: the space that the skull encloses, if what it holds looks like a brain.
//!
//! Pixels are HU, `[rows, columns]`, row major; spacings mm, between rows, then between columns. The mask is per slice: it
//! never looks at a neighbor. It is an open space seen through bone, not an anatomical segmentation: the spinal canal
//! passes, and under an open skull some soft tissue outside the brain does.
//!
//! The bone is closed by 3 mm, and by 6 mm where that encloses another space (a fracture, the roof of an orbit). Where
//! neither encloses much (a craniectomy, the skull base), the head eroded by 12 mm stands in for the skull.

use kernels::components::{Components, Connectivity, components};
use kernels::morphology::{dilate, disk_mm};

/// Bone is brighter, HU.
const BONE_HU: i16 = 300;
/// Air around the head is not brighter, HU.
const AIR_HU: i16 = -300;
/// What brain, blood and cerebrospinal fluid measure, with their noise, HU.
const BRAIN_HU: std::ops::RangeInclusive<i16> = -5..=90;
/// The part of a space that must be within [`BRAIN_HU`]. Sinuses, orbits and a dry skull stay below it.
const BRAIN_SHARE: f64 = 0.75;
/// Radii that bone is closed by, mm, with the least space behind it, mm².
const CLOSINGS: [(f64, f64); 2] = [(3.0, 100.0), (6.0, 400.0)];
/// Below this area, mm², the skull is held to be open.
const OPEN_MM2: f64 = 4000.0;
/// How thick scalp and skull are where the skull is open, mm.
const SCALP_MM: f64 = 12.0;

/// The brain mask: 1 inside, 0 outside, eroded by one pixel. Empty if there is no bone, no brain, or not `rows * columns`
/// pixels.
#[must_use]
pub fn brain_mask(hu: &[i16], rows: usize, columns: usize, spacing_mm: [f64; 2]) -> Vec<u8> {
    let slice = View { hu, shape: [rows, columns], spacing_mm };
    let mut brain = vec![0; rows * columns];
    if hu.len() != rows * columns {
        return brain;
    }
    let Some(bounds) = slice.bone_bounds() else { return brain };
    let skull_hu = bounds.crop(hu, columns);
    let skull = View { hu: &skull_hu, shape: [bounds.rows, bounds.columns], spacing_mm };
    bounds.paste(&skull.enclosed(), &mut brain, columns);
    if slice.area_mm2(&brain) < OPEN_MM2 {
        slice.add_open(&mut brain);
    }
    eroded(&brain, rows, columns)
}

/// A rectangle of pixels.
struct Bounds {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

impl Bounds {
    fn crop(&self, values: &[i16], columns: usize) -> Vec<i16> {
        let rows = values.chunks_exact(columns).skip(self.row).take(self.rows);
        rows.flat_map(|row| &row[self.column..self.column + self.columns]).copied().collect()
    }

    fn paste(&self, part: &[u8], whole: &mut [u8], columns: usize) {
        let rows = whole.chunks_exact_mut(columns).skip(self.row);
        for (row, part) in rows.zip(part.chunks_exact(self.columns)) {
            row[self.column..self.column + self.columns].copy_from_slice(part);
        }
    }
}

/// Pixels with their shape and spacing.
struct View<'a> {
    hu: &'a [i16],
    shape: [usize; 2],
    spacing_mm: [f64; 2],
}

impl View<'_> {
    fn bone(&self) -> Vec<u8> {
        self.hu.iter().map(|hu| u8::from(*hu > BONE_HU)).collect()
    }

    /// The rectangle that holds all bone.
    fn bone_bounds(&self) -> Option<Bounds> {
        let [_, columns] = self.shape;
        let mut bounds: Option<[usize; 4]> = None;
        for (index, row) in self.hu.chunks_exact(columns.max(1)).enumerate() {
            let Some(first) = row.iter().position(|hu| *hu > BONE_HU) else { continue };
            let last = row.iter().rposition(|hu| *hu > BONE_HU).unwrap_or(first);
            let [top, _, left, right] = bounds.unwrap_or([index, index, first, last]);
            bounds = Some([top, index, left.min(first), right.max(last)]);
        }
        let [top, bottom, left, right] = bounds?;
        Some(Bounds { row: top, column: left, rows: bottom + 1 - top, columns: right + 1 - left })
    }

    fn area_mm2(&self, mask: &[u8]) -> f64 {
        let pixels: u32 = mask.iter().map(|pixel| u32::from(*pixel)).sum();
        f64::from(pixels) * self.spacing_mm[0] * self.spacing_mm[1]
    }

    /// The spaces that bone encloses, where its boundary is the view's.
    fn enclosed(&self) -> Vec<u8> {
        let bone = self.bone();
        let mut brain = vec![0; bone.len()];
        for (radius_mm, least_mm2) in CLOSINGS {
            let core: Vec<u8> = self.near(&bone, radius_mm).iter().map(|near| 1 - near).collect();
            let spaces = components(&core, self.shape, Connectivity::Four);
            let mut accepted = self.brain_like(&spaces, &brain, least_mm2);
            for outside in border(self.shape) {
                if let Some(label) = label(&spaces, outside) {
                    accepted[label] = false;
                }
            }
            self.grow(&spaces, &accepted, radius_mm, |pixel| bone[pixel] == 0, &mut brain);
        }
        brain
    }

    /// Adds the spaces deeper in the head than scalp and skull go.
    fn add_open(&self, brain: &mut [u8]) {
        let (closing_mm, least_mm2) = CLOSINGS[0];
        let air: Vec<u8> = self.hu.iter().map(|hu| u8::from(*hu <= AIR_HU)).collect();
        let spaces = components(&air, self.shape, Connectivity::Four);
        let mut around = vec![false; spaces.sizes.len()];
        for pixel in border(self.shape) {
            if let Some(label) = label(&spaces, pixel) {
                around[label] = true;
            }
        }
        let outside: Vec<u8> =
            (0..air.len()).map(|pixel| u8::from(label(&spaces, pixel).is_some_and(|label| around[label]))).collect();
        if !outside.contains(&1) {
            return;
        }
        let shallow = self.near(&outside, SCALP_MM);
        let bone = self.bone();
        let closed = self.near(&bone, closing_mm);
        let core: Vec<u8> = shallow.iter().zip(&closed).map(|(shallow, closed)| 1 - (shallow | closed)).collect();
        let spaces = components(&core, self.shape, Connectivity::Four);
        let accepted = self.brain_like(&spaces, brain, least_mm2);
        self.grow(&spaces, &accepted, closing_mm, |pixel| shallow[pixel] == 0 && bone[pixel] == 0, brain);
    }

    /// The pixels within a distance of the mask.
    fn near(&self, mask: &[u8], radius_mm: f64) -> Vec<u8> {
        dilate(mask, self.shape, &disk_mm(radius_mm, self.spacing_mm))
    }

    /// By label: whether the space is large enough, holds what a brain measures, and is not yet in `brain`.
    fn brain_like(&self, spaces: &Components, brain: &[u8], least_mm2: f64) -> Vec<bool> {
        let mut within = vec![0_u32; spaces.sizes.len()];
        let mut all = within.clone();
        let mut known = vec![false; within.len()];
        for (pixel, hu) in self.hu.iter().enumerate() {
            let Some(label) = label(spaces, pixel) else { continue };
            all[label] += 1;
            within[label] += u32::from(BRAIN_HU.contains(hu));
            known[label] |= brain[pixel] != 0;
        }
        let pixel_mm2 = self.spacing_mm[0] * self.spacing_mm[1];
        let accepts = |((all, within), known): ((u32, u32), bool)| {
            let (all, within) = (f64::from(all), f64::from(within));
            !known && all * pixel_mm2 >= least_mm2 && within >= BRAIN_SHARE * all
        };
        all.into_iter().zip(within).zip(known).map(accepts).collect()
    }

    /// Adds the accepted spaces to `brain`, dilated by `radius_mm` where `allowed`.
    fn grow(
        &self,
        spaces: &Components,
        accepted: &[bool],
        radius_mm: f64,
        allowed: impl Fn(usize) -> bool,
        brain: &mut [u8],
    ) {
        if !accepted.contains(&true) {
            return;
        }
        let inside = |pixel| label(spaces, pixel).is_some_and(|label| accepted[label]);
        let core: Vec<u8> = (0..brain.len()).map(|pixel| u8::from(inside(pixel))).collect();
        for (pixel, near) in self.near(&core, radius_mm).into_iter().enumerate() {
            if near != 0 && allowed(pixel) {
                brain[pixel] = 1;
            }
        }
    }
}

/// The label of a pixel, from 0, if it has one.
#[allow(clippy::as_conversions, reason = "u32 fits usize")]
fn label(spaces: &Components, pixel: usize) -> Option<usize> {
    (spaces.labels[pixel] as usize).checked_sub(1)
}

/// The pixels of the outermost rows and columns.
fn border([rows, columns]: [usize; 2]) -> impl Iterator<Item = usize> {
    let last = rows.saturating_sub(1) * columns;
    let sides = (0..rows).flat_map(move |row| [row * columns, (row + 1) * columns - 1]);
    (0..columns).chain(last..last + columns).chain(sides)
}

/// The pixels whose four neighbors are inside as well; what lies beyond the image counts as inside.
fn eroded(mask: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let mut eroded = mask.to_vec();
    for row in 0..rows {
        let own = &mask[row * columns..(row + 1) * columns];
        let out = &mut eroded[row * columns..(row + 1) * columns];
        for (out, (left, right)) in out.iter_mut().skip(1).zip(own.iter().zip(own.iter().skip(2))) {
            *out &= left & right;
        }
        for near in [row.checked_sub(1), Some(row + 1).filter(|next| *next < rows)].into_iter().flatten() {
            for (out, near) in out.iter_mut().zip(&mask[near * columns..(near + 1) * columns]) {
                *out &= near;
            }
        }
    }
    eroded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refine::scene::{Bleed, Drawing, Head};
    use crate::sample::{folder, series};

    fn masked(head: &Head) -> Vec<u8> {
        brain_mask(&head.hu, head.side, head.side, [head.pixel_mm; 2])
    }

    /// What was drawn inside the inner table, mm².
    const DRAWN_MM2: f64 = 70.0 * 88.0 * std::f64::consts::PI;

    /// The part of a disk, mm right and down of the middle, that the mask holds.
    fn share(head: &Head, mask: &[u8], [x_mm, y_mm, radius_mm]: [f64; 3]) -> f64 {
        let disk = head.disk(x_mm, y_mm, radius_mm);
        let both: Vec<u8> = disk.iter().zip(mask).map(|(disk, mask)| disk & mask).collect();
        head.area_mm2(&both) / head.area_mm2(&disk)
    }

    #[test]
    fn the_brain_is_what_the_skull_encloses() {
        for pixel_mm in [0.4, 0.8] {
            let head = Drawing { pixel_mm, bleed: Bleed::Crescent(8.0), ..Drawing::default() }.head();
            let mask = masked(&head);
            let area = head.area_mm2(&mask);
            assert!((0.95..1.0).contains(&(area / DRAWN_MM2)), "{area:.0} of {DRAWN_MM2:.0} mm2");
            assert!(mask.iter().zip(&head.hu).all(|(mask, hu)| *mask == 0 || *hu <= BONE_HU), "no bone inside");
        }
    }

    #[test]
    fn a_fracture_leaves_the_mask_as_it_is_and_an_open_skull_a_smaller_one() {
        let whole = Drawing::default().head();
        let opened = |width_mm: f64| {
            let mut head = Drawing::default().head();
            let gap = head.disk(-74.0, 0.0, width_mm / 2.0);
            for (hu, gap) in head.hu.iter_mut().zip(gap) {
                *hu = if gap != 0 { (*hu).min(40) } else { *hu };
            }
            head
        };
        let fracture = opened(8.0);
        let difference = whole.area_mm2(&masked(&whole)) - fracture.area_mm2(&masked(&fracture));
        assert!(difference.abs() < 100.0, "{difference:.0} mm2");
        let open = opened(50.0);
        let area = open.area_mm2(&masked(&open));
        assert!((0.8..1.05).contains(&(area / DRAWN_MM2)), "{area:.0} mm2");
        assert!(share(&open, &masked(&open), [0.0, 0.0, 40.0]) > 0.999);
    }

    #[test]
    fn an_empty_skull_and_images_without_bone_have_no_brain() {
        let mut skull = Drawing::default().head();
        let insert = skull.disk(20.0, 20.0, 15.0);
        for (hu, insert) in skull.hu.iter_mut().zip(insert) {
            *hu = if insert != 0 {
                60
            } else if *hu < 300 {
                -1000
            } else {
                *hu
            };
        }
        assert!(!masked(&skull).contains(&1), "an insert of 60 HU in air is no brain");
        for hu in [-1000, 0, 30, 3000] {
            assert_eq!(brain_mask(&[hu; 400], 20, 20, [1.0; 2]), [0; 400], "{hu} HU everywhere");
        }
        assert!(brain_mask(&[], 0, 0, [1.0; 2]).is_empty());
        assert_eq!(brain_mask(&[900; 3], 1, 4, [1.0; 2]), [0; 4], "a pixel is missing");
    }

    #[test]
    fn a_dry_skull_with_inserts_has_no_brain() {
        for path in ["dicom/philips_phantom_study/S21570/S2010", "dicom/philips_phantom_study/S21570/S2030"] {
            let Some(folder) = folder("a_dry_skull_with_inserts_has_no_brain", path) else { return };
            let samples = series(&folder);
            assert!(samples.len() >= 3, "{path}");
            for sample in samples {
                let [rows, columns] = sample.shape();
                let mask = brain_mask(&sample.hu, rows, columns, sample.slice.geometry.spacing_mm());
                assert!(!mask.contains(&1), "{}", sample.name);
            }
        }
    }

    #[test]
    fn a_tilted_head_has_a_brain_where_the_skull_has_one() {
        let test = "a_tilted_head_has_a_brain_where_the_skull_has_one";
        let Some(folder) = folder(test, "dicom/ge_head_tilt_irregular") else { return };
        let areas: Vec<f64> = series(&folder)
            .iter()
            .map(|sample| {
                let [rows, columns] = sample.shape();
                let mask = brain_mask(&sample.hu, rows, columns, sample.slice.geometry.spacing_mm());
                f64::from(mask.iter().map(|pixel| u32::from(*pixel)).sum::<u32>())
                    * sample.slice.geometry.pixel_area_mm2()
            })
            .collect();
        assert_eq!(areas.len(), 28);
        assert!(areas[..4].iter().all(|area| *area < 1000.0), "below the skull there is a spinal canal: {areas:.0?}");
        assert!(areas[7..25].iter().all(|area| *area > 7000.0), "a brain: {areas:.0?}");
        let largest = areas.iter().copied().fold(0.0, f64::max);
        assert!((18_000.0..19_000.0).contains(&largest), "{largest:.0} mm2");
    }

    #[test]
    fn real_bleeds_lie_in_the_brain() {
        let Some(root) = folder("real_bleeds_lie_in_the_brain", "ich/ct_ich_v1") else { return };
        for patient in ["p078", "p079", "p080"] {
            for sample in series(&root.join("dicom_rle").join(patient)) {
                let [rows, columns] = sample.shape();
                let mask = brain_mask(&sample.hu, rows, columns, sample.slice.geometry.spacing_mm());
                let truth = crate::sample::png(&root.join("mask512").join(format!("{}.png", sample.name)));
                let bleed = truth.iter().filter(|pixel| **pixel != 0).count();
                let inside = truth.iter().zip(&mask).filter(|(pixel, mask)| **pixel != 0 && **mask != 0).count();
                assert!(inside * 10 >= bleed * 9, "{}: {inside} of {bleed} pixels", sample.name);
                let area = mask.iter().filter(|pixel| **pixel != 0).count();
                assert!((20_000..90_000).contains(&area), "{}: {area} pixels", sample.name);
            }
        }
    }
}

//! Bleeds: what kinds a study has, where they lie, how large they grow, and the distance to them.
//!
//! Each lesion is a *growth*: a function of place, mm, smallest where the bleed starts. The lesion is where the growth
//! stays below a bound, inside the compartment that holds the kind; the bound is found by sorting the growths of a
//! lattice, so that the lesion has the drawn volume (or fills its compartment).
//!
//! Volumes, HU and numbers of lesions: 1,873 lesions of 192 BHSD scans as tabulated in CC0 data of
//! github.com/DIDSR/framework-for-synthetic-ICH-to-assess-AI-generalizability; quantiles are interpolated in the logarithm.

use super::anatomy::{Anatomy, tentorium};
use super::part::{self, Parts};
use super::shape::{Point, dot, length, minus, unit};
use super::stream::Stream;
use crate::labels::Subtype;

/// What the table says of a kind.
struct Statistics {
    /// Scans of 192 with it.
    scans: f32,
    /// Volume in a scan, mL, at the probabilities of [`QUANTILES`].
    whole: [f32; 6],
    /// Volume of further lesions, mL, the same way (the row of lesions).
    further: [f32; 6],
    /// Weights of one, two, ... lesions.
    lesions: &'static [f32],
    /// HU before partial volume, lesions of at least 1 mL: mean and standard deviation.
    hu: [f32; 2],
}

const QUANTILES: [f32; 6] = [0.0, 0.25, 0.5, 0.75, 0.95, 1.0];

const STATISTICS: [Statistics; 5] = [
    Statistics {
        scans: 23.0,
        whole: [0.4, 2.2, 5.07, 15.9, 50.0, 120.0],
        further: [0.1, 0.49, 3.93, 11.24, 36.8, 60.0],
        lesions: &[9.0, 1.0],
        hu: [57.7, 9.4],
    },
    Statistics {
        scans: 126.0,
        whole: [0.2, 2.3, 9.33, 31.7, 70.0, 120.0],
        further: [0.05, 0.22, 1.24, 7.52, 20.0, 40.0],
        lesions: &[6.0, 3.0, 1.0],
        hu: [49.7, 7.3],
    },
    Statistics {
        scans: 104.0,
        whole: [0.15, 0.6, 2.27, 8.4, 20.0, 45.0],
        further: [0.05, 0.16, 0.54, 2.01, 6.0, 10.0],
        lesions: &[3.0, 4.0, 2.0],
        hu: [43.5, 8.7],
    },
    Statistics {
        scans: 109.0,
        whole: [0.2, 0.9, 1.95, 9.7, 25.0, 50.0],
        further: [0.03, 0.08, 0.18, 0.47, 2.6, 6.0],
        lesions: &[2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0],
        hu: [45.6, 6.8],
    },
    Statistics {
        scans: 70.0,
        whole: [0.4, 2.3, 6.01, 23.4, 70.0, 130.0],
        further: [0.05, 0.16, 0.54, 2.47, 20.0, 40.0],
        lesions: &[4.0, 3.0, 2.0],
        hu: [50.5, 13.6],
    },
];

/// The volumes of the lesions of a scan: the further ones as drawn, but half of the whole at most, and the main one first, with
/// what they leave.
fn divided(whole_ml: f32, further_ml: &[f32]) -> Vec<f32> {
    let sum: f32 = further_ml.iter().sum();
    let part = if sum > 0.5 * whole_ml { 0.5 * whole_ml / sum } else { 1.0 };
    std::iter::once(whole_ml - part * sum).chain(further_ml.iter().map(|ml| part * ml)).collect()
}

/// Where and how a lesion grows.
#[derive(Clone, Debug)]
enum Growth {
    /// Ellipsoid: half axes relative to their geometric mean, and how rough.
    Clot { axes: Point, rough: f32 },
    /// Lens or crescent on the inner table: thickness relative to radius, on this side of the midline if it stops there.
    Shell { flat: f32, long: f32, side: f32 },
    /// Sheet along the falx, on this side.
    Falx { side: f32 },
    /// Sheet on the tentorium, on this side.
    Tentorium { side: f32 },
    /// Level in the dependent parts of this lateral ventricle, up from the back.
    Level { side: f32 },
    /// Cast about a point of the ventricles.
    Cast,
    /// In fluid about a point.
    Sheets { axes: Point },
}

/// One lesion.
#[derive(Clone, Debug)]
pub(super) struct Lesion {
    pub(super) kind: Subtype,
    growth: Growth,
    center: Point,
    outward: Point,
    bound: f32,
    hu: f32,
    edema_mm: f32,
    /// Radius, mm, of a ball of the lesion's volume, lessened where tissue gives way otherwise.
    push_mm: f32,
    volume_ml: f32,
}

/// The bleeds of one study.
#[derive(Clone, Debug, Default)]
pub(super) struct Bleeds {
    pub(super) lesions: Vec<Lesion>,
}

impl Bleeds {
    /// The bleeds of study `index`; `seen` says whether slices cover a height of the placed head.
    pub(super) fn new(seed: u64, index: u64, anatomy: &Anatomy, seen: &dyn Fn(Point) -> bool) -> Self {
        let mut stream = Stream::new(seed, index, "bleed");
        let kinds = kinds(&mut stream);
        let mut bleeds = Self::default();
        for kind in kinds {
            let statistics = &STATISTICS[kind.index()];
            let mut stream = Stream::new(seed, index, kind.word());
            let count = 1 + stream.choice(statistics.lesions);
            let hu = stream.about(statistics.hu[0], statistics.hu[1]);
            let whole_ml = quantile(&statistics.whole, stream.unit());
            let further: Vec<f32> = (1..count).map(|_| quantile(&statistics.further, stream.unit())).collect();
            for volume_ml in divided(whole_ml, &further) {
                let hu = (hu + stream.about(0.0, 3.0)).clamp(32.0, 82.0);
                bleeds.lesions.push(Lesion::new(kind, volume_ml, hu, anatomy, seen, &mut stream));
            }
        }
        // Each lesion grows in the head as all of them have pushed it.
        let bounds: Vec<f32> = bleeds.lesions.iter().map(|lesion| bleeds.bound(lesion, anatomy)).collect();
        for (lesion, bound) in bleeds.lesions.iter_mut().zip(bounds) {
            lesion.bound = bound;
        }
        bleeds
    }

    /// Where a point of the placed head was before the bleeds pushed it.
    pub(super) fn before(&self, h: Point) -> Point {
        let mut g = h;
        for lesion in &self.lesions {
            if lesion.push_mm <= 0.0 {
                continue;
            }
            let from = minus(g, lesion.center);
            let far = length(from).max(1e-3);
            let reach = lesion.push_mm;
            // A ball pushes aside its own volume; far away that fades sooner, for fluid gives way.
            let fade = libm::expf(-far * far / (2.0 * 38.0 * 38.0));
            let cubed = (1.0
                - (reach / far.max(reach * 1.15))
                    * (reach / far.max(reach * 1.15))
                    * (reach / far.max(reach * 1.15))
                    * fade)
                .max(0.05);
            let shrink = libm::cbrtf(cubed);
            for axis in 0..3 {
                g[axis] = lesion.center[axis] + from[axis] * shrink;
            }
        }
        g
    }

    /// Adds the distances to the bleeds, and to their edema, to what is known of a point.
    pub(super) fn add(&self, anatomy: &Anatomy, h: Point, parts: &mut Parts) {
        for lesion in &self.lesions {
            let distance = lesion.growth(anatomy, h, parts) - lesion.bound;
            let slot = lesion.kind.index();
            if distance < parts[part::BLEED + slot] {
                parts[part::BLEED + slot] = distance;
                parts[part::BLEED_HU + slot] = lesion.hu;
            }
            if lesion.edema_mm > 0.0 {
                parts[part::EDEMA] = parts[part::EDEMA].min(distance - lesion.edema_mm);
            }
        }
    }

    /// The bound at which a lesion has its volume.
    fn bound(&self, lesion: &Lesion, anatomy: &Anatomy) -> f32 {
        let target = lesion.volume_ml * 1000.0 / anatomy.unit_mm3();
        let (center, reach) = lesion.extent(target);
        let points = 26_u16;
        let step = reach.map(|mm| 2.0 * mm / f32::from(points));
        let voxel = step[0] * step[1] * step[2];
        let place = |axis: usize, n: u16| center[axis] - reach[axis] + (f32::from(n) + 0.5) * step[axis];
        let mut growths = Vec::new();
        for nz in 0..points {
            for ny in 0..points {
                for nx in 0..points {
                    let h = [place(0, nx), place(1, ny), place(2, nz)];
                    if anatomy.outside(h) > 0.0 {
                        continue;
                    }
                    let parts = anatomy.at(h, self.before(h));
                    let share = lesion.share(&parts);
                    if share > 0.0 {
                        growths.push((lesion.growth(anatomy, h, &parts), share));
                    }
                }
            }
        }
        growths.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut volume = 0.0;
        for (growth, share) in &growths {
            volume += share * voxel;
            if volume >= target {
                return *growth;
            }
        }
        growths.last().map_or(0.0, |(growth, _)| *growth)
    }
}

impl Lesion {
    fn new(
        kind: Subtype,
        ml: f32,
        hu: f32,
        anatomy: &Anatomy,
        seen: &dyn Fn(Point) -> bool,
        stream: &mut Stream,
    ) -> Self {
        let ball_mm = libm::cbrtf(ml * 1000.0 * 0.75 / core::f32::consts::PI);
        let mut best = None;
        for _ in 0..24 {
            let (growth, center) = draw(kind, anatomy, stream);
            let found = seen(center);
            best = Some((growth, center));
            if found {
                break;
            }
        }
        let (growth, center) = best.unwrap_or((Growth::Cast, [0.0; 3]));
        let push = match kind {
            Subtype::Intraparenchymal => 0.80,
            Subtype::Epidural => 0.7,
            Subtype::Subdural => 0.55,
            Subtype::Intraventricular => 0.35,
            Subtype::Subarachnoid => 0.0,
        };
        let edema_mm =
            if kind == Subtype::Intraparenchymal { (0.22 * ball_mm).min(6.0) * stream.range(0.2, 1.3) } else { 0.0 };
        Self {
            kind,
            growth,
            center,
            outward: unit(minus(center, [0.0, 0.0, 4.0])),
            bound: 0.0,
            hu,
            edema_mm,
            push_mm: push * ball_mm,
            volume_ml: ml,
        }
    }

    /// The growth at a point: mm from where the bleed starts, outside its compartment large.
    fn growth(&self, anatomy: &Anatomy, h: Point, parts: &Parts) -> f32 {
        let from = minus(h, self.center);
        let cavity = parts[part::CAVITY];
        match &self.growth {
            Growth::Clot { axes, rough } => {
                let size = length([from[0] / axes[0], from[1] / axes[1], from[2] / axes[2]]);
                let noise = rough * (0.8 * anatomy.wander(h) + 0.35 * anatomy.grain(h));
                size + noise * (size / 10.0).min(1.9)
            }
            Growth::Shell { flat, long, side } => {
                let along = dot(from, self.outward);
                let across = minus(from, [along * self.outward[0], along * self.outward[1], along * self.outward[2]]);
                let stretched = length([across[0], across[1] / long, across[2]]);
                let depth = (-cavity).max(0.0) / flat;
                // Depth below a cap of radius R and height flat * R: R² - R depth / flat - r² = 0.
                let radius = 0.5 * (depth + (depth * depth + 4.0 * stretched * stretched).sqrt());
                let wrong = if *side == 0.0 { 0.0 } else { (1.0 - side * h[0]).max(0.0) * 9.0 };
                // Not on the far side of the head, where the axis leaves it again.
                let far = 2.0 * (-60.0 - along).max(0.0);
                radius + 1.2 * anatomy.wander(h) + wrong + far
            }
            Growth::Falx { side } => {
                let off = side * parts[part::MIDLINE] - 0.4;
                let sheet = off.abs() * 5.0 + if off < 0.0 { 30.0 } else { 0.0 };
                let deep = (-cavity - 24.0).max(0.0) * 4.0;
                length([sheet, 0.55 * from[1], from[2]]) + deep + 1.5 * anatomy.wander(h)
            }
            Growth::Tentorium { side } => {
                let over = h[2] - tentorium(h);
                let sheet = (over - 0.4).abs() * 5.0 + if over < 0.2 { 30.0 } else { 0.0 };
                let wrong = (4.0 - side * h[0]).max(0.0) * 9.0;
                length([from[0], from[1], sheet]) + wrong + 1.5 * anatomy.wander(h)
            }
            Growth::Level { side } => {
                70.0 - h[1] + 0.12 * h[2] + (2.0 - side * h[0]).max(0.0) * 20.0 + 0.8 * anatomy.wander(h)
            }
            Growth::Cast => length(from) + 2.0 * anatomy.wander(h),
            Growth::Sheets { axes } => {
                length([from[0] / axes[0], from[1] / axes[1], from[2] / axes[2]]) + 3.0 * anatomy.wander(h)
            }
        }
    }

    /// How much of a point belongs to the compartment that holds the lesion.
    fn share(&self, parts: &Parts) -> f32 {
        let inside = |distance: f32| (0.5 - distance).clamp(0.0, 1.0);
        match self.kind {
            Subtype::Epidural | Subtype::Subdural => inside(parts[part::CAVITY] + 1.0),
            Subtype::Intraparenchymal => inside(parts[part::BRAIN]),
            Subtype::Intraventricular => inside(parts[part::VENTRICLE]),
            Subtype::Subarachnoid => inside(fluid(parts, 0.8)).min(inside(parts[part::CAVITY])),
        }
    }

    /// A box that holds the lesion: center and half sides.
    fn extent(&self, target_mm3: f32) -> (Point, Point) {
        let ball = libm::cbrtf(target_mm3 * 0.75 / core::f32::consts::PI);
        match &self.growth {
            Growth::Clot { axes, .. } => (self.center, axes.map(|axis| 1.7 * axis * ball + 2.0)),
            Growth::Shell { flat, long, .. } => {
                let radius = libm::cbrtf(2.0 * target_mm3 / (core::f32::consts::PI * flat * long));
                let reach = (1.35 * radius + 4.0).min(85.0);
                (self.center, [reach, (reach * long).min(95.0), reach])
            }
            Growth::Falx { .. } | Growth::Tentorium { .. } => {
                let reach = (libm::sqrtf(target_mm3 / 4.0) * 1.1 + 8.0).min(80.0);
                (self.center, [if matches!(self.growth, Growth::Falx { .. }) { 12.0 } else { reach }, reach, reach])
            }
            Growth::Level { .. } | Growth::Cast => ([0.0, 10.0, 4.0], [42.0, 60.0, 40.0]),
            Growth::Sheets { axes } => (self.center, axes.map(|axis| (2.1 * axis * ball + 9.0).min(70.0))),
        }
    }
}

/// Signed distance to the fluid around and in the folds of the brain, `wide` mm beyond its walls.
#[inline]
pub(super) fn fluid(parts: &Parts, wide: f32) -> f32 {
    let over = |x: f32| x.max(0.0);
    let below = over(parts[part::BELOW_SULCI]);
    // Sulci narrow downward.
    let narrow = 0.045 * over(-parts[part::BRAIN]);
    let sulcus = (below * below + parts[part::SULCUS] * parts[part::SULCUS]).sqrt() + narrow;
    let joined = over(parts[part::JOINED]);
    let fissure = (joined * joined + parts[part::MIDLINE] * parts[part::MIDLINE]).sqrt();
    // The brain's own surface counts as well: fluid lies on it.
    (sulcus.min(fissure) - wide).min(parts[part::CISTERN] - 0.5 * wide).min(-parts[part::BRAIN] - 0.3 * wide)
}

/// The kinds of bleed of a positive study: 1 to 5 of them as often as in BHSD, each as often as in scans.
fn kinds(stream: &mut Stream) -> Vec<Subtype> {
    let count = 1 + stream.choice(&[26.0, 32.0, 33.0, 8.0, 1.0]);
    let mut weights = STATISTICS.each_ref().map(|kind| kind.scans);
    let mut found = Vec::new();
    while found.len() < count {
        let index = stream.choice(&weights);
        if weights[index] > 0.0 {
            weights[index] = 0.0;
            found.push(Subtype::ALL[index]);
        }
    }
    found
}

/// The quantile of a table at `probability`, interpolated in the logarithm.
fn quantile(table: &[f32; 6], probability: f32) -> f32 {
    let upper = QUANTILES.iter().position(|q| *q > probability).unwrap_or(5).max(1);
    let (low, high) = (QUANTILES[upper - 1], QUANTILES[upper]);
    let part = (probability - low) / (high - low);
    libm::expf(libm::logf(table[upper - 1]) * (1.0 - part) + libm::logf(table[upper]) * part)
}

/// A way to grow and a start for a lesion of this kind.
fn draw(kind: Subtype, anatomy: &Anatomy, stream: &mut Stream) -> (Growth, Point) {
    let side = stream.sign();
    let on_table = |direction: Point| {
        let along = unit(direction);
        let mut far = 40.0;
        while far < 110.0 && anatomy.cavity([along[0] * far, along[1] * far, along[2] * far + 4.0]) < 0.0 {
            far += 1.0;
        }
        [along[0] * far, along[1] * far, along[2] * far + 4.0]
    };
    match kind {
        Subtype::Epidural => {
            let center = on_table([side * stream.range(0.5, 1.0), stream.range(-0.9, 0.8), stream.range(-0.25, 0.75)]);
            (Growth::Shell { flat: stream.range(0.38, 0.62), long: 1.0, side: 0.0 }, center)
        }
        Subtype::Subdural => match stream.choice(&[0.76, 0.15, 0.09]) {
            0 => {
                let center =
                    on_table([side * stream.range(0.55, 1.0), stream.range(-0.6, 0.6), stream.range(-0.05, 0.7)]);
                (Growth::Shell { flat: stream.range(0.09, 0.2), long: stream.range(1.1, 1.6), side }, center)
            }
            1 => (Growth::Falx { side }, [0.0, stream.range(-60.0, 65.0), stream.range(30.0, 60.0)]),
            _ => {
                let (x, y) = (side * stream.range(20.0, 36.0), stream.range(30.0, 48.0));
                (Growth::Tentorium { side }, [x, y, tentorium([x, y, 0.0])])
            }
        },
        Subtype::Intraparenchymal => {
            let center = match stream.choice(&[0.38, 0.16, 0.36, 0.07, 0.03]) {
                0 => [side * stream.range(22.0, 31.0), stream.range(-14.0, 8.0), stream.range(-2.0, 12.0)],
                1 => [side * stream.range(8.0, 15.0), stream.range(4.0, 16.0), stream.range(2.0, 10.0)],
                2 => {
                    let surface =
                        on_table([side * stream.range(0.25, 1.0), stream.range(-1.0, 1.0), stream.range(-0.05, 0.8)]);
                    let inward = stream.range(0.55, 0.84);
                    surface.map(|mm| mm * inward)
                }
                3 => [side * stream.range(10.0, 30.0), stream.range(40.0, 58.0), stream.range(-44.0, -28.0)],
                _ => [side * stream.range(0.0, 5.0), stream.range(16.0, 24.0), stream.range(-36.0, -24.0)],
            };
            let (a, b) = (stream.range(0.75, 1.1), stream.range(0.95, 1.45));
            (Growth::Clot { axes: [a, b, 1.0 / (a * b)], rough: stream.range(1.2, 4.2) }, center)
        }
        Subtype::Intraventricular => match stream.choice(&[0.6, 0.4]) {
            0 => (Growth::Level { side }, [side * 23.0, 45.0, 9.0]),
            _ => {
                let places =
                    [[12.0, -30.0, 10.0], [8.0, 2.0, 21.0], [22.0, 34.0, 13.0], [0.0, 2.0, 0.0], [0.0, 38.0, -33.0]];
                let [x, y, z] = places[stream.choice(&[3.0, 3.0, 3.0, 1.5, 1.0])];
                (Growth::Cast, [side * x, y, z])
            }
        },
        Subtype::Subarachnoid => {
            let axes = [stream.range(0.8, 1.2), stream.range(0.9, 1.4), stream.range(0.8, 1.1)];
            let center = match stream.choice(&[0.58, 0.22, 0.2]) {
                0 => on_table([side * stream.range(0.25, 1.0), stream.range(-1.0, 1.0), stream.range(0.0, 0.9)])
                    .map(|mm| mm * 0.93),
                1 => [side * stream.range(36.0, 46.0), stream.range(-26.0, 6.0), stream.range(-8.0, 8.0)],
                _ => [side * stream.range(0.0, 14.0), stream.range(-14.0, 2.0), stream.range(-26.0, -18.0)],
            };
            (Growth::Sheets { axes }, center)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lesions_are_part_of_the_whole() {
        assert_eq!(divided(4.0, &[]), [4.0]);
        assert_eq!(divided(4.0, &[0.5, 1.0]), [2.5, 0.5, 1.0]);
        assert_eq!(divided(4.0, &[3.0, 5.0]), [2.0, 0.75, 1.25]);
    }

    #[test]
    fn quantiles_return_the_table() {
        for statistics in &STATISTICS {
            for (probability, ml) in QUANTILES.iter().zip(statistics.whole) {
                assert!((quantile(&statistics.whole, *probability) / ml - 1.0).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn kinds_are_as_many_as_tabulated() {
        let mut stream = Stream::new(9, 0, "test");
        let mut counts = [0_u32; 5];
        for _ in 0..2000 {
            let found = kinds(&mut stream);
            counts[found.len() - 1] += 1;
            let mut unique = found.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), found.len());
        }
        for (count, percent) in counts.iter().zip([26.0, 32.0, 33.0, 8.0, 1.0]) {
            assert!((f64::from(*count) / 20.0 - percent).abs() < 4.0, "{counts:?}");
        }
    }
}

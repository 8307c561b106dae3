//! The head as signed distances, mm, in a head frame: x to the left, y to the back, z upward, the origin between the
//! thalami of a head of average size.
//!
//! [`Anatomy::at`] gives, for one point, the distances to all parts and a few amounts that vary smoothly; `tissue` makes
//! HU of them. All are smooth on the scale of 2 mm, so that they can be computed on a coarse grid and interpolated.
//! Parts and their variation: `docs/method.md`, section on the phantom; sizes are textbook values for adults.
//! Confounders (calcifications, old infarcts, dense sinuses, atrophy, swellings) are drawn without regard to bleeds.

use super::confounder::{self, Swelling};
use super::field::{Field, mix};
use super::hardening::Hardening;
use super::part::{self, PARTS, Parts};
use super::shape::{Point, ellipsoid, join, length, meet, minus, ramp, segment};
use super::stream::Stream;

/// Half axes of the cranial cavity above the widest plane, mm.
const CAVITY_AXES: Point = [67.0, 84.0, 76.0];
/// Height of the widest plane, mm.
const WIDEST: f32 = 4.0;

/// What differs between heads.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    /// Size of the head relative to the average, for each axis.
    pub(super) scale: Point,
    /// 0 for a young brain, 1 for one that has shrunk much.
    pub(super) atrophy: f32,
    /// Half width of sulci, mm.
    pub(super) sulcus_mm: f32,
    /// HU of the tissues.
    pub(super) hu: TissueHu,
    asymmetry: f32,
    ventricle: [f32; 2],
    skull_mm: f32,
    scalp_mm: f32,
    gap_mm: f32,
    falx: bool,
    petrous_air: f32,
    hardening: Hardening,
    swelling: Option<Swelling>,
    faint_hu: f32,
    calcium: Vec<(Point, f32)>,
    infarcts: Vec<(Point, Point)>,
    warp: [Field; 3],
    coarse: Field,
    folds: Field,
    fine: Field,
}

/// HU that differ between heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct TissueHu {
    pub(super) gray: f32,
    pub(super) white: f32,
    pub(super) fluid: f32,
    pub(super) vessel: f32,
    pub(super) dura: f32,
    pub(super) calcium: f32,
    pub(super) infarct: f32,
    pub(super) table: f32,
    pub(super) diploe: f32,
}

impl Anatomy {
    /// The head of study `index` under `seed`.
    pub(super) fn new(seed: u64, index: u64) -> Self {
        let stream = |component: &str| Stream::new(seed, index, component);
        let mut size = stream("size");
        let all = size.about(1.0, 0.03);
        let scale = [all * size.about(1.0, 0.025), all * size.about(1.0, 0.025), all * size.about(1.0, 0.02)];
        let mut age = stream("age");
        let atrophy = age.range(0.0, 1.0) * age.range(0.3, 1.0);
        let enlarged = 0.62 + 0.55 * atrophy + age.about(0.0, 0.08);
        let mut tissue = stream("tissue");
        let white = tissue.about(28.5, 1.8);
        let hu = TissueHu {
            white,
            gray: white + tissue.about(8.0, 1.2),
            fluid: tissue.range(4.0, 11.0),
            vessel: if tissue.chance(0.1) { tissue.range(55.0, 68.0) } else { tissue.range(38.0, 52.0) },
            dura: stream("dura").range(44.0, 64.0),
            calcium: tissue.range(90.0, 350.0),
            infarct: tissue.range(9.0, 19.0),
            table: tissue.range(1000.0, 1350.0),
            diploe: tissue.range(450.0, 850.0),
        };
        let mut skull = stream("skull");
        let mut warp = stream("warp");
        Self {
            scale,
            atrophy,
            sulcus_mm: 0.35 + 1.1 * atrophy + age.range(0.0, 0.3),
            hu,
            asymmetry: size.about(0.0, 0.012),
            ventricle: [enlarged * age.about(1.0, 0.07), enlarged * age.about(1.0, 0.07)],
            skull_mm: skull.about(7.0, 1.2),
            scalp_mm: skull.about(5.5, 1.2),
            gap_mm: 0.3 + 3.2 * atrophy * skull.unit(),
            falx: skull.chance(0.9),
            petrous_air: skull.range(-0.5, 0.6),
            hardening: Hardening::draw(&mut skull, stream),
            swelling: Swelling::draw(&mut stream("swelling")),
            faint_hu: if atrophy > 0.3 { skull.range(0.0, 8.0) } else { 0.0 },
            calcium: confounder::calcifications(&mut stream("calcium")),
            infarcts: confounder::infarcts(&mut stream("infarct")),
            warp: [0, 1, 2].map(|_| Field::new(&mut warp, 32.0, 2.0)),
            coarse: Field::new(&mut stream("coarse"), 11.0, 1.6),
            folds: Field::new(&mut stream("folds"), 3.5, 1.15),
            fine: Field::new(&mut stream("fine"), 3.0, 1.0),
        }
    }

    /// Volume of a unit of the head frame in true mm³.
    pub(super) fn unit_mm3(&self) -> f32 {
        self.scale[0] * self.scale[1] * self.scale[2]
    }

    /// From true mm to the average head, warped. Lesions and all parts are placed there.
    pub(super) fn place(&self, p: Point) -> Point {
        let q = [p[0] / self.scale[0], p[1] / self.scale[1], p[2] / self.scale[2]];
        let mut h = [0.0; 3];
        for axis in 0..3 {
            h[axis] = q[axis] + 2.2 * self.warp[axis].at(q);
        }
        h[0] *= 1.0 + if h[0] > 0.0 { self.asymmetry } else { -self.asymmetry };
        h
    }

    /// A random amount that varies over 11 mm, of deviation 1.
    pub(super) fn wander(&self, h: Point) -> f32 {
        self.coarse.at(h)
    }

    /// A random amount that varies over 3 mm, of deviation 1.
    pub(super) fn grain(&self, h: Point) -> f32 {
        self.fine.at(h)
    }

    /// Signed distance to the skin, before the face and without detail: for deciding what to skip.
    pub(super) fn outside(&self, h: Point) -> f32 {
        let up = h[2] - WIDEST;
        let axes = [CAVITY_AXES[0] + 14.0, CAVITY_AXES[1] + 16.0, if up > 0.0 { CAVITY_AXES[2] + 14.0 } else { 190.0 }];
        ellipsoid([h[0], h[1], up], axes).min(ellipsoid(minus(h, [0.0, -54.0, -60.0]), [64.0, 60.0, 66.0]))
    }

    /// Signed distance to the inner table.
    pub(super) fn cavity(&self, h: Point) -> f32 {
        self.vault(h, self.base(h))
    }

    /// Signed distance to the cavity as if it had no floor.
    fn dome([x, y, z]: Point) -> f32 {
        let narrow = 1.0 + 0.10 * (y / 70.0).clamp(-1.2, 0.6);
        let up = z - WIDEST;
        let below = if up > 0.0 { CAVITY_AXES[2] } else { 70.0 };
        ellipsoid([x / narrow, y, up], [CAVITY_AXES[0], CAVITY_AXES[1], below])
    }

    fn vault(&self, h: Point, base: f32) -> f32 {
        let [x, y, z] = h;
        let dome = Self::dome(h);
        let (front, rear) = (ramp(-30.0, -44.0, y), ramp(8.0, 26.0, y));
        let middle = 1.0 - ramp(9.0, 19.0, x.abs());
        let floor = -39.0 + 22.0 * front - 21.0 * rear + 9.0 * middle * (1.0 - front) * (1.0 - rear);
        let shell = meet(dome, (floor - z) * 0.85, 5.0);
        shell.max(-base)
    }

    /// Signed distance to the bones that rise into the cavity at the skull base.
    fn base(&self, h: Point) -> f32 {
        let [x, y, z] = h;
        if z > 0.0 {
            return 30.0;
        }
        let p = [x.abs(), y, z];
        let petrous = segment(p, [16.0, 10.0, -38.0], [58.0, 30.0, -34.0], [5.0, 9.0]);
        let wing = segment(p, [12.0, -30.0, -21.0], [56.0, -41.0, -8.0], [1.6, 2.8]);
        let wing = wing.max(Self::dome(h) - 2.0);
        let clivus = segment(p, [0.0, -4.0, -37.0], [0.0, 10.0, -60.0], [6.0, 4.5]);
        let saddle = segment(p, [0.0, -2.0, -31.0], [7.0, -2.0, -30.0], [1.8, 1.5]);
        let roof = segment(p, [2.0, -75.0, -14.0], [2.0, -48.0, -18.0], [1.6, 1.6]);
        petrous.min(wing).min(clivus).min(saddle).min(roof)
    }

    /// Signed distance to the ventricles of the brain: `[lateral, third and fourth]`.
    pub(super) fn ventricles(&self, [x, y, z]: Point) -> [f32; 2] {
        let size = self.ventricle[usize::from(x > 0.0)];
        let p = [x.abs() + 1.2 * (size - 1.0), y, z];
        let wide = |mm: f32| mm * size;
        let front = segment(p, [11.5, -34.0, 9.0], [6.0, -10.0, 17.0], [wide(4.6), wide(4.6)]);
        let body = segment(p, [6.0, -10.0, 18.0], [10.5, 14.0, 22.0], [wide(4.6), wide(5.0)]);
        let back = segment(p, [10.5, 14.0, 22.0], [22.0, 34.0, 13.0], [wide(5.0), wide(7.0)]);
        let horn = segment(p, [22.0, 34.0, 13.0], [23.0, 56.0, 8.0], [wide(6.5), wide(2.6)]);
        let descent = segment(p, [23.0, 32.0, 10.0], [31.0, 12.0, -11.0], [wide(5.5), wide(2.4)]);
        let temporal = segment(p, [31.0, 12.0, -11.0], [27.0, -10.0, -17.0], [wide(2.2), wide(1.6)]);
        let bow = join(join(front, body, 3.0), join(back, horn, 3.0), 3.0);
        let lateral = bow.min(descent).min(temporal).max(0.7 - x.abs());
        let third = ellipsoid([x, y, z + 1.0], [1.1 + 2.6 * (size - 0.6).max(0.0), 14.0, 11.0]);
        let fourth = ellipsoid([x, y - 38.0, z + 33.0], [5.5 * size + 2.0, 4.5 * size + 0.5, 9.0]);
        let aqueduct = segment([x, y, z], [0.0, 14.0, -4.0], [0.0, 32.0, -26.0], [0.9, 0.9]);
        [lateral, third.min(fourth).min(aqueduct)]
    }

    /// All that is known of a point of the placed head; `g` is where it came from before a bleed pushed it.
    pub(super) fn at(&self, h: Point, g: Point) -> Parts {
        let mut parts = [0.0; PARTS];
        parts[part::BLEED..part::BLEED + 5].fill(99.0);
        let [x, y, z] = h;
        let wander = self.coarse.at(h);
        let grain = self.fine.at(h);
        let side = x.abs();
        let base = self.base(h);
        let cavity = self.vault(h, base);

        // Skull and scalp.
        let temple = ramp(44.0, 58.0, side) * ramp(20.0, 2.0, z);
        let nape = ramp(40.0, 66.0, y) * ramp(2.0, -26.0, z);
        let bump = ramp(68.0, 84.0, y) * ramp(22.0, 8.0, side) * ramp(24.0, 8.0, (z + 16.0).abs());
        let front = ramp(-66.0, -84.0, y) * ramp(24.0, 10.0, side) * ramp(26.0, 6.0, (z + 4.0).abs());
        let mut skull = self.skull_mm * (1.0 + 0.16 * wander) * (1.0 - 0.52 * temple) + 4.0 * bump + 5.0 * front;
        // The floor of the front and middle fossae is thin, and uneven.
        let floor =
            ramp(-6.0, -14.0, z) * ramp(8.0, -6.0, y - 0.3 * side) * ramp(62.0, 52.0, side) * ramp(-84.0, -76.0, y);
        skull = mix(skull.max(1.8), 2.2 + 1.2 * grain.max(-1.0), floor) * (1.0 - 0.25 * ramp(-18.0, -30.0, z));
        let muscle = 7.0 * temple * ramp(60.0, 30.0, y) * ramp(-62.0, -48.0, y) + 14.0 * nape;
        let muscle = muscle + self.swelling.as_ref().map_or(0.0, |swelling| swelling.at(h));
        let scalp = self.scalp_mm + 0.6 * wander + 1.3 * ramp(20.0, 70.0, y) + muscle;
        parts[part::SKULL] = skull;
        parts[part::MUSCLE] = muscle;
        parts[part::CAVITY] = cavity;
        parts[part::BASE] = base;
        parts[part::ROUGH] = grain + 0.7 * wander;
        parts[part::HEAD] = self.skin(h, skull + scalp);
        self.face(h, &mut parts, grain);

        // Brain.
        let hind_top = tentorium(h);
        let below = hind_top - z;
        let behind = y - 1.0 - 0.5 * side;
        let hind = below.min(behind);
        let gap = self.gap_mm * (1.0 + 0.5 * wander).max(0.2) * (1.0 + 0.6 * ramp(-20.0, -70.0, y));
        let brain = cavity + gap;
        let depth = -brain;
        parts[part::BRAIN] = brain;
        let is_hind = ramp(-1.0, 1.0, hind);
        parts[part::HIND] = is_hind;
        let rho = length([g[0] / CAVITY_AXES[0], g[1] / CAVITY_AXES[1], (g[2] - WIDEST) / CAVITY_AXES[2]]).max(0.25);
        let outward = 0.25 + 0.75 * 0.93 / rho;
        let crest = [g[0] * outward, g[1] * outward, (g[2] - WIDEST) * outward + WIDEST];
        let folds = 3.9 * self.folds.at(crest);
        let mut bottom = depth - (18.0 + 6.0 * self.coarse.at([h[1], h[2], h[0]]));
        if is_hind > 0.5 {
            bottom = depth - 7.0;
        }
        parts[part::SULCUS] = if is_hind > 0.5 { 2.6 * grain } else { folds };
        parts[part::BELOW_SULCI] = bottom;
        parts[part::MIDLINE] = g[0] + 0.5 * wander;
        let callosum = ellipsoid([0.0, g[1] + 1.0, g[2] - 4.0], [1.0e3, 37.0, 29.0]);
        parts[part::JOINED] = if is_hind > 0.5 { 9.0 } else { -callosum };

        let [lateral, rest] = self.ventricles(g);
        parts[part::VENTRICLE] = lateral.min(rest) + 0.35 * wander;
        let bent = [
            g[0] + 1.6 * wander,
            g[1] + 2.5 * self.coarse.at([h[2], h[0], h[1]]),
            g[2] + 2.4 * self.coarse.at([h[1], h[2], h[0]]),
        ];
        parts[part::CISTERN] = cisterns(g, bent, 0.35 + self.atrophy, below) + 0.4 * wander + 0.2 * grain;
        let nuclei = nuclei(g).min(lateral.min(rest) - 0.6 + 3.0 * ramp(18.0, 8.0, rest));
        parts[part::DEEP] = nuclei + 0.6 * wander;
        parts[part::TEXTURE] =
            0.8 * wander + 0.7 * grain - self.faint_hu * ramp(12.0, 0.0, lateral + 2.0 * wander) * ramp(-4.0, 6.0, z);
        parts[part::INFARCT] = self
            .infarcts
            .iter()
            .fold(60.0, |d, (center, axes)| d.min(ellipsoid(minus(g, *center), *axes) + 2.0 * wander + 0.8 * grain));
        parts[part::EDEMA] = 60.0;

        // Dura, vessels, calcifications.
        let falx_depth =
            if y > 0.0 { 40.0 - 0.10 * (z - 20.0).abs() } else { 17.0 + 0.6 * (z - 12.0).clamp(0.0, 40.0) };
        let falx = if self.falx { ((x + 0.5 * wander).abs() - 0.55).max(depth - falx_depth).max(below) } else { 9.0 };
        let sheet = below.abs() * 0.5 - 0.5;
        let tent = sheet.max(-(length([x * 1.1, (y - 18.0) * 0.9, 0.0]) - 21.0)).max(-behind);
        parts[part::DURA] = falx.min(tent);
        let triangle = (side * 1.2 + depth * 0.75 - 4.2).max(-z - 14.0).max(-y - 62.0 + 0.6 * z.min(20.0));
        let transverse = (below.abs() - 3.0 + 0.35 * depth).max(depth - 6.5).max(24.0 - y);
        let arteries = arteries(g);
        parts[part::VESSEL] = triangle.min(transverse).min(arteries);
        parts[part::CALCIUM] = self.calcium.iter().fold(40.0, |d: f32, (center, radius)| {
            let from = minus([g[0], g[1], g[2]], *center);
            d.min(length(from) - radius * (1.0 + 0.35 * grain))
        });

        let uneven = 2.0 * self.coarse.at([0.4 * x, y * 1.6, z]);
        parts[part::SHADE] = self.hardening.shade(h, cavity, thickness_in_plane(z), uneven);
        parts
    }

    fn skin(&self, h: Point, cover: f32) -> f32 {
        let [x, y, z] = h;
        let up = z - WIDEST;
        let narrow = 1.0 + 0.10 * (y / 70.0).clamp(-1.2, 0.6);
        let axes = [CAVITY_AXES[0], CAVITY_AXES[1], if up > 0.0 { CAVITY_AXES[2] } else { 150.0 }];
        let dome = ellipsoid([x / narrow, y, up], axes) - cover;
        let face = ellipsoid(minus(h, [0.0, -52.0, -60.0]), [59.0, 49.0, 62.0]);
        let nose = segment(h, [0.0, -92.0, -28.0], [0.0, -110.0, -56.0], [5.0, 9.0]);
        let ear = ellipsoid(minus([x.abs(), y, z], [79.0, 18.0, -30.0]), [4.0, 14.0, 24.0]);
        join(join(dome, face, 12.0), nose.min(ear), 6.0)
    }

    fn face(&self, h: Point, parts: &mut Parts, grain: f32) {
        let [x, y, z] = h;
        let p = [x.abs(), y, z];
        let at = |center: Point, axes: Point| ellipsoid(minus(p, center), axes);
        let wander = parts[part::ROUGH];
        let globe = length(minus(p, [31.0, -72.0, -30.0])) - 11.8;
        let cone = segment(p, [30.0, -76.0, -30.0], [15.0, -40.0, -27.0], [16.5, 4.0]);
        parts[part::ORBIT] = cone;
        let nerve = segment(p, [31.0, -62.0, -30.0], [14.0, -38.0, -26.0], [1.8, 2.0]);
        let lateral = segment(p, [42.0, -66.0, -30.0], [18.0, -40.0, -27.0], [1.6, 2.0]);
        let medial = segment(p, [20.0, -66.0, -30.0], [14.0, -41.0, -27.0], [1.6, 2.0]);
        parts[part::EYE] = globe.min(nerve).min(lateral).min(medial);
        let sphenoid = at([5.0, -22.0, -41.0], [9.0, 12.0, 8.0]) + 0.8 * wander;
        let ethmoid = (at([5.0, -58.0, -36.0], [8.5, 20.0, 15.0])).max(1.0 - 1.5 * grain.abs() + 0.4);
        let frontal = at([11.0, -87.5, -8.0], [13.0, 4.0, 13.0]) + 1.4 * wander;
        let maxillary = at([29.0, -58.0, -63.0], [14.0, 16.0, 16.0]);
        let nasal = at([4.0, -68.0, -60.0], [5.0, 30.0, 12.0]).max(0.6 - 1.2 * grain);
        let throat = at([0.0, -22.0, -72.0], [10.0, 9.0, 18.0]);
        let mastoid = at([55.0, 30.0, -40.0], [12.0, 15.0, 15.0]).max(1.8 * (self.petrous_air - grain));
        parts[part::AIR] = sphenoid.min(ethmoid).min(frontal).min(maxillary).min(nasal).min(throat).min(mastoid);
    }
}

/// How much thicker than it is a plane at a height shows the vault: one over the sine of the angle between them, at most 2.
fn thickness_in_plane(z: f32) -> f32 {
    let up = (z - WIDEST).max(0.0) / CAVITY_AXES[2];
    (1.0 - up * up).max(0.25).sqrt().recip()
}

/// Height of the tentorium over a point of the base plane.
pub(super) fn tentorium([x, y, _]: Point) -> f32 {
    8.0 - 0.42 * x.abs() - 0.26 * (y - 22.0) - 16.0 * ramp(20.0, -4.0, y)
}

fn nuclei(g: Point) -> f32 {
    let p = [g[0].abs(), g[1], g[2]];
    let at = |center: Point, axes: Point| ellipsoid(minus(p, center), axes);
    // Rows turned outward toward the back, as the lentiform nucleus and the thalamus lie.
    let turned = |center: Point, axes: Point, angle: [f32; 2]| {
        let [dx, dy, dz] = minus(p, center);
        ellipsoid([dx * angle[0] - dy * angle[1], dx * angle[1] + dy * angle[0], dz], axes)
    };
    let caudate = at([13.5, -22.0, 12.0], [4.0, 10.0, 9.0]);
    let lentiform = turned([25.5, -5.0, 3.0], [5.5, 14.0, 10.0], [0.95, 0.3]);
    let thalamus = turned([10.5, 10.0, 6.0], [7.0, 13.0, 9.0], [0.9, 0.42]);
    caudate.min(lentiform).min(thalamus)
}

fn cisterns(g: Point, bent: Point, wide: f32, below: f32) -> f32 {
    let [x, y, z] = g;
    let [bx, by, bz] = [bent[0].abs(), bent[1], bent[2]];
    let p = [x.abs(), y, z];
    let at = |center: Point, axes: Point| ellipsoid(minus(p, center), axes);
    let star = at([0.0, -11.0, -24.0], [11.0, 8.5, 8.0]);
    let arm = segment(p, [4.0, -12.0, -23.0], [26.0, -16.0, -18.0], [3.0, 1.4]);
    // Around the midbrain and behind it.
    let stem = length([x * 0.95, (y - 15.0) * 1.15, 0.0]) - 16.5;
    let ring = (stem.abs() - 0.8 * wide).max((z + 13.0).abs() - 10.0).max(-1.0 - y + 8.0);
    let quadrigeminal = at([0.0, 34.0, -3.0], [8.0 + 2.0 * wide, 4.5, 6.0]);
    let pons = at([0.0, 5.5, -33.0], [14.0, 3.0 + wide, 12.0]);
    let angle = segment(p, [17.0, 16.0, -37.0], [26.0, 22.0, -36.0], [3.0, 2.0]);
    let magna = at([0.0, 64.0, -52.0], [11.0, 9.0 + 3.0 * wide, 9.0]);
    // The lateral fissure: a sheet over the insula, and a cleft from there to the surface.
    let arch = 37.0 - 0.012 * (by + 4.0) * (by + 4.0);
    let insula = ((bx - arch).abs() - 0.3 - 0.7 * wide).max(ellipsoid([0.0, by + 5.0, bz - 3.0], [1.0e3, 21.0, 14.0]));
    let slope = bz - 2.0 - 0.75 * (by + 6.0);
    let cleft = (slope.abs() * 0.8 - 0.2 - 0.7 * wide).max(36.0 - bx).max((by + 2.0).abs() - 21.0);
    let front = segment(p, [36.0, -25.0, -6.0], [52.0, -27.0, -4.0], [2.0 + wide, 2.4 + wide]);
    let vermis = at([0.0, 36.0, 4.0], [3.0 + wide, 6.0, 5.0]);
    let side = star
        .min(arm)
        .min(ring)
        .min(quadrigeminal)
        .min(pons)
        .min(angle)
        .min(magna)
        .min(insula)
        .min(cleft)
        .min(front)
        .min(vermis);
    let over = (below.abs() * 0.45 - 0.35 - 0.3 * wide).max(4.0 - y);
    side.min(over)
}

fn arteries(g: Point) -> f32 {
    let p = [g[0].abs(), g[1], g[2]];
    let basilar = segment(p, [0.0, 5.0, -44.0], [0.0, 0.5, -24.0], [1.7, 1.6]);
    let carotid = segment(p, [9.0, -9.0, -32.0], [10.0, -12.0, -22.0], [2.1, 1.9]);
    let middle = segment(p, [10.0, -12.0, -22.0], [30.0, -15.0, -18.0], [1.4, 1.1]);
    let vein = segment(p, [0.0, 33.0, 2.0], [0.0, 44.0, 6.0], [1.8, 2.0]);
    basilar.min(carotid).min(middle).min(vein)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_shows_the_vault_as_thick_as_it_cuts_it_obliquely() {
        for z in [WIDEST, 24.0, 44.0, 58.0, 66.0] {
            let round = (1.0 - ((z - WIDEST) / CAVITY_AXES[2]).powi(2)).sqrt();
            for axis in [0, 1] {
                let at = |past: f32| {
                    let mut point = [0.0, 0.0, z];
                    point[axis] = CAVITY_AXES[axis] * round + past;
                    Anatomy::dome(point)
                };
                // How far the plane goes through a thin layer, by how thick it is.
                let thickness = 0.2 / (at(0.1) - at(-0.1));
                let told = thickness_in_plane(z);
                assert!((told / thickness - 1.0).abs() < 0.12, "{z} mm, axis {axis}: {told}, cut {thickness}");
            }
        }
        assert_eq!(thickness_in_plane(-40.0), 1.0);
        assert_eq!(thickness_in_plane(90.0), 2.0);
    }
}

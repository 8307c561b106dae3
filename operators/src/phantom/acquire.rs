//! The scanner: from a head to slices of stored values, in the order of physics.
//!
//! 1. Planes, possibly tilted against the table; sub-slices through the thickness, averaged (partial volume); within the
//!    plane each part covers its share of a pixel.
//! 2. Point spread in the plane: a Gaussian of 0.9 to 1.7 mm full width at half maximum; the scanner's error of calibration.
//! 3. Hardening of the beam comes with the anatomy, as HU to add.
//! 4. Noise: Gaussian, smoothed by 0.7 pixels of a 512 matrix, of 4 HU at 5 mm, growing as one over the root of the
//!    thickness and toward the middle of the head.
//! 5. Rounding to integer HU, and the stored form.
//!
//! Distances to the parts are computed on a grid of 2 mm in each sub-slice and interpolated: they are smooth, while the
//! edges that they make are as sharp as pixels allow.

use rayon::prelude::*;

use super::anatomy::Anatomy;
use super::bleed::Bleeds;
use super::field::{kernel, mix};
use super::part::{self, PARTS, Parts};
use super::shape::{Point, dot, length};
use super::stream::Stream;
use super::tissue::{AIR_HU, shown};

/// Distance between the nodes where the anatomy is computed, mm.
const GRID_MM: f32 = 2.0;

/// How pixels are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Signed, HU as they are.
    Signed,
    /// Signed, HU as they are, -2000 outside the reconstructed circle.
    SignedPadded,
    /// Unsigned, HU + 1024.
    Unsigned,
    /// Signed, HU + 1024.
    SignedOffset,
}

/// How a head is scanned.
#[derive(Clone, Debug)]
pub(super) struct Protocol {
    pub(super) matrix: usize,
    pub(super) pixel_mm: f32,
    /// Rotation of the head: rows are the head's axes in patient coordinates.
    axes: [Point; 3],
    /// The origin of the head frame in patient coordinates, mm.
    center: Point,
    /// Tilt of the gantry, degrees.
    pub(super) tilt_degrees: f32,
    /// Cosine and sine of the tilt.
    pub(super) tilt: [f32; 2],
    /// Height of each slice where the plane passes the middle, and its thickness, mm, upward.
    pub(super) planes: Vec<[f32; 2]>,
    pub(super) noise_hu: f32,
    /// Full width at half maximum of the point spread in the plane, mm.
    spread_mm: f32,
    /// How much the scanner reads too high, as a part of HU + 1000.
    gain: f32,
    pub(super) form: Form,
    pub(super) downward: bool,
    holder: bool,
}

/// One slice as scanned.
#[derive(Clone, Debug)]
pub(super) struct Scanned {
    /// HU, `[rows, columns]`.
    pub(super) hu: Vec<i16>,
    /// 0, or the value of the kind of bleed that fills most, where bleeds fill at least half of a voxel.
    pub(super) truth: Vec<u8>,
    /// Sum of shares of bleed over the pixels, by kind.
    pub(super) shares: [f64; 5],
}

impl Protocol {
    /// How the head of study `index` is scanned.
    pub(super) fn new(seed: u64, index: u64, matrix: usize, slices: Option<usize>) -> Self {
        let mut stream = Stream::new(seed, index, "protocol");
        let mut pose = Stream::new(seed, index, "pose");
        let angles = [pose.about(0.06, 0.10), pose.about(0.0, 0.05), pose.about(0.0, 0.10)];
        let center = [pose.about(0.0, 9.0), pose.about(0.0, 8.0), pose.about(0.0, 4.0)];
        let tilted = stream.chance(0.25);
        let tilt_degrees = if tilted { (stream.sign() * stream.range(6.0, 20.0) * 2.0).round() / 2.0 } else { 0.0 };
        let radians = tilt_degrees.to_radians();
        let field_mm = stream.range(205.0, 258.0);
        let mut scanner = Stream::new(seed, index, "scanner");
        let form = [Form::Signed, Form::SignedPadded, Form::Unsigned, Form::SignedOffset]
            [stream.choice(&[3.0, 2.0, 2.0, 3.0])];
        Self {
            matrix,
            // A whole number of micrometers: header and image say the same.
            pixel_mm: (field_mm * 1000.0 / matrix as f32).round() / 1000.0,
            axes: rotation(angles),
            center,
            tilt_degrees,
            tilt: [libm::cosf(radians), libm::sinf(radians)],
            planes: planes(&mut stream, slices),
            noise_hu: stream.about(4.0, 0.7),
            spread_mm: scanner.range(0.9, 1.7),
            gain: scanner.about(0.0, 0.0015),
            form,
            downward: stream.chance(0.3),
            holder: stream.chance(0.7),
        }
    }

    /// Patient coordinates, mm, of a point of plane `height`: `u` along the rows, `v` down the columns, from the middle.
    fn patient(&self, u: f32, v: f32, height: f32, off: f32) -> Point {
        let [cos, sin] = self.tilt;
        // The normal of the plane is (0, -sin, cos) for columns along (0, cos, sin).
        [u, v * cos - off * sin, height + v * sin + off * cos]
    }

    /// Center of the first pixel of plane `height`, patient coordinates, mm.
    pub(super) fn first_pixel(&self, height: f32) -> [f64; 3] {
        let half = f64::from(self.pixel_mm) * (self.matrix as f64 - 1.0) / 2.0;
        let [cos, sin] = self.tilt.map(f64::from);
        [-half, -half * cos, f64::from(height) - half * sin]
    }

    fn head(&self, p: Point) -> Point {
        let q = [p[0] - self.center[0], p[1] - self.center[1], p[2] - self.center[2]];
        self.axes.map(|axis| dot(axis, q))
    }

    /// Whether the slices cover a point of the head frame well.
    pub(super) fn covers(&self, anatomy: &Anatomy, h: Point) -> bool {
        let q = [h[0] * anatomy.scale[0], h[1] * anatomy.scale[1], h[2] * anatomy.scale[2]];
        let p: [f32; 3] =
            core::array::from_fn(|i| self.center[i] + (0..3).map(|axis| self.axes[axis][i] * q[axis]).sum::<f32>());
        let height = p[2] - p[1] * self.tilt[1] / self.tilt[0];
        self.planes.iter().any(|[at, thick]| (at - height).abs() < thick * 0.45)
    }

    /// Scans one plane.
    pub(super) fn scan(&self, anatomy: &Anatomy, bleeds: &Bleeds, plane: [f32; 2], noise: &mut Stream) -> Scanned {
        let [height, thick] = plane;
        let size = self.matrix * self.matrix;
        let layers = if thick >= 3.5 { 3_u8 } else { 2 };
        let mut sum = vec![0.0_f32; size];
        let mut shares = vec![[0.0_f32; 5]; if bleeds.lesions.is_empty() { 0 } else { size }];
        for layer in 0..layers {
            let off = ((f32::from(layer) + 0.5) / f32::from(layers) - 0.5) * thick;
            self.expose(anatomy, bleeds, height, off, 1.0 / f32::from(layers), &mut sum, &mut shares);
        }
        let spread = kernel(0.4247 * self.spread_mm / self.pixel_mm);
        let mut image = smoothed(&sum, self.matrix, &spread);
        image.iter_mut().for_each(|hu| *hu += self.gain * (*hu + 1000.0));
        self.add_noise(&mut image, thick, noise);
        let truth = truth(&shares, size);
        let mut totals = [0.0_f64; 5];
        for share in &shares {
            for (total, part) in totals.iter_mut().zip(share) {
                *total += f64::from(*part);
            }
        }
        let hu = image.into_iter().map(|hu| hu.clamp(-1024.0, 3071.0).round() as i16).collect();
        Scanned { hu, truth, shares: totals }
    }

    /// Adds what one sub-slice shows, times `weight`.
    #[allow(clippy::too_many_arguments, reason = "two of them are sums that this adds to")]
    fn expose(
        &self,
        anatomy: &Anatomy,
        bleeds: &Bleeds,
        height: f32,
        off: f32,
        weight: f32,
        sum: &mut [f32],
        shares: &mut [[f32; 5]],
    ) {
        let half = self.pixel_mm * (self.matrix as f32 - 1.0) / 2.0;
        let side = (2.0 * half / GRID_MM).ceil() as usize + 2;
        let start = -half - 0.5 * GRID_MM;
        let mut nodes: Vec<Parts> = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let p = self.patient(start + column as f32 * GRID_MM, start + row as f32 * GRID_MM, height, off);
                nodes.push(self.node(anatomy, bleeds, self.head(p)));
            }
        }
        let mut line: Vec<Parts> = vec![[0.0; PARTS]; side];
        for row in 0..self.matrix {
            let v = row as f32 * self.pixel_mm - half;
            let at = (v - start) / GRID_MM;
            let low = at as usize;
            let part = at - low as f32;
            let mut any = false;
            for (column, slot) in line.iter_mut().enumerate() {
                let (above, below) = (&nodes[low * side + column], &nodes[(low + 1) * side + column]);
                for ((slot, a), b) in slot.iter_mut().zip(above).zip(below) {
                    *slot = mix(*a, *b, part);
                }
                any |= slot[part::HEAD] < GRID_MM;
            }
            for column in 0..self.matrix {
                let index = row * self.matrix + column;
                let u = column as f32 * self.pixel_mm - half;
                let at = (u - start) / GRID_MM;
                let low = at as usize;
                let (left, right) = (&line[low], &line[low + 1]);
                if !any || (left[part::HEAD] > GRID_MM && right[part::HEAD] > GRID_MM) {
                    sum[index] += weight * self.surroundings(u, v);
                    continue;
                }
                let part = at - low as f32;
                let mut parts = [0.0; PARTS];
                for ((slot, a), b) in parts.iter_mut().zip(left).zip(right) {
                    *slot = mix(*a, *b, part);
                }
                let pixel = shown(&parts, &anatomy.hu, anatomy.sulcus_mm, self.pixel_mm);
                sum[index] += weight * pixel.hu;
                if let Some(share) = shares.get_mut(index) {
                    for (total, part) in share.iter_mut().zip(pixel.bleed) {
                        *total += weight * part;
                    }
                }
            }
        }
    }

    fn node(&self, anatomy: &Anatomy, bleeds: &Bleeds, p: Point) -> Parts {
        let quick = [p[0] / anatomy.scale[0], p[1] / anatomy.scale[1], p[2] / anatomy.scale[2]];
        let outside = anatomy.outside(quick);
        if outside > 14.0 {
            let mut parts = [0.0; PARTS];
            parts[part::HEAD] = outside;
            parts[part::CAVITY] = outside;
            return parts;
        }
        let h = anatomy.place(p);
        let mut parts = anatomy.at(h, bleeds.before(h));
        if parts[part::CAVITY] < 4.0 {
            bleeds.add(anatomy, h, &mut parts);
        }
        parts
    }

    /// Air, or the head holder behind the head.
    fn surroundings(&self, u: f32, v: f32) -> f32 {
        if !self.holder || v < 20.0 {
            return AIR_HU;
        }
        let far = length([u, v - 4.0, 0.0]) - 108.0;
        if far.abs() < 1.0 {
            120.0
        } else if (0.0..7.0).contains(&far) {
            -930.0
        } else {
            AIR_HU
        }
    }

    fn add_noise(&self, image: &mut [f32], thick: f32, stream: &mut Stream) {
        let table = normal_table();
        let mut white = Vec::with_capacity(image.len() + 4);
        while white.len() < image.len() {
            let bits = stream.bits();
            white.extend([0, 12, 24, 36].map(|shift| table[(bits >> shift) as usize & (TABLE - 1)]));
        }
        white.truncate(image.len());
        // A coarser matrix averages what a 512 matrix shows pixel by pixel.
        let coarse = 512.0 / self.matrix as f32;
        let smooth = kernel(0.7 / coarse.max(1.0));
        let energy: f32 = smooth.iter().map(|weight| weight * weight).sum();
        let sd = self.noise_hu * (5.0 / thick).sqrt() / if coarse > 1.5 { 1.27 } else { 1.0 };
        let noise = smoothed(&white, self.matrix, &smooth);
        let half = self.pixel_mm * (self.matrix as f32 - 1.0) / 2.0;
        let gain: Vec<f32> = (0..self.matrix)
            .map(|place| {
                let mm = place as f32 * self.pixel_mm - half;
                libm::expf(-mm * mm / 5000.0)
            })
            .collect();
        for (row, across) in gain.iter().enumerate() {
            for (column, along) in gain.iter().enumerate() {
                let index = row * self.matrix + column;
                image[index] += sd / energy * (1.0 + 0.2 * across * along) * noise[index];
            }
        }
    }

    /// Whether a pixel lies outside the circle that is reconstructed.
    pub(super) fn outside_circle(&self, index: usize) -> bool {
        let middle = (self.matrix as f32 - 1.0) / 2.0;
        let (row, column) = ((index / self.matrix) as f32 - middle, (index % self.matrix) as f32 - middle);
        row * row + column * column > (self.matrix as f32 / 2.0) * (self.matrix as f32 / 2.0)
    }
}

/// Scans all planes, upward.
pub(super) fn scan(protocol: &Protocol, anatomy: &Anatomy, bleeds: &Bleeds, seed: u64, index: u64) -> Vec<Scanned> {
    let planes: Vec<(usize, [f32; 2])> = protocol.planes.iter().copied().enumerate().collect();
    planes
        .into_par_iter()
        .map(|(place, plane)| {
            let mut noise = Stream::new(seed, index, &format!("noise {place}"));
            protocol.scan(anatomy, bleeds, plane, &mut noise)
        })
        .collect()
}

/// Heights and thicknesses, upward: 5 mm throughout, or one of the rarer ways.
fn planes(stream: &mut Stream, slices: Option<usize>) -> Vec<[f32; 2]> {
    let way = stream.choice(&[0.66, 0.12, 0.07, 0.05, 0.05, 0.05]);
    let [thick, step] = [[5.0, 5.0], [4.0, 4.0], [5.0, 7.0], [5.0, 4.0], [4.0, 4.0], [5.0, 5.0]][way];
    let bottom = (stream.range(-62.0, -46.0) * 4.0).round() / 4.0;
    let top = stream.range(82.0, 98.0);
    let full = ((top - bottom) / step).ceil().max(1.0) as usize;
    let count = slices.unwrap_or(full).max(1);
    let length = count as f32 * step;
    let first = if length < top - bottom { 12.0 - 0.5 * (length - step) } else { bottom };
    let drop = stream.range(0.3, 0.7);
    let mut height = first;
    let mut planes = Vec::with_capacity(count);
    for place in 0..count {
        // Two blocks: thin through the base, thick above.
        let upper = way == 4 && slices.is_none() && height > -5.0;
        let (thick, step) = if upper { (7.0, 7.0) } else { (thick, step) };
        if slices.is_none() && height > top {
            break;
        }
        planes.push([height, thick]);
        // One slice is missing.
        let lost = way == 5 && slices.is_none() && place == (drop * count as f32) as usize;
        height += if lost { 2.0 * step } else { step };
    }
    planes
}

/// The rotation by these angles about x, y and z, radians; rows are the rotated axes.
fn rotation([a, b, c]: [f32; 3]) -> [Point; 3] {
    let (sa, ca) = (libm::sinf(a), libm::cosf(a));
    let (sb, cb) = (libm::sinf(b), libm::cosf(b));
    let (sc, cc) = (libm::sinf(c), libm::cosf(c));
    [
        [cb * cc, -cb * sc, sb],
        [ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb],
        [sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb],
    ]
}

/// The kind that fills most of each voxel of which bleeds fill at least half.
fn truth(shares: &[[f32; 5]], size: usize) -> Vec<u8> {
    if shares.is_empty() {
        return vec![0; size];
    }
    let value = |share: &[f32; 5]| {
        if share.iter().sum::<f32>() < 0.5 {
            return 0;
        }
        let mut most = 0;
        for kind in 1..5 {
            if share[kind] > share[most] {
                most = kind;
            }
        }
        most as u8 + 1
    };
    shares.iter().map(value).collect()
}

/// `image`, square, convolved with `kernel` along rows and columns; the edge repeats.
fn smoothed(image: &[f32], side: usize, kernel: &[f32]) -> Vec<f32> {
    let reach = kernel.len() / 2;
    let mut rows = vec![0.0; image.len()];
    let mut padded = vec![0.0; side + 2 * reach];
    for (line, out) in image.chunks_exact(side).zip(rows.chunks_exact_mut(side)) {
        padded[..reach].fill(line[0]);
        padded[reach..reach + side].copy_from_slice(line);
        padded[reach + side..].fill(line[side - 1]);
        for (tap, weight) in kernel.iter().enumerate() {
            for (slot, value) in out.iter_mut().zip(&padded[tap..]) {
                *slot += weight * value;
            }
        }
    }
    let mut out = vec![0.0; image.len()];
    for (row, line) in out.chunks_exact_mut(side).enumerate() {
        for (tap, weight) in kernel.iter().enumerate() {
            let from = (row + tap).saturating_sub(reach).min(side - 1) * side;
            for (slot, value) in line.iter_mut().zip(&rows[from..from + side]) {
                *slot += weight * value;
            }
        }
    }
    out
}

const TABLE: usize = 4096;

/// Normal quantiles at the middles of [`TABLE`] equal parts: a random index gives a normal number.
fn normal_table() -> &'static [f32] {
    static NORMAL: std::sync::OnceLock<Vec<f32>> = std::sync::OnceLock::new();
    NORMAL.get_or_init(|| {
        (0..TABLE)
            .map(|index| {
                let probability = (index as f64 + 0.5) / TABLE as f64;
                let (mut low, mut high) = (-6.0_f64, 6.0_f64);
                for _ in 0..50 {
                    let middle = 0.5 * (low + high);
                    let below = 0.5 * libm::erfc(-middle / core::f64::consts::SQRT_2);
                    if below < probability {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                low as f32
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_keeps_lengths_and_handedness() {
        let [x, y, z] = rotation([0.3, -0.2, 0.7]);
        for (a, b, expected) in [(x, x, 1.0), (y, y, 1.0), (z, z, 1.0), (x, y, 0.0), (y, z, 0.0), (z, x, 0.0)] {
            assert!((dot(a, b) - expected).abs() < 1e-5);
        }
        let cross = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
        assert!((dot(cross, z) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn smoothing_keeps_what_is_constant() {
        let out = smoothed(&[7.0; 64], 8, &kernel(0.7));
        assert!(out.iter().all(|value| (value - 7.0).abs() < 1e-4));
    }

    #[test]
    fn a_voxel_is_marked_from_half_on() {
        let shares = [[0.0; 5], [0.0, 0.5, 0.0, 0.0, 0.0], [0.2, 0.0, 0.0, 0.0, 0.29], [0.2, 0.0, 0.0, 0.0, 0.3]];
        assert_eq!(truth(&shares, 4), [0, 2, 0, 5]);
    }
}

//! Drawn slices for tests: a head of ellipses with a known bleed, blurred and noisy as a scanner leaves it.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

/// A head, 180 mm long, in a square of 210 mm.
pub(crate) struct Head {
    /// Pixels on a side.
    pub(crate) side: usize,
    /// mm between pixels.
    pub(crate) pixel_mm: f64,
    /// HU.
    pub(crate) hu: Vec<i16>,
    /// 1 where at least half of a pixel is bleed.
    pub(crate) truth: Vec<u8>,
}

/// What is drawn on top of a healthy head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bleed {
    /// Nothing.
    None,
    /// A disk of this radius, mm, 30 mm beside the middle.
    Disk(f64),
    /// A crescent at the right inner table, this thick, mm, over a third of the circumference.
    Crescent(f64),
    /// The lower part of a ventricle.
    Ventricle,
    /// A band this thick, mm, along a sulcus that runs inward from the cortex.
    Sulcus(f64),
}

/// How the head is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawing {
    pub(crate) pixel_mm: f64,
    pub(crate) bleed: Bleed,
    pub(crate) bleed_hu: f64,
    /// HU that beam hardening adds at the inner table, falling off over 10 mm.
    pub(crate) hardening_hu: f64,
    /// Standard deviation, HU.
    pub(crate) noise_hu: f64,
    pub(crate) seed: u32,
}

impl Default for Drawing {
    fn default() -> Self {
        Self { pixel_mm: 0.45, bleed: Bleed::None, bleed_hu: 60.0, hardening_hu: 0.0, noise_hu: 4.0, seed: 1 }
    }
}

impl Drawing {
    pub(crate) fn head(&self) -> Head {
        let side = (210.0 / self.pixel_mm).round() as usize;
        let mut clean = vec![0.0; side * side];
        let mut truth = vec![0; side * side];
        for row in 0..side {
            for column in 0..side {
                let mut hu = 0.0;
                let mut bleed = 0;
                for sub in 0..16_usize {
                    let place = |index: usize, sub: usize| {
                        (index as f64 + (sub as f64 + 0.5) / 4.0 - side as f64 / 2.0) * self.pixel_mm
                    };
                    let (value, bleeds) = self.at(place(column, sub % 4), place(row, sub / 4));
                    hu += value / 16.0;
                    bleed += usize::from(bleeds);
                }
                clean[row * side + column] = hu;
                truth[row * side + column] = u8::from(bleed >= 8);
            }
        }
        let blurred = blur(&clean, side, 1.0 / 2.355 / self.pixel_mm);
        let noise = self.noise(side);
        let hu = blurred.iter().zip(noise).map(|(hu, noise)| (hu + noise).round() as i16).collect();
        Head { side, pixel_mm: self.pixel_mm, hu, truth }
    }

    /// HU at a place, mm right and down of the middle, and whether it is in the bleed.
    fn at(&self, x: f64, y: f64) -> (f64, bool) {
        let radius = (x / 70.0).hypot(y / 88.0);
        let depth = (1.0 - radius) * 78.0;
        if depth < -12.0 {
            return (-1000.0, false);
        }
        if depth < 0.0 {
            return (if depth < -7.0 { 40.0 } else { 900.0 }, false);
        }
        let ventricle = ((x.abs() - 12.0) / 7.0).hypot((y - 5.0) / 25.0) < 1.0;
        let angle = y.atan2(x).to_degrees();
        let sulcus = angle.rem_euclid(24.0) < 2.0 && depth < 14.0;
        let bleed = match self.bleed {
            Bleed::None => false,
            Bleed::Disk(radius) => (x - 30.0).hypot(y + 10.0) < radius,
            Bleed::Crescent(thick) => depth < thick * (1.0 - (angle / 60.0).powi(2)),
            Bleed::Ventricle => ventricle && x < 0.0 && y > 15.0,
            Bleed::Sulcus(thick) => (y - 20.0).abs() < thick / 2.0 && (2.0..22.0).contains(&depth) && x > 0.0,
        };
        let hardening = self.hardening_hu * (1.0 - depth / 10.0).max(0.0);
        let tissue = if bleed {
            self.bleed_hu
        } else if ventricle || depth < 1.0 || (sulcus && depth < 10.0) {
            10.0
        } else if depth < 5.0 || sulcus {
            35.0
        } else {
            28.0
        };
        (tissue + hardening, bleed)
    }

    /// Gaussian noise, correlated as by a soft kernel.
    fn noise(&self, side: usize) -> Vec<f64> {
        let mut state = self.seed.wrapping_mul(2_654_435_761).max(1);
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            f64::from(state) / f64::from(u32::MAX)
        };
        let white: Vec<f64> = (0..side * side).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect();
        let smooth = blur(&white, side, 0.7);
        let variance = smooth.iter().map(|value| value * value).sum::<f64>() / smooth.len() as f64;
        smooth.iter().map(|value| value * self.noise_hu / variance.sqrt()).collect()
    }
}

fn blur(values: &[f64], side: usize, sigma: f64) -> Vec<f64> {
    let reach = (sigma * 3.0).ceil() as i64;
    let weights: Vec<f64> = (-reach..=reach).map(|step| (-0.5 * (step as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let along = |values: &[f64], stride: i64, across: i64| -> Vec<f64> {
        let mut out = vec![0.0; values.len()];
        for line in 0..side as i64 {
            for position in 0..side as i64 {
                let sum: f64 = (-reach..=reach)
                    .zip(&weights)
                    .map(|(step, weight)| {
                        let near = (position + step).clamp(0, side as i64 - 1);
                        values[(line * across + near * stride) as usize] * weight
                    })
                    .sum();
                out[(line * across + position * stride) as usize] = sum / total;
            }
        }
        out
    };
    along(&along(values, 1, side as i64), side as i64, 1)
}

impl Head {
    /// A disk, mm right and down of the middle: a region to refine.
    pub(crate) fn disk(&self, x_mm: f64, y_mm: f64, radius_mm: f64) -> Vec<u8> {
        let place = |index: usize| (index as f64 + 0.5 - self.side as f64 / 2.0) * self.pixel_mm;
        (0..self.side * self.side)
            .map(|pixel| u8::from((place(pixel % self.side) - x_mm).hypot(place(pixel / self.side) - y_mm) < radius_mm))
            .collect()
    }

    pub(crate) fn area_mm2(&self, mask: &[u8]) -> f64 {
        mask.iter().map(|pixel| f64::from(*pixel)).sum::<f64>() * self.pixel_mm * self.pixel_mm
    }
}

/// Dice of two masks; 1 if both are empty.
pub(crate) fn dice(a: &[u8], b: &[u8]) -> f64 {
    let both = a.iter().zip(b).filter(|(a, b)| **a != 0 && **b != 0).count();
    let sum = a.iter().chain(b).filter(|pixel| **pixel != 0).count();
    if sum == 0 { 1.0 } else { 2.0 * both as f64 / sum as f64 }
}

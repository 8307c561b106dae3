//! Smooth random fields in the head frame: white noise on a lattice, blurred by a Gaussian, read by trilinear interpolation.

use super::stream::Stream;

/// Half of the side of the cube that a field covers, mm. Outside, a field repeats.
const REACH_MM: f32 = 120.0;

/// A field of mean 0 and standard deviation 1.
#[derive(Clone, Debug)]
pub(super) struct Field {
    side: usize,
    per_mm: f32,
    values: Vec<f32>,
}

impl Field {
    /// A field whose Gaussian kernel has standard deviation `sigma_mm`, on a lattice with this many points per `sigma_mm`.
    pub(super) fn new(stream: &mut Stream, sigma_mm: f32, points: f32) -> Self {
        let side = (2.0 * REACH_MM * points / sigma_mm).ceil().clamp(4.0, 128.0) as usize;
        let per_mm = side as f32 / (2.0 * REACH_MM);
        let mut values: Vec<f32> = (0..side * side * side).map(|_| stream.unit() - 0.5).collect();
        let kernel = kernel(sigma_mm * per_mm);
        for stride in [1, side, side * side] {
            values = blurred(&values, side, stride, &kernel);
        }
        // Sums in f64 and in order: the same on every platform.
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance = values.iter().map(|v| (f64::from(*v) - mean) * (f64::from(*v) - mean)).sum::<f64>() / count;
        let gain = 1.0 / variance.sqrt().max(1e-12);
        for value in &mut values {
            *value = ((f64::from(*value) - mean) * gain) as f32;
        }
        Self { side, per_mm, values }
    }

    /// The value at a point, mm.
    #[inline]
    pub(super) fn at(&self, p: [f32; 3]) -> f32 {
        let side = self.side as f32;
        let mut cell = [0_usize; 3];
        let mut next = [0_usize; 3];
        let mut part = [0.0_f32; 3];
        for axis in 0..3 {
            let mut x = (p[axis] + REACH_MM) * self.per_mm;
            if !(x >= 0.0 && x < side) {
                x -= side * (x / side).floor();
            }
            let low = (x as usize).min(self.side - 1);
            cell[axis] = low;
            next[axis] = if low + 1 == self.side { 0 } else { low + 1 };
            part[axis] = x - low as f32;
        }
        let read = |z: usize, y: usize, x: usize| self.values[(z * self.side + y) * self.side + x];
        let row = |z: usize, y: usize| mix(read(z, y, cell[0]), read(z, y, next[0]), part[0]);
        let layer = |z: usize| mix(row(z, cell[1]), row(z, next[1]), part[1]);
        mix(layer(cell[2]), layer(next[2]), part[2])
    }
}

/// `a` at 0, `b` at 1.
#[inline]
pub(super) fn mix(a: f32, b: f32, part: f32) -> f32 {
    a + (b - a) * part
}

/// A Gaussian of this standard deviation, in samples, cut at three deviations; its sum is one.
pub(super) fn kernel(sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil().max(1.0) as i32;
    let weights: Vec<f32> =
        (-reach..=reach).map(|x| libm::expf(-0.5 * (x as f32 / sigma) * (x as f32 / sigma))).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// `values` blurred along the axis of this stride, repeating at the ends.
fn blurred(values: &[f32], side: usize, stride: usize, kernel: &[f32]) -> Vec<f32> {
    let reach = kernel.len() / 2;
    let mut out = vec![0.0; values.len()];
    let mut line = vec![0.0; side + 2 * reach];
    let starts = (0..values.len()).filter(|index| (index / stride).is_multiple_of(side));
    for start in starts {
        for (place, slot) in line.iter_mut().enumerate() {
            *slot = values[start + ((place + side * reach - reach) % side) * stride];
        }
        for place in 0..side {
            out[start + place * stride] = line[place..].iter().zip(kernel).map(|(value, weight)| value * weight).sum();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_deviation_one_and_the_correlation_of_its_kernel() {
        let field = Field::new(&mut Stream::new(1, 0, "test"), 8.0, 2.0);
        let points = (0..8000_u32).map(|i| {
            [(i % 20) as f32 * 11.0 - 110.0, (i / 20 % 20) as f32 * 11.0 - 110.0, (i / 400) as f32 * 11.0 - 110.0]
        });
        let (mut same, mut near) = (0.0_f64, 0.0_f64);
        for p in points {
            let here = f64::from(field.at(p));
            same += here * here / 8000.0;
            near += here * f64::from(field.at([p[0] + 8.0, p[1], p[2]])) / 8000.0;
        }
        // Two Gaussians of sigma 8 mm, 8 mm apart, correlate by exp(-1/4); interpolation smooths a little.
        assert!((0.8..1.1).contains(&same), "variance {same}");
        assert!((near / same - 0.78).abs() < 0.06, "correlation {}", near / same);
    }

    #[test]
    fn a_kernel_sums_to_one() {
        for sigma in [0.4, 1.0, 3.3] {
            assert!((kernel(sigma).iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

//! Augmentation: a flip, a shift, a rotation and a gain, drawn once for a sample and applied to all its channels and its mask.

use kernels::units::Window;

use super::Random;

/// Shifts are up to this part of a side: 15 pixels of 512.
const SHIFT: f32 = 15.0 / 512.0;
/// Rotations are up to this, radians: 15 degrees.
const ROTATION: f32 = 0.261_799_4;
/// HU are scaled by `1 - GAIN..1 + GAIN`.
const GAIN: f32 = 0.1;

/// One draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Warp {
    size: usize,
    cos: f32,
    sin: f32,
    shift: [f32; 2],
    flip: bool,
    gain: f32,
}

impl Warp {
    /// Changes nothing.
    #[cfg(test)]
    pub(crate) fn identity(size: usize) -> Self {
        Self { size, cos: 1.0, sin: 0.0, shift: [0.0; 2], flip: false, gain: 1.0 }
    }

    /// Draws a change of square images of `size` pixels a side.
    pub(crate) fn draw(size: usize, random: &mut Random) -> Self {
        let angle = random.between(-ROTATION, ROTATION);
        let reach = SHIFT * side(size);
        Self {
            size,
            cos: libm::cosf(angle),
            sin: libm::sinf(angle),
            shift: [random.between(-reach, reach), random.between(-reach, reach)],
            flip: random.uniform() < 0.5,
            gain: random.between(1.0 - GAIN, 1.0 + GAIN),
        }
    }

    /// Where the pixel at `row`, `column` comes from.
    fn source(&self, row: usize, column: usize) -> [f32; 2] {
        let middle = (side(self.size) - 1.0) / 2.0;
        let column = if self.flip { self.size - 1 - column } else { column };
        let (y, x) = (side(row) - middle - self.shift[0], side(column) - middle - self.shift[1]);
        [self.cos * y - self.sin * x + middle, self.sin * y + self.cos * x + middle]
    }

    /// Appends the changed image to `into`: `image` is one channel of bytes that was made with `window`; bilinear, zero
    /// outside. Intensities 0 and 1 stand for everything beyond the window, so the gain leaves them.
    pub(crate) fn image(&self, image: &[u8], window: Window, into: &mut Vec<f32>) {
        let size = self.size;
        let offset = window.lower_hu() * (self.gain - 1.0) / window.width_hu();
        let table: Vec<f32> = (0..=u8::MAX)
            .map(|byte| {
                let intensity = f32::from(byte) / 255.0;
                let inside = byte > 0 && byte < u8::MAX;
                if inside { (self.gain * intensity + offset).clamp(0.0, 1.0) } else { intensity }
            })
            .collect();
        let at = |row: isize, column: isize| match (usize::try_from(row), usize::try_from(column)) {
            (Ok(row), Ok(column)) if row < size && column < size => table[usize::from(image[row * size + column])],
            _ => 0.0,
        };
        for row in 0..size {
            for column in 0..size {
                let [y, x] = self.source(row, column);
                let (top, left) = (whole(y), whole(x));
                let (down, right) = (y - y.floor(), x - x.floor());
                let upper = at(top, left) * (1.0 - right) + at(top, left + 1) * right;
                let lower = at(top + 1, left) * (1.0 - right) + at(top + 1, left + 1) * right;
                into.push(upper * (1.0 - down) + lower * down);
            }
        }
    }

    /// The changed mask: nearest, `outside` where the source lies outside.
    pub(crate) fn mask(&self, mask: &[u8], outside: u8) -> Vec<u8> {
        let size = self.size;
        let mut out = Vec::with_capacity(size * size);
        for row in 0..size {
            for column in 0..size {
                let [y, x] = self.source(row, column);
                out.push(match (usize::try_from(whole(y + 0.5)), usize::try_from(whole(x + 0.5))) {
                    (Ok(row), Ok(column)) if row < size && column < size => mask[row * size + column],
                    _ => outside,
                });
            }
        }
        out
    }
}

/// A number of pixels.
#[allow(clippy::as_conversions, reason = "sides are far below 2^24")]
pub(crate) fn side(size: usize) -> f32 {
    size as f32
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "`as` from float to integer saturates")]
fn whole(position: f32) -> isize {
    position.floor() as isize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_identity_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 49)) {
            let mut out = Vec::new();
            Warp::identity(7).image(&bytes, Window::BRAIN, &mut out);
            for (out, byte) in out.iter().zip(&bytes) {
                prop_assert!((out * 255.0 - f32::from(*byte)).abs() < 1e-3);
            }
            prop_assert_eq!(Warp::identity(7).mask(&bytes, 9), bytes);
        }

        #[test]
        fn image_and_mask_move_together(seed in any::<u64>()) {
            let mut square = vec![0_u8; 32 * 32];
            (10..22).for_each(|row| (8..20).for_each(|column| square[row * 32 + column] = 255));
            let warp = Warp::draw(32, &mut Random::new(seed, "test"));
            let mut image = Vec::new();
            warp.image(&square, Window::BRAIN, &mut image);
            let mask = warp.mask(&square, 0);
            let wrong = image.iter().zip(&mask).filter(|(image, mask)| (**image > 0.75 && **mask == 0) || (**image < 0.25 && **mask > 0));
            prop_assert_eq!(wrong.count(), 0);
            prop_assert!(mask.iter().filter(|&&mask| mask > 0).count().abs_diff(144) < 20);
        }
    }

    #[test]
    fn a_gain_scales_hu_and_leaves_what_the_window_clipped() {
        let warp = Warp { gain: 1.1, ..Warp::identity(2) };
        let mut out = Vec::new();
        warp.image(&[0, 51, 102, 255], Window::SUBDURAL, &mut out);
        // 51/255 of -20..180 HU is 20 HU, which becomes 22 HU: (22 + 20) / 200.
        for (out, expected) in out.iter().zip([0.0, 0.21, 0.43, 1.0]) {
            assert!((out - expected).abs() < 1e-5, "{out} for {expected}");
        }
    }
}

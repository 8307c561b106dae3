//! The three value spaces of a CT pixel, in their order: stored value, HU, intensity.
//!
//! A stored value becomes Hounsfield units by a [`Rescale`] (DICOM PS3.3 C.11.1), Hounsfield units become an intensity
//! in `[0, 1]` by a [`Window`] (PS3.3 C.11.2.1.3.2, function `LINEAR_EXACT`).

use serde::{Deserialize, Serialize};

/// Stored values of one slice, row major, as the scanner wrote them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored<'a> {
    /// Pixel representation 1.
    Signed(&'a [i16]),
    /// Pixel representation 0.
    Unsigned(&'a [u16]),
}

impl Stored<'_> {
    /// The number of pixels.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Signed(values) => values.len(),
            Self::Unsigned(values) => values.len(),
        }
    }

    /// Whether there is no pixel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of pixel `index`, which lies below [`Stored::len`].
    #[must_use]
    pub fn at(&self, index: usize) -> f32 {
        match self {
            Self::Signed(values) => f32::from(values[index]),
            Self::Unsigned(values) => f32::from(values[index]),
        }
    }
}

/// Stored values to HU: `hu = stored * slope + intercept`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rescale {
    slope: f32,
    intercept_hu: f32,
}

impl Rescale {
    /// Values that are HU as they stand.
    pub const IDENTITY: Self = Self { slope: 1.0, intercept_hu: 0.0 };

    /// A rescale, or `None` if a number is not finite or the slope is zero.
    #[must_use]
    pub fn new(slope: f32, intercept_hu: f32) -> Option<Self> {
        (slope.is_finite() && slope != 0.0 && intercept_hu.is_finite()).then_some(Self { slope, intercept_hu })
    }

    /// HU per stored unit.
    #[must_use]
    pub fn slope(self) -> f32 {
        self.slope
    }

    /// HU of stored value zero.
    #[must_use]
    pub fn intercept_hu(self) -> f32 {
        self.intercept_hu
    }

    /// HU of a stored value.
    #[must_use]
    pub fn hu(self, stored: f32) -> f32 {
        stored * self.slope + self.intercept_hu
    }
}

/// The HU that become the intensities 0 and 1, and everything between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    center_hu: f32,
    width_hu: f32,
}

impl Window {
    /// Brain: 0..80 HU.
    pub const BRAIN: Self = Self { center_hu: 40.0, width_hu: 80.0 };
    /// Subdural: -20..180 HU.
    pub const SUBDURAL: Self = Self { center_hu: 80.0, width_hu: 200.0 };
    /// Bone: -800..2000 HU.
    pub const BONE: Self = Self { center_hu: 600.0, width_hu: 2800.0 };

    /// A window, or `None` if a number is not finite or the width is not positive.
    #[must_use]
    pub fn new(center_hu: f32, width_hu: f32) -> Option<Self> {
        (center_hu.is_finite() && width_hu.is_finite() && width_hu > 0.0).then_some(Self { center_hu, width_hu })
    }

    /// The HU that become intensity 0.
    #[must_use]
    pub fn lower_hu(self) -> f32 {
        self.center_hu - self.width_hu / 2.0
    }

    /// The HU between the intensities 0 and 1.
    #[must_use]
    pub fn width_hu(self) -> f32 {
        self.width_hu
    }

    /// The intensity of a HU value, in `[0, 1]`.
    #[must_use]
    pub fn intensity(self, hu: f32) -> f32 {
        ((hu - self.lower_hu()) / self.width_hu).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_windows_and_rescales_without_meaning() {
        assert!(Window::new(40.0, 0.0).is_none() && Window::new(40.0, -1.0).is_none());
        assert!(Window::new(f32::NAN, 80.0).is_none() && Window::new(40.0, f32::INFINITY).is_none());
        assert!(Rescale::new(0.0, 0.0).is_none() && Rescale::new(1.0, f32::NAN).is_none());
        assert!(Window::new(40.0, f32::MIN_POSITIVE).is_some());
    }

    #[test]
    fn a_window_maps_its_bounds_to_zero_and_one() {
        for window in [Window::BRAIN, Window::SUBDURAL, Window::BONE] {
            assert!(window.intensity(window.lower_hu()).abs() < 1e-6);
            assert!((window.intensity(window.lower_hu() + window.width_hu()) - 1.0).abs() < 1e-6);
        }
    }
}

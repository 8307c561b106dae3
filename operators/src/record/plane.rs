//! The decoded pixels of one slice: stored values and how they become HU.

use std::sync::Arc;

use kernels::units::{Rescale, Stored};

/// Decoded pixels, `[rows, columns]`, row major.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub columns: usize,
    /// Stored values, `rows * columns` of them.
    pub values: StoredValues,
    /// Stored values to HU.
    pub rescale: Rescale,
}

/// Stored values that their readers share.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredValues {
    /// Pixel representation 1.
    Signed(Arc<[i16]>),
    /// Pixel representation 0.
    Unsigned(Arc<[u16]>),
}

impl Plane {
    /// The stored values, as kernels take them.
    #[must_use]
    pub fn stored(&self) -> Stored<'_> {
        match &self.values {
            StoredValues::Signed(values) => Stored::Signed(values),
            StoredValues::Unsigned(values) => Stored::Unsigned(values),
        }
    }

    /// HU of every pixel, rounded to integers and clipped to what `i16` holds.
    #[must_use]
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "`as` from float to integer saturates")]
    pub fn hu(&self) -> Vec<i16> {
        let stored = self.stored();
        (0..stored.len()).map(|index| self.rescale.hu(stored.at(index)).round() as i16).collect()
    }
}

//! A binary image of a slice: what a method says is hemorrhage.

/// `[rows, columns]`, row major, 1 inside and 0 outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// The voxels.
    pub voxels: Vec<u8>,
}

impl Mask {
    /// Whether no voxel is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.voxels.contains(&1)
    }

    /// How many voxels are inside.
    #[must_use]
    pub fn count(&self) -> usize {
        self.voxels.iter().filter(|voxel| **voxel != 0).count()
    }
}

//! Where a slice lies: fixed-point lengths in patient coordinates (LPS), so that identities have an order and an equality.
//!
//! Source: DICOM PS3.3 C.7.6.2 (Image Plane). Slice order is the position along the slice normal, the cross product of
//! the row and column directions; never Slice Location, never a table position.

use serde::{Deserialize, Serialize};

/// The plane of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// Center of the first pixel, micrometers, `[x, y, z]`.
    pub position_um: [i64; 3],
    /// Direction cosines along a row (index of columns grows), then down a column, times 10^9.
    pub orientation_nano: [i64; 6],
    /// Distance between rows, then between columns, nanometers.
    pub spacing_nm: [i64; 2],
    /// Rows of the matrix.
    pub rows: u32,
    /// Columns of the matrix.
    pub columns: u32,
    /// Nominal thickness, micrometers, if stated.
    pub thickness_um: Option<i64>,
}

impl Geometry {
    /// A plane from DICOM's own numbers: millimeters and direction cosines. `None` if a number is not finite, a spacing
    /// is not positive, the matrix is empty, or the directions are not two perpendicular unit vectors (within 10^-3).
    #[must_use]
    pub fn new(
        position_mm: [f64; 3],
        orientation: [f64; 6],
        spacing_mm: [f64; 2],
        matrix: [u32; 2],
        thickness_mm: Option<f64>,
    ) -> Option<Self> {
        let [rx, ry, rz, cx, cy, cz] = orientation;
        let unit = |x: f64, y: f64, z: f64| ((x * x + y * y + z * z).sqrt() - 1.0).abs() < 1e-3;
        let perpendicular = (rx * cx + ry * cy + rz * cz).abs() < 1e-3;
        if !(unit(rx, ry, rz) && unit(cx, cy, cz) && perpendicular) || matrix.contains(&0) {
            return None;
        }
        let thickness_um = match thickness_mm {
            Some(mm) if mm > 0.0 => Some(fixed(mm, 1e3)?),
            _ => None,
        };
        let geometry = Self {
            position_um: all(position_mm.map(|mm| fixed(mm, 1e3)))?,
            orientation_nano: all(orientation.map(|cosine| fixed(cosine, 1e9)))?,
            spacing_nm: all(spacing_mm.map(|mm| fixed(mm, 1e6)))?,
            rows: matrix[0],
            columns: matrix[1],
            thickness_um,
        };
        geometry.spacing_nm.iter().all(|nm| *nm > 0).then_some(geometry)
    }

    /// Center of the first pixel, millimeters.
    #[must_use]
    pub fn position_mm(&self) -> [f64; 3] {
        self.position_um.map(|um| float(um) / 1e3)
    }

    /// Direction cosines: along a row, then down a column.
    #[must_use]
    pub fn orientation(&self) -> [f64; 6] {
        self.orientation_nano.map(|nano| float(nano) / 1e9)
    }

    /// Distance between rows, then between columns, millimeters.
    #[must_use]
    pub fn spacing_mm(&self) -> [f64; 2] {
        self.spacing_nm.map(|nm| float(nm) / 1e6)
    }

    /// Nominal thickness, millimeters.
    #[must_use]
    pub fn thickness_mm(&self) -> Option<f64> {
        self.thickness_um.map(|um| float(um) / 1e3)
    }

    /// Area of a pixel, mm².
    #[must_use]
    pub fn pixel_area_mm2(&self) -> f64 {
        let [rows, columns] = self.spacing_mm();
        rows * columns
    }

    /// The unit normal: row direction x column direction.
    #[must_use]
    pub fn normal(&self) -> [f64; 3] {
        let [rx, ry, rz, cx, cy, cz] = self.orientation();
        [ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx]
    }

    /// Distance of the plane from the origin along its normal, micrometers: the order of slices.
    #[must_use]
    pub fn along_um(&self) -> i64 {
        let along_mm: f64 = self.normal().iter().zip(self.position_mm()).map(|(n, p)| n * p).sum();
        fixed(along_mm, 1e3).unwrap_or(i64::MAX)
    }

    /// The same, millimeters.
    #[must_use]
    pub fn along_mm(&self) -> f64 {
        float(self.along_um()) / 1e3
    }

    /// Whether both planes have one orientation, matrix and pixel spacing (within 10^-4, mm or cosine): slices that are
    /// not alike never share a run.
    #[must_use]
    pub fn alike(&self, other: &Self) -> bool {
        let near = |a: &[i64], b: &[i64], within: i64| a.iter().zip(b).all(|(a, b)| (a - b).abs() < within);
        (self.rows, self.columns) == (other.rows, other.columns)
            && near(&self.spacing_nm, &other.spacing_nm, 100)
            && near(&self.orientation_nano, &other.orientation_nano, 100_000)
    }

    /// How far the first pixel of `self` lies from that of `other` within the plane: down the rows, along the columns,
    /// millimeters. Not zero under gantry tilt.
    #[must_use]
    pub fn in_plane_offset_mm(&self, other: &Self) -> [f64; 2] {
        let [rx, ry, rz, cx, cy, cz] = self.orientation();
        let [ax, ay, az] = self.position_mm();
        let [bx, by, bz] = other.position_mm();
        let [dx, dy, dz] = [ax - bx, ay - by, az - bz];
        [dx * cx + dy * cy + dz * cz, dx * rx + dy * ry + dz * rz]
    }
}

/// `value * scale`, rounded, or `None` if it does not fit.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "the bound is checked before")]
fn fixed(value: f64, scale: f64) -> Option<i64> {
    let scaled = (value * scale).round();
    (scaled.abs() < 9e15).then_some(scaled as i64)
}

#[allow(clippy::as_conversions, reason = "values stay below 2^53 by construction")]
fn float(value: i64) -> f64 {
    value as f64
}

fn all<const N: usize>(values: [Option<i64>; N]) -> Option<[i64; N]> {
    let mut result = [0; N];
    for (slot, value) in result.iter_mut().zip(values) {
        *slot = value?;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axial(z_mm: f64) -> Geometry {
        Geometry::new([-125.0, -120.0, z_mm], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.488_281_25; 2], [512, 512], None)
            .expect("a plain axial plane")
    }

    #[test]
    fn an_axial_plane_lies_at_its_z() {
        assert_eq!(axial(12.5).along_um(), 12_500);
        assert!((axial(0.0).spacing_mm()[0] - 0.488_281_25).abs() < 1e-6);
    }

    #[test]
    fn a_tilted_gantry_shortens_the_distance_along_the_normal() {
        let (sin, cos) = 20_f64.to_radians().sin_cos();
        let tilted = |z| {
            Geometry::new([0.0, 0.0, z], [1.0, 0.0, 0.0, 0.0, cos, -sin], [0.5; 2], [512, 512], Some(5.0))
                .expect("a tilted plane")
        };
        let step = tilted(10.0).along_um() - tilted(0.0).along_um();
        assert!((step as f64 - 10_000.0 * cos).abs() <= 1.0, "step {step} um");
        assert!((tilted(10.0).in_plane_offset_mm(&tilted(0.0))[0] + 10.0 * sin).abs() < 1e-6);
    }

    #[test]
    fn refuses_directions_that_are_no_plane() {
        let with = |orientation| Geometry::new([0.0; 3], orientation, [0.5; 2], [512, 512], None);
        assert!(with([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).is_none(), "parallel");
        assert!(with([0.0; 6]).is_none(), "no direction");
        assert!(with([f64::NAN; 6]).is_none(), "not a number");
        assert!(Geometry::new([0.0; 3], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.5], [512, 512], None).is_none());
        assert!(Geometry::new([0.0; 3], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.5; 2], [0, 512], None).is_none());
    }
}

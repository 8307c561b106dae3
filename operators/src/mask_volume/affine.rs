//! The affine of a stack of slices: indices to millimeters.
//!
//! Source: nifti1.h, methods 2 (quaternion) and 3 (affine) of its section on orientation.

use crate::record::Geometry;

/// Steps that differ by less count as one, millimeters.
const EVEN_WITHIN_MM: f64 = 0.01;
/// A step at an angle to the normal whose cosine is less makes a shear; positions rounded to micrometers do not.
const SQUARE_COSINE: f64 = 1.0 - 1e-6;

/// Indices to millimeters, RAS, and what of the slices it cannot hold.
pub(super) struct Affine {
    /// Along x, y and z of the volume: the vector of one step.
    pub(super) steps: [[f64; 3]; 3],
    /// The place of the first voxel.
    pub(super) origin: [f64; 3],
    /// The least and the greatest step between neighboring slices, if they are not one.
    uneven_mm: Option<[f64; 2]>,
}

impl Affine {
    /// The affine of slices in their order.
    pub(super) fn of(slices: &[&Geometry]) -> Self {
        let ([first, ..], Some(last)) = (slices, slices.last()) else {
            return Self { steps: [[0.0; 3]; 3], origin: [0.0; 3], uneven_mm: None };
        };
        let [rx, ry, rz, cx, cy, cz] = first.orientation();
        let [between_rows, between_columns] = first.spacing_mm();
        let steps = u32::try_from(slices.len() - 1).map_or(1.0, f64::from);
        let (from, to) = (first.position_mm(), last.position_mm());
        let mut step = [0, 1, 2].map(|at| (to[at] - from[at]) / steps.max(1.0));
        if norm(step) < 1e-6 {
            step = scaled(first.normal(), first.thickness_mm().unwrap_or(1.0));
        }
        let gaps = slices.windows(2).map(|pair| {
            let [a, b] = [pair[0].position_mm(), pair[1].position_mm()];
            norm([0, 1, 2].map(|at| b[at] - a[at]))
        });
        let (least, most) = gaps.fold((f64::MAX, 0.0), |(least, most), gap| (gap.min(least), gap.max(most)));
        Self {
            steps: [scaled([rx, ry, rz], between_columns), scaled([cx, cy, cz], between_rows), step].map(ras),
            origin: ras(from),
            uneven_mm: (most - least > EVEN_WITHIN_MM).then_some([least, most]),
        }
    }

    /// The lengths of the steps: voxel sizes, millimeters.
    pub(super) fn sizes(&self) -> [f64; 3] {
        self.steps.map(norm)
    }

    /// The rotation as a quaternion `(b, c, d)` with the sign of the third axis, or `None` under a shear, which the
    /// quaternion form cannot hold.
    pub(super) fn quaternion(&self) -> Option<([f64; 3], f64)> {
        let sizes = self.sizes();
        let [x, y, z] = [0, 1, 2].map(|at| scaled(self.steps[at], 1.0 / sizes[at]));
        let normal = cross(x, y);
        let along = dot(normal, z);
        if along.abs() < SQUARE_COSINE {
            return None;
        }
        // The rotation has the columns x, y, normal; whichever of the four components is greatest is divided by.
        let squares = [
            1.0 + x[0] + y[1] + normal[2],
            1.0 + x[0] - y[1] - normal[2],
            1.0 - x[0] + y[1] - normal[2],
            1.0 - x[0] - y[1] + normal[2],
        ];
        let greatest = (0..4).fold(0, |best, at| if squares[at] > squares[best] { at } else { best });
        let half = squares[greatest].sqrt() / 2.0;
        let quarter = 0.25 / half;
        let (bc, bd, cd) = ((x[1] + y[0]) * quarter, (x[2] + normal[0]) * quarter, (y[2] + normal[1]) * quarter);
        let (ab, ac, ad) = ((y[2] - normal[1]) * quarter, (normal[0] - x[2]) * quarter, (x[1] - y[0]) * quarter);
        let [a, b, c, d] = match greatest {
            0 => [half, ab, ac, ad],
            1 => [ab, half, bc, bd],
            2 => [ac, bc, half, cd],
            _ => [ad, bd, cd, half],
        };
        let sign = if a < 0.0 { -1.0 } else { 1.0 };
        Some(([b, c, d].map(|part| part * sign), along.signum()))
    }

    /// What the affine is, for people: fits the header's 80 bytes.
    pub(super) fn description(&self) -> String {
        match self.uneven_mm {
            None => "Hemoflow".to_owned(),
            Some([least, most]) => format!("Hemoflow; slice steps uneven, {least:.3} to {most:.3} mm"),
        }
    }
}

/// Left, posterior, superior to right, anterior, superior.
fn ras([l, p, s]: [f64; 3]) -> [f64; 3] {
    [-l, -p, s]
}

pub(super) fn scaled(vector: [f64; 3], factor: f64) -> [f64; 3] {
    vector.map(|part| part * factor)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(vector: [f64; 3]) -> f64 {
    dot(vector, vector).sqrt()
}

pub(super) fn cross([ax, ay, az]: [f64; 3], [bx, by, bz]: [f64; 3]) -> [f64; 3] {
    [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
}

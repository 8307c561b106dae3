//! Masks as a NIfTI-1 volume in the geometry of their series: one file for tools that do not read DICOM.
//!
//! | axis | of the volume | of the slices |
//! |---|---|---|
//! | x | fastest | columns |
//! | y | | rows |
//! | z | slowest | slices, in the order given |
//!
//! Voxels are `u8`, 1 inside. The affine maps indices to millimeters, RAS (NIfTI) from LPS (DICOM): it keeps a gantry's
//! tilt as a shear. One affine has one step between slices, from the first to the last divided by their number less one;
//! where the true steps differ, `descrip` says by how much, and the segmentation object remains the exact form.
//!
//! Source: nifti1.h of the NIfTI Data Format Working Group (offsets in bytes below are its own).

use std::io::Write as _;

use flate2::{Compression, GzBuilder};

use crate::record::{Geometry, Mask, Slice};

const HEADER_BYTES: u16 = 348;
const OFFSET_BYTES: f32 = 352.0;
const UINT8: i16 = 2;
const MILLIMETERS: u8 = 2;
const SCANNER_ANATOMICAL: i16 = 1;
const LABEL: i16 = 1002;
/// Steps that differ by less count as one, millimeters.
const EVEN_WITHIN_MM: f64 = 0.01;
/// A step at an angle to the normal whose cosine is less makes a shear; positions rounded to micrometers do not.
const SQUARE_COSINE: f64 = 1.0 - 1e-6;

/// Why there is no volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// There is no slice.
    #[error("a volume needs a slice")]
    Empty,
    /// A volume has one matrix for all its slices.
    #[error("the slices have matrices of {0} x {1} and of {2} x {3}")]
    Matrices(u32, u32, u32, u32),
    /// A mask of another matrix than its slice.
    #[error("a mask has {voxels} voxels, its slice {pixels}")]
    Mask {
        /// Voxels of the mask.
        voxels: usize,
        /// Pixels of the slice.
        pixels: usize,
    },
    /// More rows, columns or slices than the format can state.
    #[error("an axis of {0}, must be below 32768")]
    TooLarge(usize),
    /// The volume cannot be compressed.
    #[error("the volume cannot be compressed")]
    Compress(#[from] std::io::Error),
}

/// A `.nii.gz` file of the masks, `[slices, rows, columns]`; a slice without a mask has no voxel inside. The same masks
/// give the same bytes.
///
/// # Errors
///
/// Returns [`VolumeError`] if there is no slice, the slices differ in matrix, or a mask is not of its slice's matrix.
pub fn nifti(slices: &[(&Slice, Option<&Mask>)]) -> Result<Vec<u8>, VolumeError> {
    written(slices, |voxel| u8::from(voxel != 0))
}

/// Like [`nifti`], with the voxels' own values: for masks that tell kinds apart.
///
/// # Errors
///
/// As [`nifti`].
pub fn label_nifti(slices: &[(&Slice, Option<&Mask>)]) -> Result<Vec<u8>, VolumeError> {
    written(slices, |voxel| voxel)
}

fn written(slices: &[(&Slice, Option<&Mask>)], value: fn(u8) -> u8) -> Result<Vec<u8>, VolumeError> {
    let (first, _) = slices.first().ok_or(VolumeError::Empty)?;
    let Geometry { rows, columns, .. } = first.geometry;
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let axes = [axis(size(columns))?, axis(size(rows))?, axis(slices.len())?];
    let pixels = size(rows) * size(columns);

    let mut voxels = Vec::with_capacity(pixels * slices.len());
    for (slice, mask) in slices {
        let own = &slice.geometry;
        if (own.rows, own.columns) != (rows, columns) {
            return Err(VolumeError::Matrices(rows, columns, own.rows, own.columns));
        }
        match mask {
            None => voxels.resize(voxels.len() + pixels, 0),
            Some(mask) if mask.voxels.len() == pixels => {
                voxels.extend(mask.voxels.iter().map(|voxel| value(*voxel)));
            }
            Some(mask) => return Err(VolumeError::Mask { voxels: mask.voxels.len(), pixels }),
        }
    }

    let geometries: Vec<&Geometry> = slices.iter().map(|(slice, _)| &slice.geometry).collect();
    let mut file = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    file.write_all(&header(axes, &Affine::of(&geometries)))?;
    file.write_all(&voxels)?;
    Ok(file.finish()?)
}

fn axis(len: usize) -> Result<i16, VolumeError> {
    i16::try_from(len).map_err(|_| VolumeError::TooLarge(len))
}

/// Indices to millimeters, RAS, and what of the slices it cannot hold.
struct Affine {
    /// Along x, y and z of the volume: the vector of one step.
    steps: [[f64; 3]; 3],
    origin: [f64; 3],
    /// The least and the greatest step between neighboring slices, if they are not one.
    uneven_mm: Option<[f64; 2]>,
}

impl Affine {
    fn of(slices: &[&Geometry]) -> Self {
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
    fn sizes(&self) -> [f64; 3] {
        self.steps.map(norm)
    }

    /// The rotation as a quaternion `(b, c, d)` with the sign of the third axis, or `None` under a shear, which the
    /// quaternion form cannot hold.
    fn quaternion(&self) -> Option<([f64; 3], f64)> {
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

    fn description(&self) -> String {
        match self.uneven_mm {
            None => "Hemoflow".to_owned(),
            Some([least, most]) => format!("Hemoflow; slice steps uneven, {least:.3} to {most:.3} mm"),
        }
    }
}

/// The 348 bytes of the header and four that say that no extension follows.
fn header(axes: [i16; 3], affine: &Affine) -> Vec<u8> {
    let [x, y, z] = affine.sizes().map(single);
    let quaternion = affine.quaternion();
    let handed = quaternion.map_or(1.0, |(_, sign)| single(sign));
    let mut bytes = Header(Vec::with_capacity(352));
    bytes.put(&i32::from(HEADER_BYTES).to_le_bytes()); // sizeof_hdr
    bytes.put(&[0; 36]); // unused, and dim_info
    [3, axes[0], axes[1], axes[2], 1, 1, 1, 1].iter().for_each(|n| bytes.put(&n.to_le_bytes())); // dim
    bytes.floats(&[0.0; 3]); // intent_p1..3
    [LABEL, UINT8, 8, 0].iter().for_each(|n| bytes.put(&n.to_le_bytes())); // intent_code, datatype, bitpix, slice_start
    bytes.floats(&[handed, x, y, z, 0.0, 0.0, 0.0, 0.0]); // pixdim
    bytes.floats(&[OFFSET_BYTES, 1.0, 0.0]); // vox_offset, scl_slope, scl_inter
    bytes.put(&[0, 0, 0, MILLIMETERS]); // slice_end, slice_code, xyzt_units
    bytes.floats(&[1.0, 0.0, 0.0, 0.0]); // cal_max, cal_min, slice_duration, toffset
    bytes.put(&[0; 8]); // unused
    bytes.words(&affine.description(), 80); // descrip
    bytes.words("", 24); // aux_file
    let code = if quaternion.is_some() { SCANNER_ANATOMICAL } else { 0 };
    bytes.put(&code.to_le_bytes()); // qform_code
    bytes.put(&SCANNER_ANATOMICAL.to_le_bytes()); // sform_code
    let [ox, oy, oz] = affine.origin.map(single);
    let [b, c, d] = quaternion.map_or([0.0; 3], |(parts, _)| parts.map(single));
    bytes.floats(&[b, c, d, ox, oy, oz]); // quatern_b..d, qoffset_x..z
    for at in 0..3 {
        let [i, j, k] = affine.steps.map(|step| single(step[at]));
        bytes.floats(&[i, j, k, single(affine.origin[at])]); // srow_x, srow_y, srow_z
    }
    bytes.words("hemorrhage", 16); // intent_name
    bytes.put(b"n+1\0"); // magic
    bytes.put(&[0; 4]);
    bytes.0
}

struct Header(Vec<u8>);

impl Header {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn floats(&mut self, values: &[f32]) {
        values.iter().for_each(|value| self.put(&value.to_le_bytes()));
    }

    /// ASCII text, cut and filled with zeros.
    fn words(&mut self, text: &str, len: usize) {
        let text = text.as_bytes();
        let end = self.0.len() + len;
        self.put(&text[..text.len().min(len - 1)]);
        self.0.resize(end, 0);
    }
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "the format holds single precision")]
fn single(value: f64) -> f32 {
    value as f32
}

/// Left, posterior, superior to right, anterior, superior.
fn ras([l, p, s]: [f64; 3]) -> [f64; 3] {
    [-l, -p, s]
}

fn scaled(vector: [f64; 3], factor: f64) -> [f64; 3] {
    vector.map(|part| part * factor)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(vector: [f64; 3]) -> f64 {
    dot(vector, vector).sqrt()
}

fn cross([ax, ay, az]: [f64; 3], [bx, by, bz]: [f64; 3]) -> [f64; 3] {
    [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use ::nifti::{InMemNiftiObject, NiftiHeader, NiftiObject as _, NiftiVolume as _, RandomAccessNiftiVolume as _};
    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Digest, InstanceUid};

    const ROWS: u32 = 3;
    const COLUMNS: u32 = 4;
    const AXIAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

    fn slice(position: [f64; 3], orientation: [f64; 6]) -> Slice {
        let geometry = Geometry::new(position, orientation, [0.5, 0.25], [ROWS, COLUMNS], Some(5.0)).expect("a plane");
        Slice::new(InstanceUid::new("1.2.3").expect("a uid"), 1, Digest::of(b""), geometry)
    }

    fn stack(orientation: [f64; 6], positions: &[[f64; 3]]) -> Vec<Slice> {
        positions.iter().map(|position| slice(*position, orientation)).collect()
    }

    fn written(slices: &[Slice]) -> Vec<u8> {
        let slices: Vec<_> = slices.iter().map(|slice| (slice, None)).collect();
        nifti(&slices).expect("a volume")
    }

    fn read(file: &[u8]) -> InMemNiftiObject {
        let mut bytes = Vec::new();
        GzDecoder::new(file).read_to_end(&mut bytes).expect("a gzip file");
        InMemNiftiObject::from_reader(bytes.as_slice()).expect("a NIfTI file")
    }

    /// Where the header's sform puts an index, LPS.
    fn place(header: &NiftiHeader, index: [f32; 3]) -> [f32; 3] {
        let [l, p, s] = [header.srow_x, header.srow_y, header.srow_z]
            .map(|row| row[0] * index[0] + row[1] * index[1] + row[2] * index[2] + row[3]);
        [-l, -p, s]
    }

    /// Where the header's qform puts an index, LPS (nifti1.h, method 2).
    fn turned(header: &NiftiHeader, index: [f32; 3]) -> [f32; 3] {
        let (b, c, d) = (header.quatern_b, header.quatern_c, header.quatern_d);
        let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
        let rotation = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ];
        let [sign, x, y, z, ..] = header.pixdim;
        let step = [index[0] * x, index[1] * y, index[2] * z * sign];
        let offset = [header.quatern_x, header.quatern_y, header.quatern_z];
        let [l, p, s] = [0, 1, 2].map(|at| offset[at] + rotation[at].iter().zip(step).map(|(r, s)| r * s).sum::<f32>());
        [-l, -p, s]
    }

    fn near(a: [f32; 3], b: [f32; 3]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
    }

    #[test]
    fn voxels_stand_where_the_mask_has_them() {
        let slices = stack(AXIAL, &[[0.0; 3], [0.0, 0.0, 5.0]]);
        let mut mask = Mask { voxels: vec![0; 12] };
        mask.voxels[6] = 1; // row 1, column 2
        let object = read(&nifti(&[(&slices[0], None), (&slices[1], Some(&mask))]).expect("a volume"));
        let volume = object.volume();
        assert_eq!(volume.dim(), [4, 3, 2]);
        for z in 0..2 {
            for y in 0..3 {
                for x in 0..4 {
                    let inside = volume.get_f32(&[x, y, z]).expect("a voxel") > 0.0;
                    assert_eq!(inside, (x, y, z) == (2, 1, 1), "voxel {x} {y} {z}");
                }
            }
        }
    }

    #[test]
    fn an_index_lies_where_the_slice_has_it() {
        let object = read(&written(&stack(AXIAL, &[[-10.0, 20.0, 30.0], [-10.0, 20.0, 35.0], [-10.0, 20.0, 40.0]])));
        let header = object.header();
        assert!(near(place(header, [2.0, 1.0, 1.0]), [-9.5, 20.5, 35.0]));
        assert_eq!((header.sform_code, header.qform_code), (1, 1));
        assert_eq!(std::str::from_utf8(&header.descrip[..9]).expect("ASCII"), "Hemoflow\0");
    }

    #[test]
    fn tilt_is_kept_as_a_shear() {
        let (sin, cos) = 18.5_f64.to_radians().sin_cos();
        let slices = stack([1.0, 0.0, 0.0, 0.0, cos, -sin], &[[0.0; 3], [0.0, 0.0, 4.0], [0.0, 0.0, 8.0]]);
        let object = read(&written(&slices));
        assert_eq!((object.header().sform_code, object.header().qform_code), (1, 0));
        assert!(near(place(object.header(), [0.0, 0.0, 2.0]), [0.0, 0.0, 8.0]));
    }

    #[test]
    fn uneven_steps_are_told() {
        let object = read(&written(&stack(AXIAL, &[[0.0; 3], [0.0, 0.0, 4.0], [0.0, 0.0, 11.0]])));
        let text = String::from_utf8_lossy(&object.header().descrip).into_owned();
        assert!(text.contains("uneven, 4.000 to 7.000 mm"), "{text}");
        assert!(near(place(object.header(), [0.0, 0.0, 1.0]), [0.0, 0.0, 5.5]), "the middle step");
    }

    #[test]
    fn a_lone_slice_is_as_thick_as_it_says() {
        let object = read(&written(&stack(AXIAL, &[[1.0, 2.0, 3.0]])));
        assert!(near(place(object.header(), [0.0, 0.0, 1.0]), [1.0, 2.0, 8.0]));
    }

    #[test]
    fn refuses_what_is_no_volume() {
        assert!(matches!(nifti(&[]), Err(VolumeError::Empty)));
        let slices = stack(AXIAL, &[[0.0; 3], [0.0, 0.0, 5.0]]);
        let mask = Mask { voxels: vec![0; 11] };
        let result = nifti(&[(&slices[0], Some(&mask))]);
        assert!(matches!(result, Err(VolumeError::Mask { voxels: 11, pixels: 12 })));
        let mut wide = slices[1].clone();
        wide.geometry.columns = 5;
        assert!(matches!(nifti(&[(&slices[0], None), (&wide, None)]), Err(VolumeError::Matrices(3, 4, 3, 5))));
        let many = vec![(&slices[0], None); 32_768];
        assert!(matches!(nifti(&many), Err(VolumeError::TooLarge(32_768))));
    }

    proptest! {
        #[test]
        fn both_forms_of_the_affine_agree(
            angles in prop::array::uniform3(-3.1_f64..3.1),
            step_mm in prop::sample::select(vec![-5.0_f64, 2.5]),
        ) {
            let [(sx, cx), (sy, cy), (sz, cz)] = angles.map(f64::sin_cos);
            let row = [cy * cz, cy * sz, -sy];
            let column = [sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy];
            let orientation = [row[0], row[1], row[2], column[0], column[1], column[2]];
            let step = scaled(cross(row, column), step_mm);
            let slices = stack(orientation, &[[10.0, -20.0, 30.0], [10.0 + step[0], -20.0 + step[1], 30.0 + step[2]]]);
            let object = read(&written(&slices));
            prop_assert_eq!(object.header().qform_code, 1);
            for index in [[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [3.0, 2.0, 1.0]] {
                let (a, b) = (place(object.header(), index), turned(object.header(), index));
                prop_assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 5e-3), "{:?} {:?}", a, b);
            }
        }
    }
}

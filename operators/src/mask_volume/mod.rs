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

mod affine;
mod header;

use std::io::Write as _;

use flate2::{Compression, GzBuilder};

use self::affine::Affine;
use self::header::Kind;
use crate::record::{Geometry, Mask, Slice};

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

/// Like [`nifti()`], with the voxels' own values: for masks that tell kinds apart.
///
/// # Errors
///
/// As [`nifti()`].
pub fn label_nifti(slices: &[(&Slice, Option<&Mask>)]) -> Result<Vec<u8>, VolumeError> {
    written(slices, |voxel| voxel)
}

fn written(slices: &[(&Slice, Option<&Mask>)], value: fn(u8) -> u8) -> Result<Vec<u8>, VolumeError> {
    let mut voxels = Vec::new();
    for (slice, mask) in slices {
        let pixels = pixels(slice);
        match mask {
            None => voxels.resize(voxels.len() + pixels, 0),
            Some(mask) if mask.voxels.len() == pixels => voxels.extend(mask.voxels.iter().map(|voxel| value(*voxel))),
            Some(mask) => return Err(VolumeError::Mask { voxels: mask.voxels.len(), pixels }),
        }
    }
    let slices: Vec<&Slice> = slices.iter().map(|(slice, _)| *slice).collect();
    compressed(&file(&slices, &Voxels::Labels(voxels))?)
}

/// The voxels of a volume, `[slices, rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Voxels {
    /// Labels of 8 bits.
    Labels(Vec<u8>),
    /// Labels as floats, as some tools write them.
    Floats(Vec<f32>),
    /// HU.
    Hu(Vec<i16>),
}

/// A `.nii` file of the voxels of some slices, in the order given.
///
/// # Errors
///
/// Returns [`VolumeError`] if there is no slice, the slices differ in matrix, or there are not as many voxels.
pub fn file(slices: &[&Slice], voxels: &Voxels) -> Result<Vec<u8>, VolumeError> {
    const LABEL: (i16, &str) = (1002, "hemorrhage");
    let first = slices.first().ok_or(VolumeError::Empty)?;
    let Geometry { rows, columns, .. } = first.geometry;
    for slice in slices {
        let own = &slice.geometry;
        if (own.rows, own.columns) != (rows, columns) {
            return Err(VolumeError::Matrices(rows, columns, own.rows, own.columns));
        }
    }
    let (kind, bytes): (Kind, Vec<u8>) = match voxels {
        Voxels::Labels(voxels) => (Kind { datatype: 2, bits: 8, intent: LABEL }, voxels.clone()),
        Voxels::Floats(voxels) => {
            (Kind { datatype: 16, bits: 32, intent: LABEL }, voxels.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        Voxels::Hu(voxels) => {
            (Kind { datatype: 4, bits: 16, intent: (0, "") }, voxels.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
    };
    let (voxels, pixels) = (bytes.len() * 8 / usize::from(kind.bits.unsigned_abs()), pixels(first) * slices.len());
    if voxels != pixels {
        return Err(VolumeError::Mask { voxels, pixels });
    }
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let axes = [axis(size(columns))?, axis(size(rows))?, axis(slices.len())?];
    let geometries: Vec<&Geometry> = slices.iter().map(|slice| &slice.geometry).collect();
    Ok([header::header(axes, &Affine::of(&geometries), &kind), bytes].concat())
}

/// A file as `.gz`: the same bytes give the same bytes.
///
/// # Errors
///
/// Returns [`VolumeError::Compress`] if it cannot be compressed.
pub fn compressed(bytes: &[u8]) -> Result<Vec<u8>, VolumeError> {
    let mut file = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    file.write_all(bytes)?;
    Ok(file.finish()?)
}

fn pixels(slice: &Slice) -> usize {
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    size(slice.geometry.rows).saturating_mul(size(slice.geometry.columns))
}

fn axis(len: usize) -> Result<i16, VolumeError> {
    i16::try_from(len).map_err(|_| VolumeError::TooLarge(len))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use ::nifti::{InMemNiftiObject, NiftiHeader, NiftiObject as _, NiftiVolume as _, RandomAccessNiftiVolume as _};
    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::affine::{cross, scaled};
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

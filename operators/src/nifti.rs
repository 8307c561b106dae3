//! NIfTI volumes as series of axial slices.
//!
//! A voxel is HU already: `stored * scl_slope + scl_inter`, rounded. Slices are the planes of the axis nearest to the
//! body's; rows and columns are turned so that columns go to the patient's left and rows to the back, as scanners
//! write them, so the way a volume is stored changes nothing. Identifiers are UUIDs derived from the content.
//!
//! Source: NIfTI-1 (`nifti1.h`), methods 2 and 3 of orientation; DICOM PS3.5 B.2 (UUID derived UIDs).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::nifti::{IntoNdArray, NiftiError, NiftiHeader, NiftiObject, NiftiType, ReaderOptions};
use kernels::units::Rescale;

use crate::dicom::{Frame, Instance, Pixels, Source};
use crate::record::{
    Digest, Geometry, InstanceUid, Plane, Reason, Refusal, Rejection, SeriesKey, SeriesUid, Slice, StoredValues,
    StudyUid,
};

/// Whether a file is a NIfTI volume by its name: `.nii` or `.nii.gz`.
#[must_use]
pub fn is_nifti(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
    name.is_some_and(|name| name.ends_with(".nii") || name.ends_with(".nii.gz"))
}

/// Reads a volume: one instance for each slice, from the feet up. No instance has a header.
///
/// # Errors
///
/// Returns a [`Rejection`] that names the path as given, and why it is refused.
pub fn read(path: &Path) -> Result<Vec<Instance>, Rejection> {
    Ok(stored(path)?.into_iter().map(|(_, instance)| instance).collect())
}

/// Like [`read`], with the place that each slice has in the stored volume, from 0.
///
/// # Errors
///
/// As [`read`].
pub fn stored(path: &Path) -> Result<Vec<(usize, Instance)>, Rejection> {
    volume(path).and_then(|volume| volume.instances()).map_err(|refusal| refusal.of(path.display().to_string()))
}

/// The values of a volume as they are stored, slice by slice, each `[rows, columns]`, row major: the first axis is that of
/// columns, the third that of slices. Where it lies is not asked.
///
/// # Errors
///
/// As [`read`].
pub fn values(path: &Path) -> Result<Vec<Vec<i16>>, Rejection> {
    let named = |refusal: Refusal| refusal.of(path.display().to_string());
    let (_, [columns, rows, _], values) = parsed(path).map_err(named)?;
    Ok(values.chunks((columns * rows).max(1)).map(<[i16]>::to_vec).collect())
}

/// Stored voxels in HU, the first axis fastest, and where they lie.
struct Volume {
    shape: [usize; 3],
    hu: Vec<i16>,
    /// Steps of the three axes and the place of the first voxel, millimeters in LPS.
    steps_mm: [[f64; 3]; 3],
    first_mm: [f64; 3],
}

fn volume(path: &Path) -> Result<Volume, Refusal> {
    let (header, shape, hu) = parsed(path)?;
    let (steps_mm, first_mm) = placement(&header)?;
    Ok(Volume { shape, hu, steps_mm, first_mm })
}

/// Header, sides and values of a volume, the first axis fastest.
fn parsed(path: &Path) -> Result<(NiftiHeader, [usize; 3], Vec<i16>), Refusal> {
    let parse = AssertUnwindSafe(|| {
        let object = ReaderOptions::new().read_file(path)?;
        let header = object.header().clone();
        let voxels = object.into_volume().into_ndarray::<f32>()?;
        Ok((header, voxels.as_slice_memory_order().map(<[f32]>::to_vec)))
    });
    let parsed = catch_unwind(parse).map_err(|_| Refusal::new(Reason::Malformed, "the volume breaks the parser"))?;
    let (header, voxels) = parsed.map_err(|error| refusal(&error))?;
    let shape = shape(&header)?;
    let voxels = voxels.ok_or_else(|| Refusal::new(Reason::Malformed, "the voxels are not contiguous"))?;
    let hu = voxels.iter().map(|hu| whole(*hu)).collect::<Option<Vec<i16>>>();
    let hu =
        hu.ok_or_else(|| Refusal::new(Reason::UnsupportedPixels, "a voxel is no HU: not a number, or beyond 16 bits"))?;
    Ok((header, shape, hu))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other error is one of the file's own making")]
fn refusal(error: &NiftiError) -> Refusal {
    let reason = match error {
        NiftiError::IncompatibleLength(..) => Reason::Truncated,
        NiftiError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Reason::Truncated,
        NiftiError::Io(_) => Reason::Unreadable,
        NiftiError::InvalidFormat => Reason::NotDicom,
        NiftiError::UnsupportedDataType(_) | NiftiError::InvalidCode(..) => Reason::UnsupportedPixels,
        _ => Reason::Malformed,
    };
    Refusal::new(reason, error.to_string())
}

/// Three axes; further ones may only be of length 1.
fn shape(header: &NiftiHeader) -> Result<[usize; 3], Refusal> {
    use NiftiType::{Complex64, Complex128, Complex256, Rgb24, Rgba32};
    let kind = header.data_type().map_err(|error| refusal(&error))?;
    if matches!(kind, Complex64 | Complex128 | Complex256 | Rgb24 | Rgba32) {
        return Err(Refusal::new(Reason::UnsupportedPixels, format!("voxels of type {kind:?} are no HU")));
    }
    let sides: Vec<usize> = header.dim().map_err(|error| refusal(&error))?.iter().map(|n| usize::from(*n)).collect();
    match sides[..] {
        [i, j] => Ok([i, j, 1]),
        [i, j, k, ref more @ ..] if more.iter().all(|side| *side == 1) => Ok([i, j, k]),
        _ => Err(Refusal::new(Reason::UnsupportedPixels, format!("a volume of {sides:?} has no three axes"))),
    }
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(hu: f32) -> Option<i16> {
    let hu = hu.round();
    (f32::from(i16::MIN)..=f32::from(i16::MAX)).contains(&hu).then_some(hu as i16)
}

/// Steps of the axes and the place of the first voxel, from `sform`, else `qform`.
fn placement(header: &NiftiHeader) -> Result<([[f64; 3]; 3], [f64; 3]), Refusal> {
    let rows: [[f64; 4]; 3] = if header.sform_code > 0 {
        [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from))
    } else if header.qform_code > 0 {
        qform(header)
    } else {
        return Err(Refusal::new(Reason::MissingGeometry, "neither sform nor qform says where the volume lies"));
    };
    // RAS to LPS; `xyzt_units`: 1 for meters, 3 for micrometers.
    let unit_mm = match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => 1.0,
    };
    let [x, y, z] = rows.map(|row| row.map(|number| number * unit_mm));
    let column = |axis: usize| [-x[axis], -y[axis], z[axis]];
    Ok(([column(0), column(1), column(2)], column(3)))
}

fn qform(header: &NiftiHeader) -> [[f64; 4]; 3] {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
    let handedness = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let [i, j, k] = [header.pixdim[1], header.pixdim[2], header.pixdim[3]].map(f64::from);
    let k = k * handedness;
    let [x, y, z] = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    [
        [(a * a + b * b - c * c - d * d) * i, 2.0 * (b * c - a * d) * j, 2.0 * (b * d + a * c) * k, x],
        [2.0 * (b * c + a * d) * i, (a * a + c * c - b * b - d * d) * j, 2.0 * (c * d - a * b) * k, y],
        [2.0 * (b * d - a * c) * i, 2.0 * (c * d + a * b) * j, (a * a + d * d - b * b - c * c) * k, z],
    ]
}

/// A stored axis as a slice walks it.
#[derive(Clone, Copy)]
struct Axis {
    len: usize,
    stride: usize,
    step_mm: [f64; 3],
    backwards: bool,
}

impl Axis {
    /// The stored index of place `at` of the walk.
    fn index(self, at: usize) -> usize {
        if self.backwards { self.len - 1 - at } else { at }
    }

    fn direction(self) -> [f64; 3] {
        let sign = if self.backwards { -1.0 } else { 1.0 };
        let length = self.length_mm();
        self.step_mm.map(|step| sign * step / length)
    }

    fn length_mm(self) -> f64 {
        self.step_mm.iter().map(|step| step * step).sum::<f64>().sqrt()
    }
}

impl Volume {
    /// The axes that go along columns (to the left), rows (to the back) and slices (to the head).
    fn axes(&self) -> Result<[Axis; 3], Refusal> {
        const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let [i, j, _] = self.shape;
        let strides = [1, i, i * j];
        let axis = |stored: usize, body: usize| Axis {
            len: self.shape[stored],
            stride: strides[stored],
            step_mm: self.steps_mm[stored],
            backwards: self.steps_mm[stored][body] < 0.0,
        };
        let within_45_degrees = |axes: &[Axis; 3]| {
            let near = |(body, axis): (usize, &Axis)| axis.direction()[body] > std::f64::consts::FRAC_1_SQRT_2;
            axes.iter().enumerate().all(near)
        };
        let orders = ORDERS.into_iter().map(|[x, y, z]| [axis(x, 0), axis(y, 1), axis(z, 2)]);
        let oblique = || Refusal::new(Reason::MissingGeometry, "an axis is more than 45 degrees off each body axis");
        orders.into_iter().find(within_45_degrees).ok_or_else(oblique)
    }

    fn instances(&self) -> Result<Vec<(usize, Instance)>, Refusal> {
        let axes = self.axes()?;
        let planes: Vec<(Geometry, Arc<[i16]>)> = (0..axes[2].len)
            .map(|at| Ok((self.geometry(&axes, at)?, self.plane(&axes, at))))
            .collect::<Result<_, _>>()?;
        let slices: Vec<Digest> = planes.iter().map(|(geometry, hu)| slice_digest(geometry, hu)).collect();
        let content = slices.iter().fold(Digest::builder("volume"), |name, slice| name.digest(slice)).finish();
        let unnamed = || Refusal::new(Reason::MissingUid, "no identifier could be derived");
        let study = StudyUid::new(&uid("study", &content, 0)).ok_or_else(unnamed)?;
        let series = SeriesUid::new(&uid("series", &content, 0)).ok_or_else(unnamed)?;
        let mut instances = Vec::with_capacity(planes.len());
        for ((number, at), ((geometry, hu), digest)) in (1..).zip(0..).zip(planes.into_iter().zip(slices)) {
            let uid = InstanceUid::new(&uid("instance", &content, number)).ok_or_else(unnamed)?;
            let plane = Plane {
                rows: axes[1].len,
                columns: axes[0].len,
                values: StoredValues::Signed(hu),
                rescale: Rescale::IDENTITY,
            };
            let pixels = Pixels { source: Source::Decoded(Arc::new(plane)), header: None };
            let frames = vec![Frame { slice: Slice::new(uid.clone(), 1, digest, geometry), pixels }];
            let key = SeriesKey { study: study.clone(), series: series.clone() };
            instances.push((axes[2].index(at), Instance { key, uid, frames }));
        }
        Ok(instances)
    }

    fn geometry(&self, axes: &[Axis; 3], at: usize) -> Result<Geometry, Refusal> {
        let [x, y, z] = axes;
        let mut position = self.first_mm;
        for (axis, index) in [(x, x.index(0)), (y, y.index(0)), (z, z.index(at))] {
            position.iter_mut().zip(axis.step_mm).for_each(|(place, step)| *place += step * float(index));
        }
        let ([rx, ry, rz], [cx, cy, cz]) = (x.direction(), y.direction());
        let normal = [ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx];
        let thickness = normal.iter().zip(z.step_mm).map(|(n, step)| n * step).sum::<f64>().abs();
        let sides = [y.len, x.len].map(|side| u32::try_from(side).unwrap_or(0));
        let spacing = [y.length_mm(), x.length_mm()];
        let plane = Geometry::new(position, [rx, ry, rz, cx, cy, cz], spacing, sides, Some(thickness));
        plane.ok_or_else(|| Refusal::new(Reason::MissingGeometry, "the affine makes no plane"))
    }

    fn plane(&self, axes: &[Axis; 3], at: usize) -> Arc<[i16]> {
        let [x, y, z] = axes;
        let slice = z.index(at) * z.stride;
        let row = |row: usize| slice + y.index(row) * y.stride;
        (0..y.len)
            .flat_map(|r| (0..x.len).map(move |column| (r, column)))
            .map(|(r, column)| self.hu[row(r) + x.index(column) * x.stride])
            .collect()
    }
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "an axis has at most 65535 voxels")]
fn float(index: usize) -> f64 {
    index as f64
}

fn slice_digest(geometry: &Geometry, hu: &[i16]) -> Digest {
    let numbers = geometry.position_um.iter().chain(&geometry.orientation_nano).chain(&geometry.spacing_nm);
    let sides = [i64::from(geometry.rows), i64::from(geometry.columns), geometry.thickness_um.unwrap_or(-1)];
    let placed = numbers.chain(&sides).fold(Digest::builder("slice of HU"), |name, number| name.number(*number));
    placed.bytes(&hu.iter().flat_map(|hu| hu.to_le_bytes()).collect::<Vec<u8>>()).finish()
}

/// A UID out of a UUID of version 8, out of a digest.
fn uid(entity: &str, content: &Digest, number: i64) -> String {
    let digest = Digest::builder(entity).digest(content).number(number).finish();
    let (first, _) = digest.as_bytes().as_chunks::<16>();
    let uuid = first.first().map_or(0, |bytes| u128::from_be_bytes(*bytes));
    let versioned = uuid & !(0xF << 76) | 0x8 << 76;
    let variant = versioned & !(0x3 << 62) | 0x2 << 62;
    format!("2.25.{variant}")
}

#[cfg(test)]
mod tests {
    use ::nifti::writer::WriterOptions;
    use ndarray::{Array3, ShapeBuilder as _};
    use proptest::prelude::*;

    use super::*;

    /// HU at a place of a head of 4 columns, 3 rows, 2 slices: rows and columns 0.5 mm apart, slices 5 mm.
    fn hu(column: usize, row: usize, slice: usize) -> i16 {
        i16::try_from(100 * slice + 10 * row + column).expect("small") - 50
    }

    const SIDES: [usize; 3] = [4, 3, 2];
    const STEPS: [f32; 3] = [0.5, 0.5, 5.0];
    const FIRST: [f32; 3] = [-10.0, -20.0, 30.0];

    /// Writes the head with stored axis `n` along body axis `order[n]`, backwards where `flip[n]`.
    fn stored(path: &Path, order: [usize; 3], flip: [bool; 3]) {
        let shape = order.map(|body| SIDES[body]);
        let volume = Array3::from_shape_fn(shape.f(), |(a, b, c)| {
            let mut place = [0; 3];
            for ((index, body), backwards) in [a, b, c].into_iter().zip(order).zip(flip) {
                place[body] = if backwards { SIDES[body] - 1 - index } else { index };
            }
            hu(place[0], place[1], place[2])
        });
        let mut rows = [[0.0; 4]; 3];
        for (body, row) in rows.iter_mut().enumerate() {
            row[3] = FIRST[body];
        }
        for (stored, (body, backwards)) in order.into_iter().zip(flip).enumerate() {
            rows[body][stored] = if backwards { -STEPS[body] } else { STEPS[body] };
            if backwards {
                rows[body][3] += STEPS[body] * (SIDES[body] - 1) as f32;
            }
        }
        let lps_to_ras = |row: [f32; 4]| row.map(|number| -number);
        let header = NiftiHeader {
            sform_code: 1,
            srow_x: lps_to_ras(rows[0]),
            srow_y: lps_to_ras(rows[1]),
            srow_z: rows[2],
            scl_slope: 1.0,
            scl_inter: 0.0,
            xyzt_units: 2,
            ..NiftiHeader::default()
        };
        WriterOptions::new(path).reference_header(&header).write_nifti(&volume).expect("a written volume");
    }

    fn read_back(order: [usize; 3], flip: [bool; 3], name: &str) -> Vec<Instance> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        stored(&path, order, flip);
        read(&path).expect("a volume")
    }

    #[test]
    fn a_volume_is_a_series_of_axial_slices_in_hu() {
        let instances = read_back([0, 1, 2], [false; 3], "head.nii.gz");
        assert_eq!(instances.len(), 2);
        for (slice, instance) in instances.iter().enumerate() {
            let [frame] = &instance.frames[..] else { panic!("one frame") };
            let geometry = &frame.slice.geometry;
            assert_eq!(geometry.position_um, [-10_000, -20_000, 30_000 + 5000 * slice as i64]);
            assert_eq!(geometry.orientation_nano, [1_000_000_000, 0, 0, 0, 1_000_000_000, 0]);
            assert_eq!((geometry.rows, geometry.columns, geometry.thickness_mm()), (3, 4, Some(5.0)));
            let Source::Decoded(plane) = &frame.pixels.source else { panic!("decoded") };
            let expected: Vec<i16> = (0..12).map(|at| hu(at % 4, at / 4, slice)).collect();
            assert_eq!(plane.hu(), expected);
        }
        let uids: std::collections::BTreeSet<_> = instances.iter().map(|instance| instance.uid.clone()).collect();
        assert!(
            uids.len() == 2 && uids.iter().all(|uid| uid.as_str().starts_with("2.25.") && uid.as_str().len() <= 44)
        );
    }

    #[test]
    fn a_volume_without_a_place_is_refused_and_a_broken_one_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("head.nii");
        stored(&path, [0, 1, 2], [false; 3]);
        let mut bytes = std::fs::read(&path).expect("bytes");
        let reason = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            read(&path).expect_err("a refusal").reason
        };
        assert_eq!(reason(&bytes[..bytes.len() - 1]), Reason::Truncated);
        assert_eq!(reason(b"no volume"), Reason::Truncated);
        assert_eq!(reason(&[7; 400]), Reason::NotDicom);
        bytes[252..256].fill(0);
        assert_eq!(reason(&bytes), Reason::MissingGeometry, "qform_code and sform_code are zero");
    }

    /// The plain head with some bytes of its header changed.
    fn patched(changes: &[(usize, &[u8])]) -> Vec<(Slice, Vec<i16>)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("head.nii");
        stored(&path, [0, 1, 2], [false; 3]);
        let mut bytes = std::fs::read(&path).expect("bytes");
        for (at, change) in changes {
            bytes[*at..at + change.len()].copy_from_slice(change);
        }
        std::fs::write(&path, bytes).expect("a file");
        frames(&read(&path).expect("a volume"))
    }

    fn floats<const N: usize>(floats: [f32; N]) -> Vec<u8> {
        floats.into_iter().flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn slope_and_intercept_give_hu() {
        let scaled = patched(&[(112, &floats([2.0, -3.0]))]);
        let plain = patched(&[]);
        for ((_, hu), (_, stored)) in scaled.iter().zip(&plain) {
            assert_eq!(*hu, stored.iter().map(|stored| 2 * stored - 3).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_qform_places_a_volume_as_the_equal_sform_does() {
        // Half a turn about the body axis, RAS to LPS; quaternion (0, 0, 0, 1).
        let quaternion = floats([0.0, 0.0, 1.0, 10.0, 20.0, 30.0]);
        let spacing = floats([1.0, 0.5, 0.5, 5.0]);
        let qform = patched(&[(76, &spacing), (252, &[1, 0, 0, 0]), (256, &quaternion)]);
        assert_eq!(qform, patched(&[]));
    }

    fn frames(instances: &[Instance]) -> Vec<(Slice, Vec<i16>)> {
        let frames = instances.iter().flat_map(|instance| &instance.frames);
        let hu = |frame: &Frame| match &frame.pixels.source {
            Source::Decoded(plane) => plane.hu(),
            Source::Encoded { .. } => Vec::new(),
        };
        frames.map(|frame| (frame.slice.clone(), hu(frame))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn how_a_volume_is_stored_changes_nothing(order in Just([0_usize, 1, 2]).prop_shuffle(), flip: [bool; 3]) {
            let plain = frames(&read_back([0, 1, 2], [false; 3], "head.nii"));
            prop_assert_eq!(frames(&read_back(order, flip, "head.nii")), plain);
        }
    }
}

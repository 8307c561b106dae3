//! The header of a NIfTI-1 file, field by field in the order of nifti1.h.

use super::affine::Affine;

const HEADER_BYTES: i32 = 348;
const OFFSET_BYTES: f32 = 352.0;
const MILLIMETERS: u8 = 2;
const SCANNER_ANATOMICAL: i16 = 1;

/// What voxels are stored as.
pub(super) struct Kind {
    /// `datatype` of the format.
    pub(super) datatype: i16,
    /// Bits of a voxel.
    pub(super) bits: i16,
    /// `intent_code` of the format, and its name.
    pub(super) intent: (i16, &'static str),
}

/// The 348 bytes of the header and four that say that no extension follows.
pub(super) fn header(axes: [i16; 3], affine: &Affine, kind: &Kind) -> Vec<u8> {
    let [x, y, z] = affine.sizes().map(single);
    let quaternion = affine.quaternion();
    let handed = quaternion.map_or(1.0, |(_, sign)| single(sign));
    let mut bytes = Header(Vec::with_capacity(352));
    bytes.put(&HEADER_BYTES.to_le_bytes()); // sizeof_hdr
    bytes.put(&[0; 36]); // unused, and dim_info
    [3, axes[0], axes[1], axes[2], 1, 1, 1, 1].iter().for_each(|n| bytes.put(&n.to_le_bytes())); // dim
    bytes.floats(&[0.0; 3]); // intent_p1..3
    [kind.intent.0, kind.datatype, kind.bits, 0].iter().for_each(|n| bytes.put(&n.to_le_bytes())); // intent_code, datatype, bitpix, slice_start
    bytes.floats(&[handed, x, y, z, 0.0, 0.0, 0.0, 0.0]); // pixdim
    bytes.floats(&[OFFSET_BYTES, 1.0, 0.0]); // vox_offset, scl_slope, scl_inter
    bytes.put(&[0, 0, 0, MILLIMETERS]); // slice_end, slice_code, xyzt_units
    bytes.floats(&[if kind.bits == 8 { 1.0 } else { 0.0 }, 0.0, 0.0, 0.0]); // cal_max, cal_min, slice_duration, toffset
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
    bytes.words(kind.intent.1, 16); // intent_name
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

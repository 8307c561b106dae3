//! The kinds of blocks, and their forms on disk. A form gives back the same block to the bit.

use std::sync::Arc;

use dicom_core::value::Value;
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use kernels::units::Rescale;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Block;
use crate::codec;
use crate::decode::Decoded;
use crate::dicom::layout::Layout;
use crate::dicom::{Frame, Instance, Pixels, Source, read};
use crate::encode::Encoding;
use crate::fuse::FusedMap;
use crate::record::{Mask, Plane, Rejection, StoredValues};

/// The version of all forms here. Another form gets another version and another `KIND`.
const VERSION: u8 = 1;

fn written<T: Serialize>(form: &T) -> Option<Vec<u8>> {
    codec::encode(VERSION, form).ok()
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    codec::decode(VERSION, bytes).ok()
}

/// Bytes in one piece, which serde would take for a sequence of numbers.
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Raw, E> {
                Ok(Raw(bytes))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A plane, its values little endian.
#[derive(Serialize, Deserialize)]
struct PlaneForm {
    rows: u32,
    columns: u32,
    signed: bool,
    slope: f32,
    intercept_hu: f32,
    values: Raw,
}

impl PlaneForm {
    fn of(plane: &Plane) -> Option<Self> {
        let (signed, values) = match &plane.values {
            StoredValues::Signed(values) => (true, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            StoredValues::Unsigned(values) => (false, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        Some(Self {
            rows: u32::try_from(plane.rows).ok()?,
            columns: u32::try_from(plane.columns).ok()?,
            signed,
            slope: plane.rescale.slope(),
            intercept_hu: plane.rescale.intercept_hu(),
            values: Raw(values),
        })
    }

    fn plane(self) -> Option<Plane> {
        let (rows, columns) = (usize::try_from(self.rows).ok()?, usize::try_from(self.columns).ok()?);
        let (pairs, rest) = self.values.0.as_chunks::<2>();
        let whole = rest.is_empty() && rows.checked_mul(columns) == Some(pairs.len());
        let values = if self.signed {
            StoredValues::Signed(pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
        } else {
            StoredValues::Unsigned(pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
        };
        let rescale = Rescale::new(self.slope, self.intercept_hu)?;
        whole.then_some(Plane { rows, columns, values, rescale })
    }
}

fn plane_bytes(plane: &Plane) -> usize {
    size_of::<Plane>() + 2 * plane.stored().len()
}

impl Block for Decoded {
    const KIND: &'static str = "plane.1";

    fn bytes(&self) -> usize {
        let beside = match self {
            Ok(plane) => plane_bytes(plane),
            Err(rejection) => rejection.input.len() + rejection.detail.len(),
        };
        size_of::<Self>() + beside
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        written::<Result<PlaneForm, &Rejection>>(&match self {
            Ok(plane) => Ok(PlaneForm::of(plane)?),
            Err(rejection) => Err(rejection),
        })
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match parsed::<Result<PlaneForm, Rejection>>(bytes)? {
            Ok(form) => form.plane().map(|plane| Ok(Arc::new(plane))),
            Err(rejection) => Some(Err(rejection)),
        }
    }
}

impl Block for Encoding {
    const KIND: &'static str = "encoding.1";

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<f32>() * (self.feature.len() + self.activation.len())
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        written(&(&self.feature, &self.activation, self.probability))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        parsed(bytes).map(|(feature, activation, probability)| Self { feature, activation, probability })
    }
}

impl Block for Vec<f32> {
    const KIND: &'static str = "logits.1";

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<f32>() * self.len()
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        written(self)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        parsed(bytes)
    }
}

impl Block for FusedMap {
    const KIND: &'static str = "fused_map.1";

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<f32>() * self.0.len()
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        written(&self.0)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        parsed(bytes).map(Self)
    }
}

/// A mask as its runs of equal voxels: value and length.
impl Block for Mask {
    const KIND: &'static str = "mask.1";

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.voxels.len()
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        let runs = self.voxels.chunk_by(|a, b| a == b);
        written(&runs.filter_map(|run| Some((*run.first()?, run.len()))).collect::<Vec<(u8, usize)>>())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let runs: Vec<(u8, usize)> = parsed(bytes)?;
        let len = runs.iter().try_fold(0_usize, |len, (_, run)| len.checked_add(*run))?;
        if len > codec::LIMIT {
            return None;
        }
        let mut voxels = Vec::with_capacity(len);
        for (value, run) in runs {
            voxels.resize(voxels.len() + run, value);
        }
        Some(Self { voxels })
    }
}

/// Pixels as received.
#[derive(Serialize, Deserialize)]
enum PixelsForm {
    /// A DICOM file, whose header is taken from it again.
    File(Raw),
    /// A plane of an input that was no DICOM.
    Plane(PlaneForm),
}

/// What a rejection of a stored file, which nobody sees, would call it.
const NAME: &str = "stored";

/// The frame of an instance that has one.
fn only(instance: Result<Instance, Rejection>) -> Option<Frame> {
    let mut frames = instance.ok()?.frames;
    frames.pop().filter(|_| frames.is_empty())
}

fn pixel_bytes(object: &DefaultDicomObject) -> usize {
    match object.get(tags::PIXEL_DATA).map(|pixels| pixels.value()) {
        Some(Value::Primitive(samples)) => samples.calculate_byte_len(),
        Some(Value::PixelSequence(sequence)) => sequence.fragments().iter().map(Vec::len).sum(),
        Some(Value::Sequence(_)) | None => 0,
    }
}

/// A single-frame object is written as a file, pixels without a header as their plane. Frames share their object, so one
/// of many stays in memory.
impl Block for Pixels {
    const KIND: &'static str = "pixels.1";

    fn bytes(&self) -> usize {
        /// Attributes of a usual image beside its pixels.
        const ATTRIBUTES: usize = 16 << 10;
        let pixels = match &self.source {
            Source::Decoded(plane) => plane_bytes(plane),
            Source::Encoded { object, .. } => {
                let frames = Layout::of(object).ok().and_then(|layout| usize::try_from(layout.frames).ok());
                pixel_bytes(object) / frames.unwrap_or(1).max(1)
            }
        };
        ATTRIBUTES + pixels
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        match (&self.source, &self.header) {
            (Source::Encoded { object, frame: 1 }, Some(_)) => {
                let mut file = Vec::new();
                object.write_all(&mut file).ok()?;
                // What cannot be written as it was read, such as text outside of its character set, is not written.
                let (Frame { slice: before, .. }, Frame { slice: after, .. }) =
                    (only(read::from_object(NAME, object.as_ref().clone()))?, only(read::read_bytes(NAME, &file))?);
                if before == after { written(&PixelsForm::File(Raw(file))) } else { None }
            }
            (Source::Decoded(plane), None) => written(&PixelsForm::Plane(PlaneForm::of(plane)?)),
            (Source::Encoded { .. } | Source::Decoded(_), _) => None,
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match parsed::<PixelsForm>(bytes)? {
            PixelsForm::File(file) => only(read::read_bytes(NAME, &file.0)).map(|frame| frame.pixels),
            PixelsForm::Plane(form) => Some(Self { source: Source::Decoded(Arc::new(form.plane()?)), header: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;
    use crate::decode::decode;
    use crate::phantom::PhantomConfig;
    use crate::record::Reason;
    use crate::sample::folder;
    use crate::{intake, phantom};

    /// Reads back what a block writes, and nothing from a part of it.
    fn again<V: Block>(block: &V) -> V {
        let bytes = block.to_bytes().expect("a form on disk");
        for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(V::from_bytes(&bytes[..len]).is_none(), "{len} of {} bytes", bytes.len());
        }
        assert!(block.bytes() >= size_of::<V>());
        V::from_bytes(&bytes).expect("the block")
    }

    fn bits(floats: &[f32]) -> Vec<u32> {
        floats.iter().map(|float| float.to_bits()).collect()
    }

    fn floats() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..40)
    }

    fn plane() -> impl Strategy<Value = Plane> {
        let matrix = (0_usize..9, 0_usize..9, any::<bool>(), -3.0_f32..-0.1, -2000.0_f32..2000.0);
        matrix.prop_flat_map(|(rows, columns, signed, slope, intercept_hu)| {
            prop::collection::vec(any::<i16>(), rows * columns).prop_map(move |values| Plane {
                rows,
                columns,
                values: if signed {
                    StoredValues::Signed(values.into())
                } else {
                    StoredValues::Unsigned(values.into_iter().map(i16::cast_unsigned).collect())
                },
                rescale: Rescale::new(slope, intercept_hu).expect("finite numbers"),
            })
        })
    }

    proptest! {
        #[test]
        fn numbers_come_back_to_the_bit(feature in floats(), activation in floats(), probability: u32) {
            prop_assert_eq!(bits(&again(&feature)), bits(&feature));
            prop_assert_eq!(bits(&again(&FusedMap(activation.clone())).0), bits(&activation));
            let encoding = Encoding { feature, activation, probability: f32::from_bits(probability) };
            let read = again(&encoding);
            prop_assert_eq!(bits(&read.feature), bits(&encoding.feature));
            prop_assert_eq!(bits(&read.activation), bits(&encoding.activation));
            prop_assert_eq!(read.probability.to_bits(), probability);
        }

        #[test]
        fn planes_come_back(plane in plane()) {
            let decoded: Decoded = Ok(Arc::new(plane.clone()));
            prop_assert_eq!(again(&decoded), decoded);
            let pixels = again(&Pixels { source: Source::Decoded(Arc::new(plane.clone())), header: None });
            let Source::Decoded(read) = pixels.source else { return Err(TestCaseError::fail("a plane")) };
            prop_assert_eq!(read.as_ref(), &plane);
            prop_assert!(pixels.header.is_none());
        }

        #[test]
        fn masks_come_back(voxels in prop::collection::vec(prop_oneof![8 => Just(0_u8), 2 => Just(1), 1 => any::<u8>()], 0..300)) {
            prop_assert_eq!(again(&Mask { voxels: voxels.clone() }).voxels, voxels);
        }

        #[test]
        fn any_bytes_give_a_block_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            fn try_all<V: Block + Debug>(bytes: &[u8]) {
                let bytes = [&[VERSION], bytes].concat();
                if let Some(block) = V::from_bytes(&bytes) {
                    assert!(block.to_bytes().is_some(), "{block:?}");
                }
            }
            try_all::<Decoded>(&bytes);
            try_all::<Encoding>(&bytes);
            try_all::<Vec<f32>>(&bytes);
            try_all::<Pixels>(&bytes);
        }
    }

    #[test]
    fn a_rejection_comes_back() {
        let rejection: Decoded = Err(Rejection::new("1.2.3", Reason::UndecodablePixels, "broken"));
        assert_eq!(again(&rejection), rejection);
    }

    #[test]
    fn a_mask_of_a_whole_slice_is_small_and_one_of_a_bomb_is_none() {
        let whole = Mask { voxels: vec![1; 512 * 512] };
        assert!(whole.to_bytes().expect("a form").len() < 16);
        let bomb = written(&vec![(1_u8, usize::MAX / 2), (0, usize::MAX / 2)]).expect("a form");
        assert!(Mask::from_bytes(&bomb).is_none());
        let bomb = written(&vec![(1_u8, codec::LIMIT + 1)]).expect("a form");
        assert!(Mask::from_bytes(&bomb).is_none());
    }

    fn assert_same(read: &Pixels, pixels: &Pixels) {
        assert!(read.header.is_some() && read.header == pixels.header, "the header");
        assert_eq!(decode(read), decode(pixels), "the plane");
        assert!(read.bytes().abs_diff(pixels.bytes()) < 64, "{} and {} bytes", read.bytes(), pixels.bytes());
    }

    fn phantom() -> Pixels {
        let config = PhantomConfig { seed: 3, slices: Some(3), matrix: 64, ..PhantomConfig::default() };
        let study = phantom::study(&config, 0);
        let mut file = Vec::new();
        phantom::dicom_object(&study, &study.slices[1]).expect("an object").write_all(&mut file).expect("a file");
        only(read::read_bytes("a phantom", &file)).expect("one frame").pixels
    }

    #[test]
    fn pixels_come_back_with_their_header() {
        let pixels = phantom();
        assert!(pixels.bytes() > 2 * 64 * 64);
        assert_same(&again(&pixels), &pixels);
    }

    #[test]
    fn a_frame_of_many_and_a_plane_with_a_header_stay_in_memory() {
        let pixels = phantom();
        let Source::Encoded { object, .. } = &pixels.source else { panic!("encoded") };
        let second = Pixels { source: Source::Encoded { object: Arc::clone(object), frame: 2 }, ..pixels.clone() };
        assert!(second.to_bytes().is_none());
        let plane = decode(&pixels).expect("a plane");
        let decoded = Pixels { source: Source::Decoded(plane), header: pixels.header.clone() };
        assert!(decoded.to_bytes().is_none());
        let mut bare = pixels;
        bare.header = None;
        assert!(bare.to_bytes().is_none());
    }

    #[test]
    fn real_pixels_come_back_with_their_header() {
        let Some(folder) = folder("real_pixels_come_back", "dicom") else { return };
        let (mut single, mut stored) = (0, 0);
        for item in intake::items(&[folder]) {
            let intake::Item::File(path) = item else { continue };
            let Some(frame) = only(read::read_file(&path)) else { continue };
            single += 1;
            if frame.pixels.to_bytes().is_some() {
                stored += 1;
                assert_same(&again(&frame.pixels), &frame.pixels);
            }
        }
        println!("{stored} of {single} real slices have a form on disk");
        assert!(single > 0 && stored * 10 >= single * 9, "{stored} of {single}");
    }
}

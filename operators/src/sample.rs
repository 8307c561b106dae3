//! Real slices for tests, where they are at hand: HU with their geometry.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use dicom_pixeldata::PixelDecoder;

use crate::record::{Digest, Geometry, InstanceUid, Slice};

/// A slice with its HU.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) slice: Slice,
    pub(crate) hu: Vec<i16>,
}

impl Sample {
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.slice.geometry.rows as usize, self.slice.geometry.columns as usize]
    }
}

/// A folder of the test data: below `HEMOFLOW_DATA`, or below `shared/data` beside a folder that holds this crate. Says so
/// and gives nothing if it is not there.
pub(crate) fn folder(test: &str, path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("HEMOFLOW_DATA").map(PathBuf::from).or_else(|| {
        let up = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        up.map(|folder| folder.join("shared/data")).find(|data| data.is_dir())
    });
    let folder = root.map(|root| root.join(path)).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: {test}: no test data");
    }
    folder
}

/// The single-frame CT images right in a folder, sorted.
pub(crate) fn series(folder: &Path) -> Vec<Sample> {
    let files = std::fs::read_dir(folder).expect("a folder");
    let mut samples: Vec<Sample> = files.filter_map(|file| read(&file.expect("an entry").path())).collect();
    samples.sort_by(|a, b| a.slice.cmp(&b.slice));
    samples
}

fn read(path: &Path) -> Option<Sample> {
    let object = dicom_object::open_file(path).ok()?;
    let [rows, columns] =
        [tags::ROWS, tags::COLUMNS].map(|tag| numbers(&object, tag).first().map(|number| *number as u32));
    let geometry = Geometry::new(
        numbers(&object, tags::IMAGE_POSITION_PATIENT).try_into().ok()?,
        numbers(&object, tags::IMAGE_ORIENTATION_PATIENT).try_into().ok()?,
        numbers(&object, tags::PIXEL_SPACING).try_into().ok()?,
        [rows?, columns?],
        numbers(&object, tags::SLICE_THICKNESS).first().copied(),
    )?;
    let pixels = object.decode_pixel_data().expect("decodable pixels");
    let signed = numbers(&object, tags::PIXEL_REPRESENTATION).contains(&1.0);
    let slope = numbers(&object, tags::RESCALE_SLOPE)[0];
    let intercept = numbers(&object, tags::RESCALE_INTERCEPT)[0];
    let value = |bytes: &[u8]| {
        let bits = u16::from_le_bytes([bytes[0], bytes[1]]);
        if signed { f64::from(bits.cast_signed()) } else { f64::from(bits) }
    };
    let hu = pixels.data().chunks_exact(2).map(|bytes| (value(bytes) * slope + intercept).round() as i16).collect();
    let uid = object.element(tags::SOP_INSTANCE_UID).ok()?.to_str().ok()?.trim_end_matches('\0').to_owned();
    let slice = Slice::new(InstanceUid::new(&uid).expect("a UID"), 1, Digest::of(uid.as_bytes()), geometry);
    Some(Sample { name: path.file_stem()?.to_string_lossy().into_owned(), slice, hu })
}

fn numbers(object: &DefaultDicomObject, tag: dicom_core::Tag) -> Vec<f64> {
    object.element(tag).ok().and_then(|element| element.to_multi_float64().ok()).unwrap_or_default()
}

/// The first channel of an 8-bit image.
pub(crate) fn png(path: &Path) -> Vec<u8> {
    let file = std::io::BufReader::new(std::fs::File::open(path).expect("an image"));
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    pixels.chunks_exact(info.color_type.samples()).map(|samples| samples[0]).collect()
}

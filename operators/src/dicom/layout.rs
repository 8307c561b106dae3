//! How an image's pixels are laid out: matrix, bits, sign, and the rescale of a frame.
//!
//! Source: DICOM PS3.3 C.7.6.3 (Image Pixel), C.8.2.1 (CT Image), C.7.6.16.2.9 (Pixel Value Transformation).

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use kernels::units::Rescale;

use super::attribute::{integer, named, numbers, of_frame, text};
use crate::record::{Reason, Refusal};

/// The largest matrix side that is taken for a CT image; a larger one is a broken header.
const MAX_SIDE: u32 = 8192;

/// The layout of every frame of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    /// Bits of a sample that hold its value, at most 16.
    pub(crate) bits_stored: u32,
    /// Bits below the value: not zero where overlays lie under it.
    pub(crate) shift: u32,
    /// Pixel representation 1.
    pub(crate) signed: bool,
    pub(crate) frames: u32,
}

impl Layout {
    /// The layout that the attributes tell.
    ///
    /// # Errors
    ///
    /// Refuses pixels that cannot hold CT values, and attributes that are missing or contradict each other.
    pub(crate) fn of(object: &InMemDicomObject) -> Result<Self, Refusal> {
        let require = |tag: Tag| {
            integer(object, tag).ok_or_else(|| Refusal::new(Reason::Malformed, format!("{} is missing", named(tag))))
        };
        let refuse = |tag: Tag, value: &dyn std::fmt::Display| {
            Err(Refusal::new(Reason::UnsupportedPixels, format!("{} is {value}", named(tag))))
        };
        let samples = integer(object, tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        if samples != 1 {
            return refuse(tags::SAMPLES_PER_PIXEL, &samples);
        }
        if let Some(interpretation) = text(object, tags::PHOTOMETRIC_INTERPRETATION)
            && !interpretation.starts_with("MONOCHROME")
        {
            return refuse(tags::PHOTOMETRIC_INTERPRETATION, &interpretation);
        }
        let allocated = require(tags::BITS_ALLOCATED)?;
        if allocated != 16 {
            return refuse(tags::BITS_ALLOCATED, &allocated);
        }
        let bits_stored = require(tags::BITS_STORED)?;
        if !(2..=16).contains(&bits_stored) {
            return refuse(tags::BITS_STORED, &bits_stored);
        }
        let high_bit = integer(object, tags::HIGH_BIT).unwrap_or(bits_stored - 1);
        if !(bits_stored - 1..16).contains(&high_bit) {
            return refuse(tags::HIGH_BIT, &high_bit);
        }
        let representation = require(tags::PIXEL_REPRESENTATION)?;
        if representation > 1 {
            return refuse(tags::PIXEL_REPRESENTATION, &representation);
        }
        let side = |tag| {
            let side = require(tag)?;
            let fits = u16::try_from(side).ok().filter(|_| (1..=MAX_SIDE).contains(&side));
            fits.ok_or_else(|| Refusal::new(Reason::UnsupportedPixels, format!("{} is {side}", named(tag))))
        };
        Ok(Self {
            rows: side(tags::ROWS)?,
            columns: side(tags::COLUMNS)?,
            bits_stored,
            shift: high_bit + 1 - bits_stored,
            signed: representation == 1,
            frames: integer(object, tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1),
        })
    }

    /// Pixels of a frame.
    pub(crate) fn pixels(self) -> usize {
        usize::from(self.rows) * usize::from(self.columns)
    }

    /// Whether values below zero were stored modulo 4096: unsigned 12 bits, and an intercept that leaves no room for
    /// air at -1000 HU. Known from slices of the RSNA 2019 hemorrhage data set.
    pub(crate) fn wraps(self, rescale: Rescale) -> bool {
        self.bits_stored == 12 && !self.signed && rescale.intercept_hu() > -100.0
    }
}

/// The rescale of one frame (from 1).
///
/// # Errors
///
/// Refuses a frame without slope or intercept, whose values have no unit, and one that is not in Hounsfield units.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "HU need no more than f32 holds")]
pub(crate) fn rescale(object: &InMemDicomObject, frame: u32) -> Result<Rescale, Refusal> {
    let value = |tag| of_frame(object, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tag);
    let number = |tag: Tag| {
        let refusal = || Refusal::new(Reason::Malformed, format!("{} is missing or no number", named(tag)));
        value(tag).and_then(numbers::<1>).map(|[number]| number as f32).ok_or_else(refusal)
    };
    if let Some(unit) = value(tags::RESCALE_TYPE).and_then(|value| value.to_str().ok()) {
        let unit = unit.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        if !["", "HU", "HU_MOD", "US"].contains(&unit) {
            return Err(Refusal::new(Reason::Derived, format!("{} is {unit}, not HU", named(tags::RESCALE_TYPE))));
        }
    }
    let (slope, intercept_hu) = (number(tags::RESCALE_SLOPE)?, number(tags::RESCALE_INTERCEPT)?);
    let no_scale = || Refusal::new(Reason::Malformed, format!("{} is {slope}", named(tags::RESCALE_SLOPE)));
    Rescale::new(slope, intercept_hu).ok_or_else(no_scale)
}

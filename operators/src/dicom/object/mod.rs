//! What every object that is written shares: its elements, what it inherits from an image, its identifiers, its file.

mod element;
mod inherit;
mod uid;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::mem::InMemElement;
use dicom_object::{FileDicomObject, FileMetaTableBuilder, InMemDicomObject, WithMetaError};

pub(crate) use element::{Code, decimal, decimals, empty, item, sequence, short, text, unsigned};
pub(crate) use inherit::{Moment, attribute, flag, patient_and_study};
pub(crate) use uid::derived;

/// An attribute with its value.
pub(crate) type Element = InMemElement;

/// The program as a maker of objects. A UUID drawn once, for good.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.182003330953601190599345641527736722386";
/// Its version (PS3.7 section D.3.3.2).
pub const IMPLEMENTATION_VERSION_NAME: &str = concat!("HEMOFLOW_", env!("CARGO_PKG_VERSION"));

/// Attributes of the modules SOP Common (C.12.1), General and Enhanced General Equipment (C.7.5), of which `serial` says
/// which weights made the object.
pub(crate) fn common(sop_class: &str, sop_instance: &str, series: &str, serial: &str) -> Vec<Element> {
    vec![
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::SOP_CLASS_UID, VR::UI, sop_class),
        text(tags::SOP_INSTANCE_UID, VR::UI, sop_instance),
        text(tags::SERIES_INSTANCE_UID, VR::UI, series),
        text(tags::MANUFACTURER, VR::LO, "Hemoflow"),
        text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Hemoflow"),
        text(tags::DEVICE_SERIAL_NUMBER, VR::LO, short(serial)),
        text(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
    ]
}

/// The data set with its file meta information (PS3.10 section 7.1): explicit VR, little endian.
///
/// # Errors
///
/// Returns [`WithMetaError`] if the data set has no identifiers.
pub(crate) fn file(object: InMemDicomObject) -> Result<FileDicomObject<InMemDicomObject>, WithMetaError> {
    file_in(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// The same in a transfer syntax, which pixels in the data set must have already.
///
/// # Errors
///
/// Returns [`WithMetaError`] if the data set has no identifiers.
pub(crate) fn file_in(
    object: InMemDicomObject,
    transfer_syntax: &str,
) -> Result<FileDicomObject<InMemDicomObject>, WithMetaError> {
    object.with_meta(
        FileMetaTableBuilder::new()
            .transfer_syntax(transfer_syntax)
            .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
            .implementation_version_name(IMPLEMENTATION_VERSION_NAME),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_name_fits_its_representation() {
        assert!(IMPLEMENTATION_VERSION_NAME.len() <= 16, "SH holds 16 characters");
    }
}

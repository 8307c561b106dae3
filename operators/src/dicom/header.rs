//! What a result object inherits from the image that it was made from.

use dicom_object::InMemDicomObject;

/// The attributes of an image that its results repeat: patient, study, series, frame of reference, equipment. No pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// SOP Class UID of the image.
    pub sop_class: String,
    /// The attributes that are present, as they were read.
    pub attributes: InMemDicomObject,
}

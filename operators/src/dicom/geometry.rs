//! The plane of a frame from its attributes, or from the functional groups of a multi-frame image.
//!
//! Source: DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2.1 (Pixel Measures), C.7.6.16.2.3 (Plane Position),
//! C.7.6.16.2.4 (Plane Orientation). Slice Location, gantry tilt and table positions are not read: the orientation
//! holds the tilt.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attribute::{items, named, numbers, of_frame};
use super::layout::Layout;
use crate::record::{Geometry, Reason, Refusal};

/// The plane of a frame (from 1).
///
/// # Errors
///
/// Refuses a frame without position, orientation or spacing, and one whose numbers make no plane.
pub(crate) fn geometry(object: &InMemDicomObject, frame: u32, layout: Layout) -> Result<Geometry, Refusal> {
    fn required<const N: usize>(
        object: &InMemDicomObject,
        frame: u32,
        [group, tag]: [Tag; 2],
    ) -> Result<[f64; N], Refusal> {
        let missing = || Refusal::new(Reason::MissingGeometry, format!("{} is missing or no {N} numbers", named(tag)));
        of_frame(object, frame, group, tag).and_then(numbers).ok_or_else(missing)
    }
    let groups = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
    if layout.frames > 1 && usize::try_from(layout.frames).is_ok_and(|frames| frames != groups) {
        let detail = format!("{} frames, functional groups for {groups}", layout.frames);
        return Err(Refusal::new(Reason::MissingGeometry, detail));
    }
    let position = required::<3>(object, frame, [tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT])?;
    let orientation =
        required::<6>(object, frame, [tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT])?;
    let spacing = required::<2>(object, frame, [tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING])?;
    let thickness = of_frame(object, frame, tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS).and_then(numbers);
    let matrix = [u32::from(layout.rows), u32::from(layout.columns)];
    let plane = Geometry::new(position, orientation, spacing, matrix, thickness.map(|[mm]| mm));
    plane.ok_or_else(|| {
        let detail = format!("position {position:?}, orientation {orientation:?}, spacing {spacing:?} make no plane");
        Refusal::new(Reason::MissingGeometry, detail)
    })
}

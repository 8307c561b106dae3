//! The frames: where each lies, which image it comes from, in which order they stand.
//!
//! Source: PS3.3 C.7.6.16.2 (functional group macros), C.7.6.17 (dimensions), C.12.2 (references).

use std::collections::{BTreeMap, BTreeSet};

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::{SegError, SegFrame};
use crate::dicom::object::{Code, Element, attribute, decimal, decimals, item, sequence, text, unsigned};
use crate::record::{Geometry, SeriesUid};

const SOURCE_IMAGE: Code = Code::new("121322", "DCM", "Source image for image processing operation");
const SEGMENTATION: Code = Code::new("113076", "DCM", "Segmentation");

/// Steps that differ by less are one spacing, micrometers: positions come rounded to two digits of a millimeter.
const EVEN_WITHIN_UM: i64 = 10;

/// SOP classes that hold many frames.
const MULTI_FRAME: [&str; 4] = [
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE_FOR_PROCESSING,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE_FOR_PROCESSING,
];

/// The slices that were looked at, in z order, all of one matrix, and those of them with a voxel inside.
pub(super) struct Stack<'a> {
    all: Vec<SegFrame<'a>>,
    inside: Vec<SegFrame<'a>>,
}

impl<'a> Stack<'a> {
    /// The slices in their order.
    pub(super) fn new(frames: &[SegFrame<'a>]) -> Result<Self, SegError> {
        let mut all = frames.to_vec();
        all.sort_by_key(|frame| frame.slice);
        for pair in all.windows(2) {
            let (a, b) = (&pair[0].slice.geometry, &pair[1].slice.geometry);
            if (a.rows, a.columns) != (b.rows, b.columns) {
                return Err(SegError::Matrices(a.rows, a.columns, b.rows, b.columns));
            }
        }
        for frame in &all {
            let Geometry { rows, columns, .. } = frame.slice.geometry;
            let pixels = u64::from(rows) * u64::from(columns);
            let voxels = frame.mask.voxels.len();
            if u64::try_from(voxels) != Ok(pixels) {
                return Err(SegError::Mask { voxels, pixels });
            }
        }
        let inside = all.iter().copied().filter(|frame| frame.mask.count() > 0).collect();
        Ok(Self { all, inside })
    }

    /// The lowest slice.
    pub(super) fn first(&self) -> Option<&SegFrame<'a>> {
        self.all.first()
    }

    /// The slices that become frames.
    pub(super) fn inside(&self) -> &[SegFrame<'a>] {
        &self.inside
    }

    /// `[rows, columns]` of every slice.
    pub(super) fn matrix(&self) -> [u32; 2] {
        self.first().map_or([0; 2], |frame| [frame.slice.geometry.rows, frame.slice.geometry.columns])
    }

    /// Multi-frame Dimension: by segment, then by position.
    pub(super) fn dimensions(&self, organization: &str) -> Vec<Element> {
        let index = |pointer, group, label: &str| {
            item([
                address(tags::DIMENSION_INDEX_POINTER, pointer),
                address(tags::FUNCTIONAL_GROUP_POINTER, group),
                text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization),
                text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label),
            ])
        };
        vec![
            sequence(
                tags::DIMENSION_ORGANIZATION_SEQUENCE,
                vec![item([text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization)])],
            ),
            sequence(
                tags::DIMENSION_INDEX_SEQUENCE,
                vec![
                    index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "Segment Number"),
                    index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Image Position (Patient)"),
                ],
            ),
        ]
    }

    /// What all frames share, and what each has of its own. Orientation and pixel measures are shared if they are the
    /// same in all, else each frame has its own: a head CT may change its slice thickness half way up.
    pub(super) fn functional_groups(&self) -> [Element; 2] {
        let spacing = self.spacing_um();
        let mut shared = vec![sequence(
            tags::SEGMENT_IDENTIFICATION_SEQUENCE,
            vec![item([unsigned(tags::REFERENCED_SEGMENT_NUMBER, 1)])],
        )];
        let mut own: Vec<Vec<Element>> = Vec::with_capacity(self.inside.len());
        let mut place = 0;
        for (at, frame) in self.inside.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| self.inside[before].slice.geometry.position_um);
            place += u32::from(before != Some(frame.slice.geometry.position_um));
            own.push(vec![content(place), position(&frame.slice.geometry), self.derivation(frame)]);
        }
        let turned = |frame: &SegFrame<'_>| frame.slice.geometry.orientation_nano;
        self.place(|frame| orientation(&frame.slice.geometry), turned, &mut shared, &mut own);
        let measured = |frame: &SegFrame<'_>| (frame.slice.geometry.spacing_nm, self.thickness_um(frame));
        self.place(|frame| measures(measured(frame), spacing), measured, &mut shared, &mut own);
        [
            sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![item(shared)]),
            sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, own.into_iter().map(item).collect()),
        ]
    }

    /// Puts what `make` makes of each frame: once if all have one `key`, else beside each frame.
    fn place<K: PartialEq>(
        &self,
        make: impl Fn(&SegFrame<'_>) -> Element,
        key: impl Fn(&SegFrame<'_>) -> K,
        shared: &mut Vec<Element>,
        own: &mut [Vec<Element>],
    ) {
        if self.inside.windows(2).all(|pair| key(&pair[0]) == key(&pair[1])) {
            shared.extend(self.inside.first().map(make));
        } else {
            own.iter_mut().zip(&self.inside).for_each(|(elements, frame)| elements.push(make(frame)));
        }
    }

    /// Common Instance Reference: every image that was looked at, once.
    pub(super) fn references(&self, series: &SeriesUid) -> Element {
        let instances: BTreeMap<&str, &str> =
            self.all.iter().map(|frame| (frame.slice.instance.as_str(), frame.header.sop_class.as_str())).collect();
        let instances = instances.into_iter().map(|(instance, class)| item(reference(class, instance))).collect();
        let series = item([
            text(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str()),
            sequence(tags::REFERENCED_INSTANCE_SEQUENCE, instances),
        ]);
        sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series])
    }

    /// The one step between neighboring slices, micrometers, or `None` if there is not just one.
    fn spacing_um(&self) -> Option<i64> {
        if !self.all.windows(2).all(|pair| pair[0].slice.geometry.alike(&pair[1].slice.geometry)) {
            return None;
        }
        let places: Vec<i64> =
            self.all.iter().map(|frame| frame.slice.along_um).collect::<BTreeSet<_>>().into_iter().collect();
        let steps: Vec<i64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (least, most) = (steps.iter().min()?, steps.iter().max()?);
        let span = places.last()? - places.first()?;
        (most - least <= EVEN_WITHIN_UM).then(|| span / i64::try_from(steps.len()).unwrap_or(1))
    }

    /// The nominal thickness that the image states, micrometers. Where it states none, the distance to the nearest other
    /// slice: readers want a thickness, and that is how far a frame speaks for its surroundings.
    fn thickness_um(&self, frame: &SegFrame<'_>) -> Option<i64> {
        let place = frame.slice.along_um;
        let distances = self.all.iter().map(|other| other.slice.along_um.abs_diff(place));
        let nearest = || distances.filter(|distance| *distance > 0).min().and_then(|um| i64::try_from(um).ok());
        frame.slice.geometry.thickness_um.or_else(nearest)
    }

    /// Derivation Image (C.7.6.16.2.6): which image, and which of its frames.
    fn derivation(&self, frame: &SegFrame<'_>) -> Element {
        let mut image = reference(&frame.header.sop_class, frame.slice.instance.as_str());
        if self.is_multi_frame(frame) {
            image.push(text(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.slice.frame.to_string()));
        }
        image.push(SOURCE_IMAGE.element(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE));
        image.push(text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES"));
        let derivation = item([
            sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![item(image)]),
            SEGMENTATION.element(tags::DERIVATION_CODE_SEQUENCE),
        ]);
        sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation])
    }

    fn is_multi_frame(&self, frame: &SegFrame<'_>) -> bool {
        let stated = attribute(frame.header, tags::NUMBER_OF_FRAMES).and_then(|number| number.parse::<u32>().ok());
        MULTI_FRAME.contains(&frame.header.sop_class.as_str()) || frame.slice.frame > 1 || stated > Some(1)
    }
}

fn address(tag: Tag, pointer: Tag) -> Element {
    DataElement::new(tag, VR::AT, PrimitiveValue::Tags([pointer].as_slice().into()))
}

fn reference(class: &str, instance: &str) -> Vec<Element> {
    vec![text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class), text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance)]
}

/// Frame Content: the place among the positions, from 1.
fn content(place: u32) -> Element {
    let indices =
        DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32([1, place].as_slice().into()));
    sequence(tags::FRAME_CONTENT_SEQUENCE, vec![item([indices])])
}

fn position(geometry: &Geometry) -> Element {
    let place = decimals(tags::IMAGE_POSITION_PATIENT, geometry.position_um.map(|um| decimal(um, 3)));
    sequence(tags::PLANE_POSITION_SEQUENCE, vec![item([place])])
}

fn orientation(geometry: &Geometry) -> Element {
    let cosines = decimals(tags::IMAGE_ORIENTATION_PATIENT, geometry.orientation_nano.map(|nano| decimal(nano, 9)));
    sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![item([cosines])])
}

/// Pixel Measures: spacing between pixels (nanometers), thickness, and the step between slices if all have one
/// (micrometers).
fn measures((pixels_nm, thickness_um): ([i64; 2], Option<i64>), step_um: Option<i64>) -> Element {
    let length = |tag| move |um| decimals(tag, [decimal(um, 3)]);
    let measures = [
        Some(decimals(tags::PIXEL_SPACING, pixels_nm.map(|nm| decimal(nm, 6)))),
        thickness_um.map(length(tags::SLICE_THICKNESS)),
        step_um.map(length(tags::SPACING_BETWEEN_SLICES)),
    ];
    sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![item(measures.into_iter().flatten())])
}

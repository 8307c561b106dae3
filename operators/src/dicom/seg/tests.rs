use dicom_core::Tag;
use proptest::prelude::*;

use super::*;
use crate::record::{Geometry, InstanceUid};

const SIZE: u32 = 5;

fn header() -> Header {
    Header {
        sop_class: uids::CT_IMAGE_STORAGE.to_owned(),
        attributes: item([
            text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3"),
            text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
            text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.5"),
            text(tags::PATIENT_NAME, VR::PN, "Grün^Ada"),
            text(tags::STUDY_DATE, VR::DA, "20240229"),
        ]),
    }
}

fn slice(index: i64, z_mm: f64, thickness_mm: Option<f64>) -> Slice {
    let geometry = Geometry::new([-1.5, 2.25, z_mm], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.5; 2], [SIZE; 2], thickness_mm)
        .expect("a plane");
    let uid = InstanceUid::new(&format!("1.2.3.4.{index}")).expect("a uid");
    Slice::new(uid, 1, Digest::builder("slice").number(index).finish(), geometry)
}

fn mask(inside: &[usize]) -> Mask {
    let mut voxels = vec![0; 25];
    inside.iter().for_each(|at| voxels[*at] = 1);
    Mask { voxels }
}

/// A series: position, thickness and voxels inside of each slice.
struct Series {
    header: Header,
    slices: Vec<Slice>,
    masks: Vec<Mask>,
}

impl Series {
    fn new(slices: &[(f64, f64, &[usize])]) -> Self {
        Self {
            header: header(),
            slices: (1..).zip(slices).map(|(index, (z, thickness, _))| slice(index, *z, Some(*thickness))).collect(),
            masks: slices.iter().map(|(_, _, inside)| mask(inside)).collect(),
        }
    }

    fn frames(&self) -> Vec<SegFrame<'_>> {
        let frame = |(slice, mask)| SegFrame { header: &self.header, slice, mask };
        self.slices.iter().zip(&self.masks).map(frame).collect()
    }

    fn segmented(&self, kind: SegKind, inputs: &[u8], weights: &[u8]) -> Option<FileDicomObject<InMemDicomObject>> {
        let algorithm = Algorithm { name: "net", version: "1", sha256: &Digest::of(weights) };
        segmentation(kind, &self.frames(), &algorithm, &Digest::of(inputs)).expect("a legal series")
    }

    fn object(&self) -> FileDicomObject<InMemDicomObject> {
        self.segmented(SegKind::Segmentation, b"inputs", b"weights").expect("a voxel is inside")
    }
}

fn bytes(object: &FileDicomObject<InMemDicomObject>) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).expect("memory");
    bytes
}

fn value(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    object.get(tag).map(|element| element.to_str().expect("text").into_owned())
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|element| element.items()).unwrap_or_default()
}

#[test]
fn no_voxel_inside_gives_no_object() {
    assert!(Series::new(&[(0.0, 5.0, &[]), (5.0, 5.0, &[])]).segmented(SegKind::Segmentation, b"", b"").is_none());
    assert!(Series::new(&[]).segmented(SegKind::PseudoMask, b"", b"").is_none());
}

#[test]
fn frames_are_the_slices_with_a_voxel_inside_in_z_order() {
    let series = Series::new(&[(10.0, 5.0, &[3]), (0.0, 5.0, &[]), (5.0, 5.0, &[0, 24])]);
    let object = series.object();
    assert_eq!(value(&object, tags::NUMBER_OF_FRAMES).as_deref(), Some("2"));
    let frames = items(&object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let positions: Vec<_> = frames
        .iter()
        .map(|frame| value(&items(frame, tags::PLANE_POSITION_SEQUENCE)[0], tags::IMAGE_POSITION_PATIENT))
        .collect();
    assert_eq!(positions, [Some("-1.5\\2.25\\5".to_owned()), Some("-1.5\\2.25\\10".to_owned())]);
    let sources = items(&object, tags::REFERENCED_SERIES_SEQUENCE);
    assert_eq!(items(&sources[0], tags::REFERENCED_INSTANCE_SEQUENCE).len(), 3, "the empty slice was looked at, too");
    let pixels = object.element(tags::PIXEL_DATA).expect("pixels").to_bytes().expect("bytes").into_owned();
    assert_eq!(pixels, [0b0000_0001, 0, 0, 0b0000_0001 | 1 << 4, 0, 0, 0, 0], "frame 2 starts at bit 25");
}

#[test]
fn a_frame_names_its_image_and_a_frame_of_many_its_number() {
    let single = Series::new(&[(0.0, 5.0, &[1])]);
    let source = |series: &Series| {
        let object = series.object();
        let frame = &items(&object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)[0];
        let derivation = &items(frame, tags::DERIVATION_IMAGE_SEQUENCE)[0];
        let image = &items(derivation, tags::SOURCE_IMAGE_SEQUENCE)[0];
        (value(image, tags::REFERENCED_SOP_INSTANCE_UID), value(image, tags::REFERENCED_FRAME_NUMBER))
    };
    assert_eq!(source(&single), (Some("1.2.3.4.1".to_owned()), None));
    let mut many = Series::new(&[(0.0, 5.0, &[1])]);
    many.header.sop_class = uids::ENHANCED_CT_IMAGE_STORAGE.to_owned();
    assert_eq!(source(&many), (Some("1.2.3.4.1".to_owned()), Some("1".to_owned())));
}

#[test]
fn the_spacing_is_stated_only_where_there_is_one() {
    let measures = |slices: &[(f64, f64, &[usize])]| {
        let object = Series::new(slices).object();
        let shared = &items(&object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)[0];
        let own = &items(&object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)[0];
        let find = |group| items(group, tags::PIXEL_MEASURES_SEQUENCE).first().cloned();
        (find(shared).map(|item| value(&item, tags::SPACING_BETWEEN_SLICES)), find(own).is_some())
    };
    let even = measures(&[(0.0, 5.0, &[1]), (5.0, 5.0, &[]), (10.005, 5.0, &[1])]);
    assert_eq!(even, (Some(Some("5.002".to_owned())), false), "rounding is not unevenness");
    let uneven = measures(&[(0.0, 5.0, &[1]), (5.0, 5.0, &[]), (12.0, 5.0, &[1])]);
    assert_eq!(uneven, (Some(None), false));
    let mixed = measures(&[(0.0, 4.0, &[1]), (4.0, 7.0, &[1])]);
    assert_eq!(mixed, (None, true), "each frame has its own thickness");
    let lone = measures(&[(0.0, 5.0, &[1])]);
    assert_eq!(lone, (Some(None), false));
}

#[test]
fn a_thickness_that_is_not_stated_is_the_distance_to_the_nearest_slice() {
    let mut series = Series::new(&[(0.0, 5.0, &[1]), (4.0, 5.0, &[1]), (11.0, 5.0, &[1])]);
    series.slices.iter_mut().for_each(|slice| slice.geometry.thickness_um = None);
    let thickness = |object: &InMemDicomObject| -> Vec<_> {
        let measures = |frame| value(&items(frame, tags::PIXEL_MEASURES_SEQUENCE)[0], tags::SLICE_THICKNESS);
        items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).iter().filter_map(measures).collect()
    };
    assert_eq!(thickness(&series.object()), ["4", "4", "7"]);
}

#[test]
fn slices_at_one_place_share_their_index() {
    let object = Series::new(&[(0.0, 5.0, &[1]), (0.0, 5.0, &[2]), (5.0, 5.0, &[3])]).object();
    let places: Vec<_> = items(&object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
        .iter()
        .map(|frame| {
            let content = &items(frame, tags::FRAME_CONTENT_SEQUENCE)[0];
            content.element(tags::DIMENSION_INDEX_VALUES).expect("indices").to_multi_int::<u32>().expect("numbers")
        })
        .collect();
    assert_eq!(places, [[1, 1], [1, 1], [1, 2]]);
}

#[test]
fn names_follow_from_kind_inputs_and_weights_alone() {
    let series = Series::new(&[(0.0, 5.0, &[1])]);
    let names = |kind, inputs: &[u8], weights: &[u8]| {
        let object = series.segmented(kind, inputs, weights).expect("a voxel is inside");
        let segment = &items(&object, tags::SEGMENT_SEQUENCE)[0];
        [
            value(&object, tags::SOP_INSTANCE_UID),
            value(&object, tags::SERIES_INSTANCE_UID),
            value(segment, tags::TRACKING_UID),
        ]
    };
    let [instance, own_series, tracking] = names(SegKind::Segmentation, b"a", b"w");
    assert_eq!(names(SegKind::Segmentation, b"a", b"w"), [instance.clone(), own_series.clone(), tracking.clone()]);
    let [later, same_series, same_tracking] = names(SegKind::Segmentation, b"b", b"w");
    assert!(later != instance && same_series == own_series && same_tracking == tracking, "a new version");
    let [other, new_series, same_tracking] = names(SegKind::Segmentation, b"a", b"v");
    assert!(other != instance && new_series != own_series && same_tracking == tracking, "a new model");
    let [other, new_series, new_tracking] = names(SegKind::PseudoMask, b"a", b"w");
    assert!(other != instance && new_series != own_series && new_tracking != tracking, "another kind");
    let source = SeriesUid::new("1.2.3.4").expect("a uid");
    assert_eq!(tracking, Some(tracking_uid(SegKind::Segmentation, &source)));
}

#[test]
fn a_frame_of_reference_is_never_invented() {
    let mut series = Series::new(&[(0.0, 5.0, &[1])]);
    let told = series.object();
    assert_eq!(value(&told, tags::FRAME_OF_REFERENCE_UID).as_deref(), Some("1.2.3.5"));
    assert_eq!(value(&told, tags::POSITION_REFERENCE_INDICATOR).as_deref(), Some(""), "type 2");
    series.header.attributes.remove_element(tags::FRAME_OF_REFERENCE_UID);
    assert_eq!(value(&series.object(), tags::FRAME_OF_REFERENCE_UID), None);
}

#[test]
fn loss_in_the_source_is_told() {
    let mut series = Series::new(&[(0.0, 5.0, &[1])]);
    assert_eq!(value(&series.object(), tags::LOSSY_IMAGE_COMPRESSION).as_deref(), Some("00"));
    series.header.attributes.put(text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01"));
    series.header.attributes.put(text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, "8.5"));
    let object = series.object();
    assert_eq!(value(&object, tags::LOSSY_IMAGE_COMPRESSION).as_deref(), Some("01"));
    assert_eq!(value(&object, tags::LOSSY_IMAGE_COMPRESSION_RATIO).as_deref(), Some("8.5"));
    assert_eq!(value(&object, tags::LOSSY_IMAGE_COMPRESSION_METHOD), None);
}

#[test]
fn refuses_what_one_object_cannot_hold() {
    let series = Series::new(&[(0.0, 5.0, &[1]), (5.0, 5.0, &[1])]);
    let algorithm = Algorithm { name: "", version: "", sha256: &Digest::of(b"") };
    let segmented = |frames: &[SegFrame<'_>]| {
        segmentation(SegKind::Segmentation, frames, &algorithm, &Digest::of(b"")).map(|object| object.is_some())
    };
    let short = Mask { voxels: vec![1; 24] };
    let mut frames = series.frames();
    frames[0].mask = &short;
    assert!(matches!(segmented(&frames), Err(SegError::Mask { voxels: 24, pixels: 25 })));
    let mut wide = series.slices[0].clone();
    wide.geometry.columns = 6;
    frames = series.frames();
    frames[1].slice = &wide;
    assert!(matches!(segmented(&frames), Err(SegError::Matrices(5, 5, 5, 6) | SegError::Matrices(5, 6, 5, 5))));
    let anonymous = Header { attributes: InMemDicomObject::new_empty(), ..header() };
    let lone = SegFrame { header: &anonymous, ..series.frames()[0] };
    assert!(matches!(segmented(&[lone]), Err(SegError::Series)));
}

#[test]
fn a_file_reads_back_as_the_object_that_was_written() {
    let object = Series::new(&[(0.0, 5.0, &[1]), (5.0, 5.0, &[0, 7])]).object();
    let written = bytes(&object);
    let read = dicom_object::from_reader(written.as_slice()).expect("a file");
    assert_eq!(value(&read, tags::PATIENT_NAME).as_deref(), Some("Grün^Ada"));
    assert_eq!(value(&read, tags::CONTENT_DATE).as_deref(), Some("20240229"));
    assert_eq!(read.meta().media_storage_sop_class_uid(), uids::SEGMENTATION_STORAGE);
    assert_eq!(bytes(&read), written);
}

proptest! {
    #[test]
    fn the_order_of_arrival_changes_no_byte(order in Just((0..4_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let series = Series::new(&[(0.0, 4.0, &[1]), (4.0, 4.0, &[]), (5.5, 7.0, &[2, 3]), (12.5, 7.0, &[24])]);
        let algorithm = Algorithm { name: "net", version: "1", sha256: &Digest::of(b"weights") };
        let frames = series.frames();
        let shuffled: Vec<_> = order.iter().map(|at| frames[*at]).collect();
        let segmented = |frames: &[SegFrame<'_>]| {
            let object = segmentation(SegKind::PseudoMask, frames, &algorithm, &Digest::of(b"inputs"));
            bytes(&object.expect("a legal series").expect("a voxel is inside"))
        };
        prop_assert_eq!(segmented(&shuffled), segmented(&frames));
    }
}

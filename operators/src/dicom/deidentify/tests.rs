//! What is planted is gone, and what makes an image is there.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;
use proptest::prelude::*;

use super::*;
use crate::dicom::object::{Element, file, item, sequence, text as attribute};
use crate::dicom::{Instance, read};
use crate::phantom::{self, PhantomConfig};

/// What no output may hold. Long enough that no pseudonym holds it by chance.
const PLANTED: [&str; 8] = ["PLANTED", "Planted", "planted", "19230504", "031415.9", "1.2.752.99", "-987.654", "077Y"];

/// A value of a representation that tells of a patient, if the representation can.
#[allow(clippy::wildcard_enum_match_arm, reason = "the others hold bytes")]
fn plant(vr: VR) -> PrimitiveValue {
    let text = PrimitiveValue::from;
    match vr {
        VR::DA => text("19230504"),
        VR::TM => text("031415.9"),
        VR::DT => text("19230504031415.9"),
        VR::AS => text("077Y"),
        VR::UI => text("1.2.752.99.7.1"),
        VR::DS => text("-987.654"),
        VR::IS => text("1923050477"),
        VR::PN => text("Planted^Name"),
        VR::AE | VR::CS => text("PLANTED"),
        VR::UR => text("http://planted.example/"),
        VR::LO | VR::LT | VR::SH | VR::ST | VR::UC | VR::UT => text("Planted 19230504"),
        VR::US => PrimitiveValue::U16([0x4C50, 0x4E41, 0x4554, 0x2044][..].into()),
        _ => PrimitiveValue::U8(b"PLANTED "[..].into()),
    }
}

fn vr_of(tag: Tag) -> VR {
    let entry = StandardDataDictionary.by_tag(tag);
    match entry.map(DataDictionaryEntry::vr) {
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs | VirtualVr::Lt) => VR::US,
        Some(VirtualVr::Ox | VirtualVr::Px) => VR::OW,
        _ => VR::LO,
    }
}

/// Every attribute of the table, planted; sequences hold an item with a name.
fn planted_table() -> Vec<Element> {
    let in_data_set = |tag: &Tag| tag.group() >= 0x0008 && tag.group() < 0xFFFA;
    let rows = table::rows().map(|(tag, _)| tag).filter(in_data_set);
    let planted = rows.map(|tag| {
        let vr = vr_of(tag);
        if vr == VR::SQ {
            sequence(tag, vec![item([attribute(tags::PATIENT_NAME, VR::PN, "Planted^Name")])])
        } else {
            DataElement::new(tag, vr, plant(vr))
        }
    });
    planted.collect()
}

/// Attributes that the table does not list: private ones, unknown ones, overlays, names and dates in wrong places.
fn planted_elsewhere() -> Vec<Element> {
    let planted = |tag, vr| DataElement::new(tag, vr, plant(vr));
    let mut elements: Vec<Element> = [VR::AE, VR::AS, VR::CS, VR::DA, VR::DS, VR::DT, VR::IS, VR::LO, VR::LT, VR::OB]
        .into_iter()
        .chain([VR::OW, VR::PN, VR::SH, VR::ST, VR::TM, VR::UC, VR::UI, VR::UN, VR::UR, VR::UT, VR::US])
        .zip(0x1001..)
        .flat_map(|(vr, number)| [planted(Tag(0x0029, number), vr), planted(Tag(0x0018, 0x0E00 + number % 256), vr)])
        .collect();
    elements.extend([
        planted(Tag(0x0029, 0x0010), VR::LO),
        planted(Tag(0x6000, 0x3000), VR::OW),
        planted(Tag(0x6000, 0x0022), VR::LO),
        planted(Tag(0x5002, 0x0030), VR::SH),
        planted(tags::CONVOLUTION_KERNEL, VR::PN),
        planted(tags::KVP, VR::LO),
        attribute(tags::EXPOSURE_TIME, VR::IS, "Planted"),
        attribute(tags::SCAN_OPTIONS, VR::CS, "Planted"),
        sequence(Tag(0x0029, 0x1020), vec![item([attribute(tags::PATIENT_ID, VR::LO, "Planted")])]),
    ]);
    elements
}

fn named() -> [Element; 3] {
    [
        attribute(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
        attribute(tags::SOP_INSTANCE_UID, VR::UI, "1.2.752.99.1"),
        attribute(tags::PATIENT_ID, VR::LO, "Planted 4711"),
    ]
}

fn bytes(object: &DefaultDicomObject) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).expect("a file");
    bytes
}

fn of(elements: impl IntoIterator<Item = Element>) -> DefaultDicomObject {
    let written = bytes(&file(InMemDicomObject::from_element_iter(elements)).expect("a file"));
    deidentify(&written, &Pseudonyms::new(b"salt")).expect("de-identified")
}

fn assert_clean(object: &DefaultDicomObject) {
    let written = bytes(object);
    for planted in PLANTED {
        let found = written.windows(planted.len()).position(|window| window == planted.as_bytes());
        assert_eq!(found, None, "{planted}: {:?}", found.map(|at| String::from_utf8_lossy(&written[at - 12..at + 24])));
    }
}

#[test]
fn what_is_planted_in_every_row_of_the_table_is_gone() {
    assert_clean(&of(planted_table().into_iter().chain(named())));
}

#[test]
fn what_is_planted_where_the_table_does_not_look_is_gone() {
    assert_clean(&of(planted_elsewhere().into_iter().chain(named())));
}

#[test]
fn what_is_planted_in_sequences_of_sequences_is_gone() {
    let outer = [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE, tags::SOURCE_IMAGE_SEQUENCE];
    let planted = item(planted_table().into_iter().chain(planted_elsewhere()));
    let nested = outer.iter().fold(planted, |inner, &tag| item([sequence(tag, vec![inner])]));
    let object = of(nested.into_iter().chain(named()));
    assert!(object.get(tags::SOURCE_IMAGE_SEQUENCE).is_some(), "the sequence itself is there");
    assert_clean(&object);
    let deep = (0..20).fold(item(named()), |inner, _| item([sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![inner])]));
    assert_clean(&of(deep.into_iter().chain(named())));
}

#[test]
fn it_says_that_the_identity_was_removed_and_how() {
    let object = of(named());
    let text = |tag| text(&object, tag).unwrap_or_default();
    assert_eq!((text(tags::PATIENT_IDENTITY_REMOVED), text(tags::SPECIFIC_CHARACTER_SET)), ("YES".into(), "".into()));
    assert!(text(tags::DEIDENTIFICATION_METHOD).contains("PS3.15"));
    assert_eq!(text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED), "REMOVED");
    let codes = crate::dicom::attribute::items(&object, tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE);
    let code = codes.first().and_then(|code| super::text(code, tags::CODE_VALUE));
    assert_eq!(code.as_deref(), Some("113100"));
    assert_eq!(text(tags::SOP_CLASS_UID), uids::CT_IMAGE_STORAGE);
    assert_eq!(text(tags::SOP_INSTANCE_UID), object.meta().media_storage_sop_instance_uid.trim_end_matches('\0'));
}

#[test]
fn what_may_hold_text_in_its_pixels_or_names_nothing_is_refused() {
    let refused = |elements: Vec<Element>| {
        let object = InMemDicomObject::from_element_iter(elements);
        let mut data = b"\0".repeat(128);
        data.extend(b"DICM\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0");
        let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
        object.write_dataset_with_ts(&mut data, &syntax).expect("written");
        deidentify(&data, &Pseudonyms::new(b"salt")).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let burned = attribute(tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
    assert!(refused(named().into_iter().chain([burned]).collect()).contains("Burned In Annotation"));
    assert!(refused(named()[..1].to_vec()).contains("no identifier"));
    assert!(deidentify(b"%PDF", &Pseudonyms::new(b"salt")).is_err());
}

/// The first slices of a phantom, and what is read of them without identity.
fn phantoms() -> Vec<(Instance, DefaultDicomObject, Instance)> {
    let config = PhantomConfig { matrix: 64, slices: Some(3), ..PhantomConfig::default() };
    let study = phantom::study(&config, 0);
    let pseudonyms = Pseudonyms::new(b"salt");
    let slices = study.slices.iter().map(|slice| {
        let written = bytes(&phantom::dicom_object(&study, slice).expect("an object"));
        let clean = deidentify(&written, &pseudonyms).expect("de-identified");
        let before = read::read_bytes("before", &written).expect("an instance");
        let after = read::read_bytes("after", &bytes(&clean)).expect("an instance");
        (before, clean, after)
    });
    slices.collect()
}

#[test]
fn geometry_and_pixels_stay_and_instances_still_belong_together() {
    let slices = phantoms();
    for (before, clean, after) in &slices {
        assert_eq!(before.frames[0].slice.geometry, after.frames[0].slice.geometry);
        assert_ne!(before.uid, after.uid);
        let decoded = |instance: &Instance| crate::decode::decode(&instance.frames[0].pixels).expect("a plane");
        assert_eq!(decoded(before), decoded(after));
        assert!(text(clean, tags::PATIENT_ID).is_some_and(|id| id.len() == 17 && id.starts_with('P')));
        assert_eq!(text(clean, tags::PATIENT_ID), text(clean, tags::PATIENT_NAME));
        for kept in [tags::MODALITY, tags::CONVOLUTION_KERNEL, tags::RESCALE_SLOPE, tags::INSTANCE_NUMBER] {
            assert!(clean.get(kept).is_some(), "{kept}");
        }
    }
    assert!(slices.windows(2).all(|pair| pair[0].2.key == pair[1].2.key && pair[0].2.uid != pair[1].2.uid));
    assert_ne!(slices[0].0.key, slices[0].2.key);
}

proptest! {
    /// What is de-identified again with any salt is as clean; what is arbitrary bytes breaks nothing.
    #[test]
    fn mutated_files_do_not_break_it(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let elements = planted_table().into_iter().chain(named());
        let mut written = bytes(&file(InMemDicomObject::from_element_iter(elements)).expect("a file"));
        let at = at.index(written.len());
        written[at] = byte;
        written.truncate(cut.index(written.len()).max(written.len() / 2));
        drop(deidentify(&written, &Pseudonyms::new(b"salt")));
    }
}

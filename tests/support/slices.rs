//! DICOM files to send: small, legal, each of its own.

use hemoflow::operators::phantom::{self, PhantomConfig, PhantomStudy};

/// A slice as a sender has it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// SOP Class UID.
    pub(crate) class: String,
    /// SOP Instance UID.
    pub(crate) instance: String,
    /// The data set, explicit VR little endian.
    pub(crate) data: Vec<u8>,
    /// The file.
    pub(crate) file: Vec<u8>,
}

/// Explicit VR little endian.
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// CT Image Storage.
pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

/// A synthetic study of small slices.
pub(crate) fn study(seed: u64, index: u64, slices: usize) -> PhantomStudy {
    phantom::study(&PhantomConfig { seed, slices: Some(slices), matrix: 64, positive_share: 1.0 }, index)
}

/// An object as it is sent.
pub(crate) fn as_sent(object: &dicom_object::FileDicomObject<dicom_object::InMemDicomObject>) -> Sent {
    let meta = object.meta();
    let clean = |uid: &str| uid.trim_end_matches('\0').to_owned();
    let mut file = Vec::new();
    object.write_all(&mut file).expect("memory");
    let mut data = Vec::new();
    let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    object.write_dataset_with_ts(&mut data, &syntax).expect("memory");
    let (class, instance) = (&meta.media_storage_sop_class_uid, &meta.media_storage_sop_instance_uid);
    Sent { class: clean(class), instance: clean(instance), data, file }
}

/// The slices of a study.
pub(crate) fn slices(study: &PhantomStudy) -> Vec<Sent> {
    study.slices.iter().map(|slice| as_sent(&phantom::dicom_object(study, slice).expect("an object"))).collect()
}

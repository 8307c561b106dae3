//! No patient data outside of results: names, numbers, dates and identifiers are planted wherever a sender may write
//! them, and then looked for in everything that the node says and in the names of all its files.
//!
//! | where | may hold |
//! |---|---|
//! | log, metrics, panics, names of files | nothing of it |
//! | names of folders of results | Study and Series Instance UID, by contract (`result_tree`) |
//! | `result.json`, `rejections.jsonl` | UIDs |
//! | result objects | what PS3.3 makes them repeat of patient and study ([`INHERITED`]), dates, UIDs |
//!
//! The inbox holds what was sent, and the log of changes names series by UID: they are why the data folder is kept
//! well, and their contents are not looked at here.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_ul::pdu::{self, PDataValue, PDataValueType, Pdu};
use hemoflow::dimse::client::Client;
use hemoflow::dimse::{Command, Operation};
use hemoflow::operators::phantom::{PhantomStudy, dicom_object, rejection_note};
use hemoflow::operators::record::{InstanceUid, SeriesUid, StudyUid};

use crate::serve::configuration;
use crate::support::association::request;
use crate::support::files;
use crate::support::node::Served;
use crate::support::slices::{CT, EXPLICIT, Sent, as_sent, study};

const PATIENCE: Duration = Duration::from_secs(60);

/// What every planted text holds.
const WORD: &str = "Planted";
/// What every planted identifier begins with.
const ROOT: &str = "1.2.826.0.1.3680043.9.73451";
/// Secondary Capture Image Storage.
const CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// What result objects repeat of the image: PS3.3 C.7.1.1, C.7.2.1, C.7.2.2.
const INHERITED: [(Tag, VR, &str); 9] = [
    (tags::PATIENT_NAME, VR::PN, "Planted^Name"),
    (tags::PATIENT_ID, VR::LO, "Planted-patient-id"),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO, "Planted-issuer"),
    (tags::ACCESSION_NUMBER, VR::SH, "Planted-acc"),
    (tags::STUDY_ID, VR::SH, "Planted-study-id"),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, "Planted^Referring"),
    (tags::STUDY_DESCRIPTION, VR::LO, "Planted-study-description"),
    (tags::PATIENT_COMMENTS, VR::LT, "Planted-patient-comments"),
    (tags::PATIENT_AGE, VR::AS, "093Y"),
];

/// Dates: result objects repeat that of the study, and take the time of their content from one of the others.
const DATES: [(Tag, VR, &str); 6] = [
    (tags::PATIENT_BIRTH_DATE, VR::DA, "19310417"),
    (tags::STUDY_DATE, VR::DA, "19320518"),
    (tags::SERIES_DATE, VR::DA, "19330619"),
    (tags::ACQUISITION_DATE, VR::DA, "19340720"),
    (tags::CONTENT_DATE, VR::DA, "19350821"),
    (tags::INSTANCE_CREATION_DATE, VR::DA, "19360922"),
];

/// What nothing repeats: other attributes about people and places, free text, private attributes.
const ELSEWHERE: [(Tag, VR, &str); 33] = [
    (tags::INSTITUTION_NAME, VR::LO, "Planted-institution"),
    (tags::INSTITUTION_ADDRESS, VR::ST, "Planted-institution-address"),
    (tags::STATION_NAME, VR::SH, "Planted-station"),
    (tags::SERIES_DESCRIPTION, VR::LO, "Planted-series-description"),
    (tags::PHYSICIANS_OF_RECORD, VR::PN, "Planted^Record"),
    (tags::PERFORMING_PHYSICIAN_NAME, VR::PN, "Planted^Performing"),
    (tags::NAME_OF_PHYSICIANS_READING_STUDY, VR::PN, "Planted^Reading"),
    (tags::OPERATORS_NAME, VR::PN, "Planted^Operator"),
    (tags::DERIVATION_DESCRIPTION, VR::ST, "Planted-derivation"),
    (tags::OTHER_PATIENT_NAMES, VR::PN, "Planted^Other"),
    (tags::PATIENT_BIRTH_NAME, VR::PN, "Planted^Born"),
    (tags::PATIENT_ADDRESS, VR::LO, "Planted-address"),
    (tags::PATIENT_MOTHER_BIRTH_NAME, VR::PN, "Planted^Mother"),
    (tags::MILITARY_RANK, VR::LO, "Planted-rank"),
    (tags::MEDICAL_ALERTS, VR::LO, "Planted-alert"),
    (tags::ALLERGIES, VR::LO, "Planted-allergy"),
    (tags::PATIENT_TELEPHONE_NUMBERS, VR::SH, "Planted-phone"),
    (Tag(0x0010, 0x2160), VR::SH, "Planted-group"),
    (tags::OCCUPATION, VR::SH, "Planted-work"),
    (tags::ADDITIONAL_PATIENT_HISTORY, VR::LT, "Planted-history"),
    (tags::DEVICE_SERIAL_NUMBER, VR::LO, "Planted-device"),
    (tags::PROTOCOL_NAME, VR::LO, "Planted-protocol"),
    (Tag(0x0018, 0x4000), VR::LT, "Planted-acquisition-comments"),
    (tags::IMAGE_COMMENTS, VR::LT, "Planted-image-comments"),
    (tags::REQUESTING_PHYSICIAN, VR::PN, "Planted^Requesting"),
    (tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO, "Planted-procedure"),
    (Tag(0x0032, 0x4000), VR::LT, "Planted-study-comments"),
    (tags::ADMISSION_ID, VR::LO, "Planted-admission"),
    (Tag(0x4000, 0x4000), VR::LT, "Planted-text"),
    (Tag(0x0009, 0x0010), VR::LO, "Planted-private-creator"),
    (Tag(0x0009, 0x1001), VR::LO, "Planted-private-value"),
    (Tag(0x0009, 0x1002), VR::UT, "Planted-private-text"),
    (Tag(0x0019, 0x1001), VR::PN, "Planted^Private"),
];

/// A study that says who it is of wherever it can.
fn planted(index: u64) -> PhantomStudy {
    let mut study = study(81, index, 4);
    study.study = StudyUid::new(&format!("{ROOT}.{index}.1")).expect("a UID");
    study.series = SeriesUid::new(&format!("{ROOT}.{index}.2")).expect("a UID");
    for (slice, number) in study.slices.iter_mut().zip(1..) {
        slice.instance = InstanceUid::new(&format!("{ROOT}.{index}.3.{number}")).expect("a UID");
    }
    study.patient.name = INHERITED[0].2.to_owned();
    study.patient.id = INHERITED[1].2.to_owned();
    study.patient.date = DATES[1].2.to_owned();
    study
}

/// A slice of a study with what was planted, and with some attributes otherwise.
fn slice(study: &PhantomStudy, place: usize, otherwise: &[(Tag, VR, &str)]) -> Sent {
    let mut object = dicom_object(study, &study.slices[place]).expect("an object");
    let frame = format!("{ROOT}.4");
    let more = [(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame.as_str())];
    for (tag, vr, value) in INHERITED.iter().chain(&DATES).chain(&ELSEWHERE).chain(&more).chain(otherwise) {
        object.put(DataElement::new(*tag, *vr, PrimitiveValue::from(*value)));
    }
    as_sent(&object)
}

/// Sends instances, and gives the status of each.
fn send(address: SocketAddr, calling: &str, sent: &[Sent]) -> Vec<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let classes: BTreeSet<&str> = sent.iter().map(|sent| sent.class.as_str()).collect();
    let stored: Vec<_> = classes.into_iter().map(|class| (class.to_owned(), EXPLICIT.to_owned())).collect();
    runtime.block_on(async {
        let mut client = Client::associate(address, calling, "HEMOFLOW", &stored, PATIENCE).await.expect("accepted");
        let mut statuses = Vec::new();
        for Sent { class, instance, data, .. } in sent {
            statuses.push(client.store(class, EXPLICIT, instance, data).await.expect("an answer"));
        }
        client.release().await.expect("a release");
        statuses
    })
}

/// What is refused at the door, and what is refused behind it.
fn bad(study: &PhantomStudy) -> (Vec<Sent>, Vec<Sent>) {
    let good = slice(study, 0, &[]);
    let half = good.data.len() / 2;
    let at_the_door = vec![
        Sent { data: good.data[..half].to_vec(), ..good.clone() },
        Sent { data: b"Planted-bytes that are no data set".to_vec(), ..good.clone() },
        Sent { instance: format!("{ROOT}.5"), ..good.clone() },
        slice(study, 1, &[(tags::STUDY_INSTANCE_UID, VR::UI, "Planted-no-uid")]),
    ];
    let behind_it = vec![
        slice(study, 1, &[(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB")]),
        slice(study, 2, &[(tags::MODALITY, VR::CS, "MR")]),
        slice(study, 3, &[(tags::STUDY_DATE, VR::DA, "Planted."), (tags::PIXEL_SPACING, VR::DS, "Planted")]),
        Sent { class: CAPTURE.to_owned(), ..slice(study, 0, &[(tags::SOP_CLASS_UID, VR::UI, CAPTURE)]) },
    ];
    (at_the_door, behind_it)
}

/// Says something over a connection that then ends.
fn say(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    // It may be closed before all is sent.
    stream.write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    // Closed or reset: what matters is that it ends.
    stream.read_to_end(&mut Vec::new()).ok();
}

fn units(units: &[Pdu]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for unit in units {
        pdu::write_pdu(&mut bytes, unit).expect("memory");
    }
    bytes
}

/// What strangers say, with what must not be repeated in it.
fn nonsense(good: &Sent) -> Vec<Vec<u8>> {
    let asked = |calling: &str, called: &str| Pdu::AssociationRQ(request(calling, called));
    let part = |context, value_type, data: Vec<u8>| {
        let value = PDataValue { presentation_context_id: context, value_type, is_last: true, data };
        Pdu::PData { data: vec![value] }
    };
    let action = Command {
        has_data: true,
        kind: Some(1),
        ..Command::request(Operation::Action, 1, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1")
    };
    let action = part(3, PDataValueType::Command, action.write().expect("a form"));
    let accepted = asked("Planted-CT", "HEMOFLOW");
    let context = pdu::PresentationContextResult {
        id: 1,
        reason: pdu::PresentationContextResultReason::Acceptance,
        transfer_syntax: "Planted-syntax".to_owned(),
    };
    let answer = pdu::AssociationAC {
        protocol_version: 1,
        calling_ae_title: "Planted-CT".to_owned(),
        called_ae_title: "HEMOFLOW".to_owned(),
        application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
        presentation_contexts: vec![context],
        user_variables: Vec::new(),
    };
    // A request that holds what only an answer may.
    let mut confused = units(&[Pdu::AssociationAC(answer)]);
    confused[0] = 1;
    vec![
        b"Planted-bytes that are no association".to_vec(),
        b"\x01\x00\x00\x00\x00\x20Planted-bytes of a request......".to_vec(),
        confused,
        units(&[asked("Planted-CT", "Planted-NODE")]),
        units(&[accepted.clone(), part(1, PDataValueType::Command, b"Planted-command".to_vec())]),
        units(&[accepted.clone(), part(1, PDataValueType::Data, good.data.clone())]),
        units(&[accepted, action, part(3, PDataValueType::Data, good.data.clone()), Pdu::ReleaseRQ]),
    ]
}

/// Everything that must not be told.
fn secrets() -> Vec<&'static str> {
    let values = INHERITED.iter().chain(&DATES).chain(&ELSEWHERE).map(|(_, _, value)| *value);
    values.chain([WORD, ROOT]).collect()
}

/// The secrets that a text or a file holds.
fn told_in(bytes: &[u8]) -> BTreeSet<&'static str> {
    let holds = |secret: &&str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    secrets().into_iter().filter(holds).collect()
}

/// That the names of all files in a folder tell nothing, but for the folders of results.
fn names_tell_nothing(folder: &Path) {
    for path in files(folder) {
        let path = path.strip_prefix(folder).expect("within the folder");
        let mut name = path.display().to_string();
        if path.starts_with("data/results") {
            let folders = path.iter().skip(2).take(2).map(|part| part.to_string_lossy().into_owned());
            let allowed =
                |part: &String| (0..2).any(|index| [1, 2].map(|kind| format!("{ROOT}.{index}.{kind}")).contains(part));
            for part in folders.filter(allowed) {
                name = name.replacen(&part, "", 1);
            }
        }
        assert_eq!(told_in(name.as_bytes()), BTreeSet::new(), "{}", path.display());
    }
}

/// That results tell no more than they must.
fn results_tell_what_they_must(folder: &Path) {
    let inherited = INHERITED.iter().chain(&DATES[..5]).map(|(_, _, value)| *value).chain([WORD]);
    let inherited: BTreeSet<&str> = inherited.collect();
    let mut objects = 0;
    for path in files(&folder.join("data/results")) {
        let told = told_in(&fs::read(&path).expect("a file"));
        let told: BTreeSet<&str> = told.into_iter().filter(|secret| *secret != ROOT).collect();
        let is_object = path.extension().is_some_and(|ending| ending == "dcm");
        objects += usize::from(is_object);
        let allowed = if is_object { inherited.clone() } else { BTreeSet::new() };
        assert!(told.is_subset(&allowed), "{}: {told:?}", path.display());
    }
    assert!(objects > 0, "there are results to look at");
}

#[test]
fn who_was_scanned_is_told_by_results_and_by_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (planted(0), planted(1));
    let good: Vec<Sent> = (0..4).map(|place| slice(&first, place, &[])).collect();
    let node = Served::start_saying(folder.path(), &configuration(""), &["-v", "-v"]);
    // In the way of the results of the second study: what cannot be written is told.
    let in_the_way = folder.path().join("data/results").join(second.study.as_str());
    fs::write(&in_the_way, b"a file").expect("written");
    assert_eq!(send(node.dicom, "Planted-CT", &good), [0; 4]);
    let (at_the_door, behind_it) = bad(&planted(2));
    let statuses = send(node.dicom, "Planted-CT", &at_the_door);
    assert!(statuses.iter().all(|status| *status != 0), "{statuses:04X?}");
    assert_eq!(send(node.dicom, "Planted-CT", &behind_it), [0; 4]);
    let blocked: Vec<Sent> = (0..4).map(|place| slice(&second, place, &[])).collect();
    assert_eq!(send(node.dicom, "CT1", &blocked), [0; 4]);
    let note = rejection_note(&first, &[first.slices[3].instance.clone()]).expect("a note");
    assert_eq!(send(node.dicom, "CT1", &[as_sent(&note)]), [0]);
    for bytes in nonsense(&good[0]) {
        say(node.dicom, &bytes);
    }
    node.caught_up();
    let metrics = node.metrics_text();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    // What a loss of power leaves, and a start behind it.
    for name in ["log", "inbox/0000000000000000.seg"] {
        let path = folder.path().join("data").join(name);
        let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
        file.write_all(b"Planted-bytes that are no record").expect("written");
    }
    let node = Served::start_saying(folder.path(), &configuration(""), &["-v", "-v"]);
    node.caught_up();
    let again = [node.metrics_text(), node.drain().1].concat();
    for (what, text) in [("metrics", &metrics), ("the log", &said), ("the second start", &again)] {
        assert!(!text.is_empty(), "{what} say something");
        assert_eq!(told_in(text.as_bytes()), BTreeSet::new(), "{what}: {text}");
    }
    assert!(said.contains("turned away") && said.contains("refused") && said.contains("not written"), "{said}");
    assert!(again.contains("torn"), "{again}");
    fs::remove_file(in_the_way).expect("it is there");
    names_tell_nothing(folder.path());
    results_tell_what_they_must(folder.path());
}

#[test]
fn what_was_planted_is_in_what_is_sent() {
    let sent = slice(&planted(0), 0, &[]);
    assert_eq!(sent.class, CT);
    assert_eq!(told_in(&sent.data), secrets().into_iter().collect());
}

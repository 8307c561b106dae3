//! What inputs are made from: bytes of every kind that the program reads, as the program writes them.

use std::fs;
use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_encoding::adapters::EncodeOptions;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use dicom_ul::pdu::{self, AbortRQSource, PDataValue, PDataValueType, Pdu};
use hemoflow::config::DEFAULT;
use hemoflow::data::{DataFolder, Entry, Event, MethodEntry};
use hemoflow::dimse::{Command, Operation};
use hemoflow::inbox::{Identity, Inbox, Kept, Promise, Received, Record, Via};
use hemoflow::operators::codec;
use hemoflow::operators::dicom::Source;
use hemoflow::operators::dicom::identity::identify;
use hemoflow::operators::dicom::read::read_bytes;
use hemoflow::operators::phantom::{self, PhantomStudy, rejection_note};
use hemoflow::operators::record::{Change, Digest, Reason, Rejection, Role, SeriesKey, Sign};

use crate::support::association::{request, values};
use crate::support::slices::{EXPLICIT, Sent, as_sent, slices, study};

/// The first segment of an inbox.
pub(super) const SEGMENT: &str = "0000000000000000.seg";

/// A file of records.
pub(super) struct Written<T> {
    /// What it holds.
    pub(super) bytes: Vec<u8>,
    /// The first byte behind each record.
    pub(super) ends: Vec<usize>,
    /// The records.
    pub(super) records: Vec<T>,
}

fn a_study() -> PhantomStudy {
    study(71, 0, 2)
}

fn a_note(study: &PhantomStudy) -> Sent {
    let uids: Vec<_> = study.slices.iter().map(|slice| slice.instance.clone()).collect();
    as_sent(&rejection_note(study, &uids).expect("a note"))
}

pub(super) fn command_sets() -> Vec<Vec<u8>> {
    let fields = [Operation::Store, Operation::Echo, Operation::Action, Operation::EventReport, Operation::Other(0x20)];
    let command = |operation: Operation| Command {
        has_data: operation == Operation::Store,
        kind: Some(1),
        ..Command::request(operation, 7, uids::CT_IMAGE_STORAGE, "1.2.826.0.1.3680043.2.1.7")
    };
    fields.into_iter().map(|operation| command(operation).write().expect("a form")).collect()
}

/// Files, and data sets without what stands before them in a file.
pub(super) fn data_sets() -> Vec<Vec<u8>> {
    let study = a_study();
    let (slices, note) = (slices(&study), a_note(&study));
    let object = phantom::dicom_object(&study, &study.slices[0]).expect("an object");
    let mut implicit = Vec::new();
    object.write_dataset_with_ts(&mut implicit, &IMPLICIT_VR_LITTLE_ENDIAN.erased()).expect("memory");
    let told = file(uids::IMPLICIT_VR_LITTLE_ENDIAN, &implicit);
    vec![slices[0].file.clone(), slices[1].data.clone(), note.file, note.data, implicit, told]
}

/// A file with no more before its data set than the transfer syntax.
fn file(syntax: &str, data: &[u8]) -> Vec<u8> {
    let padded = if syntax.len() % 2 == 1 { format!("{syntax}\0") } else { syntax.to_owned() };
    let length = u16::try_from(padded.len()).expect("short").to_le_bytes();
    [&b"DICM\x02\x00\x10\x00UI"[..], &length, padded.as_bytes(), data].concat()
}

/// Slices in every transfer syntax that is decoded here: whole where something writes it, or else a head that is right
/// and content that is not.
pub(super) fn pixels() -> Vec<Vec<u8>> {
    let study = a_study();
    let slice = slices(&study).remove(0);
    let object = phantom::dicom_object(&study, &study.slices[0]).expect("an object");
    let side = u16::try_from(study.slices[0].geometry.rows).expect("small");
    let mut files = vec![slice.file.clone()];
    for syntax in [uids::JPEGLS_LOSSLESS, uids::JPEGLS_NEAR_LOSSLESS, uids::JPEG_BASELINE8_BIT] {
        let writer = TransferSyntaxRegistry.get(syntax).and_then(|known| known.pixel_data_writer());
        let mut codestream = Vec::new();
        let written = writer.map(|writer| writer.encode_frame(&object, 0, EncodeOptions::default(), &mut codestream));
        if written.is_some_and(|written| written.is_ok()) {
            files.push(encapsulated(&slice, syntax, &codestream));
        }
    }
    let heads = [
        (uids::RLE_LOSSLESS, run_lengths(side)),
        (uids::JPEG_EXTENDED12_BIT, jpeg(0xC1, 12, side)),
        (uids::JPEG_LOSSLESS, jpeg(0xC3, 16, side)),
        (uids::JPEG_LOSSLESS_SV1, jpeg(0xC3, 12, side)),
        (uids::JPEG2000_LOSSLESS, jpeg_2000(side)),
        (uids::JPEG2000, jpeg_2000(side)),
    ];
    files.extend(heads.into_iter().map(|(syntax, codestream)| encapsulated(&slice, syntax, &codestream)));
    files
}

/// A slice with a codestream in the place of its pixels.
fn encapsulated(slice: &Sent, syntax: &str, codestream: &[u8]) -> Vec<u8> {
    const PIXELS: &[u8] = b"\xE0\x7F\x10\x00OW";
    const ITEM: &[u8] = b"\xFE\xFF\x00\xE0";
    const PADDING: &[u8] = b"\0";
    let at = slice.data.windows(PIXELS.len()).position(|window| window == PIXELS).expect("pixels");
    let length = u32::try_from(codestream.len().next_multiple_of(2)).expect("short").to_le_bytes();
    let padding = &PADDING[..codestream.len() % 2];
    let head = [&slice.data[..at], b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF", ITEM, b"\0\0\0\0"].concat();
    let data = [&head[..], ITEM, &length, codestream, padding, b"\xFE\xFF\xDD\xE0\0\0\0\0"].concat();
    file(syntax, &data)
}

/// Samples as literals: a segment of high bytes and one of low bytes.
fn run_lengths(side: u16) -> Vec<u8> {
    let samples = usize::from(side) * usize::from(side);
    let plain: Vec<u8> = (0..samples).map(|at| at.to_le_bytes()[0]).collect();
    let packed = |bytes: &[u8]| -> Vec<u8> {
        let literal = |part: &[u8]| [&[u8::try_from(part.len() - 1).expect("at most 127")][..], part].concat();
        bytes.chunks(128).flat_map(literal).collect()
    };
    let (high, low) = (packed(&vec![0; samples]), packed(&plain));
    let places = [2, 64, 64 + high.len()].map(|place| u32::try_from(place).expect("small").to_le_bytes());
    let mut frame = places.concat();
    frame.resize(64, 0);
    [frame, high, low].concat()
}

/// Bytes that no marker hides in.
fn content() -> impl Iterator<Item = u8> {
    (0_u32..3000).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3] & 0x7F)
}

/// A JPEG file of one component: tables, a frame, a scan of any bits.
fn jpeg(frame: u8, bits: u8, side: u16) -> Vec<u8> {
    let [high, low] = side.to_be_bytes();
    let lossless = frame == 0xC3;
    // Fifteen codes of four bits.
    let lengths = [0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let table = |class: u8| {
        let symbols: Vec<u8> = (0..15).collect();
        [&[0xFF, 0xC4, 0, 34, class][..], &lengths, &symbols].concat()
    };
    let scan = if lossless { [1, 0, 0] } else { [0, 63, 0] };
    let mut bytes = vec![0xFF, 0xD8];
    if !lossless {
        bytes.extend_from_slice(&[0xFF, 0xDB, 0, 67, 0]);
        bytes.extend_from_slice(&[1; 64]);
    }
    bytes.extend_from_slice(&[0xFF, frame, 0, 11, bits, high, low, high, low, 1, 1, 0x11, 0]);
    bytes.extend(table(0));
    if !lossless {
        bytes.extend(table(0x10));
    }
    bytes.extend_from_slice(&[0xFF, 0xDA, 0, 8, 1, 1, 0]);
    bytes.extend_from_slice(&scan);
    bytes.extend(content());
    bytes.extend_from_slice(&[0xFF, 0xD9]);
    bytes
}

/// A codestream of JPEG 2000: one tile of one component of 12 bits, any bits in it.
fn jpeg_2000(side: u16) -> Vec<u8> {
    let side = u32::from(side).to_be_bytes();
    let zero = [0; 4];
    let mut bytes = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for number in [side, side, zero, zero, side, side, zero, zero] {
        bytes.extend_from_slice(&number);
    }
    bytes.extend_from_slice(&[0, 1, 11, 1, 1]);
    bytes.extend_from_slice(&[0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 1, 4, 4, 0, 1]);
    bytes.extend_from_slice(&[0xFF, 0x5C, 0, 7, 0x40, 0x68, 0x70, 0x70, 0x78]);
    bytes.extend_from_slice(&[0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0x93]);
    bytes.extend(content());
    bytes.extend_from_slice(&[0xFF, 0xD9]);
    bytes
}

/// The series of a slice, and what an inbox says of it. Its content is shorter here.
fn received(slice: &Sent) -> (SeriesKey, Received, Vec<u8>) {
    let told = identify(&slice.file).expect("an instance");
    let content = slice.file[..400].to_vec();
    let received = Received {
        identity: Identity { key: told.key.clone(), instance: told.instance, class: told.class },
        content: Digest::of(&content),
        bytes: content.len() as u64,
        via: Via::Dimse,
        sender: "CT1".to_owned(),
        unix_ms: 1_700_000_000_000,
    };
    (told.key, received, content)
}

fn inbox_records() -> Vec<(Record, Vec<u8>)> {
    let mut records = Vec::new();
    for slice in slices(&a_study()) {
        let (key, received, content) = received(&slice);
        records.push((Record::Received(received.clone()), content.clone()));
        // Sent again: the content is there.
        records.push((Record::Received(received), content));
        records.push((Record::Ended(vec![key]), Vec::new()));
    }
    records
}

fn length(path: &Path) -> usize {
    usize::try_from(fs::metadata(path).expect("a file").len()).expect("64 bits")
}

/// A segment of an inbox.
pub(super) fn segment(promise: Promise) -> Written<Record> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(SEGMENT);
    let kept = Kept::read(folder.path()).expect("nothing yet");
    let inbox = Inbox::open(folder.path(), promise, kept).expect("an inbox");
    let (mut ends, mut records) = (Vec::new(), Vec::new());
    for (record, payload) in inbox_records() {
        inbox.append_waiting(record.clone(), payload).expect("room");
        ends.push(length(&path));
        records.push(record);
    }
    drop(inbox);
    Written { bytes: fs::read(&path).expect("a segment"), ends, records }
}

fn entries() -> Vec<Entry> {
    let slice = slices(&a_study()).remove(0);
    let instance = read_bytes("corpus", &slice.file).expect("an instance");
    let changed = |change, payload: Option<&str>| Event::Changed {
        change,
        payload: payload.map(str::to_owned),
        stat: false,
        from: Some(3),
    };
    let method = MethodEntry {
        method: Digest::of(b"method"),
        sha256: Digest::of(b"model").to_string(),
        config: "{}".to_owned(),
    };
    let key = instance.key.clone();
    let events = [
        Event::Used { role: Role::Active, method: Some(method) },
        changed(instance.arrival(), Some("payload.dcm")),
        changed(Change::Signed { key: key.clone(), sign: Sign::AssociationEnded }, None),
        changed(Change::Withdrawn { key, instance: instance.uid }, None),
        changed(Change::Refused(Rejection::new("1.2.3", Reason::NotCt, "modality MR")), None),
        Event::Used { role: Role::Shadow, method: None },
    ];
    (0..).zip(events).map(|(tick, event)| Entry { tick, unix_ms: 1_700_000_000_000, event }).collect()
}

/// A log.
pub(super) fn log() -> Written<Entry> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let (mut log, _) = DataFolder::create(folder.path()).and_then(|data| data.log()).expect("a log");
    let (mut ends, records) = (Vec::new(), entries());
    for record in &records {
        log.append(std::slice::from_ref(record)).expect("room");
        ends.push(length(&path));
    }
    Written { bytes: fs::read(&path).expect("a log"), ends, records }
}

/// Records of the inbox and entries of the log, without their checks.
pub(super) fn encoded_records() -> Vec<Vec<u8>> {
    let records = inbox_records().into_iter().map(|(record, _)| codec::encode(1, &record).expect("a form"));
    records.chain(entries().into_iter().map(|entry| codec::encode(2, &entry).expect("a form"))).collect()
}

/// The default configuration, and with every key that it only shows.
pub(super) fn configurations() -> Vec<Vec<u8>> {
    let shown = |line: &str| {
        let bare = line.strip_prefix('#').filter(|bare| !bare.starts_with(' ')).unwrap_or(line);
        format!("{bare}\n")
    };
    vec![DEFAULT.as_bytes().to_vec(), DEFAULT.lines().map(shown).collect::<String>().into_bytes()]
}

/// What senders say from connection to end.
pub(super) fn streams() -> Vec<Vec<u8>> {
    let slice = slices(&a_study()).remove(0);
    let echo = Command::request(Operation::Echo, 1, uids::VERIFICATION, "").write().expect("a form");
    let action = Command {
        has_data: true,
        kind: Some(1),
        ..Command::request(Operation::Action, 1, uids::STORAGE_COMMITMENT_PUSH_MODEL, "1.2.840.10008.1.20.1.1")
    };
    let action = action.write().expect("a form");
    let part = |context, value_type, data: &[u8]| PDataValue {
        presentation_context_id: context,
        value_type,
        is_last: true,
        data: data.to_vec(),
    };
    let said = |units: Vec<Pdu>| {
        let mut bytes = Vec::new();
        for unit in std::iter::once(Pdu::AssociationRQ(request("CT1", "HEMOFLOW"))).chain(units) {
            pdu::write_pdu(&mut bytes, &unit).expect("memory");
        }
        bytes
    };
    let stored = |sizes: &[usize]| values(&slice, sizes).into_iter().map(|value| Pdu::PData { data: vec![value] });
    let commitment = [part(3, PDataValueType::Command, &action), part(3, PDataValueType::Data, &slice.data)];
    vec![
        said(stored(&[4000]).chain([Pdu::ReleaseRQ]).collect()),
        said(stored(&[700]).collect()),
        said(vec![Pdu::PData { data: vec![part(1, PDataValueType::Command, &echo)] }, Pdu::ReleaseRQ]),
        said(vec![Pdu::PData { data: commitment.to_vec() }, Pdu::ReleaseRQ]),
        said(vec![Pdu::AbortRQ { source: AbortRQSource::ServiceUser }]),
    ]
}

/// Requests to store over HTTP: media type, path, and a body.
pub(super) fn bodies() -> Vec<Vec<u8>> {
    let slices = slices(&a_study());
    let part = |media: &str, content: &[u8]| {
        [format!("--b/1\r\nContent-Type: {media}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
    };
    let good: Vec<u8> = slices.iter().flat_map(|slice| part("application/dicom", &slice.file)).collect();
    let junk = part("text/plain; charset=utf-8", b"no DICOM");
    let told = identify(&slices[0].file).expect("an instance");
    let asked = |media: &str, path: &str, parts: &[&[u8]]| {
        let head = format!("{media}\n{path}\n");
        [head.as_bytes(), &parts.concat(), b"--b/1--\r\n"].concat()
    };
    let quoted = "multipart/related; type=\"application/dicom\"; boundary=\"b/1\"";
    let studies = "/dicom-web/studies";
    vec![
        asked(quoted, studies, &[&good]),
        asked("multipart/related;type=application/dicom;boundary=b/1", studies, &[b"preamble\r\n", &junk, &junk]),
        asked(
            quoted,
            &format!("{studies}/{}", told.key.study.as_str()),
            &[&part("application/dicom", &slices[0].file)],
        ),
        asked(quoted, "/dicom-web/studies/1.2.3", &[&junk, &part("application/dicom", &slices[1].file)]),
    ]
}

/// What is no codestream would try nothing but the door.
#[test]
fn slices_of_the_corpus_are_taken_in_at_least_five_transfer_syntaxes() {
    let syntaxes: std::collections::BTreeSet<String> = pixels()
        .iter()
        .map(|file| {
            let instance = read_bytes("corpus", file).expect("an instance");
            let object = instance.frames[0].pixels.source.clone();
            let Source::Encoded { object, .. } = object else { panic!("encoded") };
            assert!(object.get(tags::PIXEL_DATA).is_some());
            object.meta().transfer_syntax().trim_end_matches('\0').to_owned()
        })
        .collect();
    assert!(syntaxes.len() >= 5 && syntaxes.contains(EXPLICIT), "{syntaxes:?}");
}

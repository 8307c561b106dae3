//! The DICOM listener, without a graph behind it: what it answers, and what is in the inbox afterwards.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use dicom_ul::pdu::{self, PDataValue, PDataValueType, Pdu};
use hemoflow::config::Config;
use hemoflow::dimse::client::Client;
use hemoflow::dimse::{Command, Failure, Listener, Operation, Options};
use hemoflow::inbox::{Inbox, Kept, Promise, Record};
use hemoflow::ingest::Door;
use hemoflow::operators::dicom::read::read_bytes;
use hemoflow::operators::event::{Metrics, Telemetry};
use hemoflow::operators::phantom::{PhantomSlice, dicom_object};
use hemoflow::operators::record::Digest;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::association::{request, values};
use crate::support::slices::{CT, EXPLICIT, Sent, as_sent, slices, study};

const PATIENCE: Duration = Duration::from_secs(20);

static SLICES: LazyLock<Vec<Sent>> = LazyLock::new(|| slices(&study(31, 0, 6)));

/// A listener with an inbox behind it.
pub(crate) struct Bench {
    runtime: Runtime,
    listener: Option<Listener>,
    door: Door,
    folder: TempDir,
}

impl Bench {
    pub(crate) fn start(configuration: &str) -> Self {
        let config = Config::parse("test", configuration).unwrap_or_else(|fault| panic!("{fault}"));
        let folder = tempfile::tempdir().expect("a folder");
        let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
        let kept = Kept::read(folder.path()).expect("nothing yet");
        let promise = Promise { ack: config.node.ack, segment_bytes: 1 << 20 };
        let inbox = Inbox::open(folder.path(), promise, kept).expect("an inbox");
        let replaces = config.node.resent == hemoflow::config::Resent::Replace;
        let door = Door::new(inbox, 0, config.limits.clone(), replaces, folder.path(), telemetry);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = Options { address, rules: config.dicom, tls: None, drain: Duration::from_secs(1) };
        let listener = Some(runtime.block_on(Listener::start(options, door.clone())).expect("a port"));
        Self { runtime, listener, door, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.as_ref().expect("it listens").address()
    }

    pub(crate) fn associate(&self, calling: &str) -> Result<Client, Failure> {
        let stored = [(CT.to_owned(), EXPLICIT.to_owned())];
        self.runtime.block_on(Client::associate(self.address(), calling, "HEMOFLOW", &stored, PATIENCE))
    }

    pub(crate) fn store(&self, client: &mut Client, slice: &Sent) -> u16 {
        self.runtime.block_on(client.store(&slice.class, EXPLICIT, &slice.instance, &slice.data)).expect("an answer")
    }

    /// Ends everything and opens the inbox again, as a node does that was killed.
    fn reopened(self) -> (TempDir, Inbox) {
        let Self { runtime, listener, door, folder, .. } = self;
        drop(listener);
        runtime.shutdown_timeout(Duration::from_secs(5));
        drop(door);
        let kept = Kept::read(folder.path()).expect("readable");
        let inbox = Inbox::open(folder.path(), Promise::default(), kept).expect("an inbox");
        (folder, inbox)
    }
}

/// What the inbox holds: the instances in order, each with its content read back.
fn held(inbox: &Inbox) -> Vec<(String, Vec<u8>)> {
    let mut reader = inbox.reader(0).expect("readable");
    let mut held = Vec::new();
    while let Some(entry) = reader.next_until(Instant::now()).expect("sound") {
        if let Record::Received(received) = entry.record {
            let bytes = inbox.kept().payload(&received.content).expect("readable").expect("kept");
            assert_eq!(Digest::of(&bytes), received.content);
            held.push((received.identity.instance.to_string(), bytes));
        }
    }
    held
}

pub(crate) const ANYBODY: &str = "[dicom]\nany_peer = true\n[limits]\nfree_disk = 0\n";

#[test]
fn what_is_acknowledged_is_kept_and_a_content_is_stored_once() {
    let bench = Bench::start(ANYBODY);
    for _ in 0..2 {
        let mut client = bench.associate("CT1").expect("accepted");
        for slice in &*SLICES {
            assert_eq!(bench.store(&mut client, slice), 0x0000);
        }
        bench.runtime.block_on(client.echo()).expect("an echo");
        bench.runtime.block_on(client.release()).expect("a release");
    }
    let (folder, inbox) = bench.reopened();
    let held = held(&inbox);
    let expected: Vec<&str> = SLICES.iter().chain(&*SLICES).map(|slice| slice.instance.as_str()).collect();
    assert_eq!(held.iter().map(|(uid, _)| uid.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(inbox.kept().index().payloads(), SLICES.len());
    for (slice, (_, bytes)) in SLICES.iter().zip(&held) {
        assert!(bytes.ends_with(&slice.data), "the data set is as it was sent");
        let sent = read_bytes("a", &slice.file).expect("an instance");
        let kept = read_bytes("a", bytes).expect("an instance");
        assert_eq!(kept.arrival(), sent.arrival());
    }
    let bytes: u64 = walk(folder.path()).iter().map(|file| file.metadata().expect("a file").len()).sum();
    let payloads: usize = held.iter().take(SLICES.len()).map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < u64::try_from(payloads + payloads / 2).expect("small"), "{bytes} bytes for {payloads}");
}

fn walk(folder: &std::path::Path) -> Vec<std::fs::DirEntry> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect()
}

/// A sender that says what it likes.
struct Raw(TcpStream);

impl Raw {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self(stream)
    }

    fn associated(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address);
        raw.send(&Pdu::AssociationRQ(request("CT1", "HEMOFLOW")));
        assert!(matches!(raw.next(), Some(Pdu::AssociationAC(_))));
        raw
    }

    fn send(&mut self, unit: &Pdu) {
        let mut bytes = Vec::new();
        pdu::write_pdu(&mut bytes, unit).expect("memory");
        self.0.write_all(&bytes).expect("sent");
    }

    /// The next unit; none if the connection was closed.
    fn next(&mut self) -> Option<Pdu> {
        let mut bytes = vec![0; 6];
        let mut read = 0;
        while read < 6 {
            match self.0.read(&mut bytes[read..]) {
                Ok(0) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                count => read += count.expect("an answer in time"),
            }
        }
        let length = u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
        bytes.resize(6 + usize::try_from(length).expect("small"), 0);
        self.0.read_exact(&mut bytes[6..]).expect("whole");
        pdu::read_pdu(bytes.as_slice(), 1 << 20, false).expect("a unit")
    }

    /// The status of the next response.
    fn status(&mut self) -> Option<u16> {
        let Some(Pdu::PData { data }) = self.next() else { return None };
        Command::read(&data[0].data).expect("a command set").status
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// However a sender cuts a message into values, values into units, and the stream into segments, the same is kept.
    #[test]
    fn the_cuts_of_a_sender_do_not_matter(
        sizes in prop::collection::vec(1_usize..3000, 1..6),
        together in 1_usize..5,
        segment in 1_usize..5000,
    ) {
        static BENCH: LazyLock<Bench> = LazyLock::new(|| Bench::start(ANYBODY));
        let slice = &SLICES[0];
        let mut raw = Raw::associated(BENCH.address());
        let mut bytes = Vec::new();
        for data in values(slice, &sizes).chunks(together) {
            pdu::write_pdu(&mut bytes, &Pdu::PData { data: data.to_vec() }).expect("memory");
        }
        for part in bytes.chunks(segment) {
            raw.0.write_all(part).expect("sent");
        }
        prop_assert_eq!(raw.status(), Some(0));
        raw.send(&Pdu::ReleaseRQ);
        prop_assert_eq!(raw.next(), Some(Pdu::ReleaseRP));
        prop_assert_eq!(BENCH.door.inbox().kept().index().payloads(), 1, "the same bytes each time");
    }
}

#[test]
fn who_is_not_listed_is_refused_with_the_reason_of_the_standard() {
    let bench = Bench::start("[limits]\nfree_disk = 0\n[[dicom.peer]]\nae_title = 'CT1'\nfrom = '127.0.0.1'\n");
    let refused = |calling: &str, called: &str| {
        let mut raw = Raw::connect(bench.address());
        raw.send(&Pdu::AssociationRQ(request(calling, called)));
        match raw.next() {
            Some(Pdu::AssociationRJ(rejected)) => Some(format!("{:?}", rejected.source)),
            Some(Pdu::AssociationAC(_)) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("CT1", "HEMOFLOW"), None);
    assert_eq!(refused("CT1", "ELSE").as_deref(), Some("ServiceUser(CalledAETitleNotRecognized)"));
    assert_eq!(refused("CT2", "HEMOFLOW").as_deref(), Some("ServiceUser(CallingAETitleNotRecognized)"));
}

#[test]
fn a_connection_that_is_cut_in_a_slice_leaves_what_was_acknowledged() {
    let bench = Bench::start(ANYBODY);
    for cut in 1..6 {
        let mut raw = Raw::associated(bench.address());
        raw.send(&Pdu::PData { data: values(&SLICES[0], &[1000])[..1].to_vec() });
        let data = &values(&SLICES[0], &[1000])[1..];
        for (number, value) in data.iter().enumerate() {
            if number == cut && cut < 5 {
                break;
            }
            raw.send(&Pdu::PData { data: vec![value.clone()] });
        }
        if cut == 5 {
            assert_eq!(raw.status(), Some(0));
        }
    }
    let (_folder, inbox) = bench.reopened();
    assert_eq!(held(&inbox).len(), 1);
}

#[test]
fn what_is_no_instance_of_what_was_announced_gets_its_status_and_the_next_one_is_taken() {
    let bench = Bench::start(&format!("{ANYBODY}instance_bytes = '40K'\nreceiving_bytes = '40K'\n"));
    let mut client = bench.associate("CT1").expect("accepted");
    let good = &SLICES[0];
    let other = &SLICES[1];
    let mut store = |class: &str, instance: &str, data: &[u8]| {
        bench.runtime.block_on(client.store(class, EXPLICIT, instance, data)).expect("an answer")
    };
    assert_eq!(store(CT, &other.instance, &good.data), 0xA900, "another instance");
    assert_eq!(store(CT, &good.instance, b"no data set"), 0xC000);
    assert_eq!(store(CT, &good.instance, &good.data[..good.data.len() / 2]), 0xC000, "cut off");
    assert_eq!(store(CT, &good.instance, &vec![0; 100 << 10]), 0xA700, "too large");
    let traps = ["../../etc/passwd", "1.2/3", "1..2", "", &format!("1.{}", "9".repeat(63))];
    for trap in traps {
        let trapped = replaced(&good.data, &good.instance, trap);
        let status = store(CT, trap, &trapped);
        assert!([0xC000, 0xA900, 0x0212].contains(&status), "{trap}: {status:04X}");
    }
    assert_eq!(store(CT, &good.instance, &good.data), 0x0000);
    let (_folder, inbox) = bench.reopened();
    assert_eq!(held(&inbox).len(), 1);
}

/// A data set with another SOP Instance UID.
fn replaced(data: &[u8], instance: &str, by: &str) -> Vec<u8> {
    let padded = |uid: &str| if uid.len() % 2 == 1 { format!("{uid}\0") } else { uid.to_owned() };
    let element = |uid: &str| {
        let length = u16::try_from(padded(uid).len()).expect("short").to_le_bytes();
        [&b"\x08\x00\x18\x00UI"[..], &length, padded(uid).as_bytes()].concat()
    };
    let (old, new) = (element(instance), element(by));
    let at = data.windows(old.len()).position(|window| window == old).expect("it is there");
    [&data[..at], &new, &data[at + old.len()..]].concat()
}

#[test]
fn limits_hold_and_say_that_it_may_be_tried_again() {
    let limits = "associations = 2\nassociations_per_peer = 1\nassociation_instances = 2\nstudy_instances = 3\n";
    let bench = Bench::start(&format!("{ANYBODY}{limits}"));
    let mut first = bench.associate("CT1").expect("accepted");
    let busy = |calling| format!("{:#}", bench.associate(calling).err().expect("refused"));
    assert!(busy("CT1").contains("local limit exceeded"), "{}", busy("CT1"));
    let mut second = bench.associate("CT2").expect("accepted");
    assert!(busy("CT3").contains("local limit exceeded"));
    let statuses: Vec<u16> = SLICES[..3].iter().map(|slice| bench.store(&mut first, slice)).collect();
    assert_eq!(statuses, [0, 0, 0xA700], "instances over one association");
    let statuses: Vec<u16> = SLICES[2..4].iter().map(|slice| bench.store(&mut second, slice)).collect();
    assert_eq!(statuses, [0, 0xA700], "instances of one study");
    bench.runtime.block_on(first.release()).expect("a release");
    assert!(eventually(|| bench.associate("CT3").is_ok()), "a seat is free");
}

/// Whether something comes true in time.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn a_full_disk_and_a_graph_that_is_behind_are_out_of_resources_until_they_are_not() {
    let full = Bench::start("[dicom]\nany_peer = true\n[limits]\nfree_disk = '900000000G'\n");
    let refused = format!("{:#}", full.associate("CT1").err().expect("refused"));
    assert!(refused.contains("temporary congestion"), "{refused}");

    let behind = Bench::start(&format!("{ANYBODY}waiting_slow = 2\nwaiting_refuse = 4\n"));
    let mut client = behind.associate("CT1").expect("accepted");
    for slice in &SLICES[..4] {
        assert_eq!(behind.store(&mut client, slice), 0, "who was let in may end what it began");
    }
    let refused = format!("{:#}", behind.associate("CT2").err().expect("refused"));
    assert!(refused.contains("temporary congestion"), "{refused}");
    behind.door.feed(4);
    behind.associate("CT2").expect("accepted again");
}

#[test]
fn resent_content_replaces_or_is_refused_as_configured() {
    let other = {
        let study = study(31, 0, 6);
        let slice = PhantomSlice { plane: study.slices[1].plane.clone(), ..study.slices[0].clone() };
        as_sent(&dicom_object(&study, &slice).expect("an object"))
    };
    for (policy, status) in [("replace", 0x0000), ("refuse", 0xC001)] {
        let bench = Bench::start(&format!("{ANYBODY}[node]\nresent = '{policy}'\n"));
        let mut client = bench.associate("CT1").expect("accepted");
        assert_eq!(bench.store(&mut client, &SLICES[0]), 0);
        assert_eq!(bench.store(&mut client, &other), status, "{policy}");
        assert_eq!(bench.store(&mut client, &SLICES[0]), 0, "the same content is the same");
    }
}

#[test]
fn commitment_tells_what_is_kept_and_what_is_not() {
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;

    let bench = Bench::start(ANYBODY);
    let mut client = bench.associate("CT1").expect("accepted");
    assert_eq!(bench.store(&mut client, &SLICES[0]), 0);
    let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    let uid = |tag, value: &str| DataElement::new(tag, VR::UI, PrimitiveValue::from(value));
    let reference = |class: &str, instance: &str| {
        InMemDicomObject::from_element_iter([
            uid(tags::REFERENCED_SOP_CLASS_UID, class),
            uid(tags::REFERENCED_SOP_INSTANCE_UID, instance),
        ])
    };
    let mr = "1.2.840.10008.5.1.4.1.1.4";
    let asked = [(CT, &SLICES[0].instance), (CT, &SLICES[1].instance), (mr, &SLICES[0].instance)];
    let items: Vec<InMemDicomObject> = asked.iter().map(|(class, instance)| reference(class, instance)).collect();
    let set = InMemDicomObject::from_element_iter([
        uid(tags::TRANSACTION_UID, "1.2.3.4"),
        DataElement::new(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, DataSetSequence::from(items)),
    ]);
    let mut data = Vec::new();
    set.write_dataset_with_ts(&mut data, &syntax).expect("memory");
    let service = "1.2.840.10008.1.20.1";
    let command = Command {
        has_data: true,
        kind: Some(1),
        ..Command::request(Operation::Action, 5, service, "1.2.840.10008.1.20.1.1")
    };
    let mut raw = Raw::associated(bench.address());
    let value = |value_type, data| PDataValue { presentation_context_id: 3, value_type, is_last: true, data };
    let command = value(PDataValueType::Command, command.write().expect("a form"));
    raw.send(&Pdu::PData { data: vec![command, value(PDataValueType::Data, data)] });
    assert_eq!(raw.status(), Some(0));
    let mut report = Vec::new();
    let event = loop {
        let Some(Pdu::PData { data }) = raw.next() else { panic!("a report") };
        for value in data {
            report.push(value);
        }
        if report.iter().any(|value| value.value_type == PDataValueType::Data && value.is_last) {
            break Command::read(&report[0].data).expect("a command set");
        }
    };
    assert_eq!((event.operation, event.kind), (Operation::EventReport, Some(2)), "failures exist");
    let data: Vec<u8> = report[1..].iter().flat_map(|value| value.data.clone()).collect();
    let set = InMemDicomObject::read_dataset_with_ts(data.as_slice(), &syntax).expect("a data set");
    let uids = |tag| {
        let items = set.element(tag).expect("a sequence").value().items().expect("items").to_vec();
        let text = |item: &InMemDicomObject| {
            let uid = item.element(tags::REFERENCED_SOP_INSTANCE_UID).expect("a UID").to_str().expect("text");
            let reason = item.element(tags::FAILURE_REASON).ok().and_then(|reason| reason.to_int::<u16>().ok());
            (uid.trim_end_matches('\0').to_owned(), reason)
        };
        items.iter().map(text).collect::<BTreeSet<_>>()
    };
    let (kept, missing) = (SLICES[0].instance.clone(), SLICES[1].instance.clone());
    assert_eq!(uids(tags::REFERENCED_SOP_SEQUENCE), BTreeSet::from([(kept.clone(), None)]));
    assert_eq!(uids(tags::FAILED_SOP_SEQUENCE), BTreeSet::from([(missing, Some(0x0112)), (kept, Some(0x0119))]));
}

#[test]
fn nonsense_is_cut_off_and_others_go_on() {
    let bench = Bench::start(&format!("{ANYBODY}associations = 200\nassociations_per_peer = 200\n"));
    let mut good = bench.associate("CT1").expect("accepted");
    let nonsense: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        &[4, 0, 0, 0, 0, 12, 0, 0, 0, 8, 1, 3, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 4, 0, 1, 0, 0],
        &[9, 0, 0, 0, 0, 0],
        &[7, 0, 0, 0, 0, 4, 0, 0, 2, 6],
    ];
    for bytes in nonsense {
        let mut raw = Raw::connect(bench.address());
        raw.0.write_all(bytes).expect("sent");
        raw.0.shutdown(std::net::Shutdown::Write).expect("a socket");
        let mut rest = Vec::new();
        // Closed or reset: what matters is that it ends.
        raw.0.read_to_end(&mut rest).ok();
        let mut raw = Raw::associated(bench.address());
        raw.0.write_all(bytes).expect("sent");
        raw.0.shutdown(std::net::Shutdown::Write).expect("a socket");
        raw.0.read_to_end(&mut rest).ok();
    }
    assert_eq!(bench.store(&mut good, &SLICES[0]), 0);
}

//! Senders, good and bad. Each gives the instances that were acknowledged to it, whatever else went wrong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command as Program;
use std::time::Duration;

use dicom_ul::pdu::{self, Pdu};
use hemoflow::dimse::client::Client;
use hemoflow::dimse::{Command, Failure};
use hemoflow::operators::phantom::{PhantomStudy, rejection_note};
use hemoflow::operators::record::InstanceUid;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::PATIENCE;
use crate::support::association::{request, values};
use crate::support::slices::{EXPLICIT, Sent, as_sent};

/// A runtime of one thread.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A note that takes instances of a study back.
pub(super) fn note(study: &PhantomStudy, instances: &[InstanceUid]) -> Sent {
    as_sent(&rejection_note(study, instances).expect("a note"))
}

/// An association for instances of a class.
pub(super) async fn associate(address: SocketAddr, class: &str) -> Result<Client, Failure> {
    let stored = [(class.to_owned(), EXPLICIT.to_owned())];
    Client::associate(address, "CT1", "HEMOFLOW", &stored, PATIENCE).await
}

async fn send_over(address: SocketAddr, slices: Vec<Sent>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Some(first) = slices.first() else { return acknowledged };
    let Ok(mut client) = associate(address, &first.class).await else { return acknowledged };
    for slice in &slices {
        match client.store(&slice.class, EXPLICIT, &slice.instance, &slice.data).await {
            Ok(0) => acknowledged.push(slice.instance.clone()),
            // Refused: the sender knows, and it may come later.
            Ok(_) => {}
            Err(_) => return acknowledged,
        }
    }
    // What was acknowledged was acknowledged, however it ends.
    client.release().await.ok();
    acknowledged
}

/// Sends instances of one class over one association.
pub(super) fn send(address: SocketAddr, slices: &[Sent]) -> Vec<String> {
    runtime().block_on(send_over(address, slices.to_vec()))
}

/// Sends each instance over an association of its own, all at once.
pub(super) fn flood(address: SocketAddr, slices: Vec<Sent>) -> Vec<String> {
    runtime().block_on(async {
        let mut senders = JoinSet::new();
        for slice in slices {
            senders.spawn(send_over(address, vec![slice]));
        }
        let mut acknowledged = Vec::new();
        while let Some(sent) = senders.join_next().await {
            acknowledged.extend(sent.expect("a sender"));
        }
        acknowledged
    })
}

/// Sends a file as DCMTK does. Says whether it was acknowledged.
pub(super) fn storescu(folder: &Path, address: SocketAddr, file: &Path) -> bool {
    let port = address.port().to_string();
    let mut program = Program::new(folder.join("storescu"));
    program.args(["-v", "-to", "60", "-ta", "60", "-td", "60", "-aet", "CT1", "-aec", "HEMOFLOW", "127.0.0.1", &port]);
    let output = program.arg(file).output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).contains("Received Store Response (Success)")
}

/// A connection whose bytes are in the hand of the test.
struct Wire(TcpStream);

impl Wire {
    fn associated(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut wire = Self(stream);
        wire.0.write_all(&bytes(&Pdu::AssociationRQ(request("CT1", "HEMOFLOW"))))?;
        let Pdu::AssociationAC(_) = wire.unit()? else { return Err(io::Error::other("no association")) };
        Ok(wire)
    }

    fn unit(&mut self) -> io::Result<Pdu> {
        let mut bytes = vec![0; 6];
        self.0.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
        bytes.resize(6 + usize::try_from(length).expect("64 bits"), 0);
        self.0.read_exact(&mut bytes[6..])?;
        let unit = pdu::read_pdu(bytes.as_slice(), 1 << 20, false).map_err(|error| io::Error::other(error.to_string()));
        unit?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Whether the next response says that all is well.
    fn succeeded(&mut self) -> io::Result<bool> {
        let Pdu::PData { data } = self.unit()? else { return Err(io::Error::other("no response")) };
        Ok(Command::read(&data[0].data).map_err(io::Error::other)?.status == Some(0))
    }
}

fn bytes(unit: &Pdu) -> Vec<u8> {
    let mut bytes = Vec::new();
    pdu::write_pdu(&mut bytes, unit).expect("memory");
    bytes
}

/// A request to store a slice, as it goes over the wire.
fn message(slice: &Sent) -> Vec<u8> {
    values(slice, &[4000]).into_iter().flat_map(|value| bytes(&Pdu::PData { data: vec![value] })).collect()
}

/// Sends slices, then a part of another, and is gone without a word.
pub(super) fn cut(address: SocketAddr, whole: &[Sent], torn: &Sent, permille: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut send = || -> io::Result<()> {
        let mut wire = Wire::associated(address)?;
        for slice in whole {
            wire.0.write_all(&message(slice))?;
            if wire.succeeded()? {
                acknowledged.push(slice.instance.clone());
            }
        }
        let message = message(torn);
        wire.0.write_all(&message[..message.len() * permille / 1000])
    };
    // The node may have gone before.
    send().ok();
    acknowledged
}

/// Sends a slice a few bytes at a time.
pub(super) fn slow(address: SocketAddr, slice: &Sent, at_once: usize) -> Vec<String> {
    let send = || -> io::Result<bool> {
        let mut wire = Wire::associated(address)?;
        for part in message(slice).chunks(at_once) {
            wire.0.write_all(part)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        wire.succeeded()
    };
    // The node may have gone before.
    if send().unwrap_or(false) { vec![slice.instance.clone()] } else { Vec::new() }
}

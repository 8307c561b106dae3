//! Who receives: this program, and programs of others that are started for the measurement.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use operators::event::{Metrics, Telemetry};
use prometheus::Registry;
use serde::Serialize;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::config::{Ack, AeTitle, Config};
use crate::dimse::{Listener, Options};
use crate::inbox::{Inbox, Kept, Promise};
use crate::ingest::Door;

/// How every receiver is called.
pub(super) const TITLE: &str = "HEMOFLOW";
/// How long a receiver may take to start.
const STARTING: Duration = Duration::from_secs(30);
/// Associations at once that this program takes here.
const ASSOCIATIONS: usize = 1 << 12;

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Receiver {
    /// This program; an instance is acknowledged once the system has it.
    Written,
    /// This program; an instance is acknowledged once the disk has it.
    Fsync,
    /// DCMTK's storescp, which waits for no disk, with `TCP_NODELAY=1`.
    Storescp,
    /// Orthanc as it is, which waits for the disk with each file, with `TCP_NODELAY=1`.
    Orthanc,
}

impl Receiver {
    /// Its name in tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Fsync => "fsync",
            Self::Storescp => "storescp",
            Self::Orthanc => "orthanc",
        }
    }

    /// Whether it is this program.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Written | Self::Fsync)
    }
}

/// The programs of others that are here.
pub(super) struct Peers {
    /// storescu and storescp of DCMTK.
    pub(super) dcmtk: Option<(PathBuf, PathBuf)>,
    orthanc: Option<PathBuf>,
}

impl Peers {
    /// Looks for them.
    pub(super) fn find() -> Self {
        let dcmtk = find("storescu").zip(find("storescp"));
        // It is no program for users, and so its folder need not be in their path.
        let orthanc =
            find("Orthanc").or_else(|| Some(PathBuf::from("/usr/sbin/Orthanc")).filter(|path| path.is_file()));
        if dcmtk.is_none() {
            tracing::warn!("storescu and storescp of DCMTK are not in the path: they are left out");
        }
        if orthanc.is_none() {
            tracing::warn!("Orthanc is not in the path: it is left out");
        }
        Self { dcmtk, orthanc }
    }

    /// Whether a receiver is here.
    pub(super) fn has(&self, receiver: Receiver) -> bool {
        match receiver {
            Receiver::Written | Receiver::Fsync => true,
            Receiver::Storescp => self.dcmtk.is_some(),
            Receiver::Orthanc => self.orthanc.is_some(),
        }
    }
}

/// A program of the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A receiver in motion. It ends when dropped.
pub(super) enum Running {
    /// This program, without a graph.
    Own(Listener, Door),
    /// Another program.
    Peer(Peer),
}

impl Running {
    /// Starts a receiver that keeps what it gets in `folder`, which is empty.
    pub(super) fn start(receiver: Receiver, peers: &Peers, folder: &Path, runtime: &Runtime) -> anyhow::Result<Self> {
        match receiver {
            Receiver::Written => own(Ack::Written, folder, runtime),
            Receiver::Fsync => own(Ack::Fsync, folder, runtime),
            Receiver::Storescp => {
                let (_, storescp) = peers.dcmtk.as_ref().context("storescp is not here")?;
                Peer::storescp(storescp, folder).map(Self::Peer)
            }
            Receiver::Orthanc => {
                let orthanc = peers.orthanc.as_ref().context("Orthanc is not here")?;
                Peer::orthanc(orthanc, folder).map(Self::Peer)
            }
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Own(listener, _) => listener.address(),
            Self::Peer(peer) => peer.address,
        }
    }

    /// Instances that it keeps; `None` if it is not asked.
    pub(super) fn kept(&self) -> Option<usize> {
        match self {
            Self::Own(_, door) => Some(door.inbox().kept().index().payloads()),
            Self::Peer(_) => None,
        }
    }
}

fn own(ack: Ack, folder: &Path, runtime: &Runtime) -> anyhow::Result<Running> {
    let inbox = Inbox::open(folder, Promise { ack, ..Promise::default() }, Kept::read(folder)?)?;
    let telemetry = Telemetry::new(Metrics::register(&Registry::new())?);
    let mut config = Config::default();
    config.limits.waiting_slow = usize::MAX;
    config.limits.waiting_refuse = usize::MAX;
    config.limits.study_instances = usize::MAX;
    config.limits.associations = ASSOCIATIONS;
    config.limits.associations_per_peer = ASSOCIATIONS;
    config.limits.free_disk = 0;
    config.dicom.any_peer = true;
    config.dicom.ae_title = AeTitle::new(TITLE).map_err(anyhow::Error::msg)?;
    let door = Door::new(inbox, 0, config.limits, true, folder, telemetry);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = Options { address, rules: config.dicom, tls: None, drain: Duration::from_secs(1) };
    Ok(Running::Own(runtime.block_on(Listener::start(options, door.clone()))?, door))
}

/// An address that was free a moment ago. Somebody else may take it in between; then the program does not start, and says so.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A program of others that receives. It is ended when dropped.
pub(super) struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    fn storescp(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let address = free()?;
        let mut command = Command::new(program);
        command.args(["+B", "--fork", "-aet", TITLE, "-od"]).arg(folder).arg(address.port().to_string());
        Self::start(command, address)
    }

    fn orthanc(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (address, http) = (free()?, free()?);
        let settings = json!({
            "StorageDirectory": folder.join("storage"), "IndexDirectory": folder.join("storage"),
            "TemporaryDirectory": folder.join("temporary"), "StorageCompression": false, "OverwriteInstances": true,
            "DicomAet": TITLE, "DicomPort": address.port(), "HttpPort": http.port(), "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false, "Plugins": [],
        });
        let file = folder.join("orthanc.json");
        fs::write(&file, settings.to_string())?;
        let mut command = Command::new(program);
        command.arg(file);
        Self::start(command, address)
    }

    fn start(mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        let child = command.env("TCP_NODELAY", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut peer = Self { child, address };
        let until = Instant::now() + STARTING;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until || peer.child.try_wait()?.is_some() {
                bail!("{} does not listen", command.get_program().display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

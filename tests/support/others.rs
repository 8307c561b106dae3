//! Peers of others that listen: those of `tests/peers.py`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Running peers. Dropped, they end.
pub(crate) struct Others {
    child: Child,
    ports: BTreeMap<String, u16>,
}

impl Others {
    /// Starts them; with a folder of certificates, those behind TLS too.
    pub(crate) fn start(python: &Path, certificates: Option<&Path>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers.py");
        let mut command = Command::new(python);
        command.arg(script).args(certificates).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("standard output")).read_line(&mut line).expect("text");
        let ports = serde_json::from_str(&line).expect("the ports");
        Self { child, ports }
    }

    /// Where a peer listens.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[name]).into()
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port of the loopback at which nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

//! A port of this machine: free, in use by somebody who is no node, or not to be had.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::Finding;

/// A listener of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    /// Its section: `dicom`, `http` or `metrics`.
    pub(super) section: &'static str,
    /// Where it is to listen.
    pub(super) address: SocketAddr,
    /// Whether a node runs on the data folder, if that is known.
    pub(super) used: Option<bool>,
}

impl Port {
    /// Where this machine reaches it: an address that stands for all of them is none to call.
    pub(super) fn near(&self) -> SocketAddr {
        let ip = self.address.ip();
        let home = match ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        SocketAddr::new(if ip.is_unspecified() { home } else { ip }, self.address.port())
    }

    /// Port 0 is another one each time.
    pub(super) fn drawn(&self) -> Option<Finding> {
        (self.address.port() == 0).then(|| {
            let detail = "takes a free port each time that the node starts: it cannot be tried from here";
            Finding::ok(self.section, self.address.to_string(), detail)
        })
    }

    pub(super) fn ok(&self, detail: impl Into<String>) -> Finding {
        Finding::ok(self.section, self.address.to_string(), detail)
    }

    pub(super) fn warning(&self, detail: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding::warning(self.section, self.address.to_string(), detail, mend)
    }

    pub(super) fn wrong(&self, detail: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding::wrong(self.section, self.address.to_string(), detail, mend)
    }

    /// A node answers here as it should.
    pub(super) fn answered(&self, detail: &str) -> Finding {
        if self.used == Some(false) {
            let mend = format!("end the other node, or choose another port at {}.address", self.section);
            return self.wrong(format!("{detail}, but it is a node of another data folder"), mend);
        }
        self.ok(detail)
    }

    /// No node answered here, for this reason: looks whether one could listen. Nothing listens longer than that.
    pub(super) fn unanswered(&self, why: &str) -> Finding {
        self.bound(TcpListener::bind(self.address).map(drop).map_err(|error| (error.kind(), error.to_string())), why)
    }

    fn bound(&self, bound: Result<(), (io::ErrorKind, String)>, why: &str) -> Finding {
        let Self { section, address, .. } = self;
        match bound {
            Ok(()) if self.used == Some(true) => {
                let mend = "wait if it is still starting; otherwise start it again with this configuration";
                self.warning("nobody listens here, though a node runs on the data folder", mend)
            }
            Ok(()) => self.ok("is free: no node runs here, and one could"),
            Err((io::ErrorKind::AddrInUse, _)) => {
                let port = address.port();
                let mend = format!(
                    "see who has the port (ss -ltnp 'sport = :{port}') and end it, or choose another at {section}.address"
                );
                self.wrong(format!("is taken by somebody who does not answer as a node does: {why}"), mend)
            }
            Err((io::ErrorKind::AddrNotAvailable, _)) => {
                self.wrong("is no address of this machine", format!("correct {section}.address"))
            }
            Err((io::ErrorKind::PermissionDenied, _)) => {
                let mend = format!(
                    "choose a port from 1024 on at {section}.address, or give the service CAP_NET_BIND_SERVICE: the unit says where"
                );
                self.wrong("this user may not listen here", mend)
            }
            Err((_, error)) => self.wrong(error, format!("correct {section}.address")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn port(used: Option<bool>) -> Port {
        Port { section: "http", address: ([0, 0, 0, 0], 80).into(), used }
    }

    #[test]
    fn a_port_is_free_or_it_is_told_why_not() {
        let found = |kind: io::ErrorKind| port(None).bound(Err((kind, "x".to_owned())), "silence");
        assert_eq!(port(Some(false)).bound(Ok(()), "").state, State::Ok);
        assert_eq!(port(Some(true)).bound(Ok(()), "").state, State::Warning, "a node runs and does not listen");
        let taken = found(io::ErrorKind::AddrInUse);
        assert!(taken.state == State::Wrong && taken.detail.ends_with("silence"), "{taken}");
        assert!(found(io::ErrorKind::AddrNotAvailable).detail.contains("no address of this machine"));
        assert!(found(io::ErrorKind::PermissionDenied).mend.expect("a mend").contains("1024"));
    }

    #[test]
    fn a_node_of_another_folder_is_no_node_of_ours() {
        let states = [None, Some(true), Some(false)].map(|used| port(used).answered("a node answers").state);
        assert_eq!(states, [State::Ok, State::Ok, State::Wrong]);
    }

    #[test]
    fn an_address_that_stands_for_all_is_called_at_home() {
        let near =
            |address: &str| Port { address: address.parse().expect("an address"), ..port(None) }.near().to_string();
        assert_eq!(near("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(near("[::]:80"), "[::1]:80");
        assert_eq!(near("192.0.2.7:80"), "192.0.2.7:80");
    }
}

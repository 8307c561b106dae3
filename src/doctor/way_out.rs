//! The way out: a C-ECHO to each peer that says where it listens.

use std::net::SocketAddr;
use std::time::Duration;

use dicom_ul::pdu::{
    AssociationRJServiceProviderASCEReason as Provider, AssociationRJServiceUserReason as User, AssociationRJSource,
};

use super::Finding;
use crate::config::{Config, Dicom, Peer};
use crate::dimse::Failure;
use crate::dimse::client::{Call, Client};
use crate::reach::Unreached;

const CHECK: &str = "peer";

/// Calls the peers, all at once.
pub(super) async fn peers(config: &Config, patience: Duration) -> Vec<Finding> {
    let mut calls = Vec::new();
    for peer in &config.dicom.peers {
        if let Some((call, callee)) = Call::to_peer(&config.dicom, peer, patience).zip(Callee::of(&config.dicom, peer))
        {
            calls.push((callee, tokio::spawn(async move { Client::verify(&call?).await })));
        }
    }
    let mut findings = Vec::new();
    for (callee, call) in calls {
        let outcome = call.await.unwrap_or_else(|error| Err(Failure::Nonsense(error.to_string())));
        findings.push(told(&callee, &outcome));
    }
    findings
}

/// A peer, as the node calls it.
struct Callee {
    ours: String,
    theirs: String,
    address: SocketAddr,
    encrypted: bool,
}

impl Callee {
    fn of(dicom: &Dicom, peer: &Peer) -> Option<Self> {
        let (ours, theirs) = (dicom.ae_title.to_string(), peer.ae_title.to_string());
        Some(Self { ours, theirs, address: peer.address?, encrypted: peer.tls.is_some() })
    }
}

fn told(callee: &Callee, outcome: &Result<(), Failure>) -> Finding {
    let Callee { ours, theirs, address, .. } = callee;
    let subject = format!("{theirs} at {address}");
    match outcome {
        Ok(()) => Finding::ok(CHECK, subject, format!("answers the C-ECHO of {ours}")),
        // The titles are right, and what the node wants of it is no verification.
        Err(failure @ Failure::NotAgreed { .. }) => {
            let mend = format!("nothing, if {theirs} does without C-ECHO: it lets {ours} in");
            Finding::warning(CHECK, subject, failure.to_string(), mend)
        }
        Err(failure) => Finding::wrong(CHECK, subject, failure.to_string(), mend(callee, failure)),
    }
}

fn mend(Callee { ours, theirs, encrypted, .. }: &Callee, failure: &Failure) -> String {
    match failure {
        Failure::Unreached(why) => unreached(theirs, why),
        Failure::Rejected(rejected) => rejection(ours, theirs, &rejected.source),
        Failure::Closed if *encrypted => {
            format!("see whether {theirs} wants another certificate than that of [dicom.tls], and look into its log")
        }
        Failure::Silent(_) | Failure::Closed | Failure::Nonsense(_) => {
            format!("correct the address of {theirs}: what listens there speaks no DICOM, or speaks it over TLS only")
        }
        Failure::Aborted(_) | Failure::Status(_) | Failure::NotAgreed { .. } => {
            format!("look into the log of {theirs}")
        }
    }
}

fn unreached(called: &str, why: &Unreached) -> String {
    match why {
        Unreached::Refused => format!("start {called}, or correct its address"),
        Unreached::NoRoute | Unreached::Other(_) => {
            format!("correct the address of {called}, or the network of this machine")
        }
        Unreached::Silent(_) => format!("correct the address of {called}, or let the firewalls between pass it"),
        Unreached::Tls(_) => {
            format!("correct [dicom.peer.tls] of {called}, or its certificates; or it speaks no TLS at this port")
        }
    }
}

fn rejection(calling: &str, called: &str, source: &AssociationRJSource) -> String {
    match source {
        AssociationRJSource::ServiceUser(User::CalledAETitleNotRecognized) => {
            format!("who listens there does not call itself {called}: correct ae_title or address of this peer")
        }
        AssociationRJSource::ServiceUser(User::CallingAETitleNotRecognized) => {
            format!("list {calling}, with the address of this machine, at {called}")
        }
        AssociationRJSource::ServiceUser(User::NoReasonGiven | User::Reserved(_))
        | AssociationRJSource::ServiceProviderASCE(Provider::NoReasonGiven) => {
            format!("look into the log of {called}, and whether {calling} is listed there")
        }
        AssociationRJSource::ServiceUser(User::ApplicationContextNameNotSupported)
        | AssociationRJSource::ServiceProviderASCE(Provider::ProtocolVersionNotSupported) => {
            format!("correct the address of {called}: what listens there speaks another protocol")
        }
        AssociationRJSource::ServiceProviderPresentation(_) => {
            format!("try again: {called} has no room for associations now")
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_ul::pdu::{AssociationRJ, AssociationRJResult};

    use super::super::State;
    use super::*;

    fn found(outcome: &Result<(), Failure>) -> Finding {
        let text = "[dicom]\nae_title = 'NODE'\n[[dicom.peer]]\nae_title = 'PACS'\naddress = '192.0.2.7:104'\n";
        let config = Config::parse("test", text).expect("a configuration");
        let callee = Callee::of(&config.dicom, &config.dicom.peers[0]).expect("it can be called");
        told(&callee, outcome)
    }

    fn rejected(reason: User) -> Result<(), Failure> {
        let source = AssociationRJSource::ServiceUser(reason);
        Err(Failure::Rejected(AssociationRJ { result: AssociationRJResult::Permanent, source }))
    }

    #[test]
    fn each_mismatch_is_named_with_its_own_mend() {
        let mend = |outcome: Result<(), Failure>| {
            let found = found(&outcome);
            assert_eq!((found.state, &*found.subject), (State::Wrong, "PACS at 192.0.2.7:104"));
            found.mend.expect("a mend")
        };
        assert!(mend(rejected(User::CalledAETitleNotRecognized)).contains("does not call itself PACS"));
        assert!(mend(rejected(User::CallingAETitleNotRecognized)).starts_with("list NODE"));
        assert!(mend(rejected(User::NoReasonGiven)).contains("whether NODE is listed"));
        assert!(mend(Err(Unreached::Refused.into())).starts_with("start PACS"));
        assert!(mend(Err(Unreached::Silent(Duration::from_secs(5)).into())).contains("firewalls"));
        assert!(mend(Err(Failure::Closed)).contains("TLS"));
        assert!(mend(Err(Failure::Status(0x0122))).contains("log of PACS"));
    }

    #[test]
    fn a_peer_that_lets_the_node_in_but_does_no_verification_is_a_warning() {
        let refused = Failure::NotAgreed { class: "1.2.840.10008.1.1".to_owned(), reason: None };
        assert_eq!(found(&Err(refused)).state, State::Warning);
        assert_eq!(found(&Ok(())).state, State::Ok);
    }
}

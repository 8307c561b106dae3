//! The way out: a C-ECHO to each peer that says where it listens.

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
        if let Some(call) = call(&config.dicom, peer, patience) {
            calls.push((peer, tokio::spawn(async move { (Client::verify(&call).await, call) })));
        }
    }
    let mut findings = Vec::new();
    for (peer, call) in calls {
        findings.push(match call.await {
            Ok((outcome, call)) => told(&call, &outcome),
            Err(error) => Finding::wrong(CHECK, peer.ae_title.as_str(), error.to_string(), "tell the makers of this"),
        });
    }
    findings
}

/// How the node calls a peer, if it can.
fn call(dicom: &Dicom, peer: &Peer, patience: Duration) -> Option<Call> {
    let (calling, called) = (dicom.ae_title.to_string(), peer.ae_title.to_string());
    Some(Call { address: peer.address?, calling, called, tls: None, patience })
}

fn told(call: &Call, outcome: &Result<(), Failure>) -> Finding {
    let subject = format!("{} at {}", call.called, call.address);
    match outcome {
        Ok(()) => Finding::ok(CHECK, subject, format!("answers the C-ECHO of {}", call.calling)),
        // The titles are right, and what the node wants of it is no verification.
        Err(failure @ Failure::NotAgreed { .. }) => {
            let mend = format!("nothing, if {} does without C-ECHO: it lets {} in", call.called, call.calling);
            Finding::warning(CHECK, subject, failure.to_string(), mend)
        }
        Err(failure) => Finding::wrong(CHECK, subject, failure.to_string(), mend(call, failure)),
    }
}

fn mend(Call { calling, called, .. }: &Call, failure: &Failure) -> String {
    match failure {
        Failure::Unreached(why) => unreached(called, why),
        Failure::Rejected(rejected) => rejection(calling, called, &rejected.source),
        Failure::Silent(_) | Failure::Closed | Failure::Nonsense(_) => {
            format!("correct the address of {called}: what listens there speaks no DICOM, or speaks it over TLS only")
        }
        Failure::Aborted(_) | Failure::Status(_) | Failure::NotAgreed { .. } => {
            format!("look into the log of {called}")
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
            format!("correct the certificates of both sides, or see whether {called} speaks TLS at this port")
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
        let call = call(&config.dicom, &config.dicom.peers[0], Duration::from_secs(5)).expect("it can be called");
        told(&call, outcome)
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

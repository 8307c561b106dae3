//! The way in: each listener of the configuration, called as those call it who use it. Nothing is started.

use std::net::IpAddr;
use std::time::Duration;

use dicom_ul::pdu::{AssociationRJ, AssociationRJServiceUserReason as User, AssociationRJSource};
use serde::Deserialize;

use super::Finding;
use super::get::{Reply, get};
use super::port::Port;
use crate::config::{self, Config, Dicom};
use crate::dimse::Failure;
use crate::dimse::client::{Call, Client};
use crate::reach::Unreached;
use crate::tls::Caller;

/// Calls the listeners. `used` says whether a node runs on the data folder, if that is known.
pub(super) async fn listeners(config: &Config, used: Option<bool>, patience: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let port = |section, address| Port { section, address, used };
    if let Some(address) = config.dicom.address {
        findings.extend(dicom(&config.dicom, port("dicom", address), patience).await);
    }
    if let Some(address) = config.http.address {
        findings.extend(health(config.http.tls.as_ref(), port("http", address), patience).await);
    }
    if let Some(address) = config.metrics.address {
        findings.push(metrics(port("metrics", address), patience).await);
    }
    findings
}

/// Who calls: a listed peer that may call from this machine, or nobody of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Calling {
    title: String,
    /// Whether the node must let it in.
    welcome: bool,
}

/// The titles to call by. If none of the list may call from `here`, the node's own, which is let in only if all are.
fn callers(dicom: &Dicom, here: IpAddr) -> Vec<Calling> {
    let mut titles: Vec<String> = Vec::new();
    for peer in &dicom.peers {
        let title = peer.ae_title.to_string();
        if dicom.peer(&title, here).is_some() && !titles.contains(&title) {
            titles.push(title);
        }
    }
    if titles.is_empty() {
        return vec![Calling { title: dicom.ae_title.to_string(), welcome: dicom.any_peer }];
    }
    titles.into_iter().map(|title| Calling { title, welcome: true }).collect()
}

async fn dicom(dicom: &Dicom, port: Port, patience: Duration) -> Vec<Finding> {
    if let Some(drawn) = port.drawn() {
        return vec![drawn];
    }
    // Files that cannot be used are told with the certificates.
    let Ok(tls) = dicom.tls.as_ref().map(Caller::to_ourselves).transpose() else { return Vec::new() };
    let address = port.near();
    let mutual = is_mutual(dicom.tls.as_ref(), &port);
    let mut findings = Vec::new();
    for calling in callers(dicom, address.ip()) {
        let called = dicom.ae_title.to_string();
        let call = Call { address, calling: calling.title.clone(), called, tls: tls.clone(), patience };
        let outcome = Client::verify(&call).await;
        findings.push(echoed(&port, &calling, &call.called, mutual, &outcome));
        // What says nothing of the title says nothing new to the next one.
        if !matches!(outcome, Ok(()) | Err(Failure::Rejected(_))) {
            break;
        }
    }
    findings
}

/// Whether a node that may run here asks for a certificate.
fn is_mutual(tls: Option<&config::Tls>, port: &Port) -> bool {
    port.used != Some(false) && tls.is_some_and(|tls| tls.client_ca.is_some())
}

const RELOAD: &str = "let the node read its configuration again (SIGHUP), or start it again";

/// What a C-ECHO to our own listener says.
fn echoed(port: &Port, calling: &Calling, called: &str, mutual: bool, outcome: &Result<(), Failure>) -> Finding {
    let title = &calling.title;
    match outcome {
        Ok(()) if calling.welcome => {
            port.answered(&format!("a node is running: {called} answers the C-ECHO of {title}"))
        }
        Ok(()) => port.warning(format!("{called} answers the C-ECHO of {title}, which is not listed"), RELOAD),
        Err(failure @ Failure::Rejected(AssociationRJ { source, .. })) => {
            refused(port, calling, called, source, &failure.to_string())
        }
        Err(failure @ (Failure::Unreached(Unreached::Tls(_)) | Failure::Closed)) if mutual => {
            uncertified(port, &failure.to_string())
        }
        Err(Failure::Unreached(Unreached::Tls(why))) => encrypted(port, why),
        Err(failure) => port.unanswered(&failure.to_string()),
    }
}

fn refused(port: &Port, calling: &Calling, called: &str, source: &AssociationRJSource, said: &str) -> Finding {
    let Calling { title, welcome } = calling;
    match source {
        AssociationRJSource::ServiceUser(User::CallingAETitleNotRecognized) if !welcome => port.answered(
            "a node is running, and refuses who is not listed; no peer is listed that calls from this machine, so that a \
             C-ECHO cannot be tried from here",
        ),
        AssociationRJSource::ServiceUser(User::CallingAETitleNotRecognized) => {
            port.wrong(format!("{title} is listed, but {said}"), RELOAD)
        }
        AssociationRJSource::ServiceUser(User::CalledAETitleNotRecognized) => {
            port.wrong(format!("who listens here does not call itself {called}: {said}"), RELOAD)
        }
        AssociationRJSource::ServiceProviderPresentation(_) => {
            port.warning(said, "see /readyz and the limits of the configuration: it lets in again by itself")
        }
        AssociationRJSource::ServiceUser(_) | AssociationRJSource::ServiceProviderASCE(_) => {
            port.wrong(said, "see who has the port, or choose another at dicom.address")
        }
    }
}

/// A listener that wants a certificate of its authorities, which the node's own may not be.
fn uncertified(port: &Port, said: &str) -> Finding {
    let detail = format!("the listener wants a certificate of client_ca, and the node's own does not do: {said}");
    port.warning(detail, "try it from a sender that holds a certificate")
}

/// A listener with another certificate than the file holds, or without TLS.
fn encrypted(port: &Port, why: &str) -> Finding {
    let detail = format!("who listens here does not show the certificate of the configuration: {why}");
    port.wrong(detail, "start the node again if the certificate was renewed; otherwise see who has the port")
}

/// What `/livez` says.
#[derive(Deserialize)]
struct Live {
    alive: bool,
}

/// What `/readyz` says.
#[derive(Deserialize)]
struct Ready {
    ready: bool,
    reasons: Vec<String>,
}

async fn health(tls: Option<&config::Tls>, port: Port, patience: Duration) -> Vec<Finding> {
    if let Some(drawn) = port.drawn() {
        return vec![drawn];
    }
    let Ok(caller) = tls.map(Caller::to_ourselves).transpose() else { return Vec::new() };
    let ask = |path: &'static str| get(port.near(), path, caller.as_ref(), patience);
    let live = ask("/livez").await;
    match live {
        Ok(live) => match live.as_ref().and_then(parsed::<Live>) {
            Some(live) => {
                let ready = ask("/readyz").await.ok().flatten();
                vec![lives(&port, &live), serves(&port, ready.as_ref().and_then(parsed::<Ready>))]
            }
            None => vec![port.unanswered("it answers something else at /livez")],
        },
        Err(why @ (Unreached::Tls(_) | Unreached::Other(_))) if is_mutual(tls, &port) => {
            vec![uncertified(&port, &why.to_string())]
        }
        Err(Unreached::Tls(why)) => vec![encrypted(&port, &why)],
        Err(unreached) => vec![port.unanswered(&unreached.to_string())],
    }
}

/// What a reply says, if it is one of a node.
fn parsed<T: for<'de> Deserialize<'de>>(reply: &Reply) -> Option<T> {
    [200, 503].contains(&reply.status).then(|| serde_json::from_str(&reply.body).ok())?
}

fn lives(port: &Port, live: &Live) -> Finding {
    if live.alive {
        port.answered("/livez: a node is running, and its graph is fed")
    } else {
        port.wrong("/livez: the graph of the node has ended", "look into its log for why, and start it again")
    }
}

fn serves(port: &Port, ready: Option<Ready>) -> Finding {
    match ready {
        Some(Ready { ready: true, .. }) => port.ok("/readyz: it takes instances"),
        Some(Ready { reasons, .. }) => {
            let detail = format!("/readyz: it takes nothing now: {}", reasons.join(", "));
            // What passes by itself, and what does not.
            let waits = reasons.iter().all(|reason| ["replaying", "behind", "draining"].contains(&reason.as_str()));
            if waits {
                port.warning(detail, "wait: this passes")
            } else {
                port.wrong(detail, "disk: make room; failed: look into the log and start the node again")
            }
        }
        None => port.wrong("/readyz: there is no answer", "look into the log of the node"),
    }
}

async fn metrics(port: Port, patience: Duration) -> Finding {
    if let Some(drawn) = port.drawn() {
        return drawn;
    }
    match get(port.near(), "/metrics", None, patience).await {
        Ok(Some(reply)) if reply.status == 200 && reply.body.contains("\nhemoflow_") => {
            port.answered("/metrics: a node is running, and tells its metrics")
        }
        Ok(_) => port.unanswered("it answers something else at /metrics"),
        Err(unreached) => port.unanswered(&unreached.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use dicom_ul::pdu::AssociationRJResult;

    use super::super::State;
    use super::*;

    fn here() -> Port {
        Port { section: "dicom", address: ([127, 0, 0, 1], 0).into(), used: Some(true) }
    }

    fn dicom(text: &str) -> Dicom {
        Config::parse("test", text).expect("a configuration").dicom
    }

    #[test]
    fn who_may_call_from_here_calls_and_else_the_node_itself() {
        let loopback = "127.0.0.1".parse().expect("an address");
        let called = |text: &str| -> Vec<(String, bool)> {
            callers(&dicom(text), loopback).into_iter().map(|calling| (calling.title, calling.welcome)).collect()
        };
        let peer = |title: &str, from: &str| format!("[[dicom.peer]]\nae_title = '{title}'\nfrom = '{from}'\n");
        let listed =
            [peer("CT1", "192.0.2.7"), peer("CT2", "127.0.0.1"), peer("CT2", "::1"), peer("CT3", "127.0.0.0/8")];
        assert_eq!(called(&listed.concat()), [("CT2".to_owned(), true), ("CT3".to_owned(), true)]);
        assert_eq!(called(&peer("CT1", "192.0.2.7")), [("HEMOFLOW".to_owned(), false)]);
        assert_eq!(called("[dicom]\nany_peer = true\n"), [("HEMOFLOW".to_owned(), true)]);
    }

    #[test]
    fn a_refusal_is_right_only_where_it_is_meant() {
        let refused = |reason: User, welcome: bool| {
            let source = AssociationRJSource::ServiceUser(reason);
            let rejected = AssociationRJ { result: AssociationRJResult::Permanent, source };
            let calling = Calling { title: "CT1".to_owned(), welcome };
            echoed(&here(), &calling, "HEMOFLOW", false, &Err(Failure::Rejected(rejected))).state
        };
        assert_eq!(refused(User::CallingAETitleNotRecognized, false), State::Ok);
        assert_eq!(refused(User::CallingAETitleNotRecognized, true), State::Wrong);
        assert_eq!(refused(User::CalledAETitleNotRecognized, true), State::Wrong);
    }

    #[test]
    fn a_node_that_takes_nothing_is_wrong_unless_it_passes() {
        let state = |reasons: &[&str]| {
            let reasons: Vec<String> = reasons.iter().map(|&reason| reason.to_owned()).collect();
            serves(&here(), Some(Ready { ready: reasons.is_empty(), reasons })).state
        };
        assert_eq!(
            (state(&[]), state(&["replaying"]), state(&["replaying", "disk"])),
            (State::Ok, State::Warning, State::Wrong)
        );
        assert_eq!(lives(&here(), &Live { alive: false }).state, State::Wrong);
    }
}

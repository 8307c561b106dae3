//! STOW-RS: stores instances that come in one request (PS3.18 section 10.5).
//!
//! `multipart/related; type="application/dicom"`, part by part, at most one in memory. What is told as stored is kept. A
//! request that breaks off is told nothing; what had come whole is kept all the same, and comes again without effect.

mod answer;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, EXPECT, HOST};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::response::{IntoResponse, Response};
use operators::dicom::identity::{self, Told, is_uid};
use operators::event::InstanceTurnedAway;
use operators::record::SeriesKey;
use tokio::sync::SemaphorePermit;

use self::answer::{Answer, Failure, Judged};
use super::access;
use super::body;
use super::listener::{Shared, scheme};
use super::media_type::MediaType;
use super::multipart::{Splitter, Step};
use super::refusal::Refusal;
use crate::dimse;
use crate::inbox::Via;
use crate::ingest::{Door, Refused, Sender};

/// What is taken.
const DICOM: &str = "application/dicom";

/// A request that was let in.
struct Order {
    sender: Sender,
    /// The study that all instances must be of, if the path names one.
    study: Option<String>,
    splitter: Splitter,
    /// Where DICOMweb is served, as the sender calls it.
    base: String,
}

/// Stores what a request holds. It goes on to its end though the sender has left.
pub(super) async fn store(shared: Arc<Shared>, study: Option<String>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let admitted = admit(&shared, study, &head).and_then(|order| {
        // As many are served as there are seats; a seat is given back at the end of the request.
        Ok((order, Arc::clone(&shared.seats).try_acquire_owned().map_err(|_| Refusal::Busy)?))
    });
    let (order, seat) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::warn!("a request to store was refused: {}", refusal.words());
            // Who asks before sending has sent nothing.
            if !head.headers.contains_key(EXPECT) {
                body::swallow(&mut body).await;
            }
            return refusal.into_response();
        }
    };
    let task = tokio::spawn(async move {
        let response = receive(&shared.door, order, body).await;
        drop(seat);
        response
    });
    task.await.unwrap_or_else(|_| Refusal::Failed.into_response())
}

/// Judges a request by all but its body.
fn admit(shared: &Shared, study: Option<String>, head: &Parts) -> Result<Order, Refusal> {
    let rules = shared.rules.borrow().clone();
    let name = access::sender(&rules, shared.certified, &head.headers).map_err(Refusal::Denied)?;
    if study.as_deref().is_some_and(|study| !is_uid(study)) {
        return Err(Refusal::Study);
    }
    let media = head.headers.get(CONTENT_TYPE).and_then(|value| MediaType::parse(value.to_str().ok()?));
    let media = media.filter(|media| {
        let root = media.parameter("type").map(str::to_ascii_lowercase);
        media.name == "multipart/related" && root.as_deref() == Some(DICOM)
    });
    let splitter = media.and_then(|media| Splitter::new(media.parameter("boundary")?)).ok_or(Refusal::MediaType)?;
    shared.door.open().map_err(Refusal::Closed)?;
    let called = head.headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let called = called.map_or_else(|| shared.address.to_string(), |authority| authority.to_string());
    let base = format!("{}://{called}/dicom-web", scheme(shared.encrypted));
    let sender = Sender { via: Via::Stow, name };
    Ok(Order { sender, study, splitter, base })
}

async fn receive(door: &Door, mut order: Order, mut body: Body) -> Response {
    let mut answer = Answer::default();
    let taken = take(door, &mut order, &mut body, &mut answer).await;
    // However it ended: what came came.
    let series: BTreeSet<SeriesKey> = answer.series().cloned().collect();
    if let Err(error) = door.ended(series.into_iter().collect()).await {
        tracing::warn!("the end of a request was not written down: {error}");
    }
    match taken {
        Ok(()) => answer.respond(&order.base),
        Err(refusal) => {
            tracing::warn!("a request to store was cut off: {}", refusal.words());
            body::swallow(&mut body).await;
            refusal.into_response()
        }
    }
}

/// Takes the parts of a body, one after the other.
async fn take(door: &Door, order: &mut Order, body: &mut Body, answer: &mut Answer) -> Result<(), Refusal> {
    let most = door.limits().association_instances;
    let mut parts = 0;
    let mut bytes = Vec::new();
    let mut room: Option<SemaphorePermit<'_>> = None;
    let mut failure: Option<Failure> = None;
    loop {
        match order.splitter.step(&mut bytes).map_err(Refusal::Malformed)? {
            Step::Begun(media) => {
                parts += 1;
                if parts > most {
                    return Err(Refusal::TooMany);
                }
                door.pace().await;
                failure = media.is_none_or(|media| media.name != DICOM).then_some(Failure::MediaType);
            }
            Step::More => {
                if failure.is_none() && (room.is_none() || bytes.len() > door.limits().instance_bytes) {
                    match door.room(bytes.len()).await {
                        Ok(permit) => room = permit,
                        Err(refused) => failure = Some(Failure::Refused(refused)),
                    }
                }
                if failure.is_some() {
                    bytes = Vec::new();
                }
                let chunk = body::next(body).await?.ok_or(Refusal::Cut)?;
                order.splitter.feed(&chunk);
            }
            Step::Whole => {
                let bytes = std::mem::take(&mut bytes);
                let judged = match failure.take() {
                    Some(failure) => turned_away(door, None, failure),
                    None => keep(door, order, bytes).await,
                };
                room = None;
                answer.add(judged);
            }
            Step::End => return Ok(()),
        }
    }
}

/// Keeps an instance, unless it is not what may come in this request.
async fn keep(door: &Door, order: &Order, bytes: Vec<u8>) -> Judged {
    let told = match identity::identify(&bytes) {
        Ok(told) => told,
        Err(refusal) => return turned_away(door, None, Failure::Refused(Refused::Unreadable(refusal))),
    };
    if order.study.as_deref().is_some_and(|study| study != told.key.study.as_str()) {
        return turned_away(door, Some(told), Failure::Study);
    }
    if !dimse::classes().any(|class| class == told.class) {
        return turned_away(door, Some(told), Failure::Class);
    }
    match door.keep(&order.sender, bytes, None).await {
        Ok(taken) => Judged { told: Some(taken.told), failure: None },
        // The door has told of it.
        Err(refused) => Judged { told: Some(told), failure: Some(Failure::Refused(refused)) },
    }
}

fn turned_away(door: &Door, told: Option<Told>, failure: Failure) -> Judged {
    door.telemetry().emit(InstanceTurnedAway { via: Via::Stow.word(), reason: failure.word() });
    Judged { told, failure: Some(failure) }
}

//! The certificates of the listeners: whether they can be used, and until when.

use std::ops::Range;
use std::time::Duration;

use super::Finding;
use crate::config::{self, Config};
use crate::tls::{Tls, Validity, from_now};

const CHECK: &str = "certificate";
/// How long before its end a certificate is warned of.
const AHEAD: Duration = Duration::from_secs(30 * 86_400);

/// What is to be said of the files of both listeners.
pub(super) fn certificates(config: &Config) -> Vec<Finding> {
    let files = [config.dicom.tls.as_ref(), config.http.tls.as_ref()].into_iter().flatten();
    files.map(certificate).collect()
}

fn certificate(files: &config::Tls) -> Finding {
    let subject = files.certificate.display().to_string();
    match Tls::load(files).and_then(|_| Tls::validity(files)) {
        Ok(validity) => lasting(subject, validity, [Duration::ZERO, AHEAD].map(from_now)),
        Err(error) => {
            let mend = "put PEM files there that belong together, readable by the user of the node";
            Finding::wrong(CHECK, subject, format!("{error:#}"), mend)
        }
    }
}

/// What is to be said at a time, if what comes `soon` is warned of.
fn lasting(subject: String, validity: Option<Validity>, [now, soon]: [String; 2]) -> Finding {
    let Some(Validity { from, until }) = validity else {
        return Finding::warning(
            CHECK,
            subject,
            "can be read, but until when it holds cannot",
            "look at it with openssl x509",
        );
    };
    let mend = "have the authority make a new one, put it there, and start the node again";
    if until < now {
        Finding::wrong(CHECK, subject, format!("has expired on {}", day(&until)), mend)
    } else if now < from {
        let mend = "wait, or set the clock of this machine";
        Finding::wrong(CHECK, subject, format!("holds from {} on only", day(&from)), mend)
    } else if until < soon {
        Finding::warning(CHECK, subject, format!("expires on {}", day(&until)), mend)
    } else {
        Finding::ok(CHECK, subject, format!("can be used until {}", day(&until)))
    }
}

/// `YYYY-MM-DD`.
fn day(stamp: &str) -> String {
    let part = |range: Range<usize>| stamp.get(range).unwrap_or_default();
    format!("{}-{}-{}", part(0..4), part(4..6), part(6..8))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_certificate_that_does_not_hold_is_wrong_and_one_that_ends_soon_is_warned_of() {
        let validity = Validity { from: "20200101000000".to_owned(), until: "20300101000000".to_owned() };
        let at = |now: &str, soon: &str| {
            let found = lasting("c".to_owned(), Some(validity.clone()), [now, soon].map(str::to_owned));
            (found.state, found.detail)
        };
        assert_eq!(at("20191231235959", "20200130000000").0, State::Wrong);
        assert_eq!(at("20250101000000", "20250131000000"), (State::Ok, "can be used until 2030-01-01".to_owned()));
        assert_eq!(at("20291215000000", "20300115000000").0, State::Warning);
        assert_eq!(at("20300101000001", "20300131000000"), (State::Wrong, "has expired on 2030-01-01".to_owned()));
    }
}

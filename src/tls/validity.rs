//! From when until when a certificate holds.
//!
//! Source: RFC 5280 section 4.1 for the place of the two times, 4.1.2.5 for their form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Both ends, UTC, as `YYYYMMDDHHMMSS`: text that sorts as time does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// It does not hold before.
    pub from: String,
    /// It does not hold behind.
    pub until: String,
}

impl Validity {
    /// What a certificate in DER says. `None`: it is no certificate.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
        let (SEQUENCE, mut rest, _) = element(certificate)? else { return None };
        if let (VERSION, _, behind) = element(rest)? {
            rest = behind;
        }
        // Serial number, algorithm, issuer.
        for _ in 0..3 {
            rest = element(rest)?.2;
        }
        let (SEQUENCE, validity, _) = element(rest)? else { return None };
        let (kind, from, rest) = element(validity)?;
        let from = time(kind, from)?;
        let (kind, until, _) = element(rest)?;
        Some(Self { from, until: time(kind, until)? })
    }
}

const SEQUENCE: u8 = 0x30;
/// The version of a certificate, which may be left out.
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The first element: tag, content, and what stands behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, bytes) = bytes.split_first()?;
    let (first, bytes) = bytes.split_first()?;
    let (length, bytes) = match *first {
        short @ ..=0x7F => (usize::from(short), bytes),
        // 0x80 has no length.
        long @ 0x81..=0x83 => {
            let (digits, bytes) = bytes.split_at_checked(usize::from(long - 0x80))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), bytes)
        }
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn time(kind: u8, text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match (kind, text.len()) {
        // Two digits of the year: 1950 to 2049.
        (UTC_TIME, 12) => Some(format!("{}{text}", if text < "50" { "20" } else { "19" })),
        (GENERALIZED_TIME, 14) => Some(text.to_owned()),
        _ => None,
    }
}

/// The time so long from now, as [`Validity`] has it.
#[must_use]
pub fn from_now(ahead: Duration) -> String {
    stamp((SystemTime::now() + ahead).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Seconds since 1970, UTC. The year begins with March here, so that the day that is not always there is its last.
fn stamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element in DER.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = if length < 0x80 { vec![tag] } else { vec![tag, 0x82, u8::try_from(length >> 8).expect("short")] };
        [&head[..], &[u8::try_from(length & 0xFF).expect("a byte")], content].concat()
    }

    #[test]
    fn days_are_counted_as_the_calendar_counts_them() {
        let stamps = [0, 951_782_400, 951_868_799, 951_868_800, 4_102_444_799].map(stamp);
        let expected = ["19700101000000", "20000229000000", "20000229235959", "20000301000000", "20991231235959"];
        assert_eq!(stamps, expected);
    }

    #[test]
    fn the_times_of_a_certificate_are_found_with_and_without_a_version() {
        let validity =
            der(SEQUENCE, &[der(UTC_TIME, b"991231235959Z"), der(GENERALIZED_TIME, b"20500101000000Z")].concat());
        let before = [der(0x02, &[1]), der(SEQUENCE, &[]), der(SEQUENCE, &[0; 300])].concat();
        for version in [Vec::new(), der(VERSION, &der(0x02, &[2]))] {
            let inner = der(SEQUENCE, &[&version[..], &before, &validity, &der(SEQUENCE, &[])].concat());
            let certificate = der(SEQUENCE, &inner);
            let found = Validity::of(&certificate).expect("a certificate");
            assert_eq!((&*found.from, &*found.until), ("19991231235959", "20500101000000"));
            for end in 0..certificate.len() {
                assert_eq!(Validity::of(&certificate[..end]), None, "cut off at {end}");
            }
        }
    }
}

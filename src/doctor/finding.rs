//! What was looked at, how it is, and what mends it.

use std::fmt;

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It may be meant, or it passes.
    Warning,
    /// A node that needs it does not work.
    Wrong,
}

impl State {
    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing was looked at: a fixed word.
    pub check: &'static str,
    /// Which one.
    pub subject: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What to do. `None`: nothing.
    pub mend: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &'static str, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check, subject: subject.into(), state: State::Ok, detail: detail.into(), mend: None }
    }

    /// Somebody should look at it.
    pub(super) fn warning(
        check: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { state: State::Warning, mend: Some(mend.into()), ..Self::ok(check, subject, detail) }
    }

    /// Somebody must mend it.
    pub(super) fn wrong(
        check: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { state: State::Wrong, mend: Some(mend.into()), ..Self::ok(check, subject, detail) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, subject, state, detail, mend } = self;
        write!(f, "{:<7}  {check} {subject}: {detail}", state.word())?;
        mend.as_ref().map_or(Ok(()), |mend| write!(f, " -> {mend}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_an_object() {
        let found = Finding::wrong("disk", "/var", "1M are free", "make room");
        assert_eq!(found.to_string(), "wrong    disk /var: 1M are free -> make room");
        assert_eq!(Finding::ok("disk", "/var", "3G are free").to_string(), "ok       disk /var: 3G are free");
        let object = serde_json::to_value(&found).expect("JSON");
        let expected = serde_json::json!({
            "check": "disk", "subject": "/var", "state": "wrong", "detail": "1M are free", "mend": "make room"
        });
        assert_eq!(object, expected);
    }
}

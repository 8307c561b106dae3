//! Why the other side did not do what it was asked for.

use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AbortRQSource, AssociationRJ, AssociationRJResult, AssociationRJSource, PresentationContextResultReason,
};
use thiserror::Error;

use super::pdu::Broken;
use crate::reach::{Unreached, tls_error};

/// What went wrong with an association that this side asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// There is no connection.
    #[error(transparent)]
    Unreached(#[from] Unreached),
    /// A-ASSOCIATE-RJ.
    #[error("the association is rejected, {}", rejection(.0))]
    Rejected(AssociationRJ),
    /// A-ABORT.
    #[error("the association is aborted, by {}", aborter(.0))]
    Aborted(AbortRQSource),
    /// The connection ended before there was an answer.
    #[error("the connection is closed without an answer")]
    Closed,
    /// The other side was silent for so long.
    #[error("there is no answer in {} s", .0.as_secs())]
    Silent(Duration),
    /// Of the contexts that were asked for, none of this SOP class was accepted.
    #[error("no presentation context for {} is accepted: {}", class_name(.class), refusal(.reason.as_ref()))]
    NotAgreed {
        /// The SOP class.
        class: String,
        /// What the other side says of it, if it says anything.
        reason: Option<PresentationContextResultReason>,
    },
    /// A response with another status than success.
    #[error("the answer has the status {0:04X}")]
    Status(u16),
    /// What came is not what DICOM lets come.
    #[error("{0}")]
    Nonsense(String),
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Silent(patience) => Self::Silent(patience),
            Broken::Io(error) => match tls_error(&error) {
                Some(tls) => Self::Unreached(Unreached::Tls(tls.to_string())),
                None => Self::Closed,
            },
            other => Self::Nonsense(other.to_string()),
        }
    }
}

impl Failure {
    /// What has no form, or no place.
    pub(super) fn nonsense(what: impl Into<String>) -> Self {
        Self::Nonsense(what.into())
    }
}

/// Result, source and reason (PS3.8 table 9-21).
fn rejection(rejected: &AssociationRJ) -> String {
    let result = match rejected.result {
        AssociationRJResult::Permanent => "permanently",
        AssociationRJResult::Transient => "for now",
    };
    let source = match rejected.source {
        AssociationRJSource::ServiceUser(_) => "the service user",
        AssociationRJSource::ServiceProviderASCE(_) => "the service provider (ACSE)",
        AssociationRJSource::ServiceProviderPresentation(_) => "the service provider (presentation)",
    };
    format!("{result}, by {source}: {}", rejected.source)
}

fn aborter(source: &AbortRQSource) -> String {
    match source {
        AbortRQSource::ServiceUser => "the service user".to_owned(),
        AbortRQSource::ServiceProvider(reason) => format!("the service provider: {reason}"),
        AbortRQSource::Reserved => "nobody that the standard knows".to_owned(),
    }
}

fn class_name(class: &str) -> &str {
    match class {
        uids::VERIFICATION => "Verification",
        uids::STORAGE_COMMITMENT_PUSH_MODEL => "Storage Commitment",
        other => other,
    }
}

fn refusal(reason: Option<&PresentationContextResultReason>) -> &'static str {
    use PresentationContextResultReason as Reason;
    match reason {
        Some(Reason::UserRejection) => "user rejection",
        Some(Reason::AbstractSyntaxNotSupported) => "abstract syntax not supported",
        Some(Reason::TransferSyntaxesNotSupported) => "transfer syntaxes not supported",
        Some(Reason::NoReason | Reason::Acceptance) | None => "no reason given",
    }
}

#[cfg(test)]
mod tests {
    use dicom_ul::pdu::{AbortRQServiceProviderReason, AssociationRJServiceUserReason as User};

    use super::*;

    #[test]
    fn a_failure_says_in_words_what_the_standard_says_in_numbers() {
        let source = AssociationRJSource::ServiceUser(User::CalledAETitleNotRecognized);
        let rejected = Failure::Rejected(AssociationRJ { result: AssociationRJResult::Permanent, source });
        assert_eq!(
            rejected.to_string(),
            "the association is rejected, permanently, by the service user: called AE title not recognized"
        );
        let aborted = Failure::Aborted(AbortRQSource::ServiceProvider(AbortRQServiceProviderReason::UnexpectedPdu));
        assert_eq!(aborted.to_string(), "the association is aborted, by the service provider: unexpected PDU");
        let reason = Some(PresentationContextResultReason::AbstractSyntaxNotSupported);
        let refused = Failure::NotAgreed { class: uids::VERIFICATION.to_owned(), reason };
        assert_eq!(
            refused.to_string(),
            "no presentation context for Verification is accepted: abstract syntax not supported"
        );
        assert_eq!(Failure::Status(0x0122).to_string(), "the answer has the status 0122");
    }
}

//! Whether an association is accepted, and for what. No socket here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use operators::dicom::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};

use crate::config::Dicom;
use crate::ingest::Closed;
use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceProviderPresentationReason as Busy, AssociationRJServiceUserReason, AssociationRJSource,
    AssociationRQ, PresentationContextProposed, PresentationContextResult, PresentationContextResultReason,
    UserVariableItem,
};

/// DICOM's application context (PS3.7 annex A).
pub(super) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// The SOP classes that are taken: slices, pictures, and notes that take slices back.
pub fn classes() -> impl Iterator<Item = &'static str> {
    [
        uids::CT_IMAGE_STORAGE,
        uids::ENHANCED_CT_IMAGE_STORAGE,
        uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
        uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
        uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
        uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE,
        uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
        uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
        uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    ]
    .into_iter()
}

/// Whether data sets of a transfer syntax are read here.
fn is_read(syntax: &str) -> bool {
    TransferSyntaxRegistry.get(syntax).is_some_and(|known| known.can_decode_all())
}

/// What was agreed for a presentation context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) class: String,
    pub(super) syntax: String,
}

/// An association that is accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) answer: AssociationAC,
    pub(super) contexts: BTreeMap<u8, Context>,
    /// The calling AE title.
    pub(super) caller: String,
    /// Bytes of a P-DATA-TF that the other side reads at most.
    pub(super) max_pdu: u32,
}

/// Why an association is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Protocol,
    ApplicationContext,
    Called,
    Calling,
    Busy,
    Closed(Closed),
}

impl Rejected {
    /// The fixed word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Protocol => "protocol_version",
            Self::ApplicationContext => "application_context",
            Self::Called => "called_title",
            Self::Calling => "calling_title",
            Self::Busy => "limit",
            Self::Closed(closed) => closed.word(),
        }
    }

    /// The answer (PS3.8 table 9-21).
    pub(super) fn answer(self) -> AssociationRJ {
        use AssociationRJServiceUserReason as User;
        let (result, source) = match self {
            Self::Protocol => {
                let reason = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
                (AssociationRJResult::Permanent, AssociationRJSource::ServiceProviderASCE(reason))
            }
            Self::ApplicationContext => (
                AssociationRJResult::Permanent,
                AssociationRJSource::ServiceUser(User::ApplicationContextNameNotSupported),
            ),
            Self::Called => {
                (AssociationRJResult::Permanent, AssociationRJSource::ServiceUser(User::CalledAETitleNotRecognized))
            }
            Self::Calling => {
                (AssociationRJResult::Permanent, AssociationRJSource::ServiceUser(User::CallingAETitleNotRecognized))
            }
            Self::Busy => (
                AssociationRJResult::Transient,
                AssociationRJSource::ServiceProviderPresentation(Busy::LocalLimitExceeded),
            ),
            Self::Closed(_) => (
                AssociationRJResult::Transient,
                AssociationRJSource::ServiceProviderPresentation(Busy::TemporaryCongestion),
            ),
        };
        AssociationRJ { result, source }
    }
}

/// Judges a request that came from `address`. `closed` says whether nothing is taken now.
pub(super) fn judge(
    rules: &Dicom,
    request: &AssociationRQ,
    address: IpAddr,
    closed: Result<(), Closed>,
) -> Result<Accepted, Rejected> {
    if request.protocol_version & 1 == 0 {
        return Err(Rejected::Protocol);
    }
    if request.application_context_name.trim_end_matches(['\0', ' ']) != APPLICATION_CONTEXT {
        return Err(Rejected::ApplicationContext);
    }
    if request.called_ae_title != rules.ae_title.as_str() {
        return Err(Rejected::Called);
    }
    if !rules.any_peer && rules.peer(&request.calling_ae_title, address).is_none() {
        return Err(Rejected::Calling);
    }
    closed.map_err(Rejected::Closed)?;
    let mut contexts = BTreeMap::new();
    let mut results = Vec::new();
    for proposed in &request.presentation_contexts {
        let (result, context) = agree(proposed);
        contexts.extend(context.map(|context| (proposed.id, context)));
        results.push(result);
    }
    let max_pdu = request.user_variables.iter().find_map(|item| match item {
        UserVariableItem::MaxLength(length) => Some(*length),
        _ => None,
    });
    let answer = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title.clone(),
        called_ae_title: request.called_ae_title.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: user_variables(rules.max_pdu),
    };
    let caller = request.calling_ae_title.clone();
    // 0 means: any length.
    let max_pdu = max_pdu.filter(|length| *length > 0).unwrap_or(u32::MAX).max(1024);
    Ok(Accepted { answer, contexts, caller, max_pdu })
}

pub(super) fn user_variables(max_pdu: u32) -> Vec<UserVariableItem> {
    vec![
        UserVariableItem::MaxLength(max_pdu),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.chars().take(16).collect()),
    ]
}

/// Agrees on a context: the first transfer syntax that is read here, as the sender has it, so that nobody converts.
fn agree(proposed: &PresentationContextProposed) -> (PresentationContextResult, Option<Context>) {
    use PresentationContextResultReason::{AbstractSyntaxNotSupported, Acceptance, TransferSyntaxesNotSupported};
    let class = proposed.abstract_syntax.trim_end_matches(['\0', ' ']);
    let stored = classes().any(|known| known == class);
    let taken = stored || [uids::VERIFICATION, uids::STORAGE_COMMITMENT_PUSH_MODEL].contains(&class);
    let offered = proposed.transfer_syntaxes.iter().map(|syntax| syntax.trim_end_matches(['\0', ' ']));
    let syntax = offered.clone().find(|syntax| is_read(syntax));
    let (reason, context) = match (taken, syntax) {
        (false, _) => (AbstractSyntaxNotSupported, None),
        (true, None) => (TransferSyntaxesNotSupported, None),
        (true, Some(syntax)) => (Acceptance, Some(Context { class: class.to_owned(), syntax: syntax.to_owned() })),
    };
    let answered = syntax.or_else(|| offered.clone().next()).unwrap_or(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    (PresentationContextResult { id: proposed.id, reason, transfer_syntax: answered.to_owned() }, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn rules() -> Dicom {
        let text = r#"
            [[dicom.peer]]
            ae_title = "CT1"
            from = "192.0.2.0/24"
            [[dicom.peer]]
            ae_title = "CT2"
        "#;
        Config::parse("test", text).expect("a configuration").dicom
    }

    fn request(called: &str, calling: &str, contexts: &[(&str, &[&str])]) -> AssociationRQ {
        let proposed = contexts.iter().zip((1_u8..).step_by(2)).map(|((class, syntaxes), id)| {
            let transfer_syntaxes = syntaxes.iter().map(|&syntax| syntax.to_owned()).collect();
            PresentationContextProposed { id, abstract_syntax: (*class).to_owned(), transfer_syntaxes }
        });
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: calling.to_owned(),
            called_ae_title: called.to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: proposed.collect(),
            user_variables: vec![UserVariableItem::MaxLength(16_384)],
        }
    }

    const HERE: &str = "192.0.2.7";
    const ELSEWHERE: &str = "::ffff:198.51.100.1";

    fn judged(called: &str, calling: &str, from: &str, closed: Result<(), Closed>) -> Option<Rejected> {
        judge(&rules(), &request(called, calling, &[]), from.parse().expect("an address"), closed).err()
    }

    #[test]
    fn who_is_not_known_is_not_let_in_and_is_told_why() {
        assert_eq!(judged("HEMOFLOW", "CT1", HERE, Ok(())), None);
        assert_eq!(judged("HEMOFLOW", "CT1", "::ffff:192.0.2.7", Ok(())), None, "the same address");
        assert_eq!(judged("HEMOFLOW", "CT1", ELSEWHERE, Ok(())), Some(Rejected::Calling));
        assert_eq!(judged("HEMOFLOW", "CT2", ELSEWHERE, Ok(())), None);
        assert_eq!(judged("HEMOFLOW", "CT3", HERE, Ok(())), Some(Rejected::Calling));
        assert_eq!(judged("OTHER", "CT1", HERE, Ok(())), Some(Rejected::Called));
        let closed = Err(Closed::Behind);
        assert_eq!(judged("HEMOFLOW", "CT1", HERE, closed), Some(Rejected::Closed(Closed::Behind)));
        assert_eq!(judged("HEMOFLOW", "CT3", HERE, closed), Some(Rejected::Calling), "nobody learns more");
        let open = Dicom { any_peer: true, ..rules() };
        let from = ELSEWHERE.parse().expect("an address");
        assert!(judge(&open, &request("HEMOFLOW", "CT3", &[]), from, Ok(())).is_ok());
    }

    #[test]
    fn a_context_is_agreed_as_the_sender_has_it() {
        use PresentationContextResultReason::{AbstractSyntaxNotSupported, Acceptance, TransferSyntaxesNotSupported};
        let contexts: [(&str, &[&str]); 4] = [
            (uids::CT_IMAGE_STORAGE, &[uids::JPEG2000, uids::EXPLICIT_VR_LITTLE_ENDIAN]),
            (uids::CT_IMAGE_STORAGE, &["1.2.3", uids::IMPLICIT_VR_LITTLE_ENDIAN]),
            (uids::MR_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]),
            (uids::VERIFICATION, &["1.2.3"]),
        ];
        let here = HERE.parse().expect("an address");
        let accepted = judge(&rules(), &request("HEMOFLOW", "CT1", &contexts), here, Ok(())).expect("accepted");
        let answers = accepted.answer.presentation_contexts.iter();
        let answers: Vec<_> = answers.map(|a| (a.id, a.reason.clone(), a.transfer_syntax.as_str())).collect();
        assert_eq!(answers[0], (1, Acceptance, uids::JPEG2000));
        assert_eq!(answers[1], (3, Acceptance, uids::IMPLICIT_VR_LITTLE_ENDIAN));
        assert_eq!(answers[2].1, AbstractSyntaxNotSupported);
        assert_eq!(answers[3].1, TransferSyntaxesNotSupported);
        assert_eq!(accepted.contexts.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(accepted.max_pdu, 16_384);
    }
}

//! DICOM's unique identifiers, one type per entity so that they cannot be exchanged by mistake.
//!
//! Reading is tolerant: public data sets carry tokens that are not legal UIDs (PS3.5 section 9), and they identify well.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Digest;

macro_rules! uid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier without the padding that DICOM allows at its end, or `None` if nothing is left.
            #[must_use]
            pub fn new(text: &str) -> Option<Self> {
                let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
                (!text.is_empty()).then(|| Self(text.into()))
            }

            /// The identifier that a digest stands for, a UUID below `2.25` (PS3.5 annex B.2).
            #[must_use]
            pub fn derived(digest: &Digest) -> Self {
                Self(crate::dicom::object::derived(digest).into())
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The identifier's name of one length.
            #[must_use]
            pub fn digest(&self) -> Digest {
                Digest::of(self.0.as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

uid! {
    /// Study Instance UID (0020,000D).
    StudyUid
}
uid! {
    /// Series Instance UID (0020,000E).
    SeriesUid
}
uid! {
    /// SOP Instance UID (0008,0018).
    InstanceUid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_padding_and_refuses_nothing() {
        assert_eq!(SeriesUid::new("1.2.3\0").map(|uid| uid.to_string()), Some("1.2.3".to_owned()));
        assert_eq!(SeriesUid::new(" 1.2.3 "), SeriesUid::new("1.2.3"));
        assert!(SeriesUid::new(" \0").is_none());
    }
}

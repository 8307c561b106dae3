//! Media types with their parameters (RFC 9110 section 8.3.1).

/// A media type: names in small letters, values as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MediaType {
    /// Type and subtype, as `multipart/related`.
    pub(super) name: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads a media type; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let name = name.trim().to_ascii_lowercase();
        let (kind, subtype) = name.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let mut parameters = Vec::new();
        while !rest.trim().is_empty() {
            let (key, behind) = rest.split_once('=')?;
            let (value, behind) = value(behind.trim_start())?;
            parameters.push((key.trim().to_ascii_lowercase(), value));
            rest = match behind.trim_start() {
                "" => "",
                behind => behind.strip_prefix(';')?,
            };
        }
        Some(Self { name, parameters })
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// A value, quoted or not, and what stands behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, behind) = text.split_at_checked(end)?;
        return Some((value.trim().to_owned(), behind));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_found_quoted_or_not() {
        for text in [
            "multipart/related; type=\"application/dicom\"; boundary=a=b/c",
            "Multipart/Related;boundary=\"a=b/c\" ; TYPE=application/dicom;",
            " multipart/related ;type=\"application\\/dicom\";boundary=a=b/c ; start=\"<1;2>\"",
        ] {
            let media = MediaType::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(media.name, "multipart/related", "{text}");
            assert_eq!(media.parameter("type"), Some("application/dicom"), "{text}");
            assert_eq!(media.parameter("boundary"), Some("a=b/c"), "{text}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_none() {
        for text in ["", "a", "/b", "a/", "a/b;c", "a/b;c=\"d", "a/b;c=\"d\"e", "a/b;c=\"d\\"] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_value_comes_back_however_it_is_quoted(boundary in "[ -~]{1,70}") {
            let quoted = boundary.replace('\\', "\\\\").replace('"', "\\\"");
            let media = MediaType::parse(&format!("multipart/related; boundary=\"{quoted}\"")).expect("a media type");
            prop_assert_eq!(media.parameter("boundary"), Some(boundary.as_str()));
        }

        #[test]
        fn any_text_has_an_answer(text in "\\PC{0,80}") {
            MediaType::parse(&text);
        }
    }
}

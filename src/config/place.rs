//! Where each key of a TOML text stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A key, as `dicom.peer[0].ae_title`, with the bytes of its name and of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The keys of a text, tables among them. A text with a syntax error has none.
pub(super) fn places(text: &str) -> Vec<Place> {
    let mut places = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(table.get_ref(), "", &mut places);
    }
    places
}

fn walk(table: &DeTable<'_>, within: &str, places: &mut Vec<Place>) {
    for (name, value) in table {
        let dot = if within.is_empty() { "" } else { "." };
        let key = format!("{within}{dot}{}", name.get_ref());
        note(&key, name.span(), value, places);
    }
}

fn note(key: &str, name: Range<usize>, value: &Spanned<DeValue<'_>>, places: &mut Vec<Place>) {
    places.push(Place { key: key.to_owned(), name, value: value.span() });
    match value.get_ref() {
        DeValue::Table(table) => walk(table, key, places),
        DeValue::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                note(&format!("{key}[{index}]"), element.span(), element, places);
            }
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// The key that `offset` lies in: the innermost one.
pub(super) fn key_at(places: &[Place], offset: usize) -> Option<&Place> {
    let holding = |place: &&Place| place.name.contains(&offset) || place.value.contains(&offset);
    let length = |place: &&Place| {
        let of = |range: &Range<usize>| if range.contains(&offset) { range.len() } else { usize::MAX };
        (of(&place.name).min(of(&place.value)), usize::MAX - place.key.len())
    };
    places.iter().filter(holding).min_by_key(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_text_has_a_key() {
        let text =
            "[dicom]\nmax_pdu = 1\n[[dicom.peer]]\nae_title = 'A'\n[[dicom.peer]]\nfrom = 'x'\n[http.tls]\nkey = 'k'\n";
        let places = places(text);
        let key = |part: &str| {
            let offset = text.find(part).expect("it is there");
            key_at(&places, offset).map(|place| place.key.as_str())
        };
        assert_eq!(key("1\n"), Some("dicom.max_pdu"));
        assert_eq!(key("'A'"), Some("dicom.peer[0].ae_title"));
        assert_eq!(key("from"), Some("dicom.peer[1].from"));
        assert_eq!(key("'k'"), Some("http.tls.key"));
        assert!(key_at(&super::places("a = "), 0).is_none(), "no syntax, no keys");
    }
}

//! What is wrong with a configuration, and where.

use std::fmt;

use serde::Serialize;

use super::place::{Place, key_at, places};

/// A fault: file, line, column and key, what is wrong, and if something is near, what may be meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The key, as `dicom.peer[0].ae_title`; the first peer is 0. Empty where a text has no key because of its syntax.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, key, message } = self;
        let colon = if key.is_empty() { "" } else { ": " };
        write!(f, "{file}:{line}:{column}: {key}{colon}{message}")
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// What the parser complains of.
    pub(super) fn parsing(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let key = key_at(&places(text), offset).map(|place| place.key.clone()).unwrap_or_default();
        Self::at(file, text, offset, key, explain(error.message()))
    }

    /// Something is wrong with the value of a key; the key may have its default, and then its section is named.
    pub(super) fn at_key(file: &str, text: &str, key: &str, message: &str) -> Self {
        let places = places(text);
        let place = |key: &str| places.iter().find(|place| place.key == key);
        let offset = |place: &Place| if place.name.is_empty() { place.value.start } else { place.name.start };
        let outer = key.char_indices().rev().filter(|(_, c)| ['.', '['].contains(c)).map(|(at, _)| &key[..at]);
        let offset = std::iter::once(key).chain(outer).find_map(place).map_or(0, offset);
        Self::at(file, text, offset, key.to_owned(), message.to_owned())
    }

    fn at(file: &str, text: &str, offset: usize, key: String, message: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        Self { file: file.to_owned(), line, column, key, message }
    }
}

/// The words of the parser, as they help who wrote the text: with the name that is nearest to a name that is unknown.
fn explain(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (Some(name), known) = (names.first(), names.get(1..).unwrap_or_default()) else { return message.to_owned() };
    if message.starts_with("missing field") {
        return format!("the key `{name}` is missing");
    }
    let what = if message.starts_with("unknown field") {
        format!("there is no key `{name}` here")
    } else if message.starts_with("unknown variant") {
        format!("`{name}` is no value of this key")
    } else {
        return message.trim_end().replace('\n', ", ");
    };
    match nearest(name, known) {
        Some(near) => format!("{what}; is `{near}` meant?"),
        None => format!("{what}, but {}", known.join(", ")),
    }
}

/// The known name that differs in a third of its letters at most.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    let near = known.iter().copied().min_by_key(distance)?;
    (distance(&near) * 3 <= near.chars().count().max(3)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_told_with_its_nearest_and_another_with_all() {
        let message = |name: &str| explain(&format!("unknown field `{name}`, expected one of `address`, `ae_title`"));
        assert_eq!(message("ae_titel"), "there is no key `ae_titel` here; is `ae_title` meant?");
        assert_eq!(message("adress"), "there is no key `adress` here; is `address` meant?");
        assert_eq!(message("colour"), "there is no key `colour` here, but address, ae_title");
    }

    #[test]
    fn lines_and_columns_count_characters_from_1() {
        let at = |offset| {
            let fault = Fault::at("f", "ä = 1\nb = 2", offset, String::new(), String::new());
            (fault.line, fault.column)
        };
        assert_eq!((at(0), at(2), at(7), at(11)), ((1, 1), (1, 2), (2, 1), (2, 5)));
    }
}

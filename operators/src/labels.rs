//! Slice labels in the form of the RSNA 2019 challenge: a CSV table `ID,Label` whose identifiers are
//! `<SOPInstanceUID>_<target>`, whose targets are the five subtypes and `any`, and whose labels are 0 or 1.
//!
//! Reading streams: a table of millions of rows costs memory only for its slices. Rows may repeat, if they agree. What
//! makes no sense is an error that names its line, never a guess.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::record::InstanceUid;

/// A kind of hemorrhage, in the order of mask values 1 to 5 (the order of BHSD).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subtype {
    /// Between skull and dura.
    Epidural,
    /// In the brain.
    Intraparenchymal,
    /// In the ventricles.
    Intraventricular,
    /// In sulci and cisterns.
    Subarachnoid,
    /// Under the dura.
    Subdural,
}

impl Subtype {
    /// All subtypes, in the order of mask values.
    pub const ALL: [Self; 5] =
        [Self::Epidural, Self::Intraparenchymal, Self::Intraventricular, Self::Subarachnoid, Self::Subdural];

    /// The value in masks, 1 to 5.
    #[must_use]
    pub fn value(self) -> u8 {
        match self {
            Self::Epidural => 1,
            Self::Intraparenchymal => 2,
            Self::Intraventricular => 3,
            Self::Subarachnoid => 4,
            Self::Subdural => 5,
        }
    }

    /// The place in arrays over subtypes, 0 to 4.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.value()) - 1
    }

    /// The word in label tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Epidural => "epidural",
            Self::Intraparenchymal => "intraparenchymal",
            Self::Intraventricular => "intraventricular",
            Self::Subarachnoid => "subarachnoid",
            Self::Subdural => "subdural",
        }
    }
}

/// What a label is about: one subtype, or `None` for `any`.
type Target = Option<Subtype>;

/// The labels of one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceLabels {
    /// Hemorrhage of any kind.
    pub any: bool,
    /// Each subtype, in the order of [`Subtype::ALL`]; `None` where the table does not say.
    pub subtypes: [Option<bool>; 5],
}

impl SliceLabels {
    /// The labels of a slice with these subtypes, all of them known.
    #[must_use]
    pub fn of(subtypes: [bool; 5]) -> Self {
        Self { any: subtypes.contains(&true), subtypes: subtypes.map(Some) }
    }
}

/// Labels by slice.
pub type Labels = BTreeMap<InstanceUid, SliceLabels>;

/// Why a table of labels was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The table cannot be read or written, or is no CSV.
    #[error("the label table cannot be read or written")]
    Csv(#[from] csv::Error),
    /// The first line is not the header.
    #[error("line 1 of the label table: the header is {found:?}, must be ID,Label")]
    Header {
        /// What the line holds.
        found: String,
    },
    /// A line has other than two fields.
    #[error("line {line} of the label table: {fields} fields, must be 2")]
    Fields {
        /// From 1.
        line: u64,
        /// How many.
        fields: usize,
    },
    /// An identifier does not end in a known target.
    #[error("line {line} of the label table: {id:?} does not end in _any or _<subtype>")]
    Identifier {
        /// From 1.
        line: u64,
        /// The identifier.
        id: String,
    },
    /// A label is neither 0 nor 1.
    #[error("line {line} of the label table: label {label:?}, must be 0 or 1")]
    Label {
        /// From 1.
        line: u64,
        /// The label.
        label: String,
    },
    /// A row contradicts an earlier one.
    #[error("line {line} of the label table: {id:?} contradicts an earlier line")]
    Contradiction {
        /// From 1.
        line: u64,
        /// The identifier.
        id: String,
    },
    /// A slice that has a subtype is said to have no hemorrhage.
    #[error("the label table says of {instance}: a subtype, but not any hemorrhage")]
    SubtypeWithoutAny {
        /// The slice.
        instance: InstanceUid,
    },
}

/// Reads a table of labels. A slice without a row `any` has any hemorrhage if it has a subtype.
///
/// # Errors
///
/// Returns [`LabelError`], which names the line, for the first row that makes no sense.
///
/// # Examples
///
/// ```
/// let table = "ID,Label\n1.2.3_any,1\n1.2.3_subdural,1\n";
/// let labels = operators::labels::read(table.as_bytes())?;
/// assert!(labels.values().all(|slice| slice.any));
/// # Ok::<(), operators::labels::LabelError>(())
/// ```
pub fn read(table: impl Read) -> Result<Labels, LabelError> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(table);
    let mut known: BTreeMap<InstanceUid, [Option<bool>; 6]> = BTreeMap::new();
    let mut record = csv::StringRecord::new();
    let mut first = true;
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if std::mem::take(&mut first) {
            header(&record)?;
            continue;
        }
        let (instance, target, label) = row(&record, line)?;
        let slot = &mut known.entry(instance).or_default()[target.map_or(5, Subtype::index)];
        if slot.is_some_and(|earlier| earlier != label) {
            return Err(LabelError::Contradiction { line, id: record.get(0).unwrap_or_default().to_owned() });
        }
        *slot = Some(label);
    }
    known.into_iter().map(|(instance, [a, b, c, d, e, any])| settled(instance, [a, b, c, d, e], any)).collect()
}

/// Writes a table of labels, slices in the order of their identifiers.
///
/// # Errors
///
/// Returns [`LabelError::Csv`] if the table cannot be written.
pub fn write<'a>(
    labels: impl IntoIterator<Item = (&'a InstanceUid, &'a SliceLabels)>,
    table: impl Write,
) -> Result<(), LabelError> {
    let mut writer = csv::Writer::from_writer(table);
    writer.write_record(["ID", "Label"])?;
    for (instance, slice) in labels {
        let mut put = |word: &str, label: bool| {
            writer.write_record([format!("{instance}_{word}").as_str(), if label { "1" } else { "0" }])
        };
        for (subtype, label) in Subtype::ALL.iter().zip(slice.subtypes) {
            if let Some(label) = label {
                put(subtype.word(), label)?;
            }
        }
        put("any", slice.any)?;
    }
    writer.flush().map_err(csv::Error::from)?;
    Ok(())
}

fn header(record: &csv::StringRecord) -> Result<(), LabelError> {
    let fields: Vec<&str> = record.iter().map(|field| field.trim_start_matches('\u{feff}')).collect();
    if fields == ["ID", "Label"] { Ok(()) } else { Err(LabelError::Header { found: fields.join(",") }) }
}

fn row(record: &csv::StringRecord, line: u64) -> Result<(InstanceUid, Target, bool), LabelError> {
    let (Some(id), Some(label), 2) = (record.get(0), record.get(1), record.len()) else {
        return Err(LabelError::Fields { line, fields: record.len() });
    };
    let bad_id = || LabelError::Identifier { line, id: id.to_owned() };
    let (instance, word) = id.rsplit_once('_').ok_or_else(bad_id)?;
    let target = match word {
        "any" => None,
        _ => Some(Subtype::ALL.into_iter().find(|subtype| subtype.word() == word).ok_or_else(bad_id)?),
    };
    let instance = InstanceUid::new(instance).ok_or_else(bad_id)?;
    match label {
        "0" => Ok((instance, target, false)),
        "1" => Ok((instance, target, true)),
        _ => Err(LabelError::Label { line, label: label.to_owned() }),
    }
}

fn settled(
    instance: InstanceUid,
    subtypes: [Option<bool>; 5],
    any: Option<bool>,
) -> Result<(InstanceUid, SliceLabels), LabelError> {
    let some = subtypes.contains(&Some(true));
    if some && any == Some(false) {
        return Err(LabelError::SubtypeWithoutAny { instance });
    }
    Ok((instance, SliceLabels { any: any.unwrap_or(some), subtypes }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slice() -> impl Strategy<Value = SliceLabels> {
        (any::<[Option<bool>; 5]>(), any::<bool>())
            .prop_map(|(subtypes, any)| SliceLabels { any: any || subtypes.contains(&Some(true)), subtypes })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(slices in proptest::collection::btree_map("(ID_|1[.])[0-9a-f.]{1,12}", slice(), 0..20)) {
            let labels: Labels =
                slices.into_iter().map(|(uid, slice)| (InstanceUid::new(&uid).expect("not empty"), slice)).collect();
            let mut table = Vec::new();
            write(&labels, &mut table).expect("a vector takes all");
            prop_assert_eq!(read(table.as_slice()).expect("a table of our own"), labels);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // A table or an error, never a panic.
            let _outcome = read(bytes.as_slice()).is_ok();
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let refused = |table: &str| read(table.as_bytes()).expect_err("refused").to_string();
        assert!(refused("ID,Label\na_any,1\na_any\n").starts_with("line 3 of the label table: 1 fields"));
        assert!(refused("ID,Label\na_any,1\nb_any,0.5\n").contains("line 3 of the label table: label \"0.5\""));
        assert!(refused("ID,Label\na_sub,1\n").contains("line 2 of the label table: \"a_sub\""));
        assert!(refused("ID,Label\n_any,1\n").contains("line 2"));
        assert!(refused("ID,Label\na_any,1\na_any,0\n").contains("line 3 of the label table: \"a_any\" contradicts"));
        assert!(refused("a_any,1\n").contains("line 1 of the label table: the header"));
        assert!(refused("ID,Label\na_any,0\na_epidural,1\n").contains("says of a"));
    }

    #[test]
    fn rows_may_repeat_and_identifiers_may_hold_underscores() {
        let labels = read("\u{feff}ID,Label\r\nID_1f_any,1\r\nID_1f_any,1\r\n".as_bytes()).expect("a table");
        let one = InstanceUid::new("ID_1f").expect("an identifier");
        assert_eq!(labels.get(&one), Some(&SliceLabels { any: true, subtypes: [None; 5] }));
    }

    #[test]
    fn a_subtype_alone_says_any() {
        let labels = read("ID,Label\na_subdural,1\nb_subdural,0\n".as_bytes()).expect("a table");
        assert_eq!(labels.values().map(|slice| slice.any).collect::<Vec<_>>(), [true, false]);
    }
}

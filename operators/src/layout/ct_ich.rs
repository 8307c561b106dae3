//! PhysioNet CT-ICH 1.3: volumes and masks by patient number, and one table of the labels of their slices.
//!
//! The table begins with a byte-order mask, numbers slices from 1 in the order of the stored volume, and names subtypes in
//! columns. Masks are 1 or 255 inside. `Patient_demographics.csv` is not read. Where table and mask disagree, labels are the
//! table's, and the slice counts as a conflict.

use std::collections::BTreeMap;
use std::path::Path;

use super::case::{Case, Images, Known, MaskFile, MaskForm};
use super::{DataSet, Layout, LayoutError, files};
use crate::labels::{SliceLabels, Subtype};
use crate::record::{Reason, Rejection};

pub(super) const SCANS: &str = "ct_scans";
pub(super) const MASKS: &str = "masks";
pub(super) const TABLE: &str = "hemorrhage_diagnosis_raw_ct.csv";

/// The labels of a patient's slices by their number, from 1.
type Slices = BTreeMap<usize, SliceLabels>;

pub(super) fn open(root: &Path) -> Result<DataSet, LayoutError> {
    let table = root.join(TABLE);
    let mut patients = read(&table)?;
    let (mut cases, mut rejections): (Vec<Case>, Vec<Rejection>) = Default::default();
    for path in files::listed(&root.join(SCANS))? {
        let number = files::stem(&path).and_then(|stem| stem.parse::<u32>().ok());
        let Some(number) = number else {
            let detail = "no volume named by the number of a patient";
            rejections.push(Rejection::new(path.display().to_string(), Reason::NotDicom, detail));
            continue;
        };
        let masks = ["nii", "nii.gz"].map(|ending| root.join(MASKS).join(format!("{number:03}.{ending}")));
        let mask = masks.into_iter().find(|path| path.is_file());
        let slices = patients.remove(&number).unwrap_or_default();
        // A hole in the numbers ends the labels: the slices from there on have none, and are named.
        let labels: Vec<SliceLabels> = (1..).map_while(|slice| slices.get(&slice).copied()).collect();
        cases.push(Case {
            patient: format!("{number:03}"),
            name: path.display().to_string(),
            images: Images::Volume(path),
            known: if labels.is_empty() { Known::Nothing } else { Known::Stored(labels) },
            mask: mask.map(|path| MaskFile { path, form: MaskForm::Binary }),
        });
    }
    rejections.extend(patients.into_iter().map(|(number, slices)| {
        let detail = format!("patient {number:03}: {} labeled slices and no volume", slices.len());
        Rejection::new(table.display().to_string(), Reason::MissingImage, detail)
    }));
    Ok(DataSet::new(Layout::CtIch, cases, rejections))
}

/// The names of the columns, in any order.
const COLUMNS: [&str; 8] = [
    "PatientNumber",
    "SliceNumber",
    "Epidural",
    "Intraparenchymal",
    "Intraventricular",
    "Subarachnoid",
    "Subdural",
    "No_Hemorrhage",
];

fn read(path: &Path) -> Result<BTreeMap<u32, Slices>, LayoutError> {
    let wrong = |line: u64, reason: String| LayoutError::Table { path: path.to_owned(), line, reason };
    let bytes = std::fs::read(path).map_err(|source| LayoutError::File { path: path.to_owned(), source })?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
    let header = reader.headers().map_err(|error| wrong(1, error.to_string()))?.clone();
    let place = |name: &str| header.iter().position(|column| column == name);
    let mut places = [0; COLUMNS.len()];
    for (slot, name) in places.iter_mut().zip(COLUMNS) {
        *slot = place(name).ok_or_else(|| wrong(1, format!("no column {name}")))?;
    }
    let mut patients: BTreeMap<u32, Slices> = BTreeMap::new();
    for record in reader.records() {
        let record =
            record.map_err(|error| wrong(error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut numbers = [0_u32; COLUMNS.len()];
        for ((number, place), name) in numbers.iter_mut().zip(places).zip(COLUMNS) {
            let text = record.get(place).unwrap_or_default();
            *number = text.parse().map_err(|_| wrong(line, format!("{name} is {text:?}, must be a number")))?;
        }
        let [patient, slice, rest @ ..] = numbers;
        if let Some(flag) = rest.iter().find(|flag| **flag > 1) {
            return Err(wrong(line, format!("a label of {flag}, must be 0 or 1")));
        }
        let [e, p, v, a, d, none] = rest.map(|flag| flag == 1);
        let labels = SliceLabels::of([e, p, v, a, d]);
        if labels.any == none {
            return Err(wrong(line, format!("No_Hemorrhage is {}, the subtypes say otherwise", u8::from(none))));
        }
        let known = patients.entry(patient).or_default().insert(usize::try_from(slice).unwrap_or(0), labels);
        if known.is_some_and(|known| known != labels) {
            return Err(wrong(line, format!("patient {patient}, slice {slice} contradicts an earlier line")));
        }
    }
    Ok(patients)
}

/// A line of the table, as the set has it.
pub(super) fn row(patient: u32, slice: usize, labels: &SliceLabels) -> String {
    let flag = |subtype: Subtype| u8::from(labels.subtypes[subtype.index()] == Some(true));
    let [v, p, a, e, d] = [
        Subtype::Intraventricular,
        Subtype::Intraparenchymal,
        Subtype::Subarachnoid,
        Subtype::Epidural,
        Subtype::Subdural,
    ]
    .map(flag);
    format!("{patient},{slice},{v},{p},{a},{e},{d},{},0\n", u8::from(!labels.any))
}

/// The first line of the table, as the set has it.
pub(super) const HEADER: &str = "\u{feff}PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,\
    Epidural,Subdural,No_Hemorrhage,Fracture_Yes_No\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(table: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(TABLE);
        std::fs::write(&path, table).expect("written");
        read(&path).expect_err("refused").to_string()
    }

    #[test]
    fn a_bad_line_is_named() {
        let table = |rows: &str| format!("{HEADER}{rows}");
        assert!(refused("PatientNumber,SliceNumber\n").contains("line 1: no column Epidural"));
        assert!(refused(&table("49,1,0,0,0,0,0,1,0\n49,x,0,0,0,0,0,1,0\n")).contains("line 3: SliceNumber is \"x\""));
        assert!(refused(&table("49,1,0,0,0,0,2,0,0\n")).contains("line 2: a label of 2"));
        assert!(refused(&table("49,1,0,0,0,0,1,1,0\n")).contains("line 2: No_Hemorrhage is 1"));
        assert!(refused(&table("49,1,0,0,0,0,0,0,0\n")).contains("line 2: No_Hemorrhage is 0"));
        assert!(refused(&table("49,1,0,0,0,0,0,1,0\n49,1,0,0,0,0,1,0,0\n")).contains("line 3: patient 49, slice 1"));
        assert!(refused(&table("49,1\n")).contains("line 2"));
    }
}

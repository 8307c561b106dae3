//! Data sets on disk: which cases there are, what is known of each, and what is wrong with the rest.
//!
//! | layout | images | labels | masks |
//! |---|---|---|---|
//! | `rsna` | `stage_2_train/ID_*.dcm` | `stage_2_train.csv` | none |
//! | `instance` | `train_2/data/NNN.nii.gz` | any voxel of the mask | `train_2/label/NNN.nii.gz` |
//! | `ct-ich` | `ct_scans/NNN.nii` | `hemorrhage_diagnosis_raw_ct.csv` | `masks/NNN.nii` |
//! | `bhsd` | `label_192/images/ID_*_ID_*.nii.gz` | the values of the mask | `label_192/ground truths/` |
//! | `phantom` | `dicom/<StudyUID>/*.dcm` | `labels.csv` | `masks/<StudyUID>.nii.gz` |
//! | `plain` | any DICOM and NIfTI files | none of its own | none of its own |
//!
//! A case is one series. Nothing is dropped in silence: a file, a slice or a case that cannot be used is a [`Rejection`] that
//! names it. Pixels stay on disk until a case is loaded.

mod case;
mod ct_ich;
mod files;
mod paired;
mod phantom;
mod plain;
mod rsna;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::labels::LabelError;
use crate::record::{Reason, Rejection};

pub use case::{Case, CaseSlice, Loaded};
pub use write::{LayoutWriteError, LayoutWriter};

/// How a data set lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// RSNA 2019 Intracranial Hemorrhage Detection.
    Rsna,
    /// INSTANCE 2022.
    Instance,
    /// PhysioNet CT-ICH 1.3.
    CtIch,
    /// BHSD, the part with masks.
    Bhsd,
    /// What `hemoflow phantom` writes.
    Phantom,
    /// Folders of images.
    Plain,
}

impl Layout {
    /// All layouts, in the order in which they are looked for.
    pub const ALL: [Self; 6] = [Self::Phantom, Self::Rsna, Self::CtIch, Self::Bhsd, Self::Instance, Self::Plain];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rsna => "rsna",
            Self::Instance => "instance",
            Self::CtIch => "ct-ich",
            Self::Bhsd => "bhsd",
            Self::Phantom => "phantom",
            Self::Plain => "plain",
        }
    }

    /// The layout of a folder, by what is there.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let is = |layout: &Self| match layout {
            Self::Rsna => root.join(rsna::TABLE).is_file(),
            Self::Instance => paired::instance(root).is_some(),
            Self::CtIch => root.join(ct_ich::SCANS).is_dir(),
            Self::Bhsd => paired::bhsd(root).is_some(),
            Self::Phantom => root.join("labels.csv").is_file() && root.join("dicom").is_dir(),
            Self::Plain => true,
        };
        Self::ALL.into_iter().find(is).unwrap_or(Self::Plain)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let words = Self::ALL.map(Self::word).join(", ");
        let found = Self::ALL.into_iter().find(|layout| layout.word() == word);
        found.ok_or_else(|| format!("no layout is named {word:?}: say one of {words}"))
    }
}

/// Why a data set cannot be opened at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A file or folder that the layout needs cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A table of slice labels makes no sense.
    #[error("{path}: {source}")]
    Labels {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: LabelError,
    },
    /// Another table makes no sense.
    #[error("{path}, line {line}: {reason}")]
    Table {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The folder has not what the layout says.
    #[error("{path}: not in the layout {layout}: {reason}")]
    Layout {
        /// The folder.
        path: PathBuf,
        /// The layout.
        layout: Layout,
        /// What is missing.
        reason: &'static str,
    },
}

/// What the user says of a data set; it takes the place of what the layout has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The layout, if it is not to be found out.
    pub layout: Option<Layout>,
    /// Slice labels in the RSNA 2019 form.
    pub labels: Option<PathBuf>,
    /// Masks, `<StudyUID>.nii.gz` or by the name of the image.
    pub masks: Option<PathBuf>,
}

/// The cases of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet {
    /// How it lies on disk.
    pub layout: Layout,
    /// Its cases, in the order of their names.
    pub cases: Vec<Case>,
    /// What cannot be used.
    pub rejections: Vec<Rejection>,
}

impl DataSet {
    /// Looks at a data set. Pixels are not decoded.
    ///
    /// # Errors
    ///
    /// Returns [`LayoutError`] if a table or folder that the layout needs is missing or makes no sense.
    pub fn open(root: &Path, given: &Given) -> Result<Self, LayoutError> {
        let layout = given.layout.unwrap_or_else(|| Layout::of(root));
        let mut found = match layout {
            Layout::Rsna => rsna::open(root),
            Layout::Instance => paired::open_instance(root),
            Layout::CtIch => ct_ich::open(root),
            Layout::Bhsd => paired::open_bhsd(root),
            Layout::Phantom => phantom::open(root),
            Layout::Plain => Ok(plain::open(root)),
        }?;
        if let Some(masks) = &given.masks {
            found.give_masks(masks)?;
        }
        if let Some(table) = &given.labels {
            found.give_labels(table)?;
        }
        found.cases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn new(layout: Layout, cases: Vec<Case>, rejections: Vec<Rejection>) -> Self {
        Self { layout, cases, rejections }
    }

    /// Leaves out, by name, the cases whose labels nobody gave: from these nothing can be learned.
    pub fn keep_labeled(&mut self) {
        self.keep(Case::is_labeled, Reason::MissingLabel, "no labels are known of it");
    }

    /// Leaves out, by name, the cases without a mask.
    pub fn keep_masked(&mut self) {
        self.keep(Case::is_masked, Reason::MissingMask, "it has no mask");
    }

    fn keep(&mut self, wanted: impl Fn(&Case) -> bool, reason: Reason, detail: &str) {
        let (kept, others): (Vec<Case>, Vec<Case>) = std::mem::take(&mut self.cases).into_iter().partition(wanted);
        self.cases = kept;
        self.rejections.extend(others.into_iter().map(|case| Rejection::new(case.name, reason, detail)));
    }

    /// The patients, sorted: what is split is split by them.
    #[must_use]
    pub fn patients(&self) -> Vec<&str> {
        let mut patients: Vec<&str> = self.cases.iter().map(|case| case.patient.as_str()).collect();
        patients.sort_unstable();
        patients.dedup();
        patients
    }
}

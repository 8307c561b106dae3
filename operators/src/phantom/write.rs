//! Phantoms as a data set on disk:
//!
//! ```text
//! dicom/<StudyUID>/<number>.dcm    CT Image Storage instances
//! masks/<StudyUID>.nii.gz          0 for none, 1 to 5 for the subtypes, on the slices' own grid
//! labels.csv                       the RSNA 2019 form
//! truth.json                       for each study: seed, index, volumes of the subtypes, mL
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{PhantomObjectError, PhantomStudy, dicom_object};
use crate::labels::{self, LabelError, Labels, Subtype};
use crate::mask_volume::{VolumeError, label_nifti};
use crate::record::{Mask, Slice};

/// Why a phantom was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomWriteError {
    /// A file or folder cannot be written.
    #[error("{path}: cannot be written")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An instance cannot be written.
    #[error("{path}: the instance cannot be written")]
    Instance {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dicom_object::WriteError>,
    },
    /// A slice is no instance.
    #[error("a slice of the phantom is no DICOM instance")]
    Object(#[from] PhantomObjectError),
    /// The masks make no volume.
    #[error("the masks of the phantom make no volume")]
    Volume(#[from] VolumeError),
    /// The table of labels cannot be written.
    #[error("the labels of the phantom cannot be written")]
    Labels(#[from] LabelError),
}

/// The masks of a phantom as a `.nii.gz` file. The same phantom gives the same bytes.
///
/// # Errors
///
/// Returns [`VolumeError`] if the phantom has no slice.
pub fn mask_volume(study: &PhantomStudy) -> Result<Vec<u8>, VolumeError> {
    let slices: Vec<(Slice, Mask)> =
        study.slices.iter().map(|slice| (slice.record(), Mask { voxels: slice.truth.clone() })).collect();
    let pairs: Vec<(&Slice, Option<&Mask>)> = slices.iter().map(|(slice, mask)| (slice, Some(mask))).collect();
    label_nifti(&pairs)
}

/// Writes a data set, study by study.
#[derive(Debug)]
pub struct PhantomWriter {
    folder: PathBuf,
    dicom: bool,
    labels: Labels,
    truth: Vec<serde_json::Value>,
}

impl PhantomWriter {
    /// A data set in `folder`, with the images as DICOM unless only masks, labels and truth are asked for.
    ///
    /// # Errors
    ///
    /// Returns [`PhantomWriteError::File`] if the folder cannot be made.
    pub fn create(folder: &Path, dicom: bool) -> Result<Self, PhantomWriteError> {
        made(&folder.join("masks"))?;
        Ok(Self { folder: folder.to_owned(), dicom, labels: Labels::new(), truth: Vec::new() })
    }

    /// Writes the images and the masks of a study, and remembers its labels and truth.
    ///
    /// # Errors
    ///
    /// Returns [`PhantomWriteError`] for the first file that cannot be written.
    pub fn add(&mut self, study: &PhantomStudy) -> Result<(), PhantomWriteError> {
        if self.dicom {
            let folder = self.folder.join("dicom").join(study.study.as_str());
            made(&folder)?;
            for slice in &study.slices {
                let path = folder.join(format!("{:04}.dcm", slice.number));
                let object = dicom_object(study, slice)?;
                object
                    .write_to_file(&path)
                    .map_err(|source| PhantomWriteError::Instance { path, source: Box::new(source) })?;
            }
        }
        written(&self.folder.join("masks").join(format!("{}.nii.gz", study.study)), &mask_volume(study)?)?;
        self.labels.extend(study.slices.iter().map(|slice| (slice.instance.clone(), slice.labels())));
        self.truth.push(truth(study));
        Ok(())
    }

    /// Writes `labels.csv` and `truth.json`.
    ///
    /// # Errors
    ///
    /// Returns [`PhantomWriteError`] if one of them cannot be written.
    pub fn finish(self) -> Result<(), PhantomWriteError> {
        let mut table = Vec::new();
        labels::write(&self.labels, &mut table)?;
        written(&self.folder.join("labels.csv"), &table)?;
        let truth = format!("{:#}\n", json!({ "studies": self.truth }));
        written(&self.folder.join("truth.json"), truth.as_bytes())
    }
}

fn truth(study: &PhantomStudy) -> serde_json::Value {
    let volumes: serde_json::Map<String, serde_json::Value> = Subtype::ALL
        .iter()
        .zip(study.truth.volumes_ml)
        .map(|(subtype, ml)| (subtype.word().to_owned(), json!((ml * 1e6).round() / 1e6)))
        .collect();
    json!({
        "study": study.study.as_str(),
        "series": study.series.as_str(),
        "seed": study.seed,
        "index": study.index,
        "slices": study.slices.len(),
        "positive_slices": study.slices.iter().filter(|slice| slice.labels().any).count(),
        "volumes_ml": volumes,
    })
}

fn made(folder: &Path) -> Result<(), PhantomWriteError> {
    fs::create_dir_all(folder).map_err(|source| PhantomWriteError::File { path: folder.to_owned(), source })
}

fn written(path: &Path, bytes: &[u8]) -> Result<(), PhantomWriteError> {
    fs::write(path, bytes).map_err(|source| PhantomWriteError::File { path: path.to_owned(), source })
}

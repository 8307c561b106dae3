//! Phantoms in the layouts of the data sets, with the quirks that these have: what adapters are tested with, and what shows
//! how a data set must lie.

use std::fs;
use std::path::{Path, PathBuf};

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, InMemDicomObject};

use super::{Layout, ct_ich, rsna};
use crate::dicom::object::{file, text};
use crate::labels::{self, LabelError, Labels};
use crate::mask_volume::{self, VolumeError, Voxels};
use crate::phantom::{PhantomObjectError, PhantomSlice, PhantomStudy, PhantomWriteError, PhantomWriter, dicom_object};
use crate::record::{Digest, InstanceUid, Slice, StoredValues};

/// Why a phantom was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutWriteError {
    /// A file or folder cannot be written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A slice is no instance.
    #[error("a slice of the phantom is no DICOM instance")]
    Object(#[from] PhantomObjectError),
    /// An instance cannot be written.
    #[error("{path}: the instance cannot be written: {reason}")]
    Instance {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Slices make no volume.
    #[error("the slices of the phantom make no volume")]
    Volume(#[from] VolumeError),
    /// The table of labels cannot be written.
    #[error("the labels of the phantom cannot be written")]
    Labels(#[from] LabelError),
    /// A phantom in its own layout cannot be written.
    #[error(transparent)]
    Phantom(#[from] PhantomWriteError),
}

/// Writes phantoms in a layout, study by study.
#[derive(Debug)]
pub struct LayoutWriter {
    root: PathBuf,
    layout: Layout,
    studies: u32,
    labels: Labels,
    table: String,
    names: Vec<String>,
    own: Option<PhantomWriter>,
}

impl LayoutWriter {
    /// A data set in `root`. `dicom` says whether a phantom in its own layout has images at all.
    ///
    /// # Errors
    ///
    /// Returns [`LayoutWriteError`] if the folder cannot be made.
    pub fn create(root: &Path, layout: Layout, dicom: bool) -> Result<Self, LayoutWriteError> {
        let own = match layout {
            Layout::Phantom | Layout::Plain => Some(PhantomWriter::create(root, dicom)?),
            Layout::Rsna | Layout::Instance | Layout::CtIch | Layout::Bhsd => None,
        };
        let (labels, table) = (Labels::new(), ct_ich::HEADER.to_owned());
        Ok(Self { root: root.to_owned(), layout, studies: 0, labels, table, names: Vec::new(), own })
    }

    /// Writes a study.
    ///
    /// # Errors
    ///
    /// Returns [`LayoutWriteError`] for the first file that cannot be written.
    pub fn add(&mut self, study: &PhantomStudy) -> Result<(), LayoutWriteError> {
        if let Some(own) = &mut self.own {
            return Ok(own.add(study)?);
        }
        self.studies += 1;
        match self.layout {
            Layout::Rsna => self.rsna(study),
            Layout::Instance => self.instance(study),
            Layout::CtIch => self.ct_ich(study),
            Layout::Bhsd => self.bhsd(study),
            Layout::Phantom | Layout::Plain => Ok(()),
        }
    }

    /// Writes what belongs to all studies.
    ///
    /// # Errors
    ///
    /// Returns [`LayoutWriteError`] for the first file that cannot be written.
    pub fn finish(self) -> Result<(), LayoutWriteError> {
        if let Some(own) = self.own {
            return Ok(own.finish()?);
        }
        match self.layout {
            Layout::Rsna => {
                let mut table = Vec::new();
                labels::write(&self.labels, &mut table)?;
                // The set repeats some rows.
                let text = String::from_utf8_lossy(&table).into_owned();
                let repeated: String = text.lines().skip(1).take(12).map(|line| format!("{line}\n")).collect();
                put(&self.root.join(rsna::TABLE), (text + &repeated).as_bytes())
            }
            Layout::CtIch => {
                put(&self.root.join(ct_ich::TABLE), self.table.as_bytes())?;
                let demographics = "Patient Number,Age,Gender,Hemorrhage type based on the radiologists diagnosis,,\n,,,Intraventricular,Intraparenchymal,Note\n";
                put(&self.root.join("Patient_demographics.csv"), demographics.as_bytes())
            }
            Layout::Bhsd => {
                let (train, test) = self.names.split_at(self.names.len() / 2);
                let split = serde_json::json!({ "train": train, "test": test });
                put(&self.root.join("dataset.json"), format!("{split:#}\n").as_bytes())
            }
            Layout::Instance | Layout::Phantom | Layout::Plain => Ok(()),
        }
    }

    fn rsna(&mut self, study: &PhantomStudy) -> Result<(), LayoutWriteError> {
        for slice in &study.slices {
            let id = token(slice.instance.as_str());
            let path = self.root.join(rsna::IMAGES).join(format!("{id}.dcm"));
            made(&path)?;
            let refused = |reason: String| LayoutWriteError::Instance { path: path.clone(), reason };
            let object = as_in_rsna(study, slice, &id)?;
            object.write_to_file(&path).map_err(|error| refused(error.to_string()))?;
            let uid = InstanceUid::new(&id).ok_or_else(|| refused("no identifier".to_owned()))?;
            self.labels.insert(uid, slice.labels());
        }
        Ok(())
    }

    fn instance(&mut self, study: &PhantomStudy) -> Result<(), LayoutWriteError> {
        let name = format!("{:03}.nii.gz", self.studies);
        let folder = self.root.join("train_2");
        let slices: Vec<&PhantomSlice> = study.slices.iter().collect();
        put(&folder.join("data").join(&name), &mask_volume::compressed(&images(&slices)?)?)?;
        let truth = slices.iter().flat_map(|slice| &slice.truth).map(|value| f32::from(u8::from(*value != 0)));
        let mask = volume(&slices, &Voxels::Floats(truth.collect()))?;
        put(&folder.join("label").join(&name), &mask_volume::compressed(&mask)?)
    }

    fn ct_ich(&mut self, study: &PhantomStudy) -> Result<(), LayoutWriteError> {
        // 49 to 130 without 59 to 65.
        let number = 48 + self.studies + if self.studies > 10 { 7 } else { 0 };
        let mut slices: Vec<&PhantomSlice> = study.slices.iter().collect();
        if number.is_multiple_of(2) {
            // From the head down, as some converters store them.
            slices.reverse();
        }
        for (place, slice) in (1..).zip(&slices) {
            self.table += &ct_ich::row(number, place, &slice.labels());
        }
        put(&self.root.join(ct_ich::SCANS).join(format!("{number:03}.nii")), &images(&slices)?)?;
        let inside = if number.is_multiple_of(3) { 1 } else { 255 };
        let truth = slices.iter().flat_map(|slice| &slice.truth).map(|value| if *value == 0 { 0 } else { inside });
        let mask = volume(&slices, &Voxels::Labels(truth.collect()))?;
        put(&self.root.join(ct_ich::MASKS).join(format!("{number:03}.nii")), &mask)
    }

    fn bhsd(&mut self, study: &PhantomStudy) -> Result<(), LayoutWriteError> {
        let name = format!("{}_{}.nii.gz", token(&study.patient.id), token(study.study.as_str()));
        let folder = self.root.join("label_192");
        let slices: Vec<&PhantomSlice> = study.slices.iter().collect();
        put(&folder.join("images").join(&name), &mask_volume::compressed(&images(&slices)?)?)?;
        let truth = slices.iter().flat_map(|slice| slice.truth.clone()).collect();
        let mask = volume(&slices, &Voxels::Labels(truth))?;
        put(&folder.join("ground truths").join(&name), &mask_volume::compressed(&mask)?)?;
        self.names.push(name);
        Ok(())
    }
}

/// An identifier as RSNA 2019 has them.
fn token(of: &str) -> String {
    let digest = Digest::of(of.as_bytes()).to_string();
    format!("ID_{}", digest.get(..9).unwrap_or(&digest))
}

/// An instance as RSNA 2019 has them: tokens, no thickness, two windows, and unsigned values wrapped.
fn as_in_rsna(
    study: &PhantomStudy,
    slice: &PhantomSlice,
    id: &str,
) -> Result<FileDicomObject<InMemDicomObject>, LayoutWriteError> {
    let unsigned = matches!(slice.plane.values, StoredValues::Unsigned(_));
    let mut slice = slice.clone();
    if unsigned {
        // 12 bits of two's complement, said to have no sign.
        let wrapped = |hu: i16| hu.max(-1000).rem_euclid(4096).unsigned_abs();
        slice.plane.values = StoredValues::Unsigned(slice.plane.hu().into_iter().map(wrapped).collect());
    }
    let mut object = dicom_object(study, &slice)?.into_inner();
    object.remove_element(tags::SLICE_THICKNESS);
    object.put(text(tags::SOP_INSTANCE_UID, VR::UI, id));
    object.put(text(tags::STUDY_INSTANCE_UID, VR::UI, token(study.study.as_str())));
    object.put(text(tags::SERIES_INSTANCE_UID, VR::UI, token(study.series.as_str())));
    object.put(text(tags::PATIENT_ID, VR::LO, token(&study.patient.id)));
    object.put(text(tags::WINDOW_CENTER, VR::DS, "00036\\00036"));
    object.put(text(tags::WINDOW_WIDTH, VR::DS, "00080\\00080"));
    if unsigned {
        object.put(text(tags::RESCALE_INTERCEPT, VR::DS, "0"));
    }
    Ok(file(object).map_err(PhantomObjectError::from)?)
}

fn images(slices: &[&PhantomSlice]) -> Result<Vec<u8>, VolumeError> {
    volume(slices, &Voxels::Hu(slices.iter().flat_map(|slice| slice.plane.hu()).collect()))
}

fn volume(slices: &[&PhantomSlice], voxels: &Voxels) -> Result<Vec<u8>, VolumeError> {
    let records: Vec<Slice> = slices.iter().map(|slice| slice.record()).collect();
    mask_volume::file(&records.iter().collect::<Vec<_>>(), voxels)
}

fn made(path: &Path) -> Result<(), LayoutWriteError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| LayoutWriteError::File { path: folder.to_owned(), source })
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), LayoutWriteError> {
    made(path)?;
    fs::write(path, bytes).map_err(|source| LayoutWriteError::File { path: path.to_owned(), source })
}

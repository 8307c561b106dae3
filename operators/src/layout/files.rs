//! What layouts share: the series of some files, tables of labels, the names of folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use rayon::prelude::*;

use super::LayoutError;
use crate::intake::{self, Candidate, Item};
use crate::labels::{self, Labels};
use crate::record::{Reason, Rejection, SeriesKey, Slice};

/// A series: whose it is, and its slices with their files, in z order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    pub(super) patient: Option<String>,
    pub(super) slices: Vec<(Slice, PathBuf)>,
}

/// What is remembered of a file.
struct Found {
    candidate: Candidate,
    patient: Option<String>,
    slices: Vec<Slice>,
    path: PathBuf,
}

/// The series of some files and folders, sharp ones beside soft ones left out. Pixels stay on disk.
pub(super) fn series(inputs: &[PathBuf]) -> (BTreeMap<SeriesKey, Series>, Vec<Rejection>) {
    let look = |item: Item| -> Result<Vec<Found>, Rejection> {
        let path = match item {
            Item::File(path) => path,
            Item::Rejected(rejection) => return Err(rejection),
        };
        let found = |instance: crate::dicom::Instance| {
            let header = instance.frames.first().and_then(|frame| frame.pixels.header.as_ref());
            let id = header.and_then(|header| header.attributes.get(tags::PATIENT_ID)?.value().to_str().ok());
            let patient = id.map(|id| id.trim_matches(['\0', ' ']).to_owned()).filter(|id| !id.is_empty());
            let candidate = Candidate::of(&instance);
            let slices = instance.frames.into_iter().map(|frame| frame.slice).collect();
            Found { candidate, patient, slices, path: path.clone() }
        };
        Ok(intake::read(&path)?.into_iter().map(found).collect())
    };
    let looked: Vec<Result<Vec<Found>, Rejection>> = intake::items(inputs).into_par_iter().map(look).collect();
    let (mut files, mut rejections) = (Vec::new(), Vec::new());
    for found in looked {
        match found {
            Ok(found) => files.extend(found),
            Err(rejection) => rejections.push(rejection),
        }
    }
    let sharp = intake::sharp_series(files.iter().map(|found| found.candidate.clone()));
    let mut series: BTreeMap<SeriesKey, Series> = BTreeMap::new();
    for Found { candidate, patient, slices, path } in files {
        if sharp.contains(&candidate.key) {
            let detail = format!("series {} is beside a soft one of its study", candidate.key.series);
            rejections.push(Rejection::new(path.display().to_string(), Reason::SharpKernel, detail));
            continue;
        }
        let entry = series.entry(candidate.key).or_default();
        entry.patient = entry.patient.take().or(patient);
        entry.slices.extend(slices.into_iter().map(|slice| (slice, path.clone())));
    }
    series.values_mut().for_each(|series| series.slices.sort());
    (series, rejections)
}

/// A table of slice labels.
pub(super) fn labels(path: &Path) -> Result<Labels, LayoutError> {
    let file = File::open(path).map_err(|source| LayoutError::File { path: path.to_owned(), source })?;
    labels::read(BufReader::new(file)).map_err(|source| LayoutError::Labels { path: path.to_owned(), source })
}

/// The paths in a folder, sorted.
pub(super) fn listed(folder: &Path) -> Result<Vec<PathBuf>, LayoutError> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = read().map_err(|source| LayoutError::File { path: folder.to_owned(), source })?;
    paths.sort();
    Ok(paths)
}

/// The name of a volume without `.nii` or `.nii.gz`; `None` for any other file.
pub(super) fn stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii"))
}

/// The labels of slices that are not there: one rejection for all, for a part of a data set is a data set too.
pub(super) fn without_image(table: &Path, labels: &Labels, series: &BTreeMap<SeriesKey, Series>) -> Option<Rejection> {
    let known: std::collections::BTreeSet<_> =
        series.values().flat_map(|series| series.slices.iter().map(|(slice, _)| &slice.instance)).collect();
    let mut absent = labels.keys().filter(|instance| !known.contains(instance));
    let first = absent.next()?;
    let detail = format!("{} labeled slices have no image, the first is {first}", 1 + absent.count());
    Some(Rejection::new(table.display().to_string(), Reason::MissingImage, detail))
}

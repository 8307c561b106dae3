//! Plain folders: every DICOM series and every NIfTI volume below. Labels and masks come from the user.

use std::path::{Path, PathBuf};

use super::case::{Case, Images, Known};
use super::{DataSet, Layout, files};
use crate::intake::{self, Item};
use crate::nifti;

pub(super) fn open(root: &Path) -> DataSet {
    let (mut volumes, mut others, mut rejections) = (Vec::new(), Vec::new(), Vec::new());
    for item in intake::items(&[root.to_owned()]) {
        match item {
            Item::File(path) if nifti::is_nifti(&path) => volumes.push(path),
            Item::File(path) => others.push(path),
            Item::Rejected(rejection) => rejections.push(rejection),
        }
    }
    let (series, refused) = files::series(&others);
    rejections.extend(refused);
    let volume = |path: PathBuf| Case {
        patient: files::stem(&path).unwrap_or_default().to_owned(),
        name: path.display().to_string(),
        images: Images::Volume(path),
        known: Known::Nothing,
        mask: None,
    };
    let of_series = series.into_iter().map(|(key, found)| Case {
        patient: found.patient.unwrap_or_else(|| key.study.to_string()),
        name: key.series.to_string(),
        images: Images::Files { key, slices: found.slices, wrapped: false },
        known: Known::Nothing,
        mask: None,
    });
    let cases = of_series.chain(volumes.into_iter().map(volume)).collect();
    DataSet::new(Layout::Plain, cases, rejections)
}

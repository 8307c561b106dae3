//! Phantoms: what `hemoflow phantom` writes.

use std::path::Path;
use std::sync::Arc;

use super::case::{Case, Images, Known, MaskFile, MaskForm};
use super::{DataSet, Layout, LayoutError, files};
use crate::record::{Reason, Rejection};

pub(super) fn open(root: &Path) -> Result<DataSet, LayoutError> {
    let table = root.join("labels.csv");
    let labels = files::labels(&table)?;
    let (series, mut rejections) = files::series(&[root.join("dicom")]);
    rejections.extend(files::without_image(&table, &labels, &series));
    let labels = Arc::new(labels);
    let masks = root.join("masks");
    let case = |(key, found): (crate::record::SeriesKey, files::Series)| {
        let path = masks.join(format!("{}.nii.gz", key.study));
        Case {
            patient: found.patient.unwrap_or_else(|| key.study.to_string()),
            name: key.series.to_string(),
            mask: path.is_file().then_some(MaskFile { path, form: MaskForm::Ordered }),
            images: Images::Files { key, slices: found.slices, wrapped: false },
            known: Known::Table(Arc::clone(&labels)),
        }
    };
    let cases: Vec<Case> = series.into_iter().map(case).collect();
    for path in if masks.is_dir() { files::listed(&masks)? } else { Vec::new() } {
        if !cases.iter().any(|case| case.mask.as_ref().is_some_and(|mask| mask.path == path)) {
            rejections.push(Rejection::new(path.display().to_string(), Reason::MissingImage, "a mask without images"));
        }
    }
    Ok(DataSet::new(Layout::Phantom, cases, rejections))
}

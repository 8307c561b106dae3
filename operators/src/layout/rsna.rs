//! RSNA 2019: one folder of DICOM instances whose identifiers are tokens, and one table of labels of their slices.
//!
//! No instance says how thick it is; positions do. Some hold wrapped values, which are taken as they were meant. The table
//! repeats rows. Windows are not read.

use std::path::Path;
use std::sync::Arc;

use super::case::{Case, Images, Known};
use super::{DataSet, Layout, LayoutError, files};

pub(super) const IMAGES: &str = "stage_2_train";
pub(super) const TABLE: &str = "stage_2_train.csv";

pub(super) fn open(root: &Path) -> Result<DataSet, LayoutError> {
    let table = root.join(TABLE);
    let labels = files::labels(&table)?;
    let (series, mut rejections) = files::series(&[root.join(IMAGES)]);
    rejections.extend(files::without_image(&table, &labels, &series));
    let labels = Arc::new(labels);
    let case = |(key, found): (crate::record::SeriesKey, files::Series)| Case {
        patient: found.patient.unwrap_or_else(|| key.study.to_string()),
        name: key.series.to_string(),
        images: Images::Files { key, slices: found.slices, wrapped: true },
        known: Known::Table(Arc::clone(&labels)),
        mask: None,
    };
    Ok(DataSet::new(Layout::Rsna, series.into_iter().map(case).collect(), rejections))
}

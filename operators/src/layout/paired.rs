//! INSTANCE 2022 and BHSD: a folder of volumes and a folder of masks of the same names.
//!
//! INSTANCE's masks are binary and stored as floats. BHSD's tell subtypes, its names are `ID_<patient>_ID_<study>`, tokens of
//! RSNA 2019: its studies, and those of HemSeg-200, must not be among what is trained on there.

use std::path::{Path, PathBuf};

use super::case::{Case, Images, Known, MaskFile, MaskForm};
use super::{DataSet, Layout, LayoutError, files};
use crate::record::{Reason, Rejection};

/// Folder of images and of masks, below an upper folder or not.
fn folders(root: &Path, upper: &str, images: &str, masks: &str) -> Option<[PathBuf; 2]> {
    let roots = [root.join(upper), root.to_owned()];
    roots
        .into_iter()
        .map(|root| [root.join(images), root.join(masks)])
        .find(|pair| pair.iter().all(|path| path.is_dir()))
}

pub(super) fn instance(root: &Path) -> Option<[PathBuf; 2]> {
    folders(root, "train_2", "data", "label")
}

pub(super) fn bhsd(root: &Path) -> Option<[PathBuf; 2]> {
    folders(root, "label_192", "images", "ground truths")
}

pub(super) fn open_instance(root: &Path) -> Result<DataSet, LayoutError> {
    let reason = "there is no train_2/data beside a train_2/label";
    let error = || LayoutError::Layout { path: root.to_owned(), layout: Layout::Instance, reason };
    open(Layout::Instance, instance(root).ok_or_else(error)?, MaskForm::Binary, |stem| stem)
}

pub(super) fn open_bhsd(root: &Path) -> Result<DataSet, LayoutError> {
    let reason = "there is no label_192/images beside a label_192/ground truths";
    let error = || LayoutError::Layout { path: root.to_owned(), layout: Layout::Bhsd, reason };
    open(Layout::Bhsd, bhsd(root).ok_or_else(error)?, MaskForm::Subtypes, first_token)
}

/// The patient of `ID_<patient>_ID_<study>`.
fn first_token(stem: &str) -> &str {
    stem.rsplit_once("_ID_").map_or(stem, |(patient, _)| patient)
}

fn open(
    layout: Layout,
    [images, masks]: [PathBuf; 2],
    form: MaskForm,
    patient: impl Fn(&str) -> &str,
) -> Result<DataSet, LayoutError> {
    let (mut cases, mut rejections): (Vec<Case>, Vec<Rejection>) = Default::default();
    let refuse = |path: &Path, reason, detail| Rejection::new(path.display().to_string(), reason, detail);
    let mut drawn = files::listed(&masks)?;
    for path in files::listed(&images)? {
        let Some(stem) = files::stem(&path) else {
            rejections.push(refuse(&path, Reason::NotDicom, "no NIfTI volume by its name"));
            continue;
        };
        let at = drawn.iter().position(|mask| files::stem(mask) == Some(stem));
        cases.push(Case {
            patient: patient(stem).to_owned(),
            name: path.display().to_string(),
            mask: at.map(|at| MaskFile { path: drawn.swap_remove(at), form }),
            known: Known::Mask,
            images: Images::Volume(path),
        });
    }
    drawn.sort();
    rejections
        .extend(drawn.iter().map(|mask| refuse(mask, Reason::MissingImage, "a mask without an image of its name")));
    Ok(DataSet::new(layout, cases, rejections))
}

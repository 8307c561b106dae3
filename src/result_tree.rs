//! Results as files: the tree that `run` and `demo` write.
//!
//! ```text
//! DIR/summary.json                            one object per series
//! DIR/views.json                              worklist, prevalence, growth, flips, agreement with the truth
//! DIR/rejections.jsonl                        one line per refused input
//! DIR/<StudyUID>/<SeriesUID>/result.json      the newest version
//!                            segmentation.dcm pseudo_mask.dcm overlay.png mask.nii.gz pseudo_mask.nii.gz
//! ```
//!
//! Each file is written whole or not at all: under another name first, then renamed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use graphs::views::Snapshot;
use operators::dicom::seg::{self, Algorithm, SegFrame, SegKind};
use operators::mask_volume;
use operators::overlay::{OverlaySlice, contact_sheet};
use operators::publish::{Publication, PublishedSlice, inputs};
use operators::record::{Digest, Mask, Rejection};
use operators::report::Report;
use serde::Serialize;

/// A folder of results.
#[derive(Clone, Debug)]
pub struct ResultTree {
    root: PathBuf,
    nifti: bool,
}

impl ResultTree {
    /// A tree at `root`, which is created; with `nifti`, masks are written as NIfTI too.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder if it cannot be created.
    pub fn create(root: &Path, nifti: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot create the folder {}", root.display()))?;
        Ok(Self { root: root.to_owned(), nifti })
    }

    /// Writes the result of a series; what an earlier version left and this one lacks is removed.
    ///
    /// # Errors
    ///
    /// Returns an error that names each file that cannot be written; the others are.
    pub fn write(&self, report: &Report, publication: &Publication) -> anyhow::Result<PathBuf> {
        let folder = self.root.join(folder_name(&report.study_uid)).join(folder_name(&report.series_uid));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let weights = Digest::from_hex(&report.model.sha256).context("the model has no digest")?;
        let algorithm = Algorithm { name: &report.model.name, version: &report.model.version, sha256: &weights };
        let slices = &publication.slices;
        let made_from = inputs(slices.iter().map(|published| &published.slice));
        let made_from = Digest::builder("object").digest(&made_from).digest(&publication.method.digest).finish();
        let object = |kind, mask| segmentation(kind, mask, publication, &algorithm, &made_from);
        let without_header = slices.iter().any(|published| published.header.is_none());
        let volume = |mask| if self.nifti || without_header { volume(slices, mask) } else { Ok(None) };
        let files = [
            ("segmentation.dcm", object(SegKind::Segmentation, mask_of)),
            ("pseudo_mask.dcm", object(SegKind::PseudoMask, pseudo_mask_of)),
            ("mask.nii.gz", volume(mask_of)),
            ("pseudo_mask.nii.gz", volume(pseudo_mask_of)),
            ("overlay.png", overlay(slices)),
            ("result.json", json(report).map(Some)),
        ];
        let written = files.into_iter().map(|(name, bytes)| {
            let path = folder.join(name);
            bytes.with_context(|| format!("cannot make {}", path.display())).and_then(|bytes| put(&path, bytes))
        });
        let failures: Vec<String> = written.filter_map(|written| Some(format!("{:#}", written.err()?))).collect();
        if !failures.is_empty() {
            bail!("{}", failures.join("; "));
        }
        Ok(folder)
    }

    /// Writes what all results say together.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be written.
    pub fn write_views(&self, views: &Snapshot) -> anyhow::Result<()> {
        put(&self.root.join("views.json"), Some(json(views)?))
    }

    /// Writes the summary of all series, and the refused inputs.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be written.
    pub fn finish(&self, reports: &[Report], rejections: &[Rejection]) -> anyhow::Result<()> {
        put(&self.root.join("summary.json"), Some(json(&reports)?))?;
        let mut lines = Vec::new();
        for rejection in rejections {
            serde_json::to_writer(&mut lines, rejection)?;
            lines.push(b'\n');
        }
        put(&self.root.join("rejections.jsonl"), Some(lines))
    }
}

fn mask_of(published: &PublishedSlice) -> Option<&Mask> {
    published.mask.as_deref()
}

fn pseudo_mask_of(published: &PublishedSlice) -> Option<&Mask> {
    published.pseudo_mask.as_deref()
}

/// The SEG of one kind of mask; `None` if no voxel is inside or the source is no DICOM.
fn segmentation(
    kind: SegKind,
    mask: fn(&PublishedSlice) -> Option<&Mask>,
    publication: &Publication,
    algorithm: &Algorithm<'_>,
    inputs: &Digest,
) -> anyhow::Result<Option<Vec<u8>>> {
    let mut frames = Vec::new();
    for published in &publication.slices {
        if let (Some(header), Some(mask)) = (published.header.as_deref(), mask(published)) {
            frames.push(SegFrame { header, slice: &published.slice, mask });
        }
    }
    let Some(object) = seg::segmentation(kind, &frames, algorithm, inputs)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).context("the segmentation object cannot be encoded")?;
    Ok(Some(bytes))
}

fn overlay(slices: &[PublishedSlice]) -> anyhow::Result<Option<Vec<u8>>> {
    if slices.is_empty() {
        return Ok(None);
    }
    let tiles: Vec<OverlaySlice<'_>> = slices
        .iter()
        .map(|published| OverlaySlice {
            plane: &published.plane,
            spacing_mm: published.slice.geometry.spacing_mm(),
            mask: mask_of(published),
            pseudo_mask: pseudo_mask_of(published),
            probability: published.probability,
        })
        .collect();
    Ok(Some(contact_sheet(&tiles)?))
}

fn volume(slices: &[PublishedSlice], mask: fn(&PublishedSlice) -> Option<&Mask>) -> anyhow::Result<Option<Vec<u8>>> {
    if slices.is_empty() {
        return Ok(None);
    }
    let planes: Vec<_> = slices.iter().map(|published| (&published.slice, mask(published))).collect();
    Ok(Some(mask_volume::nifti(&planes)?))
}

/// A UID as the name of a folder. Tokens that are no legal UID and could lead elsewhere are replaced by their digest.
fn folder_name(uid: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&uid.len()) && uid.chars().all(plain) && !uid.starts_with('.') {
        uid.to_owned()
    } else {
        Digest::of(uid.as_bytes()).to_string()
    }
}

/// The bytes of a JSON file.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes a file whole, or removes it where there is nothing to write.
fn put(path: &Path, bytes: Option<Vec<u8>>) -> anyhow::Result<()> {
    let Some(bytes) = bytes else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        };
    };
    let name = path.file_name().ok_or_else(|| anyhow!("{} names no file", path.display()))?;
    let partial = path.with_file_name(format!(".{}.partial", name.to_string_lossy()));
    let write = || {
        let mut file = fs::File::create(&partial)?;
        file.write_all(&bytes)?;
        drop(file);
        fs::rename(&partial, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&partial))).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_never_leads_out_of_the_tree() {
        assert_eq!(folder_name("1.2.840.1"), "1.2.840.1");
        for uid in ["../../etc", "..", ".", "", "/", "a/b", "1.2\\3", "\u{e9}"] {
            let name = folder_name(uid);
            assert!(!name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']), "{uid}: {name}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_removed_where_there_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("result.json");
        put(&path, Some(b"one".to_vec())).expect("written");
        put(&path, Some(b"two".to_vec())).expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        put(&path, None).expect("removed");
        put(&path, None).expect("nothing to remove");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("missing").join("result.json");
        let error = put(&path, Some(Vec::new())).expect_err("no such folder");
        assert!(format!("{error:#}").contains("result.json"));
    }
}

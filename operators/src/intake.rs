//! Inputs: what a user names, as files; files, as instances; and which series of a study are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;

use crate::dicom::{Instance, dicomdir, read, sharp_kernel};
use crate::nifti;
use crate::record::{Reason, Rejection, SeriesKey, StudyUid};
use crate::selection::{Attributes, Decision, Rules, decide};

/// A file to read, or what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A file.
    File(PathBuf),
    /// An input that gives no file.
    Rejected(Rejection),
}

/// The files of some inputs, in the order of the inputs. A folder gives its files and those of its folders, sorted by
/// path, media directories left out; a media directory gives the files that it lists.
#[must_use]
pub fn items(inputs: &[PathBuf]) -> Vec<Item> {
    inputs.iter().flat_map(|input| items_of(input)).collect()
}

fn items_of(input: &Path) -> Vec<Item> {
    match fs::metadata(input) {
        Err(error) => vec![unreadable(input, &error)],
        Ok(found) if found.is_dir() => {
            let mut items = Vec::new();
            walk(input, &mut items);
            if items.is_empty() {
                let name = input.display().to_string();
                items.push(Item::Rejected(Rejection::new(name, Reason::Empty, "the folder holds no file")));
            }
            items
        }
        Ok(_) if dicomdir::is_media_directory(input) => {
            let listed = dicomdir::files(input).into_iter();
            listed.map(|file| file.map_or_else(Item::Rejected, Item::File)).collect()
        }
        Ok(found) if found.is_file() => vec![Item::File(input.to_path_buf())],
        Ok(_) => vec![unreadable(input, &no_file())],
    }
}

/// Adds the files below `folder`. A link to a folder is not followed: it may lead back.
fn walk(folder: &Path, items: &mut Vec<Item>) {
    let entries = match fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(error) => return items.push(unreadable(folder, &error)),
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match (fs::symlink_metadata(&path), fs::metadata(&path)) {
            (Ok(entry), _) if entry.is_dir() => walk(&path, items),
            (_, Ok(target)) if target.is_dir() || dicomdir::is_media_directory(&path) => {}
            (_, Ok(target)) if target.is_file() => items.push(Item::File(path)),
            (_, Ok(_)) => items.push(unreadable(&path, &no_file())),
            (_, Err(error)) => items.push(unreadable(&path, &error)),
        }
    }
}

/// Pipes, sockets and devices have no end to read to.
fn no_file() -> io::Error {
    io::Error::other("neither a file nor a folder")
}

fn unreadable(path: &Path, error: &io::Error) -> Item {
    Item::Rejected(Rejection::new(path.display().to_string(), Reason::Unreadable, error.to_string()))
}

/// Reads a file: the slices of a NIfTI volume (`.nii`, `.nii.gz`), or a DICOM instance.
///
/// # Errors
///
/// Returns a [`Rejection`] that names the path as given, and why it is refused.
pub fn read(path: &Path) -> Result<Vec<Instance>, Rejection> {
    if nifti::is_nifti(path) { nifti::read(path) } else { read::read_file(path).map(|instance| vec![instance]) }
}

/// An instance and the input that it came from.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The path or name.
    pub input: String,
    /// The instance.
    pub instance: Instance,
}

/// What decides whether a series is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The series.
    pub key: SeriesKey,
    /// Its Frame of Reference UID.
    pub frame_of_reference: Option<String>,
    /// Whether the instance was reconstructed with a sharp kernel.
    pub sharp: bool,
}

impl Candidate {
    /// What decides of an instance.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        let header = instance.frames.first().and_then(|frame| frame.pixels.header.as_ref());
        let element = header.and_then(|header| header.attributes.get(tags::FRAME_OF_REFERENCE_UID));
        let uid = element.and_then(|element| element.value().to_str().ok());
        let frame_of_reference = uid.map(|uid| uid.trim_end_matches(['\0', ' ']).to_owned());
        Self { key: instance.key.clone(), frame_of_reference, sharp: sharp_kernel(instance) }
    }
}

/// The series that are left out: sharp ones, where the study has a soft one in the same frame of reference.
#[must_use]
pub fn sharp_series(candidates: impl IntoIterator<Item = Candidate>) -> BTreeSet<SeriesKey> {
    let mut places: BTreeMap<(StudyUid, Option<String>), BTreeMap<SeriesKey, bool>> = BTreeMap::new();
    for Candidate { key, frame_of_reference, sharp } in candidates {
        let series = places.entry((key.study.clone(), frame_of_reference)).or_default();
        *series.entry(key).or_default() |= sharp;
    }
    let beside_soft = places.into_values().filter(|series| series.values().any(|sharp| !sharp)).flatten();
    beside_soft.filter(|(_, sharp)| *sharp).map(|(key, _)| key).collect()
}

/// Leaves out what `rules` do not take, by a decision of each instance alone, and then the [`sharp_series`].
#[must_use]
pub fn select(arrivals: Vec<Arrival>, rules: &Rules) -> (Vec<Arrival>, Vec<Rejection>) {
    let (mut taken, mut left_out) = (Vec::new(), Vec::new());
    for arrival in arrivals {
        match decide(rules, &Attributes::of(&arrival.instance)).refusal(&arrival.input) {
            Some(rejection) => left_out.push(rejection),
            None => taken.push(arrival),
        }
    }
    if rules.soft_first {
        let sharp = sharp_series(taken.iter().map(|arrival| Candidate::of(&arrival.instance)));
        let beside_soft = taken.extract_if(.., |arrival| sharp.contains(&arrival.instance.key));
        left_out.extend(beside_soft.filter_map(|arrival| Decision::soft_first().refusal(arrival.input)));
    }
    (taken, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SeriesUid;

    fn candidate(study: &str, series: &str, place: &str, sharp: bool) -> Candidate {
        let key =
            SeriesKey { study: StudyUid::new(study).expect("a UID"), series: SeriesUid::new(series).expect("a UID") };
        Candidate { key, frame_of_reference: Some(place.to_owned()), sharp }
    }

    fn left_out(candidates: &[Candidate]) -> Vec<String> {
        sharp_series(candidates.iter().cloned()).into_iter().map(|key| key.series.to_string()).collect()
    }

    #[test]
    fn a_sharp_series_is_left_out_only_beside_a_soft_one_of_its_place() {
        let soft = candidate("1", "soft", "a", false);
        assert_eq!(left_out(&[soft.clone(), candidate("1", "bone", "a", true)]), ["bone"]);
        assert!(left_out(&[candidate("1", "bone", "a", true)]).is_empty(), "all that there is");
        assert!(left_out(&[soft.clone(), candidate("1", "bone", "b", true)]).is_empty(), "another place");
        assert!(left_out(&[soft, candidate("2", "bone", "a", true)]).is_empty(), "another study");
    }

    #[test]
    fn folders_are_walked_in_order_and_media_directories_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b/2", "b/1", "a", "DICOMDIR", "c/dirfile", ".hidden"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, b"x").expect("a file");
        }
        let found = items(&[folder.path().to_path_buf()]);
        let expected = [".hidden", "a", "b/1", "b/2"].map(|name| Item::File(folder.path().join(name)));
        assert_eq!(found, expected);
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_not_opened() {
        let device = PathBuf::from("/dev/zero");
        let found = items(std::slice::from_ref(&device));
        let [Item::Rejected(rejection)] = &found[..] else { panic!("a rejection: {found:?}") };
        assert_eq!((rejection.reason, rejection.input.as_str()), (Reason::Unreadable, "/dev/zero"));
        let rejection = read(&device).expect_err("no file");
        assert_eq!((rejection.reason, rejection.detail.as_str()), (Reason::Unreadable, "not a file"));
    }

    #[test]
    fn an_empty_folder_and_a_missing_path_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("nothing");
        let found = items(&[folder.path().to_path_buf(), missing.clone()]);
        let [Item::Rejected(empty), Item::Rejected(absent)] = &found[..] else { panic!("two rejections: {found:?}") };
        assert_eq!((empty.reason, &empty.input), (Reason::Empty, &folder.path().display().to_string()));
        assert_eq!((absent.reason, &absent.input), (Reason::Unreadable, &missing.display().to_string()));
    }
}

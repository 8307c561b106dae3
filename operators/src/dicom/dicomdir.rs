//! Media directories: the files that a DICOMDIR lists.
//!
//! A listed media directory is followed in its turn; File IDs are relative to the folder of the first one.
//!
//! Source: DICOM PS3.3 F.3.2.2 (Directory Information), PS3.10 section 8.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;

use super::attribute::{items, texts};
use super::part10;
use crate::record::{Reason, Rejection};

/// Whether a file is a media directory by its name.
#[must_use]
pub fn is_media_directory(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_uppercase());
    name.is_some_and(|name| name == "DICOMDIR" || name == "DIRFILE")
}

/// The files that a media directory lists, in its order and each once, and a rejection for each that is not there.
#[must_use]
pub fn files(directory: &Path) -> Vec<Result<PathBuf, Rejection>> {
    let root = directory.parent().unwrap_or(Path::new(""));
    let mut seen = BTreeSet::from([directory.to_path_buf()]);
    let mut open = vec![directory.to_path_buf()];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        let listed = match file_ids(&directory) {
            Ok(listed) => listed,
            Err(rejection) => {
                found.push(Err(rejection));
                continue;
            }
        };
        for file_id in listed {
            match resolve(root, &file_id) {
                Some(path) if !seen.insert(path.clone()) => {}
                Some(path) if is_media_directory(&path) => open.push(path),
                Some(path) => found.push(Ok(path)),
                None => {
                    let missing = root.join(file_id.iter().collect::<PathBuf>()).display().to_string();
                    let detail = format!("listed in {}, and not there", directory.display());
                    found.push(Err(Rejection::new(missing, Reason::Unreadable, detail)));
                }
            }
        }
    }
    found
}

/// The Referenced File IDs of a media directory's records.
fn file_ids(directory: &Path) -> Result<Vec<Vec<String>>, Rejection> {
    let name = directory.display().to_string();
    let bytes = fs::read(directory).map_err(|error| Rejection::new(&name, Reason::Unreadable, error.to_string()))?;
    let object = part10::object(&bytes).map_err(|refusal| refusal.of(&name))?;
    let records = items(&object, tags::DIRECTORY_RECORD_SEQUENCE).iter();
    let listed: Vec<Vec<String>> =
        records.map(|record| texts(record, tags::REFERENCED_FILE_ID)).filter(|id| !id.is_empty()).collect();
    if listed.is_empty() {
        return Err(Rejection::new(name, Reason::Empty, "the media directory lists no file"));
    }
    Ok(listed)
}

/// The file of a File ID, whose components may differ in case. `None` if it is not there, or outside of `root`.
fn resolve(root: &Path, file_id: &[String]) -> Option<PathBuf> {
    let mut path = root.to_path_buf();
    for component in file_id {
        if component.is_empty() || component.starts_with("..") || component.contains(['/', '\\']) {
            return None;
        }
        let exact = path.join(component);
        if exact.exists() {
            path = exact;
            continue;
        }
        let folder = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.file_name());
        let name = entries.filter(|name| name.to_string_lossy().eq_ignore_ascii_case(component)).min()?;
        path.push(name);
    }
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_ids_resolve_whatever_their_case_and_never_leave_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("disc");
        fs::create_dir_all(inner.join("images")).expect("a folder");
        fs::write(inner.join("images/i1"), b"x").expect("a file");
        fs::write(folder.path().join("outside"), b"x").expect("a file");
        let file = |id: &[&str]| resolve(&inner, &id.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(file(&["IMAGES", "I1"]), Some(inner.join("images/i1")));
        assert_eq!(file(&["IMAGES"]), None, "a folder");
        assert_eq!(file(&["..", "outside"]), None);
        assert_eq!(file(&["../outside"]), None);
    }
}

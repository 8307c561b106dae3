//! `hemoflow export`: the images of a study, and its results, without who they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use operators::dicom::deidentify::{DeidentifyError, Pseudonyms, deidentify};
use operators::record::{Change, InstanceUid, SeriesKey};
use serde::Serialize;
use walkdir::WalkDir;

use super::Exit;
use crate::arguments::Export;
use crate::console::Console;
use crate::data::{DataFolder, Entry, Event, random};

/// What `export --json` tells.
#[derive(Debug, Default, Serialize)]
struct Exported {
    /// The study as it is called now.
    study_uid: String,
    series: usize,
    instances: usize,
    results: usize,
    refused: Vec<Refused>,
}

/// What is not exported.
#[derive(Debug, Serialize)]
struct Refused {
    /// The payload by its digest, or the path of a result.
    input: String,
    detail: String,
}

/// Writes the instances of a study that are present, and the objects of its results, de-identified.
pub(super) fn export(arguments: &Export, console: &mut Console) -> anyhow::Result<Exit> {
    let data = DataFolder::existing(&arguments.data)?;
    let present = present(&data.entries()?, &arguments.study);
    if present.is_empty() {
        bail!("{} holds no image of the study {}", arguments.data.display(), arguments.study);
    }
    let pseudonyms = pseudonyms(arguments.salt.as_deref())?;
    let study = pseudonyms.uid(&arguments.study);
    let out = arguments.out.join(&study);
    let mut exported = Exported { study_uid: study, ..Exported::default() };
    let mut series = BTreeSet::new();
    for ((key, instance), payload) in &present {
        let name = pseudonyms.uid(key.series.as_str());
        let path = out.join(&name).join(format!("{}.dcm", pseudonyms.uid(instance.as_str())));
        let written = if payload.ends_with(".dcm") {
            write(&data.payloads().bytes(payload)?, &path, &pseudonyms)?.map_err(|error| error.to_string())
        } else {
            Err("it is no DICOM".to_owned())
        };
        match written {
            Ok(()) => {
                exported.instances += 1;
                series.insert(name);
            }
            Err(detail) => exported.refused.push(Refused { input: payload.clone(), detail }),
        }
    }
    exported.series = series.len();
    for path in arguments.results.iter().flat_map(|results| objects(&results.join(&arguments.study))) {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let number = exported.results;
        match write(&bytes, &out.join("results").join(format!("{number}.dcm")), &pseudonyms)? {
            Ok(()) => exported.results += 1,
            Err(error) => {
                exported.refused.push(Refused { input: path.display().to_string(), detail: error.to_string() });
            }
        }
    }
    let Exported { study_uid, series, instances, results, refused } = &exported;
    console.line(format!("study {study_uid}: {instances} images of {series} series, {results} result objects"))?;
    for Refused { input, detail } in refused {
        console.line(format!("left out: {input}: {detail}"))?;
    }
    console.json(&exported)?;
    Ok(if exported.refused.is_empty() { Exit::Done } else { Exit::SomeRejected })
}

/// The payloads of the instances of a study that were not withdrawn, each once.
pub(super) fn present(entries: &[Entry], study: &str) -> BTreeMap<(SeriesKey, InstanceUid), String> {
    let mut present = BTreeMap::new();
    for entry in entries {
        let Event::Changed { change, payload, .. } = &entry.event else { continue };
        match change {
            Change::Arrived { key, instance, .. } if key.study.as_str() == study => {
                if let Some(payload) = payload {
                    present.insert((key.clone(), instance.clone()), payload.clone());
                }
            }
            Change::Withdrawn { key, instance } => {
                present.remove(&(key.clone(), instance.clone()));
            }
            Change::Arrived { .. }
            | Change::Signed { .. }
            | Change::Released { .. }
            | Change::Refused(_)
            | Change::Returned { .. }
            | Change::Remembered { .. }
            | Change::Forgotten { .. } => {}
        }
    }
    present
}

/// Pseudonyms of a salt in a file, or of one that nobody knows.
fn pseudonyms(salt: Option<&Path>) -> anyhow::Result<Pseudonyms> {
    /// Bytes that cannot be tried one after the other.
    const SHORTEST: usize = 16;
    let Some(path) = salt else { return Ok(Pseudonyms::new(&random()?)) };
    let salt = fs::read(path).with_context(|| format!("cannot read the salt {}", path.display()))?;
    if salt.len() < SHORTEST {
        bail!("the salt {} must have {SHORTEST} bytes or more", path.display());
    }
    Ok(Pseudonyms::new(&salt))
}

/// The DICOM objects below a folder, in order.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    files.map(walkdir::DirEntry::into_path).filter(|path| path.extension().is_some_and(|end| end == "dcm")).collect()
}

/// Writes what a DICOM file holds, de-identified, unless it must not be.
fn write(file: &[u8], path: &Path, pseudonyms: &Pseudonyms) -> anyhow::Result<Result<(), DeidentifyError>> {
    let named = || format!("cannot write {}", path.display());
    let object = match deidentify(file, pseudonyms) {
        Ok(object) => object,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(named)?;
    }
    object.write_to_file(path).with_context(named)?;
    Ok(Ok(()))
}

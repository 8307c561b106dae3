//! Folders: whether they can be written, who uses the data folder, and how much room there is.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{Access, access};

use super::Finding;
use crate::config::Config;
use crate::data::DataFolder;
use crate::ingest::free_bytes;

/// The folders that a node writes.
pub(super) fn folders(config: &Config) -> Vec<Finding> {
    let mut folders =
        vec![("node.data".to_owned(), config.node.data.clone()), ("node.results".to_owned(), config.node.results())];
    // One that is not there is told with the configuration.
    for (index, folder) in config.folders.iter().enumerate().filter(|(_, folder)| folder.path.exists()) {
        for (name, path) in [("path", folder.path.clone()), ("done", folder.done()), ("failed", folder.failed())] {
            folders.push((format!("folder[{index}].{name}"), path));
        }
    }
    folders.iter().map(|(key, path)| folder(key, path)).collect()
}

fn folder(key: &str, path: &Path) -> Finding {
    let subject = path.display().to_string();
    match writable(path) {
        Ok(detail) => Finding::ok("folder", subject, detail),
        Err(why) => {
            let mend = format!("give the user of the node the right to it, or name another folder at {key}");
            Finding::wrong("folder", subject, why, mend)
        }
    }
}

/// Whether a folder can be written, or be made; nothing that has a name is made.
fn writable(path: &Path) -> Result<&'static str, String> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Err("is no folder".to_owned()),
        Ok(_) => match tempfile::tempfile_in(path).and_then(|mut file| file.write_all(b"a check")) {
            Ok(()) => Ok("can be written"),
            Err(error) => Err(format!("cannot be written: {error}")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match access(there(path), Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => Ok("is not there yet, and can be made"),
                Err(error) => Err(format!("is not there and cannot be made: {error}")),
            }
        }
        Err(error) => Err(format!("cannot be reached: {error}")),
    }
}

/// The folder itself, or the nearest one above it that is there.
fn there(path: &Path) -> &Path {
    let found = path.ancestors().find(|above| above.exists());
    found.unwrap_or_else(|| if path.is_absolute() { Path::new("/") } else { Path::new(".") })
}

/// Whether somebody uses the data folder, if that can be said.
pub(super) fn user(config: &Config) -> (Option<bool>, Finding) {
    let data = &config.node.data;
    let subject = data.display().to_string();
    match DataFolder::is_in_use(data) {
        Ok(true) => (Some(true), Finding::ok("node", subject, "a node runs on this data folder")),
        Ok(false) => (Some(false), Finding::ok("node", subject, "no node runs on this data folder")),
        Err(error) => {
            let detail = format!("whether a node runs on this data folder cannot be seen: {error}");
            (None, Finding::warning("node", subject, detail, "run this as the user of the node"))
        }
    }
}

/// Whether the disk has the room that must stay free.
pub(super) fn room(config: &Config) -> Finding {
    let data = &config.node.data;
    let (subject, floor) = (data.display().to_string(), config.limits.free_disk);
    match free_bytes(there(data)) {
        Ok(free) => enough(&subject, free, floor),
        Err(error) => {
            let detail = format!("how much is free cannot be seen: {error}");
            Finding::warning("disk", subject, detail, "run this as the user of the node")
        }
    }
}

fn enough(subject: &str, free: usize, floor: usize) -> Finding {
    let detail = format!("{} are free, {} must stay free", size(free), size(floor));
    if free < floor {
        let mend = "make room, or lower limits.free_disk: until then every instance is refused with A700";
        Finding::wrong("disk", subject, detail, mend)
    } else {
        Finding::ok("disk", subject, detail)
    }
}

/// Bytes with one digit behind the point, in the units of the configuration.
fn size(bytes: usize) -> String {
    let (unit, shift) = match bytes {
        0..0x400 => return format!("{bytes} bytes"),
        0x400..0x10_0000 => ('K', 10),
        0x10_0000..0x4000_0000 => ('M', 20),
        0x4000_0000.. => ('G', 30),
    };
    let (whole, rest) = (bytes >> shift, bytes & ((1 << shift) - 1));
    format!("{whole}.{}{unit}", (rest * 10) >> shift)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn sizes_read_as_the_configuration_says_them() {
        let sizes = [0, 1023, 1536, 5 << 20, (3 << 30) + (1 << 29)].map(size);
        assert_eq!(sizes, ["0 bytes", "1023 bytes", "1.5K", "5.0M", "3.5G"]);
    }

    #[test]
    fn less_room_than_must_stay_free_is_wrong() {
        assert_eq!((enough("d", 9, 10).state, enough("d", 10, 10).state), (State::Wrong, State::Ok));
    }

    #[test]
    fn a_folder_is_written_can_be_made_or_is_in_the_way_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        assert_eq!(writable(folder.path()), Ok("can be written"));
        assert_eq!(writable(&folder.path().join("a/b")), Ok("is not there yet, and can be made"));
        assert_eq!(writable(&file), Err("is no folder".to_owned()));
        assert!(writable(&file.join("data")).is_err(), "a file is in the way");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }
}

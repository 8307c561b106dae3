//! Files of weights: PyTorch's zip archive, PyTorch's older sequence of pickles, and safetensors.
//!
//! Source: APPNOTE 6.3 of PKWARE for zip (PyTorch stores entries uncompressed); the pickle protocol of Python; the format of
//! safetensors: the length of a JSON header as a little-endian `u64`, the header, the numbers.

#![allow(clippy::wildcard_enum_match_arm, reason = "a value is what is asked for, or nothing that matters")]

use std::collections::BTreeMap;

use super::pickle::{self, Kind, TensorView, Value};
use super::{StateDictionary, Weights};

/// The arrays of PyTorch's zip archive.
pub(super) fn zipped(bytes: &[u8]) -> Result<StateDictionary, String> {
    let entries = entries(bytes).ok_or("a damaged zip archive, or one with compressed entries")?;
    let (name, pickled) = entries
        .iter()
        .find(|(name, _)| name.ends_with("/data.pkl") || **name == "data.pkl")
        .ok_or("a zip archive without data.pkl: no PyTorch file")?;
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    let (value, _) = pickle::load(pickled)?;
    let storage = |key: &str| entries.get(format!("{folder}data/{key}").as_str()).copied();
    arrays(&value, &storage)
}

/// The entries of a zip archive, none of them compressed.
fn entries(bytes: &[u8]) -> Option<BTreeMap<&str, &[u8]>> {
    let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
    let u32_at = |at: usize| usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok();
    let u64_at = |at: usize| usize::try_from(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok();
    // The end of the central directory is followed by a comment at most.
    let first = bytes.len().checked_sub(22)?;
    let end = (first.saturating_sub(65_535)..=first).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06"))?;
    let (mut count, mut at) = (u16_at(end + 10)?, u32_at(end + 16)?);
    if count == 0xFFFF || at == 0xFFFF_FFFF {
        // Zip64: its locator lies right before.
        let locator = end.checked_sub(20).filter(|at| bytes[*at..].starts_with(b"PK\x06\x07"))?;
        let record = u64_at(locator + 8)?;
        (count, at) = (u64_at(record + 32)?, u64_at(record + 48)?);
    }
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        if !bytes.get(at..)?.starts_with(b"PK\x01\x02") || u16_at(at + 10)? != 0 {
            return None;
        }
        let (mut size, mut local) = (u32_at(at + 24)?, u32_at(at + 42)?);
        let (name, extra, comment) = (u16_at(at + 28)?, u16_at(at + 30)?, u16_at(at + 32)?);
        let text = std::str::from_utf8(bytes.get(at + 46..at + 46 + name)?).ok()?;
        let mut field = at + 46 + name;
        let fields_end = field + extra;
        while field + 4 <= fields_end {
            let (id, length) = (u16_at(field)?, u16_at(field + 2)?);
            let mut wide = field + 4;
            // Zip64: those of size, compressed size and place that did not fit.
            if id == 1 {
                if size == 0xFFFF_FFFF {
                    size = u64_at(wide)?;
                    wide += 8;
                }
                if u32_at(at + 20)? == 0xFFFF_FFFF {
                    wide += 8;
                }
                if local == 0xFFFF_FFFF {
                    local = u64_at(wide)?;
                }
            }
            field += 4 + length;
        }
        let start = local.checked_add(30)?.checked_add(u16_at(local + 26)? + u16_at(local + 28)?)?;
        entries.insert(text, bytes.get(start..start.checked_add(size)?)?);
        at += 46 + name + extra + comment;
    }
    Some(entries)
}

/// The arrays of PyTorch's older form: pickles of a magic number, a version, facts of the machine, the dictionary and the
/// names of storages; then each storage, its length as a little-endian `u64` before it.
pub(super) fn legacy(bytes: &[u8]) -> Result<StateDictionary, String> {
    let mut rest = bytes;
    let mut next = || {
        let (value, after) = pickle::load(rest)?;
        rest = after;
        Ok::<_, String>(value)
    };
    let (magic, _version, _facts, value, keys) = (next()?, next()?, next()?, next()?, next()?);
    if !matches!(magic, Value::Large) {
        return Err("a pickle, but no PyTorch file".to_owned());
    }
    let Value::List(keys) = keys else { return Err("no names of storages behind the dictionary".to_owned()) };
    let kinds = views(&value).into_iter().map(|(_, view)| (view.key, view.kind)).collect::<BTreeMap<_, _>>();
    let mut storages: BTreeMap<String, &[u8]> = BTreeMap::new();
    for key in keys {
        let Value::Text(key) = key else { return Err("a storage without a name".to_owned()) };
        let (length, after) = rest.split_first_chunk::<8>().ok_or("the file ends before its storages")?;
        let kind = kinds.get(key.as_str()).copied().ok_or("a storage that no array names")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|n| n.checked_mul(kind.bytes()));
        let (storage, after) =
            length.and_then(|length| after.split_at_checked(length)).ok_or("the file ends within a storage")?;
        rest = after;
        storages.insert(key, storage);
    }
    arrays(&value, &|key| storages.get(key).copied())
}

/// The arrays that a value holds, by their path.
fn views(value: &Value) -> Vec<(String, TensorView)> {
    fn walk(value: &Value, path: &str, found: &mut Vec<(String, TensorView)>) {
        match value {
            Value::Tensor(view) => found.push((path.to_owned(), view.clone())),
            Value::Dictionary(items) => {
                for (key, value) in items {
                    if let Value::Text(key) = key {
                        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                        walk(value, &path, found);
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

fn arrays<'a>(value: &Value, storage: &dyn Fn(&str) -> Option<&'a [u8]>) -> Result<StateDictionary, String> {
    let mut arrays = StateDictionary::new();
    for (name, view) in views(value) {
        let bytes = storage(&view.key).ok_or_else(|| format!("the storage of {name} is missing"))?;
        if let Some(numbers) = view.kind.numbers(bytes) {
            let values = view.gather(&numbers).ok_or_else(|| format!("{name} reaches beyond its storage"))?;
            arrays.insert(name, Weights { shape: view.shape, values });
        }
    }
    if arrays.is_empty() { Err("no arrays: save a state dictionary, not a whole model".to_owned()) } else { Ok(arrays) }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The arrays of a safetensors file.
pub(super) fn safetensors(bytes: &[u8]) -> Result<StateDictionary, String> {
    let no = || "neither a PyTorch nor a safetensors file".to_owned();
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(no)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| no())?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(no)?;
    let mut header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header).map_err(|_| no())?;
    header.remove("__metadata__");
    let mut arrays = StateDictionary::new();
    for (name, entry) in header {
        let entry: Entry = serde_json::from_value(entry).map_err(|error| format!("{name}: {error}"))?;
        let [from, to] = entry.data_offsets;
        let Some(kind) = Kind::of_safetensors(&entry.dtype) else { continue };
        let numbers = data.get(from..to).and_then(|bytes| kind.numbers(bytes));
        let expected = entry.shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        let values = numbers.filter(|values| Some(values.len()) == expected);
        let values = values.ok_or_else(|| format!("{name} has not the numbers that its shape says"))?;
        arrays.insert(name, Weights { shape: entry.shape, values });
    }
    Ok(arrays)
}

/// A safetensors file of 32-bit floats.
pub(super) fn as_safetensors(arrays: &StateDictionary) -> Vec<u8> {
    let (mut header, mut data) = (BTreeMap::new(), Vec::new());
    for (name, Weights { shape, values }) in arrays {
        let from = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = Entry { dtype: "F32".to_owned(), shape: shape.clone(), data_offsets: [from, data.len()] };
        header.insert(name, entry);
    }
    let mut header = serde_json::to_vec(&header).unwrap_or_default();
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = u64::try_from(header.len()).unwrap_or(u64::MAX).to_le_bytes();
    [length.as_slice(), &header, &data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn safetensors_read_back(values in proptest::collection::vec(-9.0_f32..9.0, 6)) {
            let array = Weights { shape: vec![2, 3], values };
            let arrays = StateDictionary::from([("a".to_owned(), array.clone()), ("b.c".to_owned(), array)]);
            prop_assert_eq!(safetensors(&as_safetensors(&arrays)), Ok(arrays));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0..3) {
            let start: &[u8] = match start { 0 => b"PK\x05\x06", 1 => &[0x80, 2], _ => &[] };
            let bytes = [start, &bytes].concat();
            // Arrays or an error, never a panic.
            let _outcome = (zipped(&bytes).is_ok(), legacy(&bytes).is_ok(), safetensors(&bytes).is_ok());
        }
    }
}

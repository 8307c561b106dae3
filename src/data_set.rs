//! A data set on disk: which series and slices there are, and their pixels when they are wanted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use operators::decode::decode;
use operators::intake::{self, Item};
use operators::record::{Plane, Rejection, SeriesKey, Slice};
use rayon::prelude::*;

/// A slice, its series and its file.
type Found = (SeriesKey, Slice, PathBuf);

/// The series of some folders. Pixels stay on disk.
#[derive(Debug)]
pub struct DataSet {
    /// The file of each slice, by series.
    pub series: BTreeMap<SeriesKey, Vec<(Slice, PathBuf)>>,
    /// The files that are refused.
    pub rejections: Vec<Rejection>,
}

impl DataSet {
    /// Looks at every file of the inputs.
    #[must_use]
    pub fn index(inputs: &[PathBuf]) -> Self {
        let items: Vec<Item> = intake::items(inputs);
        let looked: Vec<Result<Vec<Found>, Rejection>> = items
            .into_par_iter()
            .map(|item| {
                let path = match item {
                    Item::File(path) => path,
                    Item::Rejected(rejection) => return Err(rejection),
                };
                let instances = intake::read(&path)?;
                let slices = instances.into_iter().flat_map(|instance| {
                    let key = instance.key;
                    instance.frames.into_iter().map(move |frame| (key.clone(), frame.slice))
                });
                Ok(slices.map(|(key, slice)| (key, slice, path.clone())).collect())
            })
            .collect();
        let mut data_set = Self { series: BTreeMap::new(), rejections: Vec::new() };
        for found in looked {
            match found {
                Ok(slices) => {
                    for (key, slice, path) in slices {
                        data_set.series.entry(key).or_default().push((slice, path));
                    }
                }
                Err(rejection) => data_set.rejections.push(rejection),
            }
        }
        data_set.series.values_mut().for_each(|slices| slices.sort());
        data_set
    }

    /// The slices of a series in z order, decoded.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read or decoded any more.
    pub fn planes(&self, key: &SeriesKey) -> anyhow::Result<Vec<(Slice, Arc<Plane>)>> {
        let Some(slices) = self.series.get(key) else { bail!("no series {}", key.series) };
        let plane = |(slice, path): &(Slice, PathBuf)| {
            let refused =
                |rejection: Rejection| anyhow!("{}: {}: {}", path.display(), rejection.reason, rejection.detail);
            let instances = intake::read(path).map_err(refused)?;
            let frame = instances.iter().flat_map(|instance| &instance.frames).find(|frame| frame.slice == *slice);
            let frame = frame.ok_or_else(|| anyhow!("{} changed while it was in use", path.display()))?;
            Ok((slice.clone(), decode(&frame.pixels).map_err(refused)?))
        };
        slices.par_iter().map(plane).collect()
    }
}

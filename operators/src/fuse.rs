//! Fusion: the activation maps of neighboring slices, weighted by their true distances.
//!
//! In: `(reading, call)`. Out: the same, once the fused maps of a positive slice and of its next neighbors are on the
//! shelf. A neighbor below the single-slice gate counts as a map of zeros, and a slice below it has no map at all.

use std::sync::Arc;

use kernels::fuse::{FuseConfig, Place, Term};
use kernels::resize::Grid;
use kernels::{Client, KernelError, backend, fuse};

use crate::classify::Call;
use crate::encode::Encoding;
use crate::model::MapGrid;
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, MethodConfig, Reading, Slice};
use crate::stack::Neighborhood;

/// The fused activation map of a slice, `[rows, columns]` of the model's map; empty if the slice has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FusedMap(pub Vec<f32>);

/// Fuses the maps of one neighborhood.
///
/// # Errors
///
/// Returns [`KernelError`] if the device fails.
pub fn fuse(
    client: &Client,
    slices: &[Slice],
    encodings: &[Arc<Encoding>],
    target: usize,
    map: [usize; 2],
    config: &MethodConfig,
) -> Result<FusedMap, KernelError> {
    let (Some(own), Some(own_encoding)) = (slices.get(target), encodings.get(target)) else {
        return Ok(FusedMap::default());
    };
    if own_encoding.probability < config.cam_gate {
        return Ok(FusedMap::default());
    }
    let terms = terms(slices, encodings, target, own, map, config);
    let maps: Vec<f32> = encodings.iter().flat_map(|encoding| encoding.activation.iter().copied()).collect();
    fuse::fuse(client, &maps, [slices.len(), map[0], map[1]], &[terms]).map(FusedMap)
}

/// The regions of all slices of a run: what [`fuse()`] and then the threshold of the configuration give for each with its
/// neighbors, `[rows, columns]` of the slice; empty if the slice has no map. Slices of one size are one launch of each
/// kernel, and a bit a pixel is all that leaves the device.
///
/// # Errors
///
/// Returns [`KernelError`] if a map has not the size of `maps` or the device fails.
pub fn regions(
    client: &Client,
    slices: &[Slice],
    encodings: &[Arc<Encoding>],
    maps: MapGrid,
    config: &MethodConfig,
) -> Result<Vec<Vec<u8>>, KernelError> {
    let MapGrid { size: map, before } = config.grid(maps);
    let maps: Vec<f32> = encodings.iter().flat_map(|encoding| encoding.activation.iter().copied()).collect();
    let mut regions = vec![Vec::new(); slices.len()];
    let with_map: Vec<usize> =
        (0..slices.len().min(encodings.len())).filter(|own| encodings[*own].probability >= config.cam_gate).collect();
    for group in with_map.chunk_by(|a, b| size(&slices[*a]) == size(&slices[*b])) {
        let terms = |own: &usize| terms(slices, encodings, *own, &slices[*own], map, config);
        let targets: Vec<Vec<Term>> = group.iter().map(terms).collect();
        let size = size(&slices[group[0]]);
        let shape = [encodings.len(), map[0], map[1]];
        let cells = backend::regions(client, &maps, shape, &targets, Grid { size, before }, config.cam_threshold)?;
        for (own, region) in group.iter().zip(cells.chunks_exact((size[0] * size[1]).max(1))) {
            regions[*own] = region.to_vec();
        }
    }
    Ok(regions)
}

#[allow(clippy::as_conversions, reason = "u32 fits usize")]
fn size(slice: &Slice) -> [usize; 2] {
    [slice.geometry.rows as usize, slice.geometry.columns as usize]
}

/// The maps that are fused into the one of `target`, which is the slice `own`.
fn terms(
    slices: &[Slice],
    encodings: &[Arc<Encoding>],
    target: usize,
    own: &Slice,
    map: [usize; 2],
    config: &MethodConfig,
) -> Vec<Term> {
    let places: Vec<Place> =
        slices.iter().zip(encodings).map(|(slice, encoding)| place(slice, own, encoding, map, config)).collect();
    fuse::terms(&places, target, FuseConfig { max_gap_mm: config.max_gap_mm, reach: config.fuse_reach })
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "cells of a map: small numbers")]
fn place(slice: &Slice, target: &Slice, encoding: &Encoding, map: [usize; 2], config: &MethodConfig) -> Place {
    let [row_mm, column_mm] = target.geometry.spacing_mm();
    let cell_mm = [
        row_mm * f64::from(target.geometry.rows) / map[0] as f64,
        column_mm * f64::from(target.geometry.columns) / map[1] as f64,
    ];
    let [down_mm, along_mm] = slice.geometry.in_plane_offset_mm(&target.geometry);
    Place {
        along_um: slice.along_um,
        offset: [(down_mm / cell_mm[0]) as f32, (along_mm / cell_mm[1]) as f32],
        computed: encoding.probability >= config.cam_gate,
    }
}

/// Fuse the maps of a neighborhood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuseTask(pub Arc<Neighborhood>);

impl Task for FuseTask {
    fn name(&self) -> Digest {
        self.0.name
    }
}

/// Extension trait for collections of calls.
pub trait Fuse<'scope> {
    /// Passes each call on once the fused maps that its masks need are on the shelf.
    fn fuse(self, stage: Stage<FuseTask, FusedMap>) -> Self;
}

impl<'scope> Fuse<'scope> for Collection<'scope, (Reading, Call)> {
    fn fuse(self, stage: Stage<FuseTask, FusedMap>) -> Self {
        plumbing::furnish(self, stage, |(_, call)| {
            let near = call.plan.neighborhoods.iter().flatten().filter(|_| call.positive);
            near.cloned().map(FuseTask).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use kernels::{Device, cam};
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::tests::stack;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_regions_of_a_run_are_those_of_its_slices(
            steps in prop::collection::vec(1_u32..9, 1..8),
            values in prop::collection::vec(0.0_f32..5.0, 37),
            probabilities in prop::collection::vec(0.0_f32..1.0, 8),
        ) {
            let client = Device::Cpu.client().expect("the CPU runtime");
            let places: Vec<f64> = steps.iter().scan(0.0, |z, step| { *z += f64::from(*step); Some(*z) }).collect();
            let slices = stack(places);
            let (map, config) = ([3, 4], MethodConfig::default());
            let maps = MapGrid { size: map, before: [0.4, 0.9] };
            let encoding = |(index, probability): (usize, &f32)| {
                let activation = values.iter().copied().cycle().skip(index * 5).take(12).collect();
                Arc::new(Encoding { feature: vec![], activation, probability: *probability })
            };
            let encodings: Vec<Arc<Encoding>> = probabilities.iter().take(slices.len()).enumerate().map(encoding).collect();
            let together = regions(&client, &slices, &encodings, maps, &config).expect("regions");
            for (target, region) in together.iter().enumerate() {
                // Each with its neighbors alone, as the streaming graph asks.
                let near = target.saturating_sub(config.fuse_reach)..(target + config.fuse_reach + 1).min(slices.len());
                let among = target - near.start;
                let fused = fuse(&client, &slices[near.clone()], &encodings[near], among, map, &config).expect("a map");
                let alone = if fused.0.is_empty() {
                    Vec::new()
                } else {
                    cam::region(&client, &fused.0, [1, 3, 4], Grid { size: size(&slices[target]), before: maps.before }, config.cam_threshold).expect("a region")
                };
                prop_assert_eq!(region, &alone);
            }
        }
    }
}

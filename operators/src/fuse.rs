//! Fusion: the activation maps of neighboring slices, weighted by their true distances.
//!
//! In: `(reading, call)`. Out: the same, once the fused maps of a positive slice and of its next neighbors are on the
//! shelf. A neighbor below the single-slice gate counts as a map of zeros, and a slice below it has no map at all.

use std::sync::Arc;

use kernels::fuse::{FuseConfig, Place};
use kernels::{Client, KernelError, fuse};

use crate::classify::Call;
use crate::encode::Encoding;
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
    let places: Vec<Place> =
        slices.iter().zip(encodings).map(|(slice, encoding)| place(slice, own, encoding, map, config)).collect();
    let terms = fuse::terms(&places, target, FuseConfig { max_gap_mm: config.max_gap_mm, reach: config.fuse_reach });
    let maps: Vec<f32> = encodings.iter().flat_map(|encoding| encoding.activation.iter().copied()).collect();
    fuse::fuse(client, &maps, [slices.len(), map[0], map[1]], &[terms]).map(FusedMap)
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

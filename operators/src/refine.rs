//! Refinement: a region of the activation map becomes a candidate mask.
//!
//! In: `(reading, call)` whose fused maps are on the shelf. Out: the same, once the candidate masks of a positive slice and
//! of its next neighbors are on the shelf.
//!
//! The map is coarse: it says where, not what. Inside the region and the brain, HU are clustered (exactly); the clusters
//! that can be blood are the seed of the mask, which grows over the bleed that the map covers only in part. What is not
//! like blood (calcification, the rim that beam hardening brightens) is refused. Whether a component stays is a question
//! to the neighboring slices: [`consistent`].
//!
//! Source: Ramananda, Sundaresan, Medical Physics 52(4):2123-2144, 2025, cluster the region of a class activation map
//! and take the brightest cluster. Levelling, the rule in HU, growth and sizes in mm are ours.
//!
//! Shapes are `[rows, columns]`, row major; spacings mm, between rows, then between columns.

mod candidate;
mod consistent;
mod level;
mod plausible;
#[cfg(test)]
pub(crate) mod scene;

use std::sync::Arc;

use kernels::resize::Grid;
use kernels::units::{Rescale, Stored};
use kernels::{Client, KernelError, cam, histogram};
use serde::{Deserialize, Serialize};

pub use candidate::candidate;
pub use consistent::consistent;
pub use plausible::plausible;

use crate::brain::brain_mask;
use crate::classify::Call;
use crate::model::MapGrid;
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, Mask, Plane, Reading};
use crate::stack::Neighborhood;

/// How a region becomes a pseudo-mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineConfig {
    /// Clusters of HU in the region.
    pub clusters: usize,
    /// HU below this count as this.
    pub lower_hu: i16,
    /// HU above this count as this.
    pub upper_hu: i16,
    /// A cluster is blood by its mean alone from this on, HU.
    pub accept_low_hu: f64,
    /// A cluster with a mean above this is no blood, HU: calcification, bone.
    pub accept_high_hu: f64,
    /// Failing that, the brightest cluster is blood if its mean is at least this, HU,
    pub faint_low_hu: f64,
    /// and lies this far above the median of the brain outside the region, HU.
    pub faint_above_brain_hu: f64,
    /// Whether HU are replaced by the median of their 3 x 3 neighborhood first.
    pub smooth: bool,
    /// The most that is taken off the rim of the brain, HU, where it is brighter than the rest all around. 0 is off.
    pub flatten_rim_hu: f64,
    /// How much brighter the cortex is than the brain inside it, HU: so much of the rim is not taken off.
    pub cortex_hu: f64,
    /// How far a mask grows beyond the seed, mm, over connected brain as bright. 0 is off.
    pub grow_mm: f64,
    /// The same for a seed that is only faintly brighter than the brain, mm.
    pub faint_grow_mm: f64,
    /// From this on, HU of the levelled slice are no blood: calcification, bone.
    pub dense_hu: i16,
    /// What lies this near to it, mm, is partly it and no seed. 0 is off.
    pub halo_mm: f64,
    /// Whether masks are opened by a 3 x 3 square, where that does not erase a component.
    pub open: bool,
    /// Smaller 2-D components are dropped, mm².
    pub least_component_mm2: f64,
    /// Whether holes smaller than that are filled.
    pub fill: bool,
    /// How far masks are dilated in the end inside the brain, mm.
    pub dilation_mm: f64,
    /// How far masks reach in the end over the edge of the brain mask, which keeps off the bone, mm. 0 is off.
    pub edge_mm: f64,
    /// What is brighter there is more bone than blood, HU.
    pub edge_hu: i16,
    /// A single-slice probability above this keeps components without support in a neighboring slice.
    pub keep_probability: f32,
}

impl Default for RefineConfig {
    fn default() -> Self {
        Self {
            clusters: 3,
            lower_hu: -10,
            upper_hu: 140,
            accept_low_hu: 45.0,
            accept_high_hu: 90.0,
            faint_low_hu: 36.0,
            faint_above_brain_hu: 8.0,
            smooth: true,
            flatten_rim_hu: 12.0,
            cortex_hu: 4.0,
            grow_mm: 30.0,
            faint_grow_mm: 15.0,
            dense_hu: 100,
            halo_mm: 1.0,
            open: true,
            least_component_mm2: 4.0,
            fill: true,
            dilation_mm: 0.0,
            edge_mm: 1.0,
            edge_hu: 480,
            keep_probability: 0.9,
        }
    }
}

/// Refines the activation map of a slice, of the cells `grid`, to a candidate mask of the plane's size: the part of the
/// map above `threshold`, normalized, is the region. An empty map gives an empty mask.
///
/// # Errors
///
/// Returns [`KernelError`] if the map has not the size that its shape says or the device fails.
pub fn refine(
    client: &Client,
    plane: &Plane,
    spacing_mm: [f64; 2],
    map_values: &[f32],
    grid: MapGrid,
    threshold: f32,
    config: &RefineConfig,
) -> Result<Mask, KernelError> {
    let region = if map_values.is_empty() {
        Vec::new()
    } else {
        let MapGrid { size: [rows, columns], before } = grid;
        let grid = Grid { size: [plane.rows, plane.columns], before };
        cam::region(client, map_values, [1, rows, columns], grid, threshold)?
    };
    refine_region(client, plane, spacing_mm, &region, config)
}

/// Refines a region of a slice, `[rows, columns]` of the plane, to a candidate mask: what [`refine`] does once it knows the
/// region, for whoever has those of a whole run ([`crate::fuse::regions`]). An empty region gives an empty mask.
///
/// # Errors
///
/// Returns [`KernelError`] if the device fails.
pub fn refine_region(
    client: &Client,
    plane: &Plane,
    spacing_mm: [f64; 2],
    region: &[u8],
    config: &RefineConfig,
) -> Result<Mask, KernelError> {
    let shape = [plane.rows, plane.columns];
    let empty = Mask { voxels: vec![0; plane.rows * plane.columns] };
    if region.is_empty() {
        return Ok(empty);
    }
    let hu = plane.hu();
    let brain = brain_mask(&hu, plane.rows, plane.columns, spacing_mm);
    let scene = candidate::Scene::new(&hu, shape, spacing_mm, region, &brain, config);
    if scene.is_empty() {
        return Ok(empty);
    }
    let (stored, lower) = (Stored::Signed(&scene.hu), i32::from(config.lower_hu));
    let bins = usize::from(config.upper_hu.abs_diff(config.lower_hu)) + 1;
    let counts = histogram::histogram(client, stored, Rescale::IDENTITY, &scene.inside, lower, bins)?;
    Ok(scene.mask(&counts, config))
}

/// Refine the fused map of a neighborhood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefineTask(pub Arc<Neighborhood>);

impl Task for RefineTask {
    fn name(&self) -> Digest {
        Digest::builder("candidate").digest(&self.0.name).finish()
    }
}

/// Extension trait for collections of calls.
pub trait Refine<'scope> {
    /// Passes each call on once the candidate masks that its pseudo-mask needs are on the shelf.
    fn refine(self, stage: Stage<RefineTask, Mask>) -> Self;
}

impl<'scope> Refine<'scope> for Collection<'scope, (Reading, Call)> {
    fn refine(self, stage: Stage<RefineTask, Mask>) -> Self {
        plumbing::furnish(self, stage, |(_, call)| {
            let near = call.plan.neighborhoods.iter().flatten().filter(|_| call.positive);
            near.cloned().map(RefineTask).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use kernels::Device;

    use super::scene::{Bleed, Drawing, dice};
    use super::*;
    use crate::record::StoredValues;

    /// Cells in the middle of their squares.
    const CELLS: MapGrid = MapGrid { size: [8, 8], before: [0.0; 2] };

    fn plane(side: usize, stored: Vec<i16>, rescale: Rescale) -> Plane {
        Plane { rows: side, columns: side, values: StoredValues::Signed(Arc::from(stored)), rescale }
    }

    #[test]
    fn the_device_gives_the_candidate_of_the_same_region() {
        let client = Device::Cpu.client().expect("the CPU runtime");
        let head = Drawing { bleed: Bleed::Disk(12.0), ..Drawing::default() }.head();
        let (side, spacing_mm) = (head.side, [head.pixel_mm; 2]);
        // The bleed lies around [0.45, 0.64] of the square: cell [3, 5] of 8 x 8.
        let map: Vec<f32> = (0..64).map(|cell| if cell == 3 * 8 + 5 { 2.0 } else { 0.1 }).collect();
        let config = RefineConfig::default();
        let stored = head.hu.iter().map(|hu| hu + 1024).collect();
        let plane = plane(side, stored, Rescale::new(1.0, -1024.0).expect("a plain rescale"));
        let refined = refine(&client, &plane, spacing_mm, &map, CELLS, 0.7, &config).expect("a mask");
        let region = cam::region_reference(&map, [1, 8, 8], [side; 2], 0.7);
        let brain = brain_mask(&head.hu, side, side, spacing_mm);
        assert_eq!(refined, candidate(&head.hu, side, side, spacing_mm, &region, &brain, &config));
        assert!(dice(&refined.voxels, &head.truth) > 0.95, "dice {}", dice(&refined.voxels, &head.truth));
    }

    #[test]
    fn a_map_that_says_nothing_gives_an_empty_mask() {
        let client = Device::Cpu.client().expect("the CPU runtime");
        let head = Drawing { bleed: Bleed::Disk(12.0), pixel_mm: 1.0, ..Drawing::default() }.head();
        let plane = plane(head.side, head.hu.clone(), Rescale::IDENTITY);
        let config = RefineConfig::default();
        for map in [vec![], vec![0.0; 64], vec![3.0; 64], vec![f32::NAN; 64]] {
            let refined = refine(&client, &plane, [1.0; 2], &map, CELLS, 0.7, &config).expect("a mask");
            assert!(refined.is_empty());
            assert_eq!(refined.voxels.len(), head.hu.len(), "of the plane's size");
        }
        assert!(refine(&client, &plane, [1.0; 2], &[1.0; 63], CELLS, 0.7, &config).is_err(), "a cell is missing");
    }

    #[test]
    fn numbers_that_are_not_written_are_the_defaults_and_unknown_ones_are_refused() {
        let config: RefineConfig = serde_json::from_str(r#"{"clusters": 4}"#).expect("a configuration");
        assert_eq!(config, RefineConfig { clusters: 4, ..RefineConfig::default() });
        assert!(serde_json::from_str::<RefineConfig>(r#"{"cluster": 4}"#).is_err());
    }
}

//! How a launch spreads its results over a device, and how arrays get there and back.

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::device::Client;
use crate::error::KernelError;

/// A launch over some results: each unit takes `run` consecutive ones, the last units perhaps fewer or none.
pub(crate) struct Spread {
    pub(crate) cubes: CubeCount,
    pub(crate) units: CubeDim,
    pub(crate) run: usize,
}

/// Results that one launch can count: positions are 32-bit on the device, with room for the last runs.
const MOST: usize = 1 << 31;

/// Runs of a processor's core; more than one, so that a core that is slow or late gets less.
const RUNS_PER_CORE: usize = 4;

/// Spreads `len` results: one a unit on a GPU, so that neighbors load neighbors; a long run a unit on a processor,
/// which runs all cubes of a unit on one core, so that cores do not write to the same cache lines.
pub(crate) fn spread(client: &Client, kernel: &'static str, len: usize) -> Result<Spread, KernelError> {
    if len > MOST {
        return Err(KernelError::TooLarge { kernel, len });
    }
    let run = match client.properties().hardware.num_cpu_cores {
        Some(cores) => len.div_ceil(cores.max(1) as usize * RUNS_PER_CORE).next_multiple_of(16),
        None => 1,
    };
    Ok(Spread { run, ..singly(client, kernel, len.div_ceil(run))? })
}

/// One unit for each of `len` results, on every device.
pub(crate) fn singly(client: &Client, kernel: &'static str, len: usize) -> Result<Spread, KernelError> {
    if len > MOST {
        return Err(KernelError::TooLarge { kernel, len });
    }
    let units = CubeDim::new(client, len);
    Ok(Spread { cubes: cubecl::calculate_cube_count_elemwise(client, len, units), units, run: 1 })
}

/// The widest vector that the device likes and that divides `len`.
pub(crate) fn lanes(client: &Client, len: usize) -> usize {
    client.io_optimized_vector_sizes(size_of::<f32>()).find(|lanes| len.is_multiple_of(*lanes)).unwrap_or(1)
}

/// Refuses an array that has not the length that its shape says.
pub(crate) fn check(kernel: &'static str, array: &'static str, len: usize, expected: usize) -> Result<(), KernelError> {
    if len == expected { Ok(()) } else { Err(KernelError::Length { kernel, array, len, expected }) }
}

/// Copies an array that is not empty to the device.
pub(crate) fn upload<T: CubeElement>(client: &Client, values: &[T]) -> Handle {
    client.create_from_slice(T::as_bytes(values))
}

/// Copies an array to the device, zeros for values that are not finite.
pub(crate) fn upload_finite(client: &Client, values: &[f32]) -> Handle {
    let finite: Vec<f32> = values.iter().map(|value| finite(*value)).collect();
    upload(client, &finite)
}

/// The value, or zero if it is not finite.
pub(crate) fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

/// Waits for the device and copies an array back.
pub(crate) fn download<T: CubeElement>(
    client: &Client,
    kernel: &'static str,
    handle: Handle,
) -> Result<Vec<T>, KernelError> {
    let bytes =
        client.read_one(handle).map_err(|error| KernelError::Device { kernel, reason: format!("{error:?}") })?;
    Ok(T::from_bytes(&bytes).to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare;

    proptest! {
        #[test]
        fn every_result_has_a_unit(len in prop_oneof![1_usize..3000, Just(MOST)]) {
            let client = compare::client();
            for spread in [spread(&client, "test", len).expect("a launch"), singly(&client, "test", len).expect("a launch")] {
                let CubeCount::Static(x, y, z) = spread.cubes else { panic!("counts are static") };
                let units = [x, y, z, spread.units.num_elems()].map(|count| count as usize).iter().product::<usize>();
                prop_assert!(units * spread.run >= len);
                // Positions of the last runs fit 32 bits.
                prop_assert!(u32::try_from(units * spread.run).is_ok());
            }
        }
    }

    #[test]
    fn refuses_more_results_than_positions() {
        let too_large = KernelError::TooLarge { kernel: "test", len: MOST + 1 };
        assert_eq!(spread(&compare::client(), "test", MOST + 1).err(), Some(too_large));
    }
}

//! How a launch spreads its results over a device.

use cubecl::features::TypeUsage;
use cubecl::prelude::*;

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

/// The widest vector of elements of so many bytes that the device likes and that divides `len`.
pub(crate) fn lanes(client: &Client, bytes: usize, len: usize) -> usize {
    client.io_optimized_vector_sizes(bytes).find(|lanes| len.is_multiple_of(*lanes)).unwrap_or(1)
}

/// Whether the device is the processor: functions that take slices then use the host's loops.
pub(crate) fn on_processor(client: &Client) -> bool {
    client.properties().hardware.num_cpu_cores.is_some()
}

/// Refuses elements that the device has no memory of: WebGPU has no `bf16`, and not everywhere `f16`.
pub(crate) fn check_element<E: Scalar>(client: &Client, kernel: &'static str) -> Result<(), KernelError> {
    if E::supported_uses(client).contains(TypeUsage::Buffer) {
        return Ok(());
    }
    let name = std::any::type_name::<E>();
    Err(KernelError::Element { kernel, element: name.rsplit("::").next().unwrap_or(name) })
}

/// Refuses an array that has not the length that its shape says.
pub(crate) fn check(kernel: &'static str, array: &'static str, len: usize, expected: usize) -> Result<(), KernelError> {
    if len == expected { Ok(()) } else { Err(KernelError::Length { kernel, array, len, expected }) }
}

/// The value, or zero if it is not finite.
#[inline]
pub(crate) fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

/// The same on a device: false for NaN, and for what is above the largest number.
#[cube]
pub(crate) fn finite_on<F: Float>(value: F) -> f32 {
    let value = f32::cast_from(value);
    select(value.abs() <= f32::max_value(), value, 0.0f32)
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

//! Comparing a kernel with its reference, for tests: a difference is told with its place.

use std::env;

use cubecl::prelude::Scalar;

use crate::device::{Client, Device};
use crate::launch::check_element;

/// The environment variable that names the device of tests: `cpu`, which is the default, `cuda`, `wgpu`, or `shadow`, a
/// GPU that is not there.
pub(crate) const DEVICE: &str = "HEMOFLOW_TEST_DEVICE";

/// The device that tests run on.
pub(crate) fn client() -> Client {
    match env::var(DEVICE) {
        #[cfg(feature = "cpu")]
        Ok(name) if name == "shadow" => crate::ptx::shadow::client(),
        Ok(name) => name.parse::<Device>().and_then(Device::client).expect("a device for tests"),
        Err(_) => Device::default().client().expect("a device for tests"),
    }
}

/// Whether the device has memory of such elements; if not, says what is skipped.
pub(crate) fn has<E: Scalar>(test: &str) -> bool {
    let found = check_element::<E>(&client(), "test");
    if let Err(error) = &found {
        println!("skipped: {test}: {error}");
    }
    found.is_ok()
}

/// Fails unless all values agree within `tolerance`, and says where they do not: positions are `[depth, row, column]`
/// of arrays of this shape.
pub(crate) fn assert_close(shape: [usize; 3], actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "lengths");
    assert_eq!(actual.len(), shape.iter().product::<usize>(), "the length and the shape");
    let differ = |(a, e): &(f32, f32)| (a - e).is_nan() || (a - e).abs() > tolerance;
    let pairs: Vec<(f32, f32)> = actual.iter().copied().zip(expected.iter().copied()).collect();
    let wrong: Vec<usize> = (0..pairs.len()).filter(|index| differ(&pairs[*index])).collect();
    if wrong.is_empty() {
        return;
    }
    let distances = pairs.iter().map(|(a, e)| f64::from((a - e).abs()));
    let largest = distances.clone().fold(0.0, f64::max);
    let mean = distances.sum::<f64>() / pairs.len() as f64;
    let first: Vec<String> = wrong
        .iter()
        .take(8)
        .map(|index| {
            let [plane, row] = [shape[1] * shape[2], shape[2]];
            let place = [index / plane, index % plane / row, index % row];
            format!("{place:?} {} for {}", pairs[*index].0, pairs[*index].1)
        })
        .collect();
    panic!("{} of {} differ, largest {largest}, mean {mean}: {}", wrong.len(), pairs.len(), first.join(", "));
}

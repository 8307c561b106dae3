//! The copy from device to device: the yardstick of every kernel that memory bounds.
//!
//! | | shape | unit |
//! |---|---|---|
//! | from, to | as many bytes as asked for, half of them each | bytes |
//!
//! Units move 16 bytes at a time, which is what a copy by the driver reaches on a GPU. No operator uses it: it tells what
//! the others are measured by.

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::device::Client;
use crate::error::KernelError;
use crate::launch::spread;

const KERNEL: &str = "copy";

/// Numbers of 32 bits that a unit moves at once.
const LANES: usize = 4;

/// Two arrays on a device, the first full and the second to be filled with it.
pub struct DeviceCopy {
    client: Client,
    from: Handle,
    to: Handle,
    vectors: usize,
}

impl DeviceCopy {
    /// Prepares a copy that moves `bytes` bytes, read and written together, rounded up to 32.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::TooLarge`] if they do not fit one launch.
    pub fn new(client: &Client, bytes: usize) -> Result<Self, KernelError> {
        let vectors = bytes.div_ceil(2 * LANES * size_of::<u32>()).max(1);
        spread(client, KERNEL, vectors)?;
        let len = vectors * LANES * size_of::<u32>();
        let pattern: Vec<u8> = (0..251).cycle().take(len).collect();
        Ok(Self { client: client.clone(), from: client.create_from_slice(&pattern), to: client.empty(len), vectors })
    }

    /// The bytes that a run moves.
    #[must_use]
    pub fn bytes(&self) -> usize {
        2 * self.vectors * LANES * size_of::<u32>()
    }

    /// Launches the copy and does not wait for it.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError`] as [`DeviceCopy::new`].
    pub fn run(&self) -> Result<(), KernelError> {
        let spread = spread(&self.client, KERNEL, self.vectors)?;
        // SAFETY: the kernel compares each position with the length of `to`, which is that of `from`.
        unsafe {
            copy_kernel::launch_unchecked(
                &self.client,
                spread.cubes,
                spread.units,
                LANES,
                BufferArg::from_raw_parts(self.from.clone(), self.vectors),
                BufferArg::from_raw_parts(self.to.clone(), self.vectors),
                spread.run,
            );
        }
        Ok(())
    }
}

#[cube(launch_unchecked)]
fn copy_kernel<N: Size>(from: &[Vector<u32, N>], to: &mut [Vector<u32, N>], run: usize) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < to.len() {
            to[position] = from[position];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare::client;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn what_arrives_is_what_left(bytes in prop_oneof![Just(0_usize), Just(1), Just(32), Just(33), 1_usize..200_000]) {
            let copy = DeviceCopy::new(&client(), bytes).expect("a copy");
            prop_assert!(copy.bytes() >= bytes && copy.bytes() < bytes.max(1) + 32);
            copy.run().expect("a launch");
            let [from, to] = [&copy.from, &copy.to].map(|handle| client().read_one(handle.clone()).expect("bytes"));
            prop_assert_eq!(&from[..], &to[..]);
            prop_assert_eq!(from.len(), copy.bytes() / 2);
        }
    }
}

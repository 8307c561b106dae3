//! Arrays on a device: what kernels read and write without a transfer between them.
//!
//! An [`Array`] is one-dimensional and contiguous; its shape is the business of the kernel that reads it, row major. It
//! is a handle: a clone is the same memory. Nothing here waits for the device but [`Array::download`].

use std::fmt;
use std::marker::PhantomData;

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::device::Client;
use crate::error::KernelError;

const KERNEL: &str = "array";

/// Bytes of a word: memory is taken in whole words, so that elements of 16 bits can be read in pairs.
const WORD: usize = 4;

/// `len` elements on the device of a client.
pub struct Array<T> {
    client: Client,
    handle: Handle,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T: CubeElement> Array<T> {
    /// Copies `values` to the device.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernels::{Array, Device};
    ///
    /// let client = Device::Cpu.client()?;
    /// assert_eq!(Array::upload(&client, &[1_i16, -2, 3]).download()?, [1, -2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn upload(client: &Client, values: &[T]) -> Self {
        let bytes = T::as_bytes(values);
        let handle = if bytes.is_empty() {
            client.empty(WORD)
        } else if bytes.len().is_multiple_of(WORD) {
            client.create_from_slice(bytes)
        } else {
            let mut whole = Vec::with_capacity(bytes.len().next_multiple_of(WORD));
            whole.extend_from_slice(bytes);
            whole.resize(bytes.len().next_multiple_of(WORD), 0);
            client.create_from_slice(&whole)
        };
        Self { client: client.clone(), handle, len: values.len(), element: PhantomData }
    }

    /// An array whose elements have no particular value.
    #[must_use]
    pub fn empty(client: &Client, len: usize) -> Self {
        let handle = client.empty((len * size_of::<T>()).next_multiple_of(WORD).max(WORD));
        Self { client: client.clone(), handle, len, element: PhantomData }
    }

    /// The first `len` elements behind a handle of the device of `client`, without a copy.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Length`] if the memory behind the handle is shorter.
    pub fn from_handle(client: &Client, handle: Handle, len: usize) -> Result<Self, KernelError> {
        let held = usize::try_from(handle.size_in_used()).unwrap_or(usize::MAX) / size_of::<T>();
        if held < len {
            return Err(KernelError::Length { kernel: KERNEL, array: "handle", len: held, expected: len });
        }
        Ok(Self { client: client.clone(), handle, len, element: PhantomData })
    }

    /// Waits for the device and copies the elements back.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Device`] if the device fails, now or in a launch that the elements depend on.
    pub fn download(&self) -> Result<Vec<T>, KernelError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = self
            .client
            .read_one(self.handle.clone())
            .map_err(|error| KernelError::Device { kernel: KERNEL, reason: format!("{error:?}") })?;
        Ok(T::from_bytes(&bytes[..self.len * size_of::<T>()]).to_vec())
    }

    /// The same memory as an argument of a launch, as `len` vectors of some size.
    ///
    /// # Safety
    ///
    /// The vectors lie within the elements, and the kernel reads elements of this type or of as many bytes.
    pub(crate) unsafe fn vectors(&self, len: usize) -> BufferArg {
        // SAFETY: the caller vouches for the length.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), len) }
    }

    /// The same memory as an argument of a launch.
    pub(crate) fn argument(&self) -> BufferArg {
        // SAFETY: the handle holds `len` elements, by each way to make an array.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len) }
    }
}

impl<T> Array<T> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The client of the device that holds the elements.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The memory, for other libraries on the same device: [`Array::from_handle`] undoes it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), handle: self.handle.clone(), len: self.len, element: PhantomData }
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("element", &std::any::type_name::<T>()).field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::compare::client;

    proptest! {
        #[test]
        fn what_comes_back_is_what_was_sent(values in vec(any::<i16>(), 0..70), floats in vec(any::<u16>(), 0..70)) {
            let client = client();
            let array = Array::upload(&client, &values);
            prop_assert_eq!(array.len(), values.len());
            prop_assert_eq!(&array.download().expect("values"), &values);
            let wrapped = Array::<i16>::from_handle(&client, array.handle().clone(), values.len()).expect("an array");
            prop_assert_eq!(wrapped.download().expect("values"), values);
            let halves: Vec<f16> = floats.iter().map(|bits| f16::from_bits(*bits)).collect();
            let back = Array::upload(&client, &halves).download().expect("values");
            prop_assert_eq!(back.iter().map(|half| half.to_bits()).collect::<Vec<_>>(), floats);
        }
    }

    #[test]
    fn refuses_a_handle_that_is_too_short() {
        let client = client();
        let array = Array::<f32>::empty(&client, 6);
        assert!(Array::<f32>::from_handle(&client, array.handle().clone(), 6).is_ok());
        let error = Array::<f32>::from_handle(&client, array.handle().clone(), 7).err();
        assert_eq!(error, Some(KernelError::Length { kernel: "array", array: "handle", len: 6, expected: 7 }));
        assert!(Array::<f32>::empty(&client, 0).download().expect("nothing").is_empty());
    }
}

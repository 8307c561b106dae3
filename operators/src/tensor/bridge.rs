//! A kernel's array as a tensor, and a tensor as a kernel's array.
//!
//! On the devices of cubecl both are handles of the same memory: nothing is copied or waited for, and cubecl orders what
//! different threads have queued. Networks on `cpu` run on the host, so there the numbers pass through a host array.
//!
//! A tensor that is not contiguous, or not of `f32`, is copied on its device; one that is recorded for gradients, or on
//! another device, through the host.

use burn::tensor::{Tensor, TensorData};
use kernels::{Array, Client, Device};

use crate::model::{ModelError, connect, host};

/// An array as a tensor of this shape on the networks' device.
///
/// # Errors
///
/// Returns [`ModelError::Length`] if the array has not the length of the shape, [`ModelError::Device`] if the device
/// fails, [`ModelError::NoDevice`] if this build or this machine lacks it.
#[allow(clippy::needless_pass_by_value, reason = "the memory becomes the tensor's, which may then change it in place")]
pub fn tensor_of<const D: usize>(
    array: Array<f32>,
    shape: [usize; D],
    device: Device,
) -> Result<Tensor<D>, ModelError> {
    let expected = shape.iter().product();
    if array.len() != expected {
        return Err(ModelError::Length { array: "tensor", len: array.len(), expected });
    }
    #[cfg(feature = "cubecl")]
    if let Some(device) = cube::device(device) {
        return Ok(cube::tensor(array, shape, device));
    }
    let values = array.download().map_err(|error| failed(&error))?;
    Ok(Tensor::from_data(TensorData::new(values, shape), &connect(device)?))
}

/// A tensor's numbers as an array of the device of `client`, row major.
///
/// # Errors
///
/// Returns [`ModelError::Device`] if the device fails.
pub fn array_of<const D: usize>(tensor: Tensor<D>, client: &Client) -> Result<Array<f32>, ModelError> {
    #[cfg(feature = "cubecl")]
    let tensor = match cube::array(tensor, client)? {
        cube::Found::Array(array) => return Ok(array),
        cube::Found::Elsewhere(tensor) => tensor,
    };
    Ok(Array::upload(client, &host("tensor", tensor)?))
}

fn failed(error: &impl ToString) -> ModelError {
    ModelError::Device { network: "tensor", reason: error.to_string() }
}

/// The backend of all cubecl devices.
#[cfg(feature = "cubecl")]
mod cube {
    use burn::backend::fusion::stream::StreamId;
    use burn::backend::fusion::{NoOp, get_client};
    use burn::backend::ir::{BackendIr, InitOperationIr, OperationIr, OperationOutput};
    use burn::backend::{Cube, DType, Shape};
    use burn::tensor::{FloatDType, Tensor};
    use burn_cubecl::kernel::into_contiguous;
    use burn_cubecl::tensor::CubeTensor;
    use burn_cubecl::{CubeBackend, CubeDevice};
    use kernels::{Array, Client, Device};

    use super::failed;
    use crate::model::ModelError;

    /// What [`array`] makes of a tensor.
    pub(super) enum Found<const D: usize> {
        Array(Array<f32>),
        /// The tensor is not on a device of cubecl, or on another one than the client.
        Elsewhere(Tensor<D>),
    }

    /// The device that networks run on, if it is one of cubecl.
    pub(super) fn device(device: Device) -> Option<CubeDevice> {
        match device {
            Device::Cpu => None,
            #[cfg(feature = "cuda")]
            Device::Cuda(index) => Some(CubeDevice::Cuda(burn_cubecl::cubecl::cuda::CudaDevice { index })),
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => None,
            #[cfg(feature = "wgpu")]
            Device::Wgpu => Some(CubeDevice::Wgpu(burn_cubecl::cubecl::wgpu::WgpuDevice::default())),
            #[cfg(not(feature = "wgpu"))]
            Device::Wgpu => None,
        }
    }

    /// The tensor is registered as one that exists, so that fused operations take it as their input.
    pub(super) fn tensor<const D: usize>(array: Array<f32>, shape: [usize; D], device: CubeDevice) -> Tensor<D> {
        let shape = Shape::from(shape);
        let (client, handle) = (array.client().clone(), array.handle().clone());
        // From here on the memory is the tensor's alone, if it was the array's alone.
        drop(array);
        let primitive = CubeTensor::new_contiguous(client, device.clone(), shape.clone(), handle, DType::F32);
        let fusion = get_client::<CubeBackend>(&device);
        let handle = CubeBackend::float_tensor_handle(primitive);
        let operation = InitOperationIr::create(shape, DType::F32, || fusion.register_tensor_handle(handle));
        let made = fusion.register(StreamId::current(), OperationIr::Init(operation), NoOp::<CubeBackend>::new());
        Tensor::from_primitive::<Cube>(made.output())
    }

    /// What is queued for the tensor is launched; nothing waits for it.
    pub(super) fn array<const D: usize>(tensor: Tensor<D>, client: &Client) -> Result<Found<D>, ModelError> {
        let tensor = tensor.cast(FloatDType::F32);
        let Ok(fused) = tensor.clone().try_into_primitive::<Cube>() else { return Ok(Found::Elsewhere(tensor)) };
        drop(tensor);
        let fusion = fused.client.clone();
        let primitive = into_contiguous(fusion.resolve_tensor_float::<CubeBackend>(fused));
        let len = primitive.meta.shape().num_elements();
        if primitive.client.service_id() == client.service_id() {
            let array = Array::from_handle(&primitive.client, primitive.handle, len);
            return array.map(Found::Array).map_err(|error| failed(&error));
        }
        let array = Array::<f32>::from_handle(&primitive.client, primitive.handle, len);
        let values = array.and_then(|array| array.download()).map_err(|error| failed(&error))?;
        Ok(Found::Array(Array::upload(client, &values)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The kernels' device of tests.
    fn device() -> Device {
        std::env::var("HEMOFLOW_TEST_DEVICE").map_or(Device::Cpu, |name| name.parse().unwrap())
    }

    proptest! {
        #[test]
        fn what_goes_over_comes_back(values in vec(-1e3_f32..1e3, 60)) {
            let (device, client) = (device(), device().client().unwrap());
            let tensor = tensor_of(Array::upload(&client, &values), [3, 4, 5], device).unwrap();
            prop_assert_eq!(&host("test", tensor.clone()).unwrap(), &values);
            prop_assert_eq!(&array_of(tensor.clone(), &client).unwrap().download().unwrap(), &values);
            // A view in another order is copied, an operation before it is done.
            let turned = array_of(tensor.swap_dims(0, 2) + 1.0, &client).unwrap().download().unwrap();
            for (index, value) in values.iter().enumerate() {
                let [plane, row, column] = [index / 20, index / 5 % 4, index % 5];
                prop_assert_eq!(turned[column * 12 + row * 3 + plane].to_bits(), (value + 1.0).to_bits());
            }
        }
    }

    #[test]
    fn an_array_of_another_length_is_refused() {
        let client = device().client().unwrap();
        let array = Array::upload(&client, &[1.0, 2.0, 3.0]);
        let error = tensor_of(array, [2, 2], device()).unwrap_err();
        assert!(matches!(error, ModelError::Length { len: 3, expected: 4, .. }), "{error}");
    }

    /// Without a GPU too: the processor's runtime of cubecl, with burn's tensors on it.
    #[cfg(feature = "cubecl")]
    #[test]
    fn kernels_and_tensors_share_memory() {
        use burn_cubecl::CubeDevice;

        let name = device();
        let on = cube::device(name).unwrap_or_else(|| CubeDevice::Cpu(Default::default()));
        let client = name.client().unwrap();
        let values: Vec<f32> = (0..96_u16).map(f32::from).collect();
        let array = Array::upload(&client, &values);
        let kept = array.clone();
        let tensor = cube::tensor(array, [2, 3, 4, 4], on.clone());
        // The array is still held: a tensor that may not change it in place gets memory of its own.
        let doubled = tensor.clone() * 2.0;
        assert_eq!(kept.download().unwrap(), values);
        let doubled = array_of(doubled, &client).unwrap();
        assert_eq!(doubled.client().service_id(), client.service_id());
        let twice: Vec<f32> = values.iter().map(|value| 2.0 * value).collect();
        assert_eq!(doubled.download().unwrap(), twice);
        // From one kernel through a network's operation to another kernel.
        let sums =
            kernels::cam::activation(&client, &doubled.download().unwrap(), [2, 3, 4, 4], &[1.0, 0.5, 0.25]).unwrap();
        let weights = Tensor::<4>::from_floats([[[[1.0]], [[0.5]], [[0.25]]]], &tensor.device());
        let same = (tensor * 2.0 * weights).sum_dim(1);
        let same = array_of(same, &client).unwrap().download().unwrap();
        for (kernel, network) in sums.iter().zip(&same) {
            assert!((kernel - network).abs() <= 1e-3, "{kernel} {network}");
        }
    }
}

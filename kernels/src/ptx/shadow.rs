//! A GPU that is not there: kernels see the properties of an H100, each launch is compiled to PTX for it, and then runs
//! on the processor with the GPU's cubes.
//!
//! So a test that passes on this device has the geometry of a GPU's launch right, and leaves the PTX of what it launched
//! in the folder `HEMOFLOW_PTX`, one file for each variant of a kernel. Kernels whose units wait for one another do not
//! run: the processor has a thread for each unit of a cube, and hundreds of them on a few cores take minutes. Their
//! results are whatever was in memory, and tests that look at them fail.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

use cubecl::CubeCount;
use cubecl::cpu::CpuRuntime;
use cubecl::cpu::compute::server::CpuServer;
use cubecl_core::bytes::Bytes;
use cubecl_core::device::{DeviceId, DeviceService, ServerUtilitiesHandle, ServiceId};
use cubecl_core::environment::stream::StreamId;
use cubecl_core::future::DynFut;
use cubecl_core::ir::HardwareProperties;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::profile::ProfileDuration;
use cubecl_core::server::{
    BufferBinding, CopyDescriptor, KernelArguments, ProfileError, ProfilingToken, Server, ServerCommunication,
    ServerError, ServerStorage, ServerUtilities,
};
use cubecl_core::{Compiler, MemoryConfiguration, define_kernel};
use cubecl_llvm::nvptx::ptx_version::PtxVersion;
use cubecl_llvm::{LlvmTarget, PlironArtifact, PlironCompiler, PlironOptions};
use cubecl_server::allocator::ContiguousMemoryLayoutPolicy;
use cubecl_server::dry_run::LaunchMode;
use cubecl_server::kernel::CubeKernel;
use cubecl_server::logging::ServerLogger;
use cubecl_server::memory_management::{ManagedMemoryHandle, MemoryAllocationMode, StreamMemoryReport};
use cubecl_server::runtime::Runtime as _;
use cubecl_server::storage::{ComputeStorage, ManagedResource};

use crate::device::Client;

/// The environment variable that names the folder.
pub(crate) const FOLDER: &str = "HEMOFLOW_PTX";

/// The driver of CUDA 13.0, as `cuDriverGetVersion` numbers it.
const DRIVER: i32 = 13_000;

/// A client of the device.
pub(crate) fn client() -> Client {
    Client::load::<Shadow>(DeviceId { type_id: 0, index_id: 0 })
}

/// The device: the processor's, behind other properties.
#[derive(Debug)]
struct Shadow {
    processor: CpuServer,
    folder: Option<PathBuf>,
    /// The bytes that the units of a cube share, by kernel.
    compiled: BTreeMap<String, usize>,
}

impl Shadow {
    /// Compiles a kernel for the GPU and writes its PTX, once. The first line tells the bytes that the units of a cube
    /// share, and names the kernel. Gives these bytes.
    fn compile(&mut self, kernel: &dyn CubeKernel) -> Result<usize, String> {
        let id = format!("{:?}", kernel.id());
        if let Some(shared) = self.compiled.get(&id) {
            return Ok(*shared);
        }
        let definition = define_kernel(kernel).map_err(|error| format!("{error:?}"))?;
        let options = PlironOptions {
            sm_arch: Some(SmArch::new(90, true)),
            ptx_version: PtxVersion::for_driver(DRIVER),
            grid_constants: true,
            ..PlironOptions::default()
        };
        let artifact = PlironCompiler { target: LlvmTarget::Nvptx }.compile(definition, &options);
        let PlironArtifact::NvptxCode(module) = artifact.map_err(|error| format!("{error:?}"))? else {
            return Err("no PTX".to_owned());
        };
        let bytes: Vec<u8> = module.ptx.iter().map(|character| character.to_ne_bytes()[0]).collect();
        let ptx = CStr::from_bytes_until_nul(&bytes).map_err(|error| error.to_string())?.to_string_lossy();
        if let Some(folder) = &self.folder {
            let text = format!("// {} {}\n{ptx}", module.shared_memory_size, kernel.name());
            fs::write(folder.join(format!("{:016x}.ptx", fnv(&id))), text).map_err(|error| error.to_string())?;
        }
        self.compiled.insert(id, module.shared_memory_size);
        Ok(module.shared_memory_size)
    }
}

/// A short name of a long one: FNV-1a.
fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// An H100 (SXM), as the CUDA runtime reports it.
fn hardware() -> HardwareProperties {
    HardwareProperties {
        load_width: 128,
        vector_register_count: None,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: 227 * 1024,
        max_cube_count: (0x7fff_ffff, 0xffff, 0xffff),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(132),
        num_tensor_cores: Some(4),
        min_tensor_cores_dim: Some(8),
        num_cpu_cores: None,
        last_level_cache_size: None,
        max_vector_size: usize::MAX,
        cube_mma_reserved_shared_memory: 0,
    }
}

impl DeviceService for Shadow {
    fn init(device: DeviceId) -> Self {
        let mut properties = (*Server::utilities(&CpuServer::init(device)).properties).clone();
        properties.hardware = hardware();
        properties.io_width_override = None;
        let memory = properties.memory.clone();
        let (utilities, _captures) = ServerUtilities::init(
            ServiceId::of::<Self>(device),
            "shadow",
            properties,
            CpuRuntime::target_properties(),
            Arc::new(ServerLogger::default()),
            ContiguousMemoryLayoutPolicy::new(memory.alignment.try_into().expect("a small alignment")),
        );
        let utilities = Arc::new(utilities);
        Self {
            processor: CpuServer::new(memory, MemoryConfiguration::default(), Default::default(), utilities),
            folder: env::var_os(FOLDER).map(PathBuf::from),
            compiled: BTreeMap::new(),
        }
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        Server::utilities(&self.processor)
    }
}

impl Server for Shadow {
    unsafe fn launch(
        &mut self,
        kernel: Box<dyn CubeKernel>,
        count: CubeCount,
        bindings: KernelArguments,
        stream: StreamId,
        mode: LaunchMode,
    ) {
        let mode = match self.compile(kernel.as_ref()) {
            Ok(0) => mode,
            Ok(_) => LaunchMode::Skip,
            Err(reason) => {
                // The device's thread swallows panics: who started the tests finds this file.
                if let Some(folder) = &self.folder {
                    fs::write(folder.join("failure.txt"), format!("{}: {reason}\n", kernel.name())).ok();
                }
                LaunchMode::Skip
            }
        };
        // SAFETY: what the caller promises of the launch.
        unsafe { self.processor.launch(kernel, count, bindings, stream, mode) }
    }

    fn initialize_memory(
        &mut self,
        memory: ManagedMemoryHandle,
        size: u64,
        stream: StreamId,
    ) -> Result<(), ServerError> {
        self.processor.initialize_memory(memory, size, stream)
    }

    fn logger(&self) -> Arc<ServerLogger> {
        self.processor.logger()
    }

    fn utilities(&self) -> Arc<ServerUtilities> {
        Server::utilities(&self.processor)
    }

    fn read(&mut self, descriptors: Vec<CopyDescriptor>, stream: StreamId) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        self.processor.read(descriptors, stream)
    }

    fn write(&mut self, descriptors: Vec<(CopyDescriptor, Bytes)>, stream: StreamId) {
        self.processor.write(descriptors, stream);
    }

    fn sync(&mut self, handles: Vec<BufferBinding>, stream: StreamId) -> DynFut<Result<(), ServerError>> {
        self.processor.sync(handles, stream)
    }

    fn check(&mut self, handles: Vec<BufferBinding>, stream: StreamId) -> Result<(), ServerError> {
        self.processor.check(handles, stream)
    }

    fn flush(&mut self, stream: StreamId) -> Result<(), ServerError> {
        self.processor.flush(stream)
    }

    fn memory_report(&mut self, stream: StreamId) -> Option<StreamMemoryReport> {
        self.processor.memory_report(stream)
    }

    fn stream_ids(&self) -> Vec<StreamId> {
        self.processor.stream_ids()
    }

    fn memory_cleanup(&mut self, stream: StreamId) -> Result<(), ServerError> {
        self.processor.memory_cleanup(stream)
    }

    fn start_profile(&mut self, stream: StreamId) -> Result<ProfilingToken, ServerError> {
        self.processor.start_profile(stream)
    }

    fn end_profile(&mut self, stream: StreamId, token: ProfilingToken) -> Result<ProfileDuration, ProfileError> {
        self.processor.end_profile(stream, token)
    }

    fn allocation_mode(&mut self, mode: MemoryAllocationMode, stream: StreamId) {
        self.processor.allocation_mode(mode, stream);
    }
}

impl ServerCommunication for Shadow {}

impl ServerStorage for Shadow {
    type Storage = <CpuServer as ServerStorage>::Storage;

    fn get_resource(
        &mut self,
        binding: BufferBinding,
        stream: StreamId,
    ) -> Result<ManagedResource<<Self::Storage as ComputeStorage>::Resource>, ServerError> {
        self.processor.get_resource(binding, stream)
    }
}

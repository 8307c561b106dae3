# make demo    everything from nothing to a result: prepare, build, stream synthetic studies, show what came out
# make test    everything from nothing to a verdict: prepare, build, run every check
# make laws    the laws of the streaming graph on 10,000 cases each (LAW_CASES=...): hours on two cores
# make faults  a node that is killed, cut off, flooded and full, ROUNDS times (1000)
# make fuzz    broken inputs of every kind, EXECUTIONS of each (1000000)
# make fuzz-coverage    the same, where libFuzzer looks for what was not seen, SECONDS of each (60): an hour to build
# make wgpu    the tests of kernels and tensors on an adapter of WebGPU: ten minutes and more to build
#
# One profile (release) and one feature set, so that the dependencies are built once.

CARGO ?= cargo
CARGO_FLAGS = --release --locked
LAW_CASES ?= 10000
ROUNDS ?= 1000
EXECUTIONS ?= 1000000
SECONDS ?= 60
export CARGO_TERM_PROGRESS_WHEN ?= never

.PHONY: demo test laws faults fuzz fuzz-coverage setup build format lint unit docs bench gpu-check wgpu clean

demo: build
	target/release/hemoflow demo --out demo-out

test: setup format unit lint docs bench gpu-check

setup:
	@scripts/setup

build: setup
	$(CARGO) build $(CARGO_FLAGS)

format:
	$(CARGO) fmt --all --check

unit: setup
	$(CARGO) test $(CARGO_FLAGS) --workspace

laws: setup
	HEMOFLOW_LAW_CASES=$(LAW_CASES) $(CARGO) test $(CARGO_FLAGS) --workspace --test main -- laws:: durable::a_kill

faults: setup
	HEMOFLOW_FAULT_ROUNDS=$(ROUNDS) $(CARGO) test $(CARGO_FLAGS) --workspace --test main -- faults::

fuzz: setup
	HEMOFLOW_FUZZ_EXECUTIONS=$(EXECUTIONS) $(CARGO) test $(CARGO_FLAGS) --workspace --test main -- fuzz:: --nocapture

fuzz-coverage: setup
	scripts/fuzz-coverage $(SECONDS)

lint: setup
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

docs: setup
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps

bench: build
	target/release/hemoflow bench kernels --quick
	target/release/hemoflow bench models --quick

# What runs beside a GPU, here without one: scripts/gpu-check build --device cuda makes the archive for the GPU.
gpu-check: setup
	scripts/gpu-check build --device cpu
	scripts/gpu-check run --device cpu --quick --out target/gpu-check-cpu

# The tests of kernels and tensors on the adapter of Vulkan, which may be a processor's (mesa-vulkan-drivers): no part of
# `make test`, since its dependencies are built once more.
wgpu: setup
	scripts/gpu-check test --device wgpu

clean:
	$(CARGO) clean
	rm -rf demo-out

#!/usr/bin/env python3
"""What PyTorch and the Triton language take on a GPU for what Hemoflow's kernels do.

    gpu.py > gpu.json
    table.py kernels.json gpu.json

Peers: `torch` (eager), `torch.compile`, `triton` (kernels written by hand, below). The problems, names and inputs are
those of `hemoflow bench kernels --device cuda --json`; inputs lie on the device and results stay there. Each peer is
compared with a plain definition first, at the same size and at most two slices; what differs, or does not compile, is
named and not timed. Times are between two events of the device, in turns with a copy of as many bytes. What is missing
is named. JSON to standard output, a table to standard error.

Needs numpy and torch with CUDA; optional: triton, and a C compiler (torch.compile and triton call one). `--device cpu`
runs the eager and compiled peers on a processor, to see that they are right; TRITON_INTERPRET=1 does so for triton's.
"""

import os
import sys

from problem import (CHANNELS, INTERCEPT_HU, NAMES, THRESHOLD, WINDOWS, Budget, Problem, arguments, chosen,
                     depth_weights, report, row, wall)

try:
    import triton
    import triton.language as tl
except ImportError as error:
    triton, TRITON_MISSING = None, str(error)

PEERS = ["torch", "torch.compile", "triton"]
KERNELS = [name for name in NAMES if name.split("/")[0] in ("window", "cam", "fuse")]


def eager(torch, kernel, to):
    """The problem as operations of torch: a function of the tensors."""
    functional = torch.nn.functional

    def window(stored, lower, width):
        out = ((stored.float()[:, None] + INTERCEPT_HU - lower) / width).clamp(0, 1)
        size = stored.shape[-1]
        if to != size:
            out = functional.interpolate(out, (to, to), mode="area" if size > to else "nearest")
        return out.half() if kernel.endswith("f16") else out

    def activation(features, weights):
        return torch.einsum("bcyx,c->byx", features, weights).clamp(min=0)

    def normalized(maps):
        large = functional.interpolate(maps[:, None], (to, to), mode="bilinear", align_corners=False)[:, 0]
        low, high = torch.amin(large, (1, 2), keepdim=True), torch.amax(large, (1, 2), keepdim=True)
        return (large - low) / (high - low)

    def region(maps):
        return (normalized(maps) > THRESHOLD).to(torch.uint8)

    def chain(features, weights):
        return region(activation(features, weights))

    def fuse(maps, weights):
        padded = functional.pad(maps, (0, 0, 0, 0, 2, 2))
        out = maps * weights[:, 2, None, None]
        for step in (0, 1, 3, 4):
            out = out + padded[step:step + len(maps)] * weights[:, step, None, None]
        return out

    return {"window/to-256": window, "window/to-256/f16": window, "window/same-size": window,
            "cam/activation": activation, "cam/normalized": normalized, "cam/region": region, "cam/chain": chain,
            "fuse": fuse}[kernel]


def tensors(np, torch, problem, device):
    """What the function of a problem takes, on the device."""
    inputs = problem.inputs()
    if problem.kernel.startswith("window"):
        lower = np.array([center - width / 2 for center, width in WINDOWS], np.float32)[:, None, None]
        inputs |= {"lower": lower, "width": np.array([width for _, width in WINDOWS], np.float32)[:, None, None]}
    if problem.kernel == "fuse":
        weights = np.zeros((problem.batch, 5), np.float32)
        for target, near in enumerate(depth_weights(np, problem.batch)):
            for other, weight in near:
                weights[target, other - target + 2] = weight
        inputs["weights"] = weights
    return [torch.from_numpy(array).to(device) for array in inputs.values()]


if triton:
    @triton.jit
    def window_same(stored, lower, width, out, pixels, intercept, BLOCK: tl.constexpr):
        b = tl.program_id(0).to(tl.int64)
        at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = at < pixels
        hu = tl.load(stored + b * pixels + at, mask=inside).to(tl.float32) + intercept
        for k in tl.static_range(3):
            value = (hu - tl.load(lower + k)) / tl.load(width + k)
            value = tl.minimum(tl.maximum(value, 0.0), 1.0)
            tl.store(out + (b * 3 + k) * pixels + at, value, mask=inside)

    @triton.jit
    def window_resized(stored, lower, width, out, size, to, intercept, FACTOR: tl.constexpr, TIMES: tl.constexpr,
                       BLOCK: tl.constexpr):
        # FACTOR source pixels to a cell, or TIMES cells to a source pixel, on each axis.
        b = tl.program_id(0).to(tl.int64)
        at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = at < to * to
        y, x = at // to * FACTOR // TIMES, at % to * FACTOR // TIMES
        corner = stored + b * size * size + y * size + x
        sums0 = tl.zeros([BLOCK], tl.float32)
        sums1 = tl.zeros([BLOCK], tl.float32)
        sums2 = tl.zeros([BLOCK], tl.float32)
        l0, l1, l2 = tl.load(lower), tl.load(lower + 1), tl.load(lower + 2)
        w0, w1, w2 = tl.load(width), tl.load(width + 1), tl.load(width + 2)
        for j in tl.static_range(FACTOR):
            for i in tl.static_range(FACTOR):
                hu = tl.load(corner + j * size + i, mask=inside).to(tl.float32) + intercept
                sums0 += tl.minimum(tl.maximum((hu - l0) / w0, 0.0), 1.0)
                sums1 += tl.minimum(tl.maximum((hu - l1) / w1, 0.0), 1.0)
                sums2 += tl.minimum(tl.maximum((hu - l2) / w2, 0.0), 1.0)
        cell = out + b * 3 * to * to + at
        tl.store(cell, sums0 / (FACTOR * FACTOR), mask=inside)
        tl.store(cell + to * to, sums1 / (FACTOR * FACTOR), mask=inside)
        tl.store(cell + 2 * to * to, sums2 / (FACTOR * FACTOR), mask=inside)

    @triton.jit
    def weigh(features, weights, out, cells, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
        b = tl.program_id(0).to(tl.int64)
        at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = at < cells
        total = tl.zeros([BLOCK], tl.float32)
        for channel in range(CHANNELS):
            total += tl.load(features + (b * CHANNELS + channel) * cells + at, mask=inside) * tl.load(weights + channel)
        tl.store(out + b * cells + at, tl.maximum(total, 0.0), mask=inside)

    @triton.jit
    def upsampled(maps, b, at, side, size):
        y = (at // size).to(tl.float32)
        x = (at % size).to(tl.float32)
        scale = side.to(tl.float32) / size.to(tl.float32)
        y = tl.minimum(tl.maximum((y + 0.5) * scale - 0.5, 0.0), side - 1.0)
        x = tl.minimum(tl.maximum((x + 0.5) * scale - 0.5, 0.0), side - 1.0)
        top, left = y.to(tl.int32), x.to(tl.int32)
        bottom, right = tl.minimum(top + 1, side - 1), tl.minimum(left + 1, side - 1)
        down, across = y - top.to(tl.float32), x - left.to(tl.float32)
        plane = maps + b * side * side
        upper = tl.load(plane + top * side + left) * (1 - across) + tl.load(plane + top * side + right) * across
        lower = tl.load(plane + bottom * side + left) * (1 - across) + tl.load(plane + bottom * side + right) * across
        return upper * (1 - down) + lower * down

    @triton.jit
    def ranges(maps, lows, highs, side, size, BLOCK: tl.constexpr):
        b, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
        at = tile * BLOCK + tl.arange(0, BLOCK)
        value = upsampled(maps, b, tl.minimum(at, size * size - 1), side, size)
        tl.store(lows + b * tl.num_programs(1) + tile, tl.min(value))
        tl.store(highs + b * tl.num_programs(1) + tile, tl.max(value))

    @triton.jit
    def shares(maps, lows, highs, out, side, size, threshold, CUT: tl.constexpr, TILES: tl.constexpr,
               BLOCK: tl.constexpr):
        b, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
        at = tile * BLOCK + tl.arange(0, BLOCK)
        inside = at < size * size
        tiles = tl.arange(0, TILES)
        present = tiles < tl.num_programs(1)
        low = tl.min(tl.load(lows + b * tl.num_programs(1) + tiles, mask=present, other=float("inf")))
        high = tl.max(tl.load(highs + b * tl.num_programs(1) + tiles, mask=present, other=float("-inf")))
        share = (upsampled(maps, b, tl.minimum(at, size * size - 1), side, size) - low) / (high - low)
        if CUT:
            tl.store(out + b * size * size + at, (share > threshold).to(tl.uint8), mask=inside)
        else:
            tl.store(out + b * size * size + at, share, mask=inside)

    @triton.jit
    def fuse_depth(maps, weights, out, slices, pixels, BLOCK: tl.constexpr):
        b = tl.program_id(0)
        at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        total = tl.zeros([BLOCK], tl.float32)
        for step in tl.static_range(5):
            slice_of = tl.where(at < pixels, b + step - 2, -1)
            there = (slice_of >= 0) & (slice_of < slices)
            plane = maps + slice_of.to(tl.int64) * pixels
            total += tl.load(plane + at, mask=there, other=0.0) * tl.load(weights + b * 5 + step)
        tl.store(out + b.to(tl.int64) * pixels + at, total, mask=at < pixels)


def by_hand(torch, problem, given, device):
    """The problem by kernels of the Triton language: a function without arguments."""
    batch, size, side, to, block = problem.batch, problem.size, problem.side, problem.to, 1024
    make = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=device)
    tiles = lambda cells: (batch, -(-cells // block))
    if problem.kernel.startswith("window"):
        out = make(batch, 3, to, to, dtype=torch.float16 if problem.kernel.endswith("f16") else torch.float32)
        if to == size:
            return lambda: (window_same[tiles(size * size)](*given, out, size * size, INTERCEPT_HU, BLOCK=block), out)[1]
        if size % to and to % size:
            raise ValueError(f"{size} to {to} is no whole factor")
        factor, times = max(size // to, 1), max(to // size, 1)
        return lambda: (window_resized[tiles(to * to)](*given, out, size, to, INTERCEPT_HU, FACTOR=factor, TIMES=times,
                                                       BLOCK=block), out)[1]
    small, weighed = 64, make(batch, side, side)
    weighers = batch, -(-side * side // small)
    run_weigh = lambda: weigh[weighers](*given, weighed, side * side, CHANNELS=CHANNELS, BLOCK=small)
    if problem.kernel == "cam/activation":
        return lambda: (run_weigh(), weighed)[1]
    if problem.kernel.startswith("cam"):
        chain, cut = problem.kernel == "cam/chain", problem.kernel != "cam/normalized"
        maps = weighed if chain else given[0]
        grid = tiles(size * size)
        lows, highs = make(*grid), make(*grid)
        out = make(batch, size, size, dtype=torch.uint8 if cut else torch.float32)
        padded = 1 << (grid[1] - 1).bit_length()

        def cam():
            if chain:
                run_weigh()
            ranges[grid](maps, lows, highs, side, size, BLOCK=block)
            shares[grid](maps, lows, highs, out, side, size, THRESHOLD, CUT=cut, TILES=padded, BLOCK=block)
            return out
        return cam
    out = make(batch, size, size)
    return lambda: (fuse_depth[tiles(size * size)](*given, out, batch, size * size, BLOCK=block), out)[1]


def runner(np, torch, peer, problem, device):
    """What runs a problem and gives its result on the device."""
    given = tensors(np, torch, problem, device)
    if peer == "triton":
        return by_hand(torch, problem, given, device)
    function = eager(torch, problem.kernel, problem.to)
    if peer == "torch.compile":
        # Each problem is compiled for itself: a later one must not fall back to what an earlier one left.
        torch._dynamo.reset()
        function = torch.compile(function, dynamic=False, fullgraph=True)
    return lambda: function(*given)


def timer(torch, device):
    """A maker of jobs: seconds between two events of a GPU, or by the clock on the wall."""
    if device == "cpu":
        return wall

    def events(run, least=2e-3, most=64):
        together = 1

        def job():
            nonlocal together
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            begin.record()
            for _ in range(together):
                run()
            end.record()
            end.synchronize()
            one, times = begin.elapsed_time(end) / 1e3 / together, together
            together = int(min(max(least // max(one, 1e-9), 1), most))
            return one, times
        return job
    return events


def main():
    parser = arguments(__doc__, 150, [256, 512, 1024], [1, 8, 64, 256])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to see that all is right")
    options = parser.parse_args()
    missing = {}
    try:
        import numpy as np
        import torch
    except ImportError as error:
        sys.exit(f"gpu.py: cannot start: {error}")
    if options.device != "cpu" and not torch.cuda.is_available():
        sys.exit("gpu.py: torch finds no GPU: say --device cpu to see that the peers are right")
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
    peers = [peer for peer in PEERS if not options.peers or peer in options.peers]
    if triton is None and "triton" in peers:
        missing["triton"] = TRITON_MISSING
    elif triton is not None:
        versions["triton"] = triton.__version__
    if options.device == "cpu" and "triton" in peers and not os.environ.get("TRITON_INTERPRET"):
        missing.setdefault("triton", "needs a GPU, or TRITON_INTERPRET=1")
    peers = [peer for peer in peers if peer not in missing]
    timed = timer(torch, options.device)
    name = "cpu" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    cases = [(*case, peer) for case in chosen(options) if case[0] in KERNELS for peer in peers]
    budget, rows, skipped, checked = Budget(options.seconds, len(cases), options.quick), [], [], {}
    for kernel, size, batch, peer in cases:
        problem = Problem(np, kernel, size, batch, mask_bits=1)

        def leave_out(reason):
            skipped.append({"kernel": kernel, "size": size, "batch": batch, "peer": peer, "threads": None,
                            "reason": reason})

        share = budget.next()
        if share is None:
            leave_out("out of time: say more --seconds")
            continue
        # Eager operations hold what lies between them as well.
        if problem.bytes * 6 > options.memory * 2**30:
            leave_out(f"it would hold {problem.bytes * 6 >> 20} MiB: say more --memory")
            continue
        try:
            with torch.inference_mode():
                if (kernel, size, peer) not in checked:
                    small = Problem(np, kernel, size, min(batch, 2))
                    result = runner(np, torch, peer, small, options.device)()
                    checked[kernel, size, peer] = small.difference(result.cpu().numpy(), small.inputs())
                if checked[kernel, size, peer] > problem.tolerance():
                    leave_out(f"it differs from the definition by {checked[kernel, size, peer]:.3g}")
                    continue
                run = runner(np, torch, peer, problem, options.device)
                source = torch.ones(max(problem.bytes // 2, 1), dtype=torch.uint8, device=options.device)
                target = torch.empty_like(source)
                ours, copied = budget.in_turns(share, [timed(run), timed(lambda: target.copy_(source))])
        except Exception as error:  # A compiler or a device that fails is told, and the others go on.
            leave_out(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}")
            continue
        print(f"{kernel}, {batch} of {size} x {size}, {peer}: {ours['milliseconds']['median']:.4f} ms", file=sys.stderr)
        rows.append(row(problem, peer, None, ours, copied, checked[kernel, size, peer]))
    report("gpu.py", name, versions, missing, rows, skipped)


if __name__ == "__main__":
    main()

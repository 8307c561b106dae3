#!/usr/bin/env python3
"""What numpy, OpenCV, scipy, cc3d and torch take on a processor for what Hemoflow's kernels do.

    cpu.py > cpu.json
    table.py kernels.json cpu.json

The problems, names and inputs are those of `hemoflow bench kernels --json`. Each library is compared with a plain
definition first, at the same size and at most two slices; what differs is named and not timed. Then it is timed in
turns with a copy of as many bytes, on one thread and on all: a library without threads of its own works on slices by a
pool of threads. Missing libraries are named and left out. JSON to standard output, a table to standard error.

Needs numpy; optional: opencv-python-headless, scipy, connected-components-3d, torch.
"""

import importlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from problem import (BINS, CHANNELS, DISK, INTERCEPT_HU, LOWEST_HU, SPACING_MM, THRESHOLD, WINDOWS, Budget, Problem,
                     area_weights, arguments, bilinear_weights, chosen, depth_weights, report, row, wall)

# Threads are those of the pool.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

LIBRARIES = {"numpy": "numpy", "opencv": "cv2", "scipy": "scipy.ndimage", "cc3d": "cc3d", "torch": "torch"}


def numpy_slices(np, problem, inputs):
    """(per slice, outputs) with numpy, or None: fills slice `i` of the outputs."""
    kernel, size, batch, to = problem.kernel, problem.size, problem.batch, problem.to
    if kernel.startswith("window"):
        kind = np.float16 if kernel.endswith("f16") else np.float32
        stored, out, area = inputs["stored"], np.empty((batch, 3, to, to), kind), area_weights(np, size, to)
        block, times = size // to, to // size

        def one(i):
            plane = stored[i].astype(np.float32)
            for k, (center, width) in enumerate(WINDOWS):
                scaled = plane * np.float32(1 / width)
                scaled += np.float32((INTERCEPT_HU - center + width / 2) / width)
                np.clip(scaled, 0, 1, out=scaled)
                if to == size:
                    out[i, k] = scaled
                elif block * to == size:
                    scaled.reshape(to, block, to, block).mean((1, 3), out=out[i, k])
                elif times * size == to:
                    out[i, k].reshape(size, times, size, times)[:] = scaled[:, None, :, None]
                else:
                    out[i, k] = area @ scaled @ area.T
        return one, out
    if kernel == "cam/activation":
        features, weights = inputs["features"].reshape(batch, CHANNELS, -1), inputs["weights"]
        out = np.empty((batch, features.shape[2]), np.float32)

        def one(i):
            np.matmul(weights, features[i], out=out[i])
            np.maximum(out[i], 0, out=out[i])
        return one, out
    if kernel in ("cam/normalized", "cam/region", "cam/chain"):
        up, side = bilinear_weights(np, problem.side, size), problem.side
        region = kernel != "cam/normalized"
        if kernel == "cam/chain":
            features, weights = inputs["features"].reshape(batch, CHANNELS, -1), inputs["weights"]
            map_of = lambda i: np.maximum(weights @ features[i], 0).reshape(side, side)
        else:
            map_of = inputs["maps"].__getitem__
        out = np.empty((batch, size, size), np.uint8 if region else np.float32)

        def one(i):
            large = up @ map_of(i) @ up.T
            low = large.min()
            large -= low
            if region:
                np.greater(large, THRESHOLD * large.max(), out=out[i].view(bool))
            else:
                np.multiply(large, 1 / large.max(), out=out[i])
        return one, out
    if kernel == "fuse":
        maps, terms = inputs["maps"], depth_weights(np, batch)
        out = np.empty_like(maps)

        def one(i):
            (other, weight), *more = terms[i]
            np.multiply(maps[other], np.float32(weight), out=out[i])
            for other, weight in more:
                out[i] += maps[other] * np.float32(weight)
        return one, out
    if kernel == "histogram":
        stored, region, out = inputs["stored"], inputs["region"], np.zeros((batch, BINS), np.int64)

        def one(i):
            values = stored[i][region[i].view(bool)]
            bins = np.clip(values - np.int16(LOWEST_HU - INTERCEPT_HU), 0, BINS - 1)
            out[i] = np.bincount(bins, minlength=BINS)
        return one, out
    if kernel == "overlap":
        mask, truth, out = inputs["mask"], inputs["truth"], np.zeros((batch, 3), np.int64)

        def one(i):
            out[i] = np.count_nonzero(mask[i]), np.count_nonzero(truth[i]), np.count_nonzero(mask[i] & truth[i])
        return one, out
    if kernel == "pack":
        mask, out = inputs["mask"], np.empty((batch, size * size // 8), np.uint8)

        def one(i):
            out[i] = np.packbits(mask[i].reshape(-1), bitorder="little")
        return one, out
    return None


def opencv_slices(np, cv2, problem, inputs):
    """(per slice, outputs) with OpenCV, or None."""
    kernel, size, batch, to = problem.kernel, problem.size, problem.batch, problem.to
    if kernel in ("window/to-256", "window/same-size"):
        stored, out = inputs["stored"], np.empty((batch, 3, to, to), np.float32)
        area = cv2.INTER_AREA if size > to else cv2.INTER_NEAREST

        def one(i):
            for k, (center, width) in enumerate(WINDOWS):
                target = out[i, k] if to == size else None
                scaled = cv2.multiply(stored[i], 1 / width, dst=target, dtype=cv2.CV_32F)
                scaled = cv2.add(scaled, (INTERCEPT_HU - center + width / 2) / width, dst=target)
                scaled = cv2.min(cv2.max(scaled, 0.0, dst=target), 1.0, dst=target)
                if to != size:
                    cv2.resize(scaled, (to, to), dst=out[i, k], interpolation=area)
        return one, out
    if kernel in ("cam/normalized", "cam/region"):
        maps = inputs["maps"]
        out = np.empty((batch, size, size), np.uint8 if kernel == "cam/region" else np.float32)

        def one(i):
            large = cv2.resize(maps[i], (size, size), interpolation=cv2.INTER_LINEAR)
            if kernel == "cam/normalized":
                cv2.normalize(large, out[i], 0, 1, cv2.NORM_MINMAX)
            else:
                low, high, _, _ = cv2.minMaxLoc(large)
                above = cv2.compare(large, low + THRESHOLD * (high - low), cv2.CMP_GT)
                cv2.bitwise_and(above, 1, dst=out[i])
        return one, out
    if kernel == "fuse":
        maps, terms = inputs["maps"], depth_weights(np, batch)
        out = np.empty_like(maps)

        def one(i):
            (other, weight), *more = terms[i]
            cv2.multiply(maps[other], weight, dst=out[i])
            for other, weight in more:
                cv2.scaleAdd(maps[other], weight, out[i], dst=out[i])
        return one, out
    if kernel == "morphology/close":
        steps = np.arange(-DISK, DISK + 1)
        disk = (steps[:, None] ** 2 + steps ** 2 <= DISK * DISK).astype(np.uint8)
        mask = inputs["mask"]
        out = np.empty_like(mask)
        return lambda i: cv2.morphologyEx(mask[i], cv2.MORPH_CLOSE, disk, dst=out[i]), out
    if kernel == "distance":
        mask = inputs["mask"]
        out = np.empty(mask.shape, np.float32)

        def one(i):
            cv2.distanceTransform(1 - mask[i], cv2.DIST_L2, cv2.DIST_MASK_PRECISE, dst=out[i])
            out[i] *= np.float32(SPACING_MM)
        return one, out
    return None


def scipy_slices(np, ndimage, problem, inputs):
    """(per slice, outputs) with scipy, or None."""
    mask = inputs.get("mask")
    if problem.kernel == "morphology/close":
        steps = np.arange(-DISK, DISK + 1)
        disk = steps[:, None] ** 2 + steps ** 2 <= DISK * DISK
        out = np.empty_like(mask)

        def one(i):
            wide = ndimage.binary_dilation(mask[i], disk)
            out[i] = ndimage.binary_erosion(wide, disk, border_value=1)
        return one, out
    if problem.kernel == "distance":
        out = np.empty(mask.shape, np.float32)

        def one(i):
            out[i] = ndimage.distance_transform_edt(mask[i] == 0, sampling=SPACING_MM)
        return one, out
    return None


def whole_volume(np, library, module, problem, inputs):
    """A run over the whole volume on one thread, or None."""
    if problem.kernel != "components":
        return None
    if library == "scipy":
        return lambda: module.label(inputs["mask"], np.ones((3, 3, 3)))[0]
    if library == "cc3d":
        return lambda: module.connected_components(inputs["mask"], connectivity=26)
    return None


def torch_run(np, torch, problem, inputs):
    """A run over the whole batch with torch, or None."""
    kernel, size, to = problem.kernel, problem.size, problem.to
    functional = torch.nn.functional
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    if kernel.startswith("window"):
        lower = torch.tensor([center - width / 2 for center, width in WINDOWS])[:, None, None]
        width = torch.tensor([width for _, width in WINDOWS])[:, None, None]

        def window():
            hu = tensors["stored"].float() + INTERCEPT_HU
            out = ((hu[:, None] - lower) / width).clamp_(0, 1)
            if to != size:
                out = functional.interpolate(out, (to, to), mode="area" if size > to else "nearest")
            return out.half() if kernel.endswith("f16") else out
        return window
    weigh = lambda: torch.einsum("bcyx,c->byx", tensors["features"], tensors["weights"]).clamp_(min=0)
    if kernel == "cam/activation":
        return weigh
    if kernel in ("cam/normalized", "cam/region", "cam/chain"):
        def cam():
            maps = weigh() if kernel == "cam/chain" else tensors["maps"]
            large = functional.interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]
            low, high = (edge(large, (1, 2), keepdim=True) for edge in (torch.amin, torch.amax))
            shares = (large - low) / (high - low)
            return shares if kernel == "cam/normalized" else (shares > THRESHOLD).to(torch.uint8)
        return cam
    if kernel == "fuse":
        terms = depth_weights(np, problem.batch)
        weights = torch.zeros(problem.batch, problem.batch)
        for target, near in enumerate(terms):
            for other, weight in near:
                weights[target, other] = weight

        def fuse():
            maps = tensors["maps"]
            out = maps * weights.diagonal()[:, None, None]
            for step in range(1, min(3, len(maps))):
                out[step:].addcmul_(maps[:-step], weights.diagonal(-step)[:, None, None])
                out[:-step].addcmul_(maps[step:], weights.diagonal(step)[:, None, None])
            return out
        return fuse
    if kernel == "histogram":
        def histogram():
            bins = (tensors["stored"][tensors["region"].bool()] - int(LOWEST_HU - INTERCEPT_HU)).clamp_(0, BINS - 1)
            return torch.bincount(bins, minlength=BINS)
        return histogram
    if kernel == "overlap":
        def overlap():
            mask, truth = tensors["mask"], tensors["truth"]
            return torch.stack([each.count_nonzero() for each in (mask, truth, mask & truth)])
        return overlap
    return None


def runner(np, library, module, problem, threads, pool):
    """(run, result): what is timed, and what gives the result as an array; None if the library cannot."""
    inputs = problem.inputs()
    if library == "torch":
        module.set_num_threads(threads)
        run = torch_run(np, module, problem, inputs)
        return run and (run, lambda: run().numpy(), inputs)
    run = whole_volume(np, library, module, problem, inputs)
    if run:
        return (run, run, inputs) if threads == 1 else None
    if library == "numpy":
        slices = numpy_slices(np, problem, inputs)
    elif library == "opencv":
        slices = opencv_slices(np, module, problem, inputs)
    elif library == "scipy":
        slices = scipy_slices(np, module, problem, inputs)
    else:
        slices = None
    if not slices or threads > 1 and problem.batch == 1:
        return None
    one, out = slices
    parts = [range(begin, problem.batch, threads) for begin in range(threads)]

    def part(indices):
        for i in indices:
            one(i)

    def run():
        if threads == 1:
            part(parts[0])
        else:
            list(pool.map(part, parts))

    def result():
        run()
        return out.sum(0) if problem.kernel in ("histogram", "overlap") else out
    return run, result, inputs


def copy_job(np, size, threads, pool):
    """The faster copy of `size` bytes, read and written together: on one thread or on all."""
    source, target = np.ones(max(size // 2, 1), np.uint8), np.empty(max(size // 2, 1), np.uint8)
    cuts = [len(source) * part // threads for part in range(threads + 1)]

    def part(k):
        np.copyto(target[cuts[k]:cuts[k + 1]], source[cuts[k]:cuts[k + 1]])

    alone, shared = (lambda: np.copyto(target, source)), (lambda: list(pool.map(part, range(threads))))
    jobs = [wall(alone)] + ([wall(shared)] if threads > 1 else [])
    for job in jobs:
        job()
    best = [min(job()[0] for _ in range(3)) for job in jobs]
    return jobs[best.index(min(best))]


def main():
    parser = arguments(__doc__, 150, [128, 256, 512, 1024], [1, 8, 64, 256])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="as many beside one (default %(default)s)")
    options = parser.parse_args()
    modules, versions, missing = {}, {}, {}
    for library, module in LIBRARIES.items():
        if options.peers and library not in options.peers and library != "numpy":
            continue
        try:
            modules[library] = importlib.import_module(module)
            root = importlib.import_module(module.split(".")[0])
            versions[library] = getattr(root, "__version__", "unknown")
        except ImportError as error:
            missing[library] = str(error)
    if "numpy" not in modules:
        sys.exit(f"cpu.py: numpy is missing: {missing['numpy']}")
    np = modules["numpy"]
    if "opencv" in modules:
        modules["opencv"].setNumThreads(1)
    counts = sorted({1, options.threads})
    wanted = [library for library in modules if not options.peers or library in options.peers]
    cases = [(*case, library, threads) for case in chosen(options) for library in wanted for threads in counts]
    pool, rows, skipped, checked = ThreadPoolExecutor(options.threads), [], [], {}
    # Only what a library can do counts for the time that each case gets.
    able, probe = {}, {}
    for kernel, *_, library, threads in cases:
        if (kernel, library) not in able:
            problem = probe.setdefault(kernel, Problem(np, kernel, 128, 2))
            able[kernel, library] = runner(np, library, modules[library], problem, 1, pool) is not None
    cases = [case for case in cases if able[case[0], case[3]]]
    budget = Budget(options.seconds, len(cases), options.quick)
    for kernel, size, batch, library, threads in cases:
        problem = Problem(np, kernel, size, batch)

        def leave_out(reason):
            skipped.append({"kernel": kernel, "size": size, "batch": batch, "peer": library, "threads": threads,
                            "reason": reason})

        share = budget.next()
        if share is None:
            leave_out("out of time: say more --seconds")
            continue
        if problem.bytes * 2 > options.memory * 2**30:
            leave_out(f"it would hold {problem.bytes * 2 >> 20} MiB: say more --memory")
            continue
        key = kernel, size, library, threads
        if key not in checked:
            small = Problem(np, kernel, size, min(batch, 2))
            trial = runner(np, library, modules[library], small, 1, pool)
            checked[key] = small.difference(trial[1](), trial[2])
        if checked[key] > problem.tolerance():
            leave_out(f"it differs from the definition by {checked[key]:.3g}")
            continue
        made = runner(np, library, modules[library], problem, threads, pool)
        if made is None:
            continue
        copy = copy_job(np, problem.bytes, threads, pool)
        ours, copied = budget.in_turns(share, [wall(made[0]), copy])
        print(f"{kernel}, {batch} of {size} x {size}, {library} on {threads}: {ours['milliseconds']['median']:.3f} ms", file=sys.stderr)
        rows.append(row(problem, library, threads, ours, copied, checked[key]))
    report("cpu.py", "cpu", versions, missing, rows, skipped)


if __name__ == "__main__":
    main()

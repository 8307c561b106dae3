"""The problems that `hemoflow bench kernels` measures, for other libraries: inputs, definitions, bytes, clock, report.

A problem has the name, the size (rows and columns of a slice) and the batch (slices) of a row of
`hemoflow bench kernels --json`, and the same inputs. `bytes` are the fewest that it moves: each input read once, each
output written once. An element of a mask is a byte on a processor and a bit on a GPU, where Hemoflow's kernels know no
other; that a library writes a byte there is a part of what it takes.
"""

import argparse
import json
import os
import platform
import sys
import time

WINDOWS = [(40.0, 80.0), (80.0, 200.0), (600.0, 2800.0)]
INTERCEPT_HU = -1024.0
REDUCTION = 16
CHANNELS = 512
THRESHOLD = 0.5
BINS, LOWEST_HU = 151, -10
DISK = 5
SPACING_MM = 0.45
NAMES = [
    "window/to-256", "window/to-256/f16", "window/same-size", "cam/activation", "cam/normalized", "cam/region",
    "cam/chain", "fuse", "histogram", "morphology/close", "distance", "components", "overlap", "pack",
]


def head(np, size):
    """A bright ring around noise, [size, size] stored values."""
    index = np.arange(size * size)
    noise = index * 7919 % 61 - 30
    y, x = (np.abs(2 * place + 1 - size) for place in (index // size, index % size))
    away = y * y + x * x
    brain, skull = (size * 400 // 500) ** 2, (size * 450 // 500) ** 2
    value = np.where(away < brain, 1059 + noise, np.where(away < skull, 1924 + noise, 24 + np.abs(noise)))
    return value.astype(np.int16).reshape(size, size)


def numbers(np, count):
    return ((np.arange(count) * 7919 % 1009) / np.float32(1009)).astype(np.float32)


def speckles(np, count):
    return (np.arange(count) * 7919 % 1009 < 400).astype(np.uint8)


def bilinear_weights(np, source, target):
    """[target, source]: linear interpolation between centers of pixels, the outermost ones repeated."""
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(np.floor(at).astype(int), max(source - 2, 0))
    weights = np.zeros((target, source))
    weights[np.arange(target), low] += 1 - (at - low)
    weights[np.arange(target), np.minimum(low + 1, source - 1)] += at - low
    return weights.astype(np.float32)


def area_weights(np, source, target):
    """[target, source]: the share of each source pixel in a target pixel."""
    edges = np.arange(target + 1) * source / target
    begin, end = edges[:-1, None], edges[1:, None]
    pixel = np.arange(source)[None, :]
    overlap = np.clip(np.minimum(end, pixel + 1) - np.maximum(begin, pixel), 0, None)
    return (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)


def depth_weights(np, slices):
    """For each slice, (neighbor, weight): 5 mm apart, two on each side, weight falling to 0 at 12 mm."""
    terms = []
    for target in range(slices):
        near = [(other, 1 - abs(other - target) * 5 / 12) for other in range(target - 2, target + 3)]
        near = [(other, weight) for other, weight in near if 0 <= other < slices and weight > 0]
        total = sum(weight for _, weight in near)
        terms.append([(other, weight / total) for other, weight in near])
    return terms


class Problem:
    """One kernel at one size and batch: its inputs, and what must come out."""

    def __init__(self, np, kernel, size, batch, mask_bits=8):
        self.np, self.kernel, self.size, self.batch = np, kernel, size, batch
        self.to = 256 if kernel.startswith("window/to-256") else size
        self.side = size // REDUCTION
        pixels, cells = batch * size * size, batch * self.side * self.side
        mask = pixels * mask_bits // 8
        self.bytes = {
            "window/to-256": pixels * 2 + batch * 3 * 256 * 256 * 4,
            "window/to-256/f16": pixels * 2 + batch * 3 * 256 * 256 * 2,
            "window/same-size": pixels * (2 + 3 * 4),
            "cam/activation": cells * (CHANNELS + 1) * 4,
            "cam/normalized": (cells + pixels) * 4,
            "cam/region": cells * 4 + mask,
            "cam/chain": cells * CHANNELS * 4 + mask,
            "fuse": pixels * 8,
            "histogram": pixels * 2 + mask + BINS * 4,
            "morphology/close": pixels * 2,
            "distance": pixels * 5,
            "components": pixels * 5,
            "overlap": pixels * 2,
            "pack": pixels + pixels // 8,
        }[kernel]

    def inputs(self):
        """The arrays of the problem, by name."""
        np, size, batch, side = self.np, self.size, self.batch, self.side
        kind = self.kernel.split("/")[0]
        if kind == "window":
            return {"stored": np.repeat(head(np, size)[None], batch, 0)}
        if self.kernel in ("cam/activation", "cam/chain"):
            features = numbers(np, batch * CHANNELS * side * side).reshape(batch, CHANNELS, side, side)
            return {"features": features, "weights": numbers(np, CHANNELS)}
        if kind == "cam":
            return {"maps": numbers(np, batch * side * side).reshape(batch, side, side)}
        if kind == "fuse":
            return {"maps": numbers(np, batch * size * size).reshape(batch, size, size)}
        if kind == "histogram":
            stored = np.repeat(head(np, size)[None], batch, 0)
            return {"stored": stored, "region": np.ones(stored.shape, np.uint8)}
        if kind in ("morphology", "distance"):
            bright = (head(np, size) > 1324).astype(np.uint8)
            return {"mask": np.repeat(bright[None], batch, 0)}
        mask = speckles(np, batch * size * size).reshape(batch, size, size)
        if kind == "overlap":
            return {"mask": mask, "truth": np.ascontiguousarray(mask[:, ::-1])}
        return {"mask": mask}

    def definition(self, inputs):
        """What must come out, written down plainly."""
        np, size, to, side = self.np, self.size, self.to, self.side
        kind = self.kernel.split("/")[0]
        if kind == "window":
            area = area_weights(np, size, to)
            hu = inputs["stored"].astype(np.float32) + np.float32(INTERCEPT_HU)
            planes = [np.clip((hu - (center - width / 2)) / width, 0, 1) for center, width in WINDOWS]
            return np.stack([area @ plane @ area.T for plane in planes], 1)
        if kind == "cam":
            maps = inputs["maps"] if "maps" in inputs else None
            if maps is None:
                maps = np.maximum(np.einsum("bcyx,c->byx", inputs["features"], inputs["weights"]), 0)
            if self.kernel == "cam/activation":
                return maps
            up = bilinear_weights(np, side, size)
            maps = up @ maps @ up.T
            low, high = (edge(maps, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
            shares = (maps - low) / (high - low)
            return shares if self.kernel == "cam/normalized" else (shares > THRESHOLD).astype(np.uint8)
        if kind == "fuse":
            terms = depth_weights(np, self.batch)
            return np.stack([sum(weight * inputs["maps"][other] for other, weight in near) for near in terms])
        if kind == "histogram":
            hu = np.rint(inputs["stored"] + INTERCEPT_HU).astype(int)
            bins = np.clip(hu - LOWEST_HU, 0, BINS - 1)[inputs["region"] != 0]
            return np.bincount(bins, minlength=BINS)
        mask = inputs["mask"]
        if kind == "overlap":
            truth = inputs["truth"]
            return np.array([mask.sum(), truth.sum(), (mask & truth).sum()], np.int64)
        if kind == "pack":
            bits = mask.reshape(-1, 8).astype(int) << np.arange(8)
            return bits.sum(1).astype(np.uint8)
        return None

    def difference(self, actual, inputs):
        """The largest difference from what must come out; 1 for each wrong cell of what is counted or cut."""
        np = self.np
        if self.kernel == "components":
            return components_differ(np, actual, inputs["mask"])
        expected = self.definition(inputs)
        if expected is None:
            expected = {"morphology/close": slow_close, "distance": slow_distance}[self.kernel](np, inputs["mask"])
        if self.kernel in ("cam/region", "cam/chain"):
            shares = Problem(np, "cam/normalized", self.size, self.batch).definition(inputs)
            near = np.abs(shares - THRESHOLD) < 1e-4
            return float(((actual.reshape(expected.shape) != expected) & ~near).sum())
        return float(np.abs(actual.reshape(expected.shape).astype(np.float64) - expected).max())

    def tolerance(self):
        if self.kernel == "cam/activation":
            return 1e-2
        if self.kernel.endswith("f16"):
            return 1e-3
        return 1e-4 if self.kernel.split("/")[0] in ("window", "cam", "fuse", "distance") else 0.0


def slow_close(np, mask):
    """Closing by a disk; what lies outside of the plane changes nothing."""
    disk = [(y, x) for y in range(-DISK, DISK + 1) for x in range(-DISK, DISK + 1) if y * y + x * x <= DISK * DISK]

    def spread(planes):
        padded = np.pad(planes, ((0, 0), (DISK, DISK), (DISK, DISK)))
        rows, columns = planes.shape[1:]
        result = np.zeros_like(planes)
        for y, x in disk:
            result |= padded[:, DISK + y:DISK + y + rows, DISK + x:DISK + x + columns]
        return result

    return 1 - spread(1 - spread(mask))


def slow_distance(np, mask):
    """The distance to the next pixel of the mask, a row of targets at a time."""
    result = np.empty(mask.shape, np.float32)
    for plane, out in zip(mask, result):
        inside = plane.astype(bool)
        around = np.pad(inside, 1)
        # The next pixel of a mask lies at its border.
        deep = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        ys, xs = np.nonzero(inside & ~deep)
        columns = np.arange(plane.shape[1])[:, None]
        for row in range(plane.shape[0]):
            squares = (ys - row) ** 2 + (xs - columns) ** 2
            out[row] = np.sqrt(squares.min(1)) * SPACING_MM
        out[inside] = 0
    return result


def components_differ(np, labels, mask):
    """Elements whose label is no relabeling of the right components: 26 neighbors, found by flooding."""
    labels = labels.reshape(mask.shape)
    if ((labels != 0) != (mask != 0)).any():
        return float(((labels != 0) != (mask != 0)).sum())
    own = np.where(mask != 0, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        grown = own
        for axis in range(3):
            width = [(1, 1) if a == axis else (0, 0) for a in range(3)]
            padded = np.pad(grown, width)
            parts = [padded.take(range(k, k + mask.shape[axis]), axis) for k in range(3)]
            grown = np.maximum(np.maximum(parts[0], parts[1]), parts[2])
        grown = np.where(mask != 0, grown, 0)
        if (grown == own).all():
            break
        own = grown
    pairs = np.unique(np.stack([own[mask != 0], labels[mask != 0].astype(np.int64)], 1), axis=0)
    many = [len(pairs) - len(np.unique(pairs[:, side])) for side in (0, 1)]
    return float(sum(many))


def spread(values):
    """Nearest ranks, as `hemoflow bench` takes them."""
    values = sorted(values)
    rank = lambda percent: values[max(1, -(-len(values) * percent // 100)) - 1]
    return {"count": len(values), "p10": rank(10), "median": rank(50), "p90": rank(90), "p99": rank(99)}


class Budget:
    """The time that is left for the cases that are left."""

    def __init__(self, seconds, cases, quick):
        self.end, self.cases, self.most = time.perf_counter() + seconds, cases, 3 if quick else 51

    def next(self):
        left = self.end - time.perf_counter()
        share = left / max(self.cases, 1) / 2
        self.cases -= 1
        return share if left > 0 else None

    def in_turns(self, share, jobs):
        """What each job takes, which runs some times and says how often and how many seconds one took."""
        for job in jobs:
            job()
        samples, worked, start = [[] for _ in jobs], [0.0 for _ in jobs], time.perf_counter()
        for turn in range(self.most):
            may = share * 3 if turn < 3 else share
            if turn and time.perf_counter() - start >= may:
                break
            for k, job in enumerate(jobs):
                before = time.process_time()
                one, times = job()
                samples[k].append(one * 1e3)
                worked[k] += (time.process_time() - before) * 1e3 / times
        return [{"milliseconds": spread(taken), "cpu_milliseconds": cpu / len(taken)}
                for taken, cpu in zip(samples, worked)]


def wall(run, least=2e-3, most=64):
    """A job that times calls by the clock on the wall, several at once where one is short."""
    together = 1

    def job():
        nonlocal together
        begin = time.perf_counter()
        for _ in range(together):
            run()
        one, times = (time.perf_counter() - begin) / together, together
        together = int(min(max(least // max(one, 1e-9), 1), most))
        return one, times

    return job


def row(problem, peer, threads, ours, copy, difference):
    """A row of the report."""
    rate = lambda taken: problem.bytes / 1e6 / taken["milliseconds"]["median"]
    return {
        "kernel": problem.kernel, "size": problem.size, "batch": problem.batch, "peer": peer, "threads": threads,
        "bytes": problem.bytes, **ours, "gigabytes_per_second": rate(ours),
        "copy": {**copy, "gigabytes_per_second": rate(copy)},
        "share_of_copy": copy["milliseconds"]["median"] / ours["milliseconds"]["median"], "largest_difference": difference,
    }


def arguments(description, seconds, sizes, batches):
    """The command line that all scripts share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole = lambda text: [int(word) for word in text.split(",")]
    parser.add_argument("--sizes", type=whole, default=sizes, help="rows and columns of the slices, multiples of 32")
    parser.add_argument("--batches", type=whole, default=batches, help="slices at once")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="kernels whose names contain one")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[], help="only these libraries")
    parser.add_argument("--seconds", type=float, default=seconds, help="end after about so many (default %(default)s)")
    parser.add_argument("--memory", type=float, default=4, help="leave out what would hold more GiB")
    parser.add_argument("--json", action="store_true", help="JSON on standard output, as always")
    parser.add_argument("--quick", action="store_true", help="one small size, two batches, three samples")
    return parser


def chosen(options):
    """Names, sizes and batches that were asked for, small problems first."""
    if options.quick:
        options.sizes, options.batches = [128], [1, 8]
    wanted = lambda name: not options.only or any(part in name for part in options.only)
    cases = [(name, size, batch) for name in NAMES if wanted(name) for size in options.sizes for batch in options.batches]
    return sorted(cases, key=lambda case: case[1] * case[1] * case[2])


def machine():
    """What this runs on."""
    model = ""
    try:
        with open("/proc/cpuinfo") as lines:
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def report(script, device, versions, missing, rows, skipped):
    """JSON on standard output, a table on standard error."""
    rows.sort(key=lambda row: (NAMES.index(row["kernel"]), row["size"], row["batch"], row["peer"], row["threads"] or 0))
    say = lambda text: print(text, file=sys.stderr)
    say(f"{'kernel':<18} {'size':>5} {'batch':>5} {'peer':<22} {'threads':>7} {'median ms':>10} {'GB/s':>8} {'of copy':>8}")
    for r in rows:
        say(f"{r['kernel']:<18} {r['size']:>5} {r['batch']:>5} {r['peer']:<22} {r['threads'] or '-':>7} "
            f"{r['milliseconds']['median']:>10.4f} {r['gigabytes_per_second']:>8.2f} {r['share_of_copy'] * 100:>6.1f} %")
    for name, why in missing.items():
        say(f"missing: {name}: {why}")
    for left in skipped:
        say(f"left out: {left['kernel']}, {left['batch']} of {left['size']} x {left['size']}, {left['peer']}: {left['reason']}")
    json.dump({"script": script, "device": device, "machine": machine(), "versions": versions, "missing": missing,
               "peers": rows, "skipped": skipped}, sys.stdout, indent=1)
    print()

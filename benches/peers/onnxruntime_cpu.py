#!/usr/bin/env python3
"""Times onnxruntime on the processor: the encoder (a residual network) and the segmenter (a U-Net) with random weights.

The table goes to stderr, JSON to stdout: times in milliseconds per slice. CPU time is that of all threads; on a busy
machine it is the figure to compare. Shapes come from the arguments or from a model card:

    python3 -m pip install numpy onnx onnxruntime
    python3 benches/peers/onnxruntime_cpu.py                               # ResNet-18 of the standard width, 256 x 256
    python3 benches/peers/onnxruntime_cpu.py --card models/hemoflow.json
"""

import argparse
import json
import statistics
import sys
import time

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def packages():
    """The packages that this needs, or an end that names those that are missing."""
    found, missing = [], []
    for name in ("numpy", "onnx", "onnxruntime"):
        try:
            found.append(__import__(name))
        except ImportError:
            missing.append(name)
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; python3 -m pip install {' '.join(missing)}")
    return found


class Graph:
    """A network that is being written, with random weights."""

    def __init__(self, numpy, onnx):
        self.numpy, self.onnx = numpy, onnx
        self.random = numpy.random.default_rng(0)
        self.nodes, self.weights = [], []

    def weight(self, shape, scale, offset=0.0):
        name = f"w{len(self.weights)}"
        values = (offset + self.random.normal(0.0, scale, shape)).astype(self.numpy.float32)
        self.weights.append(self.onnx.numpy_helper.from_array(values, name))
        return name

    def add(self, operator, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def convolution(self, image, channels, out, side, stride=1):
        """With a bias: the normalization of the encoder is folded into it."""
        pad = side // 2 if side % 2 else 0
        weight = self.weight((out, channels, side, side), (2.0 / (channels * side * side)) ** 0.5)
        return self.add("Conv", image, weight, self.weight((out,), 0.1), kernel_shape=[side, side],
                        strides=[stride, stride], pads=[pad] * 4)

    def transposed(self, image, channels, out, side):
        weight = self.weight((channels, out, side, side), (2.0 / channels) ** 0.5)
        return self.add("ConvTranspose", image, weight, self.weight((out,), 0.1), kernel_shape=[side, side],
                        strides=[side, side])

    def normalized(self, image, channels):
        parameters = [self.weight((channels,), 0.1, offset) for offset in (1.0, 0.0, 0.0)]
        variance = self.weight((channels,), 0.01, 1.0)
        return self.add("BatchNormalization", image, *parameters, variance)

    def bytes(self, result, shape):
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(self.nodes, "network", [helper.make_tensor_value_info("images", kind, shape)],
                                  [helper.make_tensor_value_info(result, kind, None)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model.SerializeToString()


def encoder(graph, shapes):
    """ResNet (He et al., CVPR 2016, table 1)."""
    width, bottleneck = shapes.width, shapes.arch in ("resnet50", "resnet101")
    out = graph.add("Relu", graph.convolution("images", shapes.windows, width, 7, 2))
    out = graph.add("MaxPool", out, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = width
    for stage, blocks in enumerate(BLOCKS[shapes.arch]):
        planes = width << stage
        result = planes * (4 if bottleneck else 1)
        for block in range(blocks):
            first = 1 if stage == 0 or (stage == 3 and shapes.last_stride_one) else 2
            stride = first if block == 0 else 1
            identity = out
            if stride != 1 or channels != result:
                identity = graph.convolution(out, channels, result, 1, stride)
            if bottleneck:
                out = graph.add("Relu", graph.convolution(out, channels, planes, 1))
                out = graph.add("Relu", graph.convolution(out, planes, planes, 3, stride))
                out = graph.convolution(out, planes, result, 1)
            else:
                out = graph.add("Relu", graph.convolution(out, channels, planes, 3, stride))
                out = graph.convolution(out, planes, result, 3)
            out = graph.add("Relu", graph.add("Add", out, identity))
            channels = result
    return out


def segmenter(graph, shapes):
    """U-Net (Ronneberger et al., MICCAI 2015) on patches, with normalizations after the ReLU."""
    patch, width = shapes.unet_patch, shapes.unet_width

    def level(image, channels, out):
        for _ in range(2):
            image = graph.normalized(graph.add("Relu", graph.convolution(image, channels, out, 3)), out)
            channels = out
        return image

    out, channels = "images", 1
    if patch > 1:
        channels = patch * patch
        out = graph.convolution(out, 1, channels, patch, patch)
    skips = []
    for depth in range(4):
        out = level(out, channels, width << depth)
        channels = width << depth
        skips.append(out)
        out = graph.add("MaxPool", out, kernel_shape=[2, 2], strides=[2, 2])
    out = level(out, channels, width << 4)
    for depth in reversed(range(4)):
        up = graph.transposed(out, width << (depth + 1), width << depth, 2)
        out = level(graph.add("Concat", skips[depth], up, axis=1), width << (depth + 1), width << depth)
    return graph.transposed(out, width, 1, patch)


def measure(onnxruntime, numpy, model, shape, threads, seconds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = numpy.random.default_rng(1).random(shape, dtype=numpy.float32)
    for _ in range(3):
        session.run(None, {"images": images})
    times, begin, cpu = [], time.perf_counter(), time.process_time()
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        session.run(None, {"images": images})
        times.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / len(times)
    per_slice = 1e3 / shape[0]
    return {"runs": len(times), "median_ms": statistics.median(times) * per_slice, "least_ms": min(times) * per_slice,
            "cpu_ms": cpu * per_slice}


def arguments():
    parser = argparse.ArgumentParser(description="Times onnxruntime on the processor.")
    parser.add_argument("--card", help="a model card whose shapes replace the defaults, as models/hemoflow.json")
    parser.add_argument("--arch", choices=sorted(BLOCKS), help="encoder (default resnet18)")
    parser.add_argument("--width", type=int, help="channels of its first stage (default 64)")
    parser.add_argument("--windows", type=int, help="channels of its input (default 3)")
    parser.add_argument("--last-stride-one", action="store_true", default=None, help="its last stage keeps its resolution")
    parser.add_argument("--unet-width", type=int, help="channels of the U-Net's first level (default 16)")
    parser.add_argument("--unet-patch", type=int, choices=(1, 2), help="side of the U-Net's patches (default 1)")
    parser.add_argument("--size", type=int, help="rows and columns of the input, pixels (default 256)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="slices at once (default 1 8)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads (default 1 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time of each measurement (default 3)")
    shapes = parser.parse_args()
    card = {}
    if shapes.card:
        with open(shapes.card, encoding="utf-8") as file:
            card = json.load(file)
        card["windows"], card["size"] = len(card["windows"]), card["input_size"]
    defaults = {"arch": "resnet18", "width": 64, "windows": 3, "last_stride_one": False, "unet_width": 16,
                "unet_patch": 1, "size": 256}
    for name, default in defaults.items():
        if getattr(shapes, name) is None:
            setattr(shapes, name, card.get(name, default))
    return shapes


def main():
    shapes = arguments()
    numpy, onnx, onnxruntime = packages()
    rows = []
    head = f"{'network':<10} {'batch':>5} {'threads':>7} {'median':>9} {'least':>9} {'CPU':>9}   ms/slice"
    print(f"onnxruntime {onnxruntime.__version__}, {shapes.size} x {shapes.size}\n{head}", file=sys.stderr)
    for name, build, channels in (("encoder", encoder, shapes.windows), ("segmenter", segmenter, 1)):
        for batch in shapes.batch:
            graph = Graph(numpy, onnx)
            shape = [batch, channels, shapes.size, shapes.size]
            model = graph.bytes(build(graph, shapes), shape)
            for threads in shapes.threads:
                figures = measure(onnxruntime, numpy, model, shape, threads, shapes.seconds)
                rows.append({"network": name, "batch": batch, "threads": threads, **figures})
                print(f"{name:<10} {batch:>5} {threads:>7} {figures['median_ms']:>9.2f} {figures['least_ms']:>9.2f} "
                      f"{figures['cpu_ms']:>9.2f}", file=sys.stderr)
    shown = {name: value for name, value in vars(shapes).items() if name not in ("batch", "threads", "seconds", "card")}
    json.dump({"peer": "onnxruntime", "version": onnxruntime.__version__, "shapes": shown, "rows": rows}, sys.stdout)
    print()


if __name__ == "__main__":
    main()

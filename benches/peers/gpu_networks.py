#!/usr/bin/env python3
"""What PyTorch takes for Hemoflow's networks: encoders and U-Net with random weights, eager and compiled.

    gpu_networks.py > networks.json
    table.py models.json networks.json

Networks, names and shapes are those of `hemoflow bench models --device cuda --json` without training: the residual
network of He et al. whose last stage keeps its resolution, three windows in, maps out; the U-Net on patches of 2 x 2
pixels. Images come from an array in memory and results go to one, as there. What a compiled network gives is compared
with the eager one in f32 first, and the largest difference over the largest number is told. JSON to standard output, a
table to standard error.

Needs numpy and torch; on a GPU torch with CUDA, and a C compiler for torch.compile. `--device cpu` runs all on a
processor.
"""

import json
import sys

from problem import Budget, arguments, machine, wall

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
KINDS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def encoder(nn, arch, width):
    """Images [n, 3, s, s] to maps [n, 8 * width or 32 * width, s / 16, s / 16]."""
    bottleneck = arch in ("resnet50", "resnet101")

    def convolution(source, target, side, stride=1):
        return nn.Sequential(nn.Conv2d(source, target, side, stride, side // 2, bias=False), nn.BatchNorm2d(target))

    class Block(nn.Module):
        def __init__(self, source, planes, stride):
            super().__init__()
            target = planes * 4 if bottleneck else planes
            if bottleneck:
                parts = [convolution(source, planes, 1), nn.ReLU(True), convolution(planes, planes, 3, stride),
                         nn.ReLU(True), convolution(planes, target, 1)]
            else:
                parts = [convolution(source, planes, 3, stride), nn.ReLU(True), convolution(planes, target, 3)]
            self.body = nn.Sequential(*parts)
            self.beside = convolution(source, target, 1, stride) if stride > 1 or source != target else nn.Identity()

        def forward(self, images):
            return nn.functional.relu(self.body(images) + self.beside(images))

    layers, source = [convolution(3, width, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)], width
    for stage, blocks in enumerate(BLOCKS[arch]):
        for block in range(blocks):
            layers.append(Block(source, width << stage, 2 if stage in (1, 2) and block == 0 else 1))
            source = (width << stage) * (4 if bottleneck else 1)
    return nn.Sequential(*layers)


def segmenter(torch, nn, width, patch=2):
    """Images [n, 1, s, s] to logits of the same shape."""
    def level(source, target):
        parts = []
        for channels in (source, target):
            parts += [nn.Conv2d(channels, target, 3, 1, 1), nn.ReLU(True), nn.BatchNorm2d(target)]
        return nn.Sequential(*parts)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, patch * patch, patch, patch, bias=False)
            self.down = nn.ModuleList(level(width << depth - 1 if depth else patch * patch, width << depth) for depth in range(4))
            self.bottom = level(width << 3, width << 4)
            self.up = nn.ModuleList(nn.ConvTranspose2d(width << d + 1, width << d, 2, 2) for d in reversed(range(4)))
            self.merge = nn.ModuleList(level(width << d + 1, width << d) for d in reversed(range(4)))
            self.last = nn.ConvTranspose2d(width, 1, patch, patch)

        def forward(self, images):
            out, skips = self.patches(images), []
            for down in self.down:
                skips.append(down(out))
                out = nn.functional.max_pool2d(skips[-1], 2)
            out = self.bottom(out)
            for up, merge in zip(self.up, self.merge):
                out = merge(torch.cat([skips.pop(), up(out)], 1))
            return self.last(out)
    return UNet()


def main():
    parser = arguments(__doc__, 150, [256], [1, 8, 32])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--arch", type=lambda text: text.split(","), default=["resnet18", "resnet50", "resnet101"])
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage (default %(default)s)")
    parser.add_argument("--unet-width", type=int, default=8, help="channels of its first level (default %(default)s)")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=["f32", "bf16"], help="f32, f16, bf16")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.batches, options.arch, options.width = [32], [1, 2], ["resnet18"], 4
        options.unet_width = 2
    try:
        import numpy as np
        import torch
    except ImportError as error:
        sys.exit(f"gpu_networks.py: cannot start: {error}")
    if options.device != "cpu" and not torch.cuda.is_available():
        sys.exit("gpu_networks.py: torch finds no GPU: say --device cpu")
    if options.device == "cpu":
        torch.set_num_threads(1)
    nn, rows, skipped = torch.nn, [], []
    torch.manual_seed(1)
    networks = [(arch, "encoder", 3) for arch in options.arch] + [(options.arch[0], "segmenter", 1)]
    ways = [(way, kind) for way in ("torch", "torch.compile") for kind in options.kinds]
    cases = [(network, size, batch, way) for network in networks for size in options.sizes
             for batch in options.batches for way in ways]
    budget = Budget(options.seconds, len(cases), options.quick)
    for (model, network, channels), size, batch, (way, kind) in cases:
        peer = f"{way} {kind}"
        share, dtype = budget.next(), getattr(torch, KINDS[kind])

        def leave_out(reason):
            skipped.append({"model": model, "network": network, "size": size, "batch": batch, "peer": peer,
                            "reason": reason})

        if share is None:
            leave_out("out of time: say more --seconds")
            continue
        images = np.random.default_rng(1).random((batch, channels, size, size), dtype=np.float32)
        made = encoder(nn, model, options.width) if network == "encoder" else segmenter(torch, nn, options.unet_width)
        try:
            with torch.inference_mode():
                made = made.eval().to(options.device, memory_format=torch.channels_last)
                there = lambda: torch.from_numpy(images).to(options.device, memory_format=torch.channels_last)
                expected = made(there()).float().cpu().numpy()
                made = made.to(dtype)
                if way == "torch.compile":
                    torch._dynamo.reset()
                    made = torch.compile(made, dynamic=False)
                run = lambda: made(there().to(dtype)).float().cpu().numpy()
                difference = float(np.abs(run() - expected).max() / max(np.abs(expected).max(), 1e-9))
                if difference > (1e-3 if kind == "f32" else 0.1):
                    leave_out(f"it differs from torch in f32 by {difference:.3g} of the largest number")
                    continue
                [taken] = budget.in_turns(share, [wall(run)])
                median = taken["milliseconds"]["median"]
        except Exception as error:  # A compiler or a device that fails is told, and the others go on.
            leave_out(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}")
            continue
        # A U-Net is the same beside each encoder.
        for name in options.arch if network == "segmenter" else [model]:
            rows.append({"model": name, "network": network, "size": size, "batch": batch, "peer": peer, "threads": None,
                         **taken, "slices_per_second": batch / median * 1e3,
                         "largest_difference": difference})
        print(f"{model}, {network}, {batch} of {size} x {size}, {peer}: {median:.3f} ms, "
              f"{batch / median * 1e3:.1f} slices/s", file=sys.stderr)
    for left in skipped:
        print(f"left out: {left['model']}, {left['network']}, {left['batch']}, {left['peer']}: {left['reason']}",
              file=sys.stderr)
    name = "cpu" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    json.dump({"script": "gpu_networks.py", "device": name, "machine": machine(), "versions": {"torch": torch.__version__},
               "missing": {}, "peers": rows, "skipped": skipped}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

"""State dictionaries as torchvision's ResNets have them, saved by torch, and what the encoder makes of images.

usage: imported.py FOLDER

Writes, for each network, FOLDER/<name>.pth and FOLDER/<name>.expected.txt: two images of three channels and the maps of the
last stage with its resolution kept. One file is in PyTorch's zip form, one in its older form, nested, with a prefix and half
of the numbers in 16 bits.
"""

import json
import sys
from pathlib import Path

import torch
from layers import BLOCKS, Networks, drawn

SIZE = 64


def shapes(arch, width):
    """Name and shape of each tensor, in torchvision's names."""
    bottleneck = arch in ("resnet50", "resnet101")
    expansion = 4 if bottleneck else 1

    def norm(name, channels):
        yield from ((f"{name}.{part}", [channels]) for part in ("weight", "bias", "running_mean", "running_var"))

    yield "conv1.weight", [width, 3, 7, 7]
    yield from norm("bn1", width)
    before = width
    for stage, blocks in enumerate(BLOCKS[arch], start=1):
        planes = width * 2 ** (stage - 1)
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            kernels = [(planes, before, 1), (planes, planes, 3), (4 * planes, planes, 1)]
            for part, (to, of, kernel) in enumerate(kernels if bottleneck else [(planes, before, 3), (planes, planes, 3)], 1):
                yield f"{name}.conv{part}.weight", [to, of, kernel, kernel]
                yield from norm(f"{name}.bn{part}", to)
            if block == 0 and (stage > 1 or before != expansion * planes):
                yield f"{name}.downsample.0.weight", [expansion * planes, before, 1, 1]
                yield from norm(f"{name}.downsample.1", expansion * planes)
            before = expansion * planes
    yield "fc.weight", [1000, before]
    yield "fc.bias", [1000]


def main():
    (folder,) = map(Path, sys.argv[1:])
    torch.manual_seed(11)
    for name, arch, width, older in [("new", "resnet18", 4, False), ("old", "resnet50", 3, True)]:
        tensors = {key: drawn(key, torch.empty(shape)) for key, shape in shapes(arch, width)}
        if older:
            tensors = {key: value.half() if value.dim() == 4 else value for key, value in tensors.items()}
        counters = {f"{key[:-12]}num_batches_tracked": torch.tensor(7) for key in tensors if key.endswith("running_mean")}
        saved = {**tensors, **counters}
        if older:
            saved = {"epoch": 90, "state_dict": {f"module.{key}": value for key, value in saved.items()}}
        torch.save(saved, folder / f"{name}.pth", _use_new_zipfile_serialization=not older)
        card = {"arch": arch, "last_stride_one": True}
        images = torch.rand(2, 3, SIZE, SIZE)
        with torch.no_grad():
            maps = Networks(card, {f"encoder.{key}": value.float() for key, value in tensors.items()}).maps(images)
        numbers = {key: value.double().flatten().tolist() for key, value in {"images": images, "maps": maps}.items()}
        (folder / f"{name}.expected.txt").write_text(json.dumps(numbers))


main()

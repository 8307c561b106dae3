"""The networks of a model in torch: a second implementation, to compare with.

usage: layers.py FOLDER

FOLDER holds a model (a card and its weights). Draws weights, statistics of normalizations and biases anew, so that none is
0 or 1, writes them into the model, and writes expected.json: inputs and what torch makes of them.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def read(path):
    """Header and tensors of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    body = data[8 + size :]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = torch.frombuffer(bytearray(body[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    return header, data[: 8 + size], tensors


def write(path, head, header, tensors):
    """The same header with other tensors."""
    entries = sorted((entry["data_offsets"][0], name) for name, entry in header.items() if name != "__metadata__")
    bodies = (bytes(tensors[name].contiguous().flatten().numpy().tobytes()) for _, name in entries)
    path.write_bytes(head + b"".join(bodies))


def drawn(name, tensor):
    """Random numbers of about the size that keeps activations near 1."""
    random = torch.rand if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")) else torch.randn
    if tensor.dim() == 1:
        positive = random is torch.rand
        return 0.5 + random(tensor.shape) if positive else 0.2 * random(tensor.shape)
    return torch.randn(tensor.shape) * (1.5 / tensor[0].numel()) ** 0.5


class Networks:
    """Encoder, heads and segmenter from tensors by name."""

    def __init__(self, card, tensors):
        self.card, self.tensors = card, tensors

    def conv(self, name, x, stride=1, padding=0):
        return F.conv2d(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"), stride, padding)

    def norm(self, name, x):
        parameter = [self.tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parameter)

    def linear(self, name, x):
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def block(self, name, x, stride):
        if f"{name}.conv3.weight" in self.tensors:
            steps = [("1", 1, 0), ("2", stride, 1), ("3", 1, 0)]
        else:
            steps = [("1", stride, 1), ("2", 1, 1)]
        out = x
        for index, (part, step, padding) in enumerate(steps):
            out = self.norm(f"{name}.bn{part}", self.conv(f"{name}.conv{part}", out, step, padding))
            out = F.relu(out) if index + 1 < len(steps) else out
        if f"{name}.downsample.0.weight" in self.tensors:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return F.relu(out + x)

    def maps(self, images):
        x = F.relu(self.norm("encoder.bn1", self.conv("encoder.conv1", images, 2, 3)))
        x = F.max_pool2d(x, 3, 2, 1)
        last = 1 if self.card["last_stride_one"] else 2
        for stage, (blocks, stride) in enumerate(zip(BLOCKS[self.card["arch"]], (1, 2, 2, last)), start=1):
            for block in range(blocks):
                x = self.block(f"encoder.layer{stage}.{block}", x, stride if block == 0 else 1)
        return x

    def pooled(self, maps):
        if self.card["pooling"] == "average":
            return maps.mean((2, 3))
        return (maps.double() ** 4).mean((2, 3)).add(1e-8).pow(0.25).float()

    def activation(self, maps):
        return F.relu(F.conv2d(maps, self.tensors["cam.weight"][:, :, None, None]))

    def recurrence(self, features):
        kind = torch.nn.LSTM if self.card["context"].endswith("lstm") else torch.nn.GRU
        both = self.card["context"].startswith("bi")
        layers, units = self.card["context_layers"], self.card["context_hidden"]
        network = kind(features.shape[2], units, layers, batch_first=True, bidirectional=both)
        with torch.no_grad():
            for layer in range(layers):
                for way, suffix in [("forward", ""), ("backward", "_reverse")][: 1 + both]:
                    for ours, theirs in [("input", "ih"), ("hidden", "hh")]:
                        for part in ("weight", "bias"):
                            tensor = self.tensors[f"head.layers.{layer}.{way}.{ours}.{part}"]
                            getattr(network, f"{part}_{theirs}_l{layer}{suffix}").copy_(tensor)
        return network(features)[0]

    def sequence_logits(self, features):
        x = self.recurrence(features)
        for index in range(3):
            x = self.linear(f"head.mlp.{index}", F.relu(x) if index else x)
        return x[:, :, 0]

    def level(self, name, x):
        for part in ("1", "2"):
            x = self.norm(f"{name}.bn{part}", F.relu(self.conv(f"{name}.conv{part}", x, 1, 1)))
        return x

    def spread(self, name, x, side):
        return F.conv_transpose2d(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], side)

    def segmented(self, images):
        patch = self.card["unet_patch"]
        x = self.conv("unet.patches", images, patch) if patch > 1 else images
        skips = []
        for index in range(4):
            skips.append(self.level(f"unet.down.{index}", x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.level("unet.bottom", x)
        for index in range(4):
            x = torch.cat([skips.pop(), self.spread(f"unet.up.{index}", x, 2)], 1)
            x = self.level(f"unet.merge.{index}", x)
        return self.spread("unet.last", x, patch)


def main():
    (folder,) = map(Path, sys.argv[1:])
    (card_path,) = folder.glob("*.json")
    card = json.loads(card_path.read_text())
    weights = card_path.with_suffix(".safetensors")
    torch.manual_seed(7)
    header, head, tensors = read(weights)
    tensors = {name: drawn(name, tensors[name]) for name in sorted(tensors)}
    write(weights, head, header, tensors)
    card["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    card_path.write_text(json.dumps(card))

    size = card["input_size"]
    networks = Networks(card, tensors)
    images = torch.rand(2, len(card["windows"]), size, size)
    with torch.no_grad():
        maps = networks.maps(images)
        features = networks.pooled(maps)
        sequences = torch.randn(2, 5, features.shape[1])
        activation = networks.activation(maps)
        enlarged = F.interpolate(activation, size=(37, 50), mode="bilinear", align_corners=False)
        expected = {
            "images": images,
            "maps": maps,
            "features": features,
            "logits": networks.linear("cam", features),
            "activation": activation,
            "enlarged": enlarged,
            "sequences": sequences,
            "sequence_logits": networks.sequence_logits(sequences),
            "segmented": networks.segmented(images[:, :1]),
        }
    numbers = {name: tensor.double().flatten().tolist() for name, tensor in expected.items()}
    (folder / "expected.txt").write_text(json.dumps(numbers))


if __name__ == "__main__":
    main()

"""Images per second of a capture to disk over those of the bare network.

    python benchmarks/capture.py --size 32 --turns 5
    python benchmarks/capture.py --size 224 --images 192 --batch-size 16 --imagenet-stem

`--imagenet-stem` puts the 7 x 7 convolution of stride 2 and the pooling of the ImageNet form
before the stages, with which 224 x 224 images take about as long as in torchvision's ResNet-18.
The network is stopped after the last of the layers, both in the capture, of float16 numbers with
`predictions=False`, and in the bare forward under `torch.inference_mode`. Both take the same
batches of uint8 images from memory, scale them in the same way, and take turns; the capture's
time is that of the whole call, with all that is on disk synced. Printed are the rates of the
median times, and the median of the ratios of both, with their range.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from cofactor.capture import capture
from cofactor.models import build_model


class _Stop(Exception):
    """Ends a forward."""


def bare(model: Any, batches: list[Any], layers: list[str]) -> None:
    """Run the network up to the last layer and keep nothing."""

    def stop(*_: Any) -> None:
        raise _Stop

    handle = model.get_submodule(layers[-1]).register_forward_hook(stop)
    try:
        with torch.inference_mode():
            for images in batches:
                try:
                    model(images.to(torch.float32).div_(255.0))
                except _Stop:
                    continue
    finally:
        handle.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cofactor:resnet18")
    parser.add_argument("--layers", default="layer3,layer4,avgpool")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--imagenet-stem", action="store_true")
    parser.add_argument("--out", type=Path, help="Folder on the disk to write to.")
    options = parser.parse_args()
    layers = options.layers.split(",")
    torch.manual_seed(0)
    model: Any = build_model(options.model).eval()
    if options.imagenet_stem:
        stem = torch.nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        model.conv1 = torch.nn.Sequential(stem, torch.nn.MaxPool2d(3, stride=2, padding=1))
    shape = (options.images, 3, options.size, options.size)
    batches = list(torch.randint(0, 256, shape, dtype=torch.uint8).split(options.batch_size))
    bare(model, batches[:1], layers)
    seconds: dict[str, list[float]] = {"bare": [], "capture": []}
    n_bytes = 0
    for turn in range(options.turns):
        out = Path(tempfile.mkdtemp(dir=options.out))
        for what in ("bare", "capture") if turn % 2 else ("capture", "bare"):
            began = time.perf_counter()
            if what == "bare":
                bare(model, batches, layers)
            else:
                arguments: dict[str, Any] = {"predictions": False, "progress": False}
                store = capture(model, batches, layers, out=out / "acts", **arguments)
                n_bytes = store.nbytes
            seconds[what].append(time.perf_counter() - began)
        shutil.rmtree(out)
    rate = {what: options.images / median(times) for what, times in seconds.items()}
    ratios = [b / c for b, c in zip(seconds["bare"], seconds["capture"], strict=True)]
    print(
        f"{options.model} at {options.size} x {options.size}, {torch.get_num_threads()} threads: "
        f"bare {rate['bare']:.1f} images/s, capture {rate['capture']:.1f} images/s of "
        f"{n_bytes / options.images / 1000:.1f} kB; ratio {median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()

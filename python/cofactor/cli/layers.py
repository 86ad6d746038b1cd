"""`cofactor layers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cofactor.cli._help import Verb
from cofactor.cli._options import model_arguments_option, parse_size, terminal

if TYPE_CHECKING:
    from torch import nn

EXAMPLES = """\
cofactor layers cofactor:resnet18 --input-size 3x32x32
cofactor layers mymodule:make_model --weights model.safetensors --data images/
"""

_DEFAULT_SIZE = (3, 224, 224)
_N_IMAGES = 4


@click.command("layers", cls=Verb, examples=EXAMPLES)
@click.argument("model")
@model_arguments_option
@click.option(
    "--weights",
    metavar="FILE",
    help="As for capture; without, a torchvision or timm model has random ones.",
)
@click.option("--data", metavar="SPEC", help="Images to run, as for capture; random ones if none.")
@click.option(
    "--input-size",
    metavar="CxHxW",
    help="Of random images.  [default: what a timm model asks for, or 3x224x224]",
)
@click.option("--image-size", type=int, help="Scale images of --data, as for capture.")
@click.pass_context
def command(
    context: click.Context,
    model: str,
    model_arguments: dict[str, Any],
    weights: str | None,
    data: str | None,
    input_size: str | None,
    image_size: int | None,
) -> None:
    """List the layers of MODEL that can be captured.

    With the shape of what each returns for one example, whether any of it was negative on the
    images that were run, and how many bytes it takes in float16. MODEL is as for capture.
    """
    if data is not None and input_size is not None:
        raise click.UsageError("--data and --input-size exclude each other", context)
    size = None if input_size is None else parse_size(input_size)
    if size is not None and (not isinstance(size, tuple) or min(size) < 1):
        raise click.BadParameter(f"{input_size!r} is not like 3x32x32", context)
    from cofactor._errors import require

    require("torch", "capture", "cofactor layers")
    import torch

    from cofactor.capture import describe_layers
    from cofactor.datasets import load_images
    from cofactor.models import build_model, load_model

    if weights is None:
        network = build_model(model, **model_arguments)
    else:
        network = load_model(model, weights, **model_arguments)
    if data is not None:
        batches: Any = load_images(
            data, batch_size=_N_IMAGES, max_examples=_N_IMAGES, image_size=image_size
        )
        images = next(iter(batches))
    else:
        shape = (_N_IMAGES, *(size or _asked_for(network)))
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    rows = [
        [
            layer.name,
            layer.kind,
            layer.returns,
            "" if layer.is_nonnegative is None else "yes" if layer.is_nonnegative else "no",
            "" if layer.n_values is None else f"{2 * layer.n_values:,}",
        ]
        for layer in describe_layers(network, images)
    ]
    screen = terminal(context)
    screen.quiet = False
    screen.table(["layer", "module", "returns", "nonnegative", "bytes"], rows, text_columns=4)
    what = "images of --data" if data is not None else "random images"
    screen.say(f"\nnonnegative: as seen on {_N_IMAGES} {what}; bytes: of one example in float16")


def _asked_for(network: nn.Module) -> tuple[int, ...]:
    configured = getattr(network, "default_cfg", None) or {}
    size = configured.get("input_size") if isinstance(configured, dict) else None
    return tuple(size) if size else _DEFAULT_SIZE

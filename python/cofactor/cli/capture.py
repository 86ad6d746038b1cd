"""`cofactor capture`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cofactor.cli._help import Verb
from cofactor.cli._options import (
    by_view_option,
    model_arguments_option,
    names_option,
    numbers_option,
    out_option,
    parse_index,
    parse_size,
    quiet_option,
    terminal,
)
from cofactor.cli._ranks import ranks, timeout_option

EXAMPLES = """\
cofactor capture --model cofactor:resnet18 --weights resnet18.safetensors \\
    --data test.npz --layers layer3,layer4,avgpool --pixels \\
    --mean 0.5071,0.4865,0.4409 --std 0.2673,0.2564,0.2762 --out acts/
cofactor capture --model resnet50 --weights pretrained --data photos/ \\
    --image-size 224 --layers 'layer?' --pool avg --out acts/
torchrun --nproc-per-node 8 -m cofactor capture --model resnet50 --weights pretrained \\
    --data photos/ --image-size 224 --layers layer4 --device cuda --out acts/
cofactor capture --model vit_base_patch16_224 --weights pretrained --data photos/ \\
    --image-size 224 --layers blocks.9 --positions --negative split --out acts/
"""


@click.command("capture", cls=Verb, examples=EXAMPLES)
@click.option(
    "--model",
    required=True,
    metavar="SPEC",
    help="module:callable; cofactor:resnet18; or the name of a torchvision or timm model.",
)
@model_arguments_option
@click.option(
    "--weights",
    metavar="FILE",
    help="A safetensors file or a state dict of torch.save; 'pretrained' for those of "
    "torchvision or timm.",
)
@click.option(
    "--data",
    required=True,
    metavar="SPEC",
    help="A directory of images, with a folder per class or without; an .npz file with images "
    "and labels; or module:callable, which returns a loader.",
)
@names_option(
    "--layers",
    "--layer",
    required=True,
    help_text="Names or patterns from model.named_modules(); may be repeated.",
)
@click.option(
    "--pixels/--no-pixels", help="Keep the input channels too, as views input.0, input.1, ..."
)
@numbers_option("--mean", "Mean per channel, in units of [0, 1], to normalise images with.")
@numbers_option("--std", "Standard deviation per channel, likewise.")
@by_view_option(
    "--dtype",
    "DTYPE",
    "How activations are stored: float16, bfloat16, float32 or float64.  [default: float16]",
)
@by_view_option(
    "--pool",
    "avg|max|HxW",
    "Reduce feature maps to channels, or to maps of this size by means.",
    parse_size,
)
@by_view_option(
    "--negative",
    "relu|shift|split",
    "What reading does to negative activations: 0 instead, minus the minimum, or columns of "
    "their own.",
)
@click.option(
    "--positions", is_flag=True, help="Make every position of one layer's map an example."
)
@by_view_option(
    "--element", "INDEX", "Which output of a layer that returns several to keep.", parse_index
)
@click.option(
    "--predictions/--no-predictions",
    default=True,
    help="Keep the class that the network gives; without, it stops after the last layer.",
)
@click.option("--batch-size", type=int, default=256, help="Images that run at once.")
@click.option(
    "--image-size", type=int, help="Scale images to this shorter side and cut the square."
)
@click.option("--device", help="Where the model runs, such as cuda.  [default: cpu]")
@click.option(
    "--max-examples",
    type=int,
    help="At most so many: spread evenly over files or rows, the first ones of a loader.",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    help="Go on with a capture that was interrupted.",
)
@timeout_option
@click.option("--overwrite", is_flag=True, help="Replace a store that is there.")
@out_option("Directory of the activation store.")
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    model: str,
    model_arguments: dict[str, Any],
    weights: str | None,
    data: str,
    layers: list[str],
    pixels: bool,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    dtype: str | dict[str, str] | None,
    pool: Any,
    negative: str | dict[str, str | None] | None,
    positions: bool,
    element: Any,
    predictions: bool,
    batch_size: int,
    image_size: int | None,
    device: str | None,
    max_examples: int | None,
    resume: bool,
    timeout: float,
    overwrite: bool,
    out: Path,
) -> None:
    """Keep the activations of a network's layers.

    Runs images through the network once and writes what the layers gave, and with --pixels the
    images too, to a directory that is read without being loaded. A capture that was interrupted
    goes on when the same command is given again.

    Started by torchrun, every process runs its part of the images, and all write one store; the
    directory must be the same for all. --device cuda is then the GPU of the process's number on
    its host.
    """
    if mean is not None and std is not None:
        normalize = (mean, std)
    elif mean is None and std is None:
        normalize = None
    else:
        raise click.UsageError("--mean and --std go together", context)
    from cofactor._errors import require

    require("torch", "capture", "cofactor capture")
    from cofactor._store.destination import check_destination
    from cofactor.capture import capture
    from cofactor.datasets import load_images
    from cofactor.models import load_model

    resume = resume and not overwrite
    screen = terminal(context)
    with ranks(context, timeout) as rank:
        if device == "cuda" and "LOCAL_RANK" in os.environ:
            device = f"cuda:{os.environ['LOCAL_RANK']}"
        # Before the model is loaded, which may take long.
        check_destination(out, overwrite, resume)
        images = load_images(
            data, batch_size=batch_size, max_examples=max_examples, image_size=image_size
        )
        try:
            store = capture(
                load_model(model, weights, **model_arguments),
                images,
                layers,
                pixels=pixels,
                normalize=normalize,
                dtype=dtype or "float16",
                pool=pool,
                negative=negative,
                positions=positions,
                element=element,
                predictions=predictions,
                out=out,
                device=device,
                attributes=images.attributes,
                resume=resume,
                overwrite=overwrite,
                progress=not screen.quiet,
            )
        except KeyboardInterrupt:
            if rank == 0:
                click.echo(f"{out} keeps what is done; the same command goes on with it", err=True)
            raise
    screen.say(repr(store))
    if {"labels", "predictions"} <= set(store.columns):
        accuracy = (store.columns["labels"] == store.columns["predictions"]).mean()
        screen.say(f"  accuracy of the network: {accuracy:.3f}")

"""`cofactor compare attack`."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from cofactor.cli._comparison import (
    Report,
    destination_option,
    print_columns,
    rank_option,
    run_comparison,
    seed_option,
)
from cofactor.cli._help import Verb
from cofactor.cli._options import model_arguments_option, names_option, numbers_option, quiet_option

if TYPE_CHECKING:
    from cofactor.compare import Tables
    from cofactor.datasets import ImageSource


def _fraction(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return float(Fraction(value.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{value!r} is not like 8/255 or 0.03") from None


@click.command(
    "attack",
    cls=Verb,
    examples="""\
cofactor compare attack --model cofactor:resnet18 --weights resnet18.safetensors \\
    --data test.npz --layers layer4,avgpool --mean 0.5071,0.4865,0.4409 \\
    --std 0.2673,0.2564,0.2762 --attack fgsm --rank 20 --out fgsm/
""",
)
@click.option("--model", required=True, metavar="SPEC", help="As for `cofactor capture`.")
@model_arguments_option
@click.option("--weights", "model_weights", metavar="FILE", help="Weights of the model.")
@click.option("--data", required=True, metavar="SPEC", help="Clean images with labels.")
@click.option(
    "--attack",
    type=click.Choice(["fgsm", "pgd"]),
    help="Make the adversarial images, with the Adversarial Robustness Toolbox.  [default: fgsm]",
)
@click.option(
    "--adversarial",
    metavar="SPEC",
    help="Adversarial images of your own: those of --data, in the same order.",
)
@click.option(
    "--eps",
    default="8/255",
    callback=_fraction,
    metavar="NUMBER",
    help="Largest change of a pixel, in units of [0, 1].",
)
@names_option("--layers", "--layer", required=True, help_text="As for `cofactor capture`.")
@click.option("--pixels/--no-pixels", help="Fit the input channels too.")
@numbers_option("--mean", "Mean per channel, in units of [0, 1], to normalise images with.")
@numbers_option("--std", "Standard deviation per channel, likewise.")
@click.option("--batch-size", type=int, default=256, help="Images that run at once.")
@click.option("--image-size", type=int, help="Scale images to this side and cut the square.")
@click.option("--max-examples", type=int, help="At most so many clean images.")
@rank_option
@seed_option
@click.option("--tol", type=float, default=1e-4, help="Relative decrease to stop at.")
@destination_option
@quiet_option
@click.pass_context
def attack(
    context: click.Context,
    /,
    model: str,
    model_arguments: dict[str, Any],
    model_weights: str | None,
    data: str,
    attack: Literal["fgsm", "pgd"] | None,
    adversarial: str | None,
    eps: float,
    layers: list[str],
    pixels: bool,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    batch_size: int,
    image_size: int | None,
    max_examples: int | None,
    rank: int,
    seed: int,
    tol: float,
    out: Path,
) -> None:
    """Fit clean and adversarial images together.

    Says how the concepts shift: what share of each is of adversarial images, and how many classes
    both sides put into it. The activations are written beside --out, and removed at the end.
    """
    if attack is not None and adversarial is not None:
        raise click.UsageError("--attack and --adversarial exclude each other", context)
    if (mean is None) != (std is None):
        raise click.UsageError("--mean and --std go together", context)
    normalize = None if mean is None or std is None else (mean, std)
    from cofactor._errors import require

    require("torch", "attack", "cofactor compare attack")
    from cofactor.attacks import Attacked, CleanThenAdversarial
    from cofactor.capture import capture
    from cofactor.compare import compare_attack
    from cofactor.datasets import load_images
    from cofactor.models import load_model

    def images_of(spec: str) -> ImageSource:
        return load_images(
            spec, batch_size=batch_size, image_size=image_size, max_examples=max_examples
        )

    clean = images_of(data)
    network = load_model(model, model_weights, **model_arguments)
    method = attack or "fgsm"
    attacked = (
        Attacked(network, clean, method, eps=eps, normalize=normalize)
        if adversarial is None
        else images_of(adversarial)
    )

    def compared(report: Report | None) -> Tables:
        with tempfile.TemporaryDirectory(prefix=".cofactor-", dir=_existing(out)) as aside:
            both = CleanThenAdversarial(clean, attacked)
            if report is not None:
                report("clean and adversarial images through the network")
            store = capture(
                network,
                both,
                layers,
                pixels=pixels,
                normalize=normalize,
                out=Path(aside) / "acts",
                attributes=both.attributes,
                progress=False,
            )
            if report is not None:
                report("fit")
            return compare_attack(store, rank, seed=seed, tol=tol)

    arguments: dict[str, Any] = {"model": model, "data": data, "rank": rank, "seed": seed}
    arguments |= (
        {"attack": method, "eps": eps} if adversarial is None else {"adversarial": adversarial}
    )
    tables = run_comparison(context, out, compared, what="attack", arguments=arguments)
    print_columns(
        context, tables["sides"], ["side", "accuracy", "nmi", "nmi_predictions", "impurity"]
    )
    print_columns(
        context,
        tables["shift"],
        ["concept", "clean_class", "adversarial_class", "adversarial_share", "shared_classes"],
        text_columns=3,
    )


def _existing(path: Path) -> Path:
    """Return the nearest folder above `path` that exists."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())

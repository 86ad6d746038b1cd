"""`cofactor compare`: a verb a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cofactor.cli._comparison import (
    Report,
    destination_option,
    fit_arguments,
    fit_options,
    opened,
    print_columns,
    rank_option,
    run_comparison,
    seed_option,
    seeds_option,
    views_option,
)
from cofactor.cli._help import Verb, write_examples
from cofactor.cli._options import counts_option, numbers_option, path_argument, quiet_option
from cofactor.cli.compare_attack import attack

if TYPE_CHECKING:
    from cofactor.compare import Tables
    from cofactor.store import ActivationStore

EXAMPLES = """\
cofactor compare views acts/ --rank 20 --out views/
cofactor compare seeds acts/ --rank 10,20,50 --out seeds/
"""


class Comparisons(click.Group):
    """The group of the comparisons."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the comparisons in the order in which they are defined."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, EXAMPLES)


@click.group("compare", cls=Comparisons)
def command() -> None:
    """Set fits beside each other: views, seeds, networks, classes, penalties, attacks.

    Each writes a CSV per table and metrics.json to --out.
    """


@command.command(
    "views", cls=Verb, examples="cofactor compare views acts/ --rank 20 --seeds 5 --out views/\n"
)
@path_argument("store")
@rank_option
@seeds_option
@views_option
@fit_options()
@destination_option
@quiet_option
@click.pass_context
def views(
    context: click.Context,
    /,
    store: Path,
    rank: int,
    seeds: int,
    views: list[str],
    out: Path,
    **options: Any,
) -> None:
    """Fit all views of STORE together, and views alone.

    Alone are each layer, and the input channels together. Says for each how well its clusters of
    examples agree with the classes, beside shuffled labels, and which concept of the fit to a view
    alone each concept of the whole is.
    """
    from cofactor.compare import compare_views

    tables = run_comparison(
        context,
        out,
        lambda report: compare_views(
            opened(store, views),
            rank,
            seeds=range(seeds),
            report=report,
            **fit_arguments(options),
        ),
        what="views",
        arguments={"store": str(store), "rank": rank, "seeds": seeds, **options},
    )
    columns = ["views", "loss", "nmi", "nmi_shuffled", "purity", "superclass_nmi", "entropy"]
    print_columns(context, tables["mean"], columns)


@command.command(
    "seeds", cls=Verb, examples="cofactor compare seeds acts/ --rank 10,20,50 --out seeds/\n"
)
@path_argument("store")
@counts_option("--rank", "20", "Numbers of components.")
@seeds_option
@views_option
@fit_options()
@destination_option
@quiet_option
@click.pass_context
def seeds(
    context: click.Context,
    /,
    store: Path,
    rank: tuple[int, ...],
    seeds: int,
    views: list[str],
    out: Path,
    **options: Any,
) -> None:
    """Fit STORE with several seeds and ranks.

    Says how much losses and scores vary, and which concepts come back with every seed.
    """
    from cofactor.compare import compare_seeds

    tables = run_comparison(
        context,
        out,
        lambda report: compare_seeds(
            opened(store, views),
            rank,
            range(seeds),
            report=report,
            **fit_arguments(options),
        ),
        what="seeds",
        arguments={"store": str(store), "ranks": list(rank), "seeds": seeds, **options},
    )
    columns = ["rank", "loss", "loss_sd", "stability", "stability_min", "nmi", "nmi_sd"]
    print_columns(context, tables["ranks"], columns)


@command.command(
    "fits",
    cls=Verb,
    examples="cofactor compare fits --fit run-a/ acts-a/ --fit run-b/ acts-b/ --out networks/\n",
)
@click.option(
    "--fit",
    "pairs",
    nargs=2,
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FIT STORE",
    help="A fit and its store; give it for each network or checkpoint. The first is the reference.",
)
@destination_option
@quiet_option
@click.pass_context
def fits(context: click.Context, /, pairs: tuple[tuple[Path, Path], ...], out: Path) -> None:
    """Match the concepts of several networks.

    Or of checkpoints of one: every store holds the same images in the same order; the layers may
    be of any network.
    """
    from cofactor.cli._fits import open_together
    from cofactor.compare import compare_fits
    from cofactor.concepts import Concepts

    if len(pairs) < 2:
        raise click.UsageError("--fit is needed twice at least", context)
    names = [fit.name or str(fit) for fit, _ in pairs]
    if len(set(names)) < len(names):
        names = [str(fit) for fit, _ in pairs]
    if len(set(names)) < len(names):
        raise click.UsageError("the same fit is given twice", context)

    def compared(report: Report | None) -> Tables:
        opened = [open_together(fit, store) for fit, store in pairs]
        return compare_fits(
            {name: Concepts(*pair) for name, pair in zip(names, opened, strict=True)}
        )

    arguments = {"fits": {name: list(map(str, p)) for name, p in zip(names, pairs, strict=True)}}
    tables = run_comparison(context, out, compared, what="fits", arguments=arguments)
    print_columns(context, tables["fits"], ["fit", "loss", "nmi", "purity", "entropy", "accuracy"])
    print_columns(context, tables["pairs"], ["fit", "mean_cosine", "min_cosine", "n_above_0.9"])


@command.command(
    "classes",
    cls=Verb,
    examples="cofactor compare classes acts/ --classes beaver,dolphin,otter --rank 5 --out few/\n",
)
@path_argument("store")
@click.option(
    "--classes",
    "subsets",
    multiple=True,
    required=True,
    metavar="NAME,...",
    help="A subset, by names or numbers of classes or names of superclasses; may be repeated.",
)
@rank_option
@seed_option
@views_option
@fit_options()
@destination_option
@quiet_option
@click.pass_context
def classes(
    context: click.Context,
    /,
    store: Path,
    subsets: tuple[str, ...],
    rank: int,
    seed: int,
    views: list[str],
    out: Path,
    **options: Any,
) -> None:
    """Fit some classes of STORE alone.

    Beside it stands what the fit to all classes says of the same examples.
    """
    from cofactor.compare import compare_classes

    activations = opened(store, views)
    numbers = {subset: _classes_of(activations, subset) for subset in subsets}
    tables = run_comparison(
        context,
        out,
        lambda report: compare_classes(
            activations, rank, numbers, seed=seed, report=report, **fit_arguments(options)
        ),
        what="classes",
        arguments={"store": str(store), "rank": rank, "subsets": numbers, "seed": seed, **options},
    )
    columns = ["subset", "fitted", "n_examples", "nmi", "nmi_shuffled", "purity", "entropy"]
    print_columns(context, tables["fits"], columns, text_columns=2)


@command.command(
    "grid",
    cls=Verb,
    examples="cofactor compare grid acts/ --rank 10,20 --alpha-w 0,1e-4,1e-3 --out grid/\n",
)
@path_argument("store")
@counts_option("--rank", "20", "Numbers of components.")
@numbers_option("--alpha-w", "Penalties on W.  [default: 0]")
@numbers_option("--alpha-h", "Penalties on H.  [default: that on W]")
@numbers_option("--l1-ratio", "Shares of L1 in both.  [default: 0]")
@seed_option
@views_option
@fit_options(penalties=False)
@destination_option
@quiet_option
@click.pass_context
def grid(
    context: click.Context,
    /,
    store: Path,
    rank: tuple[int, ...],
    alpha_w: tuple[float, ...] | None,
    alpha_h: tuple[float, ...] | None,
    l1_ratio: tuple[float, ...] | None,
    seed: int,
    views: list[str],
    out: Path,
    **options: Any,
) -> None:
    """Fit STORE on a grid of ranks and penalties."""
    from cofactor.compare import compare_grid

    on_W, ratios = alpha_w or (0.0,), l1_ratio or (0.0,)
    tables = run_comparison(
        context,
        out,
        lambda report: compare_grid(
            opened(store, views),
            rank,
            alpha_W=on_W,
            alpha_H=alpha_h,
            l1_ratio=ratios,
            seed=seed,
            report=report,
            **fit_arguments(options),
        ),
        what="grid",
        arguments={
            "store": str(store),
            "ranks": list(rank),
            "alpha_W": list(on_W),
            "alpha_H": None if alpha_h is None else list(alpha_h),
            "l1_ratio": list(ratios),
            "seed": seed,
            **options,
        },
    )
    columns = ["n_components", "alpha_W", "alpha_H", "l1_ratio", "loss", "zeros_W", "zeros_H"]
    print_columns(context, tables["grid"], [*columns, "n_dead", "nmi"])


command.add_command(attack)


def _classes_of(store: ActivationStore, subset: str) -> list[int]:
    """Return the numbers of the classes that `subset` names."""
    names = [str(name) for name in store.attributes.get("class_names", [])]
    groups = [str(name) for name in store.attributes.get("superclass_names", [])]
    group_of = store.attributes.get("superclass_of_class", [])
    numbers: list[int] = []
    for part in (part.strip() for part in subset.split(",")):
        if part in names:
            numbers.append(names.index(part))
        elif part in groups:
            numbers += [c for c, group in enumerate(group_of) if group == groups.index(part)]
        elif part.isdecimal():
            numbers.append(int(part))
        else:
            raise ValueError(
                f"{part!r} is neither a class nor a superclass of the store, nor a number"
            )
    return numbers

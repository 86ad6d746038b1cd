"""What the verbs of `cofactor compare` share: options of fits, running, writing, printing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cofactor._result_folder import check_destination
from cofactor.cli._options import names_option, out_option, parse_weights, terminal

if TYPE_CHECKING:
    from cofactor._terminal import Terminal
    from cofactor.compare import Tables
    from cofactor.concepts import Table
    from cofactor.store import ActivationStore

Function = Callable[..., Any]
Report = Callable[[str], object]

rank_option = click.option("--rank", type=int, required=True, help="Number of components.")
seed_option = click.option("--seed", type=int, default=0, help="Seed of all that is random.")
seeds_option = click.option("--seeds", type=int, default=5, help="Number of seeds: 0, 1, ...")
views_option = names_option("--views", help_text="Fit these views alone; all by default.")
destination_option = out_option("Directory for a CSV per table and metrics.json.")


def fit_options(penalties: bool = True) -> Callable[[Function], Function]:
    """Add what `cofactor fit` takes too, as the one argument `options`."""

    def decorate(function: Function) -> Function:
        decorators = [
            click.option(
                "--weights",
                default="equal",
                callback=parse_weights,
                metavar="equal|balanced|NAME=NUMBER,...",
                help="How much each view counts.",
            ),
            click.option("--max-iter", type=int, default=200, help="Iterations at most."),
            click.option("--tol", type=float, default=1e-4, help="Relative decrease to stop at."),
            click.option("--threads", "n_threads", type=int, help="CPU threads."),
            click.option(
                "--device",
                type=click.Choice(["auto", "cpu", "cuda"]),
                default="auto",
                help="Where to fit.",
            ),
        ]
        if penalties:
            decorators += [
                click.option("--alpha-w", "alpha_W", type=float, default=0.0, help="Penalty on W."),
                click.option(
                    "--alpha-h",
                    "alpha_H",
                    type=float,
                    help="Penalty on H.  [default: that on W]",
                ),
                click.option("--l1-ratio", type=float, default=0.0, help="Share of L1 in both."),
            ]
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def run_comparison(
    context: click.Context,
    out: Path,
    compared: Callable[[Report | None], Tables],
    *,
    what: str,
    arguments: Mapping[str, Any],
) -> Tables:
    """Make the tables, showing what is done, and write them."""
    from cofactor.compare import write_comparison
    from cofactor.compare._folder import KIND

    # Before the work is done.
    check_destination(out, KIND)
    screen: Terminal = terminal(context)
    with screen.busy("compare") as status:
        tables = compared(getattr(status, "update", None))
    write_comparison(tables, out, what=what, arguments=dict(arguments))
    screen.say(f"{out}: {', '.join(f'{name}.csv' for name in tables)}, metrics.json")
    return tables


def print_columns(
    context: click.Context, table: Table, columns: list[str], *, text_columns: int = 1
) -> None:
    """Print those of some columns that a table has."""
    shown = [name for name in columns if name in table.columns]
    rows = [[_cell(row[name]) for name in shown] for row in table.rows()]
    terminal(context).table([name.replace("_", " ") for name in shown], rows,
                            text_columns=text_columns)  # fmt: skip


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def opened(store: Path, views: list[str]) -> ActivationStore:
    """Open a store, narrowed to views where some are named."""
    from cofactor.store import ActivationStore

    activations = ActivationStore(store)
    return activations.select(views=views) if views else activations


def fit_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `fit_options` gave as arguments of `CoupledNMF`."""
    arguments = dict(options)
    if arguments.get("alpha_H", 0.0) is None:
        arguments["alpha_H"] = "same"
    return arguments

"""`cofactor bench`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cofactor.cli._help import Verb
from cofactor.cli._options import Decorator, counts_option, quiet_option, terminal

if TYPE_CHECKING:
    from cofactor._terminal import Terminal
    from cofactor.bench import Bench

EXAMPLES = """\
cofactor bench
cofactor bench --rank 20 --threads 1,2,4 --no-peers --json bench.json
cofactor bench --examples 10000 --columns 28160 --plot bench.png
"""

# Settings for old machines, under which a current NumPy is slow.
_SLOW_NUMPY = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def _count_option(flag: str, least: int, default: int, help_text: str) -> Decorator:
    return click.option(
        flag, type=click.IntRange(min=least), default=default, metavar="N", help=help_text
    )


def _file_option(flag: str, name: str, help_text: str) -> Decorator:
    return click.option(
        flag,
        name,
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=help_text,
    )


@click.command("bench", cls=Verb, examples=EXAMPLES)
@_count_option("--examples", 1, 4096, "Rows of the data.")
@_count_option("--columns", 8, 8192, "Columns of all views together.")
@counts_option("--rank", "20,50,128", "Numbers of components.")
@counts_option("--threads", None, "Numbers of threads.  [default: 1, and all]")
@click.option(
    "--compute",
    "computes",
    type=click.Choice(["float32", "bfloat16"]),
    multiple=True,
    default=["float32"],
    help="What products are computed in; give it twice for both.  [default: float32]",
)
@_count_option("--repeats", 1, 3, "Fits of each kind.")
@click.option("--no-peers", is_flag=True, help="Leave out scikit-learn.")
@_file_option("--json", "json_file", "Write all numbers there.")
@_file_option(
    "--plot", "plot_file", "Draw them there (.png, .svg, .pdf); needs the extra 'report'."
)
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    examples: int,
    columns: int,
    rank: tuple[int, ...],
    threads: tuple[int, ...] | None,
    computes: tuple[Literal["float32", "bfloat16"], ...],
    repeats: int,
    no_peers: bool,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Time iterations on this machine, against its limits and scikit-learn.

    The data is drawn at random, in uint8 and float16, and factorized for a few iterations. The
    floor is the least time that an iteration can take: its operations over the peak, or its bytes
    over the bandwidth, whichever is more. Both are measured in the same run.
    """
    _check_destinations(json_file, plot_file)
    from cofactor.bench import draw_bench, run_bench

    screen = terminal(context)
    with screen.progress() as progress:
        task = progress.add_task("bench", total=None)
        bench = run_bench(
            n_examples=examples,
            n_columns=columns,
            ranks=rank,
            threads=threads,
            computes=computes,
            peers=not no_peers,
            repeats=repeats,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    _print_bench(screen, bench)
    slow = [name for name in _SLOW_NUMPY if name in os.environ]
    if slow and not no_peers:
        screen.say(f"\n{' and '.join(slow)} may slow scikit-learn down here: unset, and run again.")
    if json_file is not None:
        json_file.write_text(json.dumps(bench.to_dict(), indent=2) + "\n", encoding="utf-8")
        screen.say(f"\nnumbers: {json_file}")
    if plot_file is not None:
        draw_bench(bench, plot_file)
        screen.say(f"\nplot: {plot_file}")


def _check_destinations(json_file: Path | None, plot_file: Path | None) -> None:
    """Find out before the work is done what would stop its end."""
    for path in filter(None, (json_file, plot_file)):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no directory {path.parent} for {path.name}")
    if plot_file is not None:
        from cofactor._errors import require

        require("matplotlib", "report", "--plot")
        from matplotlib.figure import Figure

        kinds = Figure().canvas.get_supported_filetypes()
        if plot_file.suffix.removeprefix(".") not in kinds:
            raise ValueError(f"--plot {plot_file}: name a .png, .svg or .pdf file")


def _print_bench(screen: Terminal, bench: Bench) -> None:
    most = bench.machines[max(bench.machines)]
    screen.say(
        f"{bench.n_examples:,} x {bench.n_columns:,} in uint8 and float16, "
        f"{bench.stored_bytes / 1e6:,.0f} MB; instruction set {most.level}"
    )
    for machine in bench.machines.values():
        peaks = ", ".join(
            f"{peak / 1e9:.0f} GFLOP/s {kind}" for kind, peak in machine.peaks.items()
        )
        threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
        screen.say(f"at most, {threads}: {peaks}, {machine.bandwidth / 1e9:.0f} GB/s read")
    screen.table(
        ["rank", "threads", "compute", "ms", "GFLOP/s", "ops ms", "bytes ms", "of floor"],
        [
            [
                str(row.rank),
                str(row.threads),
                row.compute,
                _milliseconds(row.seconds),
                f"{row.flops / 1e9:.0f}",
                _milliseconds(row.floor.operations),
                _milliseconds(row.floor.memory),
                f"{row.share:.0%}",
            ]
            for row in bench.rows
        ],
        text_columns=0,
    )
    screen.say(
        "\nms: an iteration, median. ops, bytes: the least that its operations and its reads can\n"
        "take. of floor: the larger of the two over ms."
    )
    _print_peer(screen, bench, most.threads)


def _print_peer(screen: Terminal, bench: Bench, threads: int) -> None:
    rows = [
        [
            str(row.rank),
            row.compute,
            _milliseconds(row.seconds),
            f"{row.loss:.4f}",
            _milliseconds(row.sklearn_seconds),
            f"{row.sklearn_loss:.4f}",
            f"{row.speedup:.2f}",
        ]
        for row in bench.rows
        if row.sklearn_seconds is not None
    ]
    if not rows:
        return
    screen.table(
        ["rank", "compute", "ms", "loss", "scikit-learn ms", "loss", "ratio"], rows, text_columns=0
    )
    screen.say(
        f"\nAn iteration with {threads} threads, and the relative loss after as many from one\n"
        "start: scikit-learn's, coordinate descent in float32, are cheaper and less exact."
    )


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.{1 if seconds < 1 else 0}f}"

"""Options and values that several verbs share."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cofactor._terminal import Terminal

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]


def terminal(context: click.Context) -> Terminal:
    """Return the terminal of this command line."""
    return context.find_root().ensure_object(Terminal)


def quiet_option(function: Function) -> Function:
    """Add `-q`, which may stand before or after the verb."""

    def be_quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            terminal(context).quiet = True

    return click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=be_quiet,
        help="Print nothing but errors and warnings.",
    )(function)


def path_argument(name: str) -> Decorator:
    """Add an argument that is a path which exists."""
    return click.argument(name, type=click.Path(exists=True, path_type=Path))


def out_option(help_text: str, metavar: str = "DIR") -> Decorator:
    """Add the required `--out`."""
    return click.option(
        "--out", type=click.Path(path_type=Path), required=True, metavar=metavar, help=help_text
    )


def memory_option(function: Function) -> Function:
    """Add `--max-memory`."""
    return click.option(
        "--max-memory",
        metavar="SIZE",
        help="Memory to use, such as 2GB; the result does not depend on it.  "
        "[default: half of what is available]",
    )(function)


def names_option(*flags: str, required: bool = False, help_text: str) -> Decorator:
    """Add an option that takes names separated by commas, and may be repeated."""

    def split(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[str]:
        return [name.strip() for value in values for name in value.split(",") if name.strip()]

    return click.option(
        *flags,
        multiple=True,
        required=required,
        callback=split,
        metavar="NAME,...",
        help=help_text,
    )


def by_view_option(
    flag: str, metavar: str, help_text: str, parse: Callable[[str], Any] = str
) -> Decorator:
    """Add an option that takes one value, or a value for each of some views."""

    def read(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> Any:
        parts = [part.strip() for value in values for part in value.split(",") if part.strip()]
        if len(parts) == 1 and "=" not in parts[0]:
            return parse(parts[0])
        if not all("=" in part for part in parts):
            raise click.BadParameter(
                f"{','.join(parts)!r} is neither one value nor like layer3=VALUE,layer4=VALUE"
            )
        split = [part.rpartition("=") for part in parts]
        return {view: parse(value) for view, _, value in split} or None

    return click.option(
        flag, multiple=True, callback=read, metavar=f"{metavar}|VIEW={metavar},...", help=help_text
    )


def parse_size(text: str) -> str | tuple[int, ...]:
    """Read `4x4`, or leave a word as it is; for :func:`by_view_option`."""
    parts = text.split("x")
    return tuple(map(int, parts)) if len(parts) > 1 and all(map(str.isdecimal, parts)) else text


def parse_index(text: str) -> str | int:
    """Read a number, or leave a word as it is; for :func:`by_view_option`."""
    return int(text) if text.isdecimal() else text


def numbers_option(flag: str, help_text: str) -> Decorator:
    """Add an option that takes numbers separated by commas."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...] | None:
        try:
            return None if value is None else tuple(float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not like 0.5,0.5,0.5") from None

    return click.option(flag, callback=parse, metavar="NUMBER,...", help=help_text)


def counts_option(flag: str, default: str | None, help_text: str) -> Decorator:
    """Add an option that takes whole numbers from 1, separated by commas."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
        if value is None:
            return None
        try:
            counts = tuple(int(part) for part in value.split(","))
        except ValueError:
            counts = (0,)
        if min(counts) < 1:
            raise click.BadParameter(f"{value!r} is not like 20,50,128")
        return counts

    return click.option(flag, default=default, callback=parse, metavar="N,...", help=help_text)


def parse_weights(_: click.Context, __: click.Parameter, value: str) -> str | dict[str, float]:
    """Read `equal`, `balanced` or `view=weight,...`; a callback of an option."""
    if value in ("equal", "balanced"):
        return value
    weights: dict[str, float] = {}
    for part in value.split(","):
        view, _equals, number = part.strip().rpartition("=")
        try:
            weights[view] = float(number)
        except ValueError:
            view = ""
        if not view:
            raise click.BadParameter(
                f"{value!r} is not 'equal', 'balanced' or like layer4=1,avgpool=0.5"
            )
    return weights


def model_arguments_option(function: Function) -> Function:
    """Add `--model-arg`, which takes `name=value` with a Python literal, or else a string."""

    def parse(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        for value in values:
            name, equals, text = value.partition("=")
            if not equals or not name.isidentifier():
                raise click.BadParameter(f"{value!r} is not like num_classes=10")
            try:
                keywords[name] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                keywords[name] = text
        return keywords

    return click.option(
        "--model-arg",
        "model_arguments",
        multiple=True,
        callback=parse,
        metavar="NAME=VALUE",
        help="Argument for what builds the model; may be repeated.",
    )(function)

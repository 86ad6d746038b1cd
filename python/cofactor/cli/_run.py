"""Running the command: which exit status and message an error becomes."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from cofactor._errors import DistributedError
from cofactor.cli._group import INTERRUPTED

# What bad input raises; anything else is a bug and shows its traceback. A missing file or a full
# disk is no bug, hence OSError.
_BAD_INPUT = (ValueError, TypeError, ImportError, OSError, DistributedError)

_OPTIONS = {
    "overwrite=True": "--overwrite",
    "pass resume=True": "give --resume",
    "resume=True": "--resume",
    "checkpoint=": "--checkpoint",
    "max_memory=": "--max-memory ",
}


def run(command: click.Command, arguments: Sequence[str] | None) -> NoReturn:
    """Run a command and exit."""
    warnings.showwarning = _show_warning
    try:
        status = command.main(arguments, prog_name="cofactor", standalone_mode=False)
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        status = _bad_input(error.format_message().removesuffix(".") + hint)
    except click.ClickException as error:
        status = _bad_input(error.format_message())
    except click.Abort:
        status = INTERRUPTED
    except _BAD_INPUT as error:
        status = _bad_input(_described(error))
    sys.exit(status if isinstance(status, int) else 0)


def _bad_input(message: str) -> int:
    if os.environ.get("COFACTOR_TRACEBACK"):
        traceback.print_exc()
    # The library speaks of its parameters; here they are options.
    for parameter, option in _OPTIONS.items():
        message = message.replace(parameter, option)
    click.echo(f"cofactor: error: {' '.join(message.split())}", err=True)
    return 2


def _described(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"cofactor: warning: {' '.join(str(message).split())}", err=True)

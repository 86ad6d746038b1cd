"""`cofactor` itself, to which the verbs are added."""

from __future__ import annotations

from typing import Any

import click

from cofactor.cli._help import write_examples
from cofactor.cli._options import quiet_option

INTERRUPTED = 130

EXAMPLES = r"""
cofactor capture --model cofactor:resnet18 --weights resnet18.safetensors \
    --data test.npz --layers layer3,layer4,avgpool --pixels \
    --mean 0.5071,0.4865,0.4409 --std 0.2673,0.2564,0.2762 --out acts/
cofactor fit acts/ --rank 20 --out run/
cofactor report run/ acts/ --out report/
""".strip()


class Verbs(click.Group):
    """The group of the verbs; Ctrl-C ends one with one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("cofactor: interrupted", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which they are used."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, EXAMPLES)


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="cofactor", message="%(prog)s %(version)s")
@quiet_option
@click.pass_context
def cofactor(context: click.Context) -> None:
    """Describe a trained CNN by a few non-negative concepts.

    Capture the activations of its layers, fit all of them together, and read the result.
    `cofactor demo --out demo/` shows all of it at work on small data.

    Bad input ends with status 2 and one line; COFACTOR_TRACEBACK=1 shows where it arose.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())

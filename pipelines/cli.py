"""The command line: `pretrain COMMAND ...`."""

import warnings
from typing import Any

import click

from pipelines.commands.autoencoder import autoencoder
from pipelines.commands.compare import compare
from pipelines.commands.datasets import datasets
from pipelines.commands.dbn import dbn
from pipelines.commands.evaluate import evaluate
from pipelines.commands.export import export
from pipelines.commands.finetune import finetune
from pipelines.commands.inspect import inspect
from pipelines.commands.options import ARGUMENTS
from pipelines.commands.plot import plot
from pipelines.commands.recipes import recipes
from pipelines.commands.report import report
from pipelines.commands.run import run
from pipelines.commands.sample import sample
from pipelines.commands.stack import stack
from pipelines.commands.study import study
from pipelines.commands.verify import verify
from pipelines.stopping import Stopped
from pretrain import __version__
from pretrain.exceptions import PretrainError

INTERRUPTED = 130  # as shells have it for Ctrl-C


class _UserError(click.ClickException):
    """A mistake of the user: one message, exit status 2, as click has it for wrong options."""

    exit_code = 2


class _Group(click.Group):
    """Turns the toolkit's own errors into one message and exit status 2, and remembers what was typed."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        typed = list(args)
        context = super().make_context(info_name, args, *rest, **extra)
        context.meta[ARGUMENTS] = typed
        return context

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(
                "Interrupted. What was finished before is kept; an unfinished output was not written.", err=True
            )
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Stopped as stopped:
            click.echo(str(stopped), err=True)
            raise click.exceptions.Exit(stopped.exit_code) from None
        except PretrainError as error:
            raise _UserError(str(error)) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate" not in str(error) and "out of memory" not in str(error):
                raise
            message = "There is not enough memory for this. Take smaller layers, batches, or fewer chains or runs."
            raise _UserError(message) from error


def _show_warning(message: Warning | str, *place: Any, **more: Any) -> None:
    """One line, without the place in the code, which is none of the user's."""
    click.echo(f"Warning: {message}", err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="pretrain")
def main() -> None:
    """Greedy layer-wise pretraining: stack layers, unroll, fine-tune, generate, compare with scratch."""


COMMANDS = (
    stack,
    finetune,
    autoencoder,
    dbn,
    sample,
    evaluate,
    compare,
    study,
    report,
    inspect,
    verify,
    export,
    plot,
    run,
    recipes,
    datasets,
)
for command in COMMANDS:
    main.add_command(command)

"""The command line: gather the commands, run one, choose the exit code."""

import functools
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import typer

from superposition_cli.commands import machine, reading, training, verifying, working, writing
from superposition_cli.commands import options as given
from superposition_cli.commands.console import tell
from superposition_cli.errors import InvalidInput, SpError

app = typer.Typer(
    help="Experiments on superposition in toy models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
COMMANDS = (
    training.train,
    training.sweep,
    working.work,
    working.finish,
    working.status,
    reading.show,
    reading.analyze,
    reading.report,
    reading.plot,
    verifying.verify,
    writing.list_,
    writing.validate,
    writing.schema,
    machine.doctor,
    machine.bench,
)
state = {"verbose": False}


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that also takes what all commands take: `--use` and `-v`."""

    @functools.wraps(command)
    def run(use: list[Path] | None, verbose: bool, **own: object) -> None:
        from superposition_cli.commands import plugins

        state["verbose"] = verbose
        plugins.use(use or ())
        command(**own)

    added = {"use": (given.Use, None), "verbose": (given.Verbose, False)}
    signature = inspect.signature(command)
    parameters = list(signature.parameters.values())
    for name, (kind, default) in added.items():
        place = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, place, default=default, annotation=kind))
        run.__annotations__[name] = kind
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(with_common_options(command))


@app.callback()
def common(
    no_color: given.NoColor = False,
) -> None:
    """Set what all commands share."""
    if no_color:
        os.environ["NO_COLOR"] = "1"


def main() -> None:
    """Run the command line and end the process with the right exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    signal.signal(signal.SIGINT, lambda number, _: sys.exit(128 + number))
    try:
        app(standalone_mode=True)
    except SpError as problem:
        if state["verbose"]:
            traceback.print_exception(problem)
        for line in str(problem).splitlines():
            tell(f"sp: {line}" if not isinstance(problem, InvalidInput) else line)
        sys.exit(problem.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

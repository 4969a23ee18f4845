"""The command line: gather the commands, run one, choose the exit code."""

import os
import signal
import sys

import typer

from superposition_cli import options as given
from superposition_cli.commands import machine, reading, training, verifying, writing
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
for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)


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
        for line in str(problem).splitlines():
            tell(f"sp: {line}" if not isinstance(problem, InvalidInput) else line)
        sys.exit(problem.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

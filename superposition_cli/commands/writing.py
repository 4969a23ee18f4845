"""Writing a configuration: `sp list`, `sp validate` and `sp schema`."""

from superposition_cli.commands import options as given
from superposition_cli.commands.console import RUNS, console, give, give_json, read, tell


def list_(
    what: given.What = "runs",
    runs_dir: given.RunsDir = RUNS,
    as_json: given.AsJson = False,
    as_csv: given.AsCsv = False,
) -> None:
    """List the runs there are, or what can be written in a configuration."""
    from superposition_cli.report import listing

    listed = listing.rows(what, runs_dir)
    if as_json:
        give_json({"schema_version": 1, what: listed})
    elif as_csv:
        give(listing.as_csv(listed))
    else:
        console().print(listing.as_table(listed))


def validate(config: given.Config, set_: given.Sets = None) -> None:
    """Check a configuration; print nothing on stdout when it is sound."""
    experiment, source = read(config, set_)
    tell(f"{source}: sound, {experiment.n_cells:,} cells x {experiment.train.restarts:,} restarts")


def schema() -> None:
    """Print the JSON Schema of a configuration, for editors."""
    from superposition_cli.config import json_schema

    give_json(json_schema())

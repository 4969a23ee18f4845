"""Looking at finished runs: `sp show`, `sp analyze`, `sp report` and `sp plot`."""

from superposition_cli.commands import options as given
from superposition_cli.commands.console import RUNS, console, give, give_json, tell

SHOWN = 40  # rows of a table


def show(
    run: given.RunName,
    runs_dir: given.RunsDir = RUNS,
    columns: given.Columns = "",
    limit: given.Limit = None,
    as_json: given.AsJson = False,
    as_csv: given.AsCsv = False,
) -> None:
    """Show one run: a row per cell, with the values of the selected models."""
    from superposition_cli.report import show as view
    from superposition_cli.running.folder import locate

    few = SHOWN if limit is None and not (as_json or as_csv) else limit
    path = locate(run, runs_dir)
    chosen = [one for one in columns.split(",") if one]
    if as_json:
        give_json(view.as_json(view.read(path, few)))
    elif as_csv:
        for line in view.as_csv(path, few, chosen):
            give(line)
    else:
        console().print(view.as_table(view.read(path, few), chosen))


def analyze(
    run: given.RunName,
    names: given.Asked = None,
    runs_dir: given.RunsDir = RUNS,
    again: given.Again = False,
    as_json: given.AsJson = False,
) -> None:
    """Compute findings and metrics of a finished run from what it has saved, without training."""
    from superposition_cli import analyses
    from superposition_cli.report import terminal
    from superposition_cli.running.folder import locate
    from superposition_cli.running.results import Results

    results = Results(locate(run, runs_dir))
    if remark := analyses.selection.remark(results):
        tell(f"{results.run.path}: {remark}")
    metrics, questions = analyses.parted(names or analyses.wanted(results.plan.experiment))
    if added := results.measure(metrics):
        tell(f"{results.run.path}: {', '.join(added)} added, from the saved weights")
    found = analyses.analyze(results, questions, again)
    content = {name: dict(finding.numbers) for name, finding in found.items()}
    if as_json:
        rows = {name: list(finding.rows) for name, finding in found.items()}
        give_json({"schema_version": 1, "numbers": content, "rows": rows})
    else:
        console().print(terminal.facts_table(content))


def report(
    runs: given.RunNames,
    runs_dir: given.RunsDir = RUNS,
    asked: given.Analyses = "",
    again: given.Again = False,
    format_: given.Format = "html,md",
    quiet: given.Quiet = False,
) -> None:
    """Report on finished runs: a page, figures, and what was found on the terminal."""
    from superposition_cli.report import write

    names = tuple(one for one in asked.split(",") if one)
    page, shown = write.report(runs, runs_dir, format_, again, names)
    if not quiet:
        console(stderr=True).print(shown)
    give(f"{page}\n")


def plot(
    run: given.RunName,
    figure: given.Figure = "",
    output: given.Output = None,
    runs_dir: given.RunsDir = RUNS,
) -> None:
    """Draw one figure of a finished run's report into a file."""
    from superposition_cli.report import write

    give(f"{write.plot(run, runs_dir, figure, output)}\n")

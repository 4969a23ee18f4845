"""The options and arguments of the commands, each with its help."""

from pathlib import Path
from typing import Annotated

import typer

from superposition_cli.commands import completion

Config = Annotated[
    str,
    typer.Argument(
        help="A YAML file, or the name of a shipped configuration.",
        autocompletion=completion.configs,
    ),
]
RunName = Annotated[str, typer.Argument(help="A run folder, or its name under the runs folder.")]
RunNames = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Run folders, or names under the runs folder.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a.b=value; repeatable.", autocompletion=completion.settings),
]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder itself.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", envvar="SP_RUNS_DIR", help="The parent of run folders.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan; train nothing.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Move an existing folder aside and begin anew.")
]
AllowDiverged = Annotated[
    bool, typer.Option("--allow-diverged", help="Exit 0 although models diverged.")
]
MaxModels = Annotated[int, typer.Option("--max-models", min=1, help="Refuse larger grids.")]
RunOrConfig = Annotated[
    str, typer.Argument(help="A run folder or its name; or a configuration, whose run is made.")
]
Shard = Annotated[str, typer.Option("--shard", help="i/N: every N-th chunk, from number i < N.")]
Numbers = Annotated[
    str, typer.Option("--numbers", help="Chunks, such as 3,4,5; - reads them, one a line.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Say so again until all is there.")]
Engine = Annotated[str, typer.Option("--engine", help="local: threads; pool: processes.")]
Devices = Annotated[
    int | None, typer.Option("--devices", min=1, help="Threads or processes; one a core or GPU.")
]
Asked = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="Analyses or metrics; those of its configuration if none.",
        autocompletion=completion.questions,
    ),
]
Analyses = Annotated[
    str,
    typer.Option("--analyses", help="Comma-separated, beside those of the configuration."),
]
Again = Annotated[bool, typer.Option("--again", help="Compute findings anew.")]
Use = Annotated[
    list[Path] | None,
    typer.Option("--use", metavar="FILE.py", help="Take in models, data ... of yours; repeatable."),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a failure.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Never use colour.")]
Columns = Annotated[str, typer.Option(help="Comma-separated columns of the table of cells.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Rows to show; 40, and all of them as CSV or JSON.")
]
Claimed = Annotated[
    list[str] | None, typer.Argument(metavar="[CONFIG|RUN]...", help="All fast ones if none.")
]
Seeds = Annotated[
    int,
    typer.Option(
        metavar="K", min=1, help="Seeds for each configuration: its own and those that follow."
    ),
]
What = Annotated[
    str,
    typer.Argument(
        help="runs, configs, models, data, targets, objectives, optimizers, schedules, analyses, "
        "metrics."
    ),
]
Workloads = Annotated[str, typer.Option(help="Comma-separated names; all by default.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="Time for each workload.")]
Format = Annotated[str, typer.Option("--format", help="html, md, or both: html,md.")]
Figure = Annotated[str, typer.Argument(help="As in the report: phase-classes. None: list them.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="A .png, .svg or .pdf file.")]

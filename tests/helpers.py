"""A tiny experiment, and how tests plan, train and read it."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from typer.testing import CliRunner

import superposition_cli
from superposition_cli import analyses, cli, config
from superposition_cli.running import grid, launch, sweep
from superposition_cli.running.devices import Machine
from superposition_cli.running.engines.local import local

TRAIN = "{steps: 60, batch_size: 64, restarts: 2, eval_samples: 1024, snapshots: 3}"
BASE = f"""\
name: tiny
model: {{n_features: 5, n_hidden: 2}}
data: {{feature_probability: 0.1, importance: {{geometric: 0.9}}}}
train: {TRAIN}
metrics: [feature_norms, n_represented, dims_per_feature]
"""
TINY = BASE + "sweep: {parameters: {data.feature_probability: [1.0, 0.3, 0.05]}}\n"
ONE_CHUNK = Machine("cpu", "cpu", 1, 1, 1 << 30)
CHUNKS_OF_TWO = Machine("cpu", "cpu", 1, 1, 13_000)  # a tiny model takes 5,104 bytes in a step


def swept(parameters: str, base: str = BASE) -> str:
    return base + f"sweep: {{parameters: {{{parameters}}}}}\n"


def load(text: str = TINY, *overrides: str) -> config.Experiment:
    return config.loads(text, "tiny.yaml", overrides)


def plan(text: str = TINY, *overrides: str, size: int = 4, max_models: int = 10**7) -> grid.Plan:
    return grid.plan(load(text, *overrides), lambda spec, n: min(size, n), max_models)


class Opened(NamedTuple):
    run: Any
    plan: grid.Plan

    def train(self, stopping: Any = lambda: False, workers: int = 1, engine: Any = local) -> list:
        return list(sweep.run_all(self.run, self.plan, engine, workers, stopping))

    def weights(self) -> np.ndarray:
        """W of all models in the order of their numbers."""
        kept = [self.run.read(chunk.number, "weights")["W"] for chunk in self.plan.chunks]
        models = [self.plan.models(chunk) for chunk in self.plan.chunks]
        return np.concatenate(kept)[np.argsort(np.concatenate(models))]

    @property
    def sums(self) -> list[dict[str, str]]:
        """The checksums of every file of every chunk."""
        return [self.run.done(chunk.number)["sha256"] for chunk in self.plan.chunks]


def opened(
    folder: Path, text: str = TINY, *overrides: str, machine: Machine = ONE_CHUNK, segment: int = 20
) -> Opened:
    """Create the run of a configuration, or find it again, with segments of a given length."""
    source = folder.with_name(f"{folder.name}.yaml")
    source.write_text(text)
    experiment = config.load(source, overrides)
    run, made = launch.open_run(experiment, source, folder, machine, 10**7, False)
    for group in run.manifest["groups"]:
        group["segment_steps"] = segment
    (folder / "run.json").write_text(json.dumps(run.manifest))
    return Opened(run, made)


def trained(
    folder: Path, text: str = TINY, *overrides: str, machine: Machine = ONE_CHUNK
) -> Opened:
    one = opened(folder, text, *overrides, machine=machine)
    one.train()
    return one


def commanded(folder: Path, text: str, *overrides: str) -> Any:
    """Train a configuration as a person would and open the result."""
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    words = ["sweep" if "sweep:" in text else "train", file, "-q", "--out", folder / "run"]
    words += [part for override in overrides for part in ("--set", override)]
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return superposition_cli.load(result.stdout.strip())


class Planned:
    """As much of a run as is looked at before its models are."""

    def __init__(self, text: str, *overrides: str) -> None:
        self.plan = plan(text, *overrides, size=10**7)


def refusal(analysis: str, text: str, *overrides: str) -> str:
    """Say what a configuration lacks for an analysis, a line for each need; empty for nothing."""
    found = analyses.check(analysis, load(text, *overrides))
    return "\n".join(complaint.sentence for complaint in found)


def after(looks: int) -> Any:
    """A `stopping` that turns true once it has been asked so many times."""
    asked = iter(range(looks))
    return lambda: next(asked, None) is None


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Result(NamedTuple):
    code: int
    out: str
    err: str


def sp(capsys: Any, monkeypatch: Any, *words: Any) -> Result:
    """Run the command line in this process."""
    monkeypatch.setattr("sys.argv", ["sp", *map(str, words)])
    capsys.readouterr()
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Result(code, *capsys.readouterr())

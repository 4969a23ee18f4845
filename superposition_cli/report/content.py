"""What a report says about a run, gathered once for the page, the text and the terminal."""

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from superposition_cli import analyses
from superposition_cli.analyses import claims, selection
from superposition_cli.analyses.claims import Verdict
from superposition_cli.analyses.findings import Finding
from superposition_cli.errors import FolderRefused, InvalidInput
from superposition_cli.report import labels
from superposition_cli.running import fsio
from superposition_cli.running.folder import Run
from superposition_cli.running.results import Results
from superposition_cli.toy import objectives

FEW_CELLS = 200  # up to here analyses that look at one cell after the other are quick
OVERVIEW = ("structure", "cells")
SNIPPETS = {
    "NumPy": """\
from safetensors.numpy import load_file
W = load_file({file})["W"]  # [model, feature, hidden]""",
    "PyTorch": """\
from safetensors.torch import load_file
W = load_file({file})["W"]""",
    "JAX": """\
from safetensors.flax import load_file
W = load_file({file})["W"]""",
    "all chunks, in the order of the models": """\
import superposition_cli
run = superposition_cli.load({run})
run.weights["W"], run.summary["loss"], run.history["loss"]""",
}


class Content(NamedTuple):
    """One run's report without its figures."""

    results: Results
    status: dict[str, object]
    facts: dict[str, str]
    findings: dict[str, Finding]
    refusals: dict[str, str]  # analysis -> why it is not for this run
    verdicts: list[Verdict]
    config: str
    environment: dict[str, object]

    @property
    def title(self) -> str:
        """The run's name and hash."""
        manifest = self.results.run.manifest
        return f"{manifest['name']}-{manifest['hash8']}"

    @property
    def snippets(self) -> dict[str, str]:
        """How to open the weights, by library."""
        file = self.results.run.path / "chunks" / "00000" / "weights.safetensors"
        given = {"file": repr(str(file)), "run": repr(str(self.results.run.path))}
        return {name: code.format(**given) for name, code in SNIPPETS.items()}

    @property
    def held(self) -> int:
        """How many claims came out."""
        return sum(one.passed for one in self.verdicts)


def gather(results: Results) -> Content:
    """Read a finished run, computing and keeping the findings that it does not have yet.

    Those that its configuration wants, and those that it has been asked for since.
    """
    run, experiment = results.run, results.plan.experiment
    verdicts = claims.check(results, experiment.expect)
    answers: dict[str, Finding] = {}
    refused: dict[str, str] = {}
    for name in dict.fromkeys((*analyses.wanted(experiment), *analyses.kept(results))):
        try:
            answers |= analyses.analyze(results, (name,))
        except InvalidInput as problem:
            refused[name] = str(problem)
    with contextlib.suppress(InvalidInput):
        for name in OVERVIEW if experiment.n_cells <= FEW_CELLS else ():
            answers |= analyses.analyze(results, (name,))
    return Content(
        results=results,
        status=run.status(),
        facts=facts(results),
        findings=dict(sorted(answers.items(), key=lambda item: item[0] == "cells")),
        refusals=refused,
        verdicts=verdicts,
        config=_read(run, "config.resolved.yaml"),
        environment=_environment(run),
    )


def facts(results: Results) -> dict[str, str]:
    """Say what was run, on what and for how long, a line each."""
    run, plan = results.run, results.plan
    base, manifest, columns = plan.experiment.base, run.manifest, results.summary
    model, data, train = base.model, base.data, base.train
    diverged = int((columns["status"] == "diverged").sum())
    falling = int((~columns["converged"]).sum()) - diverged
    seconds = list(_sessions(run))
    averaged = selection.remark(results)
    sessions = f" in {len(seconds)} sessions" if len(seconds) > 1 else ""
    return {
        "model": f"{model.kind}, {model.n_features} features in {model.n_hidden} dimensions",
        "data": f"{data.kind}, target {data.target}",
        "sweep": "; ".join(_axes(results)) or "none",
        "models": f"{manifest['cells']:,} cells × {plan.restarts:,} restarts = "
        f"{plan.n_models:,} models; select: {train.select}",
        **({"selection": averaged} if averaged else {}),
        "training": f"{train.optimizer}, {train.steps:,} steps, {train.objective} loss, "
        f"{train.dtype}",
        "losses": "; ".join(dict.fromkeys(objectives.judged_by(g.spec) for g in plan.groups)),
        "diverged": f"{diverged:,} of {plan.n_models:,}",
        "still falling": f"{max(0, falling):,} of {plan.n_models:,}",
        "device": f"{manifest['machine']['n_devices']} × {manifest['machine']['device']} "
        f"({manifest['machine']['platform']})",
        "time": f"{sum(seconds):,.0f} s{sessions}" if seconds else "unknown",
        "created": str(manifest["created"]),
    }


def _axes(results: Results) -> Iterator[str]:
    """Each axis of the grid in words; what is swept overrides the base above."""
    for axis in results.plan.experiment.axes:
        first, last = axis.item(0), axis.item(axis.length - 1)
        for name, start, stop in zip(axis.names, first, last, strict=True):
            yield f"{name}: {labels.value(start)} … {labels.value(stop)} ({axis.length} steps)"


def _sessions(run: Run) -> Iterator[float]:
    """The seconds of each session that ended well or was stopped, from the events."""
    begun = None
    for line in _read(run, "events.jsonl").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            at = datetime.fromisoformat(event["time"])
            if event["event"] == "started":
                begun = at
            elif begun and event["event"] in ("complete", "stopped", "failed"):
                yield (at - begun).total_seconds()
                begun = None


def _environment(run: Run) -> dict[str, object]:
    """The content of env.json as far as it can be read, packages in one line."""
    with contextlib.suppress(FolderRefused, AttributeError, TypeError):
        content = dict(fsio.read_json(run.path / "env.json"))
        packages = content.get("packages") or {}
        content["packages"] = ", ".join(f"{k} {v or 'unknown'}" for k, v in packages.items())
        git = content.get("git")
        content["git"] = f"{git['sha']}{' with changes' if git['dirty'] else ''}" if git else "none"
        content.pop("schema_version", None)
        return content
    return {}


def _read(run: Run, name: str) -> str:
    """A text file of the run folder; empty where it is missing."""
    with contextlib.suppress(OSError):
        return (run.path / name).read_text(encoding="utf-8", errors="replace")
    return ""

"""From a configuration to an opened run folder: plan, estimate, create or find again."""

import contextlib
import dataclasses
import json
import re
from pathlib import Path
from typing import NamedTuple

from superposition_cli import config
from superposition_cli.config import Experiment, hashing, strict_yaml, words
from superposition_cli.errors import FolderRefused, OutOfResources
from superposition_cli.running import devices, folder, fsio, grid
from superposition_cli.running.devices import Machine
from superposition_cli.running.environment import environment, now
from superposition_cli.running.folder import Run
from superposition_cli.running.grid import Plan
from superposition_cli.running.history import LOSS_STEPS, snapshot_steps
from superposition_cli.toy import objectives
from superposition_cli.toy.metrics import METRICS
from superposition_cli.toy.spec import Spec


class Estimate(NamedTuple):
    """What a plan will take, counted before anything is expanded."""

    cells: int
    models: int
    groups: int
    chunks: int
    programs: int  # training programs to compile
    bytes_memory: int
    bytes_disk: int
    model_steps: int


def make_plan(experiment: Experiment, machine: Machine, max_models: int) -> Plan:
    """Plan an experiment for this machine."""
    wanted = experiment.base.train.snapshots

    def size(spec: Spec, n_models: int) -> int:
        rows = len(snapshot_steps(spec.steps, wanted))
        return devices.chunk_models(machine, spec, n_models, rows)

    return grid.plan(experiment, size, max_models)


def estimate(plan: Plan, machine: Machine) -> Estimate:
    """Count what a plan will take on this machine."""
    programs, memory, disk, steps = set(), 0, 0, 0
    wanted = plan.experiment.base.train.snapshots
    for group in plan.groups:
        segment = devices.segment_steps(machine, group.spec, group.chunk_models)
        lengths = {min(segment, group.spec.steps), group.spec.steps % segment} - {0}
        programs |= {(group.spec, group.chunk_models, length) for length in lengths}
        snapshots = len(snapshot_steps(group.spec.steps, wanted))
        size = devices.parameters(group.spec) * (snapshots + 1) + LOSS_STEPS + 50
        disk += group.n_models * size * (8 if group.spec.dtype == "float64" else 4)
        work = devices.planned_bytes(machine, group.spec, snapshots)
        judging = devices.judging_bytes(group.spec, plan.experiment.metrics, group.chunk_models)
        at_once = min(machine.workers, group.n_chunks)
        memory = max(memory, group.chunk_models * work * machine.workers, judging * at_once)
        steps += group.n_models * group.spec.steps
    chunks = sum(group.n_chunks for group in plan.groups)
    cells = plan.experiment.n_cells
    return Estimate(
        cells, plan.n_models, len(plan.groups), chunks, len(programs), memory, disk, steps
    )


def open_run(
    experiment: Experiment, source: Path, path: Path, machine: Machine, max_models: int, fresh: bool
) -> tuple[Run, Plan]:
    """Return the run folder of an experiment, made now or found again, and its plan.

    Args:
        experiment: what is to be trained.
        source: the user's file, kept as it is.
        path: where the run folder is, or will be.
        machine: what trains; decides how a new plan is cut into chunks, and nothing else.
        max_models: the most there may be.
        fresh: whether an existing folder is moved aside.

    Returns:
        The run, opened but not locked, and its plan as it was first cut.

    Raises:
        FolderRefused: the folder holds another configuration, or files of something else.
        InvalidInput: the grid is too large or a combination does not fit.
        OutOfResources: the disk has no room for the results.
    """
    if fresh and path.exists():
        _make_room(path)
    if (path / "run.json").is_file() or path.is_symlink():
        found = Run.open(path)
        _demand_metrics(found)
        return reopen(experiment, found)
    there = [one.name for one in path.iterdir()] if path.is_dir() else []
    if set(there) - {".lock"} and "chunks" not in there:
        raise FolderRefused(f"{path}: holds files that are not of a run")
    plan = make_plan(experiment, machine, max_models)
    _demand_room(path, estimate(plan, machine), machine)
    files = _configuration(experiment, source)
    files |= {_kept_as(i, one): one.text for i, one in enumerate(words.LOADED.values())}
    with folder.creating(path):
        if (path / "run.json").is_file():  # another process was first
            return reopen(experiment, Run.open(path))
        return Run.create(path, _manifest(experiment, plan, machine), files), plan


def _demand_room(path: Path, needs: Estimate, machine: Machine) -> None:
    """Refuse a plan that takes more disk or memory than there is."""
    free = fsio.free_bytes(path.absolute())
    if needs.bytes_disk > free:
        raise OutOfResources(f"{path}: needs about {needs.bytes_disk:,} bytes, {free:,} are free")
    room = devices.available_bytes(machine)
    if needs.bytes_memory > room:
        raise OutOfResources(
            f"{path}: needs about {needs.bytes_memory:,} bytes of memory, {room:,} are free: fewer "
            "features, smaller batches, or no metrics that compare all pairs of features"
        )


def reopen(experiment: Experiment, run: Run) -> tuple[Run, Plan]:
    """Return an existing run and its plan, with the chunks as they were first cut."""
    known, asked = run.manifest["identity"], fsio.plain(config.identity(experiment))
    if known != asked:
        raise FolderRefused(
            f"{run.path}: holds another configuration: " + "; ".join(differences(known, asked))
        )
    sizes = iter(group["chunk_models"] for group in run.manifest["groups"])
    return run, grid.cut(experiment, lambda spec, n: next(sizes), experiment.n_cells * 10**7)


def remarks(plan: Plan) -> list[str]:
    """Say what a person may not expect of a plan: numbers that samples stand in for."""
    said = (line for group in plan.groups for line in objectives.sampled_for_want(group.spec))
    return list(dict.fromkeys(said))


def drift(run: Run, machine: Machine) -> list[str]:
    """Say what has changed since a run was made that its further numbers may depend on."""
    made = run.manifest["machine"]
    found = [
        f"{name} was {made[name]} and is {now_}"
        for name, now_ in machine._asdict().items()
        if name in ("platform", "device") and made[name] != now_
    ]
    with contextlib.suppress(FolderRefused, KeyError, TypeError):
        then = fsio.read_json(run.path / "env.json")["packages"]
        here = environment()["packages"]
        found += [
            f"{name} was {then[name]} and is {here[name]}"
            for name in ("jax", "jaxlib", "superposition-cli")
            if then[name] != here[name]
        ]
    return found


def adopt(run: Run, experiment: Experiment, source: Path) -> list[str]:
    """Take in what a configuration asks of an existing run, and say what is new in it.

    What is trained is the same; metrics, analyses and claims may be others than they were. The
    caller holds the folder's lock.
    """
    before = _read(run.path).model_copy(update={"name": experiment.name})
    if before == experiment:
        return []
    added = {
        "metrics": [one for one in experiment.metrics if one not in before.metrics],
        "analyses": [one for one in experiment.analyses if one not in before.analyses],
        "claims": [one.id for one in experiment.expect if one not in before.expect],
    }
    run.rewrite(_configuration(experiment, source))
    run.log("asked", **added)
    return [f"asked since: {what} {', '.join(names)}" for what, names in added.items() if names]


def load(path: Path) -> tuple[Run, Plan]:
    """Open a run folder with what is in it, and the plug-ins that its models rest on.

    Raises `FolderRefused` where these were not taken in before.
    """
    run = Run.open(path)
    _demand_plugins(run)
    return reopen(_read(path), run)


def _read(path: Path) -> Experiment:
    """The configuration that a folder was made from, or has taken in since."""
    try:
        text = (path / "config.resolved.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise FolderRefused(f"{path}: config.resolved.yaml is unreadable ({problem})") from problem
    return config.loads(text, str(path / "config.resolved.yaml"))


def _configuration(experiment: Experiment, source: Path) -> dict[str, str]:
    """The two texts of a configuration: as written, and with every default explicit."""
    resolved = strict_yaml.dumps(config.resolved(experiment))
    return {"config.yaml": source.read_bytes().decode(), "config.resolved.yaml": resolved}


def differences(known: object, asked: object, at: str = "") -> list[str]:
    """Say where two resolved configurations differ: `key: known -> asked`."""
    if isinstance(known, dict) and isinstance(asked, dict):
        keys = sorted({*known, *asked})
        found = [differences(known.get(k), asked.get(k), f"{at}.{k}".strip(".")) for k in keys]
        return [line for lines in found for line in lines]
    shown = (json.dumps(value) if value is not None else "default" for value in (known, asked))
    return [] if known == asked else [f"{at}: {' -> '.join(shown)}"]


def _make_room(path: Path) -> None:
    """Move a folder aside, unless a process is at work in it."""
    with Run(path, {}).locked() if path.is_dir() else contextlib.nullcontext():
        fsio.put_folder(path, _aside(path))


def _aside(path: Path) -> Path:
    """A free name beside a folder that makes room."""
    stamp = now().replace(":", "").replace("-", "")
    names = (path.with_name(f"{path.name}.{stamp}{suffix}") for suffix in ("", *"abcdefgh"))
    return next(name for name in names if not name.exists())


def _manifest(experiment: Experiment, plan: Plan, machine: Machine) -> dict[str, object]:
    """What run.json says: who the run is and how its models are cut into chunks."""
    groups = [
        {
            "spec": dataclasses.asdict(group.spec),
            "models": group.n_models,
            "chunk_models": group.chunk_models,
            "segment_steps": devices.segment_steps(machine, group.spec, group.chunk_models),
        }
        for group in plan.groups
    ]
    return {
        "name": experiment.name,
        "hash8": config.hash8(experiment),
        "created": now(),
        "identity": fsio.plain(config.identity(experiment)),
        "axes": [{"names": list(axis.names), "length": axis.length} for axis in experiment.axes],
        "cells": experiment.n_cells,
        "restarts": plan.restarts,
        "models": plan.n_models,
        "chunks": len(plan.chunks),
        "metrics": list(experiment.metrics),
        "plugins": _plugins(experiment),
        "groups": groups,
        "machine": machine._asdict(),
    }


def _plugins(experiment: Experiment) -> list[dict[str, object]]:
    """The files of the user's own that were in use, and whether the models rest on them."""
    vital = {source.sha256 for source in hashing.sources(experiment)}
    return [
        {
            "file": source.file,
            "sha256": source.sha256,
            "kept_as": _kept_as(number, source),
            "defines": list(source.defines),
            "in_hash": source.sha256 in vital,
        }
        for number, source in enumerate(words.LOADED.values())
    ]


def _kept_as(number: int, source: words.Source) -> str:
    """The name of a plug-in's text beside the user's YAML; not one that Python would run."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", source.file)[-80:]
    return f"plugin-{number}-{safe}.txt"


def _demand_plugins(run: Run) -> None:
    """Refuse a run whose models rest on plug-ins that this process does not have."""
    for plugin in run.manifest.get("plugins", ()):
        if plugin["in_hash"] and plugin["sha256"] not in words.LOADED:
            raise FolderRefused(
                f"{run.path}: was made with --use {plugin['file']} (its text is kept in "
                f"{plugin['kept_as']}); give the same file again"
            )


def _demand_metrics(run: Run) -> None:
    """Refuse to train on where a metric of the run is not there to be computed."""
    for name in run.manifest["metrics"]:
        if name not in METRICS:
            raise FolderRefused(f"{run.path}: measures {name}, which no --use FILE.py defines here")


def default_path(runs_dir: Path, experiment: Experiment) -> Path:
    """Return where a run goes when nobody says otherwise: <runs>/<name>-<hash8>."""
    return runs_dir / f"{experiment.name}-{config.hash8(experiment)}"

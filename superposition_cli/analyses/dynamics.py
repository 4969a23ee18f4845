"""How do feature dimensionalities and the loss move during training?

Read from the snapshots: D_i of every feature, its jumps, features that take the place of
others, and plateaus of the loss (see `course`). Every snapshot is judged as a finished
model is: by its expected loss where that can be computed, else on the evaluation data of its
cell, the same for all snapshots, so that little noise is left in differences.
Source: Elhage et al. 2022, "Superposition and learning dynamics".
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.errors import InvalidInput
from superposition_cli.measures.course import (
    NEAR,
    PLATEAUS,
    Course,
    Plateau,
    Windows,
    edges,
    fall,
    jump_correlation,
    late,
    plateaus,
    sticky_time,
    swaps,
    windows,
)
from superposition_cli.running import grid
from superposition_cli.running.results import Results
from superposition_cli.theory import correlation
from superposition_cli.toy import evaluate, metrics, train

SAMPLES = 8192  # at most so many judge a snapshot, where its loss has to be sampled
AT_LEVEL = 0.03  # relative distance of a plateau from the closed form it is at


def dynamics(results: Results) -> Finding:
    """Return jumps, swaps and plateaus of every model, and D_i of the selected ones.

    Numbers and rows are those of `overall`, `measured` and `stages`. Diverged models are left
    out. Arrays: step [S], model [N], loss [N, S]; edge [windows + 1], the rows of step between
    which jumps [N, windows] are counted; D and norms [cells, S, n] of the selected models.

    Raises `InvalidInput` for a run with models of several programs or without selected
    ones, or with too few snapshots.
    """
    check(results)
    columns, history = results.summary, results.history
    step, loss = history["snapshot_step"], losses(results)
    models = np.flatnonzero(columns["status"] == "ok")
    rows, counts, shown = [], [], []
    for model in map(int, models):
        D, norms = _dimensionality(history["snapshot_W"][model])
        course = Course(step, D, norms > metrics.REPRESENTED_NORM, loss[model])
        found = windows(course)
        waits = stages(plateaus(step, course.loss), known_levels(results, model))
        rows.append({**_address(results, model), **measured(course, found), **waits})
        counts.append(found)
        if columns["selected"][model]:
            shown.append((D, norms))
    arrays = {
        "step": step,
        "edge": edges(step),
        "model": models,
        "loss": loss[models],
        "jumps": np.stack([one.jumps for one in counts]),
        "D": np.stack([D for D, _ in shown]),
        "norms": np.stack([norms for _, norms in shown]),
    }
    return Finding(overall(rows, counts), tuple(rows), arrays)


def check(results: Results) -> None:
    """Raise `InvalidInput` where the course of a run's models cannot be told."""
    plan = results.plan
    if len(plan.groups) > 1:
        raise InvalidInput(
            "dynamics needs one program for all models: sweep no field that compiles"
        )
    if plan.experiment.base.train.select != "best":
        raise InvalidInput("dynamics shows one model of each cell: it needs train.select: best")
    if len(edges(results.history["snapshot_step"])) < 3:
        raise InvalidInput("dynamics needs more snapshots: see train.snapshots")
    if not np.any(results.summary["selected"]):
        raise InvalidInput("dynamics needs a model that did not diverge")


def losses(results: Results) -> np.ndarray:
    """Return the loss of all models at all snapshots, [N, S], each judged on one set of data."""
    plan, history = results.plan, results.history
    (group,) = plan.groups
    spec = replace(group.spec, eval_samples=min(group.spec.eval_samples, SAMPLES))
    kept = {name: history[f"snapshot_{name}"] for name in results.weights if name != "model"}
    n_models, n_snapshots = kept["W"].shape[:2]
    found = np.full((n_models, n_snapshots), np.nan)
    with jax.enable_x64(spec.dtype == "float64"):
        for chunk in plan.chunks:
            members = plan.members(chunk)
            knobs = grid.knobs_of(members, spec.dtype)
            _, keys = train.compiled(train.model_keys, (), *grid.roots_of(members))
            for s in range(n_snapshots):
                params = {name: leaf[members.model, s] for name, leaf in kept.items()}
                judged = train.compiled(evaluate.judge, (spec, ()), knobs, keys, params)
                found[members.model, s] = judged["loss"]
    return found


def measured(course: Course, found: Windows) -> dict[str, Any]:
    """Return what the row of a model says of its features.

    represented and sticky_half are of the last snapshot; sticky_time and half_time are shares
    of the time of represented features, at any of `metrics.STICKY_FRACTIONS` and at 1/2.
    late_ leaves out the first tenth of the steps, the rush in which most is learned.
    """
    return {
        "represented": int(course.represented[-1].sum()),
        "sticky_half": _mean(np.abs(course.D[-1] - 0.5)[course.represented[-1]] < NEAR),
        "sticky_time": sticky_time(course, metrics.STICKY_FRACTIONS),
        "half_time": sticky_time(course, (0.5,)),
        "swaps": swaps(course.represented),
        "jumps": int(found.jumps.sum()),
        "jump_correlation": jump_correlation([found]),
        "late_jumps": int(found.jumps[late(found).counted].sum()),
        "late_jump_correlation": jump_correlation([late(found)]),
        "fall_with_jumps": fall([found], jumped=True),
        "fall_without_jumps": fall([found], jumped=False),
        "loss_last": float(course.loss[-1]),
    }


def known_levels(results: Results, model: int) -> dict[str, float | None]:
    """Return the losses at which learning may wait, as far as there are closed forms.

    null: of answering the mean. For two correlated sets of one size, collapsed: of one direction
    for each set, orthogonal to each other; opposite: of two opposite ones. See `correlation`.
    """
    setting = results.plan.setting(model // results.plan.restarts)
    data, sizes = setting.data, {len(members) for members in setting.data.sets or ()}
    usual = setting.model.kind == "relu_output" and set(setting.importance()) == {1}
    usual &= (data.kind, data.target, data.low, data.high) == ("correlated", "identity", 0, 1)
    p = set(setting.feature_probability())
    known: dict[str, float | None] = {"null": float(results.summary["null_loss"][model])}
    if not usual or len(data.sets or ()) != 2 or len(sizes) > 1 or len(p) > 1:
        return {**known, "collapsed": None, "opposite": None}
    (size,), (chance,) = sizes, p
    both = 2 * correlation.collapsed_loss(chance, size), correlation.opposite_loss(chance, size)
    return {**known, "collapsed": float(both[0]), "opposite": float(both[1])}


def stages(found: list[Plateau], known: dict[str, float | None]) -> dict[str, Any]:
    """Return the plateaus of a model by number, and the known levels they are at.

    loss_<level>: the closed form; at_<level>: whether the level of a plateau is within 3 % of
    it; both None where there is none. collapse_level: that of the first plateau at either of
    the two levels of collapsed sets. plateau_1 is the first in time; None beyond the last.
    """
    at: dict[str, list[float]] = {}
    for name, level in known.items():
        at[name] = [p.level for p in found if level and abs(p.level / level - 1) < AT_LEVEL]
    collapse = [*at["collapsed"], *at["opposite"]]
    columns: dict[str, Any] = {f"loss_{name}": level for name, level in known.items()}
    columns |= {f"at_{n}": bool(at[n]) if level else None for n, level in known.items()}
    columns["collapse_level"] = collapse[0] if collapse else None
    for i in range(PLATEAUS):
        one = found[i]._asdict() if i < len(found) else dict.fromkeys(Plateau._fields)
        columns |= {f"plateau_{i + 1}_{name}": value for name, value in one.items()}
    return columns


def overall(rows: list[dict[str, Any]], counts: list[Windows]) -> dict[str, float | int | None]:
    """Put the models of a run together.

    Means over models, with these exceptions: jumps are added up, jump_correlation and fall_
    are over the windows of all models together; swap_share and at_<level> are shares of the
    models; longest_window is a share of the steps; collapse_ratio is the mean of collapse_level
    by loss_last.
    """
    waited = [row for row in rows if row["collapse_level"] is not None]
    means = ("sticky_half", "sticky_time", "half_time", "at_null", "at_collapsed", "at_opposite")
    steps = counts[0].start[-1] + counts[0].length[-1]
    return {
        "models": len(rows),
        "windows": len(counts[0].length),
        "longest_window": float(counts[0].length.max() / steps),
        **{name: _mean(row[name] for row in rows) for name in means},
        "sticky_half_least": min(row["sticky_half"] or 0.0 for row in rows),
        "swap_share": _mean(row["swaps"] > 0 for row in rows),
        "jumps": sum(row["jumps"] for row in rows),
        "jump_correlation": jump_correlation(counts),
        "late_jumps": sum(row["late_jumps"] for row in rows),
        "late_jump_correlation": jump_correlation([late(one) for one in counts]),
        "fall_with_jumps": fall(counts, jumped=True),
        "fall_without_jumps": fall(counts, jumped=False),
        "collapse_ratio": _mean(row["collapse_level"] / row["loss_last"] for row in waited),
        "loss_last_most": max(row["loss_last"] for row in rows),
    }


@jax.jit
def _measure(W: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(metrics.feature_dimensionality)(W), jax.vmap(metrics.feature_norms)(W)


def _dimensionality(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D_i and norms of one model's snapshots, [S, n, m] -> [S, n] each, in double precision."""
    with jax.enable_x64(True):
        D, norms = _measure(jnp.asarray(W, jnp.float64))
        return np.asarray(D), np.asarray(norms)


def _address(results: Results, model: int) -> dict[str, Any]:
    """The axes of a model's cell, its restart, and whether it stands for its cell."""
    cell, restart = divmod(model, results.plan.restarts)
    selected = bool(results.summary["selected"][model])
    return {**results.plan.assignment(cell), "restart": restart, "selected": selected}


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of what there is, None being left out; None where there is nothing."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None

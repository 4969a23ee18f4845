"""How do feature dimensionalities and the loss move during training?

Read from the snapshots: D_i of every feature, its jumps, features that take the place of
others, and plateaus of the loss (see `course`). Every snapshot is judged as a finished
model is: by its expected loss where that can be computed, else on the evaluation data of its
cell, the same for all snapshots, so that little noise is left in differences.
Source: Elhage et al. 2022, "Superposition and learning dynamics".
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs
from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row, mean
from superposition_cli.config.complaints import Place
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
from superposition_cli.running.history import snapshot_steps
from superposition_cli.running.results import Results
from superposition_cli.theory import correlation
from superposition_cli.toy import evaluate, metrics, train

SAMPLES = 8192  # at most so many judge a snapshot, where its loss has to be sampled
FEWEST_WINDOWS = 2  # of training, between snapshots
AT_LEVEL = 0.03  # relative distance of a plateau from the closed form it is at


def dynamics(results: Results) -> Finding:
    """Return jumps, swaps and plateaus of every model, and D_i of the selected ones.

    Numbers and rows are those of `overall`, `measured` and `stages`. Diverged models are left
    out. Raises `InvalidInput` where all models diverged.
    """
    if not np.any(results.summary["selected"]):
        raise InvalidInput("dynamics needs a model that did not diverge")
    columns, history = results.summary, results.history
    step, loss = history["snapshot_step"], losses(results)
    models = np.flatnonzero(columns["status"] == "ok")
    rows: list[Row] = []
    counts, shown = [], []
    for model in map(int, models):
        D, norms = _dimensionality(history["snapshot_W"][model])
        course = Course(step, D, norms > metrics.REPRESENTED_NORM, loss[model])
        counted = windows(course)
        waits = stages(plateaus(step, course.loss), known_levels(results, model))
        rows.append({**_address(results, model), **measured(course, counted), **waits})
        counts.append(counted)
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


def losses(results: Results) -> np.ndarray:
    """Return the loss of all models at all snapshots, [N, S], each judged on one set of data."""
    plan, history = results.plan, results.history
    (group,) = plan.groups
    spec = replace(group.spec, eval_samples=min(group.spec.eval_samples, SAMPLES))
    kept = {name: history[f"snapshot_{name}"] for name in results.weights if name != "model"}
    n_models, n_snapshots = kept["W"].shape[:2]
    loss = np.full((n_models, n_snapshots), np.nan)
    with jax.enable_x64(spec.dtype == "float64"):
        for chunk in plan.chunks:
            members = plan.members(chunk)
            knobs = grid.knobs_of(members, spec.dtype)
            _, keys = train.compiled(train.model_keys, (), *grid.roots_of(members))
            for s in range(n_snapshots):
                params = {name: leaf[members.model, s] for name, leaf in kept.items()}
                judged = train.compiled(evaluate.judge, (spec, ()), knobs, keys, params)
                loss[members.model, s] = judged["loss"]
    return loss


def measured(course: Course, counted: Windows) -> Row:
    """Return what the row of a model says of its features.

    represented and sticky_half are of the last snapshot; sticky_time and half_time are shares
    of the time of represented features, at any of `metrics.STICKY_FRACTIONS` and at 1/2.
    late_ leaves out the first tenth of the steps, the rush in which most is learned.
    """
    return {
        "represented": int(course.represented[-1].sum()),
        "sticky_half": mean(np.abs(course.D[-1] - 0.5)[course.represented[-1]] < NEAR),
        "sticky_time": sticky_time(course, metrics.STICKY_FRACTIONS),
        "half_time": sticky_time(course, (0.5,)),
        "swaps": swaps(course.represented),
        "jumps": int(counted.jumps.sum()),
        "jump_correlation": jump_correlation([counted]),
        "late_jumps": int(counted.jumps[late(counted).counted].sum()),
        "late_jump_correlation": jump_correlation([late(counted)]),
        "fall_with_jumps": fall([counted], jumped=True),
        "fall_without_jumps": fall([counted], jumped=False),
        "loss_last": float(course.loss[-1]),
    }


def known_levels(results: Results, model: int) -> dict[str, float | None]:
    """Return the losses at which learning may wait, as far as there are closed forms.

    null: of answering the mean. For two correlated sets of one size, collapsed: of one direction
    for each set, orthogonal to each other; opposite: of two opposite ones. See `correlation`.
    """
    setting = results.plan.setting(model // results.plan.restarts)
    data, sizes = setting.data, {len(members) for members in setting.sets()}
    usual = setting.model.kind == "relu_output" and set(setting.importance()) == {1}
    usual &= (data.kind, data.target, data.low, data.high) == ("correlated", "identity", 0, 1)
    p = set(setting.feature_probability())
    known: dict[str, float | None] = {"null": float(results.summary["null_loss"][model])}
    if not usual or len(setting.sets()) != 2 or len(sizes) > 1 or len(p) > 1:
        return {**known, "collapsed": None, "opposite": None}
    (size,), (chance,) = sizes, p
    both = 2 * correlation.collapsed_loss(chance, size), correlation.opposite_loss(chance, size)
    return {**known, "collapsed": float(both[0]), "opposite": float(both[1])}


def stages(waits: list[Plateau], known: dict[str, float | None]) -> Row:
    """Return the plateaus of a model by number, and the known levels they are at.

    loss_<level>: the closed form; at_<level>: whether the level of a plateau is within 3 % of
    it; both None where there is none. collapse_level: that of the first plateau at either of
    the two levels of collapsed sets. plateau_1 is the first in time; None beyond the last.
    """
    at: dict[str, list[float]] = {}
    for name, level in known.items():
        at[name] = [p.level for p in waits if level and abs(p.level / level - 1) < AT_LEVEL]
    collapse = [*at["collapsed"], *at["opposite"]]
    columns: dict[str, float | None] = {f"loss_{name}": level for name, level in known.items()}
    columns |= {f"at_{n}": bool(at[n]) if level else None for n, level in known.items()}
    columns["collapse_level"] = collapse[0] if collapse else None
    for i in range(PLATEAUS):
        plateau = waits[i]._asdict() if i < len(waits) else dict.fromkeys(Plateau._fields)
        columns |= {f"plateau_{i + 1}_{name}": value for name, value in plateau.items()}
    return columns


def overall(rows: list[Row], counts: list[Windows]) -> dict[str, float | int | None]:
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
        **{name: mean(row[name] for row in rows) for name in means},
        "sticky_half_least": min(row["sticky_half"] or 0.0 for row in rows),
        "swap_share": mean(row["swaps"] > 0 for row in rows),
        "jumps": sum(row["jumps"] for row in rows),
        "jump_correlation": jump_correlation(counts),
        "late_jumps": sum(row["late_jumps"] for row in rows),
        "late_jump_correlation": jump_correlation([late(one) for one in counts]),
        "fall_with_jumps": fall(counts, jumped=True),
        "fall_without_jumps": fall(counts, jumped=False),
        "collapse_ratio": mean(row["collapse_level"] / row["loss_last"] for row in waited),
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


def _address(results: Results, model: int) -> Row:
    """The axes of a model's cell, its restart, and whether it stands for its cell."""
    cell, restart = divmod(model, results.plan.restarts)
    selected = bool(results.summary["selected"][model])
    return {**results.plan.assignment(cell), "restart": restart, "selected": selected}


LEVELS = {
    "null": "of answering the mean",
    "collapsed": "of one direction for each of two correlated sets",
    "opposite": "of two correlated sets on opposite directions",
}
COUNTED = {
    "jumps": Key("changes of a D_i by more than .1 between the edges of a window"),
    "jump_correlation": Key("correlation of jumps in a window with the fall of ln L per step"),
    "late_jumps": Key("jumps after the first tenth of the steps"),
    "late_jump_correlation": Key("jump_correlation after the first tenth of the steps"),
    "fall_with_jumps": Key("mean fall of ln L in windows with jumps"),
    "fall_without_jumps": Key("mean fall of ln L in windows without"),
}
PARTS = {
    "level": Key("loss of plateau {}", "loss"),
    "start": Key("first step of plateau {}", "steps"),
    "stop": Key("last step of plateau {}", "steps"),
}
STICKY = {
    "sticky_half": Key("share of represented features with D_i near 1/2 at the last snapshot"),
    "sticky_time": Key("share of their time that represented features spend at a sticky D_i"),
    "half_time": Key("share of their time that represented features spend at D_i = 1/2"),
}


def _few_snapshots(cells: needs.Cells) -> Place | None:
    """The number of snapshots, where they part training into too few windows."""
    kept = cells.experiment.train.snapshots
    steps = [snapshot_steps(setting.train.steps, kept) for setting in cells.settings(needs.STEPS)]
    few = any(len(edges(step)) <= FEWEST_WINDOWS for step in steps)
    return ("train", "snapshots") if few else None


SNAPSHOTS = needs.WholeGrid(
    f"needs more snapshots, at least {FEWEST_WINDOWS} windows of training between them",
    _few_snapshots,
)
ANALYSIS = Analysis(
    question="How do feature dimensionalities and the loss move during training?",
    needs=(needs.ONE_PROGRAM, SNAPSHOTS),
    runs_on="cpu",
    keys=Keys(
        numbers={
            "models": Key("models that did not diverge"),
            "windows": Key("windows of training"),
            "longest_window": Key("the longest window by the number of steps"),
            **{k: one._replace(meaning=f"{one.meaning}, mean") for k, one in STICKY.items()},
            **{f"at_{k}": Key(f"share of models with a plateau at loss_{k}") for k in LEVELS},
            "sticky_half_least": Key("least sticky_half of a model"),
            "swap_share": Key("share of models in which features are swapped"),
            **COUNTED,
            "collapse_ratio": Key("collapse_level by loss_last, mean over models"),
            "loss_last_most": Key("largest loss_last of a model", "loss"),
        },
        rows={
            "restart": Key("number of the restart in its cell"),
            "selected": Key("whether it is the selected model of its cell", "bool"),
            "represented": Key("features with ‖W_i‖ > 1/2 at the last snapshot"),
            **STICKY,
            "swaps": Key("features that take the place of others"),
            **COUNTED,
            "loss_last": Key("loss at the last snapshot", "loss"),
            **{f"loss_{k}": Key(f"loss {what}, if known", "loss") for k, what in LEVELS.items()},
            **{f"at_{k}": Key(f"whether a plateau is at loss_{k}", "bool") for k in LEVELS},
            "collapse_level": Key("first plateau at loss_collapsed or loss_opposite", "loss"),
            **{
                f"plateau_{i}_{name}": key._replace(meaning=key.meaning.format(i))
                for i in range(1, PLATEAUS + 1)
                for name, key in PARTS.items()
            },
        },
        arrays={
            "step": Key("updates before each snapshot", "steps", "[S]"),
            "edge": Key("snapshots at the edges of windows", shape="[windows + 1]"),
            "model": Key("numbers of the models in the run", shape="[N]"),
            "loss": Key("loss of each snapshot", "loss", "[N, S]"),
            "jumps": Key("jumps in each window", shape="[N, windows]"),
            "D": Key("D_i of the selected models", shape="[C, S, n]"),
            "norms": Key("‖W_i‖ of the selected models", shape="[C, S, n]"),
        },
    ),
    compute=dynamics,
)

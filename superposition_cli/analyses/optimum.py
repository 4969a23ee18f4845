"""The best expected loss of a setting: L-BFGS on the exact objective, from many starts.

What training would reach without noise, with the best of luck and in double precision: the
reference that trained models and closed forms are held against. For every setting whose
expected loss can be computed (see `objectives.has_expected_loss`). Weight decay is left out.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from superposition_cli.config import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.running import devices, grid
from superposition_cli.toy import objectives, train
from superposition_cli.toy.spec import Knobs, Params, Spec, State

STARTS = 16
SEGMENT = 10  # steps between two looks at the losses
MOST_STEPS = 300
SETTLED = 1e-9  # gain of a segment, in units of the null loss, below which searches end
CHUNK = 128  # searches together: the slowest line search of a step holds up the others
MOST_NODES = 16_384  # of the quadrature, from three active features on, that judges the ends
TIED = 1e-6  # losses that differ by less than this share of the least are equal


class Optimum(NamedTuple):
    """Where S searches ended for each of C settings; the best of them is the optimum."""

    params: Params  # [C, S, ...]
    losses: np.ndarray  # [C, S], the expected loss; inf where a search diverged

    @property
    def loss(self) -> np.ndarray:
        """The least loss of each setting, [C]."""
        return np.min(self.losses, axis=1)

    @property
    def best(self) -> Params:
        """The parameters of least loss of each setting, [C, ...]."""
        rows, columns = np.arange(len(self.losses)), np.argmin(self.losses, axis=1)
        return {name: values[rows, columns] for name, values in self.params.items()}

    @property
    def tied(self) -> np.ndarray:
        """Which searches ended at the least loss of their setting, [C, S]."""
        return np.asarray(self.losses <= self.loss[:, None] * (1 + TIED))


def of_settings(
    settings: Sequence[Setting], starts: int = STARTS, also: Params | None = None
) -> Optimum:
    """Return the optimum of C settings that differ in nothing that is compiled; see `search`.

    Objective, optimiser, dtype, batch size and number of steps of the settings do not matter.
    Raises `InvalidInput` where they need several programs or cannot be searched.
    """
    specs = {exact(grid.spec_of(setting)) for setting in settings}
    if len(specs) != 1:
        raise InvalidInput(f"one search is for settings of one Spec, not of {len(specs)}")
    row = np.arange(len(settings))
    knobs = grid.knobs_of(grid.Members(row, row, row, row, list(settings)), "float64")
    return search(specs.pop(), knobs, starts, also)


def search(spec: Spec, knobs: Knobs, starts: int = STARTS, also: Params | None = None) -> Optimum:
    """Minimise the expected loss of C settings, each from S starts, in float64.

    Starts are `starts` draws of the model's initialisation, the same for every setting, then
    those of `also`: for instance trained models, to be polished, or guesses by theory. A
    search ends when a segment of steps gains it next to nothing, or after `MOST_STEPS`. A
    minimum that no start leads to stays unknown: the loss is an upper bound.

    Shapes: knobs [C, ...], also [C, E, ...]; S = starts + E. Raises `InvalidInput` as
    `exact` does.
    """
    wanted = exact(spec)
    settings = len(knobs.low)
    with jax.enable_x64(True):
        begin = _beginnings(wanted, knobs, starts, also)
        each = begin["b"].shape[1]
        own = _take(knobs, np.repeat(np.arange(settings), each))
        flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in begin.items()}
        params, loss = _descend(wanted, own, flat)
    ends = {name: end.reshape(settings, each, *end.shape[1:]) for name, end in params.items()}
    return Optimum(ends, loss.reshape(settings, each))


def exact(spec: Spec) -> Spec:
    """Return the program that searches the optimum of a `Spec`.

    Raises `InvalidInput` where the expected loss cannot be computed.
    """
    if not objectives.has_null_loss(spec):
        raise InvalidInput(f"the exact optimum needs exact moments, and {spec.data} data have none")
    if not objectives.has_expected_loss(spec):
        why = objectives.without_patterns(spec)
        raise InvalidInput(f"the exact optimum needs the expected loss, and {why}")
    return replace(
        spec,
        objective="population",
        optimizer="lbfgs",
        loss_reduction="sum_features",
        schedule="constant",
        steps=MOST_STEPS,
        dtype="float64",
    )


def _beginnings(spec: Spec, knobs: Knobs, starts: int, also: Params | None) -> Params:
    """All starts of all settings, [C, S, ...]."""
    settings = len(knobs.low)
    own = _take(knobs, np.repeat(np.arange(settings), starts))
    drawn = _start(spec, own, np.tile(np.arange(starts), settings)).params
    begin: dict[str, Any] = {
        name: value.reshape(-1, starts, *value.shape[1:]) for name, value in drawn.items()
    }
    if also is not None:
        begin = {name: np.concatenate([begin[name], also[name]], axis=1) for name in begin}
    return begin


def _descend(spec: Spec, knobs: Knobs, begin: Params) -> tuple[Params, np.ndarray]:
    """Parameters and losses [N] at the end of N searches; those that settle leave."""
    count = len(knobs.low)
    machine = devices.this_machine()
    size = min(CHUNK, devices.chunk_models(machine, spec, count))
    least = SETTLED * np.asarray(jax.vmap(partial(objectives.null_loss, spec))(knobs))
    state = _start(spec, knobs, np.arange(count))._replace(params=begin)
    live = np.arange(count)
    with ThreadPoolExecutor(machine.workers) as pool:
        for at in range(0, spec.steps, SEGMENT):
            gains, chunks = [np.zeros(0)], _cut(live, size)
            advance = devices.as_here(partial(_segment, spec, knobs, state, at, size))
            for rows, (end, gain) in zip(chunks, pool.map(advance, chunks), strict=True):
                jax.tree.map(lambda leaf, new, rows=rows: leaf.__setitem__(rows, new), state, end)
                gains.append(gain)
            live = live[np.concatenate(gains) > least[live]]
        judge = devices.as_here(partial(_judged, spec, knobs, state.params, size))
        loss = np.concatenate(list(pool.map(judge, _cut(np.arange(count), size))))
    return state.params, np.where(np.isfinite(loss), loss, np.inf)


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """A chunk of `size`, the last one repeated as needed."""
    return rows[np.minimum(np.arange(size), len(rows) - 1)]


def _segment(
    spec: Spec, knobs: Knobs, state: State, at: int, size: int, rows: np.ndarray
) -> tuple[State, np.ndarray]:
    """Advance the searches `rows` by `SEGMENT` steps; return their state and what they gained."""
    filled = _filled(rows, size)
    given = (_take(knobs, filled), _keys(filled), _take(state, filled))
    segment = train.run(train.TOY, spec, *given, range(at, at + SEGMENT))
    loss = np.asarray(segment.loss)[:, : len(rows)]
    return _take(segment.state, slice(len(rows))), loss[0] - loss[-1]


def _judged(spec: Spec, knobs: Knobs, params: Params, size: int, rows: np.ndarray) -> np.ndarray:
    """The losses of some searches with as fine a quadrature as `MOST_NODES` allows."""
    filled, finer = _filled(rows, size), objectives.affordable(spec, MOST_NODES)
    with jax.enable_x64(True):  # a matter of the thread
        arrays = (_take(knobs, filled), _take(params, filled))
        return np.asarray(train.compiled(_losses, (spec, finer), *arrays))[: len(rows)]


@partial(jax.jit, static_argnums=(0, 1))
def _losses(spec: Spec, finer: int, knobs: Knobs, params: Params) -> jax.Array:
    return jax.vmap(partial(objectives.expected_loss, spec, finer=finer))(knobs, params)


def _start(spec: Spec, knobs: Knobs, number: np.ndarray) -> State:
    """Initialise N models by the numbers of their starts alone, in arrays to be written to."""
    return jax.tree.map(np.array, train.start(train.TOY, spec, knobs, _keys(number)))


def _keys(number: np.ndarray) -> jax.Array:
    zeros, words = np.zeros(len(number), np.uint32), np.zeros((len(number), 2), np.uint32)
    return train.model_keys(zeros, words, zeros == 0, number.astype(np.uint32))[0]


def _take(tree: object, rows: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], tree)

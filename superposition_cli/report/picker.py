"""What the page's cell picker shows: the weights of one model per cell, a page can hold."""

import math

import numpy as np

from superposition_cli.report import labels
from superposition_cli.running.results import Results

MAX_CELLS = 1_000
MAX_NUMBERS = 120_000  # about 700 kB of JSON
MAX_FEATURES = 256  # beyond, a Gram matrix has more entries than a screen has room for


def cells(results: Results) -> dict[str, object]:
    """Return axes, and for each chosen cell W, b, importance and losses of its best selected model.

    Steps of the axes are left out evenly until everything fits; `left_out` says how many
    cells are. Empty `cells` where a single model is already too large. A cell in which
    every model diverged is None.
    """
    steps = chosen_steps(results)
    if steps is None:
        return {"axes": [], "cells": [], "left_out": results.plan.experiment.n_cells}
    axes = results.plan.experiment.axes
    shape = tuple(axis.length for axis in axes)
    numbers = [
        int(np.ravel_multi_index(place, shape)) if shape else 0
        for place in _product([list(one) for one in steps])
    ]
    described = [
        {
            "name": ", ".join(labels.heading(name) for name in axis.names),
            "values": [", ".join(map(labels.value, axis.item(i))) for i in items],
        }
        for axis, items in zip(axes, steps, strict=True)
    ]
    return {
        "axes": described,
        "cells": [_cell(results, number) for number in numbers],
        "left_out": results.plan.experiment.n_cells - len(numbers),
    }


def chosen_steps(results: Results) -> list[list[int]] | None:
    """Return the steps of each axis that are kept, None where not even one model fits."""
    sizes = [(group.spec.n_features, group.spec.n_hidden) for group in results.plan.groups]
    numbers = max(n * (m + 2) for n, m in sizes)
    room = min(MAX_CELLS, MAX_NUMBERS // numbers)
    if room < 1 or max(n for n, _ in sizes) > MAX_FEATURES:
        return None
    lengths = [axis.length for axis in results.plan.experiment.axes]
    while math.prod(lengths) > room:
        longest = max(range(len(lengths)), key=lambda i: lengths[i])
        lengths[longest] = -(-lengths[longest] // 2)
    every = results.plan.experiment.axes
    return [
        [int(i) for i in np.linspace(0, axis.length - 1, kept).round()] if kept > 1 else [0]
        for axis, kept in zip(every, lengths, strict=True)
    ]


def _product(choices: list[list[int]]) -> list[tuple[int, ...]]:
    """All combinations, the last axis fastest."""
    shape = [len(one) for one in choices]
    return [tuple(c[i] for c, i in zip(choices, at, strict=True)) for at in np.ndindex(*shape)]


def _cell(results: Results, number: int) -> dict[str, object] | None:
    model = results.selected.get(number)
    if model is None:
        return None
    weights = results.model(model)
    values = {name: float(results.summary[name][model]) for name in ("loss", "loss_normalised")}
    return {
        "model": model,
        "W": _short(weights["W"]),
        "b": _short(weights["b"]),
        "importance": _short(np.array(results.plan.setting(number).importance())),
        **{name: float(f"{value:.4g}") for name, value in values.items()},
    }


def _short(values: np.ndarray) -> list[object]:
    """Numbers to three decimals, which is more than a screen shows."""
    return np.round(np.asarray(values, float), 3).tolist()

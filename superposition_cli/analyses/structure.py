"""What has each cell's best model stored, and how does it compare with a linear model?"""

from typing import Any

import jax
import numpy as np

from superposition_cli import data, geometry, grid, theory
from superposition_cli.findings import Finding
from superposition_cli.results import Results


def structure(results: Results) -> Finding:
    """Return per cell the polytopes of the embedding, its gaps, and loss / linear optimum.

    linear_ratio is the loss by that of the best linear model of the same data, by closed
    form (Eckart and Young; see `theory.linear_optimum`); null where that has none. Gaps are
    angles in degrees between neighbouring represented features, for two hidden dimensions.
    Cells without a selected model (all diverged, or a rule that averages) are left out.
    """
    columns = results.cells
    chosen = np.asarray(columns["selected_model"], float)
    rows = []
    for cell in np.flatnonzero(np.isfinite(chosen)):
        W = results.model(int(chosen[cell]))["W"].astype(np.float64)
        row = {**results.plan.assignment(int(cell)), **_of_embedding(W)}
        row["linear_ratio"] = _linear_ratio(results, int(cell), float(columns["loss"][cell]))
        rows.append(row)
    return Finding({"cells": len(rows)}, tuple(rows))


def _of_embedding(W: np.ndarray) -> dict[str, Any]:
    gaps = geometry.angles_2d(W) if W.shape[1] == 2 else np.zeros(0)
    norms = np.linalg.norm(W, axis=1)
    return {
        "structure": geometry.describe(W).split(" (")[0],
        "represented": int((norms > 0.5).sum()),
        "smallest_norm": float(norms.min()),
        "smallest_gap": float(gaps[0]) if len(gaps) else None,
        "largest_gap": float(gaps[-1]) if len(gaps) else None,
    }


def _linear_ratio(results: Results, cell: int, loss: float) -> float | None:
    """The loss by the linear optimum of the cell's data, in double precision."""
    setting = results.plan.setting(cell)
    with jax.enable_x64(True):
        knobs = grid.knobs_of_one(setting, "float64")
        covariance = np.asarray(data.moments(grid.spec_of(setting), knobs).covariance)
    try:
        return loss / theory.linear_optimum(knobs.importance, covariance, setting.model.n_hidden)
    except (ValueError, ZeroDivisionError):
        return None

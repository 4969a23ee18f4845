"""A finished run as arrays: tables, weights, history and metrics, in the order of the models.

import superposition_cli
run = superposition_cli.load("runs/intro-75921ba4")
run.cells["loss_normalised"]; run.weights["W"].shape
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from superposition_cli.config.complaints import hint
from superposition_cli.errors import FolderRefused, InvalidInput
from superposition_cli.running import launch, measuring, tables
from superposition_cli.running.folder import Run
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.grid import Plan
from superposition_cli.running.records import SHARED
from superposition_cli.toy.metrics import METRICS

VECTORS = ("feature_probability", "importance")


def model(run: Run, plan: Plan, number: int) -> Arrays:
    """Return the parameters of one finished model, by its number."""
    if not 0 <= number < plan.n_models:
        raise InvalidInput(f"{run.path}: has models 0 to {plan.n_models - 1}, not {number}")
    chunk, row = plan.find(number)
    weights = _part(run, chunk.number, "weights")
    return {name: array[row] for name, array in weights.items() if name != "model"}


@functools.lru_cache(maxsize=2)
def _part(run: Run, chunk: int, part: str) -> Arrays:
    """A part of a chunk; neighbouring models are mostly asked for one after the other."""
    return run.read(chunk, part)


class Chosen(Mapping[int, int]):
    """One model of each cell by the cell's number, without the cells that have none.

    Args:
        models: the model's number [cells], NaN where there is none.
    """

    def __init__(self, models: np.ndarray) -> None:
        self._models = models

    def __len__(self) -> int:
        return int(np.isfinite(self._models).sum())

    def __iter__(self) -> Iterator[int]:
        return map(int, np.flatnonzero(np.isfinite(self._models)))

    def __getitem__(self, cell: int) -> int:
        if not 0 <= cell < len(self._models) or not np.isfinite(self._models[cell]):
            raise KeyError(cell)
        return int(self._models[cell])

    def __repr__(self) -> str:
        return f"Chosen({len(self)} cells)"


class Results:
    """A finished run, read as it is asked for.

    Args:
        path: the run folder.

    Raises:
        FolderRefused: the folder is no sound run, is unfinished, or rests on a plug-in that was
            not taken in (`superposition_cli.use`).
    """

    def __init__(self, path: Path) -> None:
        self.run, self.plan = launch.load(path)
        missing = [c.number for c in self.plan.chunks if not self.run.is_committed(c.number)]
        if missing:
            raise FolderRefused(f"{path}: {len(missing)} of its chunks are still to be trained")

    def __repr__(self) -> str:
        return f"Results({str(self.run.path)!r}, {self.plan.n_models} models)"

    @cached_property
    def summary(self) -> Mapping[str, np.ndarray]:
        """One entry per column of the summary, read when asked for: one value per model."""
        return tables.load(self.run.path, self.plan, tables.SUMMARY)

    @cached_property
    def cells(self) -> Mapping[str, np.ndarray]:
        """One entry per column of the table of cells, read when asked for: one value per cell."""
        return tables.load(self.run.path, self.plan, tables.CELLS)

    @property
    def averages(self) -> bool:
        """Whether the table of cells holds means over several models of a cell."""
        return self.plan.experiment.train.select != "best"

    @cached_property
    def selected(self) -> Mapping[int, int]:
        """The number of the model that stands for each cell, by the cell's number.

        Under every rule the one of least loss among those it keeps; cells whose models all
        diverged are left out.
        """
        chosen = np.asarray(self.cells["selected_model"], float)
        if self.averages and not np.isfinite(chosen).any():  # version 0.1.0 did not say
            by_cell = (len(chosen), self.plan.restarts)
            loss, kept = (self.summary[name].reshape(by_cell) for name in ("loss", "selected"))
            chosen = np.arange(len(chosen)) * self.plan.restarts + tables.best_of(loss, kept)
        return Chosen(chosen)

    @cached_property
    def vectors(self) -> Arrays:
        """feature_probability and importance of every cell, each [cells, n].

        NaN beyond a cell's own n where cells differ in it.
        """
        settings = [self.plan.setting(cell) for cell in range(self.plan.experiment.n_cells)]
        most = max(setting.model.n_features for setting in settings)
        made = {name: np.full((len(settings), most), np.nan) for name in VECTORS}
        for cell, setting in enumerate(settings):
            for name, array in made.items():
                numbers = getattr(setting, name)()
                array[cell, : len(numbers)] = numbers
        return made

    @cached_property
    def weights(self) -> Arrays:
        """The parameters of all models: W [N, n, m], b [N, n], for abs also U [N, n, m]."""
        return self._joined("weights")

    @cached_property
    def history(self) -> Arrays:
        """loss [N, H] at loss_step [H]; snapshot_W [N, S, n, m] ... at snapshot_step [S]."""
        return self._joined("history")

    @cached_property
    def metrics(self) -> Arrays:
        """Every metric of every model, the model axis first."""
        return self._joined("metrics")

    def measure(self, names: Iterable[str]) -> tuple[str, ...]:
        """Compute metrics that the run was not trained with; return those it did not have.

        Nothing is written where it has them all. Raises `FolderRefused` where another process
        works in the folder, `InvalidInput` for a name that no metric has.
        """
        wanted = tuple(names)
        if unknown := [name for name in wanted if name not in METRICS]:
            raise InvalidInput(f"{unknown[0]}: there is no such metric{hint(unknown[0], METRICS)}")
        if not wanted:
            return ()
        with self.run.locked():
            added = measuring.measure(self.run, self.plan, wanted)
        for stale in ("summary", "cells", "metrics"):
            self.__dict__.pop(stale, None)
        return added

    def model(self, number: int) -> Arrays:
        """Return the parameters of one model, by its number in the summary."""
        return model(self.run, self.plan, number)

    def curve(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the kept steps [H] of one model's training and the loss [H] at each."""
        chunk, row = self.plan.find(number)
        history = _part(self.run, chunk.number, "history")
        return history["loss_step"], history["loss"][row]

    def to_pandas(self) -> object:
        """Return the summary as a pandas DataFrame (needs the `analysis` extra)."""
        import pandas

        return pandas.DataFrame(dict(self.summary))

    def to_xarray(self) -> object:
        """Return scalar results over the sweep's axes and `restart` (the `analysis` extra).

        Axes that vary together (zip) share one dimension, named by the first of them.
        """
        import xarray

        axes = self.plan.experiment.axes
        shape = (*(axis.length for axis in axes), self.plan.restarts)
        dims = (*(axis.names[0] for axis in axes), "restart")
        coords: dict[str, object] = {"restart": np.arange(self.plan.restarts)}
        for axis in axes:
            for index, name in enumerate(axis.names):
                values = [axis.item(i)[index] for i in range(axis.length)]
                simple = all(isinstance(value, int | float | str) for value in values)
                coords[name] = (axis.names[0], values if simple else list(map(str, values)))
        skip = {"model", "cell", "restart", *coords}
        arrays = {k: (dims, v.reshape(shape)) for k, v in self.summary.items() if k not in skip}
        return xarray.Dataset(arrays, coords)

    def _joined(self, part: str) -> Arrays:
        """Join one part of all chunks and put its models in the order of their numbers."""
        chunks = [self.run.read(chunk.number, part) for chunk in self.plan.chunks]
        order = np.argsort(np.concatenate([self.plan.models(c) for c in self.plan.chunks]))
        joined = {}
        for name, first in chunks[0].items():
            pieces = [chunk[name] for chunk in chunks if name in chunk]
            if name in SHARED:
                joined[name] = first
                continue
            if len(pieces) < len(chunks) or len({one.shape[1:] for one in pieces}) > 1:
                raise ValueError(f"{name} differs in shape between models; use .model(number)")
            joined[name] = np.concatenate(pieces)[order]
        return joined

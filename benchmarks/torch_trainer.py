"""The reference column: the published notebook's trainer, re-created from its description.

It is the program a PyTorch user writes for this: every model in one module with stacked
parameters, batch first, einsum, two uniform draws per batch, eager AdamW. Shapes are
W [K, n, m], b [K, n], x [B, K, n]. PyTorch is imported when it is first needed.

One thing differs from the notebook: it draws Xavier-normal weights for the stacked tensor,
whose spread then depends on how many models are stacked. Here each model gets the spread of
its own matrix, as in the other trainers, so that the quality gate compares training alone.
"""

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from timing import Timing, time_calls

if TYPE_CHECKING:
    from superposition_cli.bench import Workload

NAME = "pytorch"
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
MISSING = (
    "PyTorch is not installed, so the pytorch column is left out. To have it, install the "
    "package `torch` into this environment with pip; where there is no GPU, add pip's "
    "--index-url option with the address of PyTorch's index of CPU wheels (its installation "
    "page names it), which gives a much smaller build."
)


class TorchMissingError(Exception):
    """PyTorch cannot be imported; the message says how to get it."""


def load_torch(threads: int | None = None) -> ModuleType:
    """Import PyTorch, limited to so many threads, or raise `TorchMissingError`."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise TorchMissingError(MISSING) from error
    if threads is not None:
        torch.set_num_threads(threads)
    return torch


def build_model(torch: ModuleType, n_models: int, n_features: int, n_hidden: int) -> Any:
    """Return the stacked models: relu(W (Wᵀ x) + b), Xavier-normal W, zero b."""
    spread = math.sqrt(2 / (n_features + n_hidden))

    class StackedModels(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weights = torch.randn(n_models, n_features, n_hidden)
            self.W = torch.nn.Parameter(spread * weights)
            self.b = torch.nn.Parameter(torch.zeros(n_models, n_features))

        def forward(self, x: Any) -> Any:
            hidden = torch.einsum("bkn,knm->bkm", x, self.W)
            return torch.relu(torch.einsum("bkm,knm->bkn", hidden, self.W) + self.b)

    return StackedModels()


class Trainer:
    """One module, one optimiser, and fresh samples for every step."""

    def __init__(self, workload: "Workload", seed: int = 0) -> None:
        self.torch = load_torch()
        self.torch.manual_seed(seed)
        models, n = workload.models, workload.n_features
        self.model = build_model(self.torch, models, n, workload.n_hidden)
        self.optimizer = self.torch.optim.AdamW(
            self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        self.shape = (workload.batch_size, models, n)
        density = np.asarray(workload.feature_probability, np.float32)[:, None]
        self.density = self.torch.from_numpy(density)
        self.importance = self.torch.from_numpy(np.asarray(workload.importance, np.float32))
        self.zero = self.torch.zeros(())

    def draw(self) -> Any:
        """Draw x [B, K, n]: each entry is active with its model's density, then U[0, 1)."""
        active = self.torch.rand(self.shape) <= self.density
        return self.torch.where(active, self.torch.rand(self.shape), self.zero)

    def step(self) -> None:
        """Take one optimisation step of every model."""
        x = self.draw()
        self.optimizer.zero_grad()
        squared_error = self.importance * (x - self.model(x)) ** 2
        squared_error.mean(dim=(0, 2)).sum().backward()
        self.optimizer.step()


def timer(workload: "Workload") -> Callable[[float], Timing]:
    """Return what times whole steps of one trainer for so many seconds."""
    trainer = Trainer(workload)
    return lambda seconds: time_calls(trainer.step, steps_per_call=1, seconds=seconds)


def train_to_end(workload: "Workload", steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Train from scratch; return W [K, n, m] and b [K, n]."""
    trainer = Trainer(workload)
    for _ in range(steps):
        trainer.step()
    return trainer.model.W.detach().numpy(), trainer.model.b.detach().numpy()

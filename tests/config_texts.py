"""Configurations that several tests start from, and how they load them."""

import contextlib
import time

import pytest

from superposition_cli import config
from superposition_cli.errors import InvalidInput

HEAD = "name: x\nmodel: {n_features: 3, n_hidden: 2}\n"
BASE = HEAD + "data: {feature_probability: 0.1}\n"
EXAMPLE = """\
name: phase_change
seed: 0
model: {kind: relu_output, n_features: 2, n_hidden: 1}
data:  {kind: uniform, feature_probability: 0.1, importance: {last: 1.0}}
train: {optimizer: adamw, learning_rate: 1e-3, weight_decay: 1e-2, steps: 10_000, restarts: 10}
sweep:
  method: grid
  parameters:
    data.feature_probability: {geomspace: {start: 0.01, stop: 1.0, num: 25}}
    data.importance.last:     {geomspace: {start: 0.1, stop: 10, num: 25}}
metrics: [feature_norms, feature_dimensionality]
analyses: [phase]
expect:
  - {id: V10, finding: phase.class_agreement, min: 0.90}
"""


def load(text=BASE, *overrides, **known):
    return config.loads(text, "f.yaml", overrides, known or None)


@contextlib.contextmanager
def within(seconds):
    """Bound the work of a block: processor time of this thread, whoever else is busy."""
    begin = time.thread_time()
    try:
        yield
    finally:
        assert time.thread_time() - begin < seconds


def problems(text, *overrides, **known):
    with pytest.raises(InvalidInput) as caught, within(2):
        load(text, *overrides, **known)
    return list(caught.value.problems)


def data(written, model="{n_features: 3, n_hidden: 2}"):
    return f"name: x\nmodel: {model}\ndata: {written}\n"


def swept(parameters, zipped="[]"):
    return BASE + f"sweep: {{parameters: {{{parameters}}}, zip: {zipped}}}\n"

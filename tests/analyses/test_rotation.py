"""The rotation test: models made by hand, NumPy written out, and a trained run."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import refusal
from scipy import integrate

from superposition_cli import config
from superposition_cli.analyses import rotation as module
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid

TEXT = """\
name: hand_made
model: {kind: relu_hidden, n_features: 2, n_hidden: 2}
data: {feature_probability: 1.0}
sweep: {parameters: {model.kind: [relu_hidden, relu_output]}}
"""
PLAIN = {"W": np.eye(2, dtype=np.float32), "b": np.float32([0.1, 0])}


class Held(NamedTuple):
    """As much of a run as an analysis reads, with models given by number."""

    models: dict[int, Any]
    plan: Any

    @property
    def selected(self):
        return {number: number for number in self.models}

    def model(self, number):
        return self.models[number]


def held(models, *overrides):
    experiment = config.loads(TEXT, "hand.yaml", overrides)
    return Held(models, grid.plan(experiment, lambda spec, n: n))


@pytest.fixture(scope="module")
def found():
    return module.rotation(held({0: PLAIN, 1: PLAIN}))


def quarter_turn_loss():
    """E of the errors of W = Id, b = (.1, 0) with a hidden ReLU, axes turned by 45 degrees.

    R = [[1, -1], [1, 1]]/sqrt 2 takes x to ((x - y), (x + y))/sqrt 2. Where x > y the ReLU does
    nothing and the error is (.1, 0). Else h = (0, (x + y)/sqrt 2) and both read out (x + y)/2.
    """
    squares = lambda y, x: ((x + y) / 2 + 0.1 - x) ** 2 + ((x + y) / 2 - y) ** 2  # noqa: E731
    return 0.01 / 2 + integrate.dblquad(squares, 0, 1, lambda x: x, 1)[0]


def test_a_rotation_changes_nothing_without_a_hidden_relu(found):
    row = found.rows[1]
    assert row["model.kind"] == row["kind"] == "relu_output"
    # The loss is the bias squared, .01; 16 roundings of 6e-8 of outputs up to 1 against .1.
    assert row["loss"] == pytest.approx(0.01, rel=1e-4)
    assert found.arrays["ratios"][1] == pytest.approx(1, abs=1e-5)
    assert found.numbers["rotation_gap_linear"] <= 1e-5


def test_the_curve_of_a_hidden_relu_by_hand(found):
    curve = found.arrays["curve"][0]
    at = {int(angle): curve[i] for i, angle in enumerate(found.arrays["angle"])}
    assert at[0] == pytest.approx(1, abs=1e-5)
    assert at[360] == pytest.approx(1, abs=1e-4)
    # By 180 degrees the hidden vector is -x and nothing is left: the errors are x - .1 and y,
    # with E (x - .1)² + E y² = 1/3 - .1 + .01 + 1/3. Its samples spread by less than .6.
    expected = 0.01 - 0.1 + 2 / 3
    assert at[180] * 0.01 == pytest.approx(expected, abs=5 * 0.6 / np.sqrt(module.SAMPLES))
    assert found.numbers["rotation_ratio_relu"] == found.rows[0]["rotation_ratio"] > 2


def test_a_turn_by_an_eighth_against_an_integral(monkeypatch):
    monkeypatch.setattr(module, "ANGLES", np.array([45.0]))
    module._losses.clear_cache()
    turned = module.test(held({}).plan.setting(0), PLAIN)["curve"][0]
    module._losses.clear_cache()
    # An error is at most (.6² + .5²): samples spread by less than .3.
    assert turned == pytest.approx(quarter_turn_loss(), abs=5 * 0.3 / np.sqrt(module.SAMPLES))


def test_rotating_the_hidden_vector_alone_hurts_both(found):
    assert found.numbers["unabsorbed_least"] > 2
    # For x >= 0 the ReLU does nothing, so both kinds compute the same.
    one, other = found.arrays["unabsorbed"]
    assert one == pytest.approx(other, rel=1e-4)


def test_no_ratio_of_next_to_no_loss():
    perfect = {"W": np.eye(2, dtype=np.float32), "b": np.zeros(2, np.float32)}
    found = module.rotation(held({0: perfect}))
    (row,) = found.rows
    assert row["rotation_ratio"] is row["unabsorbed_ratio"] is None
    assert row["rotated_loss"] > 0.01
    assert found.numbers["rotation_ratio_relu"] is found.numbers["rotation_gap_linear"] is None


def test_runs_without_rotations_or_models_are_refused():
    with pytest.raises(InvalidInput, match="at least one cell"):
        module.rotation(held({}))
    assert "no rotations" in refusal("rotation", TEXT, "model.n_hidden=1")

"""CONTRIBUTING.md: the table of what is added where, followed for a new setting and a new model.

Both are written into a copy of the package at the places that the table names, nowhere else, and
then trained with. What plug-ins may bring is followed by test_extending.py.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[1]
TABLE = re.search(
    r"^## Adding$.*?^(\| what .*?)\n\n", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M | re.S
).group(1)
ROWS = {row.split("|")[1].strip(): row.split("|")[2] for row in TABLE.splitlines()[2:]}
CONFIG = """\
name: added
model: {kind: KIND, n_features: 3, n_hidden: 2}
data: {feature_probability: 0.3}
train: {steps: 3, batch_size: 16, eval_samples: 64, optimizer: sgd, draws: shared, MORE}
"""
SETTING = {
    "config/sections.py": (
        "    schedule: Annotated",
        "    half_gradient: Annotated[Fraction, VARIES] = 0.0\n    schedule: Annotated",
    ),
    "toy/spec.py": (
        "    weight_decay: Array",
        "    half_gradient: Array  # [], share of the gradient that is left out\n"
        "    weight_decay: Array",
    ),
    "toy/train.py": (
        "    loss, gradient = jax.value_and_grad(objective)(state.params)\n",
        "    loss, gradient = jax.value_and_grad(objective)(state.params)\n"
        "    left = 1 - knobs.half_gradient\n"
        "    gradient = jax.tree.map(lambda g: left * g, gradient)\n",
    ),
}
MODEL = {
    "toy/models.py": (
        "MODELS: dict[str, Model] = {\n",
        'MODELS: dict[str, Model] = {\n    "twin": Model('
        "init_tied, apply_linear, embedding, linear_activation, linear_read_out, TIED),\n",
    ),
    "config/words.py": ("MODELS: Table = {\n", 'MODELS: Table = {\n    "twin": Word(),\n'),
}


@pytest.fixture
def edited(tmp_path):
    """A copy of the package with some edits, each of a file that a row of the table names."""

    def edit(row, edits):
        package = tmp_path / "superposition_cli"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "superposition_cli", package, ignore=ignored)
        for name, (old, new) in edits.items():
            text = (package / name).read_text(encoding="utf-8")
            assert text.count(old) == 1, (name, old)
            (package / name).write_text(text.replace(old, new), encoding="utf-8")
            assert f"`{name}`" in ROWS[row] or "its use" in ROWS[row], name
        return lambda kind, more: _weights(tmp_path, kind, more)

    return edit


def _weights(folder, kind, more):
    """W [1, n, m] of a model trained with the copy."""
    (folder / "added.yaml").write_text(CONFIG.replace("KIND", kind).replace("MORE", more))
    code = "from superposition_cli.cli import main; main()"
    out = folder / f"run-{kind}-{len(more)}"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "added.yaml", "-q", "--out", str(out)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return load_file(out / "chunks" / "00000" / "weights.safetensors")["W"]


def test_every_kind_of_thing_has_a_row():
    assert list(ROWS)[:8] == [
        *("model", "sampler", "target", "objective", "metric", "analysis", "need", "setting")
    ]


def test_every_file_of_the_table_is_there():
    for name in re.findall(r"`((?:toy|config|analyses|report|tests|docs)/[^`]+)`", TABLE):
        base = ROOT if name.startswith(("tests", "docs")) else ROOT / "superposition_cli"
        assert (base / name).exists(), name


def test_a_setting_is_added_as_the_table_says(edited):
    weights = edited("setting", SETTING)
    whole = weights("relu_output", "learning_rate: 0.1")
    half = weights("relu_output", "learning_rate: 0.10, half_gradient: 0.5")
    # Three steps of plain gradient descent: half the gradient is half the learning rate.
    np.testing.assert_allclose(half, weights("relu_output", "learning_rate: 0.05"), rtol=1e-6)
    assert not np.allclose(half, whole, rtol=1e-3)


def test_a_model_is_added_as_the_table_says(edited):
    weights = edited("model", MODEL)
    twin, linear = (weights(kind, "learning_rate: 0.1") for kind in ("twin", "linear"))
    np.testing.assert_array_equal(twin, linear)

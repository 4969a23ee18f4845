"""Sparse autoencoders: measurements by hand, the loss and its gradient in NumPy, a tiny run."""

from dataclasses import fields
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_knobs, make_spec
from helpers import commanded, plan, refusal

from superposition_cli.analyses import dictionary as module
from superposition_cli.measures import sae
from superposition_cli.toy import rng, train

PENTAGON = np.stack([(np.cos(a), np.sin(a)) for a in 2 * np.pi * np.arange(5) / 5])
TINY = """\
name: tiny
model: {n_features: 4, n_hidden: 2}
data: {feature_probability: 0.2}
train: {objective: population, optimizer: adam, learning_rate: 3e-2, steps: 60}
sweep: {parameters: {data.feature_probability: [0.2]}}
"""


def spec_of(latents=3, **changes):
    toy = make_spec(batch_size=64, eval_samples=512, **changes)
    return sae.SaeSpec(**{one.name: getattr(toy, one.name) for one in fields(toy)}, latents=latents)


def knobs_of(l1=0.1):
    W = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    return sae.SaeKnobs(make_knobs(), jnp.asarray(W), jnp.float32(l1))


def test_a_dictionary_of_the_features_is_perfect_and_half_of_it_is_not():
    whole = sae.recovery(3 * PENTAGON, PENTAGON[::-1])
    assert whole == {"mmcs": pytest.approx(1), "reverse_mmcs": pytest.approx(1), "matched": 1.0}
    # Neighbours are 72 degrees apart: one direction has cosine 1, cos 72 twice, cos 144 twice.
    one = sae.recovery(PENTAGON, PENTAGON[:1])
    cosines = np.cos(np.radians([0, 72, 72, 144, 144]))
    assert one["mmcs"] == pytest.approx(cosines.mean())
    assert (one["reverse_mmcs"], one["matched"]) == (pytest.approx(1), pytest.approx(0.2))
    assert sae.recovery(PENTAGON, PENTAGON[:0]) == {
        "mmcs": 0.0, "reverse_mmcs": None, "matched": 0.0,
    }  # fmt: skip


def test_a_column_serves_one_row_only_and_gives_way_where_that_helps():
    assert sae.largest_matching(np.array([[True, True], [True, False]])) == 2
    assert sae.largest_matching(np.array([[True, False], [True, False]])) == 1
    assert sae.largest_matching(np.zeros((2, 3), bool)) == 0


def test_random_directions_in_the_plane_by_their_law():
    """The largest of d cosines is cos of the least angle, whose mean over [0, pi] is known."""
    angles = np.random.default_rng(1).uniform(0, np.pi, size=(200_000, 3)).min(axis=1)
    expected, error = np.cos(angles).mean(), 5 * 0.35 / np.sqrt(400 * 5 / 2)
    assert sae.random_mmcs(PENTAGON, 3, 400) == pytest.approx(expected, abs=error)


def test_loss_and_measurements_are_what_is_written():
    spec, knobs, key = spec_of(), knobs_of(), rng.key(3)
    params = sae.init(spec, knobs, rng.key(1))
    params = {**params, "b_e": jnp.array([0.1, -0.2, 0.0]), "b_d": jnp.array([0.05, -0.1])}
    h = np.asarray(sae.hidden(spec, knobs, key, spec.batch_size), np.float64)
    W_e, b_e, b_d = (np.asarray(params[name], np.float64) for name in ("W_e", "b_e", "b_d"))
    directions = np.asarray(params["W_d"]) / np.linalg.norm(params["W_d"], axis=1)[:, None]
    a = np.maximum(W_e @ (h - b_d[:, None]) + b_e[:, None], 0)
    missed = ((h - directions.T @ a - b_d[:, None]) ** 2).sum()
    fvu = missed / ((h - h.mean(1, keepdims=True)) ** 2).sum()
    expected = fvu + 0.1 * a.sum() / np.linalg.norm(h, axis=0).sum()
    found = sae.objective(spec, knobs, key, jnp.int32(0), params)
    assert float(found) == pytest.approx(expected, rel=1e-4)
    measured = sae.measure(spec_of(), knobs, key, params)
    assert 0 < float(measured.l0) <= 3
    assert measured.fires.tolist() == [True] * 3


def test_only_latents_that_never_fire_begin_anew():
    spec, knobs = spec_of(), knobs_of()
    params = sae.init(spec, knobs, rng.key(1))
    dead = {**params, "b_e": jnp.array([0.0, -100.0, 0.0])}
    found = sae.resample(spec, knobs, rng.key(2), dead)
    for name in ("W_d", "W_e"):
        same = np.isclose(found[name], dead[name]).all(axis=1)
        assert same.tolist() == [True, False, True]
    assert found["b_e"].tolist() == [0, 0, 0]
    assert np.linalg.norm(found["W_d"], axis=1) == pytest.approx(np.ones(3), rel=1e-5)


def test_the_one_loop_trains_autoencoders_and_their_loss_falls():
    spec, knobs = spec_of(steps=200, optimizer="adam"), knobs_of()
    stacked = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), knobs)
    keys = jnp.stack([rng.key(1), rng.key(2)])
    state = train.start(sae.TASK, spec, stacked, keys)
    loss = np.asarray(train.run(sae.TASK, spec, stacked, keys, state, range(200)).loss)
    assert loss.shape == (200, 2)
    assert (loss[-50:].mean(0) < 0.7 * loss[:10].mean(0)).all()


def test_a_run_has_a_row_for_every_width_and_price(tmp_path, monkeypatch):
    for name, value in {"STEPS": 40, "ROUNDS": 2, "BATCH": 32, "JUDGED": 256}.items():
        monkeypatch.setattr(module, name, value)
    found = module.dictionary(commanded(tmp_path, TINY))
    assert [(row["latents"], row["l1"]) for row in found.rows] == [
        (latents, l1) for latents in (4, 8) for l1 in module.L1
    ]
    assert {name: array.shape for name, array in found.arrays.items()} == {
        "l1": (4,), "latents": (2,), "mmcs": (1, 2, 4, 4), "fvu": (1, 2, 4, 4),
        "l0": (1, 2, 4, 4), "random_mmcs": (1, 2),
    }  # fmt: skip
    assert all(row["expected_l0"] == pytest.approx(0.8) for row in found.rows)
    assert all(row["mmcs"] <= row["mmcs_best"] <= 1 + 1e-6 for row in found.rows)


def test_models_with_a_hidden_relu_are_refused():
    assert "not relu_hidden" in refusal("dictionary", TINY, "model.kind=relu_hidden")


def test_two_analyses_share_a_number_but_no_model():
    """`computation` refuses all kinds but abs, so no model's key is folded for both."""
    folder = Path(module.__file__).parent
    users = {path.stem for path in folder.glob("*.py") if "Use.ANALYSIS" in path.read_text()}
    assert users == {"computation", "dictionary"}
    assert "hidden vector is Wᵀx, not abs" in refusal("dictionary", TINY, "model.kind=abs")


def words(keys, *path):
    """The words of some keys, folded with the numbers of a path, as a set."""
    for number in path:
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
    return set(map(tuple, jax.random.key_data(keys).tolist()))


def test_autoencoders_are_measured_on_nothing_they_were_trained_on(monkeypatch):
    """No key of resampling or measurement begins them (0) or draws a batch (1, then the step)."""
    seen, compiled, setting = [], train.compiled, plan(TINY).setting(0)

    def record(function, static, *arrays, **options):
        if function in (module._resample, module._measure):
            seen.append(words(arrays[1]))
        return compiled(function, static, *arrays, **options)

    monkeypatch.setattr(train, "compiled", record)
    for name, value in {"STEPS": 20, "ROUNDS": 2, "BATCH": 32, "JUDGED": 256}.items():
        monkeypatch.setattr(module, name, value)
    module.fit(setting, np.eye(4, 2), 4)
    keys = module.program(setting, np.eye(4, 2), 4)[2][: module.RESTARTS]
    of_training = words(keys, 0).union(*(words(keys, 1, t) for t in range(20)))
    assert [len(some) for some in (*seen, of_training)] == [4, 4, 4 * 21]
    assert len(set.union(*seen, of_training)) == 4 * 23

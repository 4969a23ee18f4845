"""What tables promise: kept by everything in them, and what breaks it is told apart."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec

from superposition_cli.commands.plugins import LAWS
from superposition_cli.config import words
from superposition_cli.theory import activity
from superposition_cli.toy import data, models, objectives, promises
from superposition_cli.toy.metrics import METRICS, Metric

TABLES = {
    "MODELS": models.MODELS,
    "SAMPLERS": data.SAMPLERS,
    "TARGETS": data.TARGETS,
    "OBJECTIVES": objectives.OBJECTIVES,
}


@pytest.mark.parametrize("model", models.MODELS)
@pytest.mark.parametrize("law", data.SAMPLERS)
def test_models_and_data_keep_what_they_promise(model, law):
    for target in data.TARGETS:
        spec = make_spec(model=model, data=law, target=target)
        assert list(promises.broken(spec, tuple(METRICS))) == []


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_objectives_keep_what_they_promise(objective, dtype):
    assert list(promises.broken(make_spec(objective=objective, dtype=dtype))) == []


@pytest.mark.parametrize("table", TABLES)
def test_the_checker_knows_the_words_and_their_laws(table):
    assert list(words.TABLES[table]) == list(TABLES[table])
    for name, entry in TABLES[table].items():
        laws = {law for law in LAWS[table] if getattr(entry, law)}
        assert words.TABLES[table][name].laws == laws, name
        assert words.TABLES[table][name].choices is getattr(entry, "choices", None), name


MODEL = models.MODELS["relu_output"]
BROKEN_MODELS = {
    "apply": MODEL._replace(apply=lambda params, x: x.T),
    "hidden": MODEL._replace(hidden=lambda params, x: jnp.zeros((2, 3), int)),
    "embedding": MODEL._replace(embedding=lambda params: (params["W"],)),
    "axes": MODEL._replace(axes={"W": ("feature", "hidden")}),
    "init": MODEL._replace(axes={"W": ("hidden", "feature"), "b": ("feature",)}),
}


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("apply", "returns the shape [3, 5], not [5, 3]"),
        ("hidden", "returns int32 numbers, not floating-point ones"),
        ("embedding", "returns tuple, not one array"),
        ("axes", "name W, but init makes W, b"),
        ("init", "makes W of shape [5, 2], not [hidden, feature]"),
    ],
)
def test_a_broken_model_is_told_by_its_function(monkeypatch, function, sentence):
    monkeypatch.setitem(models.MODELS, "broken", BROKEN_MODELS[function])
    assert list(promises.broken(make_spec(model="broken"))) == [
        ("MODELS", "broken", function, sentence)
    ]


def test_a_mask_of_numbers_and_a_metric_of_another_shape_are_told(monkeypatch):
    sampler = data.SAMPLERS["uniform"]
    mask = np.ones((1, 5))
    broken = sampler._replace(patterns=lambda s, k: data.Patterns(mask, jnp.ones(1)))
    monkeypatch.setitem(data.SAMPLERS, "broken", broken)
    monkeypatch.setitem(METRICS, "broken", Metric(lambda W, activity: W, ("feature",), ""))
    assert list(promises.broken(make_spec(data="broken"), ("broken",))) == [
        ("SAMPLERS", "broken", "patterns", "has a mask of float64 [1, 5], not of bool [P, 5]"),
        ("METRICS", "broken", "compute", "returns the shape [5, 2], not [5]"),
    ]


def test_patterns_that_are_miscounted_are_told(monkeypatch):
    """One-hot patterns, of which there are five of one feature, counted as those of sets."""
    broken = data.SAMPLERS["one_hot"]._replace(choices=activity.exclusive)
    monkeypatch.setitem(data.SAMPLERS, "one_hot", broken)
    said = "count {0: 1, 1: 5, 2: 6} patterns by active features, not {1: 5}"
    assert list(promises.broken(make_spec(data="one_hot"))) == [
        ("SAMPLERS", "one_hot", "choices", said)
    ]

"""What trained models are judged by, against exact losses and hand-drawn batches."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import crossed, make_keys, make_knobs, make_spec, stack

from superposition_cli.theory import activity, linear
from superposition_cli.toy import data, evaluate, metrics, models, objectives, rng, train

PAIRS = list(crossed(models.MODELS, data.SAMPLERS))
MATRIX = list(crossed(models.MODELS, data.SAMPLERS, data.TARGETS))
SAMPLES = 32_768
N = 7  # features: few enough to be quick, and with too many patterns if they are independent
WIDE = {
    "feature_probability": [0.3, 0.2, 0.2, 0.3, 0.2, 0.1, 0.1],
    "importance": [1.0] * 3 + [0.5] * 4,
}


def wide_spec(**changes):
    return make_spec(n_features=N, sets=((0, 3), (1, 4, 2), (6, 5)), **changes)


def wide_knobs(**changes):
    return make_knobs(**{**WIDE, **changes})


def judging_keys(words, restarts):
    """The evaluation keys [K] of some restarts of one cell."""
    count = len(restarts)
    seed, shared = np.zeros(count, np.uint32), np.zeros(count, bool)
    cell = np.tile(np.array(words, np.uint32), (count, 1))
    return train.model_keys(seed, cell, shared, np.array(restarts, np.uint32))[1]


def matrices(spec, knobs):
    """Parameters of the right shapes, all zero but b, which is the mean answer."""
    shapes = jax.eval_shape(partial(models.MODELS[spec.model].init, spec), knobs, make_keys(1)[0])
    empty = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in shapes.items()}
    return {**empty, "b": np.asarray(data.moments(spec, knobs).mean)}


def standard_error(spec, knobs, params, samples):
    """The spread of the mean loss over so many samples, from other samples."""
    x = data.SAMPLERS[spec.data].draw(spec, knobs, make_keys(1, seed=99)[0], 8192)
    error = data.TARGETS[spec.target].answer(x) - models.MODELS[spec.model].apply(params, x)
    each = np.asarray(knobs.importance @ np.asarray(error, np.float64) ** 2)
    return each.std() / np.sqrt(samples)


def linear_loss(spec, knobs, params):
    """The exact loss of a linear model with these parameters."""
    mean, covariance = data.moments(spec, knobs)
    W, b = map(jnp.asarray, (params["W"], params["b"]))
    return linear.linear_loss(W, b, knobs.importance, mean, covariance)


def evaluated(spec, knobs, key, params):
    judged = evaluate.judge(spec, (), stack([knobs]), key[None], stack([params]))
    return float(judged["loss"][0])


@pytest.mark.parametrize("law", data.SAMPLERS)
def test_a_linear_model_is_judged_exactly(law):
    spec, knobs = wide_spec(model="linear", data=law), wide_knobs()
    generator = np.random.default_rng(0)
    params = {
        "W": np.float32(generator.normal(size=(N, 2))),
        "b": np.float32(generator.normal(size=N)),
    }
    expected = linear_loss(spec, knobs, params)
    judged = evaluate.judge(
        spec, (), stack([knobs] * 2), judging_keys((1, 2), (0, 1)), stack([params] * 2)
    )
    np.testing.assert_allclose(judged["loss"], [expected, expected], rtol=1e-6)
    np.testing.assert_allclose(
        judged["loss_normalised"], judged["loss"] / judged["null_loss"], rtol=1e-6
    )


@pytest.fixture
def unlisted(monkeypatch):
    """No patterns of activity are few enough, so that all but linear models need samples."""
    monkeypatch.setattr(activity, "MOST", 0)
    evaluate.judge.clear_cache()
    yield
    evaluate.judge.clear_cache()


@pytest.mark.usefixtures("unlisted")
@pytest.mark.parametrize("law", data.SAMPLERS)
def test_sampled_evaluation_meets_the_exact_linear_loss(law):
    """With W and b positive nothing is rectified, so relu_output is the linear model."""
    spec, knobs = wide_spec(data=law, eval_samples=SAMPLES, batch_size=1024), wide_knobs()
    generator = np.random.default_rng(1)
    params = {"W": np.float32(generator.uniform(0, 0.7, (N, 2))), "b": np.float32([0.1] * N)}
    exact = float(linear_loss(spec, knobs, params))
    key = judging_keys((1, 2), (0,))[0]
    error = standard_error(spec, knobs, params, SAMPLES)
    assert error < 0.02 * exact
    assert abs(evaluated(spec, knobs, key, params) - exact) < 5 * error


@pytest.mark.parametrize(("model", "law", "target"), MATRIX)
def test_answering_the_mean_is_worth_one(model, law, target):
    sizes = {"eval_samples": SAMPLES, "batch_size": 4096}
    spec = wide_spec(model=model, data=law, target=target, zero_based=False, **sizes)
    knobs = wide_knobs(low=-0.5)
    params, keys = matrices(spec, knobs), judging_keys((5, 6), (0,))
    judged = evaluate.judge(spec, (), stack([knobs]), keys, stack([params]))
    null = float(judged["null_loss"][0])
    error = standard_error(spec, knobs, params, SAMPLES) / null
    tolerance = 5 * error
    if objectives.has_expected_loss(spec):  # rounding; and |x| has a kink at 0, of known error
        tolerance = 1e-5 + float(judged["loss_error"][0]) / null
        assert (tolerance < 2e-5) == (target == "identity")
    assert abs(float(judged["loss_normalised"][0]) - 1) < tolerance < 0.1


def test_many_patterns_have_an_exact_loss_only_in_the_linear_model_of_the_identity():
    """Seven independent features have too many; in sets or one-hot they have few."""
    keys = list(itertools.product(models.MODELS, data.SAMPLERS, data.TARGETS))
    specs = [(key, wide_spec(model=key[0], data=key[1], target=key[2])) for key in keys]
    sampled = [key for key, spec in specs if not objectives.has_expected_loss(spec)]
    uniform = [key for key in keys if key[1] == "uniform"]
    assert sampled == [key for key in uniform if key != ("linear", "uniform", "identity")]


def test_models_are_judged_alike_however_many_at_a_time(monkeypatch):
    spec, knobs = make_spec(model="relu_hidden"), make_knobs()
    each = [models.MODELS[spec.model].init(spec, knobs, key) for key in make_keys(7)]
    given = (spec, (), stack([knobs] * 7), judging_keys((1, 2), range(7)), stack(each))
    whole = evaluate.judge(*given)
    monkeypatch.setattr(evaluate, "_together", lambda spec: 3)
    evaluate.judge.clear_cache()
    parts = evaluate.judge(*given)
    evaluate.judge.clear_cache()
    for name, values in parts.items():  # 7 models are 3, 3 and 1; sums are rounded differently
        np.testing.assert_allclose(values, whole[name], rtol=1e-6, atol=1e-7)


def test_models_judged_on_samples_hold_no_more_numbers_than_they_may():
    drawn = make_spec(n_features=20, n_hidden=5, batch_size=1024)
    assert evaluate._together(drawn) == 2**24 // (20 * 1024) == 819
    assert evaluate._together(make_spec(n_features=20, n_hidden=5, batch_size=2**30)) == 1
    # what is measured on vectors alone draws nothing; pairs of features count anyway
    packed = make_spec(model="linear", n_features=20, objective="packing", batch_size=2**30)
    assert evaluate._together(packed) == 2**28 // 20**2 == 671_088
    assert evaluate._together(make_spec(n_features=4096, batch_size=1)) == 2**28 // 2**24 == 16


def test_models_judged_together_hold_no_more_numbers_than_they_may():
    wide = {"n_features": 100, "data": "one_hot"}
    closed, open_ = make_spec(**wide), make_spec(**wide, model="relu_hidden")
    # 100 patterns of 100 features in closed form: 10,000 numbers a model
    assert evaluate._together(closed) == 2**24 // 10_000 == 1677
    # and ten nodes beyond 24 for each: 100 (100 + 3,400)
    assert evaluate._together(open_) == 2**24 // 350_000 == 47


@pytest.mark.parametrize(("model", "law"), PAIRS)
def test_few_features_are_judged_by_the_expected_loss(model, law):
    """The same parameters' loss on fresh samples agrees with it."""
    spec, knobs = make_spec(model=model, data=law), make_knobs()
    key = judging_keys((1, 2), (0,))[0]
    params = models.MODELS[model].init(spec, knobs, make_keys(1, seed=5)[0])
    x = data.SAMPLERS[law].draw(spec, knobs, key, SAMPLES)
    sampled = float(objectives.batch_loss(spec, knobs, params, x))
    error = standard_error(spec, knobs, params, SAMPLES)
    assert abs(evaluated(spec, knobs, key, params) - sampled) < 5 * error < 0.1 * sampled


@pytest.mark.parametrize(("samples", "batches"), [(64, 1), (65, 2), (1, 1), (192, 3)])
def test_whole_batches_are_drawn_from_numbered_keys(samples, batches):
    spec, knobs = wide_spec(eval_samples=samples), wide_knobs()
    params = models.MODELS[spec.model].init(spec, knobs, make_keys(1)[0])
    key = judging_keys((1, 2), (0,))[0]
    each = [
        objectives.sampled(spec, knobs, jax.random.fold_in(key, t), t, params)
        for t in range(batches)
    ]
    assert evaluated(spec, knobs, key, params) == pytest.approx(float(np.mean(each)), rel=1e-5)


@pytest.mark.parametrize("model", [name for name in models.MODELS if name != "linear"])
def test_restarts_of_a_cell_are_judged_on_one_batch(model):
    spec, knobs = wide_spec(model=model), stack([wide_knobs()] * 4)
    params = models.MODELS[model].init(spec, wide_knobs(), make_keys(1)[0])
    keys = judging_keys((1, 2), (0, 1, 17, 2**32 - 2))
    loss = evaluate.judge(spec, (), knobs, keys, stack([params] * 4))["loss"]
    assert len(np.unique(loss)) == 1
    elsewhere = evaluate.judge(spec, (), knobs, judging_keys((1, 3), range(4)), stack([params] * 4))
    assert elsewhere["loss"][0] != loss[0]


def test_neighbours_count_as_often_as_they_are_active():
    """Of exclusive sets of 2 and 3 features a feature is on in a half or a third of its set's p."""
    spec = make_spec(data="anticorrelated", batch_size=1_000_000, eval_samples=1024)
    knobs = make_knobs(feature_probability=[0.4, 0.9, 0.9, 0.4, 0.9])
    W = np.random.default_rng(5).normal(size=(5, 2)).astype(np.float32)
    x = np.asarray(data.SAMPLERS[spec.data].draw(spec, knobs, rng.key(2), spec.batch_size))
    params = stack([{"W": W, "b": np.zeros(5, np.float32)}])
    judging = spec.__class__(**{**vars(spec), "batch_size": 64})
    keys = judging_keys((1, 2), (0,))
    judged = evaluate.judge(judging, ("net_interference",), stack([knobs]), keys, params)
    crossed = (W / np.linalg.norm(W, axis=1)[:, None] @ W.T) ** 2
    np.fill_diagonal(crossed, 0)
    met = crossed @ (x > 0).astype(np.float64)  # of each sample, [n, B]
    error = met.std(axis=1) / np.sqrt(spec.batch_size)
    off = np.abs(np.asarray(judged["net_interference"][0]) - met.mean(axis=1))
    assert (off < 5 * error + 1e-6).all()


def test_metrics_are_those_of_each_model():
    spec, knobs = wide_spec(), stack([wide_knobs(), wide_knobs(feature_probability=[0.5] * N)])
    keys = judging_keys((1, 2), (0, 1))
    params = stack(
        [models.MODELS[spec.model].init(spec, wide_knobs(), key) for key in make_keys(2)]
    )
    names = ("feature_norms", "net_interference", "n_represented")
    judged = evaluate.judge(spec, names, knobs, keys, params)
    assert set(judged) >= {"loss", "null_loss", "loss_normalised", *names}
    for k in range(2):
        W, own = params["W"][k], jax.tree.map(lambda leaf, k=k: leaf[k], knobs)
        for name in names:
            expected = metrics.METRICS[name].compute(W, own.feature_probability)
            np.testing.assert_allclose(judged[name][k], expected, rtol=1e-5, atol=1e-7)


OF_FEW = [("few", *pair.values, "identity") for pair in PAIRS] + [("few", "abs", "uniform", "abs")]
OF_MANY = [("many", model, "uniform", "identity") for model in models.MODELS]


@pytest.mark.parametrize(("count", "model", "sampler", "target"), [*OF_FEW, *OF_MANY])
def test_parts_of_features_are_their_squared_errors_and_add_up(count, model, sampler, target):
    """Against a hundred thousand other samples, whatever the model, data and target."""
    changes = {"model": model, "data": sampler, "target": target}
    if count == "few":
        spec = make_spec(n_features=3, sets=((0, 2), (1,)), **changes)
        knobs = make_knobs(feature_probability=[0.3, 0.2, 0.3], importance=[1.0, 0.5, 2.0], low=0.0)
    else:
        spec, knobs = wide_spec(**changes), wide_knobs()
    params = models.MODELS[model].init(spec, knobs, make_keys(1)[0])
    (key,) = judging_keys((1, 2), (0,))
    part, error = evaluate.feature_loss(spec, knobs, key, params)
    loss = evaluate.evaluation_loss(spec, knobs, key, params).loss
    assert float(jnp.sum(part)) == pytest.approx(float(loss), rel=1e-5)
    x = data.SAMPLERS[sampler].draw(spec, knobs, make_keys(1, seed=99)[0], 100_000)
    off = data.TARGETS[target].answer(x) - models.MODELS[model].apply(params, x)
    each = knobs.importance[:, None] * np.asarray(off, np.float64) ** 2
    spread = each.std(1) / np.sqrt(each.shape[1])
    drawn = 0 if evaluate.has_expected_loss(spec) else spread * np.sqrt(1e5 / spec.eval_samples)
    assert (np.abs(part - each.mean(1)) < 5 * np.hypot(spread, drawn) + 1e-6).all()
    assert (np.asarray(error) < 3 * drawn + 5e-3 * np.asarray(part) + 1e-6).all()
    if not evaluate.has_expected_loss(spec):
        assert (np.asarray(error) > 0.2 * drawn).all()


def test_an_unimportant_feature_has_no_part_and_packings_have_none_at_all():
    knobs = make_knobs(importance=[1.0, 0.0, 1.0], feature_probability=[0.3] * 3)
    spec = make_spec(n_features=3)
    params = models.MODELS["relu_output"].init(spec, knobs, make_keys(1)[0])
    part = evaluate.feature_loss(spec, knobs, judging_keys((1, 2), (0,))[0], params).loss
    assert part[1] == 0 < part[0]
    packing = make_spec(n_features=3, model="linear", objective="packing")
    found = evaluate.feature_loss(packing, knobs, judging_keys((1, 2), (0,))[0], params)
    assert np.isnan(found.loss).all()

"""The loss that training descends, by hand and in NumPy."""

import jax
import numpy as np
import pytest
from conftest import make_keys, make_knobs, make_spec, stack

from superposition_cli import data, models, objectives, theory, train
from superposition_cli.spec import State

MATRIX = [(model, target) for model in models.MODELS for target in data.TARGETS]


def initial(spec, knobs):
    return models.MODELS[spec.model].init(spec, knobs, make_keys(1)[0])


def test_batch_loss_by_hand():
    # W = (1, 0)ᵀ, b = (0, .5), I = (2, 3). Sample (1, 1): y = (1, .5), error (0, .5), loss
    # 3 * .25 = .75. Sample (-1, 0): ReLU gives (0, .5), errors (-1, -.5), loss 2 + .75 = 2.75.
    # Mean over the batch 1.75; the linear model answers (-1, .5): .75 twice.
    params = {"W": np.float32([[1], [0]]), "b": np.float32([0, 0.5])}
    knobs = make_knobs(importance=[2, 3])
    x = np.float32([[1, -1], [1, 0]])
    for model, expected in (("relu_output", 1.75), ("linear", 0.75)):
        spec = make_spec(model=model, n_features=2, n_hidden=1)
        assert float(objectives.batch_loss(spec, knobs, params, x)) == pytest.approx(expected)
    # Asked for |x| = (1, 0): the first error is 0 in sample one and 1 in sample two.
    spec = make_spec(n_features=2, n_hidden=1, target="abs")
    assert float(objectives.batch_loss(spec, knobs, params, x)) == pytest.approx(1.75)
    # For relu_output ReLU(-1) = 0 is off by 1 from either -1 or 1; linear is off by 2: 8 + .75.
    spec = make_spec(model="linear", n_features=2, n_hidden=1, target="abs")
    assert float(objectives.batch_loss(spec, knobs, params, x)) == pytest.approx(4.75)


@pytest.mark.parametrize(("model", "target"), MATRIX)
def test_batch_loss_sums_over_features_and_averages_over_the_batch(float64, model, target):
    spec, knobs = make_spec(model=model, target=target, dtype="float64"), make_knobs("float64")
    params = initial(spec, knobs)
    x = np.random.default_rng(0).uniform(-1, 1, (5, 8))
    error = np.asarray(data.TARGETS[target].answer(x) - models.MODELS[model].apply(params, x))
    total = sum(knobs.importance[i] * error[i, s] ** 2 for i in range(5) for s in range(8))
    assert float(objectives.batch_loss(spec, knobs, params, x)) == pytest.approx(
        total / 8, rel=1e-12
    )


@pytest.mark.parametrize("sampler", data.SAMPLERS)
def test_sampled_loss_is_the_loss_on_the_batch_of_its_key(sampler):
    spec, knobs = make_spec(data=sampler), make_knobs(low=-1)
    params, key = initial(spec, knobs), make_keys(1, seed=3)[0]
    x = data.SAMPLERS[sampler].draw(spec, knobs, key, spec.batch_size)
    assert x.shape == (5, spec.batch_size)
    expected = objectives.batch_loss(spec, knobs, params, x)
    loss = objectives.OBJECTIVES["sampled"](spec, knobs, key, 0, params)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_each_model_has_its_own_loss():
    spec, knobs = make_spec(), [make_knobs(), make_knobs(importance=[0.0] * 5)]
    params, keys = initial(spec, knobs[0]), make_keys(2)
    loss = jax.vmap(lambda k, key: objectives.sampled(spec, k, key, 0, params))(stack(knobs), keys)
    assert loss.shape == (2,)
    assert loss[0] > 0
    assert loss[1] == 0


def test_mean_over_features_divides_the_gradient_only():
    """Plain gradient descent then takes steps n times shorter; the loss told is the same."""
    knobs = make_knobs(momentum=0, weight_decay=0)
    params, key = initial(make_spec(), knobs), make_keys(1)[0]
    told, moved = [], []
    for reduction in ("sum_features", "mean_features"):
        spec = make_spec(optimizer="sgd", loss_reduction=reduction)
        state = State(params, train.sgd(knobs, 0.01).init(params), np.int32(0))
        after, loss = jax.jit(train.step, static_argnums=0)(spec, knobs, key, np.int32(0), state)
        told.append(float(loss))
        moved.append(np.concatenate([np.ravel(after.params[k] - params[k]) for k in params]))
    assert told[0] == told[1]
    assert np.abs(moved[0]).max() > 1e-4
    np.testing.assert_allclose(moved[0], 5 * moved[1], rtol=1e-3, atol=2e-6)


def test_null_loss_by_hand():
    # U[0, 1]: sigma^2 = p/3 - p^2/4, at p = .3 .0775 and at p = .2 .0566667;
    # sum of importance times variance: 1.7 * .0775 + 2.3 * .0566667 = .2620833.
    assert float(objectives.null_loss(make_spec(), make_knobs())) == pytest.approx(
        0.2620833, rel=1e-5
    )
    # U[-1, 1], identity: mean 0, sigma^2 = p/3: 1.7 * .1 + 2.3 * .0666667 = .3233333;
    # for |x| the moments are those of U[0, 1].
    symmetric = make_knobs(low=-1)
    assert float(objectives.null_loss(make_spec(), symmetric)) == pytest.approx(0.3233333, rel=1e-5)
    absolute = objectives.null_loss(make_spec(target="abs"), symmetric)
    assert float(absolute) == pytest.approx(0.2620833, rel=1e-5)


@pytest.mark.parametrize("sampler", data.SAMPLERS)
def test_null_loss_is_the_linear_loss_of_a_constant(sampler):
    spec, knobs = make_spec(data=sampler), make_knobs()
    mean, covariance = data.moments(spec, knobs)
    constant = theory.linear_loss(
        np.zeros((5, 2), np.float32), mean, knobs.importance, mean, covariance
    )
    assert float(objectives.null_loss(spec, knobs)) == pytest.approx(float(constant), rel=1e-5)

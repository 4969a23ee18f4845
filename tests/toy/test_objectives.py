"""The loss that training descends, by hand and in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_keys, make_knobs, make_spec, stack

from superposition_cli.theory import linear
from superposition_cli.toy import data, models, objectives, rng, train
from superposition_cli.toy.spec import State

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
        float(total) / 8, rel=1e-12
    )


@pytest.mark.parametrize("sampler", data.SAMPLERS)
def test_sampled_loss_is_the_loss_on_the_batch_of_its_key(sampler):
    spec, knobs = make_spec(data=sampler), make_knobs(low=-1)
    params, key = initial(spec, knobs), make_keys(1, seed=3)[0]
    x = data.SAMPLERS[sampler].draw(spec, knobs, key, spec.batch_size)
    assert x.shape == (5, spec.batch_size)
    expected = objectives.batch_loss(spec, knobs, params, x)
    loss = objectives.OBJECTIVES["sampled"].loss(spec, knobs, key, 0, params)
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
        step = jax.jit(train.step, static_argnums=(0, 1))
        after, loss = step(train.TOY, spec, knobs, key, np.int32(0), state)
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
    constant = linear.linear_loss(jnp.zeros((5, 2)), mean, knobs.importance, mean, covariance)
    assert float(objectives.null_loss(spec, knobs)) == pytest.approx(float(constant), rel=1e-5)


def drawn_with(**changes):
    """A spec, knobs, parameters and the batch that `sampled` draws from one key."""
    spec = make_spec(**{name: True for name in changes if name in ("sparse_hidden", "attacked")})
    numbers = {name: value for name, value in changes.items() if not isinstance(value, bool)}
    knobs = make_knobs(**numbers)
    generator = np.random.default_rng(2)
    W = generator.normal(size=(5, 2)).astype(np.float32)
    params = {"W": W, "b": np.float32([0.1, -0.1, 0.0, 0.2, -0.2])}
    key = rng.key(7)
    x = data.SAMPLERS[spec.data].draw(spec, knobs, key, spec.batch_size)
    return spec, knobs, params, key, np.asarray(x, np.float64)


def loss_of(knobs, params, x, seen):
    W, b = params["W"].astype(np.float64), params["b"].astype(np.float64)
    answer = np.maximum(W @ (W.T @ seen) + b[:, None], 0)
    return (np.asarray(knobs.importance)[:, None] * (x - answer) ** 2).sum(0)


def test_a_price_on_the_hidden_activation_is_added():
    spec, knobs, params, key, x = drawn_with(sparse_hidden=True, hidden_l1=0.3)
    hidden = params["W"].T.astype(np.float64) @ x
    expected = loss_of(knobs, params, x, x).mean() + 0.3 * np.abs(hidden).sum(0).mean()
    found = objectives.sampled(spec, knobs, key, 0, params)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_attacked_inputs_are_pushed_uphill_by_a_share_of_their_length():
    spec, knobs, params, key, x = drawn_with(attacked=True, adversarial_norm=0.01)
    seen = np.asarray(objectives.pushed(spec, knobs, params, x.astype(np.float32)), np.float64)
    W, b = params["W"].astype(np.float64), params["b"].astype(np.float64)
    z = W @ (W.T @ x) + b[:, None]
    error = np.asarray(knobs.importance)[:, None] * (x - np.maximum(z, 0)) * (z > 0)
    uphill = -2 * (W @ W.T) @ error
    steepness = np.linalg.norm(uphill, axis=0)
    unit = np.divide(uphill, steepness, out=np.zeros_like(uphill), where=steepness > 0)
    np.testing.assert_allclose(seen, x + 0.01 * np.linalg.norm(x, axis=0) * unit, atol=1e-6)
    found = objectives.sampled(spec, knobs, key, 0, params)
    assert float(found) == pytest.approx(loss_of(knobs, params, x, seen).mean(), rel=1e-4)
    assert (steepness > 0).mean() > 0.5

"""The models against NumPy written out, their gradients against autodiff, their beginnings."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_keys, make_knobs, make_spec, stack
from scipy import stats

from superposition_cli.toy import models, train

MANY = 20_000


def relu(z):
    return np.maximum(z, 0)


def linear(params, x):
    """y_i = sum_j W_i·W_j x_j + b_i, sample by sample."""
    W, b = params["W"], params["b"]
    pairs = np.array([[sum(row * other) for other in W] for row in W])
    return np.stack([pairs @ sample + b for sample in x.T], axis=1)


WRITTEN_OUT = {
    "linear": linear,
    "relu_output": lambda p, x: relu(linear(p, x)),
    "relu_hidden": lambda p, x: relu(p["W"] @ relu(p["W"].T @ x) + p["b"].reshape(-1, 1)),
    "abs": lambda p, x: relu(p["U"] @ relu(p["W"].T @ x) + p["b"].reshape(-1, 1)),
}


def some_params(model, n, m, seed=0):
    """Parameters of a model with every entry drawn from N(0, 1), float64."""
    spec = make_spec(model=model, n_features=n, n_hidden=m, dtype="float64")
    init = partial(models.MODELS[model].init, spec, make_knobs("float64"))
    shapes = jax.eval_shape(init, make_keys(1)[0])
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=leaf.shape) for name, leaf in sorted(shapes.items())}


@pytest.mark.parametrize("shape", [(4, 3), (9, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("model", models.MODELS)
def test_model_computes_what_is_written(float64, model, shape):
    params, x = some_params(model, *shape), np.random.default_rng(1).normal(size=(shape[0], 2))
    y = models.MODELS[model].apply(params, x)
    np.testing.assert_allclose(y, WRITTEN_OUT[model](params, x), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(models.MODELS[model].embedding(params), params["W"])


@pytest.mark.parametrize("model", models.MODELS)
def test_a_turn_is_taken_in_by_both_matrices(float64, model):
    params, x = some_params(model, 9, 2), np.random.default_rng(1).normal(size=(9, 3))
    # W becomes W Rᵀ, so that the hidden vector before its nonlinearity becomes R Wᵀx.
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    z = turn @ params["W"].T @ x
    turned = models.MODELS[model].hidden(models.rotated(models.MODELS[model].axes, params, turn), x)
    expected = relu(z) if model in ("relu_hidden", "abs") else z
    np.testing.assert_allclose(turned, expected, rtol=1e-12)


@pytest.mark.parametrize("model", models.MODELS)
def test_renaming_neurons_changes_no_model(float64, model):
    params, x = some_params(model, 4, 3), np.random.default_rng(1).normal(size=(4, 2))
    apply, swap = models.MODELS[model].apply, np.eye(3)[[2, 0, 1]]
    y = apply(models.rotated(models.MODELS[model].axes, params, swap), x)
    np.testing.assert_allclose(y, apply(params, x), rtol=1e-12, atol=1e-12)


def test_rectified_models_by_hand():
    # W = (1, -1)ᵀ, b = (.5, -1), x = (2, .5): h = 1.5, W h + b = (2, -2.5).
    # relu_hidden at -x: h = -1.5 becomes 0, so y = ReLU(b) = (.5, 0).
    params = {"W": np.array([[1.0], [-1.0]]), "b": np.array([0.5, -1.0])}
    x = np.array([[2.0], [0.5]])
    y = {name: np.ravel(models.MODELS[name].apply(params, x)) for name in ("linear", "relu_output")}
    np.testing.assert_allclose(y["linear"], [2, -2.5])
    np.testing.assert_allclose(y["relu_output"], [2, 0])
    np.testing.assert_allclose(np.ravel(models.apply_relu_hidden(params, -x)), [0.5, 0])
    # abs with W = (1, -1), U = (1, 1)ᵀ, b = 0 on one feature: ReLU(x) + ReLU(-x) = |x|.
    both = {"W": np.array([[1.0, -1.0]]), "U": np.array([[1.0, 1.0]]), "b": np.zeros(1)}
    np.testing.assert_allclose(models.apply_abs(both, np.array([[-3.0, 2.0]])), [[3, 2]])


@pytest.mark.parametrize("shape", [(5, 2), (6, 2), (3, 4), (20, 3)], ids=str)
def test_both_routes_and_their_gradients_agree(float64, shape):
    """n <= 2.5 m goes through the n x n product, larger n through the custom gradient."""
    n, _ = shape
    generator = np.random.default_rng(n)
    W, x, c = generator.normal(size=shape), *generator.normal(size=(2, n, 7))

    def plain(W, x):
        return W @ (W.T @ x)

    def through(route):
        return jax.value_and_grad(lambda W, x: jnp.sum(c * route(W, x) ** 2), (0, 1))(W, x)

    expected = through(plain)
    for route in (models.reconstruct, models._through_hidden):
        np.testing.assert_allclose(route(W, x), plain(W, x), rtol=1e-11, atol=1e-11)
        for ours, theirs in zip(
            jax.tree.leaves(through(route)), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("model", models.MODELS)
@pytest.mark.parametrize("shape", [(4, 3), (9, 2)], ids=str)
def test_gradients_equal_finite_differences(float64, model, shape):
    params, x = (
        some_params(model, *shape, seed=2),
        np.random.default_rng(3).normal(size=(shape[0], 6)),
    )
    direction = some_params(model, *shape, seed=4)

    def value(distance):
        moved = {name: leaf + distance * direction[name] for name, leaf in params.items()}
        return float(jnp.sum(jnp.sin(models.MODELS[model].apply(moved, x))))

    gradient = jax.grad(lambda p: jnp.sum(jnp.sin(models.MODELS[model].apply(p, x))))(params)
    slope = sum(np.sum(gradient[name] * direction[name]) for name in params)
    assert slope == pytest.approx((value(1e-6) - value(-1e-6)) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("model", models.MODELS)
def test_hidden_and_read_out_make_the_model(float64, model):
    params, x = some_params(model, 9, 2), np.random.default_rng(6).normal(size=(9, 4))
    one = models.MODELS[model]
    h = one.hidden(params, x)
    assert h.shape == (2, 4)
    np.testing.assert_allclose(one.read_out(params, h), one.apply(params, x), atol=1e-12)


@pytest.mark.parametrize("model", models.MODELS)
def test_samples_of_a_batch_do_not_mix(float64, model):
    params, x = some_params(model, 9, 2), np.random.default_rng(5).normal(size=(9, 4))
    apply = models.MODELS[model].apply
    alone = np.hstack([apply(params, x[:, [s]]) for s in range(4)])
    np.testing.assert_allclose(apply(params, x), alone, rtol=1e-12, atol=1e-12)


# n = 5, m = 2, K = 10: Glorot sqrt(2/7) = .5345; stacked sqrt(2/((5 + 10) 2)) = .2582; He: W has
# five inputs, U two, and a uniform law between ±a has the standard deviation a/sqrt(3).
STD = {"xavier_normal": dict.fromkeys("WU", np.sqrt(2 / 7))}
STD |= {"notebook_stacked": dict.fromkeys("WU", np.sqrt(2 / 30))}
STD |= {"kaiming_uniform": {"W": np.sqrt(6 / 5) / np.sqrt(3), "U": np.sqrt(6 / 2) / np.sqrt(3)}}
LAW = dict.fromkeys(STD, stats.norm())
LAW |= {"kaiming_uniform": stats.uniform(-np.sqrt(3), 2 * np.sqrt(3))}


@pytest.mark.parametrize("init", models.INITS)
@pytest.mark.parametrize("model", models.MODELS)
def test_initial_spread(model, init):
    spec, knobs = make_spec(model=model, init=init), make_knobs(init_instances=10)
    keys = jax.random.split(make_keys(1)[0], MANY)
    params = jax.jit(jax.vmap(partial(models.MODELS[model].init, spec, knobs)))(keys)
    assert not np.any(params.pop("b"))
    matrices = {name: np.ravel(leaf).astype(np.float64) for name, leaf in params.items()}
    for name, drawn in matrices.items():
        # The spread of N normal numbers is known to std/sqrt(2N) (of uniform ones better),
        # their mean to std/sqrt(N).
        std = STD[init][name]
        assert abs(drawn.std() - std) < 5 * std / np.sqrt(2 * drawn.size)
        assert abs(drawn.mean()) < 5 * std / np.sqrt(drawn.size)
        assert stats.kstest(drawn / std, LAW[init].cdf).pvalue > 1e-4
    correlations = np.atleast_2d(np.corrcoef(list(matrices.values())))
    apart = correlations[~np.eye(len(matrices), dtype=bool)]
    assert (np.abs(apart) < 5 / np.sqrt(matrices["W"].size)).all()


def test_stacked_spread_of_the_published_run():
    spread = models.stacked_std(make_spec(), make_knobs(init_instances=10), 5)
    assert float(spread) == pytest.approx(0.258, abs=5e-4)


@pytest.mark.parametrize("init", models.INITS)
@pytest.mark.parametrize("model", models.MODELS)
def test_init_scale_multiplies_weights_and_by_default_changes_no_bit(model, init):
    spec, key, plain = make_spec(model=model, init=init), make_keys(1)[0], make_knobs()
    begun = models.MODELS[model].init(spec, plain, key)
    law, own = models.INITS[init], key if model != "abs" else jax.random.fold_in(key, 0)
    drawn = law.std(spec, plain, 5) * law.unit(own, (5, 2), "float32")
    np.testing.assert_array_equal(begun["W"], drawn)
    small = models.MODELS[model].init(spec, plain._replace(init_scale=np.float32(1 / 64)), key)
    for name in begun:
        # A power of two moves the exponent only.
        np.testing.assert_array_equal(small[name], begun[name] / 64)


@pytest.mark.parametrize("model", models.MODELS)
def test_initialisation_does_not_depend_on_the_company(model):
    spec, keys = make_spec(model=model), make_keys(7)
    many = train.start(train.TOY, spec, stack([make_knobs()] * 7), keys).params
    one = train.start(train.TOY, spec, stack([make_knobs()]), keys[4:5]).params
    for name in many:
        np.testing.assert_array_equal(many[name][4], one[name][0])
    assert len(np.unique(many["W"])) == many["W"].size

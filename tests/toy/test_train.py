"""The training step against NumPy written out, and what one model owes to its neighbours."""

import functools
import threading
import time
from functools import partial

import jax
import numpy as np
import pytest
from conftest import advance, crossed, make_keys, make_knobs, make_spec, stack

from superposition_cli.toy import data, models, rng, train
from superposition_cli.toy.spec import State

PAIRS = list(crossed(models.MODELS, data.SAMPLERS))
STEPS, CROWD = 20, 100
WANTED = (0, 1, 10, 19)  # steps before which parameters are kept
HEAVY = {"learning_rate": 0.05, "weight_decay": 0.5, "warmup_steps": 4, "low": 0.2, "high": 1.5}

TIGHT = 1e-11

one_step = jax.jit(partial(train.step, train.TOY), static_argnums=0)


def rate_by_hand(schedule, t, knobs):
    """The learning rate of step t of 20."""
    shape = {"constant": 1, "linear": 1 - t / 20, "cosine": np.cos(np.pi / 2 * t / 19)}[schedule]
    warmup = min(1, (t + 1) / knobs.warmup_steps) if knobs.warmup_steps else 1
    return float(knobs.learning_rate) * shape * warmup


def gradient_by_hand(W, b, x, importance):
    """Loss and gradient of ReLU(W Wᵀx + b) on a batch x [n, B], chain rule written out."""
    h = W.T @ x
    z = W @ h + b[:, None]
    error = np.maximum(z, 0) - x
    loss = (importance[:, None] * error**2).sum(0).mean()
    g = 2 * importance[:, None] * error * (z > 0) / x.shape[1]
    return loss, {"W": g @ h.T + x @ (W.T @ g).T, "b": g.sum(1)}


def step_by_hand(kind, t, rate, knobs, p, g, memory):
    """One update of one parameter array; memory holds its two running averages."""
    decay, beta1, beta2 = knobs.weight_decay, knobs.momentum, knobs.second_moment
    if kind == "sgd":
        memory[0] = (g + decay * p) + beta1 * memory[0]
        return p - rate * memory[0]
    if kind == "adam":
        g = g + decay * p
    memory[0] = beta1 * memory[0] + (1 - beta1) * g
    memory[1] = beta2 * memory[1] + (1 - beta2) * g**2
    unbiased = [memory[0] / (1 - beta1 ** (t + 1)), memory[1] / (1 - beta2 ** (t + 1))]
    moved = p - rate * unbiased[0] / (np.sqrt(unbiased[1]) + knobs.epsilon)
    return moved - rate * decay * p if kind == "adamw" else moved


def train_by_hand(spec, knobs, params, batches):
    """Losses, and the parameters before each step and after the last, in float64 arithmetic."""
    knobs = jax.tree.map(np.float64, knobs)
    path = [{name: np.asarray(leaf, np.float64) for name, leaf in params.items()}]
    memory = {name: [np.zeros_like(leaf), np.zeros_like(leaf)] for name, leaf in path[0].items()}
    losses = []
    for t, x in enumerate(batches):
        loss, gradient = gradient_by_hand(path[-1]["W"], path[-1]["b"], x, knobs.importance)
        update = partial(step_by_hand, spec.optimizer, t, rate_by_hand(spec.schedule, t, knobs))
        path.append({k: update(knobs, path[-1][k], gradient[k], memory[k]) for k in gradient})
        losses.append(loss)
    return np.array(losses), path


def batches_of(spec, knobs, key):
    """The batch of each step, drawn from the model's key as it is written down to be."""
    data_key = jax.random.fold_in(key, 1)
    draw = jax.jit(partial(data.SAMPLERS[spec.data].draw, spec), static_argnums=2)
    keys = [jax.random.fold_in(data_key, t) for t in range(STEPS)]
    return [np.asarray(draw(knobs, one, spec.batch_size), np.float64) for one in keys]


def against_numpy(spec, knobs, after_one, after_all):
    """Hold ONE model to the NumPy trainer, after one step and along twenty."""
    keys = make_keys(1, seed=11)
    state = train.start(train.TOY, spec, stack([knobs]), keys)
    ours = advance(spec, stack([knobs]), keys, state, range(STEPS), WANTED)
    begun = {name: leaf[0] for name, leaf in state.params.items()}
    losses, path = train_by_hand(spec, knobs, begun, batches_of(spec, knobs, keys[0]))
    np.testing.assert_allclose(ours.loss[:, 0], losses, rtol=after_all)
    for name, last in path[-1].items():
        np.testing.assert_allclose(ours.state.params[name][0], last, rtol=0, atol=after_all)
        one = ours.snapshots[name][WANTED.index(1), 0]
        np.testing.assert_allclose(one, path[1][name], rtol=0, atol=after_one)
        assert np.abs(one - path[0][name]).max() > 1e3 * after_one


def test_adamw_equals_numpy():
    against_numpy(make_spec(), make_knobs(learning_rate=2e-3), after_one=1e-6, after_all=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_equals_numpy(float64, optimizer):
    """Strong decay, warm-up and a moving bias; single precision would end at 1e-6."""
    spec = make_spec(optimizer=optimizer, schedule="cosine", dtype="float64", batch_size=8)
    against_numpy(spec, make_knobs("float64", **HEAVY), after_one=TIGHT, after_all=TIGHT)


@pytest.mark.parametrize("schedule", [name for name in train.SCHEDULES if name != "cosine"])
def test_every_schedule_equals_numpy(float64, schedule):
    spec = make_spec(optimizer="sgd", schedule=schedule, dtype="float64", batch_size=8)
    against_numpy(spec, make_knobs("float64", **HEAVY), after_one=TIGHT, after_all=TIGHT)


def test_learning_rates_by_hand():
    # Base .01, 20 steps. Half way through: linear .005, cosine .01 cos(pi/2 10/19) = .0067728.
    # Warm-up over 4 steps multiplies by 1/4, 1/2, 3/4, 1 and then stays out.
    def rates(schedule, steps, **changes):
        spec, knobs = make_spec(schedule=schedule), make_knobs(**changes)
        return [float(train.learning_rate(spec, knobs, np.int32(t))) for t in steps]

    np.testing.assert_allclose(rates("constant", (0, 10, 19)), [0.01] * 3, rtol=1e-6)
    np.testing.assert_allclose(rates("linear", (0, 10, 19)), [0.01, 0.005, 0.0005], rtol=1e-5)
    cosine = rates("cosine", (0, 10, 19))
    np.testing.assert_allclose(cosine, [0.01, 0.0067728, 0], rtol=1e-4, atol=1e-9)
    warm = rates("constant", range(6), warmup_steps=4)
    np.testing.assert_allclose(warm, [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01], rtol=1e-6)
    assert float(train.schedule_cosine(np.float32(0), 1)) == 1


def varied(**changes):
    """The Knobs of a hundred models that all differ."""
    each = [{"learning_rate": 1e-3 * (1 + k % 20), "high": 1 + k / CROWD} for k in range(CROWD)]
    return stack([make_knobs(**{**one, **changes}) for one in each])


@functools.cache
def begun(model):
    """The hundred models before training; the law of the data has no part in it."""
    return train.start(train.TOY, make_spec(model=model), varied(), make_keys(CROWD))


def some(tree, chosen):
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def train_some(model, law, chosen=slice(None), knobs=None, **others):
    """Train some of the hundred, perhaps with other knobs, keys or beginnings."""
    knobs = varied() if knobs is None else knobs
    keys = others.get("keys", make_keys(CROWD))[chosen]
    state = some(others.get("state", begun(model)), chosen)
    spec = make_spec(model=model, data=law)
    return advance(spec, some(knobs, chosen), keys, state, range(STEPS), WANTED)


@functools.cache
def crowd(model="relu_output", law="uniform"):
    """The hundred models after training."""
    return train_some(model, law)


@pytest.mark.parametrize(("model", "law"), PAIRS)
def test_a_model_alone_equals_itself_among_a_hundred(model, law):
    many, alone = crowd(model, law), train_some(model, law, slice(36, 37))
    np.testing.assert_allclose(alone.loss[:, 0], many.loss[:, 36], rtol=1e-5)
    for name, leaf in alone.state.params.items():
        np.testing.assert_allclose(leaf[0], many.state.params[name][36], rtol=0, atol=1e-5)
    assert len(np.unique(many.loss[0])) == CROWD


@pytest.mark.parametrize(("model", "law"), PAIRS)
def test_a_diverging_model_leaves_its_neighbours_alone(model, law):
    well, rates = crowd(model, law), varied().learning_rate.copy()
    rates[50] = 1e38
    ill = train_some(model, law, knobs=varied()._replace(learning_rate=rates))
    others = np.arange(CROWD) != 50
    assert ill.state.finite_steps[50] < STEPS
    assert (ill.state.finite_steps[others] == STEPS).all()
    assert (well.state.finite_steps == STEPS).all()
    np.testing.assert_array_equal(ill.loss[:, others], well.loss[:, others])
    for name, leaf in well.state.params.items():
        np.testing.assert_array_equal(ill.state.params[name][others], leaf[others])


@pytest.mark.parametrize("model", models.MODELS)
def test_decay_shrinks_every_parameter(model):
    """Without importance there is no gradient: adamw multiplies by 1 - rate * decay."""
    before = {name: leaf + 1 for name, leaf in begun(model).params.items()}
    knobs = varied(importance=[0.0] * 5, weight_decay=0.5, learning_rate=1e-2)
    run = train_some(model, "uniform", knobs=knobs, state=begun(model)._replace(params=before))
    for name, leaf in before.items():
        expected = leaf * (1 - 1e-2 * 0.5) ** STEPS
        np.testing.assert_allclose(run.state.params[name], expected, rtol=1e-5)


def test_chunks_of_any_size_agree():
    whole = crowd().state.params["W"]
    halves = [train_some("relu_output", "uniform", half) for half in (slice(50), slice(50, 100))]
    together = np.concatenate([half.state.params["W"] for half in halves])
    np.testing.assert_allclose(together, whole, rtol=0, atol=1e-5)


def test_training_in_parts_is_the_same_bit_for_bit():
    spec, keys, knobs, whole = make_spec(), make_keys(CROWD), varied(), crowd()
    first = advance(spec, knobs, keys, begun("relu_output"), range(10), WANTED)
    rest = (first.state, range(10, STEPS), WANTED, first.snapshots)
    second = advance(spec, knobs, keys, *rest)
    np.testing.assert_array_equal(whole.loss, np.concatenate([first.loss, second.loss]))
    ours, expected = ((run.state, run.snapshots) for run in (second, whole))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    # Rows of snapshots: before steps 0, 1, 10 and 19, then scratch.
    for name, leaf in begun("relu_output").params.items():
        assert whole.snapshots[name].shape == (5, *leaf.shape)
        np.testing.assert_array_equal(whole.snapshots[name][0], leaf)
        np.testing.assert_array_equal(whole.snapshots[name][2], first.state.params[name])


def begun_pair(spec, dtype="float32"):
    knobs, keys = stack([make_knobs(dtype)] * 2), make_keys(2)
    return knobs, keys, train.start(train.TOY, spec, knobs, keys)


def test_each_row_of_the_snapshots_is_of_its_step_and_the_last_is_scratch():
    """Against as many trainings from the start; step 30 is in another segment."""
    spec = make_spec()
    knobs, keys, state = begun_pair(spec)
    keep = (7, 30, 0, 2)
    found = advance(spec, knobs, keys, state, range(9), keep).snapshots
    for row, step in enumerate(keep):
        before = advance(spec, knobs, keys, state, range(step)).state if step < 9 else None
        for name, leaf in train.kept(found).items():
            assert leaf.shape == (4, 2, *leaf.shape[2:])
            np.testing.assert_array_equal(leaf[row], before.params[name] if before else 0)


@pytest.mark.parametrize("keep", [(), (1, 2)])
def test_snapshots_of_other_steps_are_refused(keep):
    spec = make_spec()
    knobs, keys, state = begun_pair(spec)
    others = train.empty_snapshots(state.params, (1,))
    with pytest.raises(ValueError, match=f"snapshots are not of {len(keep)} steps"):
        train.run(train.TOY, spec, knobs, keys, state, range(2), keep, others)


def test_training_goes_on_in_the_memory_it_was_given():
    spec = make_spec()
    knobs, keys, state = begun_pair(spec)
    state, _, snapshots = train.run(train.TOY, spec, knobs, keys, state, range(2), (1,))
    train.run(train.TOY, spec, knobs, keys, state, range(2, 4), (1,), snapshots)
    given = jax.tree.leaves((state.params, state.opt, snapshots))
    assert [leaf.is_deleted() for leaf in given] == [True] * len(given)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_that_of_the_spec_whatever_is_set_outside(dtype, outside):
    with jax.enable_x64(outside):
        spec = make_spec(dtype=dtype)
        segment = train.run(train.TOY, spec, *begun_pair(spec, dtype), range(2), (1,))
    arrays = [segment.loss, *segment.state.params.values(), *segment.snapshots.values()]
    assert {str(leaf.dtype) for leaf in arrays} == {dtype}


def test_shapes_are_had_without_compiling(monkeypatch):
    monkeypatch.setattr(train, "_programs", {})
    spec, knobs, keys = make_spec(), stack([make_knobs()] * 2), make_keys(2)
    state = jax.eval_shape(partial(train.start, train.TOY, spec), knobs, keys)
    run = partial(train.run, train.TOY, spec, steps=range(3), keep=(1,))
    segment = jax.eval_shape(run, knobs, keys, state)
    assert (state.params["W"].shape, segment.loss.shape) == ((2, 5, 2), (3, 2))
    assert segment.snapshots["b"].shape == (2, 2, 5)
    assert not train._programs


def finite_steps_after(t, finite_steps, params=None, **changes):
    """Take step t from a state that was finite for so many steps."""
    spec, knobs = make_spec(), make_knobs(**changes)
    first = models.MODELS[spec.model].init(spec, knobs, rng.key(0)) | (params or {})
    state = State(first, train.adamw(knobs, 1.0).init(first), np.int32(finite_steps))
    after, loss = one_step(spec, knobs, rng.key(1), np.int32(t), state)
    return int(after.finite_steps), float(loss)


def test_finite_steps_count_up_to_the_first_fault():
    assert finite_steps_after(5, 5)[0] == 6
    assert finite_steps_after(5, 3)[0] == 3  # a model that came back has still diverged


def test_an_infinite_parameter_behind_a_finite_loss_is_seen():
    # ReLU(-inf) = 0: the outputs are zero, the loss is that of answering zero.
    count, loss = finite_steps_after(5, 5, {"b": np.float32([-np.inf] * 5)})
    assert np.isfinite(loss)
    assert count == 5


def test_an_infinite_loss_before_finite_parameters_is_seen():
    # Importance 3e38 (of at most 3.4e38): the sum overflows; Adam's step is g/sqrt(g^2) = 0.
    frozen = {"learning_rate": 0.0, "weight_decay": 0.0}
    count, loss = finite_steps_after(5, 5, importance=[3e38] * 5, **frozen)
    assert np.isinf(loss)
    assert count == 5


def keys_of(seed=0, words=(3, 4), shared=False, restart=0):
    """The own key and the evaluation key of one model, as numbers."""
    row = (np.uint32([seed]), np.uint32([words]), np.array([shared]), np.uint32([restart]))
    return [tuple(np.ravel(jax.random.key_data(key)).tolist()) for key in train.model_keys(*row)]


def test_keys_are_folded_in_the_order_written_down():
    root = jax.random.fold_in(jax.random.fold_in(rng.key(7), 3), 4)
    own = jax.random.fold_in(root, 5)
    judged = jax.random.fold_in(jax.random.fold_in(root, np.uint32(2**32 - 1)), 2)
    expected = [tuple(jax.random.key_data(key).tolist()) for key in (own, judged)]
    assert keys_of(seed=7, words=(3, 4), restart=5) == expected


def test_seed_words_and_restart_matter():
    changed = [{}, {"seed": 1}, {"words": (3, 5)}, {"words": (4, 3)}, {"words": (3, 2**31)}]
    both = [keys_of(**change) for change in [*changed, {"shared": True}]]
    assert len({own for own, _ in both}) == len({judged for _, judged in both}) == 6
    own, judged = keys_of(restart=1)
    assert own != both[0][0]
    assert judged == both[0][1]


def test_shared_draws_leave_the_words_out():
    assert keys_of(shared=True) == keys_of(shared=True, words=(8, 9))
    assert keys_of(shared=True) != keys_of(shared=True, restart=1)
    assert keys_of(shared=True) != keys_of(shared=True, seed=1)


def test_models_of_different_cells_see_different_data():
    """A hundred equal models of a hundred cells: other losses, unless the draws are shared."""
    equal = jax.tree.map(lambda leaf: np.repeat(leaf[:1], CROWD, 0), begun("relu_output"))
    rows, knobs = np.zeros(CROWD, np.uint32), stack([make_knobs()] * CROWD)
    words = np.stack([rows, np.arange(CROWD, dtype=np.uint32)], axis=1)
    for shared, different in ((False, CROWD), (True, 1)):
        keys = train.model_keys(rows, words, np.full(CROWD, shared), rows)[0]
        loss = train_some("relu_output", "uniform", knobs=knobs, keys=keys, state=equal).loss
        assert len(np.unique(loss[0])) == different
        assert len(np.unique(loss[:, 0])) == STEPS


class Slow:
    """A jitted function whose compilation takes long enough for every thread to ask."""

    compilations = 0

    def trace(self, scale, x):
        self.scale = scale
        return self

    def lower(self, lowering_platforms):
        return self

    def compile(self, options):
        self.compilations += 1
        time.sleep(0.1)
        return lambda x: self.scale * x


def test_threads_share_one_compilation(monkeypatch):
    monkeypatch.setattr(train, "_programs", {})
    function, results, ready = Slow(), [], threading.Barrier(8)

    def ask(number):
        ready.wait()
        results.append(float(train.compiled(function, (2,), np.float32(number))))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert function.compilations == 1


def test_a_program_is_compiled_for_its_settings_shapes_and_types(monkeypatch):
    monkeypatch.setattr(train, "_programs", {})
    function = jax.jit(lambda scale, x: scale * x, static_argnums=0)
    for scale in (2, 3):
        for x in (np.float32(1), np.float32([1, 2]), np.int32([1, 2])):
            for _ in range(2):
                np.testing.assert_array_equal(train.compiled(function, (scale,), x), scale * x)
    assert len(train._programs) == 6

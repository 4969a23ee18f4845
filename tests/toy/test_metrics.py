"""The measurements of an embedding against polytopes, hand arithmetic and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superposition_cli.toy import metrics
from superposition_cli.toy.spec import Knobs

METRICS = {name: one for name, one in metrics.METRICS.items() if one.of == "embedding"}


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def regular_polygon(k):
    angles = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def square_antiprism(h_squared):
    h, r = np.sqrt(h_squared), np.sqrt(1 - h_squared)
    angles = np.pi / 4 * np.arange(8)
    heights = h * (-1.0) ** np.arange(8)
    return np.stack([r * np.cos(angles), r * np.sin(angles), heights], axis=1)


def icosahedron():
    golden = (1 + np.sqrt(5)) / 2
    corners = [(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)]
    return np.array([np.roll(c, turn) for c in corners for turn in range(3)])


def side_by_side(*blocks):
    out = np.zeros((sum(len(b) for b in blocks), sum(b.shape[1] for b in blocks)))
    row = column = 0
    for block in blocks:
        out[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return out


DIGON = np.array([[1.0], [-1.0]])
TETRAHEDRON = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])

# All-equal edges: 2 r² = (2 - √2) r² + 4 h² with r² = 1 - h², so h² = √2 / (4 + √2).
MAX_MIN_DISTANCE = np.sqrt(2) / (4 + np.sqrt(2))

POLYTOPES = {
    "dedicated": (np.eye(3), 1.0),
    "digon": (DIGON, 1 / 2),
    "triangle": (regular_polygon(3), 2 / 3),
    "tetrahedron": (TETRAHEDRON, 3 / 4),
    "pentagon": (regular_polygon(5), 2 / 5),
    "hexagon": (regular_polygon(6), 1 / 3),
    "octahedron": (OCTAHEDRON, 1 / 2),
    "antiprism": (square_antiprism(1 / 3), 3 / 8),
    "icosahedron": (icosahedron(), 1 / 4),
}

# W_1 = (3, 4), W_3 = (0, 2): norms 5 and 2, W_1·W_3 = 8. Feature 2 has no vector at all.
HAND = np.array([[3, 4], [0, 0], [0, 2]], np.float32)


# One compilation per shape serves every metric, which keeps these tests quick.
dimensionality = jax.jit(metrics.feature_dimensionality)
leverage = jax.jit(metrics.leverage)


@jax.jit
def measure(W, knobs):
    """Every registered metric of one embedding."""
    return {name: metric.compute(W, knobs.feature_probability) for name, metric in METRICS.items()}


def random_knobs(n, seed=0):
    p = jnp.asarray(np.random.default_rng(seed).uniform(0.1, 0.9, n), jnp.float32)
    return Knobs(p, jnp.ones(n), *[jnp.zeros(())] * (len(Knobs._fields) - 2))


def random_embedding(n, m, seed):
    return np.random.default_rng(seed).normal(size=(n, m))


def rotation(m, seed=0):
    return np.linalg.qr(random_embedding(m, m, seed))[0]


@pytest.mark.parametrize("name", POLYTOPES)
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_v18_dimensionality_of_polytopes(float64, name, scale):
    """Digon 1/2, triangle 2/3, tetrahedron 3/4, pentagon 2/5, antiprism 3/8, within 1e-12."""
    vectors, expected = POLYTOPES[name]
    D = dimensionality(scale * vectors)
    np.testing.assert_allclose(D, expected, rtol=0, atol=1e-12)


def test_the_antiprism_of_greatest_least_distance_is_not_a_tight_frame(float64):
    vectors = square_antiprism(MAX_MIN_DISTANCE)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    # the nearest neighbours: 8 edges of the squares and 8 between them, each seen twice
    assert np.sum(np.isclose(distances, distances[distances > 0].min())) == 32
    D = dimensionality(vectors)
    np.testing.assert_allclose(D, 0.3664, rtol=0, atol=5e-5)


@pytest.mark.parametrize("seed", range(9))
def test_v17_dimensionality_is_at_most_leverage_and_sums_to_at_most_the_rank(float64, seed):
    """Random embeddings: D_i at most the leverage, their sum at most the rank, within 1e-9."""
    n, m = [(40, 7), (5, 9), (60, 1)][seed % 3]
    W = random_embedding(n, m, seed) * np.geomspace(1, 0.05, n)[:, None]
    D, tau, rank = dimensionality(W), leverage(W), np.linalg.matrix_rank(W)
    assert np.all(tau - D >= -1e-9)
    assert np.all(tau <= 1 + 1e-9)
    assert np.sum(D) <= rank + 1e-9
    np.testing.assert_allclose(np.sum(tau), rank, atol=1e-9)


def test_leverage_is_the_diagonal_of_the_hat_matrix(float64):
    low_rank = random_embedding(9, 2, 0) @ random_embedding(2, 5, 1)
    for W in (random_embedding(9, 5, 2), random_embedding(3, 6, 3), low_rank):
        hat = W @ np.linalg.pinv(W.T @ W) @ W.T
        np.testing.assert_allclose(leverage(W), np.diag(hat), atol=1e-9)


def test_a_union_of_tight_frames_uses_exactly_its_rank(float64):
    union = side_by_side(DIGON, 0.8 * regular_polygon(5), 1.3 * TETRAHEDRON, np.eye(1))
    W = union @ rotation(7)
    total = jax.jit(metrics.sum_dimensionality)
    np.testing.assert_allclose(total(W), 7, atol=1e-12)
    np.testing.assert_allclose(
        dimensionality(W),
        np.repeat([1 / 2, 2 / 5, 3 / 4, 1], [2, 5, 4, 1]),
        atol=1e-12,
    )
    # stretching one vector leaves the frames no longer tight
    W[3] *= 1.2
    assert total(W) < 7 - 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_v60_capacity_is_dimensionality(float64, seed):
    """Capacity is dimensionality, within 1e-12."""
    W = random_embedding(20, 6, seed)
    M = W @ W.T
    scherlis = np.diag(M) ** 2 / np.sum(M**2, axis=1)
    capacity = jax.jit(METRICS["capacity"].compute)(W, None)
    np.testing.assert_allclose(capacity, scherlis, atol=1e-12)
    np.testing.assert_allclose(capacity, dimensionality(W), rtol=0, atol=1e-12)


def test_lengths_and_products_by_hand():
    value = measure(HAND, random_knobs(3))
    np.testing.assert_allclose(value["feature_norms"], [5, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(value["gram"], [[25, 0, 8], [0, 0, 0], [8, 0, 4]], rtol=1e-6)
    # D_1 = 625 / (625 + 64), D_3 = 16 / (64 + 16)
    np.testing.assert_allclose(value["feature_dimensionality"], [625 / 689, 0, 0.2], rtol=1e-6)
    np.testing.assert_allclose(value["leverage"], [1, 0, 1], atol=1e-6)
    # D* = 2 / (25 + 4)
    np.testing.assert_allclose(value["dims_per_feature"], 2 / 29, rtol=1e-6)
    # cosine of W_1 and W_3 = 8 / (5 * 2), so the frame potential is 1 + 1 + 2 * .64
    np.testing.assert_allclose(value["coherence"], 0.8, rtol=1e-6)
    np.testing.assert_allclose(value["frame_potential"], 3.28, rtol=1e-6)


def test_interference_by_hand():
    knobs = random_knobs(3)._replace(feature_probability=jnp.array([0.1, 0.9, 0.5]))
    value = measure(HAND, knobs)
    # Ŵ_1·W_3 = 8/5 = 1.6, Ŵ_3·W_1 = 8/2 = 4; with 1e-5 on the norms a little less
    expected = [[0, 0, 8 / 5.00001], [0, 0, 0], [8 / 2.00001, 0, 0]]
    np.testing.assert_allclose(value["interference_matrix"], expected, rtol=1e-6)
    np.testing.assert_allclose(value["superposition"], [2.56, 0, 16], rtol=2e-5)
    np.testing.assert_allclose(value["polysemanticity"], [1.6, 0, 4], rtol=1e-5)
    # weighted by the other feature's activity: .5 * 2.56 = 1.28 and .1 * 16 = 1.6
    np.testing.assert_allclose(value["net_interference"], [1.28, 0, 1.6], rtol=2e-5)


def test_neurons_by_hand():
    # columns (3, 0, 0) and (4, 0, 2)
    value = measure(HAND, random_knobs(3))
    np.testing.assert_allclose(value["neuron_selectivity"], [1, 4 / 6], rtol=1e-6)
    # PR of (4, 0, 2): (16 + 4)² / (256 + 16) = 400 / 272
    np.testing.assert_allclose(value["features_per_neuron"], [1, 400 / 272], rtol=1e-6)
    assert value["n_monosemantic"] == 2
    assert value["polysemantic_share"] == 0
    assert value["n_dead_neurons"] == 0
    # .8 for (3, 4), 1 for (0, 2)
    np.testing.assert_allclose(value["basis_alignment"], 0.9, rtol=1e-6)


def test_short_vectors_do_not_count():
    short = HAND + np.array([[0, 0], [0.3, -0.3], [0, 0]], np.float32)
    value = measure(short, random_knobs(3))
    for name in ("coherence", "frame_potential", "basis_alignment", "n_represented"):
        np.testing.assert_allclose(value[name], measure(HAND, random_knobs(3))[name], rtol=1e-6)


def test_represented_is_strictly_above_the_threshold():
    W = np.array([[0.5, 0], [0, 0.51], [0.6, 0]], np.float32)
    np.testing.assert_array_equal(metrics.represented(W), [False, True, True])
    assert metrics.n_represented(W, threshold=0.55) == 1
    value = measure(W, random_knobs(3))
    assert value["n_represented"] == 2
    np.testing.assert_allclose(value["represented_fraction"], 2 / 3, rtol=1e-6)


def test_rank_counts_singular_values_above_a_thousandth_of_the_largest():
    assert metrics.embedding_rank(jnp.diag(jnp.array([5.0, 0.006, 0.004]))) == 2


def test_coherence_meets_the_welch_bound_on_equiangular_frames(float64):
    lines = icosahedron()
    six = lines[[i for i in range(12) if tuple(lines[i]) > (0, 0, 0)]]
    assert six.shape == (6, 3)
    # sqrt((6 - 3) / (3 * 5)) and sqrt((4 - 3) / (3 * 3))
    for W, bound in ((six, 1 / np.sqrt(5)), (TETRAHEDRON, 1 / 3)):
        np.testing.assert_allclose(jax.jit(metrics.coherence)(W), bound, atol=1e-12)
        welch = jax.jit(metrics.represented_welch_bound)(W)
        np.testing.assert_allclose(welch, bound, atol=1e-12)


def test_frame_potential_of_tight_and_orthogonal_frames(float64):
    frame_potential = jax.jit(metrics.frame_potential)
    for name in ("pentagon", "octahedron", "icosahedron"):
        k, m = POLYTOPES[name][0].shape
        potential = frame_potential(POLYTOPES[name][0])
        np.testing.assert_allclose(potential, k**2 / m, atol=1e-10)
    assert frame_potential(POLYTOPES["icosahedron"][0] + 2) > 48 + 1e-3


def test_dead_neurons_have_no_selectivity_and_no_share():
    # columns (1, 1, 1) and one of norm sqrt(3) * 5e-3 = 8.7e-3 < 1e-2
    value = measure(jnp.array([[1.0, 5e-3]] * 3), random_knobs(3))
    np.testing.assert_allclose(value["neuron_selectivity"], [1 / 3, np.nan], rtol=1e-6)
    np.testing.assert_allclose(value["features_per_neuron"], [3, np.nan], rtol=1e-6)
    assert value["n_monosemantic"] == 0
    assert value["polysemantic_share"] == 1
    assert value["n_dead_neurons"] == 1


def test_sticky_fraction_counts_represented_features_near_a_fraction():
    W = jnp.asarray(side_by_side(DIGON, regular_polygon(5), 0.1 * DIGON))
    share = jax.jit(metrics.sticky_fraction, static_argnums=1)
    np.testing.assert_allclose(share(W, 1 / 2), 2 / 7, rtol=1e-6)
    np.testing.assert_allclose(share(W, 2 / 5), 5 / 7, rtol=1e-6)
    # 2/5 and 3/8 are closer than the tolerance: a feature counts once
    np.testing.assert_allclose(share(W, (1 / 2, 2 / 5, 3 / 8)), 1, rtol=1e-6)
    assert share(W, 1 / 4) == 0


def test_dimensionality_is_zero_below_a_millionth_and_not_above():
    W = jnp.diag(jnp.array([1.0, 9e-7, 2e-6]))
    np.testing.assert_allclose(dimensionality(W), [1, 0, 1], rtol=1e-6)


UNDEFINED_AT_ZERO = {
    "dims_per_feature", "sticky_half", "coherence", "neuron_selectivity",
    "features_per_neuron", "polysemantic_share", "basis_alignment",
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_the_zero_matrix_gives_zero_or_nan(name):
    value = np.asarray(measure(jnp.zeros((3, 2)), random_knobs(3))[name])
    if name == "n_dead_neurons":
        assert value == 2
    elif name in UNDEFINED_AT_ZERO:
        assert np.all(np.isnan(value))
    else:
        assert np.all(value == 0)


@pytest.mark.parametrize("name", METRICS)
def test_one_feature_in_one_dimension(name):
    value = np.asarray(measure(jnp.array([[-1.0]]), random_knobs(1))[name])
    zero = {
        "interference_matrix", "superposition", "polysemanticity", "net_interference",
        "sticky_half", "welch_bound", "polysemantic_share", "n_dead_neurons",
    }  # fmt: skip
    if name == "coherence":
        assert np.isnan(value)
    else:
        np.testing.assert_allclose(value, 0 if name in zero else 1, atol=1e-6)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(7, 4), (3, 5)])
def test_shapes_follow_the_axes(name, shape):
    W = jnp.asarray(random_embedding(*shape, 0), jnp.float32)
    metric = METRICS[name]
    sizes = {"feature": shape[0], "neuron": shape[1]}
    value = measure(W, random_knobs(shape[0]))[name]
    assert value.shape == tuple(sizes[axis] for axis in metric.axes)
    assert value.dtype in (jnp.float32, jnp.int32)
    assert metric.about
    assert "\n" not in metric.about


def test_batched_equals_one_by_one():
    W = np.stack([random_embedding(7, 4, seed) for seed in range(5)]).astype(np.float32)
    W[1, 3], W[2], W[3, :, 1] = 0, 0, 0
    knobs = random_knobs(7)
    batched = jax.vmap(measure, in_axes=(0, None))(W, knobs)
    for k, one in enumerate(W):
        alone = measure(one, knobs)
        for name in METRICS:
            np.testing.assert_allclose(
                batched[name][k], alone[name], rtol=2e-5, atol=2e-6, err_msg=name
            )


BELONGS_TO_THE_BASIS = {
    "neuron_selectivity", "features_per_neuron", "n_monosemantic", "polysemantic_share",
    "n_dead_neurons", "basis_alignment",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in METRICS if name != "n_dead_neurons"])
def test_only_what_is_said_of_neurons_depends_on_the_basis(name):
    W = side_by_side(DIGON, regular_polygon(3), np.array([[1.0], [0.3]]))
    knobs, m = random_knobs(len(W)), W.shape[1]
    before = measure(jnp.asarray(W, jnp.float32), knobs)[name]
    after = measure(jnp.asarray(W @ rotation(m), jnp.float32), knobs)[name]
    if name in BELONGS_TO_THE_BASIS:
        assert np.max(np.abs(np.asarray(before - after))) > 0.05
    else:
        np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_swapping_features_swaps_the_answer(name):
    W = random_embedding(7, 4, 3).astype(np.float32)
    knobs, order = random_knobs(7), np.array([3, 1, 5, 0, 6, 4, 2])
    permuted = knobs._replace(feature_probability=knobs.feature_probability[order])
    expected = measure(W, knobs)[name]
    for position, axis in enumerate(METRICS[name].axes):
        if axis == "feature":
            expected = np.take(np.asarray(expected), order, axis=position)
    value = measure(W[order], permuted)[name]
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)

"""What an embedding means: pure functions of one model's W [n, m].

W_i, a row, is the vector of feature i; a column is a hidden neuron. Everything has a fixed
shape, so `jax.jit` and `jax.vmap` apply. Where a quantity has no value (the coherence of a
single vector, the selectivity of a dead neuron) the entry is NaN, which a table shows as
empty; counts stay integers. A non-finite W is a diverged model: its metrics mean nothing.

Shapes: n features, m hidden dimensions. Lengths are in units of W, everything that
compares directions is a pure number.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Num, Real, Shaped

from superposition_cli.theory.linear import welch_bound
from superposition_cli.theory.shapes import PerFeature, PerNeuron, PerPair, Some, SomeEmbedding

Number = Num[Array, ""]
REPRESENTED_NORM = 0.5  # a feature with a longer vector counts as represented
ZERO_NORM = 1e-6  # a shorter vector has no direction
NOTEBOOK_EPSILON = 1e-5  # added to norms by the notebook of Elhage et al. 2022
RANK_CUT = 1e-3  # singular values below this share of the largest count as zero
DEAD_NORM = 1e-2  # a neuron with a shorter column is dead
MONOSEMANTIC_FEATURES = 1.5  # a neuron with fewer effective features is monosemantic
STICKY_FRACTIONS = (1.0, 3 / 4, 2 / 3, 1 / 2, 2 / 5, 3 / 8, 1 / 3, 1 / 4)


def feature_norms(W: SomeEmbedding) -> PerFeature:
    """Return the length of every feature's vector, ‖W_i‖: [n, m] -> [n]."""
    return jnp.linalg.norm(W, axis=1)


def represented(W: SomeEmbedding, threshold: float = REPRESENTED_NORM) -> Bool[Array, " n"]:
    """Tell which features are represented, ‖W_i‖ > threshold: [n, m] -> [n] of bool."""
    return feature_norms(W) > threshold


def n_represented(W: SomeEmbedding, threshold: float = REPRESENTED_NORM) -> Number:
    """Count the represented features, #{i: ‖W_i‖ > threshold}: [n, m] -> [], integer."""
    return jnp.sum(represented(W, threshold))


def represented_fraction(W: SomeEmbedding) -> Number:
    """Return the share of features that are represented, in [0, 1]: [n, m] -> [].

    φ_1/2 = #{i: ‖W_i‖ > 1/2} / n. Source: Liu et al. 2025.
    """
    return jnp.mean(represented(W), dtype=W.dtype)


def gram(W: SomeEmbedding) -> PerPair:
    """Return all inner products of feature vectors, M = W Wᵀ: [n, m] -> [n, n].

    Products are in the full precision of W's dtype on every device.
    """
    return _inner(W, W)


def interference_matrix(W: SomeEmbedding) -> PerPair:
    """Return how strongly each feature's direction picks up every other: [n, m] -> [n, n].

    Entry (i, j) is Ŵ_i·W_j, the diagonal 0, with Ŵ_i = W_i / (1e-5 + ‖W_i‖). A zero row
    of W gives a zero row and column. Source: notebook of Elhage et al. 2022.
    """
    directions = W / (NOTEBOOK_EPSILON + feature_norms(W)[:, None])
    return jnp.where(_off_diagonal(W), _inner(directions, W), 0)


def superposition(W: SomeEmbedding) -> PerFeature:
    """Return how much of other features lies along each feature's direction: [n, m] -> [n].

    Σ_{j≠i} (Ŵ_i·W_j)²: 0 for a feature with a dimension of its own (or none at all), 1 for
    a member of an antipodal pair of unit vectors. Source: Elhage et al. 2022.
    """
    return jnp.sum(interference_matrix(W) ** 2, axis=1)


def polysemanticity(W: SomeEmbedding) -> PerFeature:
    """Return the root of `superposition`, sqrt(Σ_{j≠i} (Ŵ_i·W_j)²): [n, m] -> [n].

    0 for a zero row. Figures clip it to [0, 1]. Source: notebook of Elhage et al. 2022.
    """
    return jnp.linalg.norm(interference_matrix(W), axis=1)


def net_interference(W: SomeEmbedding, p: Real[Some, " n"]) -> PerFeature:
    """Return the interference each feature meets, others weighted by activity: -> [n].

    Σ_{j≠i} p_j (Ŵ_i·W_j)², p [n] the probabilities that features are active, W [n, m].
    0 for a zero row. Source: notebook of Elhage et al. 2022.
    """
    return jnp.sum(interference_matrix(W) ** 2 * p, axis=1)


def dims_per_feature(W: SomeEmbedding) -> Number:
    """Return the hidden dimensions spent per feature, D* = m / ‖W‖_F²: [n, m] -> [].

    NaN where ‖W‖_F < 1e-6: nothing is represented. Source: Elhage et al. 2022.
    """
    energy = jnp.sum(W**2)
    empty = jnp.sqrt(energy) < ZERO_NORM
    return jnp.where(empty, jnp.nan, W.shape[1] / jnp.where(empty, 1, energy))


def feature_dimensionality(W: SomeEmbedding) -> PerFeature:
    """Return the fraction of a dimension each feature has to itself: [n, m] -> [n].

    D_i = ‖W_i‖² / Σ_j (Ŵ_i·W_j)² = ‖W_i‖⁴ / Σ_j M_ij², in [0, 1]; 1 is a dimension of its
    own, 1/2 an antipodal pair, 2/3 a triangle. 0 where ‖W_i‖ < 1e-6. It does not depend on
    the overall scale, so mask unrepresented features in histograms. Under another name it is
    the capacity C_i of Scherlis et al. 2022, "Polysemanticity and capacity in neural networks".
    Source: Elhage et al. 2022.
    """
    norms = feature_norms(W)
    nonzero = norms >= ZERO_NORM
    along = jnp.sum(_inner(_directions(W), W) ** 2, axis=1)
    return jnp.where(nonzero, norms**2 / jnp.where(nonzero, along, 1), 0)


def sum_dimensionality(W: SomeEmbedding) -> Number:
    """Return the dimensions all features use together, Σ_i D_i: [n, m] -> [].

    At most the rank of W; equal to it where every W_i is an eigenvector of WᵀW (a union of
    tight frames in orthogonal subspaces). 0 for the zero matrix. Source: Elhage et al. 2022.
    """
    return jnp.sum(feature_dimensionality(W))


def embedding_rank(W: SomeEmbedding) -> Number:
    """Count the hidden directions in use, singular values > 1e-3 s_max: [n, m] -> [], integer.

    0 for the zero matrix.
    """
    s = jnp.linalg.svd(W, compute_uv=False)
    return jnp.sum(s > RANK_CUT * s[0])


def leverage(W: SomeEmbedding) -> PerFeature:
    """Return how well a linear probe of the hidden vector recovers each feature: -> [n].

    τ_i = W_iᵀ (WᵀW)⁺ W_i, W [n, m]: the R² of the best linear read-out of x_i from Wᵀx for
    independent features of equal variance. D_i <= τ_i <= 1 and Σ τ_i is the rank, here
    taken at machine precision rather than at the cut of `embedding_rank`. 0 for zero rows.
    """
    U, s, _ = jnp.linalg.svd(W, full_matrices=False)
    in_use = s > s[0] * max(W.shape) * jnp.finfo(W.dtype).eps
    return jnp.sum(jnp.where(in_use, U, 0) ** 2, axis=1)


def sticky_fraction(
    W: SomeEmbedding, fraction: float | tuple[float, ...], tol: float = 0.03
) -> Number:
    """Return the share of represented features at a sticky dimensionality: [n, m] -> [].

    #{i represented: |D_i - f| < tol for f, or any of several f} / n_represented. The usual f
    are in `STICKY_FRACTIONS`. NaN with nothing represented. Source: Elhage et al. 2022.
    """
    distance = feature_dimensionality(W)[:, None] - jnp.atleast_1d(jnp.asarray(fraction, W.dtype))
    return _mean_where(jnp.any(jnp.abs(distance) < tol, axis=1), represented(W), W.dtype)


def coherence(W: SomeEmbedding) -> Number:
    """Return the largest |cosine| between two represented features: [n, m] -> [].

    max_{i≠j} |Ŵ_i·Ŵ_j|, in [0, 1], at least `welch_bound`. NaN with fewer than two.
    """
    kept = represented(W)
    pairs = kept[:, None] & kept[None, :] & _off_diagonal(W)
    U = _directions(W)
    largest = jnp.max(jnp.where(pairs, jnp.abs(_inner(U, U)), 0))
    return jnp.where(jnp.sum(kept) < 2, jnp.nan, largest)


def represented_welch_bound(W: SomeEmbedding) -> Number:
    """Return the Welch bound of as many vectors as are represented: [n, m] -> [].

    sqrt((k - m) / (m (k - 1))) with k = n_represented; 0 for k <= m. Source: Welch 1974.
    """
    return welch_bound(n_represented(W).astype(W.dtype), W.shape[1])


def frame_potential(W: SomeEmbedding) -> Number:
    """Return the frame potential of the represented directions: [n, m] -> [].

    Σ_ij (Ŵ_i·Ŵ_j)² over k represented features, i = j included; at least max(k, k²/m),
    reached by orthogonal vectors and by tight frames. 0 with nothing represented.
    Source: Benedetto and Fickus 2003, "Finite normalized tight frames".
    """
    U = jnp.where(represented(W)[:, None], _directions(W), 0)
    return jnp.sum(_inner(U.T, U.T) ** 2)


def live_neurons(W: SomeEmbedding) -> Bool[Array, " m"]:
    """Tell which hidden neurons are in use, column norm >= 1e-2: [n, m] -> [m] of bool."""
    return jnp.linalg.norm(W, axis=0) >= DEAD_NORM


def n_dead_neurons(W: SomeEmbedding) -> Number:
    """Count the hidden neurons with a column norm below 1e-2: [n, m] -> [], integer."""
    return jnp.sum(~live_neurons(W))


def neuron_selectivity(W: SomeEmbedding) -> PerNeuron:
    """Return the share of a neuron's weight that its strongest feature has: [n, m] -> [m].

    max_i |W_ik| / Σ_i |W_ik|, in [1/n, 1]; 1 is a neuron with one feature. NaN for a dead
    neuron.
    """
    live = live_neurons(W)
    total = jnp.sum(jnp.abs(W), axis=0)
    share = jnp.max(jnp.abs(W), axis=0) / jnp.where(live, total, 1)
    return jnp.where(live, share, jnp.nan)


def features_per_neuron(W: SomeEmbedding) -> PerNeuron:
    """Return each neuron's effective number of features: [n, m] -> [m].

    The participation ratio PR_k = (Σ_i W_ik²)² / Σ_i W_ik⁴, in [1, n]. NaN for a dead
    neuron. It belongs to the basis: rotating the hidden space changes it.
    """
    live = live_neurons(W)
    column = W / jnp.where(live, jnp.linalg.norm(W, axis=0), 1)
    fourth = jnp.sum(column**4, axis=0)
    return jnp.where(live, 1 / jnp.where(live, fourth, 1), jnp.nan)


def monosemantic(W: SomeEmbedding) -> Bool[Array, " m"]:
    """Tell which neurons serve one feature, PR_k < 1.5: [n, m] -> [m] of bool.

    False for a dead neuron.
    """
    return features_per_neuron(W) < MONOSEMANTIC_FEATURES


def n_monosemantic(W: SomeEmbedding) -> Number:
    """Count the monosemantic neurons, #{k: PR_k < 1.5}: [n, m] -> [], integer."""
    return jnp.sum(monosemantic(W))


def polysemantic_share(W: SomeEmbedding) -> Number:
    """Return the share of live neurons with PR_k >= 1.5, in [0, 1]: [n, m] -> [].

    NaN where every neuron is dead.
    """
    return _mean_where(~monosemantic(W), live_neurons(W), W.dtype)


def basis_alignment(W: SomeEmbedding) -> Number:
    """Return how closely represented features follow single neurons: [n, m] -> [].

    mean_i max_k |W_ik| / ‖W_i‖ over represented i, in [1/sqrt(m), 1]; 1 puts every feature
    on one neuron. NaN with nothing represented.
    """
    return _mean_where(jnp.max(jnp.abs(_directions(W)), axis=1), represented(W), W.dtype)


def _inner(a: Real[Some, "k m"], b: Real[Some, "l m"]) -> Float[Array, "k l"]:
    return jnp.matmul(a, b.T, precision="highest")


def _off_diagonal(W: SomeEmbedding) -> Bool[Array, "n n"]:
    return ~jnp.eye(W.shape[0], dtype=bool)


def _directions(W: SomeEmbedding) -> Float[Array, "n m"]:
    """Unit rows, [n, m]; rows shorter than 1e-6 become 0."""
    norms = feature_norms(W)[:, None]
    nonzero = norms >= ZERO_NORM
    return jnp.where(nonzero, W / jnp.where(nonzero, norms, 1), 0)


def _mean_where(
    values: Shaped[Array, "*shape"], mask: Bool[Array, "*shape"], dtype: jnp.dtype
) -> Number:
    """Mean of the entries under the mask, []; NaN where there are none."""
    count = jnp.sum(mask)
    total = jnp.sum(jnp.where(mask, values, 0), dtype=dtype)
    return jnp.where(count == 0, jnp.nan, total / jnp.maximum(count, 1).astype(dtype))


class Metric(NamedTuple):
    """One measurement of a model, as a run stores it.

    compute: of "embedding" (W [n, m], how often each feature is active [n]); of "loss" (each
        feature's part of the loss [n], the error of that [n]).
    """

    compute: Callable[[Array, Array], Array]
    axes: tuple[str, ...]  # of feature, neuron; () is one number per model
    about: str
    of: Literal["embedding", "loss"] = "embedding"


def _scalar(function: Callable[[Array], Array], about: str) -> Metric:
    return Metric(lambda W, activity: function(W), (), about)


def _per_feature(function: Callable[[Array], Array], about: str) -> Metric:
    return Metric(lambda W, activity: function(W), ("feature",), about)


def _per_pair(function: Callable[[Array], Array], about: str) -> Metric:
    return Metric(lambda W, activity: function(W), ("feature", "feature"), about)


def _per_neuron(function: Callable[[Array], Array], about: str) -> Metric:
    return Metric(lambda W, activity: function(W), ("neuron",), about)


METRICS: dict[str, Metric] = {
    "feature_loss": Metric(
        lambda loss, error: loss, ("feature",), "each feature's part of the loss", "loss"
    ),
    "feature_loss_error": Metric(
        lambda loss, error: error, ("feature",), "how far off feature_loss may be", "loss"
    ),
    "feature_norms": _per_feature(feature_norms, "length of each feature's vector"),
    "n_represented": _scalar(n_represented, "features with a norm above 1/2"),
    "represented_fraction": _scalar(represented_fraction, "features with a norm above 1/2, of all"),
    "gram": _per_pair(gram, "inner products of feature vectors, W Wᵀ"),
    "interference_matrix": _per_pair(interference_matrix, "directions against other vectors"),
    "superposition": _per_feature(superposition, "squared interference met by each feature"),
    "polysemanticity": _per_feature(polysemanticity, "root of superposition"),
    "net_interference": Metric(
        net_interference, ("feature",), "interference met, others weighted by activity"
    ),
    "dims_per_feature": _scalar(dims_per_feature, "D*, hidden dimensions per feature"),
    "feature_dimensionality": _per_feature(feature_dimensionality, "D_i, its share of a dimension"),
    "capacity": _per_feature(feature_dimensionality, "C_i, the same as feature_dimensionality"),
    "sum_dimensionality": _scalar(sum_dimensionality, "sum of D_i, at most the rank"),
    "embedding_rank": _scalar(embedding_rank, "hidden directions in use"),
    "leverage": _per_feature(leverage, "R² of the best linear probe, equal variances"),
    "sticky_half": _scalar(
        lambda W: sticky_fraction(W, 1 / 2), "share of represented features within .03 of D_i = 1/2"
    ),
    "coherence": _scalar(coherence, "largest |cosine| between represented features"),
    "welch_bound": _scalar(represented_welch_bound, "least coherence so many vectors can have"),
    "frame_potential": _scalar(frame_potential, "sum of squared cosines of represented features"),
    "neuron_selectivity": _per_neuron(neuron_selectivity, "weight share of the strongest feature"),
    "features_per_neuron": _per_neuron(features_per_neuron, "effective number of features"),
    "n_monosemantic": _scalar(n_monosemantic, "neurons with fewer than 1.5 effective features"),
    "polysemantic_share": _scalar(polysemantic_share, "live neurons not monosemantic, of all"),
    "n_dead_neurons": _scalar(n_dead_neurons, "neurons with a column norm below .01"),
    "basis_alignment": _scalar(basis_alignment, "how closely features follow single neurons"),
}

"""Graphs, components, polytope names and plane angles of embeddings built by hand."""

import numpy as np
import pytest

from superposition_cli.measures.geometry import (
    IRREGULAR,
    angles_2d,
    components,
    feature_graph,
    polytope_label,
)


def polygon(k):
    angles = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def from_degrees(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def antiprism(h_squared):
    h, r = np.sqrt(h_squared), np.sqrt(1 - h_squared)
    angles = np.pi / 4 * np.arange(8)
    return np.stack([r * np.cos(angles), r * np.sin(angles), h * (-1.0) ** np.arange(8)], axis=1)


def labels(W):
    M = W @ W.T
    D = np.diag(M) ** 2 / np.sum(M**2, axis=1)
    return [polytope_label(W, D, part) for part in components(feature_graph(W))]


DIGON = np.array([[1.0], [-1.0]])
TETRAHEDRON = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
GOLDEN = (1 + np.sqrt(5)) / 2
# one end of each of the six axes of the icosahedron: equiangular, cosine 1/sqrt(5)
SIX_LINES = np.array(
    [np.roll((0, s, GOLDEN), turn) for s in (-1, 1) for turn in range(3)]
) / np.hypot(1, GOLDEN)


@pytest.mark.parametrize(
    ("vectors", "name"),
    [
        (np.eye(1), "dedicated"),
        (DIGON, "digon"),
        (polygon(3), "triangle"),
        (TETRAHEDRON, "tetrahedron"),
        (polygon(5), "pentagon"),
        (polygon(6), "hexagon"),
        (antiprism(1 / 3), "square antiprism"),
        (antiprism(np.sqrt(2) / (4 + np.sqrt(2))), "square antiprism"),
        (polygon(7), "7/2"),
        (SIX_LINES, "6/3"),
    ],
)
def test_polytopes_have_their_names(vectors, name):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(9, 9)))[0][: vectors.shape[1]]
    noisy = 0.95 * vectors @ basis + rng.normal(0, 0.003, (len(vectors), 9))
    assert labels(noisy) == [name]


def test_an_octahedron_is_three_digons():
    octahedron = np.concatenate([np.eye(3), -np.eye(3)])
    assert components(feature_graph(octahedron)) == ((0, 3), (1, 4), (2, 5))
    assert labels(octahedron) == ["digon"] * 3


def test_a_square_is_two_digons():
    assert labels(polygon(4)) == ["digon", "digon"]


def test_vectors_on_one_ray_are_no_digon():
    assert labels(np.array([[1.0], [1.0]])) == ["2/1"]


def test_a_flipped_vertex_is_no_triangle():
    flipped = polygon(3) * np.array([[1], [1], [-1]])
    assert labels(flipped) == ["3/2"]


def test_unequal_norms_make_a_digon_irregular():
    # D = 1 / (1 + .25), .25 / (1 + .25): .8 and .2, not 1/2
    assert labels(np.array([[1.0], [-0.51]])) == [IRREGULAR]


def test_interference_from_outside_the_component_makes_it_irregular():
    # twelve short vectors of norm .3 along the first axis: D_1 = 1 / (1 + 12 * .09) = .48
    W = np.concatenate([np.eye(2), np.tile([[0.3, 0.0]], (12, 1))])
    assert labels(W) == [IRREGULAR, "dedicated"]


def test_components_mix_and_skip_unrepresented_features():
    W = np.zeros((7, 4))
    W[[0, 4, 6], :2] = polygon(3)
    W[[1, 5], 2:3] = DIGON
    W[2, 3] = 1
    W[3, 3] = 0.1  # too short to be a node
    graph = feature_graph(W)
    np.testing.assert_array_equal(graph.nodes, [0, 1, 2, 4, 5, 6])
    assert components(graph) == ((0, 4, 6), (1, 5), (2,))
    assert labels(W) == ["triangle", "digon", "dedicated"]


def test_edges_are_weighted_and_strictly_above_the_threshold():
    # dots: .6 between the first two, .1 (exactly the threshold) between the first and third
    W = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.1, 0.0, 1.0]])
    graph = feature_graph(W)
    np.testing.assert_allclose(graph.weights, [[0, 0.6, 0], [0.6, 0, 0], [0, 0, 0]])
    assert components(graph) == ((0, 1), (2,))
    assert components(feature_graph(W, edge_threshold=0.05)) == ((0, 1, 2),)
    assert components(feature_graph(W, represented_threshold=1.004)) == ((2,),)


def test_a_chain_is_one_component():
    # neighbours at 60 degrees, each pair in its own plane: only neighbours interfere
    W = np.eye(6) + np.eye(6, k=1)
    assert components(feature_graph(W)) == (tuple(range(6)),)


def test_nothing_represented_is_an_empty_graph():
    graph = feature_graph(np.zeros((3, 2)))
    assert graph.nodes.shape == (0,)
    assert graph.weights.shape == (0, 0)
    assert components(graph) == ()


def test_a_zero_vector_has_no_polytope():
    assert polytope_label(np.zeros((2, 2)), np.zeros(2), (0,)) == IRREGULAR


@pytest.mark.parametrize("k", [2, 3, 5, 6])
def test_gaps_of_a_polygon(k):
    np.testing.assert_allclose(angles_2d(polygon(k)), [360 / k] * k, atol=1e-9)


def test_gaps_are_between_neighbours_sorted_and_add_up_to_a_turn():
    # around the circle: 170, 200, 350, 10 -> gaps 30, 150, 20, 160
    gaps = angles_2d(from_degrees(10, 200, 350, 170))
    np.testing.assert_allclose(gaps, [20, 30, 150, 160], atol=1e-9)


def test_gaps_need_two_represented_features_in_a_plane():
    assert angles_2d(np.array([[1.0, 0.0], [0.0, 0.4]])).shape == (0,)
    assert angles_2d(np.zeros((4, 2))).shape == (0,)
    np.testing.assert_allclose(angles_2d(np.ones((2, 2))), [0, 360])
    with pytest.raises(ValueError, match="n_hidden = 2"):
        angles_2d(np.eye(3))

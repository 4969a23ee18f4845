"""Figures show the arrays of findings, and the same finding gives the same bytes."""

import helpers
import numpy as np
import pytest

from superposition_cli.analyses import ANALYSES, analyze
from superposition_cli.analyses.findings import Finding
from superposition_cli.report import style
from superposition_cli.report.drawings import DRAWINGS
from superposition_cli.running.results import Results

WITHOUT: set[str] = set()  # still to be drawn


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Five features in the plane at three probabilities, 1, 0.3 and 0.05, two models each."""
    return Results(helpers.trained(tmp_path_factory.mktemp("drawn") / "run").run.path)


def drawn(name, finding, results):
    with style.applied():
        return {one.name: one for one in DRAWINGS[name](finding, results)}


def lines(axes):
    return [np.array(line.get_xydata()) for line in axes.get_lines()]


def mesh(axes):
    """The values of a heat map, [Y, X]."""
    return np.asarray(axes.collections[0].get_array())


def test_every_analysis_is_drawn():
    assert set(DRAWINGS) == set(ANALYSES) - WITHOUT


def test_structure_shows_vectors_products_and_norms(results):
    finding = analyze(results, ("structure",))["structure"]
    figures = drawn("structure", finding, results)
    assert list(figures) == ["directions", "gram", "norms"]
    for cell, W in enumerate(finding.arrays["W"]):
        tips = [line[-1] for line in lines(figures["directions"].figure.axes[cell])[1::2]]
        np.testing.assert_array_equal(tips, W)
        bias, products = figures["gram"].figure.axes[cell].get_images()
        np.testing.assert_array_equal(products.get_array(), W @ W.T)
        np.testing.assert_array_equal(bias.get_array()[:, 0], finding.arrays["b"][cell])
        bars = figures["norms"].figure.axes[cell].patches
        np.testing.assert_allclose([bar.get_width() for bar in bars], np.linalg.norm(W, axis=1))
    titles = [axes.get_title() for axes in figures["gram"].figure.axes[:3]]
    assert titles == ["p = 1", "p = 0.3", "p = 0.05"]


def test_structure_without_arrays_is_not_drawn(results):
    assert drawn("structure", Finding({"cells": 0}), results) == {}


def test_cells_shows_the_selected_loss_and_all_restarts(results):
    finding = analyze(results, ("cells",))["cells"]
    (figure,) = drawn("cells", finding, results).values()
    curve, dots, _ = lines(figure.figure.axes[0])
    np.testing.assert_array_equal(curve[:, 0], [1.0, 0.3, 0.05])
    np.testing.assert_array_equal(curve[:, 1], results.cells["loss_normalised"])
    np.testing.assert_array_equal(dots[:, 1], results.summary["loss_normalised"])


def phase_finding():
    p, r = np.array([0.1, 0.3, 0.9]), np.array([0.5, 1.0])
    fate = np.array([[1, 1], [1, 1], [0, 2]])
    arrays = {
        "p": p,
        "r": r,
        "class_trained": fate,
        "class_best": fate,
        "class_closed": np.maximum(fate, 1),
        "loss": np.array([[0.1, 0.2], [0.2, 0.4], [0.2, 0.5]]),
        "loss_closed": np.array([[0.1, 0.2], [0.2, 0.5], [0.2, 0.5]]),
        "boundary": np.array([0.5, 0.5]),
        "boundary_closed": np.array([0.4, 0.6]),
    }
    arrays["ratio"] = arrays["loss"] / arrays["loss_closed"]
    numbers = dict.fromkeys(("boundary", "boundary_closed", "slope_jump", "slope_jump_closed"), 0.5)
    numbers |= {"cells": 6, "class_agreement": 0.5, "ratio_least": 0.8, "ratio_most": 1.0}
    return Finding(numbers, (), arrays)


def test_phase_shows_maps_ratio_and_loss():
    finding = phase_finding()
    arrays = finding.arrays
    figures = drawn("phase", finding, None)
    trained, closed = figures["classes"].figure.axes
    np.testing.assert_array_equal(mesh(trained), arrays["class_trained"].T + 1)
    np.testing.assert_array_equal(mesh(closed), arrays["class_closed"].T + 1)
    np.testing.assert_array_equal(lines(trained)[0].T, [arrays["boundary_closed"], arrays["r"]])
    np.testing.assert_array_equal(lines(trained)[1].T, [arrays["boundary"], arrays["r"]])
    np.testing.assert_array_equal(mesh(figures["ratio"].figure.axes[0]), arrays["ratio"].T)
    left, right = figures["loss"].figure.axes
    np.testing.assert_array_equal(lines(left)[0][:, 1], arrays["loss_closed"][:, 1])
    np.testing.assert_array_equal(lines(left)[1][:, 1], arrays["loss"][:, 1])
    # (0.4 - 0.2) / (0.3 - 0.1) = 1, (0.5 - 0.4) / (0.9 - 0.3) = 1/6
    np.testing.assert_allclose(lines(right)[1][:, 1], [1, 1 / 6])


def test_uniform_shows_dimensionalities_benefits_and_graphs(results):
    rows = [{"d_star": d, "best_polytope": "digon", "structure": "1 digon"} for d in (1, 0.5, 0.4)]
    rows = tuple({**row, "represented": 2, "components": 2} for row in rows)
    arrays = {
        "p": np.array([1.0, 0.3, 0.05]),
        "D_star": np.array([1.0, 0.5, 0.4]),
        "D": np.array([[1, 1, np.nan, np.nan, np.nan], [0.5] * 5, [0.4, 0.3, 0.5, 0.4, 0.4]]),
        "norms": np.ones((3, 5)),
        "benefit": np.arange(21.0).reshape(7, 3),
    }
    figures = drawn("uniform", Finding({}, rows, arrays), results)
    own = figures["dimensionality"].figure.axes[0]
    curve = next(line for line in own.get_lines() if str(line.get_label()).startswith("D*"))
    np.testing.assert_allclose(
        np.transpose(curve.get_data()), np.c_[1 / arrays["p"], arrays["D_star"]]
    )
    dots = [line for line in own.get_lines() if line.get_marker() == "."][:3]
    for line, D in zip(dots, arrays["D"], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), np.sort(D[np.isfinite(D)]))
    curves = figures["benefit"].figure.axes[0].get_lines()[:7]
    np.testing.assert_array_equal([line.get_ydata() for line in curves], arrays["benefit"])
    assert len(figures["graph"].figure.axes) == 2  # the cells with p <= 1/2


def test_capacity_shows_every_feature_and_its_cost(results):
    finding = analyze(results, ("capacity",))["capacity"]
    figures = drawn("capacity", finding, results)
    (image,) = figures["allotment"].figure.axes[0].get_images()
    np.testing.assert_array_equal(image.get_array(), finding.arrays["capacity"])
    dots = figures["cost"].figure.axes[0].collections[0].get_offsets()
    pairs = np.c_[finding.arrays["capacity"].ravel(), finding.arrays["cost"].ravel()]
    np.testing.assert_array_equal(dots, pairs)


def test_decomposition_shows_terms_and_shares(results):
    terms = np.full((3, 2, 6), np.nan)
    terms[:, 0, :2], terms[:, 1, :2] = (6.0, 2.0), (3.0, 1.0)
    arrays = {"terms": terms, "steps": np.array([0, 60]), "cell": np.arange(3)}
    rows = ({"interference_share": 0.25},) * 3
    figures = drawn("decomposition", Finding({"loss_gap_relu": None}, rows, arrays), results)
    deficit, interference = lines(figures["training"].figure.axes[0])
    np.testing.assert_array_equal(deficit, [[0, 6 / 8], [60, 3 / 8]])
    np.testing.assert_array_equal(interference, [[0, 2 / 8], [60, 1 / 8]])
    bars = figures["shares"].figure.axes[0].patches
    np.testing.assert_array_equal([bar.get_width() for bar in bars], [0.75] * 3 + [0.25] * 3)
    assert "25 %" in figures["shares"].caption


def test_dynamics_shows_losses_dimensionalities_and_jumps(results):
    D = np.array([[[0.2, 0.5], [0.4, 0.5], [0.6, 0.5]]])
    arrays = {
        "step": np.array([0, 5, 9]),
        "edge": np.array([0, 2]),
        "model": np.array([1]),
        "loss": np.array([[3.0, 2.0, 1.0]]),
        "jumps": np.array([[1]]),
        "D": D,
        "norms": np.array([[[0.1, 1.0], [1.0, 1.0], [1.0, 1.0]]]),
    }
    row = {"selected": True, "loss_null": 3.5, "loss_collapsed": None, "loss_opposite": None}
    names = ("sticky_time", "half_time", "jump_correlation", "fall_with_jumps")
    numbers = {"models": 1, "fall_without_jumps": None, **dict.fromkeys(names, 0.5)}
    figures = drawn("dynamics", Finding(numbers, (row,), arrays), results)
    loss, null = lines(figures["losses"].figure.axes[0])
    np.testing.assert_array_equal(loss, [[1, 3], [6, 2], [10, 1]])
    assert null[0, 1] == 3.5
    upper, lower = figures["dimensionality"].figure.axes
    first, second = lines(upper)[-2:]
    np.testing.assert_array_equal(first[:, 1], [np.nan, 0.4, 0.6])  # not represented at first
    np.testing.assert_array_equal(second[:, 1], D[0, :, 1])
    values, edges, _ = lower.patches[0].get_data()
    np.testing.assert_array_equal(values, [1])
    np.testing.assert_array_equal(edges, [1, 10])


def test_pentagon_shows_both_branches_and_their_crossing():
    W = np.stack([np.eye(5, 2), np.full((5, 2), np.nan)])[None].repeat(3, 0)
    arrays = {
        "base": np.full(3, 0.05),
        "ratio": np.array([0.1, 0.3, 1.0]),
        "loss": np.array([[3.0, 2.0], [1.0, 2.0], [1.0, np.nan]]),
        "W": W,
    }
    numbers = {"perturbed": "importance", "curves": 1, "crossing": 0.2, "crossing_above": None}
    figures = drawn("pentagon", Finding(numbers, (), arrays), None)
    left, right = figures["losses"].figure.axes
    for branch in (0, 1):
        shown = np.c_[arrays["ratio"], arrays["loss"][:, branch]]
        np.testing.assert_array_equal(lines(left)[branch], shown)
    np.testing.assert_array_equal(lines(right)[0][:, 1], [1.5, 0.5, np.nan])
    assert lines(left)[-1][0, 0] == 0.2
    own = figures["embeddings"].figure.axes
    np.testing.assert_array_equal([line[-1] for line in lines(own[0])[1::2]], np.eye(5, 2))
    assert [text.get_text() for text in own[3].texts] == ["no model"]


def test_sets_shows_directions_cosines_and_losses():
    W = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])[None].repeat(3, 0)
    arrays = {
        "p": np.array([0.1, 0.2, 0.3]),
        "loss": np.array([0.1, 0.2, 0.3]),
        "loss_linear": np.array([0.2, 0.4, 0.6]),
        "loss_digons": np.full(3, np.nan),
        "loss_collapsed": np.array([0.3, 0.3, 0.3]),
        "n_collapsed": np.array([0, 0, 1]),
        "W": W,
        "cosines": W @ W.swapaxes(1, 2),
        "set_of": np.array([0, 1, 0, 1]),
    }
    row = {"n_collapsed": 0, "p": 0.1, "within_rms": 1.0, "between_rms": 0.0}
    finding = Finding({"n_sets": 2, "collapse_boundary": 0.25}, (row,) * 3, arrays)
    figures = drawn("sets", finding, None)
    tips = [line[-1] for line in lines(figures["directions"].figure.axes[0])[1::2]]
    np.testing.assert_array_equal(tips, W[0])
    (image,) = figures["cosines"].figure.axes[0].get_images()
    # sets next to each other: features 0, 2, 1, 3
    ordered = [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]]
    np.testing.assert_array_equal(image.get_array(), ordered)
    upper, lower = figures["loss"].figure.axes
    drawn_losses = [line[:, 1] for line in lines(upper)[:3]]
    wanted = [arrays[name] for name in ("loss", "loss_linear", "loss_collapsed")]
    np.testing.assert_array_equal(drawn_losses, wanted)
    np.testing.assert_array_equal(lines(lower)[0][:, 1], arrays["n_collapsed"])


def linearity_finding():
    """Three cells of a linear hidden layer; in the last, features 0 and 1 are represented."""
    rows = tuple(
        {
            "data.feature_probability": p,
            "additivity_gap": gap,
            "negative_weights": 0.5,
            "read_out_ratio": ratio,
            "probe_deviation": None,
            "represented": represented,
        }
        for p, gap, ratio, represented in (
            (1.0, 0.0, 1.0, 0), (0.3, 0.1, 0.6, 0), (0.05, 0.2, 0.3, 2)
        )
    )  # fmt: skip
    arrays = {
        "probe_r2": np.full((3, 5), 0.4),
        "probe_expected": np.array([[0.5] * 5, [0.4] * 5, [np.nan] * 5]),
        "response": np.arange(75.0).reshape(3, 5, 5),
        "norms": np.array([[0] * 5, [0] * 5, [1, 1, 0, 0, 0]]),
        "cell": np.arange(3),
    }
    return Finding({"steered_least": 1.0}, rows, arrays)


def test_linearity_shows_gaps_probes_and_responses(results):
    figures = drawn("linearity", linearity_finding(), results)
    assert list(figures) == ["additivity", "probes", "response"]
    left, right = figures["additivity"].figure.axes
    gap, negative = lines(left)
    np.testing.assert_allclose(gap, [[1, 0], [1 / 0.3, 0.1], [20, 0.2]])
    np.testing.assert_array_equal(negative[:, 1], 0.5)
    np.testing.assert_array_equal(lines(right)[0][:, 1], [1, 0.6, 0.3])
    _, dots = lines(figures["probes"].figure.axes[0])
    np.testing.assert_array_equal(dots, [[0.5, 0.4]] * 5 + [[0.4, 0.4]] * 5)
    (image,) = figures["response"].figure.axes[0].get_images()
    np.testing.assert_array_equal(image.get_array(), [[50, 51], [55, 56]])
    assert "Shown: 1 of 3 cells" in figures["response"].caption


def test_density_shows_both_groups():
    row = {"weighting": "equal", "p_dense": 0.9, "p_sparse": 0.1, "D_dense": 0.4, "D_sparse": 0.25}
    row |= {"caused_dense": 0.9, "caused_sparse": 0.2}
    arrays = {"p": np.array([[0.9, 0.1, 0.1]]), "D": np.array([[0.4, 0.2, 0.3]])}
    arrays["caused"] = np.array([[0.9, 0.1, 0.3]])
    figures = drawn("density", Finding({"cells": 1}, (row,), arrays), None)
    for axes, name in zip(figures["density"].figure.axes, ("D", "caused"), strict=True):
        assert [bar.get_height() for bar in axes.patches] == arrays[name][0].tolist()
        means = [line[0, 1] for line in lines(axes)]
        assert means == [row[f"{name}_dense"], row[f"{name}_sparse"]]


@pytest.mark.parametrize("kind", style.FORMATS)
def test_the_same_finding_gives_the_same_bytes(kind):
    first, second = (
        style.render(drawn("phase", phase_finding(), None)["loss"].figure, kind) for _ in range(2)
    )
    assert first == second


def test_edges_are_half_way_between_centres():
    np.testing.assert_allclose(style.edges(np.array([1.0, 2.0, 4.0])), [0.5, 1.5, 3.0, 5.0])
    # geometric: sqrt(1 * 4) = 2, sqrt(4 * 16) = 8, and as far out
    np.testing.assert_allclose(style.edges(np.array([1.0, 4.0, 16.0]), True), [0.5, 2, 8, 32])
    np.testing.assert_allclose(style.edges(np.array([3.0])), [2.5, 3.5])


def test_drawing_leaves_the_users_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn("phase", phase_finding(), None)
    assert dict(matplotlib.rcParams) == before


def test_directions_shows_every_coherence_and_the_tails():
    histogram = np.zeros((1, 4), int)
    histogram[0] = [700, 200, 100, 0]
    arrays = {
        "edges": np.linspace(0, 1, 5),
        "histogram": histogram,
        "tail_exact": np.array([[1.0, 0.4, 0.1, 0.01]]),
        "count": np.array([6]),
        "dimensions": np.array([3]),
        "coherence": np.array([[0.6, 0.5]]),
        "welch_bound": np.array([0.447]),
    }
    row = {
        "coherence_random": 0.9, "coherence_best": 0.5, "welch_bound": 0.447,
        "tail_0_3": 0.3, "tail_ratio_0_3": 0.75,
    }  # fmt: skip
    figures = drawn("directions", Finding({"cells": 1}, (row,), arrays), None)
    models, best, welch, random = lines(figures["coherence"].figure.axes[0])
    assert [models[:, 1].tolist(), best[0, 1], welch[0, 1], random[0, 1]] == [
        [0.6, 0.5], 0.5, 0.447, 0.9,
    ]  # fmt: skip
    observed, exact = lines(figures["tails"].figure.axes[0])
    np.testing.assert_allclose(observed, [[0, 1], [0.25, 0.3], [0.5, 0.1]])
    np.testing.assert_array_equal(exact[:, 1], arrays["tail_exact"][0])
    assert "0.053" in figures["coherence"].caption
    assert "0.75" in figures["tails"].caption


def test_adversarial_shows_the_cost_beside_the_features_per_dimension():
    arrays = {
        "p": np.array([1.0, 0.5, 0.1]),
        "vulnerability_scaled": np.array([1.0, 2.5, 9.0]),
        "features_per_dimension": np.array([1.0, 2.0, 4.0]),
    }
    finding = Finding({"cells": 3, "pearson": 0.987, "ratio_most": 9.0}, (), arrays)
    (one,) = drawn("adversarial", finding, None).values()
    over, against = one.figure.axes
    cost, shared = lines(over)
    np.testing.assert_allclose(cost, [[1, 1], [2, 2.5], [10, 9]])
    np.testing.assert_allclose(shared[:, 1], [1, 2, 4])
    np.testing.assert_allclose(lines(against)[0], [[1, 1], [2, 2.5], [4, 9]])
    assert "0.987" in one.caption


def test_computation_stacks_the_weights_of_neurons_and_counts(results):
    W = np.zeros((2, 3, 2))
    W[:, 0, 0], W[:, 1, 1], W[1, 2, 1] = 1, -1, 0.5
    arrays = {
        "cell": np.array([0, 1]),
        "p": np.array([1.0, 0.1]),
        "W": W,
        "features_per_neuron": np.array([[1.0, 1.0], [1.0, 1.5]]),
    }
    rows = ({"computed": 1, "polysemantic_share": 0.0}, {"computed": 2, "polysemantic_share": 0.5})
    figures = drawn("computation", Finding({"cells": 2}, rows, arrays), results)
    dense, sparse = figures["neurons"].figure.axes[:2]
    assert [bar.get_height() for bar in dense.patches] == [1, 1]
    assert [(bar.get_y(), bar.get_height()) for bar in sparse.patches] == [(0, 1), (0, 1), (1, 0.5)]
    left, right = figures["computed"].figure.axes
    np.testing.assert_allclose(lines(left)[0], [[1, 1], [10, 2]])
    np.testing.assert_allclose(lines(right)[0], [[1, 0], [10, 0.5]])
    assert "50 %" in figures["neurons"].caption


def test_rotation_shows_curves_and_mean_ratios(results):
    arrays = {
        "angle": np.array([0.0, 90.0, 360.0]),
        "curve": np.array([[1.0, 3.0, 1.0], [1.0, 1.0, 1.0]]),
        "cell": np.array([0, 2]),
    }
    rows = (
        {"rotation_ratio": 3.0, "unabsorbed_ratio": 4.0},
        {"rotation_ratio": None, "unabsorbed_ratio": 2.0},
    )
    numbers = {"rotation_gap_linear": 1e-7, "rotation_ratio_relu": 3.0}
    (one,) = drawn("rotation", Finding(numbers, rows, arrays), results).values()
    left, right = one.figure.axes
    for curve, line in zip(arrays["curve"], lines(left), strict=True):
        np.testing.assert_array_equal(line, np.c_[arrays["angle"], curve])
    absorbed, control = lines(right)[:2]
    np.testing.assert_array_equal(absorbed[:, 0], [3, np.nan])
    np.testing.assert_array_equal(control[:, 0], [4, 2])
    assert "3-fold" in one.caption


def test_basis_stacks_weights_and_shows_random_bases(results):
    W = np.array([[[1.0, 0.0], [0.5, -2.0]]] * 2)
    arrays = {
        "W": W,
        "cell": np.array([0, 1]),
        "features_per_neuron_null": np.array([[1.5, 2.0], [1.7, 1.8]]),
    }
    row = {"serving_1": 1, "features_per_neuron": 1.4, "alignment_above": 1.0, "kind": "linear"}
    figures = drawn("basis", Finding({"cells": 2}, (row, row), arrays), results)
    bars = [(bar.get_y(), bar.get_height()) for bar in figures["neurons"].figure.axes[0].patches]
    assert bars == [
        (0, 1), (0, 0), (1, 0.5), (0, 0),  # upwards: feature 0 on both neurons, then feature 1
        (0, 0), (0, 0), (0, 0), (0, -2),
    ]  # fmt: skip
    turned, trained, _ = lines(figures["null"].figure.axes[0])
    np.testing.assert_array_equal(turned[:, 1], [1.5, 2.0, 1.7, 1.8])
    np.testing.assert_array_equal(trained[:, 1], [1.4, 1.4])
    assert "2 of 2 cells" in figures["null"].caption


def test_dictionary_shows_every_restart_and_the_random_baseline():
    arrays = {
        "l1": np.array([0.1, 0.3]),
        "latents": np.array([5]),
        "mmcs": np.array([[[[0.8, 0.9], [0.95, 0.7]]]]),
        "fvu": np.array([[[[0.1, 0.1], [0.2, 0.2]]]]),
        "l0": np.array([[[[2.0, 3.0], [1.0, 1.0]]]]),
        "random_mmcs": np.array([[0.6]]),
    }
    row = {"expected_l0": 0.25}
    (one,) = drawn("dictionary", Finding({"mmcs_best": 0.95}, (row,), arrays), None).values()
    mmcs, fvu, l0 = one.figure.axes
    first, second, best, random = lines(mmcs)
    np.testing.assert_array_equal(np.c_[first[:, 1], second[:, 1]], arrays["mmcs"][0, 0])
    np.testing.assert_array_equal(best[:, 1], [0.9, 0.95])
    assert random[0, 1] == 0.6
    np.testing.assert_array_equal(lines(fvu)[0][:, 1], [0.1, 0.2])
    assert lines(l0)[-1][0, 1] == 0.25
    assert "0.950" in one.caption


def test_recovery_shows_success_over_measurements_and_theory():
    arrays = {
        "m": np.array([4, 8, 12]),
        "k": np.array([2]),
        "success": np.array([[[0.0, 0.4, 1.0]], [[0.1, 0.9, 1.0]]]),
        "theory": np.array([[8.5], [6.0]]),
    }
    rows = ({"m_50": 8.7, "theory": 8.5}, {"m_50": None, "theory": 6.0})
    (one,) = drawn("recovery", Finding({"cells": 3}, rows, arrays), None).values()
    for decoder, axes in enumerate(one.figure.axes):
        curve, theory, _ = lines(axes)
        np.testing.assert_array_equal(curve, np.c_[arrays["m"], arrays["success"][decoder, 0]])
        assert theory[0, 0] == arrays["theory"][decoder, 0]
    assert "within 0.2 measurements" in one.caption


def test_decoding_shows_the_errors_of_all_decoders():
    names = ("mse_model", "mse_sparse", "mse_lasso", "mse_omp", "exact_sparse", "exact_random")
    arrays = {name: np.array([0.1, 0.2]) * (i + 1) for i, name in enumerate(names)}
    finding = Finding({"cells": 2}, (), {**arrays, "p": np.array([0.05, 0.1])})
    (one,) = drawn("decoding", finding, None).values()
    left, right = one.figure.axes
    for line, name in zip(lines(left), names, strict=False):
        np.testing.assert_allclose(line, np.c_[[10, 20], arrays[name][::-1]])
    np.testing.assert_allclose(lines(right)[1][:, 1], arrays["exact_random"][::-1])
    assert "2 to 2 times" in one.caption


def test_equivariance_shows_the_error_over_the_steps(results):
    arrays = {"step": np.array([0, 9]), "error": np.array([[1e-9, 1e-7], [1e-9, 0.5]])}
    (one,) = drawn("equivariance", Finding({"cells": 2}, (), arrays), results).values()
    for line, error in zip(lines(one.figure.axes[0]), arrays["error"], strict=True):
        np.testing.assert_array_equal(line, np.c_[[1, 10], error])
    assert "1e-07 to 0.5" in one.caption


def test_directions_in_space_are_seen_from_one_side(results):
    W = np.eye(3)[None]
    arrays = {
        "W": W,
        "b": np.zeros((1, 3)),
        "importance": np.ones((1, 3)),
        "superposition": np.zeros((1, 3)),
        "cell": np.array([0]),
    }
    row = {"structure": "3 dedicated", "represented": 3}
    figures = drawn("structure", Finding({"cells": 1}, (row,), arrays), results)
    tips = np.array([line[-1] for line in lines(figures["directions"].figure.axes[0])[1::2]])
    # An orthogonal projection: over the three axes the squares add up to 1 in each direction.
    np.testing.assert_allclose((tips**2).sum(axis=0), [1, 1])
    assert sorted(np.round(tips[:, 0], 6)) == sorted(
        np.round([-np.sin(0.610865), np.cos(0.610865), 0], 6)
    )
    assert "space" in figures["directions"].caption

"""Classes by hand, and what maps of them show."""

import numpy as np
import pytest

from superposition_cli.measures import class_map
from superposition_cli.theory.phases import Fate

CODES = [int(Fate.IGNORED), int(Fate.SUPERPOSED), int(Fate.DEDICATED)]
P = np.array([0.1, 0.3, 0.6, 0.9])


def class_of(*W):
    return int(class_map.classify(*class_map.last_feature(np.array([W], float)))[0])


@pytest.mark.parametrize(
    ("W", "fate"),
    [
        (([1], [0]), Fate.IGNORED),
        (([0], [1]), Fate.DEDICATED),
        (([1], [-1]), Fate.SUPERPOSED),
        (([0.45], [-0.93]), Fate.DEDICATED),  # meets .2025
        (([0.93], [-0.45]), Fate.IGNORED),
        (([0.51], [-0.5]), Fate.SUPERPOSED),  # both thresholds belong to the represented
        (([0.5], [-0.5]), Fate.DEDICATED),
        (([1, 0], [0, 1], [0, -1]), Fate.SUPERPOSED),
        (([1, 0], [-1, 0], [0, 1]), Fate.DEDICATED),
        (([1, 0], [0, 1], [0, 0.49]), Fate.IGNORED),
        (([0.36, 0], [0, 0.36], [0.8, 0.8]), Fate.DEDICATED),  # .0648 from each, .1296 in all
        (([0.6, 0], [0, 0.6], [0.8, 0.8]), Fate.SUPERPOSED),  # .18 from each, .36 in all
    ],
)
def test_classes_of_embeddings_by_hand(W, fate):
    assert class_of(*W) == fate


def test_norm_and_superposition_by_hand():
    norm, met = class_map.last_feature(np.array([[[3, 0], [0, 2], [0.6, 0.8]], np.zeros((3, 2))]))
    assert norm == pytest.approx([1, 0])
    assert met == pytest.approx([1.8**2 + 1.6**2, 0])


def test_a_cell_without_a_model_has_no_class():
    assert class_map.classify(np.array([np.nan]), np.array([np.nan])).tolist() == [-1]


def test_the_boundary_lies_between_two_values_of_p():
    ignored, superposed, dedicated = CODES
    columns = [
        [superposed, superposed, ignored, ignored],
        [superposed, ignored, superposed, dedicated],
        [ignored] * 4,
        [superposed] * 4,
    ]
    found = class_map.boundary(P, np.array(columns).T)
    assert found[:2] == pytest.approx([np.sqrt(0.3 * 0.6), np.sqrt(0.6 * 0.9)])
    assert np.isnan(found[2:]).all()


def test_the_slope_jumps_where_the_loss_has_a_kink():
    p = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    assert class_map.slope_jump(p, np.minimum(4 * p, 1.5 + p), 0.5) == pytest.approx(4)
    assert class_map.slope_jump(p, 3 * p, 0.5) == pytest.approx(1)
    assert np.isnan(class_map.slope_jump(p, np.minimum(p, 1 - p), 0.5))
    assert np.isnan(class_map.slope_jump(p[:2], p[:2], 0.5))

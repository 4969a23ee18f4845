"""summary.csv and cells.csv: which models are selected, and what the rows say."""

import csv
import json

import numpy as np
import pytest
from helpers import BASE, CHUNKS_OF_TWO, TINY, swept, table, trained

import superposition_cli
from superposition_cli.running import tables
from superposition_cli.running.tables import texts

NAN, INF = float("nan"), float("inf")
T, F = True, False


@pytest.mark.parametrize(
    ("rule", "loss", "finite", "kept"),
    [
        ("best", [3, 1, 2], [T, T, T], [F, T, F]),
        ("best", [3, 1, 2], [T, F, T], [F, F, T]),  # a diverged model is never the best
        ("best", [1, 1, 2], [T, T, T], [T, F, F]),  # of equals, the first
        ("best", [NAN, 5, 6], [F, T, T], [F, T, F]),
        ("best", [1, 2, 3], [F, F, F], [F, F, F]),
        ("best", [7], [T], [T]),
        ("best", [7], [F], [F]),
        ("mean", [3, 1, 2], [T, T, T], [T, T, T]),
        ("mean", [3, NAN, 2], [T, F, T], [T, F, T]),
        ("mean", [3, 1, 2], [F, F, F], [F, F, F]),
        ("mean", [7], [T], [T]),
        ("drop_worst", [3, 1, 2], [T, T, T], [F, T, T]),
        ("drop_worst", [3, 3, 2], [T, T, T], [F, T, T]),  # of equals, the first goes
        ("drop_worst", [INF, 1, 2], [F, T, T], [F, T, F]),  # a diverged one is not the worst
        ("drop_worst", [1, 2, 3], [T, F, F], [T, F, F]),  # the last one left is kept
        ("drop_worst", [1, 2, 3], [F, F, F], [F, F, F]),
        ("drop_worst", [7], [T], [T]),
    ],
)
def test_selection(rule, loss, finite, kept):
    chosen = tables.select(rule, np.array([loss, loss], float), np.array([finite, [T] * len(loss)]))
    assert chosen[0].tolist() == kept


def test_cells_are_selected_apart_from_each_other():
    loss, finite = np.array([[1.0, 2.0], [4.0, 3.0]]), np.ones((2, 2), bool)
    assert tables.select("best", loss, finite).tolist() == [[T, F], [F, T]]


def test_means_leave_out_what_is_not_kept_and_what_is_not_a_number():
    values = np.array([[1.0, 2.0, 6.0], [1.0, NAN, 3.0], [NAN, 5.0, 5.0], [1.0, 2.0, 3.0]])
    kept = np.array([[T, F, T], [T, T, T], [T, F, F], [F, F, F]])
    means = tables.aggregate(values, kept)
    assert means[:2].tolist() == [3.5, 2.0]
    assert np.isnan(means[2:]).all()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", "\r=1", "-1"])
def test_text_that_looks_like_a_formula_is_marked_as_text(text):
    assert texts.text(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (-1, "-1"),
        (0.1, "0.1"),
        (True, "true"),
        (None, "null"),
        ("adamw", "adamw"),
        ([1], "1 … 1 (1)"),
    ],
)
def test_numbers_and_words_are_written_plainly(value, written):
    assert texts.text(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(1 / 3, "0.333333333"), (NAN, ""), (INF, ""), (3, "3"), (1e-12, "1e-12")]
)
def test_results_have_nine_digits_or_nothing(value, written):
    assert texts.number(value) == written


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("tables") / "tiny", TINY, machine=CHUNKS_OF_TWO)


def test_summary_has_a_row_for_every_model(tiny):
    rows = table(tiny.run.path / "summary.csv")
    assert [int(row["model"]) for row in rows] == list(range(6))
    assert [int(row["cell"]) for row in rows] == [0, 0, 1, 1, 2, 2]
    assert [int(row["restart"]) for row in rows] == [0, 1] * 3
    assert [float(row["data.feature_probability"]) for row in rows] == [1, 1, 0.3, 0.3, 0.05, 0.05]
    assert [row["feature_probability"] for row in rows] == ["1.0", "1.0", "0.3", "0.3"] + [
        "0.05"
    ] * 2
    assert [float(row["sparsity"]) for row in rows] == [0, 0, 0.7, 0.7, 0.95, 0.95]
    assert {row["seed"] for row in rows} == {"0"}
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["diverged_step"] for row in rows} == {""}
    assert {row["converged"] for row in rows} <= {"true", "false"}


def test_summary_says_what_the_chunks_say(tiny):
    rows = table(tiny.run.path / "summary.csv")
    metrics = [tiny.run.read(chunk.number, "metrics") for chunk in tiny.plan.chunks]
    names = ["loss", "null_loss", "loss_normalised", "n_represented", "dims_per_feature"]
    assert set(names) < set(rows[0])
    assert "feature_norms" not in rows[0]  # one number a feature has no column
    for name in names:
        kept = np.concatenate([one[name] for one in metrics])
        told = [float(row[name] or "nan") for row in rows]
        np.testing.assert_allclose(told, kept, rtol=1e-8)
    for row in rows:
        ratio = float(row["loss"]) / float(row["null_loss"])
        assert float(row["loss_normalised"]) == pytest.approx(ratio, rel=1e-5)


def implied(rows, rule):
    """cells.csv as anybody would compute it from summary.csv."""
    for cell in range(max(int(row["cell"]) for row in rows) + 1):
        mine = [row for row in rows if int(row["cell"]) == cell]
        sound = sorted((r for r in mine if r["status"] == "ok"), key=lambda r: float(r["loss"]))
        kept = {"best": sound[:1], "mean": sound, "drop_worst": sound[: max(1, len(sound) - 1)]}
        yield mine, kept[rule]


@pytest.mark.parametrize("rule", ["best", "mean", "drop_worst"])
def test_cells_are_what_the_summary_implies(tmp_path, rule):
    axis = "train.learning_rate: [1.0e-2, 1.0e+38, 1.0e-3]"
    text = swept(axis).replace("restarts: 2", f"restarts: 3, select: {rule}")
    run = trained(tmp_path / "run", text).run
    rows, cells = table(run.path / "summary.csv"), table(run.path / "cells.csv")
    assert len(cells) == 3
    for cell, (mine, kept) in zip(cells, implied(rows, rule), strict=True):
        selected = [row["model"] for row in mine if row["selected"] == "true"]
        assert selected == sorted(row["model"] for row in kept)
        assert cell["select"] == rule
        assert cell["selected_model"] == (kept[0]["model"] if kept else "")
        assert int(cell["models"]) == 3
        assert int(cell["diverged"]) == sum(row["status"] == "diverged" for row in mine)
        falling = sum(row["status"] == "ok" and row["converged"] == "false" for row in mine)
        assert int(cell["not_converged"]) == falling
        for name in ("loss", "null_loss", "n_represented", "dims_per_feature"):
            values = [float(row[name]) for row in kept if row[name]]
            if values:
                assert float(cell[name]) == pytest.approx(np.mean(values), rel=1e-7)
                if rule != "best" and len(values) > 1:
                    spread = float(cell[f"{name}_sd"])
                    assert spread == pytest.approx(np.std(values, ddof=1), rel=1e-4, abs=1e-9)
            else:
                assert cell[name] == ""


@pytest.mark.parametrize(
    "parameters",
    [
        "model.kind: [relu_output, linear], seed: [1, 2]",
        "seed: [1, 2], model.kind: [relu_output, linear]",
    ],
)
def test_rows_are_in_the_order_of_cells_across_groups(tmp_path, parameters):
    one = trained(tmp_path / "run", swept(parameters), machine=CHUNKS_OF_TWO)
    assert len(one.plan.groups) == 2
    rows, cells = table(one.run.path / "summary.csv"), table(one.run.path / "cells.csv")
    assert [int(row["model"]) for row in rows] == list(range(8))
    assert [int(row["cell"]) for row in cells] == list(range(4))
    for row in (*rows, *cells):
        told = {name: row[name] for name in ("model.kind", "seed")}
        assigned = one.plan.assignment(int(row["cell"]))
        assert told == {name: str(value) for name, value in assigned.items()}
    for row in rows:  # the losses are those of the model of that number
        chunk = next(c for c in one.plan.chunks if int(row["model"]) in one.plan.models(c))
        place = one.plan.models(chunk).tolist().index(int(row["model"]))
        loss = one.run.read(chunk.number, "metrics")["loss"][place]
        assert float(row["loss"]) == pytest.approx(float(loss), rel=1e-8)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ((0.5, 0.05, 0.005), "0.5 … 0.005 (3)"),
        ([0.1, 1 / 3], "0.1 … 0.333333 (2)"),
        ([0.1, 0.9, 0.1], "0.1 … 0.1 (3; 0.1 to 0.9)"),
        ([[0, 1], [2]], "[[0, 1], [2]]"),
        ([[0, 1]] * 9, "[[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]…"),
        ({"geometric": 0.9}, '{"geometric": 0.9}'),
        ({"base": [0.25] * 8_000}, '{"base": [0.25, 0.25, 0.25, 0.25, 0.25,…'),
        ("relu_output", "relu_output"),
        (0.1, 0.1),
    ],
)
def test_vectors_and_laws_are_short(value, written):
    assert tables.brief(value) == written


def test_older_tables_with_whole_vectors_are_read_short(tmp_path):
    numbers = [round(0.5 - i / 50_000, 6) for i in range(20_000)]
    with (tmp_path / "cells.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["cell", "p", "word"], ["0", json.dumps(numbers), "[odd"]])
    assert list(tables.read(tmp_path / "cells.csv")) == [
        ["cell", "p", "word"],
        ["0", "0.5 … 0.10002 (20000)", "[odd"],
    ]


def test_vectors_of_probabilities_are_short_and_their_numbers_arrays(tmp_path):
    text = swept("data.feature_probability: [[0.5, 0.4, 0.3, 0.2, 0.1], 0.5]")
    run = trained(tmp_path / "run", text, machine=CHUNKS_OF_TWO).run
    first, *_, last = table(run.path / "summary.csv")
    assert first["feature_probability"] == first["data.feature_probability"] == "0.5 … 0.1 (5)"
    assert first["sparsity"] == "0.5 … 0.9 (5)"
    arrays = superposition_cli.load(run.path).vectors
    assert arrays["feature_probability"].tolist() == [[0.5, 0.4, 0.3, 0.2, 0.1], [0.5] * 5]
    assert arrays["importance"].shape == (2, 5)
    assert (last["feature_probability"], last["sparsity"]) == ("0.5", "0.5")


def test_a_model_without_a_sweep_has_a_row_too(tmp_path):
    run = trained(tmp_path / "run", BASE, machine=CHUNKS_OF_TWO).run
    rows = table(run.path / "summary.csv")
    assert [(row["model"], row["cell"]) for row in rows] == [("0", "0"), ("1", "0")]
    assert sorted(row["selected"] for row in rows) == ["false", "true"]

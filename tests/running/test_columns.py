"""Tables by column: Parquet beside CSV, in blocks, and what is read of them."""

import hashlib
import os
from functools import partial

import numpy as np
import pytest
from helpers import BASE, CHUNKS_OF_TWO, Opened, opened, plan, sp, swept

import superposition_cli
from superposition_cli import analyses
from superposition_cli.analyses import findings
from superposition_cli.errors import FolderRefused, InvalidInput
from superposition_cli.report import show
from superposition_cli.running import tables
from superposition_cli.running.records import axes
from superposition_cli.running.tables import columns, parquet, texts

GRID = (
    "train.learning_rate: [1e-3, 1], model.n_hidden: [1, 2], "
    "data.feature_probability: [0.3, 1, [0.5, 0.4, 0.3, 0.2, 0.1]], train.draws: [shared]"
)
RULES = ("best", "mean", "drop_worst")
# SHA-256 of the two files as they were written before there was Parquet, by the rule of `made_up`.
WRITTEN = {
    "best": [
        "66bf79c9bf1ad19eb4ca8cb526bf3648f1c45313d0ac873c0c4c7b1d54cf88ea",
        "3fd76a5f75b97487b5cbfbaaa229d0abc0ef8dbf949ec7ca1e5ae9349c886fab",
    ],
    "mean": [
        "622615385613123da48796a71013dab695cc988a1707c4bd0b72af9856e8bd30",
        "ef858b82a2701ed07e3f75dd71e08e5dc21e11e5629c40b0b1b357b31e1f19c5",
    ],
    "drop_worst": [
        "c10c611a47cfc541b4bfcefd8fed9d14f27c0011c1904634a67f242b029f6f37",
        "0bad158a34426b27799462d6f60bec41e345f8ddcd5b8c559a4ea9bf68a0e967",
    ],
}


def made_up(folder, rule="best", grid=GRID, restarts=3) -> Opened:
    """A run whose chunks hold numbers from a formula; some models diverged."""
    base = BASE.replace("restarts: 2", f"restarts: {restarts}, select: {rule}")
    one = opened(folder, swept(grid, base), machine=CHUNKS_OF_TWO)
    for chunk in one.plan.chunks:
        model = one.plan.models(chunk)
        size = one.plan.groups[chunk.group].spec
        bad = model % 7 == 3
        loss = np.where(bad, np.nan, 1 / (1 + model % 11)).astype(np.float32)
        metrics = {
            "model": model,
            "loss": loss,
            "loss_error": np.zeros(len(model), np.float32),
            "null_loss": (1.5 + model).astype(np.float32),
            "loss_normalised": loss / (1.5 + model).astype(np.float32),
            "n_represented": (model % 5).astype(np.float32),
            "dims_per_feature": np.where(model % 5 == 0, np.nan, 1e-7 * model).astype(np.float32),
            "feature_norms": np.ones((len(model), 5), np.float32),
            "finite_steps": np.where(bad, model % 60, 60).astype(np.int32),
            "converged": model % 2 == 0,
        }
        weights = {"model": model, "W": np.ones((len(model), 5, size.n_hidden), np.float32)}
        history = {"model": model, "loss": np.ones((len(model), 1)), "loss_step": np.arange(1)}
        parts = {"weights": weights, "history": history, "metrics": metrics}
        facts = {"models": len(model), "diverged": int(bad.sum()), "steps": 60}
        one.run.commit(chunk.number, parts, partial(axes, "relu_output"), facts)
    tables.write(one.run, one.plan)
    one.run.set_status("complete", models=one.plan.n_models, diverged=0)
    return one


def csvs(one):
    return [(one.run.path / f"{name}.csv").read_bytes() for name in ("summary", "cells")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    return {rule: made_up(folder / rule, rule) for rule in RULES}


@pytest.mark.parametrize("rule", RULES)
def test_bytes_of_csv_files_are_what_they_have_always_been(runs, rule):
    assert [hashlib.sha256(data).hexdigest() for data in csvs(runs[rule])] == WRITTEN[rule]


@pytest.mark.parametrize("name", [tables.SUMMARY, tables.CELLS])
@pytest.mark.parametrize("rule", RULES)
def test_columns_are_read_from_parquet_as_from_csv(runs, rule, name):
    path = runs[rule].run.path
    header, *rows = tables.read(path / f"{name}.csv")
    read = tables.load(path, runs[rule].plan, name)
    assert list(read) == header
    assert len(read) == len(header)
    for key, written in zip(header, zip(*rows, strict=True), strict=True):
        expected = texts.column(list(written))
        assert read[key].dtype.kind == expected.dtype.kind, key
        assert read[key].tobytes() == expected.astype(read[key].dtype).tobytes(), key


@pytest.mark.parametrize("size", [1, 4, 7, 12])
def test_blocks_of_any_size_make_the_same_tables(tmp_path, runs, size, monkeypatch):
    whole = {name: dict(tables.load(runs["mean"].run.path, runs["mean"].plan, name))
             for name in (tables.SUMMARY, tables.CELLS)}  # fmt: skip
    monkeypatch.setattr(columns, "BLOCK_MODELS", size)
    one = made_up(tmp_path / "run", "mean")
    assert csvs(one) == csvs(runs["mean"])
    for name, expected in whole.items():
        read = tables.load(one.run.path, one.plan, name)
        assert {key: array.tobytes() for key, array in read.items()} == {
            key: array.tobytes() for key, array in expected.items()
        }


MIXED = (
    "seed: {range: {start: 1, stop: 3}}, train.learning_rate: {linspace: {start: 1, stop: 2, num: "
    "2}}, data.importance: [1, 0.5], data.sparsity: [0.5, 0.25], train.warmup_steps: [0, 3]"
)


def test_axes_of_all_kinds_are_read_from_parquet_as_from_csv(tmp_path):
    one = made_up(tmp_path / "run", grid=MIXED, restarts=1)
    (of_csv,) = {tuple(header) for header, *_ in [list(tables.read(tmp_path / "run/cells.csv"))]}
    read = superposition_cli.load(tmp_path / "run").cells
    assert tuple(read) == of_csv
    assert [read[name].dtype.kind for name in ("seed", "train.warmup_steps")] == ["i", "i"]
    assert read["train.learning_rate"].tolist() == ([1.0] * 8 + [2.0] * 8) * 2
    assert read["data.importance"].tolist() == ([1.0] * 4 + [0.5] * 4) * 4
    assert read["sparsity"].tolist() == [0.5, 0.5, 0.25, 0.25] * 8
    assert csvs(one)[1].splitlines()[1].startswith(b"0,1,1.0,1,0.5,0,0.5,0.5,best,0,1,0,0,1,0,")


def test_ranks_count_the_cells_of_a_group_before_a_cell():
    made = plan(
        swept("seed: [1, 2], model.n_hidden: [1, 2, 3], train.draws: [shared, independent]")
    )
    for group, one in enumerate(made.groups):
        cells = made.cells_of(group, np.arange(one.n_models // made.restarts)).tolist()
        assert cells == sorted(cells)
        for cell in range(13):
            assert made.rank(group, cell) == sum(other < cell for other in cells)


def test_nine_digits_are_those_that_are_written():
    drawn = np.random.default_rng(0)
    some = drawn.normal(size=20_000) * 10.0 ** drawn.integers(-40, 40, 20_000)
    single = (some[np.abs(some) < 1e38]).astype(np.float32)
    some = np.concatenate([some, single, drawn.random(20_000, np.float32)])
    ties = (drawn.integers(10**8, 10**9, 5_000) + 0.5) * 2.0 ** drawn.integers(-20, 20, 5_000)
    odd = [
        0,
        -0.0,
        1,
        999999999.6,
        999999999.5,
        9.999999995,
        1e-5,
        1e22,
        5e-324,
        1.7e308,
        123456789.5,
    ]
    given = np.array([*some, *ties, *odd, np.nan, np.inf, -np.inf])  # fmt: skip
    expected = [float(f"{one:.9g}") if np.isfinite(one) else np.nan for one in given.tolist()]
    assert parquet.nine_digits(given).tobytes() == np.array(expected).tobytes()


def test_a_long_table_has_no_csv_and_shows_the_same(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    one = made_up(folder)
    short = show.read(folder, None)
    (folder / "cells.csv").rename(tmp_path / "before.csv")
    (folder / "cells.csv").write_text("of an earlier time")
    monkeypatch.setattr(tables, "MOST_ROWS", 5)
    tables.write(one.run, one.plan)
    assert not (folder / "cells.csv").exists()
    assert not (folder / "summary.csv").exists()
    assert show.read(folder, None).rows == short.rows
    assert show.read(folder, 2)[2:] == (short.rows[:2], 12)
    printed = sp(capsys, monkeypatch, "show", folder, "--csv").out
    assert printed == (tmp_path / "before.csv").read_text()
    some = sp(capsys, monkeypatch, "show", folder, "--csv", "--columns", "cell,structure").out
    assert some.splitlines()[1] == f"0,{short.rows[0]['structure']}"


def test_cells_of_a_long_run_have_no_rows_and_it_is_said(tmp_path, monkeypatch):
    made_up(tmp_path / "run")
    monkeypatch.setattr(tables, "MOST_ROWS", 11)
    finding = analyses.answer("cells", superposition_cli.load(tmp_path / "run"))
    assert finding.rows == ()
    # models 3, 10, 17, 24 and 31 of 36 diverged
    assert finding.numbers == {"cells": 12, "models": 36, "diverged": 5, "rows_left_out": 12}
    with pytest.raises(InvalidInput, match="rows of 12 cells are not kept"):
        findings.pick(finding, "loss", {"cell": 1})


def test_a_column_is_read_when_it_is_asked_for(runs, tmp_path):
    one = superposition_cli.load(runs["best"].run.path)
    kept = one.summary
    assert "loss" in kept
    assert "los" not in kept
    assert dict(kept.items()).keys() == set(kept)
    with pytest.raises(KeyError):
        kept["los"]
    file = tmp_path / "cells.parquet"
    os.link(runs["best"].run.path / "cells.parquet", file)
    lazy = parquet.Columns(file, ["cell"])
    assert lazy["cell"].tolist() == list(range(12))
    file.unlink()
    assert lazy["cell"].tolist() == list(range(12))  # kept
    with pytest.raises(FolderRefused, match=r"cells\.parquet"):
        lazy["loss"]


def test_models_that_stand_for_cells_are_a_mapping(runs):
    selected = superposition_cli.load(runs["best"].run.path).selected
    # loss is least where number % 11 is largest, of the cell's three that did not diverge
    assert dict(selected) == {0: 2, 1: 5, 2: 8, 3: 9, 4: 14, 5: 16, 6: 20, 7: 21, 8: 26, 9: 29,
                              10: 32, 11: 35}  # fmt: skip
    assert len(selected) == 12
    assert selected.get(12) is None

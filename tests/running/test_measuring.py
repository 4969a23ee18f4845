"""Questions after training: metrics from saved weights, other analyses, what is asked since."""

import json

import numpy as np
import pytest
from helpers import BASE, CHUNKS_OF_TWO, swept, trained

import superposition_cli
from superposition_cli.running import launch

METRICS = ["coherence", "feature_loss", "feature_norms", "n_represented", "net_interference"]
AXES = "model.kind: [relu_output, relu_hidden], data.feature_probability: [0.5, 0.1]"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same models, measured while they were trained, and not."""
    folder = tmp_path_factory.mktemp("measured")
    few, many = (f"metrics={json.dumps(one)}" for one in (["feature_norms"], METRICS))
    text = swept(AXES, BASE.replace("restarts: 2", "restarts: 3"))
    return [
        trained(folder / name, text, one, machine=CHUNKS_OF_TWO)
        for name, one in (("few", few), ("many", many))
    ]


def test_metrics_of_saved_weights_are_those_of_training(both, command):
    few, many = both
    chunks = few.sums
    result = command("analyze", few.run.path, *METRICS)
    assert result.code == 0, result.err
    assert "coherence, feature_loss, n_represented, net_interference added" in result.err
    assert few.sums == chunks  # a chunk never changes
    assert [few.run.fault(chunk.number) for chunk in few.plan.chunks] == [None] * len(chunks)
    late, early = (superposition_cli.load(one.run.path) for one in (few, many))
    for name in METRICS:
        np.testing.assert_allclose(late.metrics[name], early.metrics[name], rtol=1e-5, atol=1e-7)
    for name in ("coherence", "n_represented"):
        np.testing.assert_allclose(late.summary[name], early.summary[name], rtol=1e-5)
        np.testing.assert_allclose(late.cells[name], early.cells[name], rtol=1e-5)
    assert late.metrics["feature_loss"].sum(1) == pytest.approx(late.summary["loss"], rel=1e-4)


def test_what_is_there_is_not_measured_again(both):
    _, many = both
    table = (many.run.path / "summary.csv").stat().st_mtime_ns
    assert superposition_cli.load(many.run.path).measure(METRICS) == ()
    assert not (many.run.path / "added").exists()
    assert (many.run.path / "summary.csv").stat().st_mtime_ns == table


def test_a_name_that_is_neither_is_refused_with_a_suggestion(both, command):
    result = command("analyze", both[1].run.path, "coherance")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "coherance: is neither an analysis nor a metric; did you mean 'coherence'?\n"
    )


def test_a_folder_in_use_is_refused(both, command):
    _, many = both
    with many.run.locked():
        result = command("analyze", many.run.path, "gram")
    assert result.code == 4
    assert "in use by" in result.err


GIF = """\
name: gif
model: {n_features: 5, n_hidden: 2}
data: {sparsity: 0.9, importance: {geometric: {ratio: 0.7, start: 1}}}
train: {steps: 40, batch_size: 64, eval_samples: 1024, snapshots: {every: 4}}
"""


@pytest.fixture
def gif(tmp_path, command):
    file = tmp_path / "gif.yaml"
    file.write_text(GIF)
    assert command("sweep", file, "-q", "--out", tmp_path / "run").code == 0
    return file, tmp_path / "run"


def test_an_analysis_is_asked_for_by_name_and_then_reported_and_plotted(gif, command):
    _, run = gif
    result = command("analyze", run, "dynamics", "--json")
    assert result.code == 0, result.err
    numbers = json.loads(result.out)["numbers"]
    assert list(numbers) == ["dynamics"]
    assert numbers["dynamics"]["windows"] == 10
    assert command("report", run, "-q").code == 0
    assert (run / "report" / "dynamics-losses.png").is_file()
    figures = command("plot", run).out.splitlines()
    assert {"dynamics-losses", "loss"} <= set(figures)


def test_a_report_and_a_plot_compute_what_they_are_asked_for(gif, command, tmp_path):
    _, run = gif
    assert command("report", run, "-q", "--analyses", "capacity,linearity").code == 0
    assert (run / "report" / "capacity-allotment.png").is_file()
    target = tmp_path / "one.svg"
    assert command("plot", run, "dynamics-losses", "-o", target).code == 0
    assert target.is_file()
    assert (run / "findings" / "dynamics.json").is_file()


def test_an_analysis_that_does_not_apply_is_refused_with_its_need(gif, command):
    _, run = gif
    for words in (("analyze", run, "sets"), ("report", run, "--analyses", "sets")):
        result = command(*words)
        assert result.code == 2
        assert "sets needs data.kind correlated or anticorrelated, not uniform" in result.err


def test_what_a_configuration_asks_since_is_said_and_computed(gif, command):
    file, run = gif
    weights = superposition_cli.load(run).weights["W"]
    claim = "expect: [{id: A, finding: capacity.cells, equals: 1}]\n"
    file.write_text(f"{GIF}analyses: [dynamics]\nmetrics: [embedding_rank, feature_norms]\n{claim}")
    result = command("sweep", file, "-q", "--out", run)
    assert result.code == 0
    assert [line.partition(": ")[2] for line in result.err.splitlines()] == [
        "asked since: metrics embedding_rank",
        "asked since: analyses dynamics",
        "asked since: claims A",
    ]
    again = superposition_cli.load(run)
    assert again.summary["embedding_rank"].tolist() == [2]
    assert (again.weights["W"] == weights).all()
    assert (run / "config.yaml").read_text() == file.read_text()
    assert launch.load(run)[1].experiment.analyses == ("dynamics",)
    found = json.loads(command("analyze", run, "--json").out)["numbers"]
    assert set(found) == {"dynamics", "capacity"}
    assert command("verify", run, "-q").code == 0
    assert command("sweep", file, "-q", "--out", run).err == ""  # nothing new


def test_snapshots_are_kept_every_so_many_updates_the_end_among_them(gif):
    _, run = gif
    history = superposition_cli.load(run).history
    assert history["snapshot_step"].tolist() == list(range(0, 41, 4))
    weights = superposition_cli.load(run).weights
    assert (history["snapshot_W"][:, -1] == weights["W"]).all()
    assert (history["snapshot_b"][:, 0] == 0).all()


def test_snapshots_at_named_steps_are_those_of_a_denser_run(tmp_path):
    every = trained(tmp_path / "every", GIF)
    named = trained(tmp_path / "named", GIF, "train.snapshots=[8, 20, 40]")
    dense, few = (superposition_cli.load(one.run.path).history for one in (every, named))
    assert few["snapshot_step"].tolist() == [8, 20, 40]
    np.testing.assert_array_equal(few["snapshot_W"], dense["snapshot_W"][:, [2, 5, 10]])


def test_the_loss_is_drawn_for_every_run_that_took_steps(both, command, tmp_path):
    target = tmp_path / "loss.svg"
    assert command("plot", both[1].run.path, "loss", "-o", target).code == 0
    results = superposition_cli.load(both[1].run.path)
    step, loss = results.curve(7)
    np.testing.assert_array_equal(loss, results.history["loss"][7])
    np.testing.assert_array_equal(step, results.history["loss_step"])
    still = trained(tmp_path / "still", BASE, "train.steps=0").run.path
    assert "loss" not in command("plot", still).out.splitlines()

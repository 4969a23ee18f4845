"""Needs: configurations that meet each of them and that break it, with the place at fault."""

import pytest
from helpers import Planned, load, sp

from superposition_cli import config
from superposition_cli.analyses import ANALYSES, answer, check, dynamics, needs, wanted
from superposition_cli.analyses.needs import Cells
from superposition_cli.config import Experiment, shipped
from superposition_cli.errors import InvalidInput
from superposition_cli.toy import data

TEXT = """\
name: needy
model: {n_features: 5, n_hidden: 2}
data: {feature_probability: 0.1}
train: {steps: 100}
"""
MIXED = "data.feature_probability={base: 0.1, first: 0.2}"
BOTH_SIDES, TIED = "data.low=-1", "{kind: correlated, sets: [[0, 1], [2, 3, 4]]"


def swept(parameters):
    return f"sweep={{parameters: {{{parameters}}}}}"


def axis(name):
    return ("sweep", "parameters", name)


P, LAST = "data.feature_probability", "data.importance.last"
OVER_P, OVER_M = swept(f"{P}: [0.1, 0.2]"), swept("model.n_hidden: [2, 3]")
OVER_FIRST = swept(f"{P}.first: [0.05, 0.2]")
UNIT = needs.UNIT_INTERVAL
# need, overrides that meet it, overrides that break it, the place and words of the complaint
CASES = [
    (needs.RELU_OUTPUT, [], ["model.kind=linear"], ("model", "kind"), "relu_output, not linear"),
    (
        needs.RELU_OUTPUT,
        [swept("model.kind: [linear_hidden]")],  # another word for relu_output
        [swept("model.kind: [relu_output, abs]")],
        axis("model.kind"),
        "relu_output, not abs",
    ),
    (
        needs.among(needs.KIND, "linear", "relu_output"),
        ["model.kind=linear"],
        ["model.kind=relu_hidden"],
        ("model", "kind"),
        "linear or relu_output, not relu_hidden",
    ),
    (
        needs.LINEAR_HIDDEN,
        ["model.kind=linear"],
        ["model.kind=relu_hidden"],
        ("model", "kind"),
        "whose hidden vector is Wᵀx, not relu_hidden",
    ),
    (
        needs.among("model.kind", "linear"),
        ["model.kind=linear"],
        [],
        ("model", "kind"),
        "needs model.kind linear, not relu_output",
    ),
    (needs.among("model.kind", "abs"), ["model.kind=abs"], [], ("model", "kind"), "abs, not relu"),
    (
        needs.among("data.target", "abs"),
        ["data.target=abs"],
        [],
        ("data", "target"),
        "needs data.target abs, not identity",
    ),
    (
        needs.among("data.kind", "correlated", "anticorrelated"),
        [f"data={TIED}, feature_probability: 0.1}}"],
        [],
        ("data", "kind"),
        "needs data.kind correlated or anticorrelated, not uniform",
    ),
    (
        needs.among("train.objective", "packing", why="only W counts"),
        ["train.objective=packing", "model.kind=linear", "data={kind: one_hot}"],
        [],
        ("train", "objective"),
        "packing, not sampled: only W counts",
    ),
    (needs.INDEPENDENT, [], ["data={kind: one_hot}"], ("data", "kind"), "uniform, not one_hot"),
    (needs.IDENTITY, [], ["data.target=abs"], ("data", "target"), "identity, not abs"),
    (needs.ROTATES, [], ["model.n_hidden=1"], ("model", "n_hidden"), "at least 2, not 1: a line"),
    (needs.ROTATES, [OVER_M], [swept("model.n_hidden: [3, 1]")], axis("model.n_hidden"), "not 1"),
    (
        needs.at_least(needs.LOW, 0, why="inputs are not negative"),
        [],
        [BOTH_SIDES],
        ("data", "low"),
        "at least 0, not -1: inputs",
    ),
    (
        needs.at_least(needs.STEPS, 1, why="it trains again"),
        [],
        ["train.steps=0"],
        ("train", "steps"),
        "at least 1, not 0: it trains",
    ),
    (needs.sizes((5, 2)), [], ["model.n_hidden=3"], ("model", "n_hidden"), "not 5 in 3"),
    (
        needs.sizes((2, 1), (3, 2)),
        ["model.n_features=3"],
        [],
        ("model", "n_features"),
        "needs 2 features in 1 or 3 features in 2 hidden dimensions, not 5 in 2",
    ),
    (UNIT, [], [BOTH_SIDES], ("data", "low"), "features in U[0, 1]"),
    (UNIT, [], ["data.high=2"], ("data", "high"), "features in U[0, 1]"),
    (needs.BOTH_SIGNS, [BOTH_SIDES], [], ("data", "low"), "magnitudes of both signs"),
    (
        needs.BOTH_SIGNS,
        [BOTH_SIDES],
        ["data.low=-2", "data.high=-1"],
        ("data", "high"),
        "magnitudes of both signs",
    ),
    (needs.probabilities(1), [OVER_P], [MIXED], ("data", "feature_probability"), "one feature"),
    (
        needs.probabilities(1),
        [f"{P}=[0.1, 0.1, 0.1, 0.1, 0.1]"],
        ["data={sparsity: [0.9, 0.9, 0.9, 0.9, 0.8]}"],
        ("data", "sparsity"),
        "one feature probability",
    ),
    (needs.probabilities(1), [], [OVER_FIRST], axis(f"{P}.first"), "one feature probability"),
    (
        needs.probabilities(2),
        [MIXED],
        [f"{P}=[0.1, 0.2, 0.3, 0.3, 0.3]"],
        ("data", "feature_probability"),
        "two different probabilities",
    ),
    (needs.probabilities(2), [OVER_FIRST], [OVER_P], axis(P), "two different probabilities"),
    (
        needs.unit_importance(),
        [],
        ["data.importance={geometric: 0.9}"],
        ("data", "importance"),
        "importance 1 for all features",
    ),
    (
        needs.unit_importance(but_last=True),
        [swept(f"{LAST}: [0.5, 2]")],
        [swept(f"{LAST}: [0.5, 2]"), "data.importance={first: 2}"],
        ("data", "importance"),
        "all features but the last",
    ),
    (
        needs.POSITIVE_IMPORTANCE,
        [swept(f"{LAST}: [0.5, 2]")],
        [swept(f"{LAST}: [0.5, 0]")],
        axis(LAST),
        "importances above 0",
    ),
    (
        needs.when(needs.KIND, "relu_output", UNIT),
        [BOTH_SIDES, "model.kind=linear"],
        [BOTH_SIDES, swept("model.kind: [linear, relu_output]")],
        ("data", "low"),
        "with model.kind relu_output needs features in U[0, 1]",
    ),
    (
        needs.same(needs.FEATURES, needs.HIDDEN),
        [OVER_P],
        [OVER_M],
        axis("model.n_hidden"),
        "needs the same n_features and n_hidden in every cell",
    ),
    (
        needs.same(needs.FEATURES),
        [OVER_M],
        [swept("model.n_features: [5, 6]")],
        axis("model.n_features"),
        "the same n_features",
    ),
    (
        needs.same(needs.FEATURES, needs.HIDDEN, needs.STEPS),
        [swept("train.steps: [7]")],
        [swept("train.steps: [7, 8]")],
        axis("train.steps"),
        "the same n_features, n_hidden and steps",
    ),
    (
        needs.same(needs.STEPS),
        [OVER_M],
        [swept("train.steps: [7, 8]")],
        axis("train.steps"),
        "the same steps",
    ),
    (needs.sweeps_only(P), [OVER_P], [], ("sweep",), f"needs a sweep over {P} and no other axis"),
    (
        needs.sweeps_only(P),
        [OVER_P],
        [swept(f"{P}: [0.1, 0.2], seed: [0, 1]")],
        axis("seed"),
        "no other axis",
    ),
    (
        needs.sweeps_only(P, LAST),
        [swept(f"{LAST}: [1, 2], {P}: [0.1, 0.2]")],
        [OVER_P],
        ("sweep",),
        f"needs a grid over {P} and {LAST} and no other axis",
    ),
    (needs.sweeps_only(P, or_none=True), [], [OVER_M], axis("model.n_hidden"), "or none, and no"),
    (needs.sweeps_only(needs.HIDDEN), [OVER_M], [OVER_P], axis(P), "no other axis"),
    (
        needs.ONE_PROGRAM,
        [swept(f"{P}: [0.1, 0.2], train.learning_rate: [0.1, 0.2], train.steps: [7]")],
        [swept(f"{P}: [0.1, 0.2], train.steps: [7, 8]")],
        axis("train.steps"),
        "one program",
    ),
    (dynamics.SNAPSHOTS, [], ["train.snapshots=2"], ("train", "snapshots"), "more snapshots"),
    (dynamics.SNAPSHOTS, ["train.snapshots=3"], ["train.steps=2"], ("train", "snapshots"), "more"),
    (
        needs.EQUAL_BUT_FIRST,
        [MIXED],
        ["data.importance={geometric: 0.9}"],
        ("data", "importance"),
        "equal, all but the first",
    ),
    (
        needs.EQUAL_BUT_FIRST,
        [OVER_FIRST],
        [swept(f"{P}.1: [0.1, 0.2]")],
        axis(f"{P}.1"),
        "equal, all but the first",
    ),
    (needs.FIRST_DIFFERS, [OVER_FIRST], [], ("data", "feature_probability"), "a first feature"),
    (
        needs.FIRST_DIFFERS,
        ["data.importance={first: 2}"],
        [MIXED, "data.importance={first: 2}"],
        ("data", "importance"),
        "a first feature",
    ),
    (
        needs.ONE_CELL_EACH,
        [OVER_FIRST],
        [swept(f"{P}.first: [0.05, 0.2], seed: [0, 1]")],
        axis("seed"),
        "one cell for each value",
    ),
    (
        needs.ONE_CELL_EACH,
        [swept(f"{P}: [0.1, 0.2], {P}.first: [0.05, 0.3]")],
        [swept(f"{P}.first: [0.05, 0.2], data.importance: [1, 2]")],
        axis(f"{P}.first"),
        "one cell for each value",
    ),
]


@pytest.mark.parametrize(("need", "meets", "breaks", "place", "words"), CASES)
def test_a_need_is_met_or_the_place_at_fault_is_told(need, meets, breaks, place, words):
    assert need.complaint(Cells(load(TEXT, *meets))) is None
    complaint = need.complaint(Cells(load(TEXT, *breaks)))
    assert complaint.place == place
    assert words in complaint.sentence


def test_every_need_of_an_analysis_is_among_the_cases():
    used = {need.words for analysis in ANALYSES.values() for need in analysis.needs}
    assert used == {needs.MOMENTS.words, *(need.words for need, *_ in CASES)}


def test_moments_are_needed_of_data_and_of_target(monkeypatch):
    cells = needs.Cells(Planned(TEXT).plan.experiment)
    assert needs.MOMENTS.complaint(cells) is None
    known = data.TARGETS["identity"]
    monkeypatch.setitem(data.TARGETS, "identity", known._replace(moments=None))
    found = needs.MOMENTS.complaint(cells)
    assert found == (("data", "target"), "needs exact moments of data and target, not identity")
    monkeypatch.setitem(data.SAMPLERS, "uniform", data.SAMPLERS["uniform"]._replace(moments=None))
    assert needs.MOMENTS.complaint(cells).place == ("data", "kind")


@pytest.mark.parametrize("source", shipped.configs().values(), ids=lambda path: path.stem)
def test_shipped_configurations_meet_the_needs_of_their_analyses(source):
    experiment = config.load(source)
    assert [complaint for name in wanted(experiment) for complaint in check(name, experiment)] == []


def test_all_that_is_lacking_is_told_in_the_name_of_the_analysis():
    with pytest.raises(InvalidInput) as refused:
        answer("uniform", Planned(TEXT, "model.kind=linear", "data.high=2"))
    assert refused.value.problems == (
        f"uniform needs a sweep over {P} and no other axis",
        "uniform needs model.kind relu_output, not linear",
        "uniform needs features in U[0, 1]: data.low 0 and data.high 1",
    )


@pytest.mark.parametrize("command", ["validate", "sweep", "verify"])
def test_what_an_analysis_needs_is_told_with_its_place(tmp_path, capsys, monkeypatch, command):
    file = tmp_path / "needy.yaml"
    over_seeds = f"sweep:\n  parameters:\n    {P}: [0.1, 0.2]\n    seed: [0, 1]\n"
    claim = "expect:\n  - {id: a, finding: uniform.cells, equals: 1}\n"
    file.write_text(TEXT + over_seeds + claim)
    result = sp(capsys, monkeypatch, command, file)
    assert result.code == 2
    assert result.err == (
        f"{file}:8:5 sweep.parameters.seed: uniform needs a sweep over {P} and no other axis\n"
    )
    assert not list(tmp_path.glob("runs/*"))


def test_a_claim_about_no_analysis_is_told_with_its_place(tmp_path, capsys, monkeypatch):
    file = tmp_path / "needy.yaml"
    file.write_text(TEXT + "expect:\n  - {id: a, finding: structur.cells, equals: 1}\n")
    result = sp(capsys, monkeypatch, "validate", file)
    assert result.code == 2
    assert result.err.startswith(f"{file}:6:13 expect.0.finding: structur is no analysis")
    assert "did you mean 'structure'?" in result.err


def test_the_base_alone_may_be_trained_whatever_analyses_need(tmp_path, capsys, monkeypatch):
    file = tmp_path / "needy.yaml"
    file.write_text(TEXT + "analyses: [uniform]\n")
    assert sp(capsys, monkeypatch, "validate", file).code == 2
    assert sp(capsys, monkeypatch, "train", file, "--dry-run").code == 0


@pytest.fixture
def attempts(monkeypatch):
    """The assignments that are resolved while a test runs."""
    made, attempt = [], Experiment.attempt
    counted = lambda self, given: made.append(given) or attempt(self, given)  # noqa: E731
    monkeypatch.setattr(Experiment, "attempt", counted)
    return made


def test_few_cells_of_a_large_grid_are_resolved(attempts):
    axes = (
        f"{P}: {{geomspace: {{start: 0.01, stop: 1, num: 100000}}}}, "
        f"{LAST}: {{geomspace: {{start: 0.1, stop: 10, num: 100000}}}}"
    )
    experiment = load(TEXT, "model={n_features: 3, n_hidden: 2}", swept(axes))
    attempts.clear()
    assert check("phase", experiment, most=100) == []
    assert len(attempts) <= 100 * len(ANALYSES["phase"].needs)
    assert {round(given[P], 2) for given in attempts} >= {0.01, 1.0}


def test_the_ends_of_a_long_axis_are_among_what_is_resolved(attempts):
    falling = swept("model.n_hidden: {range: {start: 90000, stop: 0, step: -1}}")
    experiment = load(TEXT, falling)
    attempts.clear()
    (complaint,) = check("equivariance", experiment, most=50)
    assert complaint.place == axis("model.n_hidden")
    assert "not 1" in complaint.sentence
    assert len(attempts) <= 50 + 2  # two more needs, of fields on no axis


def test_nothing_is_resolved_for_axes_a_need_is_not_about(attempts):
    experiment = load(TEXT, swept("seed: {range: {start: 0, stop: 1000}}"))
    attempts.clear()
    assert needs.RELU_OUTPUT.complaint(Cells(experiment)) is None
    assert len(attempts) == 1


def test_combinations_that_are_no_setting_are_left_out():
    # each value fits the base, but low .5 is not below high .4
    experiment = load(TEXT, swept("data.low: [0, 0.5], data.high: [1, 0.4]"))
    seen = [
        (one.data.low, one.data.high) for one in Cells(experiment).settings("data.low", "data.high")
    ]
    assert seen == [(0, 1), (0, 0.4), (0.5, 1)]

"""The command line: exit codes, what goes to which stream, and what the tables show."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import BASE, CHUNKS_OF_TWO, TINY, sp, swept, trained

from superposition_cli.commands import console as commands_console
from superposition_cli.config import shipped
from superposition_cli.report.listing import LISTS
from superposition_cli.running import sweep
from superposition_cli.toy.data import SAMPLERS
from superposition_cli.toy.models import MODELS

LONG = "x" * 60  # a path component that takes a line over 80 columns


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run `sp` with its runs under the test's folder."""
    monkeypatch.setenv("SP_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return lambda *words: sp(capsys, monkeypatch, *words)


@pytest.fixture
def written(tmp_path):
    def write(text, name="tiny"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    text = TINY.replace("steps: 60", "steps: 60, learning_rate: 5e-2")
    return trained(tmp_path_factory.mktemp("cli") / "tiny", text, machine=CHUNKS_OF_TWO).run.path


def test_sweep_prints_the_run_folder_and_nothing_else_on_stdout(command, written, tmp_path):
    first = command("sweep", written(TINY))
    path = first.out.removesuffix("\n")
    assert (first.code, first.out.count("\n")) == (0, 1)
    assert path.startswith(f"{tmp_path}/runs/tiny-")
    assert "6/6 models" in first.err
    second = command("sweep", written(TINY), "-q")
    assert second == (0, first.out, "")


def test_train_leaves_the_sweep_out_and_says_so_on_stderr(command, written):
    result = command("train", written(TINY), "-q")
    assert result.code == 0
    assert "leaves the sweep of 3 cells out" in result.err
    shown = json.loads(command("show", result.out.strip(), "--json").out)
    assert shown["run"]["cells"] == 1
    assert len(shown["cells"]) == 1


def test_diverged_models_end_with_3_unless_allowed(command, written):
    text = swept("train.learning_rate: [1.0e-3, 1.0e+38]")
    result = command("sweep", written(text), "-q")
    assert result.code == 3
    assert "2 of 4 models diverged" in result.err
    assert result.out.count("\n") == 1
    again = command("sweep", written(text), "-q", "--allow-diverged")
    assert (again.code, again.out) == (0, result.out)
    assert command("sweep", written(text), "-q").code == 3


def test_a_dry_run_trains_nothing_and_makes_nothing(command, written, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "run_chunk", None)
    result = command("sweep", written(TINY), "--dry-run")
    assert (result.code, result.err) == (0, "")
    told = dict(line.rsplit(maxsplit=1) for line in result.out.splitlines() if line[-3:] != "KiB")
    assert (told["cells"], told["models"], told["groups"]) == ("3", "6", "1")
    assert "programs to compile" in told
    assert not (tmp_path / "runs").exists()


def test_set_wins_and_the_last_one_most(command, written):
    source = written(BASE)
    result = command(
        "train",
        source,
        "--set",
        "seed=7",
        "--set",
        "train.learning_rate=0.5",
        "--set",
        "seed=9",
        "-q",
    )
    resolved = yaml.safe_load((Path(result.out.strip()) / "config.resolved.yaml").read_text())
    assert (resolved["train"]["learning_rate"], resolved["seed"]) == (0.5, 9)
    assert resolved["train"]["batch_size"] == 64


BAD = """\
name: bad
model: {n_features: 5, n_hidden: 2, kinds: linear}
data: {kind: unifrom, feature_probability: 0.1}
train: {steps: 2.5}
"""


@pytest.mark.parametrize("name", ["sweep", "train", "validate"])
def test_a_wrong_configuration_is_one_line_a_problem(command, written, name):
    path = written(BAD, LONG)
    result = command(name, path)
    assert (result.code, result.out) == (2, "")
    first, second, third = result.err.splitlines()
    assert first == f"{path}:2:37 model.kinds: is not a known key; did you mean 'kind'?"
    assert second.startswith(f"{path}:3:8 data.kind: must be one of uniform, ")
    assert second.endswith("; got 'unifrom'; did you mean 'uniform'?")
    assert third == f"{path}:4:9 train.steps: needs a whole number; got 2.5"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sweep", "intr"), "intr: no such file or shipped configuration; did you mean intro?"),
        (("sweep", "/"), "/: is a folder, not a configuration file"),
        (("show", "nowhere"), "nowhere: no such run here or under"),
        (("list", "metric"), "did you mean metrics?"),
        (("bench", "--workloads", "intros"), "--workloads intros: is not a workload; there are"),
        (("validate", "intro", "--set", "train.step=3"), "did you mean 'steps'?"),
        (("validate", "intro", "--set", "metrics=[feature_norm]"), "did you mean 'feature_norms'?"),
        (("sweep", "intro", "--max-models", "5"), "7 cells x 10 restarts = 70 models"),
    ],
)
def test_a_wrong_command_is_one_line_and_exits_2(command, words, told):
    result = command(*words)
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert result.err.count("\n") == 1


def test_wrong_usage_exits_2_with_an_empty_stdout(command):
    for words in (("sweep",), ("nothing",), ("list", "--nope"), ("bench", "--seconds", "x")):
        result = command(*words)
        assert (result.code, result.out) == (2, "")
        assert "Traceback" not in result.err


def test_validate_is_silent_on_stdout(command):
    result = command("validate", "intro")
    assert (result.code, result.out) == (0, "")
    assert "sound, 7 cells x 10 restarts" in result.err


@pytest.mark.parametrize("what", LISTS)
def test_every_list_is_there_in_three_forms(command, what):
    as_json = command("list", what, "--json")
    listed = json.loads(as_json.out)
    assert listed["schema_version"] == 1
    table = command("list", what)
    assert (table.code, table.err, "\x1b" in table.out) == (0, "", False)
    for row in listed[what]:
        assert next(iter(row.values())) in table.out
    if what != "runs":
        assert all(row.get("about") for row in listed[what])
        assert command("list", what, "--csv").out.count("\n") > len(listed[what])


def test_the_help_of_list_names_the_lists_there_are(command):
    told = command("list", "--help").out
    assert all(what in told for what in LISTS)


def test_the_runs_are_listed_with_numbers(command, run):
    listed = json.loads(command("list", "--json", "--runs-dir", run.parent).out)["runs"]
    (row,) = [row for row in listed if row["run"] == run.name]
    assert (row["cells"], row["models"], row["diverged"]) == (3, 6, 0)


def test_setting_what_the_sweep_sets_is_refused_with_what_to_write(command, written):
    for word in ("data.feature_probability=0.2", "data.sparsity=0.8"):
        result = command("sweep", written(TINY), "--set", word)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert result.err == (
            f"--set {word}: is set by the sweep; write --set "
            "sweep.parameters.data.feature_probability=[...], or train the base alone with sp "
            "train\n"
        )
    changed = "sweep.parameters.data.feature_probability=[0.2]"
    assert "1 cells" in command("validate", written(TINY), "--set", changed).err
    assert "sound" in command("validate", written(TINY), "--set", "data.importance=1").err


def test_the_base_alone_may_be_set_where_the_sweep_would_set_it(command, written):
    result = command("train", written(TINY), "-q", "--set", "data.feature_probability=0.2")
    assert result.code == 0, result.err
    (cell,) = json.loads(command("show", result.out.strip(), "--json").out)["cells"]
    assert cell["feature_probability"] == 0.2


@pytest.mark.parametrize("manifest", ['{"schema_version": 9}', "{", '{"schema_version": 1}'])
def test_a_damaged_run_does_not_hide_the_others(command, run, manifest):
    bad = run.parent / "a-damaged-one"
    bad.mkdir(exist_ok=True)
    (bad / "run.json").write_text(manifest)
    for form in ((), ("--csv",), ("--json",)):
        result = command("list", "--runs-dir", run.parent, *form)
        assert result.code == 0
        assert "a-damaged-one" in result.out
        assert "complete" in result.out
    (bad / "run.json").unlink()


def test_show_fits_80_columns_without_colour_and_names_the_structure(command, run):
    result = command("show", run)
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split(":")[1].strip() == "complete, 3 cells x 2 restarts = 6 models"
    header = next(line.split() for line in lines if "loss/null" in line)
    assert header[0] == "p"
    assert {"represented", "structure"} <= set(header)
    assert [line.split()[0] for line in lines if line[:6].strip()[:1].isdigit()] == [
        "1",
        "0.3",
        "0.05",
    ]


def test_show_gives_json_csv_chosen_columns_and_a_limit(command, run):
    told = json.loads(command("show", run, "--json").out)
    assert told["schema_version"] == 1
    assert told["status"]["state"] == "complete"
    assert [cell["data.feature_probability"] for cell in told["cells"]] == [1.0, 0.3, 0.05]
    cell = told["cells"][0]
    assert [type(cell[name]) for name in ("cell", "loss", "select")] == [int, float, str]
    assert all(cell["structure"] for cell in told["cells"])
    header, *rows = command("show", run, "--csv").out.splitlines()
    assert header.startswith("cell,data.feature_probability,")
    assert len(rows) == 3
    assert "and 2 more cells" in command("show", run, "--limit", "1").out
    few = command("show", run, "--csv", "--columns", "cell,models", "--limit", "2").out
    assert few == "cell,models\n0,2\n1,2\n"
    assert len(json.loads(command("show", run, "--json", "--limit", "1").out)["cells"]) == 1
    assert command("show", run, "--csv", "--columns", "modls").code == 2
    assert "null_loss" in command("show", run, "--columns", "null_loss,loss").out
    wrong = command("show", run, "--columns", "null_los")
    assert (wrong.code, "did you mean 'null_loss'?" in wrong.err) == (2, True)


def test_a_run_is_found_by_its_name_and_by_the_beginning_of_it(command, run):
    whole = command("show", run).out
    assert command("show", "tiny", "--runs-dir", run.parent).out == whole
    assert command("show", "ti", "--runs-dir", run.parent).out == whole


def test_hostile_text_in_a_run_folder_reaches_the_terminal_as_text(command, run, tmp_path):
    from shutil import copytree

    copy = copytree(run, tmp_path / "hostile")
    manifest = json.loads((copy / "run.json").read_text())
    manifest["name"] = "[red]x[/red]\x1b[31m\x07"
    (copy / "run.json").write_text(json.dumps(manifest))
    result = command("show", copy)
    assert result.code == 0
    assert "[red]x[/red]" in result.out
    assert not {"\x1b", "\x07"} & set(result.out)


def test_doctor_says_what_this_machine_offers(command, tmp_path):
    result = command("doctor", "--json")
    told = json.loads(result.out)
    assert (result.code, result.err, told["faults"]) == (0, "", [])
    assert told["schema_version"] == 1
    assert told["packages"]["jax"]
    assert told["free_bytes"] > 0
    assert told["machine"]["workers"] >= 1
    assert "free_bytes" in command("doctor").out
    assert list((tmp_path / "runs").iterdir()) == []  # the probe is gone


def test_doctor_names_a_fault_and_exits_1(command, tmp_path):
    (tmp_path / "file").write_text("")
    result = command("doctor", "--json", "--runs-dir", tmp_path / "file")
    assert result.code == 1
    assert str(tmp_path / "file") in json.loads(result.out)["faults"][0]


def test_bench_has_the_documented_fields(command):
    result = command("bench", "--json", "--workloads", "intro", "--seconds", "0.2")
    told = json.loads(result.out)
    assert (result.code, result.err, told["schema_version"]) == (0, "", 1)
    assert {"platform", "device", "workers", "jax"} <= set(told["machine"])
    (one,) = told["workloads"]
    sizes = ("name", "models", "n_features", "n_hidden", "batch_size")
    assert [one[name] for name in sizes] == ["intro", 10, 5, 2, 1024]
    assert one["ms_per_step"] > 0
    assert one["model_steps_per_second"] == pytest.approx(10 / one["ms_per_step"] * 1e3)


def test_the_standard_workloads_are_those_of_the_documents():
    from superposition_cli.bench import WORKLOADS

    assert list(WORKLOADS) == ["intro", "small", "demo", "geometry", "phase"]


def test_schema_is_a_json_schema_of_the_sections(command):
    told = json.loads(command("schema").out)
    assert told["type"] == "object"
    assert {"name", "model"} <= set(told["required"])  # an objective may need no data
    assert {"data", "train", "sweep", "seed", "metrics", "expect"} <= set(told["properties"])
    assert told["$defs"]["TrainSettings"]["properties"]["steps"]["default"] == 10_000


@pytest.mark.parametrize("way", ["variable", "option"])
def test_no_colour_where_none_is_wanted(command, monkeypatch, way):
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[3" in coloured(monkeypatch)
    if way == "variable":
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        command("--no-color", "validate", "intro")
    assert "\x1b[3" not in coloured(monkeypatch)


def coloured(monkeypatch):
    console = commands_console.console()
    with console.capture() as captured:
        console.print("[red]x[/red]")
    return captured.get()


def test_help_is_there_and_imports_no_jax():
    code = (
        "import sys; from superposition_cli import cli; sys.argv = ['sp', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'jax', 'numpy', 'pydantic'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("train", "sweep", "show", "list", "validate", "schema", "doctor", "bench"):
        assert name in done.stdout


def test_a_shipped_configuration_is_found_by_name(command):
    assert shipped.find("intro") == shipped.configs()["intro"]
    assert command("sweep", "intro", "--dry-run").code == 0


# Of answering the mean, and the least loss of a linear model with two dimensions, by hand. A
# feature of density q in U[0, 1] has the variance q/3 - q²/4:
#   q = .2: .2/3 - .01 = .17/3, and four of it are .68/3; two dimensions keep two of them.
#   Correlated pairs: the same variance, covariance (q - q²)/4 = .04. The sums are kept and the
#   differences lost, each with the variance .17/3 - .04 = .05/3.
#   Anticorrelated pairs: q = .1 each, variance .1/3 - .0025, four of it .37/3; covariance
#   -.05². The differences are kept and the sums lost, each with .1/3 - .0025 - .0025 = .085/3.
#   One of four active: |x| in U[0, 1], 1/12 - 1/64 = 13/192 each. x and -x are as likely, so
#   |x| is uncorrelated with every x_j, and nothing linear does better than the mean.
KINDS = {
    "uniform": ("feature_probability: 0.2", 0.68 / 3, 0.34 / 3),
    "correlated": ("feature_probability: 0.2, sets: [[0, 1], [2, 3]]", 0.68 / 3, 0.1 / 3),
    "anticorrelated": ("feature_probability: 0.2, sets: [[0, 1], [2, 3]]", 0.37 / 3, 0.17 / 3),
    "one_hot": ("target: abs, low: -1.0", 13 / 48, 13 / 48),
}


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_every_kind_of_data(command, written, model, kind):
    settings, null, linear = KINDS[kind]
    text = (
        f"name: {model}\nmodel: {{kind: {model}, n_features: 4, n_hidden: 2}}\n"
        f"data: {{kind: {kind}, {settings}}}\nmetrics: [n_represented]\n"
        "train: {steps: 300, learning_rate: 1e-2, batch_size: 64, eval_samples: 1024, snapshots: 0}"
    )
    result = command("train", written(text), "-q")
    assert result.code == 0, result.err
    (cell,) = json.loads(command("show", result.out.strip(), "--json").out)["cells"]
    assert float(cell["null_loss"]) == pytest.approx(null, rel=1e-6)  # float32: 6e-8, a few times
    least = linear * (1 - 1e-6) if model == "linear" else 0
    assert float(cell["loss"]) > least
    assert float(cell["loss"]) < null or least > 0.99 * null

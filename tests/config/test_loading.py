"""Loading: every problem at once, worded for people, and what `--set` changes."""

import json
import re
import subprocess
import sys

import pytest
from config_texts import BASE, EXAMPLE, HEAD, data, load, problems, swept

from superposition_cli import config
from superposition_cli.config import axes, loading, strict_yaml, vectors
from superposition_cli.errors import InvalidInput


def test_everything_wrong_at_once_with_line_and_column():
    found = problems(
        """\
nme: x
model: {kind: relu_outptu, n_features: 2.5, n_hiden: 3}
data:
  feature_probability: .nan
  importance: [1, x]
train:
  optimizer: addam
  steps: -1
metrics: feature_norms
train: {}
""",
        "seed=-1",
    )
    assert (
        found
        == [
            "f.yaml:1:1 name: is required",
            "f.yaml:1:1 nme: is not a known key; did you mean 'name'?",
            "f.yaml:2:1 model.n_hidden: is required",
            "f.yaml:2:9 model.kind: must be one of linear, relu_output, relu_hidden, abs; "
            "got 'relu_outptu'; did you mean 'relu_output'?",
            "f.yaml:2:28 model.n_features: needs a whole number; got 2.5",
            "f.yaml:2:45 model.n_hiden: is not a known key; did you mean 'n_hidden'?",
            "f.yaml:4:24 data.feature_probability: .nan is not a finite number",
            "f.yaml:5:19 data.importance.1: needs a number; got 'x'",
            "f.yaml:7:3 train.optimizer: must be one of adamw, adam, sgd; got 'addam'; "
            "did you mean 'adam'?",
            "f.yaml:8:3 train.steps: must be at least 0; got -1",
            "f.yaml:9:1 metrics: needs a list; got 'feature_norms'",
            "f.yaml:10:1 train: is already given on line 6",
        ]
        or found[0] == "--set seed=-1: must be at least 0; got -1"
    )


def test_model_and_data_are_compared_though_train_is_wrong():
    found = problems(data("{sparsity: [0.1, 0.2]}") + "train: {steps: a}\n")
    assert found == [
        "f.yaml:3:8 data.sparsity: has 2 numbers, but the model has 3 features",
        "f.yaml:4:9 train.steps: needs a whole number; got 'a'",
    ]


def test_neither_or_both_of_the_pair():
    assert "data: needs exactly one" in problems(data("{low: 0.0}"))[0]
    both = problems(data("{feature_probability: 0.5, sparsity: 0.5}"))
    assert both[0].startswith("f.yaml:3:34 data.sparsity: needs exactly one")


def test_unknown_words_with_a_hint():
    found = problems(BASE + "metrics: [feature_norm]\n", metrics=["feature_norms"], analyses=[])
    assert found == [
        "f.yaml:4:11 metrics.0: 'feature_norm' is not known; did you mean 'feature_norms'?"
    ]


@pytest.mark.parametrize("text", ["", "3", "[1]", "# nothing"])
def test_not_a_mapping(text):
    assert "needs a mapping" in problems(text)[0]


def test_no_jargon_and_no_control_characters():
    for line in problems(BASE + 'train: {steps: [1], "\\e[31m": {}, dtype: "\\a"}\n'):
        assert "pydantic" not in line
        assert "Input should" not in line
        assert line.isprintable()


@pytest.mark.parametrize("override", ["name='a\n'", "na\x1bme=3", "name=\udcff", "a\nb"])
def test_overrides_cannot_break_a_line(override):
    assert all(line.isprintable() for line in problems(BASE, override))


def test_many_problems_are_cut():
    found = problems(BASE + "\n".join(f"nam{i}: 1" for i in range(9000)))
    assert len(found) == loading.MAX_SHOWN + 1
    assert found[-1] == "f.yaml: and 8,900 more problems"


def test_load_reads_a_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(BASE)
    assert config.load(path, ["seed=3"]).seed == 3
    path.write_text("x" * 300_000)
    with pytest.raises(InvalidInput, match="256 KiB"):
        config.load(path)
    for missing in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InvalidInput, match="no such file"):
            config.load(missing)


def test_overrides_replace_values_and_the_twin():
    experiment = load(BASE, "data.sparsity=0.9", "train.steps=5")
    assert experiment.data.feature_probability is None
    assert experiment.train.steps == 5
    assert load(BASE, "data.importance.last=0.5").base.importance() == (1.0, 1.0, 0.5)
    assert load(BASE, "data.sparsity.last=0.5").base.feature_probability() == (0.1, 0.1, 0.5)
    listed = load(BASE, "data.importance=[1, 2, 3]", "data.importance.0=9")
    assert listed.base.importance() == (9, 2, 3)


def test_overrides_reach_the_sweep():
    shrunk = load(EXAMPLE, "sweep.parameters.data.importance.last.geomspace.num=3")
    assert shrunk.n_cells == 75
    assert load(EXAMPLE, "sweep=null").sweep is None
    added = load(BASE, "sweep.parameters.data.importance.last=[1, 2]")
    assert added.axes[0].names == ("data.importance.last",)


def test_overrides_leave_aliases_alone():
    text = HEAD + "data: {feature_probability: &p [0.1, 0.2, 0.3], importance: *p}\n"
    assert load(text, "data.importance.0=1").base.feature_probability() == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trian.steps=5", "--set trian.steps=5: trian is not a known key; did you mean 'train'?"),
        ("train.stps=5", "--set train.stps=5: is not a known key; did you mean 'steps'?"),
        ("train.steps=-1", "--set train.steps=-1: must be at least 0; got -1"),
        ("train={steps: -1}", "--set train={steps: -1}: train.steps must be at least 0; got -1"),
        ("steps", "--set steps: needs the form section.key=value"),
        ("=3", "--set =3: needs the form section.key=value"),
        ("seed=.inf", "--set seed=.inf: .inf is not a finite number"),
        ("model=3", "--set model=3: needs a mapping of keys to values; got 3"),
        ("seed.x=3", "--set seed.x=3: 'x' leads nowhere: what holds it is not a mapping"),
    ],
)
def test_wrong_overrides(override, expected):
    text = BASE + "seed: 1\n"
    found = problems(text, override)
    assert found == [expected]


FORMS = [
    "{geometric: 0.5}",
    "{geometric: {ratio: 0.5, start: 2}}",
    "{geometric: {ratio: 0.5, first: 0.3}}",
    "{geomspace: {start: 0.1, stop: 1}}",
    "{linspace: {start: 0.1, stop: 1}}",
    "{power: 1.5}",
    "{power: {exponent: 1.5, first: 1}}",
    "{power: {exponent: 1.5, first: 0.3}}",
    "{power: {exponent: -1.5, total: 1.1}}",
    "{base: {power: {exponent: 1.5, total: 1.1}}, last: 0.2, 0: 0.3}",
]


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        EXAMPLE,
        data("{sparsity: {base: 0.5, 0: 0.1}}"),
        *(data(f"{{feature_probability: {form}, importance: {form}}}") for form in FORMS),
        swept(f"data.importance: [{', '.join(FORMS)}]"),
    ],
)
def test_resolved_loads_again(text):
    experiment = load(text)
    again = load(strict_yaml.dumps(config.resolved(experiment)))
    assert config.hash8(again) == config.hash8(experiment)
    assert again.base == experiment.base
    assert again.axes == experiment.axes
    assert config.resolved(again) == config.resolved(experiment)


def test_schema_names_the_sections():
    schema = json.loads(json.dumps(config.json_schema()))
    assert {"name", "model", "data", "train", "sweep", "expect"} <= set(schema["properties"])


def test_schema_holds_every_form_of_a_vector():
    schema = config.json_schema()
    forms = {next(iter(d["properties"])): d for d in definitions(schema, vectors.FORMS.values())}
    assert set(forms) == set(vectors.FORMS)
    choices = [
        c["$ref"]
        for c in schema["$defs"]["DataSettings"]["properties"]["importance"]["oneOf"]
        if "$ref" in c
    ]
    assert {f"#/$defs/{form.__name__}" for form in vectors.FORMS.values()} < set(choices)
    for key in ("geometric", "power"):
        assert {"type": "number"} in forms[key]["properties"][key]["anyOf"]
    assert set(schema["$defs"]["Law"]["properties"]) == {"exponent", "first", "total"}
    assert set(schema["$defs"]["Progression"]["properties"]) == {"ratio", "start", "first"}


def test_schema_takes_what_is_written_short():
    """A list for an axis, and no key for a vector with exceptions that is one of a form."""
    defined = config.json_schema()["$defs"]
    axis = defined["Sweep"]["properties"]["parameters"]["additionalProperties"]["oneOf"]
    assert {"type": "array", "items": {}} in axis[0]["anyOf"]
    keys = re.compile(defined["Entries"]["propertyNames"]["pattern"])
    assert all(keys.search(key) for key in ("base", "first", "last", "0", "12"))
    assert not any(keys.search(key) for key in (*vectors.FORMS, "zipf", "-1", "1234567890"))


def definitions(schema, models):
    return [schema["$defs"][model.__name__] for model in models]


def test_configuration_needs_no_jax():
    code = "import sys, superposition_cli.config; raise SystemExit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_axis_items_agree_with_their_ends():
    form = load(swept("data.low: {linspace: {start: -0.7, stop: 0.1, num: 9}}")).sweep.parameters
    assert axes.item(form["data.low"], 8) == 0.1
    assert axes.length(form["data.low"]) == 9
    assert vectors.geometric_mean(0.3, 7.0, 5, 6) == 7.0

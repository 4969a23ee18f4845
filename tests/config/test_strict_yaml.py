"""The loader: YAML 1.2 scalars, positions, every problem at once, hostile texts."""

import pytest
from config_texts import within

from superposition_cli.config import strict_yaml
from superposition_cli.config.strict_yaml import Problems, dumps, read, value


def problems(text):
    """Every problem of a text as (line, column, message); it must be found within 2 s."""
    with pytest.raises(Problems) as caught, within(2):
        read(text)
    return [(p.line, p.column, p.message) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("10_000", 10000),
        ("1_0.5", 10.5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("+1.5e+3", 1500.0),
        ("0", 0),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("'3'", "3"),
        ('"true"', "true"),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
        ("!!int '3'", 3),
        *[(word, word) for word in ("yes", "no", "on", "off", "y", "0x1F", "0o17", "010", "12:30")],
        *[(word, word) for word in ("2024-01-01", "1__0", "1_", "_1", "1e", ".", "e5", "nan")],
    ],
)
def test_scalars(text, expected):
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_collections_and_positions():
    document = read("a: 1\nb:\n  - x\n  - {c: [1, 2]}\n")
    assert document.value == {"a": 1, "b": ["x", {"c": [1, 2]}]}
    assert document.positions == {
        (): (1, 1),
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", 0): (3, 5),
        ("b", 1): (4, 5),
        ("b", 1, "c"): (4, 6),
        ("b", 1, "c", 0): (4, 10),
        ("b", 1, "c", 1): (4, 13),
    }


def test_whole_number_keys_are_their_digits():
    assert value("{base: 1.0, 3: 2.0}") == {"base": 1.0, "3": 2.0}


def test_aliases_are_expanded():
    document = read("a: &x [1, 2]\nb: *x\n")
    assert document.value == {"a": [1, 2], "b": [1, 2]}
    assert document.positions["b", 1] == (1, 11)


def test_bytes_and_byte_order_mark():
    assert read(b"\xef\xbb\xbfa: \xc3\xa9").value == {"a": "é"}


def test_all_problems_at_once_with_path_and_structure():
    with pytest.raises(Problems) as caught:
        read("a: 1\nb: .inf\na: 2\nc: [x, !foo y]\ntrue: 1\n")
    found = [(p.line, p.column, p.path) for p in caught.value.problems]
    assert found == [(2, 4, ("b",)), (3, 1, ("a",)), (4, 8, ("c", 1)), (5, 1, ())]
    assert caught.value.document.value["a"] == 1
    assert "already given on line 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        (".inf", 1, 1, "finite"),
        ("a: -.INF", 1, 4, "finite"),
        ("a: .NaN", 1, 4, "finite"),
        ("a: 1e999", 1, 4, "too large"),
        ("a: " + "9" * 5000, 1, 4, "5,000 characters"),
        ("null: x", 1, 1, "key must be text"),
        ("1.5: x", 1, 1, "key must be text"),
        ("? [a]\n: x", 1, 3, "key must be text"),
        ("{{a: b}: c}", 1, 2, "key must be text"),
        ("a: &k b\n*k : c", 2, 1, "key must be text"),
        ("a: !!timestamp 2024-01-01", 1, 4, "tag"),
        ("a: !!binary aGk=", 1, 4, "tag"),
        ("a: !!set {b}", 1, 4, "tag"),
        ("a: !local b", 1, 4, "tag"),
        ("a: !!int x", 1, 4, "not of the tagged type"),
        ("%TAG ! tag:yaml.org,2002:python/\n---\n!name:os.system x", 3, 1, "tag"),
        ("a: 1\n---\nb: 2", 2, 1, "second document"),
        ("&a [*a]", 1, 5, "*a"),
        ("*x", 1, 1, "*x"),
        ("a: [1, 2", 1, 9, "not valid YAML"),
        ("a: b: c", 1, 5, "not valid YAML"),
        ("\ta: 1", 1, 1, "not valid YAML"),
        ("a: b\nc: \x00", 2, 4, "character"),
        (b"a: 1\nb: \xff", 2, 4, "UTF-8"),
        ('"\\UFFFFFFFF"', 1, 1, "not valid YAML"),
        ('"\\ud800"', 1, 1, "surrogate"),
        ("%YAML " + "9" * 5000 + ".1\n---\na", 1, 1, "not valid YAML"),
    ],
)
def test_refused(text, line, column, part):
    found = problems(text)
    assert found[0][:2] == (line, column)
    assert part in found[0][2]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 90))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[" * 100_000, "50 levels"),
        ("[\n" * 100_000, "50 levels"),
        ("- " * 100_000, "50 levels"),
        ("{a: " * 60_000, "50 levels"),
        ("? " * 100_000, "key must be text"),
        (CHAIN, "50 levels"),
        (BOMB, "20,000"),
        ("[" + "1," * 130_000 + "]", "20,000"),
        ("x" * 300_000, "256 KiB"),
        (b"x" * 300_000, "256 KiB"),
        ("é" * 140_000, "256 KiB"),
        ("a: " + "1" * 200_000, "200,000 characters"),
        ("---\n" * 60_000, "second document"),
        ("%TAG !a! b\n" * 20_000, "not valid YAML"),
        ("a: &b\n" * 30_000, "already given"),
    ],
    ids=lambda text: text[:8] if isinstance(text, str) else "bytes",
)
def test_hostile(text, part):
    assert part in problems(text)[0][2]


def test_depth_limit_is_exact():
    assert value("[" * 50 + "]" * 50) is not None
    assert "50 levels" in problems("[" * 51 + "]" * 51)[0][2]


def test_tags_run_nothing(tmp_path):
    witness = tmp_path / "witness"
    for tag in ("python/object/apply:os.system", "python/object/new:os.system"):
        found = problems(f"a: !!{tag} ['touch {witness}']\n")
        assert "tag" in found[0][2]
    problems(
        f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{witness}]]"
    )
    assert not witness.exists()


def test_value_follows_the_same_rules():
    assert value("[1, 1e-3]") == [1, 0.001]
    with pytest.raises(Problems):
        value(".nan")
    with pytest.raises(Problems):
        value("{a: 1, a: 2}")


@pytest.mark.parametrize(
    "word",
    [
        "on",
        "1e3",
        "yes",
        "~",
        "null",
        "a: b",
        "é",
        "1_0",
        ".inf",
        "x\ny",
        "010",
        "",
        "true",
        "0x1f",
        "<<",
    ],
)
def test_dumps_keeps_text(word):
    assert value(dumps({"k": word, "l": [word]})) == {"k": word, "l": [word]}


def test_dumps_keeps_numbers_and_collections():
    plain = {"a": [1, 1.0, 1e-5, 1e22, 0.1, True, None, [], {}], "b": {"c": [[1]]}}
    assert value(dumps(plain)) == plain
    assert strict_yaml.dumps(plain).startswith("a:")

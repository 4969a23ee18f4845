"""The house rules that a machine can hold: sizes, floors, and who may touch what."""

import ast
import functools
import re
import statistics
import subprocess
import sys

import pytest
from house import (
    FLOORS,
    FOLDER_FILES,
    FREE_FOLDERS,
    MODULES,
    ROOT,
    ROOT_FILES,
    folder_sizes,
    in_numbers,
)

FILE_LINES, FUNCTION_LINES, MEDIAN_LINES = 350, 45, 15
SHAPED = {"theory", "measures"}  # wings whose signatures say what shapes arrays have
ANY_PER_LINE = 6 / 1000
FORBIDDEN_CALLS = {"eval", "exec"}
WRITERS = {"write_text", "write_bytes", "touch", "mkdir", "rename", "unlink", "rmtree"}
# lax.scan: the one training loop; and what trains nothing: the mean over batches of fresh data,
# laws of many features built up one feature after the other.
SCANS = {"toy.train": 1, "toy.evaluate": 1, "theory.expansion": 2}


each_module = pytest.mark.parametrize("module", MODULES)


@functools.cache
def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def nodes(module, *kinds):
    return [node for node in ast.walk(tree(module)) if isinstance(node, kinds)]


def functions(module):
    return nodes(module, ast.FunctionDef, ast.AsyncFunctionDef)


def length(function):
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return function.end_lineno - first + 1


def floor_of(module):
    """The floor of a module, by its wing or its own name at the root."""
    wing = module.partition(".")[0]
    (floor,) = [number for number, names in enumerate(FLOORS) if wing in names.split()]
    return floor


def imported(module):
    """The modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in nodes(module, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{module}: relative import"
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in named:
            package, *rest = name.split(".")
            if package == "superposition_cli":
                found.add(_module_in(".".join(rest)))
    return found - {module}


def _module_in(dotted):
    """The longest beginning of a dotted name that is a module."""
    while dotted and dotted not in MODULES:
        dotted = dotted.rpartition(".")[0]
    return dotted or "__init__"


def calls(module):
    """(receiver, name, call) for every call: receiver is '' for a bare name."""
    for call in nodes(module, ast.Call):
        if isinstance(call.func, ast.Attribute):
            yield ast.unparse(call.func.value), call.func.attr, call
        elif isinstance(call.func, ast.Name):
            yield "", call.func.id, call


@each_module
def test_files_and_functions_are_short(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    assert not {one.name: length(one) for one in functions(module) if length(one) > FUNCTION_LINES}


def test_the_median_function_is_short():
    lengths = [length(one) for module in MODULES for one in functions(module)]
    assert statistics.median(lengths) < MEDIAN_LINES


def test_every_module_has_a_floor_and_every_name_a_module():
    listed = " ".join(FLOORS).split()
    assert len(listed) == len(set(listed))
    assert {module.partition(".")[0] for module in MODULES} == set(listed)


def test_folders_are_small_enough_to_know_by_heart():
    sizes = folder_sizes()
    assert sizes.pop("") <= ROOT_FILES
    assert {k: n for k, n in sizes.items() if n > FOLDER_FILES and k not in FREE_FOLDERS} == {}


def test_the_manual_shows_the_house_in_numbers():
    block = "\n".join(["```text", *in_numbers(), "```"])
    assert block in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@each_module
def test_imports_come_from_no_higher_floor(module):
    # The package's own __init__ gives the version to whoever asks; what it loads, it loads late.
    higher = {other for other in imported(module) if floor_of(other) > floor_of(module)}
    assert higher - {"__init__"} == set()


def test_types_are_seldom_left_open():
    texts = [path.read_text(encoding="utf-8") for path in MODULES.values()]
    lines = sum(text.count("\n") for text in texts)
    assert sum(len(re.findall(r"\bAny\b", text)) for text in texts) <= ANY_PER_LINE * lines


def test_imports_have_no_cycle():
    remaining = {module: imported(module) - {"__init__"} for module in MODULES}
    while free := [module for module, needs in remaining.items() if not needs & set(remaining)]:
        for module in free:
            del remaining[module]
    assert remaining == {}


@each_module
def test_only_the_commands_print_or_own_a_console(module):
    if module != "cli" and not module.startswith("commands"):
        assert {name for _, name, _ in calls(module)} & {"Console"} == set()
        assert not [one for one in calls(module) if one[:2] == ("", "print")]


def shapeless(annotation):
    """Whether an annotation is an array of any shape, or a tuple or list with one in it."""
    if isinstance(annotation, ast.Subscript):
        inside = ast.unparse(annotation.value) in {"tuple", "list"}
        return inside and any(map(shapeless, getattr(annotation.slice, "elts", [annotation.slice])))
    return ast.unparse(annotation) in {"Array", "jax.Array", "ArrayLike", "np.ndarray"}


@each_module
def test_arrays_in_signatures_have_shapes(module):
    # What a closure takes, JAX hands it: it is left to the function around it.
    outer = [node for node in tree(module).body if isinstance(node, ast.FunctionDef)]
    for function in outer if module.partition(".")[0] in SHAPED else ():
        arguments = [node for node in ast.walk(function.args) if isinstance(node, ast.arg)]
        annotations = [*(argument.annotation for argument in arguments), function.returns]
        assert not any(map(shapeless, annotations)), function.name


def mode_of(receiver, call):
    """How a call of open, bare or of a path, would open its file."""
    place = 0 if receiver else 1
    given = [word.value for word in call.keywords if word.arg == "mode"]
    given += call.args[place : place + 1]
    if not given:
        return "r"
    return given[0].value if isinstance(given[0], ast.Constant) else "unknown: w"


def is_writing(receiver, name, call):
    if receiver == "fsio":
        return False
    if name == "open" and receiver == "os":
        return ast.unparse(call.args[0]) != "os.devnull"
    if name == "open" and not receiver.endswith("Run"):  # Run.open reads a run folder
        return not {"w", "a", "x", "+"}.isdisjoint(mode_of(receiver, call))
    return bool(receiver) and name in WRITERS


@each_module
def test_only_fsio_writes(module):
    if module != "running.fsio":
        assert [ast.unparse(call) for *who, call in calls(module) if is_writing(*who, call)] == []


@each_module
def test_scans_are_counted(module):
    scans = [node for node in nodes(module, ast.Attribute) if node.attr == "scan"]
    imports = [alias.name for node in nodes(module, ast.ImportFrom) for alias in node.names]
    assert len(scans) == SCANS.get(module, 0)
    assert "scan" not in imports


PUBLIC = {"__version__", "_asdict", "_fields", "_make", "_replace"}  # whatever they look like


@each_module
def test_private_names_stay_in_their_module(module):
    froms = [node for node in nodes(module, ast.ImportFrom) if "superposition_cli" in node.module]
    names = {alias.asname or alias.name for node in froms for alias in node.names}
    used = [one for one in nodes(module, ast.Attribute) if ast.unparse(one.value) in names]
    private = {one.attr for one in used if one.attr.startswith("_")} - PUBLIC
    assert private | {name for name in names - PUBLIC if name.startswith("_")} == set()


@each_module
def test_keys_are_folded_with_a_named_use_or_an_index(module):
    """A constant here and one there may be the same number, so none outside `rng.Use`."""
    folds = [call for _, name, call in calls(module) if name == "fold_in"]
    partials = [call for _, name, call in calls(module) if name == "partial"]
    folds += [call for call in partials if ast.unparse(call.args[0]).endswith("fold_in")]
    given = [value for call in folds for value in [*call.args, *_values(call)]]
    bare = [ast.unparse(one) for one in given if isinstance(one, ast.Constant) or _is_upper(one)]
    assert bare == []


def _values(call):
    return [word.value for word in call.keywords]


def _is_upper(node):
    return isinstance(node, ast.Name) and node.id.isupper() and len(node.id) > 1


def public(body, prefix=""):
    """Public classes, functions, and the methods of public classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


@each_module
def test_public_things_begin_with_a_sentence(module):
    assert ast.get_docstring(tree(module))
    for name, node in public(tree(module).body):
        text = ast.get_docstring(node) or ""
        opening = " ".join(text.splitlines()[:2])
        assert re.search(r"[.:;]( |$)", opening), f"{module}.{name} has no opening sentence"


@functools.cache
def repository():
    """The files that are in the repository or about to be, without what git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.decode().split("\0") if (path := ROOT / name).is_file()]


def test_nothing_dangerous_is_called():
    for path in (path for path in repository() if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not _dangerous(node), f"{path}:{node.lineno}"


def _dangerous(node):
    if isinstance(node, ast.Import | ast.ImportFrom):
        named = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        return any("pickle" in name or name in {"dill", "joblib", "shelve"} for name in named)
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    allowing = [word.arg for word in node.keywords if ast.unparse(word.value) != "False"]
    return called in {*FORBIDDEN_CALLS, "yaml.load", "yaml.unsafe_load"} or (
        "allow_pickle" in allowing
    )


UNWANTED = {
    "a package registry": re.compile(
        r"\b(pypi|test\.pypi)\.org|pythonhosted\.org|npmjs\.(com|org)"
    ),
    "a path of one machine": re.compile(r"(?<![\w.$\]}])/(work|tmp|root|home)/"),
    "how the work is organised": re.compile(r"\bissue #?\d", re.IGNORECASE),
}


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_mentions(what):
    found = []
    for path in repository():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in UNWANTED[what].finditer(text)]
    assert found == []


@pytest.mark.parametrize("heavy", ["jax", "jaxtyping", "matplotlib", "jinja2", "pyarrow"])
def test_the_command_line_starts_without(heavy):
    program = f"import superposition_cli.cli, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0

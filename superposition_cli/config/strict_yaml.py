"""YAML made strict: bounded, without surprises, every problem with its line and column.

Scalars follow the core schema of YAML 1.2 without its hexadecimal and octal numbers, plus
underscores between digits: `1e-3` and `10_000` are numbers, only `true` and `false` are
booleans, `yes`, `0x1F`, `010`, `12:30` and `2024-01-01` are text. Nothing is constructed
but None, bool, int, float, str, list and dict, and the limits below are enforced on
parser events, before anything is built.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 50  # collections inside one another, aliases expanded
MAX_NODES = 20_000  # keys and values, aliases expanded
MAX_NUMBER = 100  # characters of a number

Path = tuple[str | int, ...]
Position = tuple[int, int]


class Problem(NamedTuple):
    """One thing wrong with a text: where (counted from 1), at which path, and what."""

    line: int
    column: int
    path: Path
    message: str


class Document(NamedTuple):
    """What a text says, and where each key or list item stands; `()` stands at (1, 1)."""

    value: object
    positions: dict[Path, Position]


class Unreadable:
    """Takes the place of a scalar that was refused, so that the rest can be checked too."""


class Problems(Exception):
    """Everything found wrong in one pass; `document` is there if the structure was sound."""

    def __init__(self, problems: list[Problem], document: Document | None = None) -> None:
        super().__init__("\n".join(f"{p.line}:{p.column} {p.message}" for p in problems))
        self.problems = problems
        self.document = document


def read(text: bytes | str) -> Document:
    """Read one YAML document; raise `Problems` with all that is wrong with it."""
    composer = _Composer(_decoded(text))
    root = composer.document()
    positions: dict[Path, Position] = {(): (1, 1)}
    document = Document(_expand(root, (), positions), positions)
    if composer.problems:
        raise Problems(composer.problems, document)
    return document


def value(text: str) -> object:
    """Read one value under the same rules, such as the right-hand side of `--set a.b=VALUE`."""
    return read(text).value


def dumps(value: object) -> str:
    """Write plain data as YAML text that `read` gives back unchanged."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """PyYAML's own writer, but text that `read` would take for a number is quoted."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        style = None if _reads_as_text(data) else "'"
        return self.represent_scalar(CORE + "str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def _reads_as_text(data: str) -> bool:
    try:
        return isinstance(_core(data), str)
    except ValueError:
        return False


def _decoded(text: bytes | str) -> str:
    size = len(text.encode("utf-8", "replace")) if isinstance(text, str) else len(text)
    if size > MAX_BYTES:
        _stop(1, 1, (), f"is over the limit of {MAX_BYTES // 1024} KiB")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - text.rfind(b"\n", 0, error.start)
        _stop(line, column, (), f"is not UTF-8 text (byte 0x{text[error.start]:02x})")


def _stop(line: int, column: int, path: Path, message: str) -> NoReturn:
    raise Problems([Problem(line, column, path, message)])


class _Node(NamedTuple):
    content: object  # a scalar, a list of nodes, or a dict of name to (position of key, node)
    position: Position
    size: int = 1  # nodes in it, itself included
    height: int = 0  # collections inside one another, itself included


def _expand(node: _Node, path: Path, positions: dict[Path, Position]) -> object:
    """Turn nodes into plain data, noting where each key and item stands."""
    if isinstance(node.content, list):
        children = [((*path, i), child.position, child) for i, child in enumerate(node.content)]
    elif isinstance(node.content, dict):
        children = [((*path, name), *entry) for name, entry in node.content.items()]
    else:
        return node.content
    positions.update((place, position) for place, position, _ in children)
    values = [_expand(child, place, positions) for place, _, child in children]
    return (
        values if isinstance(node.content, list) else dict(zip(node.content, values, strict=True))
    )


class _Composer:
    """Builds nodes from parser events, stopping at the first limit that is passed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Node] = {}
        self.nodes = 0
        self.position: Position = (1, 1)

    def document(self) -> _Node:
        """Return the root of the only document; an empty text is null."""
        self.next()
        if isinstance(self.next(), yaml.StreamEndEvent):
            return _Node(None, (1, 1))
        root = self.node(self.next(), ())
        self.next()
        if not isinstance(self.next(), yaml.StreamEndEvent):
            self.fatal((), "a second document starts here; a file holds one")
        return root

    def next(self) -> yaml.Event:
        """Return the parser's next event, its failures turned into problems."""
        try:
            event = next(self.events)
        except yaml.reader.ReaderError as error:
            before = self.text[: error.position]
            self.position = (before.count("\n") + 1, error.position - before.rfind("\n"))
            self.fatal((), f"the character {error.character:#06x} is not allowed in YAML")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.position = (mark.line + 1, mark.column + 1) if mark else self.position
            self.fatal((), f"this is not valid YAML: {error.problem or error.context}")
        except (yaml.YAMLError, ValueError, OverflowError):
            self.fatal((), "this is not valid YAML: an escape or number near here is impossible")
        start = event.start_mark
        self.position = (start.line + 1, start.column + 1) if start else self.position
        return event

    def fatal(self, path: Path, message: str) -> NoReturn:
        self.complain(path, message)
        raise Problems(self.problems) from None

    def complain(self, path: Path, message: str) -> None:
        self.problems.append(Problem(*self.position, path, message))

    def count(self, nodes: int, path: Path) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self.fatal(path, f"holds over {MAX_NODES:,} values once aliases are expanded")

    def descend(self, path: Path, height: int = 1) -> None:
        if len(path) + height > MAX_DEPTH:
            self.fatal(path[:3], f"is nested over {MAX_DEPTH} levels deep")

    def node(self, event: yaml.Event, path: Path) -> _Node:
        """Build the node that an event begins."""
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path)
        self.count(1, path)
        start, anchor = self.position, getattr(event, "anchor", None)
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(self.scalar(event, path), start)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(event, path)
        else:
            node = self.mapping(event, path)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def alias(self, event: yaml.AliasEvent, path: Path) -> _Node:
        node = self.anchors.get(str(event.anchor))
        if node is None:
            self.complain(path, f"*{event.anchor} stands for nothing that is complete before it")
            return _Node(Unreadable(), self.position)
        self.count(node.size, path)
        self.descend(path, node.height)
        return node._replace(position=self.position)

    def sequence(self, event: yaml.Event, path: Path) -> _Node:
        start = self.position
        self.descend(path)
        self.check_tag(event, "seq", path)
        items: list[_Node] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            items.append(self.node(event, (*path, len(items))))
        return _Node(items, start, 1 + sum(i.size for i in items), _height(items))

    def mapping(self, event: yaml.Event, path: Path) -> _Node:
        start = self.position
        self.descend(path)
        self.check_tag(event, "map", path)
        entries: dict[str, tuple[Position, _Node]] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            position, name = self.position, self.key(event, path)
            if name is None:
                self.node(self.next(), path)
                continue
            if name in entries:
                self.complain((*path, name), f"is already given on line {entries[name][0][0]}")
            child = self.node(self.next(), (*path, name))
            entries.setdefault(name, (position, child))
        nodes = [child for _, child in entries.values()]
        return _Node(entries, start, 1 + sum(1 + n.size for n in nodes), _height(nodes))

    def key(self, event: yaml.Event, path: Path) -> str | None:
        """Return the name a key is; a whole number counts as its digits."""
        count = len(self.problems)
        if not isinstance(event, yaml.ScalarEvent):
            self.fatal(path, "a key must be text")
        found = self.node(event, path).content
        if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
            return str(found)
        if not isinstance(found, str) and len(self.problems) == count:
            self.complain(path, f"a key must be text; write {_short(event.value)} in quotes")
        return found if isinstance(found, str) else None

    def scalar(self, event: yaml.ScalarEvent, path: Path) -> object:
        """Return what a scalar says; quoted or tagged `!!str`, it is text."""
        tag = event.tag
        try:
            if tag is not None and tag not in SCALAR_TAGS:
                raise ValueError(f"the tag {_short(tag)} is not allowed here")
            is_text = tag == CORE + "str" or (tag is None and not event.implicit[0])
            found = _text(event.value) if is_text else _core(event.value)
            if tag is None or isinstance(found, SCALAR_TAGS[tag]):
                return float(found) if tag == CORE + "float" else found
            raise ValueError(f"{_short(event.value)} is not of the tagged type {_short(tag)}")
        except ValueError as error:
            self.complain(path, str(error))
            return Unreadable()

    def check_tag(self, event: yaml.Event, own: str, path: Path) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag != CORE + own:
            self.complain(path, f"the tag {_short(tag)} is not allowed here")


def _height(nodes: list[_Node]) -> int:
    return 1 + max((node.height for node in nodes), default=0)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _text(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds half of a surrogate pair, which is not text")
    return text


def _core(text: str) -> Any:
    """Read a plain scalar; raise ValueError for numbers that are no use as settings."""
    if text in WORDS:
        return WORDS[text]
    if NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number")
    match = NUMBER.fullmatch(text)
    if match is None or not match["digits"]:
        return _text(text)
    if len(text) > MAX_NUMBER:
        raise ValueError(f"is a number of {len(text):,} characters; at most {MAX_NUMBER} are read")
    if match["point"] is None and match["power"] is None:
        return text if LEADING_ZERO.match(text) else int(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a floating-point number")
    return number


CORE = "tag:yaml.org,2002:"
SCALAR_TAGS: dict[str, type | tuple[type, ...]] = {
    CORE + "str": str,
    CORE + "int": int,
    CORE + "float": (int, float),
    CORE + "bool": bool,
    CORE + "null": type(None),
}
WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
NUMBER = re.compile(
    r"[-+]?(?=(?P<digits>\.?\d))?(?:\d+(?:_\d+)*)?(?P<point>\.\d*)?(?P<power>[eE][-+]?\d+)?"
)
LEADING_ZERO = re.compile(r"[-+]?0[\d_]")

"""One self-contained HTML page about a run, and the same as Markdown with figure files beside."""

import base64
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from superposition_cli.analyses import claims
from superposition_cli.report import labels, picker, show, style
from superposition_cli.report.content import Content
from superposition_cli.report.drawings import DRAWINGS
from superposition_cli.report.drawings.loss import loss
from superposition_cli.report.style import Drawing
from superposition_cli.running import fsio
from superposition_cli.version import __version__

TABLE_ROWS = 60
FILES = ("svg", "png")
LARGEST_SVG = 150_000  # bytes; a figure with more in it goes into the page as PNG
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#])")


class Picture(NamedTuple):
    """A drawing of a finding, rendered."""

    stem: str  # the name of its files, without the ending
    caption: str
    files: dict[str, bytes]  # by format

    @property
    def address(self) -> str:
        """The figure as a data address for the page."""
        kind = "svg" if len(self.files["svg"]) <= LARGEST_SVG else "png"
        media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
        return f"data:{media};base64,{base64.b64encode(self.files[kind]).decode()}"


def drawings(content: Content) -> dict[str, Drawing]:
    """Draw all figures of a run's findings, by analysis and name: "phase-classes".

    After them, under "loss", how training went.
    """
    with style.applied():
        found = {
            f"{analysis}-{one.name}": one
            for analysis, finding in content.findings.items()
            if analysis in DRAWINGS
            for one in DRAWINGS[analysis](finding, content.results)
        }
        trained = loss(content.results)
    return found | ({trained.name: trained} if trained else {})


def pictures(content: Content) -> list[Picture]:
    """Render all figures of a run's findings."""
    return [
        Picture(name, one.caption, {kind: style.render(one.figure, kind) for kind in FILES})
        for name, one in drawings(content).items()
    ]


def html(content: Content, figures: list[Picture]) -> str:
    """Return the page: nothing in it leads out of it, and it is readable without its script."""
    shown = picker.cells(content.results)
    script = template_text("picker.js") if shown["cells"] else ""
    return fill("page.html.j2", script, picker=shown, **_shared(content, figures))


def markdown(content: Content, figures: list[Picture]) -> str:
    """Return the report as Markdown; figures are the PNG files beside it."""
    return fill("report.md.j2", **_shared(content, figures))


def fill(template: str, script: str = "", **given: Any) -> str:
    """Fill a template in; a page gets its style, its script and the policy that allows them."""
    css = template_text("page.css")
    common = {
        "css": Markup(css),
        "script": Markup(script),
        "policy": policy(css, script),
        "shown": claims.shown,
        "version": __version__,
        "raw": Markup,
        "fenced": fenced,
    }
    kind = "md" if template.endswith(".md.j2") else "html"
    return environment(kind).get_template(template).render(**common, **given)


def policy(css: str, script: str) -> str:
    """Return the page's Content-Security-Policy: its own style and script, no network."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script)
    )
    return (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def write(content: Content, kinds: tuple[str, ...] = ("html", "md")) -> Path:
    """Write the report into the run folder; return the page, or the first that was asked for.

    Figures of an earlier report that are no longer drawn are removed.
    """
    folder = fsio.make_folder(content.results.run.path / "report")
    figures = pictures(content)
    files = {f"{one.stem}.{kind}": data for one in figures for kind, data in one.files.items()}
    texts = {"html": ("index.html", html), "md": ("report.md", markdown)}
    for kind in kinds:
        name, make = texts[kind]
        files[name] = make(content, figures).encode()
    for name, data in files.items():
        fsio.write_bytes(folder / name, data)
    for old in folder.iterdir():
        if old.suffix in (".png", ".svg") and old.name not in files:
            fsio.remove(old)
    return folder / texts[kinds[0]][0]


def template_text(name: str) -> str:
    """Return a file of the templates as text."""
    return (
        resources.files("superposition_cli.report").joinpath("templates", name).read_text("utf-8")
    )


def environment(kind: str = "html") -> jinja2.Environment:
    """Return the template engine for a format: every value is escaped, and of one line's text."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(template_text),
        autoescape=kind == "html",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_harmless if kind == "html" else _escaped,
    )


def _harmless(value: object) -> object:
    """Take control characters out of text from outside."""
    return labels.plain(value) if type(value) is str else value


def _escaped(value: object) -> object:
    """Keep text from outside from being read as Markdown or HTML."""
    return MARKDOWN.sub(r"\\\1", labels.plain(value)) if type(value) is str else value


def _shared(content: Content, figures: list[Picture]) -> dict[str, Any]:
    """What the page and the Markdown are given."""
    return {
        "content": content,
        "figures": figures,
        "rows": cells_table(content),
    }


def fenced(text: str, language: str) -> Markup:
    """Return a Markdown block of code that nothing in the text can end."""
    ticks = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return Markup(f"{fence}{language}\n{labels.plain(text).rstrip()}\n{fence}")


def cells_table(content: Content) -> dict[str, Any]:
    """Return the first cells with their main values: columns, rows, and how many are left out."""
    table = show.read(content.results.run.path, TABLE_ROWS)
    columns = show.columns_of(table)
    return {
        "columns": [labels.heading(name) for name in columns],
        "rows": [[labels.with_spread(row, name) for name in columns] for row in table.rows],
        "left_out": table.total - len(table.rows),
    }

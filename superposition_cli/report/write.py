"""What `sp report` and `sp plot` do: gather, write, and say what was found."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import RenderableType

from superposition_cli import analyses
from superposition_cli.config.complaints import hint
from superposition_cli.errors import InvalidInput
from superposition_cli.report import compare, content, page, style, summary
from superposition_cli.report.content import Content
from superposition_cli.running import fsio
from superposition_cli.running.folder import locate
from superposition_cli.running.results import Results


def report(
    names: Sequence[str],
    runs_dir: Path,
    formats: str = "html,md",
    again: bool = False,
    asked: tuple[str, ...] = (),
) -> tuple[Path, RenderableType]:
    """Write the reports of runs; return the page to open, and what a terminal shows.

    asked: analyses beside those that the configurations want.
    Several runs are compared as well, in a page in the report folder of the first.
    """
    kinds = tuple(dict.fromkeys(word.strip() for word in formats.split(",")))
    if unknown := [kind for kind in kinds if kind not in ("html", "md")]:
        raise InvalidInput(f"--format {unknown[0]}: there are html and md")
    paths = [locate(name, runs_dir) for name in names]
    gathered = [_gathered(path, again, asked) for path in paths]
    written = [page.write(one, kinds) for one in gathered]
    if len(gathered) == 1:
        return written[0], summary.view(gathered[0])
    return compare.write(gathered, kinds), compare.view(gathered)


def _gathered(path: Path, again: bool, asked: tuple[str, ...]) -> Content:
    results = Results(path)
    if again:
        analyses.analyze(results, analyses.wanted(results.plan.experiment), again=True)
    analyses.analyze(results, asked, again)
    return content.gather(results)


def plot(name: str, runs_dir: Path, figure: str, output: Path | None) -> str:
    """Draw one figure into a file and return the file's path; without a name, all names."""
    results = Results(locate(name, runs_dir))
    if (question := figure.split("-")[0]) in analyses.ANALYSES:
        analyses.analyze(results, (question,))
    drawn = page.drawings(content.gather(results))
    if not drawn:
        raise InvalidInput(f"{results.run.path}: has no figures: no steps, and nothing asked of it")
    if not figure:
        return "\n".join(drawn)
    if figure not in drawn:
        raise InvalidInput(
            f"{figure}: is no figure of this run{hint(figure, drawn)}; there are {', '.join(drawn)}"
        )
    target = output or Path(f"{figure}.png")
    kind = target.suffix.removeprefix(".").lower()
    if kind not in style.FORMATS:
        raise InvalidInput(f"-o {target}: needs a name that ends in .png, .svg or .pdf")
    fsio.write_bytes(target, style.render(drawn[figure].figure, kind))
    return str(target)

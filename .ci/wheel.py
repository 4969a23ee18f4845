"""Build the wheel, install it into an empty environment and use it there.

`make wheel-check` runs it, from any folder. All that it makes is in a temporary folder that it
removes; what pip and `sp` print is shown where they fail.
"""

import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "superposition_cli"
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
CLONE = {"PYTHONPATH", "PYTHONHOME", "SP_RUNS_DIR"}  # would lead back to the clone or its runs
ORIGIN = "import superposition_cli as s; print(s.__version__, s.__file__)"


def run(*command: str | Path, folder: Path) -> str:
    """Return what a command prints, run in a folder; where it fails, say so and end."""
    env = {name: value for name, value in os.environ.items() if name not in CLONE}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        words = " ".join(map(str, command))
        sys.exit(f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def build(folder: Path) -> Path:
    """Build the wheel of the clone into a folder."""
    run(*PIP, "wheel", ROOT, "--no-deps", "--wheel-dir", folder, folder=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def expected() -> set[str]:
    """Return what a wheel holds beside its metadata: the package and the configurations."""
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    configs = {f"{PACKAGE.name}/configs/{path.name}" for path in ROOT.glob("configs/*.yaml")}
    return {path.relative_to(ROOT).as_posix() for path in files} | configs


def check_contents(wheel: Path) -> int:
    """Hold the files of a wheel against the clone's and return how many there are."""
    names = zipfile.ZipFile(wheel).namelist()
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    surplus, missing = set(names) - metadata - expected(), expected() - set(names)
    if surplus or missing:
        sys.exit(f"{wheel.name}: surplus {sorted(surplus)}, missing {sorted(missing)}")
    if not any(name.endswith("/licenses/LICENSE") for name in metadata):
        sys.exit(f"{wheel.name}: holds no LICENSE")
    return len(names)


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel with the pinned versions into a new environment; return its programs."""
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    pinned = ("-c", ROOT / "constraints.txt")
    run(*PIP, "--python", programs / "python", "install", *pinned, wheel, folder=folder)
    return programs


def use(programs: Path, version: str, desk: Path) -> None:
    """Train a shipped configuration and report it, away from the clone."""
    stated, _, file = run(programs / "python", "-c", ORIGIN, folder=desk).partition(" ")
    package = Path(file).parent
    if stated != version or programs.parent not in package.parents:
        sys.exit(f"version {version} was installed, and {stated} was imported from {package}")
    if not (package / "py.typed").is_file():
        sys.exit(f"{package}: holds no py.typed, so that its types are not seen")
    trained = run(programs / "sp", "sweep", "smoke", "--quiet", folder=desk)
    run(programs / "sp", "report", trained, folder=desk)
    if not (desk / trained / "report" / "index.html").is_file():
        sys.exit(f"{trained}: sp report wrote no page")


def main() -> None:
    """Build, look, install, use; one line when all is well."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        desk = root / "desk"
        desk.mkdir()
        wheel = build(root)
        count, version = check_contents(wheel), wheel.name.split("-")[1]
        use(install(wheel, root / "env"), version, desk)
        seconds = time.monotonic() - began
        print(
            f"{wheel.name}: {count} files; installed alone, swept and reported in {seconds:.0f} s"
        )


if __name__ == "__main__":
    main()

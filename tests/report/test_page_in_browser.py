"""The page as headless Chromium shows it; skipped where there is none."""

import json
import re
import shutil
import subprocess

import helpers
import pytest

from superposition_cli.report import content, page
from superposition_cli.running.results import Results

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--hide-scrollbars",
]
HOSTILE = '<script>document.title="run"</script><img src=http://example.invalid/x>'
CLAIM = "{id: A1, finding: cells.cells, equals: 3, claim: " + json.dumps(HOSTILE) + "}"
PROBE = """\
const slider = document.querySelector("#pick input");
slider.value = 2;
slider.dispatchEvent(new Event("input"));
const seen = {
  about: document.getElementById("about").textContent,
  step: document.querySelector("#pick output").textContent,
  arrows: document.querySelectorAll("#view-directions line").length,
  bars: document.querySelectorAll("#view-norms rect").length,
  width: document.documentElement.scrollWidth,
  ground: getComputedStyle(document.body).backgroundColor,
  title: document.title,
};
document.documentElement.setAttribute("data-seen", JSON.stringify(seen));
"""


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "run"
    helpers.trained(path, helpers.TINY + f"expect: [{CLAIM}]\n")
    one = content.gather(Results(path))
    return page.html(one, page.pictures(one)), one


def shown(folder, html, *switches):
    """What the document has become, what was logged, and the requests that left the machine."""
    file, log = folder / "page.html", folder / "net.json"
    file.write_text(html)
    command = [BROWSER, *SWITCHES, f"--user-data-dir={folder / 'profile'}"]
    command += [f"--log-net-log={log}", *switches, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    requests = re.findall(r"https?://[^\"\\]+", log.read_text()) if log.is_file() else []
    return done.stdout, console, requests


def probed(folder, html, *switches, probe=PROBE):
    """What a script added to the page sees; the page's own policy would not let it run."""
    opened = re.sub(r"<meta http-equiv[^>]*>", "", html)
    added = opened.replace("</body>", f"<script>{probe}</script></body>")
    dom, console, _ = shown(folder, added, *switches)
    assert console == []
    written = re.search(r'data-seen="([^"]*)"', dom).group(1)
    return json.loads(written.replace("&quot;", '"'))


def test_the_page_runs_its_own_script_only_and_asks_nobody(html, tmp_path):
    text, one = html
    dom, console, requests = shown(tmp_path, text)
    assert console == []
    assert [address for address in requests if "example.invalid" in address] == []
    assert f"<title>{one.title}</title>" in dom
    assert re.search(r'id="about"[^>]*>model \d+: loss', dom)


def test_the_picker_shows_the_cell_that_is_chosen(html, tmp_path):
    text, one = html
    seen = probed(tmp_path, text)
    chosen = int(one.results.cells["selected_model"][2])
    assert seen["about"].startswith(f"model {chosen}: loss ")
    assert (seen["step"], seen["arrows"], seen["bars"]) == ("0.05", 5, 5)
    assert seen["title"] == one.title


def test_the_page_fits_375_pixels(html, tmp_path):
    # A headless window is at least 500 pixels wide, so the page itself is made narrow.
    narrow = html[0].replace("</head>", "<style>html { width: 375px }</style></head>")
    probe = PROBE.replace("document.documentElement.scrollWidth", WIDEST)
    assert 300 < probed(tmp_path, narrow, probe=probe)["width"] <= 375


# the right edge of what is not inside a box that scrolls by itself
WIDEST = """Math.max(...[...document.querySelectorAll("main *, header *")]
    .filter((one) => !one.parentElement.closest(".scroll, pre, svg"))
    .map((one) => one.getBoundingClientRect().right))"""


@pytest.mark.parametrize(
    ("scheme", "ground"), [(1, "rgb(251, 251, 250)"), (0, "rgb(22, 24, 26)")], ids=["light", "dark"]
)
def test_colours_follow_the_reader(html, tmp_path, scheme, ground):
    seen = probed(tmp_path, html[0], f"--blink-settings=preferredColorScheme={scheme}")
    assert seen["ground"] == ground

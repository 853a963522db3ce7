"""The pictures of Prefect's pages in docs/watching.md and docs/service.md, in the machine's own Chromium.

    python -m benchmarks.prefect_pages [--out docs/pictures]

Starts a service of its own in a folder of its own, runs `regenerate` some nights, `verify-all` and
`simulate-and-train` on it, looks at the pages and ends everything. Takes ten minutes, most of them for runs.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from ruamel.yaml import YAML

from benchmarks.pages import ARGUMENTS

ROOT = Path(__file__).resolve().parents[1]
VIEW = {"width": 1300, "height": 820}
# a page with a picture and a table below it
TALL = {"width": 1300, "height": 1240}
# for a table that would be cut
WIDE = {"width": 1500, "height": 820}
# with what is around it
INTO_VIEW = "one => { one.style.scrollMarginTop = '30px'; one.scrollIntoView() }"
SMALLER = 0.8
DRAW_SECONDS, RUN_SECONDS = 120, 1800
RECIPE, EXPERIMENT = "tiny", "classify_tiny"
# enough for a trend, of versions that are trained on in seconds
NIGHTS, SAMPLES = 3, 200
MOST_BYTES = 300_000
ATTEMPTS, FAILED = 3, subprocess.CalledProcessError


@dataclass(frozen=True)
class Service:
    """A service that is up."""

    address: str
    user: str

    def ask(self, path: str, body: Any) -> Any:
        """The answer of its API to a POST."""
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {self.secret}"}
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            f"{self.address}/api{path}", json.dumps(body).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    @property
    def secret(self) -> str:
        """User and password as browsers send and keep them."""
        return base64.b64encode(self.user.encode()).decode()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Service]:
    """A service in a state folder of its own, with finished runs, for as long as the block lasts."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = own | {
        "LENSMILL_HOME": str(folder / "home"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }

    def lensmill(*words: str) -> None:
        command = [sys.executable, "-m", "flows.cli", *words]
        subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=RUN_SECONDS)

    try:
        # another service of this machine may take the port while this one starts
        for attempt in range(ATTEMPTS):
            with contextlib.nullcontext() if attempt == ATTEMPTS - 1 else contextlib.suppress(FAILED):
                lensmill("up")
                break
        record = json.loads((folder / "home" / "service.json").read_text())
        user = (folder / "home" / "prefect" / "auth").read_text()
        for deployment, parameters in runs(folder):
            given = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
            words = [word for one in given for word in ("--param", one)]
            lensmill("deployment", "run", deployment, *words, "--watch")
        yield Service(record["address"].removesuffix("/api"), user)
    finally:
        lensmill("down")


def runs(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Deployments and parameters, one after the other; the pages of the last run are looked at."""
    whole = {"recipe": RECIPE, "experiments": [EXPERIMENT]}
    night = whole | {"folder": str(folder / RECIPE), "overrides": [f"samples_per_class={SAMPLES}"]}
    for _ in range(NIGHTS):
        yield "regenerate", night
    yield "verify-all", {"folder": str(folder / RECIPE)}
    yield "simulate-and-train", whole | {"out": str(folder / "first")}


def views(service: Service) -> dict[str, tuple[str, Callable[[Any], None]]]:
    """Name of the picture -> path of the page, and what to do there first."""
    ended = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}, "sort": "START_TIME_DESC"}
    runs = service.ask("/flow_runs/filter", ended)
    whole = next(run for run in runs if run["deployment_id"])
    inner = [run for run in runs if run["parent_task_run_id"]]
    deployments = service.ask("/deployments/filter", {})
    form = next(one for one in deployments if one["name"] == "simulate-and-train")
    shown = {one["key"]: one for one in service.ask("/artifacts/latest/filter", {})}
    made, trend = shown[f"dataset-{RECIPE}"], shown[f"trend-{EXPERIMENT.replace('_', '-')}"]
    simulated = next(run for run in inner if run["id"] == made["flow_run_id"])
    return {
        "prefect_run": (f"/runs/flow-run/{whole['id']}", _wait),
        "prefect_log": (f"/runs/flow-run/{simulated['id']}", _log),
        "prefect_artifacts": ("/artifacts", _wait),
        "prefect_data_set": (f"/artifacts/artifact/{made['latest_id']}", _whole),
        "prefect_trend": (f"/artifacts/artifact/{trend['latest_id']}", _wide),
        "prefect_deployments": ("/deployments", _deployments),
        "prefect_form": (f"/deployments/deployment/{form['id']}/run", _wait),
    }


def _wait(page: Any) -> None:
    page.wait_for_load_state("networkidle")
    # fonts, charts and pictures inside of texts
    page.wait_for_timeout(3000)


def _whole(page: Any) -> None:
    page.set_viewport_size(TALL)
    _wait(page)


def _wide(page: Any) -> None:
    page.set_viewport_size(WIDE)
    _wait(page)


def _deployments(page: Any) -> None:
    count = len(YAML(typ="safe", pure=True).load(ROOT / "prefect.yaml")["deployments"])
    page.get_by_text(f"{count} Deployments").wait_for()
    _wait(page)


def _log(page: Any) -> None:
    page.get_by_text("worker 0: ready").first.wait_for()
    page.get_by_text("images/s").first.wait_for()
    _wait(page)
    page.get_by_text("Oldest to newest").first.evaluate(INTO_VIEW)
    page.wait_for_timeout(1000)


def draw(service: Service, out: Path) -> None:
    """All pictures, each in 256 colours."""
    keep = f"localStorage.setItem('prefect-password', {json.dumps(service.secret)})"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        context = browser.new_context(viewport=VIEW)
        context.add_init_script(keep)
        context.set_default_timeout(1000 * DRAW_SECONDS)
        for name, (path, prepare) in views(service).items():
            page = context.new_page()
            page.goto(service.address + path)
            prepare(page)
            _save(page.screenshot(), out / f"{name}.png")
            page.close()
        browser.close()


def _save(picture: bytes, path: Path) -> None:
    found = Image.open(io.BytesIO(picture)).convert("RGB")
    size = (round(found.width * SMALLER), round(found.height * SMALLER))
    smaller = found.resize(size, Image.Resampling.LANCZOS).quantize(256, dither=Image.Dither.NONE)
    smaller.save(path, optimize=True)
    print(f"wrote {path}, {path.stat().st_size / 1e3:.0f} kB")
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} is too large for the repository")


def main(arguments: list[str] | None = None) -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.prefect_pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures", help="folder of the pictures")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as service:
        draw(service, options.out)


if __name__ == "__main__":
    main()

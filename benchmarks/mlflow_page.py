"""The picture of MLflow in docs/training.md: its page of two trainings, in the machine's own Chromium.

    lensmill simulate tiny --out tiny.zarr --set samples_per_class=200
    lensmill train classify_tiny --data tiny.zarr --out runs/one --mlflow mlflow.db
    lensmill train classify_tiny --data tiny.zarr --out runs/two --mlflow mlflow.db \\
        --set optimiser.learning_rate=5e-3
    python -m venv mlflow-page && mlflow-page/bin/pip install mlflow
    python -m benchmarks.mlflow_page mlflow.db --mlflow mlflow-page/bin/mlflow --out docs/pictures/mlflow.png

The full package is not among ours: it has an environment of its own.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.pages import ARGUMENTS

ROOT = Path(__file__).resolve().parents[1]
VIEW = {"width": 1400, "height": 660}
SMALLER = 0.8
# a busy machine takes minutes to bring the server up
START_SECONDS, DRAW_SECONDS, END_SECONDS = 240, 180, 20
CURVES = "#/experiments/1/runs?compareRunsMode=CHART&workflowType=machine_learning"
SHOWN = "loss|learning_rate"


@contextlib.contextmanager
def served(mlflow: Path, database: Path) -> Iterator[str]:
    """The address of MLflow's page of a database, for as long as the block lasts."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    source = f"sqlite:///{database.absolute()}"
    command = [mlflow.absolute(), "ui", "--backend-store-uri", source, "--port", str(port), "--workers", "1"]
    with tempfile.TemporaryDirectory() as folder:
        # the server starts others, which end with its group
        server = subprocess.Popen(command, cwd=folder, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/health", server)
            yield address
        finally:
            _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    for last in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, last)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(END_SECONDS)


def _wait_for(address: str, server: "subprocess.Popen[bytes]") -> None:
    last = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < last:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - our own loopback address
            return
        time.sleep(0.5)
    raise SystemExit("MLflow's page did not come up")


def view(address: str) -> Image.Image:
    """The curves of all runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport=VIEW)
        page.set_default_timeout(1000 * DRAW_SECONDS)
        page.goto(f"{address}/{CURVES}")
        page.wait_for_selector(".js-plotly-plot .scatterlayer .trace")
        _clear(page)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    size = (round(picture.width * SMALLER), round(picture.height * SMALLER))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _clear(page: Any) -> None:
    """Put aside what is not about trainings, and let the curves take the room."""
    close = page.get_by_role("button", name="Close")
    if close.count():
        close.first.click()
    page.get_by_placeholder("Search metric charts").fill(SHOWN)
    # until the plots have been drawn again at their new width
    page.wait_for_timeout(6000)


def main(arguments: list[str] | None = None) -> None:
    """Draw the page of the file that was named."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mlflow_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("database", type=Path, help="the file that --mlflow named")
    parser.add_argument("--mlflow", type=Path, required=True, help="the command of the full package")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "mlflow.png")
    options = parser.parse_args(arguments)
    if not options.database.is_file():
        raise SystemExit(f"{options.database} is no file; train with --mlflow {options.database} first")
    with served(options.mlflow, options.database) as address:
        picture = view(address)
    picture.quantize(256, dither=Image.Dither.NONE).save(options.out, optimize=True)
    print(f"wrote {options.out}, {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

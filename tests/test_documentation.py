"""The documents' commands exist and their Python runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from typer.main import get_command

from flows.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(page.read_text()) if name == language]


COMMANDS = [
    (page.name, line.split("#")[0].strip())
    for page in PAGES
    for block in _blocks(page, "bash")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("lensmill ")
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_of_the_documents_are_understood(page: str, line: str) -> None:
    command, words = get_command(app), shlex.split(line)[1:]
    # parsed down to the last subcommand, without running it
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, words, resilient_parsing=False)


def test_the_readme_has_commands() -> None:
    assert len([line for page, line in COMMANDS if page == "README.md"]) >= 4


EXECUTED = ("data_format.md", "data_set_page.md", "importing.md", "quickstart.md", "reading.md")
PYTHON = [(page.name, block) for page in PAGES for block in _blocks(page, "python") if page.name in EXECUTED]


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_of_the_documents_runs(
    page: str, block: str, sound_store: Any, sound_product_store: Any, format_store: Any, tmp_path: Path
) -> None:
    (tmp_path / "tiny.zarr").symlink_to(sound_store.root)
    (tmp_path / "products.zarr").symlink_to(sound_product_store.root)
    if "h5store" in block or "archive.zarr" in block:
        (tmp_path / "tiny.h5store").symlink_to(format_store("hdf5", "float32").root)
        (tmp_path / "archive.zarr").symlink_to(format_store("zarr", "archive").root)
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr

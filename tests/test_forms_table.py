"""What docs/service.md says of the deployments, and the script that writes it."""

import subprocess
import sys
from pathlib import Path

from benchmarks import forms

ROOT = Path(__file__).parent.parent


def test_the_page_says_what_the_forms_ask_for() -> None:
    shown = forms.PAGE.read_text().split(forms.START)[1].split(forms.END)[0]
    assert shown.strip() == forms.forms().strip(), "python -m benchmarks.forms"


def test_it_can_be_run_by_its_path_and_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "forms.py"), "--help"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "python -m benchmarks.forms" in done.stdout


def test_sections_are_written_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"a\n{forms.START}\nold\n{forms.END}\nb\n")
    forms.main(["--docs", str(page)])
    text = page.read_text()
    assert text.startswith(f"a\n{forms.START}\n\n### simulate\n")
    assert text.endswith(f"|\n\n{forms.END}\nb\n")
    assert "| `workers` | a whole number from 1 to 10,000 or nothing |" in text
    assert "Schedule: `0 3 * * *` UTC." in text

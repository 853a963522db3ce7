"""What takes long is said, what does not is not."""

import time

import pytest

from flows.telling import progress
from flows.telling.progress import patience, progress_bar


@pytest.mark.parametrize(
    ("seconds", "quiet", "said"), [(0.0, False, ""), (0.3, False, "compiling\n"), (0.3, True, "")]
)
def test_only_what_takes_a_while_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    quiet: bool,
    said: str,
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.1)
    with patience("compiling", quiet):
        time.sleep(seconds)
    assert capsys.readouterr().err == said


def test_a_line_without_a_rate_ends_where_its_words_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress_bar("verifying", 1000, "shards") as report:
        report(2)
    assert capsys.readouterr().err == "verifying: 2 of 1,000 shards\n"


def test_nothing_is_said_of_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(ValueError, match="broken"), patience("compiling"):
        raise ValueError("broken")
    time.sleep(0.2)
    assert capsys.readouterr().err == ""

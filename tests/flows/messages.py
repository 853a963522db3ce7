"""What every refusal of the command has in common."""

from typing import Any


def one_message(said: Any, code: int) -> str:
    """The message, after checking that it is one and no traceback."""
    assert said.code == code, said
    text = str(said.err)
    assert text.count("error:") == 1, text
    assert text.startswith("error: "), text
    # one refusal, not one inside another
    assert text.count("  to do:") <= 1, text
    assert "Traceback" not in text + said.out
    assert said.out == ""
    return text

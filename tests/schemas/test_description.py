"""A description in a line."""

import pytest

from schemas.description import purpose


@pytest.mark.parametrize(
    ("description", "line"),
    [
        ("For tests. All of it.\nMore of it.\n", "For tests. All of it."),
        ("For eight parameters:\n  e1, e2.\nMore.", "For eight parameters: e1, e2."),
        ("\nWithout an end\n\nAnother paragraph.", "Without an end"),
        ("Why?\nSo.", "Why?"),
        ("", ""),
        (" \n\n ", ""),
    ],
)
def test_the_lines_up_to_the_end_of_a_sentence(description: str, line: str) -> None:
    assert purpose(description) == line

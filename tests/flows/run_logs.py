"""What flows say, for tests that run without Prefect."""


class RunLog:
    """The log of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, text: str, *values: object) -> None:
        self.lines.append(text % values)

    info = warning = _say

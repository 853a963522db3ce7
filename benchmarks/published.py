"""DeepLenseSim as published, timed in an interpreter of its own; nothing of it is in this repository.

It wants old versions of lenstronomy and pyHalo, so it runs as a child that is told how many images to make
and answers with the seconds.
"""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

WORKER = Path(__file__).with_name("published_worker.py")


class Published:
    """A child process that makes images of one model and class the published way."""

    def __init__(self, python: Path, paths: str, group: str, class_name: str, shortened: bool) -> None:
        command = [str(python), "-W", "ignore", str(WORKER), group, class_name, str(int(shortened))]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def seconds(self, images: int) -> float:
        """How long so many images took there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{images}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"the published simulator ended with {self.process.wait()}; see its error above"
            )
        return float(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

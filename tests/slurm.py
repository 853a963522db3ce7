"""As much of SLURM as sending, listing and cancelling takes: jobs are processes of this machine."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

HEAD = "#!/bin/bash\nhere={folder}\n"
COMMANDS = {
    # a file `refuse` is what the next job is refused with
    "sbatch": """
[ -f $here/refuse ] && { cat $here/refuse >&2; exit 1; }
number=1
until mkdir $here/$number 2>/dev/null; do number=$((number + 1)); done
cp "$1" $here/$number/job.sh
logs() { sed -n "s/^#SBATCH -$1 //p" $here/$number/job.sh | sed "s/%J/$number/"; }
setsid bash $here/$number/job.sh >"$(logs o)" 2>"$(logs e)" </dev/null &
echo $! >$here/$number/pid
echo "Submitted batch job $number"
""",
    "squeue": """
for job in $here/*/; do
  state=$(sed 's/.*) //' /proc/$(cat $job/pid)/stat 2>/dev/null | cut -c 1)
  [ -n "$state" ] && [ "$state" != Z ] && basename $job
done
exit 0
""",
    "scancel": """
kill -TERM -- -$(cat $here/$1/pid) 2>/dev/null
exit 0
""",
}


@dataclass(frozen=True)
class SlurmHere:
    """The commands in a folder for PATH, and what was sent."""

    folder: Path

    @property
    def commands(self) -> Path:
        """To be put first in PATH."""
        return self.folder / "bin"

    def install(self) -> None:
        """Write the commands."""
        self.commands.mkdir(parents=True)
        for name, body in COMMANDS.items():
            path = self.commands / name
            path.write_text(HEAD.format(folder=self.folder / "jobs") + body)
            path.chmod(0o755)
        (self.folder / "jobs").mkdir()

    def scripts(self) -> list[str]:
        """Of all jobs that were sent, in their order."""
        sent = sorted((self.folder / "jobs").glob("*/job.sh"), key=lambda path: int(path.parent.name))
        return [path.read_text() for path in sent]

    def refuse(self, reason: str) -> None:
        """Refuse all jobs from now on."""
        (self.folder / "jobs" / "refuse").write_text(reason)

    def kill(self, number: int) -> None:
        """End a job as a node does that goes down."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((self.folder / "jobs" / str(number) / "pid").read_text()), signal.SIGKILL)

    def end(self) -> None:
        """Whatever happened, nothing stays."""
        for path in (self.folder / "jobs").glob("*/pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.killpg(int(path.read_text()), signal.SIGKILL)

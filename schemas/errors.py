"""Every error lensmill raises on purpose.

::

    LensmillError
    ├── RecipeError (ValueError)            a recipe cannot be read or says something impossible
    ├── UnknownNameError (LookupError)      a recipe, kind, engine or column that nobody registered
    ├── ColumnError (ValueError)            simulated or stored values break the column specification
    ├── StoreError (RuntimeError)           a store cannot be used as asked
    │   ├── StoreMissingError               nothing there, or not a lensmill store
    │   ├── StoreUnreachableError           its server does not answer, or does not let us in
    │   ├── StoreConflictError              the store belongs to another recipe, version or layout
    │   │   └── StoreTakenError             so it is no place for what was to be written there
    │   ├── StoreUnfinishedError            no commit marker
    │   ├── StoreDamagedError               bytes differ from what was committed
    │   └── StoreBusyError                  another process is writing it
    ├── RunError (RuntimeError)             a run folder cannot be used as asked
    │   └── RunMissingError                 nothing there, or not the folder of a run
    ├── DataError (ValueError)              data do not fit the experiment, the model or the run
    ├── LeakError (RuntimeError)            a data set gives its labels away by more than the substructure
    ├── ResourceError (MemoryError)         this machine has too little memory for what was asked
    ├── WriteError (OSError)                a path cannot be written, or the disk is too small
    │   ├── WriteUnreachableError (ConnectionError)   its server does not answer, or does not let us in
    │   └── PlaceError                      the path was a bad choice: its name, its folder, what is there
    └── FlowError (RuntimeError)            shards or services failed
        ├── ShardError                      work on these shards failed, which says nothing of others
        │   └── SampleError                 a sample in them cannot be made, whoever tries and however often
        └── ClusterLostError (ConnectionError)   the scheduler, or all workers, went away during the work

Each message answers four questions: what was found, what was expected, where, and what to do.
`is_bad_input` says that what was given is wrong, not that the work failed; exit codes tell these apart.
What is odd but allowed is a `RecipeWarning` (UserWarning); the command tells it once.
Workers send errors home through pickle, so each class can be rebuilt from its four fields.
"""

from typing import ClassVar

__all__ = [
    "ClusterLostError",
    "ColumnError",
    "DataError",
    "FlowError",
    "LeakError",
    "LensmillError",
    "PlaceError",
    "RecipeError",
    "RecipeWarning",
    "ResourceError",
    "RunError",
    "RunMissingError",
    "SampleError",
    "ShardError",
    "StoreBusyError",
    "StoreConflictError",
    "StoreDamagedError",
    "StoreError",
    "StoreMissingError",
    "StoreTakenError",
    "StoreUnfinishedError",
    "StoreUnreachableError",
    "UnknownNameError",
    "WriteError",
    "WriteUnreachableError",
]


class LensmillError(Exception):
    """The root: catch this to catch everything lensmill raises on purpose."""

    is_bad_input: ClassVar[bool] = False

    def __init__(self, found: str, expected: str = "", where: str = "", advice: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.where = where
        self.advice = advice

    def __str__(self) -> str:
        lines = [self.found]
        lines += [f"  expected: {self.expected}"] if self.expected else []
        lines += [f"  where:    {self.where}"] if self.where else []
        lines += [f"  to do:    {self.advice}"] if self.advice else []
        return "\n".join(lines)

    def __reduce__(self) -> tuple[type["LensmillError"], tuple[str, str, str, str]]:
        # OSError keeps only what looks like errno and strerror, so the default would lose fields
        return type(self), (self.found, self.expected, self.where, self.advice)


class RecipeWarning(UserWarning):
    """A recipe says something odd that published data sets do as well."""


class RecipeError(LensmillError, ValueError):
    """A recipe cannot be read or says something impossible."""

    is_bad_input = True


class UnknownNameError(LensmillError, LookupError):
    """A name that nobody registered."""

    is_bad_input = True


class ColumnError(LensmillError, ValueError):
    """Values break the column specification."""

    is_bad_input = True


class StoreError(LensmillError, RuntimeError):
    """A store cannot be used as asked."""


class StoreMissingError(StoreError):
    """There is no lensmill store at this path."""

    is_bad_input = True


class StoreUnreachableError(StoreError):
    """What holds the store cannot be asked, so that nothing is known of it."""


class StoreConflictError(StoreError):
    """The store belongs to another recipe, version or layout."""


class StoreTakenError(StoreConflictError):
    """Something is where a store was to be written, and it stays."""

    is_bad_input = True


class StoreUnfinishedError(StoreError):
    """The store has no commit marker."""


class StoreDamagedError(StoreError):
    """The bytes of a store differ from what was committed."""


class StoreBusyError(StoreError):
    """Another process is writing the store."""


class RunError(LensmillError, RuntimeError):
    """A run folder cannot be used as asked."""


class RunMissingError(RunError):
    """There is no run at this path."""

    is_bad_input = True


class DataError(LensmillError, ValueError):
    """Data do not fit the experiment, the model or the run."""

    is_bad_input = True


class LeakError(LensmillError, RuntimeError):
    """A data set gives its labels away by more than the substructure."""


class ResourceError(LensmillError, MemoryError):
    """This machine has too little memory for what was asked."""


class WriteError(LensmillError, OSError):
    """A path cannot be written, or the disk is too small."""


class WriteUnreachableError(WriteError, ConnectionError):
    """What is to be written to does not answer, which may pass."""


class PlaceError(WriteError):
    """A path that nothing could be written to, seen before any work was done."""

    is_bad_input = True


class FlowError(LensmillError, RuntimeError):
    """Shards or services failed."""


class ShardError(FlowError):
    """Work on some shards failed for a reason that is theirs."""


class SampleError(ShardError):
    """A sample in these shards cannot be made: not again, and not by another worker."""


class ClusterLostError(FlowError, ConnectionError):
    """The scheduler, or all its workers, went away during the work."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing, as errors of libraries may."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__

"""Shards whose work ended badly: the others are made first, then each suspect is tried alone.

A worker that dies takes the blame to all that it was given: a batch, and what its other thread was doing.
Only a shard that fails alone is guilty, and is named.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from distributed import Client
from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.clusters.opening import result_of
from flows.shards import Ticket, make_shards
from flows.tally import Tally
from schemas.errors import SampleError, ShardError
from storage.layout import Span

# One shard that kills its workers has Dask give up some of its neighbours as well, but no more than this.
MOST_FAILURES = 10
# Each costs up to four workers.
MOST_CULPRITS = 3


class Suspects:
    """The shards of work that failed, and how often it did."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.failures = 0

    @property
    def too_many(self) -> bool:
        """Whether so much failed that the rest would fail too."""
        return self.failures >= MOST_FAILURES

    def result_of(self, future: Any, what: str, spans: Iterable[Span]) -> Any:
        """What came of work on these shards, None if it failed; an error that all shards share is raised."""
        try:
            return result_of(future, what)
        except ShardError:
            self.failures += 1
            self.spans += spans
            return None


def try_alone(client: Client, ticket: Ticket, suspects: Suspects, tally: Tally) -> None:
    """Make the suspects one by one, with nothing else on the cluster; raises what the guilty did."""

    # without parameters, and in the flow's own process, as the task that maps shards
    @task(name="try failed shards alone", cache_policy=NO_CACHE)
    def try_failed_shards() -> None:
        culprits, left = [], list(suspects.spans)
        for error in _alone(client, ticket, left, tally):
            culprits.append(error)
            if len(culprits) == MOST_CULPRITS:
                break
        if culprits:
            raise _verdict(culprits, tally, ticket, _kind(culprits, suspects))
        if suspects.too_many and tally.open:
            raise _together(suspects, tally, ticket)

    if suspects.spans:
        try_failed_shards()


def _alone(client: Client, ticket: Ticket, left: list[Span], tally: Tally) -> Iterator[ShardError]:
    """The errors of those that fail; all others have arrived."""
    for span in left:
        if not tally.has(span):
            try:
                result_of(client.submit(make_shards, ticket, [span], pure=False), str(span))
            except ShardError as error:
                yield error
                continue
        tally.arrived([span])


def _kind(culprits: list[ShardError], suspects: Suspects) -> type[ShardError]:
    """Whether it is a sample that cannot be made; where everything fails, it is no sample's fault."""
    of_a_sample = any(isinstance(one, SampleError) for one in culprits)
    return SampleError if of_a_sample and not suspects.too_many else ShardError


def _verdict(
    culprits: list[ShardError], tally: Tally, ticket: Ticket, kind: type[ShardError] = ShardError
) -> ShardError:
    """One error about all that failed."""
    named = culprits[0].found if len(culprits) == 1 else "".join(f"\n  - {one.found}" for one in culprits)
    untried = len(tally.open) - len(culprits)
    rest = f"\n  - {untried} more were not tried after these" if untried else ""
    what = "1 shard" if len(culprits) == 1 else f"{len(culprits)} shards"
    return kind(
        f"{what} could not be made: {named}{rest}",
        where=ticket.root,
        advice=culprits[0].advice
        or "the other shards are kept; with the cause mended, the same command makes what is missing",
    )


def _together(suspects: Suspects, tally: Tally, ticket: Ticket) -> ShardError:
    return ShardError(
        f"{suspects.failures} times work was given up whose shards went well one by one;"
        f" {len(tally.open)} shards were not tried",
        where=ticket.root,
        advice="together the workers may need more memory than there is: try --workers 1 or a smaller"
        " --shard-size, then run the same command again; finished shards are kept",
    )

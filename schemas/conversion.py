"""What a conversion of a store did."""

from pydantic import Field

from schemas.frozen import Frozen
from schemas.store import BackendName, MapError, Profile


class ConversionSummary(Frozen):
    """A store in another format, and how near it is to the one that it was made from."""

    source: str
    store: str
    recipe: str
    digest: str
    backend: BackendName
    profile: Profile
    rows: int = Field(ge=0)
    shards: int = Field(ge=0)
    made: int = Field(ge=0, description="shards written by this run; the others were there and whole")
    bytes: int = Field(ge=0, description="of the shards")
    source_bytes: int = Field(ge=0)
    errors: tuple[MapError, ...] = Field(description="the worst of the store; empty when no bit was lost")

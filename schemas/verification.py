"""What `verify` found of a store and when, kept beside its books."""

from pydantic import AwareDatetime, Field

from schemas.frozen import Frozen
from schemas.store import Digest

# Faults that are kept by their text; a store that lost a disk may have thousands.
TOLD = 10


class VerificationRecord(Frozen):
    """The last verification of a store. No part of the sealed data: it says nothing of what came after."""

    time: AwareDatetime = Field(description="when the check ended")
    lensmill: str = Field(description="version that checked")
    manifest_sha256: Digest = Field(description="of the manifest that was checked against")
    faults: int = Field(ge=0, description="0: the store was sound")
    first_faults: tuple[str, ...] = Field(default=(), max_length=TOLD, description="the first of them")

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.faults

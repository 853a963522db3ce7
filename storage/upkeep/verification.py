"""The record of the last `verify` of a store, for those who look at it later.

It lies beside the books and is no part of what they seal: nothing in the store depends on it.
"""

from datetime import UTC, datetime
from importlib.metadata import version

from pydantic import ValidationError

from schemas.errors import WriteError
from schemas.frozen import sha256_of
from schemas.verification import TOLD, VerificationRecord
from storage.commit import MANIFEST, VERIFICATION
from storage.files.durable import write_whole
from storage.files.place import Root, place
from storage.verify import Verification


def record(root: str | Root, found: Verification) -> str:
    """Keep what `verify` found in the store; the reason where that cannot be, else an empty text."""
    kept = VerificationRecord(
        time=datetime.now(UTC).replace(microsecond=0),
        lensmill=version("lensmill"),
        manifest_sha256=found.manifest_sha256,
        faults=len(found.faults),
        first_faults=found.faults[:TOLD],
    )
    try:
        write_whole(place(root) / VERIFICATION, kept.to_json().encode())
    except WriteError as error:
        return error.found
    return ""


def last_record(root: Root) -> VerificationRecord | None:
    """What was last found; None where nobody looked, or what was kept cannot be read."""
    try:
        return VerificationRecord.model_validate_json((root / VERIFICATION).read_bytes())
    except (OSError, ValidationError):
        return None


def is_of_this_seal(root: Root, kept: VerificationRecord) -> bool:
    """Whether the store was last sealed with the manifest that was checked against."""
    return sha256_of((root / MANIFEST).read_bytes()) == kept.manifest_sha256

"""An object on S3, or all objects below a prefix, with the part of pathlib's interface that stores use.

An object that is not there is a `FileNotFoundError`, as on a disk. Whatever keeps us from knowing (no bucket,
no connection, access denied) is a `StoreUnreachableError`, so that it is never taken for damage.
Credentials, region and endpoint come from the environment. What a server says of a failure is not passed on
but for its code: it may repeat parts of credentials.
"""

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Self

from schemas.errors import StoreDamagedError, StoreUnreachableError, WriteUnreachableError
from storage.files.object_client import client_of, reason_of

if TYPE_CHECKING:
    from obstore.store import S3Store

# A listing comes in pages of so many.
PAGE = 1000
Content = bytes | memoryview


class ObjectStat(NamedTuple):
    """What `stat` tells."""

    st_size: int


class Tagged(NamedTuple):
    """What an object holds, and the tag by which a server knows this content of it."""

    content: bytes
    tag: str
    modified: float


@dataclass(frozen=True, order=True)
class ObjectPath:
    """`s3://BUCKET/KEY`."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def __truediv__(self, other: str | PurePath) -> "ObjectPath":
        below = PurePosixPath(other)
        if below.is_absolute() or ".." in below.parts:
            raise StoreDamagedError(f"the path {str(below)!r} leads out of {self}")
        return ObjectPath(self.bucket, str(PurePosixPath(self.key) / below))

    def joinpath(self, *others: str | PurePath) -> "ObjectPath":
        """All of them below each other."""
        found = self
        for other in others:
            found = found / other
        return found

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.key).name

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> "ObjectPath":
        """The prefix that holds it."""
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    def absolute(self) -> Self:
        """Itself: an address does not depend on where one is."""
        return self

    def relative_to(self, other: "ObjectPath") -> PurePosixPath:
        """The path from a prefix above."""
        if other.bucket != self.bucket:
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self.key).relative_to(other.key)

    def is_file(self) -> bool:
        """Whether there is an object of this name. One request."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there are objects below. One request."""
        with _told(self):
            return any(page for page in self._client.list(self.key, chunk_size=PAGE))

    def exists(self) -> bool:
        """Whether there is anything."""
        return self.is_file() or self.is_dir()

    def stat(self) -> ObjectStat:
        """The size. One request."""
        with _told(self):
            return ObjectStat(self._client.head(self.key)["size"])

    def read_bytes(self) -> bytes:
        """All of the object. One request."""
        return bytes(self.read_whole())

    def read_whole(self) -> memoryview:
        """The same without a copy."""
        with _told(self):
            return memoryview(self._client.get(self.key).bytes())

    def read_range(self, start: int, stop: int) -> memoryview:
        """Bytes from one offset to another. One request."""
        with _told(self):
            return memoryview(self._client.get_range(self.key, start=start, end=stop))

    def read_end(self, count: int) -> tuple[memoryview, int]:
        """The last bytes, and how many the object has. One request."""
        with _told(self):
            found = self._client.get(self.key, options={"range": {"suffix": count}})
            return memoryview(found.bytes()), found.meta["size"]

    def parts(self, least: int) -> Iterator[memoryview]:
        """The object in pieces of at least so many bytes, as they arrive. One request."""
        with _told(self):
            for part in self._client.get(self.key).stream(min_chunk_size=least):
                yield memoryview(part)

    def iterdir(self) -> Iterator["ObjectPath"]:
        """Objects and prefixes one level below."""
        with _told(self):
            found = self._client.list_with_delimiter(self.key)
        names = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        yield from (ObjectPath(self.bucket, name) for name in sorted(names))

    def rglob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Objects at any depth whose name is like the pattern."""
        for path in self.sizes():
            if fnmatchcase(PurePosixPath(path).name, pattern):
                yield self / path

    def sizes(self) -> dict[str, int]:
        """All objects below by their path from here."""
        start = len(self.key) + 1
        with _told(self):
            pages = self._client.list(self.key, chunk_size=PAGE)
            return {one["path"][start:]: one["size"] for page in pages for one in page}

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        if not missing_ok and not self.is_file():
            raise _missing(self)
        with _told(self, writing=True):
            self._client.delete(self.key)

    def put(self, content: Content) -> None:
        """The whole object in one request: seen with all its bytes, or not at all."""
        with _told(self, writing=True):
            self._client.put(self.key, content, use_multipart=False)

    def read_tagged(self) -> Tagged:
        """The object with the tag that `replace` asks for."""
        with _told(self):
            found = self._client.get(self.key)
            meta = found.meta
            return Tagged(bytes(found.bytes()), meta["e_tag"] or "", meta["last_modified"].timestamp())

    def create(self, content: Content) -> str | None:
        """Put an object that must not be there; its tag, or None where there is one."""
        from obstore.exceptions import AlreadyExistsError

        with _told(self, writing=True):
            try:
                return self._client.put(self.key, content, mode="create")["e_tag"]
            except AlreadyExistsError:
                return None

    def replace(self, content: Content, tag: str) -> str | None:
        """Put an object in place of the one with this tag; its new tag, or None where it is another one."""
        from obstore.exceptions import PreconditionError

        with _told(self, writing=True):
            try:
                return self._client.put(self.key, content, mode={"e_tag": tag})["e_tag"]
            except PreconditionError:
                return None
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def prefixed_client(self) -> "S3Store":
        """The client for others, with keys that count from here."""
        return client_of(self.bucket, self.key)

    @property
    def _client(self) -> "S3Store":
        return client_of(self.bucket)


def _missing(path: ObjectPath) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no such object", str(path))


@contextlib.contextmanager
def _told(path: ObjectPath, writing: bool = False) -> Iterator[None]:
    """Errors of the client as ours; not chained, since a server's words may hold parts of credentials."""
    # the client says what is missing where it cannot be imported
    _ = path._client
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and not writing and "NoSuchBucket" not in str(error):
            raise _missing(path) from None
        reason, advice = reason_of(str(error), path.bucket)
    else:
        return
    if writing:
        raise WriteUnreachableError(
            f"cannot write {path}: {reason}", advice=f"{advice}; run the command again, shards are kept"
        ) from None
    raise StoreUnreachableError(f"cannot reach {path}: {reason}", advice=advice) from None

"""Where a store is: a folder on a disk, or a prefix in a bucket of an S3 service."""

import re
from pathlib import Path

from schemas.errors import PlaceError, StoreMissingError
from storage.files.object_path import ObjectPath

# What holds a store: files are addressed below it by `root / "train/image/..."`.
Root = Path | ObjectPath

EXPECTED = "a path on a disk, or s3://BUCKET/PREFIX"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# What a URL would read as something else, or what servers and shells take in different ways.
STRANGE = re.compile(r"[\x00-\x1f\x7f?#%*\\\[\]]")


def place(text: str | Root) -> Root:
    """The root that a person names."""
    if isinstance(text, ObjectPath):
        return text
    found = SCHEME.match(str(text))
    if not found:
        return Path(text)
    scheme = found[1].lower()
    if scheme != "s3":
        raise StoreMissingError(f"a store cannot be at a {scheme} address", expected=EXPECTED)
    return _object_path(str(text))


def local(text: str | Path) -> Path:
    """A path on a disk, where nothing else will do: runs, pictures, pages."""
    if isinstance(text, ObjectPath) or SCHEME.match(str(text)):
        raise PlaceError(
            "a URL is given where a path on a disk is needed",
            expected="a path: only stores can be on S3",
            advice="choose a local folder or file, and copy it afterwards",
        )
    return Path(text)


def _object_path(url: str) -> ObjectPath:
    """Faults are told without the URL, which may hold a password."""
    bucket, _, prefix = url[len("s3://") :].rstrip("/").partition("/")
    if not url.lower().startswith("s3://") or "@" in bucket or not BUCKET.fullmatch(bucket):
        raise StoreMissingError(
            "the S3 address names no bucket",
            expected="s3://BUCKET/PREFIX; credentials come from the environment, never from a URL",
        )
    if not prefix or STRANGE.search(prefix) or {"", ".", ".."} & set(prefix.split("/")):
        raise StoreMissingError(
            f"the S3 address names no prefix that a store can have in bucket {bucket!r}",
            expected="s3://BUCKET/PREFIX with letters, digits and - _ . = in the prefix",
        )
    return ObjectPath(bucket, prefix)


def sizes_of(root: Root, paths: list[str]) -> dict[str, int]:
    """The bytes of each file that is there; of objects by listing them, a thousand a request."""
    if isinstance(root, ObjectPath):
        found = root.sizes()
        return {path: found[path] for path in paths if path in found}
    files = {path: root / path for path in paths}
    return {path: file.stat().st_size for path, file in files.items() if file.is_file()}

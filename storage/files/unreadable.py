"""What is wrong with a file of other people's, in words of ours: libraries speak of their own insides."""

import codecs
import re

SHOWN_BYTES = 24
FORMATS = (
    (re.compile(rb"\x93NUMPY"), "is a .npy file"),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "is an HDF5 file"),
    (re.compile(rb"SIMPLE  ="), "is a FITS file"),
    (re.compile(rb"PK\x03\x04"), "is a zip archive, as .npz files are"),
    (re.compile(rb"\x1f\x8b"), "is packed with gzip"),
    (re.compile(rb"\x89PNG"), "is a PNG picture"),
    (re.compile(rb"\xff\xd8\xff"), "is a JPEG picture"),
    (re.compile(rb"\x80[\x02-\x05]"), "is a pickle"),
    (re.compile(rb"version https://git-lfs"), "is a Git LFS pointer, whose content was not fetched"),
)


class UnreadableError(ValueError):
    """A sentence about a file or an image that cannot be taken.

    `kind` leaves out the figures in which files with the same fault differ; by it they are counted together.
    """

    def __init__(self, told: str, kind: str = "", advice: str = "") -> None:
        super().__init__(told)
        self.kind = kind or told
        self.advice = advice


def not_a(form: str, begins: bytes) -> UnreadableError:
    """A file that begins with these bytes where `form` is needed."""
    if not begins:
        return UnreadableError("it is empty", advice="fetch or make the file again")
    told = f"it is no {form}"
    advice = "fetch or make the file again, or give it the ending of what it is"
    return UnreadableError(f"{told} (it {_beginning(begins)})", told, advice)


def _beginning(begins: bytes) -> str:
    for form, told in FORMATS:
        if form.match(begins):
            return f"{told} by its first bytes"
    line = begins[:SHOWN_BYTES].splitlines()[0] if begins.strip() else b""
    try:
        # a letter may be cut in two where the bytes end
        text = codecs.getincrementaldecoder("utf-8")().decode(line)
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable():
        return f"begins with {text!r}"
    return f"begins with the bytes {begins[:8].hex(' ')}"


def reason(error: BaseException) -> str:
    """What an error says in one line, as the system puts it if it comes from there."""
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__

"""How kernels are compiled: once per machine and version of the sources, shared by all processes.

numba keys its cache by the file of the outermost function alone and would keep machine code whose inlined
helpers in other files have changed. So the cache lives in a folder named after all sources of this package.
Where that folder cannot be used, numba would fall back to one beside the sources; here nothing is kept then.
"""

import contextlib
import hashlib
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching

Function = TypeVar("Function", bound=Callable[..., Any])

# "contract" lets a * b + c round once. "error_model" leaves division by zero to IEEE 754, as numpy does,
# without which no loop with a division becomes a vector loop.
# numba's settings are attributes that appear when it is imported, which its types do not say
SETTINGS: Any = numba.config
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}, "nogil": True}
ADVICE = "each process compiles kernels anew, some ten seconds; NUMBA_CACHE_DIR names another folder"
# of files that are cut short or are not numba's
DAMAGE = (OSError, EOFError, ValueError, TypeError, KeyError, pickle.UnpicklingError)


# numba is typed in parts, and this is none of them
_Cache: Any = caching.FunctionCache


class _ForgivingCache(_Cache):  # type: ignore[misc]
    """Rendering goes on when machine code cannot be kept (a full disk) or read back (a damaged file)."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """None where there is nothing to load."""
        try:
            return super().load_overload(sig, target_context)
        except DAMAGE as error:
            _warn(f"{self.cache_path} is damaged ({error!r}): compiling anew")
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, if that is possible."""
        try:
            super().save_overload(sig, data)
        except DAMAGE as error:
            _warn(f"{self.cache_path} cannot be written ({error!r}): {ADVICE}")


def kernel(function: Function) -> Function:
    """Compile for the types it is first called with, and keep the machine code on disk."""
    compiled: Any = numba.njit(**OPTIONS)(function)
    if _usable():
        before = SETTINGS.CACHE_DIR
        SETTINGS.CACHE_DIR = str(cache_folder())
        try:
            compiled._cache = _ForgivingCache(function)
        finally:
            SETTINGS.CACHE_DIR = before
    found: Function = compiled
    return found


def inlined(function: Function) -> Function:
    """A helper of kernels that becomes part of the loop that calls it."""
    compiled: Function = numba.njit(forceinline=True, **OPTIONS)(function)
    return compiled


@cache
def cache_folder() -> Path:
    """Where machine code is kept: `NUMBA_CACHE_DIR`, else the user's cache folder."""
    asked = SETTINGS.CACHE_DIR or os.environ.get("XDG_CACHE_HOME")
    parent = Path(asked) if asked else Path("~/.cache").expanduser()
    return parent / "lensmill" / f"kernels-{_sources_digest()}"


@cache
def _usable() -> bool:
    """Whether files can be made in the cache folder; told once if not."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:  # the latter where nobody knows the home folder
        _warn(f"there is no folder for machine code ({error}): {ADVICE}")
        return False
    return True


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]

"""Where machine code is kept, and that rendering goes on when it cannot be."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulate.kernels import compiled, deviates, images, noise, philox, tnfw

ROOT = Path(__file__).parents[3]
# what tells whether bytes are the same: all kernels of a small data set
RENDER = """
import hashlib
import numpy as np
from flows.catalogue import load_recipe
from simulate.render import render
short = "classes.vortex.substructure.half_length_at_1e22_arcsec=0.005"
done = render(load_recipe("tiny", ["instrument.num_pix=8", short]), np.arange(6))
print(hashlib.sha256(done.image.tobytes() + done.params.tobytes()).hexdigest())
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What was found for this process is looked for anew, before and after."""
    yield
    compiled.cache_folder.cache_clear()
    compiled._usable.cache_clear()


@pytest.fixture
def folder_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The folder under some settings of the user's."""

    def find(numba: str = "", xdg: str | None = None, home: Path | None = None) -> Path:
        monkeypatch.setattr(compiled.SETTINGS, "CACHE_DIR", numba)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if xdg is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        if home is not None:
            monkeypatch.setenv("HOME", str(home))
        compiled.cache_folder.cache_clear()
        compiled._usable.cache_clear()
        return compiled.cache_folder()

    return find


@pytest.fixture
def twice() -> Any:
    """A function to compile."""

    def twice(x: float) -> float:
        return 2 * x

    return twice


def test_the_users_settings_are_honoured_in_their_order(
    folder_for: Callable[..., Path], tmp_path: Path
) -> None:
    name = folder_for().name
    assert name.startswith("kernels-")
    assert folder_for(home=tmp_path) == tmp_path / ".cache/lensmill" / name
    assert folder_for(xdg="/somewhere", home=tmp_path) == Path("/somewhere/lensmill") / name
    assert folder_for("/numba", xdg="/somewhere", home=tmp_path) == Path("/numba/lensmill") / name


def test_other_sources_have_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    versions = ({"a.py": "1", "b.py": "2"}, {"a.py": "1", "b.py": "3"}, {"a.py": "12"}, {"c.py": "12"})
    names = set()
    for number, sources in enumerate(versions):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in sources.items():
            (folder / name).write_text(text)
        monkeypatch.setattr(compiled, "__file__", str(folder / "compiled.py"))
        names.add(compiled._sources_digest())
    assert len(names) == 4


def test_every_kernel_is_kept_in_that_folder() -> None:
    kernels = [images.render, noise.copy, noise.detector, noise.model_i, noise.count]
    kernels += [deviates.normals, philox._fill, tnfw.evaluate]
    for kernel in kernels:
        assert compiled.cache_folder() in Path(kernel._cache.cache_path).parents
    assert not list(Path(compiled.__file__).parent.glob("__pycache__/*.nb?"))


def test_kernels_are_kept_and_loaded(folder_for: Callable[..., Path], tmp_path: Path, twice: Any) -> None:
    folder_for(str(tmp_path))
    first = compiled.kernel(twice)
    # before anything compiles: then numba may read its settings anew from the environment
    assert str(tmp_path) == compiled.SETTINGS.CACHE_DIR
    assert first(3.0) == 6.0
    assert len(list(tmp_path.rglob("*.nbc"))) == 1
    again: Any = compiled.kernel(twice)
    assert again(3.0) == 6.0
    assert sum(again.stats.cache_hits.values()) == 1


def test_without_a_folder_kernels_work_and_say_so_once(
    folder_for: Callable[..., Path], tmp_path: Path, twice: Any
) -> None:
    (tmp_path / "file").touch()
    folder_for(str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="compiles kernels anew.*NUMBA_CACHE_DIR"):
        first: Any = compiled.kernel(twice)
    second: Any = compiled.kernel(twice)
    assert first(3.0) == second(3.0) == 6.0
    # numba's next choice would be a folder beside the sources, which knows nothing of inlined helpers
    assert first._cache.cache_path is None


def test_without_a_home_kernels_work(
    monkeypatch: pytest.MonkeyPatch, folder_for: Callable[..., Path], twice: Any
) -> None:
    folder_for()
    compiled.cache_folder.cache_clear()

    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.warns(RuntimeWarning, match="Could not determine home directory"):
        found: Any = compiled.kernel(twice)
    assert found(3.0) == 6.0


def test_a_full_disk_is_told_and_borne(
    monkeypatch: pytest.MonkeyPatch, folder_for: Callable[..., Path], tmp_path: Path, twice: Any
) -> None:
    folder_for(str(tmp_path))
    found: Any = compiled.kernel(twice)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(found._cache._cache_file, "save", full)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert found(3.0) == 6.0


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 40])
def test_damaged_machine_code_is_compiled_anew(
    folder_for: Callable[..., Path], tmp_path: Path, twice: Any, kind: str, left: int
) -> None:
    """As a power cut may leave it."""
    folder_for(str(tmp_path))
    assert compiled.kernel(twice)(3.0) == 6.0
    (damaged,) = tmp_path.rglob(f"*.{kind}")
    damaged.write_bytes(damaged.read_bytes()[:left])
    found: Any = compiled.kernel(twice)
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert found(3.0) == 6.0
    again: Any = compiled.kernel(twice)
    assert again(3.0) == 6.0
    assert sum(again.stats.cache_hits.values()) == 1


def run(code: str, cache: Path) -> tuple[str, str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=280, check=True
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.slow
def test_a_process_with_a_warm_cache_makes_the_bytes_of_a_cold_one(tmp_path: Path) -> None:
    cold, _ = run(RENDER, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    warm, _ = run(RENDER, tmp_path)
    assert len(before) >= 3
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == before
    assert warm == cold
    (tmp_path / "file").touch()
    without, warning = run(RENDER, tmp_path / "file")
    assert without == cold
    assert warning.count("compiles kernels anew") == 1

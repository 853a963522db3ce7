"""What is measured: recipes reduced to one class, kinds of noise, and the speed that is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from schemas.instrument import DetectorNoise
from simulate.engines import ENGINES

CLASSES = ("no_sub", "cdm", "vortex")
# times idiomatic lenstronomy with one draw of noise, and the least that counts as reached
AIMS: dict[tuple[str, str, str], tuple[float, float]] = {
    ("model_ii", "no_sub", "fused"): (4.7, 4),
    ("model_ii", "cdm", "fused"): (9.6, 8),
    ("model_ii", "vortex", "fused"): (15, 12),
    ("model_ii", "no_sub", "fused_float32"): (6, 5),
    ("model_ii", "cdm", "fused_float32"): (12, 10),
    ("model_ii", "vortex", "fused_float32"): (22, 18),
    ("model_i", "no_sub", "fused"): (4, 3.4),
    ("model_i", "cdm", "fused"): (8.8, 7.5),
    ("model_i", "vortex", "fused"): (16, 13),
    ("tnfw", "cdm", "fused"): (12, 10),
}
# where a shard on disk is measured too
WRITTEN = ("model_ii", "model_i")
TITLES = {
    "model_ii": "Model II, 64 x 64",
    "model_i": "Model I, 150 x 150",
    "survey_x1": "everything drawn, 64 x 64, one ray a pixel",
    "survey_x3": "everything drawn, 64 x 64, supersampling 3",
    "tnfw": "100 TNFW halos, 64 x 64",
}
# 100 halos at distances that fit a truncated profile
TNFW_CLASS = (
    "classes=[{name: cdm, label: 1, substructure: {kind: subhalos, count: 100,"
    " mass_msun: {kind: power_law, slope: -1.9, low: 1e7, high: 1e10},"
    " radius_arcsec: {kind: uniform, low: 0.25, high: 2},"
    " profile: {kind: TNFW, concentration: {kind: log_uniform, low: 8, high: 30},"
    " truncation: {kind: log_uniform, low: 2, high: 20}}}}]"
)

# After such an exposure no pixel is faint, and detector noise is one normal deviate per pixel, nothing more.
NO_FAINT_PIXEL_S = 1e20

NoiseChoice = Literal["none", "normal", "own"]


@dataclass(frozen=True)
class Case:
    """One class of one recipe with one kind of noise."""

    group: str
    class_name: str
    noise: NoiseChoice
    recipe: DatasetRecipe
    written: bool = False

    @property
    def key(self) -> str:
        """How `--only` and tables call it."""
        return f"{self.group}/{self.class_name}/{'written' if self.written else self.noise}"

    def aim(self, engine: str) -> tuple[float, float] | None:
        """What the engine should reach here, and what it must."""
        if self.noise != "normal" or self.written:
            return None
        return AIMS.get((self.group, self.class_name, engine))

    def tolerance(self, engine: str) -> float:
        """How far from lenstronomy's image an engine may be, in parts of the peak."""
        if "float32" in engine:
            return 1e-5
        # truncated halos come from a table
        return 1e-6 if self.group == "tnfw" and engine == "fused" else 1e-10


def cases(patterns: Sequence[str]) -> Iterator[Case]:
    """All cases whose key matches one of the patterns."""
    for group in TITLES:
        for name in ("cdm",) if group == "tnfw" else CLASSES:
            for noise in _noises(group):
                for written in (False, True) if noise == "normal" and group in WRITTEN else (False,):
                    key = f"{group}/{name}/{'written' if written else noise}"
                    if any(fnmatch(key, pattern) for pattern in patterns):
                        yield Case(group, name, noise, _recipe(group, name, noise), written)


def engines_for(case: Case, asked: Sequence[str] | None) -> list[str]:
    """Who competes: those asked for, else all that are there and differ in this case."""
    if asked:
        return list(asked)
    same = set() if case.group == "tnfw" else {"fused_exact"}
    return [name for name in sorted(ENGINES) if name not in same]


def check_engines(names: Sequence[str]) -> None:
    """An unknown engine is told before anything is measured."""
    for name in names:
        ENGINES[name]


def _noises(group: str) -> tuple[NoiseChoice, ...]:
    return ("normal", "own") if group.startswith("survey") else ("none", "normal", "own")


def _recipe(group: str, class_name: str, noise: NoiseChoice) -> DatasetRecipe:
    name, overrides = _source(group, noise)
    recipe = load_recipe(name, overrides)
    (chosen,) = (one for one in recipe.classes if one.name == class_name)
    changes: dict[str, object] = {"classes": (chosen,)}
    if noise == "normal":
        long = recipe.detector.model_copy(update={"exposure_time_s": NO_FAINT_PIXEL_S})
        changes |= {"noise": DetectorNoise(), "instrument": long}
    return recipe.model_copy(update=changes)


def _source(group: str, noise: NoiseChoice) -> tuple[str, list[str]]:
    if group.startswith("survey"):
        preset = f"{{kind: preset, name: euclid_vis, num_pix: 64, supersampling: {group[-1]}}}"
        return "tiny", [f"instrument={preset}"]
    quiet = [] if noise == "own" else ["noise={kind: none}"]
    if group == "model_i":
        return "model_i", quiet
    halos = ["mass_conversion={kind: angular_diameter}", TNFW_CLASS] if group == "tnfw" else []
    return "model_ii_noisy" if noise == "own" else "model_ii", [*quiet, *halos]

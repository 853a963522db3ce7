"""Runs in the published simulator's interpreter: a number of images in, seconds out, until the input ends.

Shortened: the population of halos that its constructor draws, whose cosmology alone is used, is drawn once.
"""

import sys
import time

from deeplense import lens as published  # type: ignore[import-not-found] # from outside this repository

GROUP, CLASS, SHORTENED = sys.argv[1], sys.argv[2], sys.argv[3] == "1"
MAIN_MASS_MSUN, LINE_MASS_MSUN, AXION_MASS_EV = 1e12, 3e10, 1e-23


def image() -> object:
    """One image of the asked model and class."""
    system = published.DeepLens(axion_mass=AXION_MASS_EV)
    system.make_single_halo(MAIN_MASS_MSUN)
    if CLASS == "vortex":
        system.make_vortex(LINE_MASS_MSUN)
    elif CLASS == "cdm":
        system.make_old_cdm()
    else:
        system.make_no_sub()
    if GROUP == "model_i":
        system.make_source_light()
        system.simple_sim()
    else:
        system.set_instrument("Euclid")
        system.make_source_light_mag()
        system.simple_sim_2()
    return system.image_real


def main() -> None:
    """Answer requests, one per line."""
    if SHORTENED:
        halos = published.CDM(0.5, 1.0, cone_opening_angle_arcsec=10)
        published.CDM = lambda *_args, **_kwargs: halos
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            image()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()

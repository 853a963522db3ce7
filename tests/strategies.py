"""Hypothesis strategies: priors and recipes, as the documents that people would write."""

from typing import Any

from hypothesis import strategies as st

from schemas.products import PRODUCTS

Document = dict[str, Any]

# `tiny` with every optional component, as overrides
RICH = (
    "main_lens={kind: EPL, theta_E: {kind: uniform, low: 0.7, high: 1.05}, gamma: {kind: normal, mean: 2,"
    " sigma: 0.1, low: 1.7, high: 2.3}, e1: 0.1, center_x: 0.05}",
    "multipole={m: 4, a_m: {kind: normal, mean: 0, sigma: 0.01, low: -0.05, high: 0.05}, phi_m: 0.2}",
    "lens_light={magnitude: {kind: uniform, low: 18, high: 20}, R_sersic: 0.4, n_sersic: 3}",
    "classes.cdm.substructure.profile={kind: TNFW, concentration: {kind: log_uniform, low: 5, high: 30},"
    " truncation: {kind: uniform, low: 2, high: 20}}",
    "classes.vortex.substructure.points=continuous",
)


def _numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def _intervals(low: float, high: float) -> st.SearchStrategy[Document]:
    ends = st.tuples(_numbers(low, high), _numbers(low, high)).map(sorted)
    return ends.filter(lambda pair: pair[0] < pair[1]).map(lambda pair: {"low": pair[0], "high": pair[1]})


def _normals(low: float, high: float) -> st.SearchStrategy[Document]:
    # the mean inside the cut, so that the cut leaves something
    return _intervals(low, high).flatmap(
        lambda cut: st.fixed_dictionaries(
            {
                "kind": st.just("normal"),
                "mean": _numbers(cut["low"], cut["high"]),
                "sigma": _numbers(1e-3, 1e3),
                **{name: st.just(end) for name, end in cut.items()},
            }
        )
    )


@st.composite
def _choices(draw: st.DrawFn, low: float, high: float) -> Document:
    values = draw(st.lists(_numbers(low, high), min_size=1, max_size=4))
    weights = st.lists(_numbers(0.01, 10), min_size=len(values), max_size=len(values))
    return {"kind": "choice", "values": values, "weights": draw(st.none() | weights)}


def priors(low: float, high: float) -> st.SearchStrategy[Document]:
    """A prior of any kind with its support in [low, high]."""
    kinds = [
        _numbers(low, high).map(lambda value: {"kind": "fixed", "value": value}),
        _intervals(low, high).map(lambda ends: {"kind": "uniform", **ends}),
        _normals(low, high),
        _choices(low, high),
    ]
    if low > 0:
        slopes = st.sampled_from([-4.0, -1.9, -1.0, -0.9, 0.0, 2.0])
        kinds += [
            _intervals(low, high).map(lambda ends: {"kind": "log_uniform", **ends}),
            st.builds(
                lambda ends, slope: {"kind": "power_law", "slope": slope, **ends},
                _intervals(low, high),
                slopes,
            ),
        ]
    return st.one_of(kinds)


def _profiles() -> st.SearchStrategy[Any]:
    halo = {"kind": st.just("TNFW"), "concentration": priors(2, 50), "truncation": priors(0.5, 50)}
    return st.sampled_from(["POINT_MASS", {"kind": "POINT_MASS"}]) | st.fixed_dictionaries(halo)


def _substructures() -> st.SearchStrategy[Document]:
    subhalos = {
        "kind": st.just("subhalos"),
        "count": st.integers(1, 30),
        "mass_msun": priors(1e6, 1e10),
        "radius_arcsec": priors(0, 3),
        "profile": _profiles(),
    }
    vortex = {
        "kind": st.just("vortex"),
        "points": st.integers(2, 100) | st.just("continuous"),
        "mass_msun": priors(1e8, 1e11),
        "axion_mass_ev": priors(1e-24, 1e-22),
        "half_length_at_1e22_arcsec": _numbers(0.001, 10),
    }
    population = {"f_sub": priors(0, 0.5), "r_max_theta_E": _numbers(0.1, 3)}
    warm = {"kind": st.just("warm"), **population, "half_mode_mass_msun": priors(1e6, 1e10)}
    cored = {"kind": st.just("self_interacting"), **population, "cross_section_cm2_g": priors(0.1, 100)}
    vortices = {"kind": st.just("vortices"), "mass_msun": priors(1e8, 1e11), "count": st.integers(1, 3)}
    kinds: list[dict[str, st.SearchStrategy[Any]]] = [
        {"kind": st.just("none")},
        subhalos,
        vortex,
        {"kind": st.just("cold"), **population, "profile": _profiles()},
        warm,
        cored,
        {**vortices, "axion_mass_ev": priors(1e-24, 1e-22)},
        {**vortices, "half_length_theta_E": priors(0.1, 2)},
    ]
    return st.one_of(*(st.fixed_dictionaries(kind) for kind in kinds))


@st.composite
def _kernels(draw: st.DrawFn, samplings: list[int]) -> Document:
    side = draw(st.sampled_from([1, 3, 5, 11]))
    weights = draw(st.lists(_numbers(0.01, 1), min_size=side**2, max_size=side**2))
    rows = [[w / sum(weights) for w in weights[j * side : (j + 1) * side]] for j in range(side)]
    return {"kind": "kernel", "values": rows, "sampling": draw(st.sampled_from(samplings))}


@st.composite
def instruments(draw: st.DrawFn, most_pix: int = 64, scales: tuple[float, float] = (0.01, 1)) -> Document:
    """Any detector: pixels, PSF of every kind, supersampling, a kernel on one of its two grids."""
    supersampling = draw(st.integers(1, 5))
    psf = (
        st.just({"kind": "none"})
        | st.fixed_dictionaries(
            {"kind": st.just("gaussian"), "fwhm_arcsec": _numbers(0.05, 1), "truncate": _numbers(1, 6)}
        )
        | _kernels([1, supersampling])
    )
    detector = st.fixed_dictionaries(
        {
            "kind": st.just("detector"),
            "num_pix": st.integers(8, most_pix),
            "pixel_scale_arcsec": _numbers(*scales),
            "psf": psf,
            "supersampling": st.just(supersampling),
        },
        optional={"exposure_time_s": _numbers(1, 1e5), "read_noise_e": _numbers(0, 10)},
    )
    return draw(detector)


def planes(most: float) -> st.SearchStrategy[Document]:
    """A prior of two parameters together whose modulus is at most so much."""
    normal = {"sigma": _numbers(1e-3, 1e3), "max_modulus": _numbers(1e-3, most)}
    polar = {"kind": st.just("polar"), "modulus": priors(0, most)}
    return st.one_of(
        st.fixed_dictionaries({"kind": st.just("isotropic_normal"), **normal}),
        st.fixed_dictionaries(polar),
        st.fixed_dictionaries({**polar, "angle": priors(-4, 4)}),
    )


def places() -> st.SearchStrategy[Document]:
    """A prior of the place of a source."""
    disc = st.fixed_dictionaries({"kind": st.just("disc"), "radius": _numbers(0.01, 1)})
    around = st.fixed_dictionaries({"kind": st.just("around_lens"), "radius_theta_E": _numbers(0, 1)})
    return planes(1.0) | disc | around


def _main_lenses() -> st.SearchStrategy[Document]:
    ellipse = {"theta_E": priors(0.1, 3), "e1": priors(-0.3, 0.3)}
    return (
        st.fixed_dictionaries(ellipse)
        | st.fixed_dictionaries({"kind": st.just("SIE"), **ellipse})
        | st.fixed_dictionaries(
            {"theta_E": priors(0.1, 3), "ellipticity": planes(0.5), "center": planes(0.2)}
        )
        | st.fixed_dictionaries({"kind": st.just("EPL"), "gamma": priors(1.5, 2.5), **ellipse})
    )


def _multipoles() -> st.SearchStrategy[Document | None]:
    numbers = {"m": st.sampled_from([3, 4]), "a_m": priors(-0.1, 0.1), "phi_m": priors(-3, 3)}
    return st.none() | st.fixed_dictionaries(numbers)


@st.composite
def _lights(draw: st.DrawFn, bands: list[str] | None) -> Document | list[Document]:
    """A component of light or several, their magnitudes by band or not."""
    magnitudes = priors(15, 25)
    if bands:
        magnitudes |= st.fixed_dictionaries({name: priors(15, 25) for name in bands})
    brightness = st.fixed_dictionaries({"magnitude": magnitudes}) | st.fixed_dictionaries(
        {"amp": priors(0.1, 100)}
    )
    shape = {
        "R_sersic": priors(0.05, 1),
        "n_sersic": priors(0.5, 4),
        "ellipticity": st.none() | planes(0.5),
    }

    def placed(center: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
        parts = st.fixed_dictionaries({**shape, "center": st.none() | center})
        return st.builds(lambda light, rest: {**light, **rest}, brightness, parts)

    # later components stand relative to the first
    several = st.builds(
        lambda first, rest: [first, *rest], placed(places()), st.lists(placed(planes(0.3)), max_size=2)
    )
    return draw(placed(places()) | several)


@st.composite
def recipes(draw: st.DrawFn) -> Document:
    """A whole data-set recipe that is valid."""
    train = draw(st.integers(0, 10))
    bands = draw(st.none() | st.sampled_from([["g"], ["g", "r", "i"]]))
    names = {0: "no_sub", 1: "cdm", 2: "vortex", 7: "another"}
    labels = draw(st.lists(st.sampled_from(sorted(names)), min_size=1, unique=True))
    return {
        "name": "drawn",
        "family": draw(st.sampled_from(["survey", "replica"])),
        "description": draw(st.text(max_size=10)),
        "seed": draw(st.integers(0, 2**53 - 1)),
        "samples_per_class": draw(st.integers(1, 10**12)),
        "splits": {"train": f"{train}/10", "test": f"{10 - train}/10"},
        "redshifts": {"z_lens": draw(priors(0.1, 0.9)), "z_source": draw(priors(1.0, 3.0))},
        "main_lens": draw(_main_lenses()),
        "multipole": draw(_multipoles()),
        "shear": draw(
            st.fixed_dictionaries({"gamma1": priors(-0.1, 0.1)})
            | st.fixed_dictionaries({"gamma": planes(0.2)})
        ),
        "bands": bands,
        "source": draw(_lights(bands)),
        "lens_light": draw(st.none() | _lights(bands)),
        "instrument": draw(instruments()),
        "image_factor": draw(_numbers(0.1, 10)),
        "products": draw(st.lists(st.sampled_from(PRODUCTS), unique=True)),
        "classes": [
            {
                "name": names[label],
                "label": label,
                "substructure": draw(_substructures()),
                "source": draw(st.sampled_from(["lensed", "absent", {"absent": "1/3", "unlensed": "2/3"}])),
            }
            for label in labels
        ],
    }

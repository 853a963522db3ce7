"""Reports made by hand: of each kind, with every section filled or with none."""

import json
import math
from typing import Any

from schemas.metrics import scores_of
from schemas.report import Report

KINDS = ("classification", "regression", "anomaly")
CLASSES = ("no_sub", "cdm", "vortex")
LEAK = (
    "The model's AUC of .9990 for vortex is above the best possible of .9950: something else gives it away."
)
COMPONENTS = "60 principal components and logistic regression"
DOUBT = "12 samples of a class are too few: the interval is .2 wide."


def interval(value: float, half: float = 0.01) -> dict[str, float]:
    """A number with an interval about it."""
    return {"value": value, "low": value - half, "high": value + half}


CLASSIFICATION: dict[str, Any] = {
    "kind": "classification",
    "accuracy": interval(0.914),
    "auc_macro": interval(0.9812, 0.004),
    "auc_micro": interval(0.9799),
    "auc": {"no_sub": interval(0.9753), "cdm": interval(0.971), "vortex": interval(0.9973, 0.001)},
    "precision_macro": interval(0.9655),
    "precision_micro": interval(0.9644),
    "precision": {"no_sub": interval(0.95), "cdm": interval(0.94), "vortex": interval(0.99)},
    "share": {"no_sub": 0.3333, "cdm": 0.3334, "vortex": 0.3335},
    "confusion": [[362, 35, 3], [41, 355, 4], [10, 11, 379]],
    "constant_accuracy": 1 / 3,
}
ANOMALY: dict[str, Any] = {
    "kind": "anomaly",
    "trained_on": ["no_sub"],
    "auc": {"cdm": interval(0.8123), "vortex": interval(0.9731)},
    "auc_all": interval(0.8927),
    "precision": {"cdm": interval(0.79), "vortex": interval(0.96)},
    "precision_all": interval(0.93),
    "share": {"cdm": 0.5, "vortex": 0.501},
    "share_all": 0.6667,
    "found": [
        {"class_name": name, "false_positives": share, "found": interval(found)}
        for name, share, found in (("vortex", 0.01, 0.61), ("vortex", 0.05, 0.83), (None, 0.05, 0.52))
    ],
    "score": {"no_sub": 1.02, "cdm": 1.31, "vortex": 2.9},
}


def _target(name: str, unit: str, mae: float, constant: float) -> dict[str, Any]:
    return {
        "target": name,
        "unit": unit,
        "mae": interval(mae, mae / 20),
        "rmse": interval(1.3 * mae, mae / 20),
        "r2": interval(0.93),
        "bias": interval(-0.1 * mae, mae / 20),
        "percentage_error": 3.21,
        "constant_mae": interval(constant, constant / 20),
        "mae_gain": interval(constant - mae, mae / 20),
        "samples": 1200,
        "sigma": 1.1 * mae,
        "within_sigma": 0.71,
    }


REGRESSION: dict[str, Any] = {
    "kind": "regression",
    "targets": [_target("theta_E", "arcsec", 0.0312, 0.143), _target("axion_mass_ev", "dex", 0.21, 0.2512)],
}
METRICS = {"classification": CLASSIFICATION, "regression": REGRESSION, "anomaly": ANOMALY}


def plain_report(kind: str, **changes: Any) -> Report:
    """A report of a kind with nothing but what every report has."""
    told = {
        "run": "runs/classify_model_ii",
        "experiment": f"{kind}_by_hand",
        "model": "lensmill_stem_vit",
        "experiment_digest": "1b" * 32,
        "store": "model_ii.zarr",
        "store_recipe": "model_ii",
        "store_digest": "2c" * 32,
        "same_recipe": True,
        "split": "test",
        "samples": 1200,
        "headline": "macro AUC 0.9812 [0.9772, 0.9852]",
        "metrics": METRICS[kind],
        "ms_per_image": 0.31,
        "device": "CPU, 1 thread",
        "parameters": 170_123,
        "versions": {"python": "3.12.3", "lensmill": "0.1.0", "torch": "2.13.0"},
    }
    return Report.model_validate_json(json.dumps(told | changes))


def full_report(kind: str) -> Report:
    """A report of a kind with something in every section."""
    plain = plain_report(kind)
    scores = [json.loads(one.to_json()) for one in scores_of(plain.metrics)]
    return plain_report(
        kind,
        scores=scores,
        at="2026-11-21T20:14:05+00:00",
        warnings=["pixels are 0.05 arcsec here and were 0.101 arcsec in training"],
        flags=[{"severity": "leak", "text": LEAK}, {"severity": "warning", "text": DOUBT}],
        baselines=_baselines(scores),
        bounds=[] if kind == "regression" else _bounds(),
        dependences=_dependences(kind),
        reliability=_reliability(kind),
        confused=_confused() if kind == "classification" else [],
        examples=_examples(),
        speeds=[
            {"batch": batch, "ms_per_image": ms, "device": "NVIDIA H200"}
            for batch, ms in ((1, 4.2), (256, 0.031))
        ],
        looks=_looks(scores),
    )


def _baselines(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def scored(part: float) -> list[dict[str, Any]]:
        found = []
        for one in scores:
            value = one["value"]["value"]
            between = one["chance"] + part * (value - one["chance"])
            found.append({**one, "value": interval(between, abs(value - one["chance"]) / 20)})
        return found

    gain = {one["name"]: interval(abs(one["value"]["value"] - one["chance"]) * 0.35) for one in scores}
    return [
        {"kind": "components", "what": COMPONENTS, "scores": scored(0.65), "gain": gain},
        {"kind": "shuffled", "what": "the same with shuffled labels", "scores": scored(0.02)},
        {"kind": "constant", "what": "a constant", "scores": scored(0.0)},
    ]  # fmt: skip


def _bounds() -> list[dict[str, Any]]:
    return [
        {"name": name, "against": "no_sub", "ideal": interval(ideal, 0.002), "model": interval(model, 0.006)}
        for name, ideal, model in (("cdm", 0.9855, 0.9651), ("vortex", 0.995, 0.999 - 0.006))
    ]


def _bins(low: float, high: float, first: float, last: float, logarithmic: bool) -> list[dict[str, Any]]:
    ends = [low * (high / low) ** (k / 6) if logarithmic else low + (high - low) * k / 6 for k in range(7)]
    return [
        {"low": ends[k], "high": ends[k + 1], "samples": 66,
         "score": interval(first + (last - first) * k / 5, 0.03)}
        for k in range(6)
    ]  # fmt: skip


def _dependences(kind: str) -> list[dict[str, Any]]:
    if kind == "regression":
        plain = {"class_name": None, "score": "MAE of theta_E", "better": "lower"}
        return [
            {**plain, "column": "theta_E", "unit": "arcsec", "bins": _bins(0.8, 1.6, 0.05, 0.04, False)},
            {
                **plain,
                "column": "source_R_sersic",
                "unit": "arcsec",
                "bins": _bins(0.1, 0.5, 0.06, 0.05, False),
            },
        ]
    plain = {"score": "AUC against no_sub", "better": "higher"}
    ideal = [0.62, 0.74, 0.85, 0.93, 0.97, 0.98]
    return [
        {**plain, "column": "detectability", "unit": "1", "class_name": name,
         "bins": _bins(0.3, 30, 0.55, 0.96, True), "ideal": [one + more for one in ideal]}
        for name, more in (("cdm", 0.0), ("vortex", 0.01))
    ] + [
        {**plain, "column": "vortex_mass_msun", "unit": "Msun", "class_name": "vortex",
         "bins": _bins(1e9, 9e10, 0.61, 0.95, True)},
        {**plain, "column": "theta_E", "unit": "arcsec", "class_name": None,
         "bins": _bins(0.82, 1.57, 0.9, 0.94, False)},
    ]  # fmt: skip


def _reliability(kind: str) -> dict[str, Any]:
    if kind == "regression":
        return {
            "coverage": [
                {
                    "target": target,
                    "level": level,
                    "covered": interval(held),
                    "before": held - 0.1,
                    "width": 0.1 + level / 5,
                    "samples": 1200,
                }
                for target in ("theta_E", "axion_mass_ev")
                for level, held in ((0.683, 0.67), (0.9, 0.91), (0.95, 0.953))
            ]
        }
    confidences = [0.4 + k / 15 for k in range(9)]
    return {
        "error_before": 0.051,
        "error": interval(0.012, 0.004),
        "error_by_chance": 0.009,
        "bins": [
            {"low": one, "high": one + 1 / 15, "samples": 133, "confidence": one + 0.03,
             "right": interval(one + 0.03 * math.cos(9 * one), 0.02)}
            for one in confidences
        ],
    }  # fmt: skip


def _confused() -> list[dict[str, Any]]:
    differs = "lower subhalo_mass_msun: median 5.1e8 against 2.3e9 Msun"
    return [
        {"true": "cdm", "taken_for": "no_sub", "samples": 41, "share": 0.1025, "differs": differs},
        {"true": "no_sub", "taken_for": "cdm", "samples": 35, "share": 0.0875},
        {"true": "vortex", "taken_for": "cdm", "samples": 9, "share": 0.0225},
    ]


def _examples() -> list[dict[str, Any]]:
    return [
        {"seed": 1001, "sample_id": 7 + 3 * at, "kind": kind,
         "true": CLASSES[at % 3], "said": f"{said} .{97 - at}", "measure": 0.97 - at / 100,
         "picture": f"example_{kind}_{at}.png", "map": f"map_{kind}_{at}.png"}
        for kind, said in (("best", "vortex"), ("worst", "cdm"))
        for at in range(4)
    ]  # fmt: skip


def _looks(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"at": f"2026-11-{20 + at}T10:00:00+00:00", "run": f"runs/try_{at}", "experiment": "classify",
         "experiment_digest": "3d" * 32, "weights_sha256": f"{4 + at}e" * 32, "scores": scores}
        for at in range(2)
    ]  # fmt: skip

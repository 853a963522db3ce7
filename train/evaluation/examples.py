"""The samples that a model did best and worst on, and what its network looks at there."""

import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.errors import first_line
from schemas.report import Example
from train.evaluation.chosen import Chosen, chosen
from train.evaluation.columns import class_names
from train.evaluation.maps import Answer, Maps, attention_map, grad_cam, gradient_map, residual_map
from train.evaluation.measured import Measured
from train.models.autoencoders import Autoencoder
from train.objectives.classification import ClassificationObjective
from train.records.run_folder import device
from train.report.insight_figures import MEAN_MAPS, MeanMaps, draw_map, draw_mean_maps, draw_sample

LOG = logging.getLogger(__name__)
# Images that go through backward passes at once.
AT_ONCE = 8
# Samples of mean maps, all classes together.
AVERAGED = 24
DOTS_PER_INCH = 130

Numbers = NDArray[np.int64]
Stretched = NDArray[np.float32]


def examples(measured: Measured, pictures: Path) -> tuple[Example, ...]:
    """Best and worst samples, drawn into the folder `pictures`, and mean maps of each class beside them."""
    picked = chosen(measured)
    if not picked:
        return ()
    places = np.array([one.place for one in picked])
    seen = _stretched(measured, places)
    maps = looked_at(measured, seen, [one.output for one in picked]).get("gradients")
    _write_mean_maps(measured, pictures)
    names = _names(picked)
    return tuple(
        _example(measured, one, names[k], seen[k], None if maps is None else maps[k], pictures)
        for k, one in enumerate(picked)
    )


def _example(
    measured: Measured, one: Chosen, name: str, seen: Stretched, weights: Maps | None, pictures: Path
) -> Example:
    draw_sample(seen).save(pictures / f"{name}.png", optimize=True)
    if weights is not None:
        draw_map(seen, weights).save(pictures / f"{name}-map.png", optimize=True)
    return Example(
        seed=measured.store.origin.seed,
        sample_id=int(measured.samples.sample_id[one.place]),
        kind=one.kind,
        group=one.group,
        true=one.true,
        said=one.said,
        measure=one.measure,
        picture=f"{name}.png",
        map=None if weights is None else f"{name}-map.png",
    )


def _names(picked: list[Chosen]) -> list[str]:
    """Safe names of files; groups are numbered, because different ones may be spelt the same."""
    groups = list(dict.fromkeys(one.group for one in picked))
    counts: Counter[tuple[str, str]] = Counter()
    names = []
    for one in picked:
        counts[one.group, one.kind] += 1
        word = re.sub(r"[^a-z0-9]+", "_", one.group.lower()).strip("_")[:40]
        names.append(f"{one.kind}-{groups.index(one.group)}-{word}-{counts[one.group, one.kind]}")
    return names


def _stretched(measured: Measured, places: Numbers) -> Stretched:
    """Images as the network sees them, (N, channels, y, x)."""
    network = measured.run.network
    assert isinstance(network, nn.Sequential)
    with torch.no_grad():
        seen: Tensor = network[0](torch.from_numpy(measured.samples.take(places)).to(device()))
    return seen.float().cpu().numpy()


def looked_at(measured: Measured, seen: Stretched, outputs: list[int]) -> dict[str, Maps]:
    """Maps of stretched images by method, for one output of each; without a method where it finds nothing."""
    found: dict[str, list[Maps]] = {}
    for first in range(0, len(seen), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        try:
            own = _maps_of_part(measured, torch.from_numpy(seen[part]).to(device()), outputs[part])
        except RuntimeError as error:
            # among a thousand networks some cannot go backward; the scores stand without their maps
            LOG.warning("no maps of what the network looks at: %s", first_line(error))
            return {}
        for name, maps in own.items():
            found.setdefault(name, []).append(maps)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _maps_of_part(measured: Measured, seen: Tensor, outputs: list[int]) -> dict[str, Maps]:
    assert isinstance(measured.run.network, nn.Sequential)
    network = measured.run.network[1].to(device())
    if isinstance(network, Autoencoder):
        return {"gradients": residual_map(network, seen)}
    answer = _answer(measured, torch.tensor(outputs, device=seen.device))
    found = {
        "gradients": gradient_map(network, seen, answer),
        "Grad-CAM": grad_cam(network, seen, answer),
        "attention": attention_map(network, seen, answer),
    }
    return {name: maps for name, maps in found.items() if maps is not None}


def _answer(measured: Measured, chosen_output: Tensor) -> Answer:
    """What is to be explained: a class against all others together, or a number."""
    against_rest = isinstance(measured.run.objective, ClassificationObjective)

    def answer(given: Tensor) -> Tensor:
        own = given.gather(1, chosen_output[:, None])[:, 0]
        if not against_rest:
            return own
        others = given.scatter(1, chosen_output[:, None], -torch.inf)
        return own - others.logsumexp(dim=1)

    return answer


def _write_mean_maps(measured: Measured, pictures: Path) -> None:
    """Of samples spread evenly over each class, explained by what the model says of them."""
    label, rows = measured.samples.label, []
    present = np.unique(label).tolist()
    for one in present[:AVERAGED]:
        own = np.flatnonzero(label == one)
        count = min(len(own), max(1, AVERAGED // len(present)))
        places = own[np.linspace(0, len(own) - 1, count).astype(np.int64)]
        seen = _stretched(measured, places)
        maps = looked_at(measured, seen, _said(measured, places))
        if not maps:
            return
        means = {_title(measured, name): each.mean(axis=0) for name, each in maps.items()}
        rows.append(MeanMaps(class_names(measured)[one], count, seen.mean(axis=0), means))
    draw_mean_maps(rows).savefig(pictures / MEAN_MAPS, dpi=DOTS_PER_INCH)


def _said(measured: Measured, places: Numbers) -> list[int]:
    """The output to explain: that of the class that is predicted; else the first."""
    if isinstance(measured.run.objective, ClassificationObjective):
        said: list[int] = measured.output[places].argmax(axis=1).tolist()
        return said
    return [0] * len(places)


def _title(measured: Measured, method: str) -> str:
    assert isinstance(measured.run.network, nn.Sequential)
    return "residual" if isinstance(measured.run.network[1], Autoencoder) else method

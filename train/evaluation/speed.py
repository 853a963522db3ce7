"""How long a prediction takes."""

import time

import numpy as np
import torch

from schemas.report import Speed
from train.evaluation.measured import Measured
from train.predict import BATCH
from train.records.run_folder import device_name

# Rounds after the one that warms up, fewer where they would take longer than this together.
ROUNDS = 7
SECONDS = 0.6


def speeds(measured: Measured) -> tuple[Speed, ...]:
    """Of one image alone, and of many together: as many as fitted in training, or as time allows."""
    alone = _milliseconds(measured, 1)
    at_once = min(BATCH, measured.run.record.images_at_once or BATCH)
    # even the round that warms up is to be short; many together take no longer than each alone
    affordable = int(1000 * SECONDS / max(alone, 1e-6))
    size = max(2, min(at_once, 1 << max(1, affordable.bit_length() - 1)))
    told = device_name()
    return (
        Speed(batch=1, ms_per_image=alone, device=told),
        Speed(batch=size, ms_per_image=_milliseconds(measured, size) / size, device=told),
    )


def _milliseconds(measured: Measured, size: int) -> float:
    """The median time of a batch on the device, what comes back included."""
    network = measured.run.network
    here = next(network.parameters()).device
    places = np.arange(size) % len(measured.samples)
    images = torch.from_numpy(measured.samples.take(places)).to(here)
    taken: list[float] = []
    began = time.perf_counter()
    with torch.inference_mode():
        network(images).cpu()
        while not taken or (len(taken) < ROUNDS and time.perf_counter() - began < SECONDS):
            started = time.perf_counter()
            network(images).cpu()
            taken.append(time.perf_counter() - started)
    return 1000 * float(np.median(taken))

"""torch.compile where its toolchain works, and a clear word where it does not."""

import logging

import torch
from torch import nn

LOG = logging.getLogger(__name__)


def compile_network(network: nn.Module, device: torch.device) -> bool:
    """Translate a network in place, if this machine can; the names of its weights stay the same."""
    try:
        _try_toolchain(device)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        LOG.warning(
            "training.compile: this machine cannot translate networks (%s), so training goes on without."
            " torch.compile needs a C++ compiler on a CPU, and Triton on a GPU",
            lines[0],
        )
        return False
    # an autoencoder is called by its halves
    halves = [getattr(network, name) for name in ("encoder", "decoder") if hasattr(network, name)]
    for one in halves or [network]:
        one.compile()
    return True


def _try_toolchain(device: torch.device) -> None:
    """Forwards and backwards through the smallest network."""
    smallest = nn.Linear(2, 2).to(device)
    translated = torch.compile(smallest)
    translated(torch.ones(1, 2, device=device)).sum().backward()

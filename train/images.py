"""Images of chosen rows, batch by batch on the device: held there, held in memory, or streamed."""

from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.selection import Selection
from schemas.store import SCALE
from storage.profiles import NOTHING, decode
from storage.reader import Store
from storage.reading.batches import Batch
from storage.reading.epochs import Batching, Epoch
from storage.reading.resident import Mode, Resident, open_rows
from storage.reading.selection import select
from storage.reading.streaming import Streamed

IMAGE = "image"
# Part of the device's free memory that images may take; the rest is for the network and its gradients.
DEVICE_SHARE = 0.5
# Batches that are made while one is used: one that waits, and one under way.
AHEAD = 2
ROWS_AT_ONCE = 4096
CPU = torch.device("cpu")

Rows = NDArray[np.int64]
Pixels = NDArray[np.float32]
Made = TypeVar("Made")


class Images(Protocol):
    """The images of the selected rows of a split."""

    @property
    def tail(self) -> tuple[int, ...]:
        """The shape of an image: (channels, y, x)."""
        ...

    def batches(self, batching: Batching, epoch: int, start: int = 0) -> Iterator[tuple[Rows, Tensor]]:
        """Rows of the split and their images on the device, decoded, from batch `start` of an epoch on."""
        ...

    def length(self, batching: Batching) -> int:
        """How many batches an epoch has."""
        ...

    def take(self, rows: Rows) -> Pixels:
        """The images of these rows, in memory."""
        ...


def open_images(
    store: Store, selection: Selection, mode: Mode = "auto", device: torch.device = CPU
) -> Images:
    """Images on the device if they fit there, else in memory, else streamed; `mode` asks for one of them.

    The batches are the same in all three.
    """
    if device.type == "cuda" and mode != "streamed":
        source = Streamed(store, select(store, selection), (IMAGE,), codes=True)
        needed = len(source.selected) * sum(one.row_bytes for one in source.fields)
        if needed <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            return DeviceImages(source, device)
    rows = open_rows(store, selection, (IMAGE,), mode, codes=True)
    return PinnedImages(rows, device) if device.type == "cuda" else HostImages(rows)


class HostImages:
    """Trained on where they are. Streamed ones are read, gathered and decoded by a thread, ahead of use."""

    def __init__(self, source: Resident | Streamed) -> None:
        self.source = source
        self.tail = source.fields[0].tail

    def batches(self, batching: Batching, epoch: int, start: int = 0) -> Iterator[tuple[Rows, Tensor]]:
        made = self._made(batching, epoch, start)
        # to gather from memory takes no longer than to wake a thread, which has no core of its own here
        return made if isinstance(self.source, Resident) else ahead(made)

    def _made(self, batching: Batching, epoch: int, start: int) -> Generator[tuple[Rows, Tensor]]:
        # new memory for each batch: what is made of one must not change with the next
        with closing(self.source.epoch(batching, epoch, start)) as running:
            for batch in running:
                yield batch.rows, torch.from_numpy(_values(batch))

    def length(self, batching: Batching) -> int:
        return len(self.source.epoch(batching, 0))

    def take(self, rows: Rows) -> Pixels:
        """Shard by shard: all shards of a compressed store at once would be the whole of it."""
        pixels = np.empty((len(rows), *self.tail), np.float32)
        shard = rows // _shard_rows(self.source)
        for one in np.unique(shard):
            here = shard == one
            pixels[here] = _values(self.source.take(rows[here]))
        return pixels


class PinnedImages(HostImages):
    """The same for a GPU: batches go there from pinned memory, as they are stored, and are decoded there."""

    def __init__(self, source: Resident | Streamed, device: torch.device) -> None:
        super().__init__(source)
        self.device = device

    def batches(self, batching: Batching, epoch: int, start: int = 0) -> Iterator[tuple[Rows, Tensor]]:
        used = torch.cuda.current_stream(self.device)
        for rows, images, sent in ahead(self._sent(batching, epoch, start)):
            used.wait_event(sent)
            # the memory came from the stream of copies, which must not reuse it before this one is done
            images.record_stream(used)
            yield rows, images

    def _sent(
        self, batching: Batching, epoch: int, start: int
    ) -> Generator[tuple[Rows, Tensor, "torch.cuda.Event"]]:
        copies = torch.cuda.Stream(self.device)
        pinned = [self._pinned(batching.batch) for _ in range(AHEAD)]
        into = [{name: tensor.numpy() for name, tensor in one.items()} for one in pinned]
        events: dict[int, torch.cuda.Event] = {}
        with closing(self.source.epoch(batching, epoch, start, into)) as running:
            for number in count(start):
                turn = number % AHEAD
                if turn in events:
                    # the copy of the batch that was here must be through before the next is gathered
                    events[turn].synchronize()
                batch = next(running, None)
                if batch is None:
                    return
                with torch.cuda.stream(copies):
                    arrays = {
                        name: tensor[: len(batch)].to(self.device, non_blocking=True)
                        for name, tensor in pinned[turn].items()
                    }
                    images = decoded(arrays)
                    events[turn] = torch.cuda.Event()
                    events[turn].record(copies)
                yield batch.rows, images, events[turn]

    def _pinned(self, rows: int) -> dict[str, Tensor]:
        return {
            one.name: torch.empty((rows, *one.tail), dtype=_torch_type(one.dtype), pin_memory=True)
            for one in self.source.fields
        }


class DeviceImages:
    """All images on the device, as they are stored; only the numbers of rows go there for a batch."""

    def __init__(self, source: Streamed, device: torch.device) -> None:
        self.rows = source.selected.rows
        self.tail = source.fields[0].tail
        self.shard_rows = source.store.plan.shard_rows
        self.device = device
        self.arrays = {
            one.name: torch.empty((len(self.rows), *one.tail), dtype=_torch_type(one.dtype), device=device)
            for one in source.fields
        }
        at = 0
        for batch in source.epoch(Batching(batch=ROWS_AT_ONCE, shuffle=False), 0):
            for name, held in self.arrays.items():
                held[at : at + len(batch)] = torch.from_numpy(batch[name])
            at += len(batch)

    def batches(self, batching: Batching, epoch: int, start: int = 0) -> Iterator[tuple[Rows, Tensor]]:
        for rows in in_batches(Epoch(batching, self.rows, self.shard_rows, epoch), start):
            yield rows, self._gathered(rows)

    def length(self, batching: Batching) -> int:
        return len(Epoch(batching, self.rows, self.shard_rows, 0))

    def take(self, rows: Rows) -> Pixels:
        return self._gathered(rows).cpu().numpy()

    def _gathered(self, rows: Rows) -> Tensor:
        places = torch.from_numpy(np.searchsorted(self.rows, rows)).to(self.device)
        return decoded({name: held.index_select(0, places) for name, held in self.arrays.items()})


def in_batches(epoch: Epoch, start: int) -> Iterator[Rows]:
    """The rows of each batch of an epoch from one on; a batch may begin in one group and end in the next."""
    size = epoch.batching.batch
    waiting = np.empty(0, np.int64)
    for group in epoch.groups(start):
        waiting = np.concatenate([waiting, group.rows])
        whole = len(waiting) // size * size
        yield from np.split(waiting[:whole], range(size, whole, size)) if whole else ()
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


def ahead(iterator: Generator[Made]) -> Generator[Made]:
    """The same, made by a thread while the one before is used. What it raises is raised here."""
    pool = ThreadPoolExecutor(1, "lensmill-batches")
    try:
        waiting = [pool.submit(next, iterator, None) for _ in range(AHEAD)]
        while (made := waiting.pop(0).result()) is not None:
            waiting.append(pool.submit(next, iterator, None))
            yield made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        # threads and files of its own end now rather than when it is collected
        iterator.close()


def decoded(arrays: Mapping[str, Tensor]) -> Tensor:
    """The values behind codes, on any device, rounded as `storage.profiles.decode` does."""
    stored, scale = arrays[IMAGE], arrays.get(IMAGE + SCALE)
    if scale is None:
        return stored
    # torch knows little of uint16; what it knows as int16 has the same bits
    codes = stored.view(torch.int16).to(torch.int32) & 0xFFFF
    values = codes.to(torch.float32)
    values.mul_(scale[:, :, 0, None, None]).add_(scale[:, :, 1, None, None])
    return values.masked_fill_(codes == NOTHING, float("nan"))


def _values(batch: Batch) -> Pixels:
    scale = batch.arrays.get(IMAGE + SCALE)
    return np.asarray(batch[IMAGE]) if scale is None else decode(batch[IMAGE], scale)


def _shard_rows(source: Resident | Streamed) -> int:
    return source.shard_rows if isinstance(source, Resident) else source.store.plan.shard_rows


def _torch_type(dtype: "np.dtype[Any]") -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype

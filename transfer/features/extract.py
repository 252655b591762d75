"""Filling the cache: images stream through all levels in one pass.

They are read ahead while the network computes; only what the store does not hold yet is computed,
and what a killed training left is gone on from.
"""

import copy
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size
from filelock import Timeout

from transfer.cache.store import CacheEntry, Store
from transfer.data.dataset import DataIssue, ImageDataset, Split
from transfer.data.prefetch import processors, read_ahead
from transfer.data.transform import augmented
from transfer.errors import CacheError, ImageError, SourceError
from transfer.events import CacheProgress
from transfer.features.cached_dataset import (
    CachedDataset,
    CacheLayer,
    CacheSpec,
    MemmapTensor,
    name_of,
)
from transfer.model.vgg import Segment

SECONDS_BETWEEN_LOOKS = 0.2
MEASURED_IMAGES = 8
TRIES = 3


def passes_left(images: ImageDataset, spec: CacheSpec, store: Store) -> dict[str, int]:
    """Split → how many views of images must still be computed."""
    return {
        name: FeatureExtractor(images, name, spec, store).passes_left() for name in images.splits
    }


def seconds_a_pass(
    images: ImageDataset, spec: CacheSpec, store: Store, split: str, device: torch.device
) -> float:
    """What one view of one image of this split takes on its way through all levels, measured."""
    fill = FeatureExtractor(images, split, spec, store)
    views = spec.views_of(split)
    rows = list(range(min(len(fill.split), max(1, MEASURED_IMAGES // views))))
    started = time.perf_counter()
    pixels, _ = fill.read_images(rows)
    reading = (time.perf_counter() - started) / processors()
    tries = []
    for _ in range(TRIES):  # the first time is slower, and so is a busy moment
        started, values = time.perf_counter(), pixels
        for level in spec.levels:
            if level.stage is not None:
                values = fill.through(level, values, device)
        values.cpu()
        tries.append(time.perf_counter() - started)
    computing = min(tries)
    both = reading + computing if device.type == "cpu" else max(reading, computing)
    return both / (views * len(rows))


def cache_levels(
    images: ImageDataset,
    spec: CacheSpec,
    store: Store,
    accelerator: Accelerator,
    rows_a_batch: int,
) -> Iterator[CacheProgress]:
    """Have every kept level of every image; returns (block → split → Cached, problems).

    Training images get `views` views, the first one plain, the others randomly cropped and
    mirrored; the other splits have the plain one. An image that cannot be read is a problem and
    takes no part. Each process of a distributed training computes its share. Raises SourceError
    or CacheError.
    """
    total = sum(passes_left(images, spec, store).values())
    progress = partial(_progress, total=total, started=time.monotonic())
    done, problems = 0, []
    cached: dict[str, dict[str, CachedDataset]] = {
        level.block: {} for level in spec.levels if level.kept
    }
    fills = [FeatureExtractor(images, name, spec, store) for name in images.splits]
    ours = tuple(entry for fill in fills for _, entry in fill.kept)
    for fill in fills:
        name, split = fill.name, fill.split
        with ExitStack() as locks:
            if accelerator.is_main_process:
                for _ in fill.hold(locks):
                    yield progress(
                        "waiting for another training that prepares the same images", done
                    )
            for rows in fill.run(rows_a_batch, accelerator, ours):
                done += len(rows) * spec.views_of(name) * accelerator.num_processes
                yield progress("preparing images", done)
            bad = fill.bad_rows()
            for level, entry in fill.kept:
                cached[level.block][name] = _labelled(MemmapTensor(entry), split, set(bad))
            accelerator.wait_for_everyone()
        problems += [DataIssue(where=split.names[row], why=why) for row, why in bad.items()]
    return cached, problems


def _progress(stage: str, done: int, total: int, started: float) -> CacheProgress:
    seconds = time.monotonic() - started
    return CacheProgress(stage=stage, done=min(done, total), total=total, seconds=seconds)


class FeatureExtractor:
    """One split on its way through the levels."""

    def __init__(self, images: ImageDataset, name: str, spec: CacheSpec, store: Store):
        self.name, self.split, self.spec, self.store = name, images.splits[name], spec, store
        self.kept = [
            (
                level,
                store.entry(
                    spec.key(images, name, level),
                    spec.shape_of(name, level, len(self.split)),
                    name_of(spec.dtype_of(name, level)),
                ),
            )
            for level in spec.levels
            if level.kept
        ]
        self.stages: dict[str, Segment] = {}

    def passes_left(self) -> int:
        return len(self._rows_left(self._wanted())) * self.spec.views_of(self.name)

    def _wanted(self) -> dict[str, CacheEntry]:
        """Block → entry of what is not there yet."""
        return {level.block: entry for level, entry in self.kept if not entry.whole}

    def _rows_left(self, wanted: dict[str, CacheEntry]) -> np.ndarray:
        done = [entry.done()[0] for entry in wanted.values()]
        return np.flatnonzero(~np.all(done, axis=0)) if done else np.zeros(0, dtype=np.int64)

    def bad_rows(self) -> dict[int, str]:
        """Row → why it could not be read, whichever level lacks it."""
        return {row: why for _, entry in self.kept for row, why in entry.bad_rows().items()}

    def hold(self, locks: ExitStack) -> Iterator[None]:
        """Lock what is to be read or filled; yields while another training is at it."""
        for _, entry in self.kept:
            while True:
                try:
                    locks.enter_context(entry.lock.acquire(timeout=0))
                    break
                except Timeout:
                    yield
                    time.sleep(SECONDS_BETWEEN_LOOKS)

    def run(self, rows_a_batch: int, accelerator: Accelerator, ours: tuple) -> Iterator[list[int]]:
        """Compute what is missing; yields the rows of each batch once they are written."""
        accelerator.wait_for_everyone()  # the main process holds the locks
        if accelerator.is_main_process:
            self._try_again()
        accelerator.wait_for_everyone()
        wanted = self._wanted()
        accelerator.wait_for_everyone()  # all have looked before one of them begins
        if wanted:
            if accelerator.is_main_process:
                self._start(wanted, ours)
            accelerator.wait_for_everyone()
            yield from self._compute(wanted, rows_a_batch, accelerator)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                for entry in wanted.values():
                    entry.finish()
            accelerator.wait_for_everyone()
        for _, entry in self.kept:
            if not entry.whole:
                raise CacheError("the cache was changed while it was filled; train again")
            entry.touch()

    def _try_again(self) -> None:
        """Images that could not be read count as missing where they can be read now: what may be
        read on this machine, no key says."""
        tries = read_ahead(lambda row: self.read_images([row]), sorted(self.bad_rows()))
        readable = {row for row, (_, bad) in tries if not bad}
        for _, entry in self.kept:
            if rows := sorted(readable & entry.bad_rows().keys()):
                entry.forget(rows)

    def _start(self, wanted: dict[str, CacheEntry], ours: tuple) -> None:
        needed = sum(max(0, entry.full_bytes - entry.bytes) for entry in wanted.values())
        self.store.make_room(needed, keep=ours)
        for entry in wanted.values():
            entry.start()

    def _compute(
        self, wanted: dict[str, CacheEntry], rows_a_batch: int, accelerator: Accelerator
    ) -> Iterator[list[int]]:
        read, levels, known_bad = self._above(wanted)
        rows = self._rows_left(wanted)
        batches = [rows[i : i + rows_a_batch].tolist() for i in range(0, len(rows), rows_a_batch)]
        mine = batches[accelerator.process_index :: accelerator.num_processes]
        try:
            for batch, (values, bad) in read_ahead(read, mine):
                bad |= {row: known_bad[row] for row in batch if row in known_bad}
                for level in levels:
                    if level.stage is not None:
                        values = self.through(level, values, accelerator.device)
                    if level.block in wanted:
                        wanted[level.block].write(batch, _numbers(values), bad)
                yield batch
        finally:
            for entry in wanted.values():
                entry.flush()

    def _above(
        self, wanted: dict[str, CacheEntry]
    ) -> tuple[Callable, list[CacheLayer], dict[int, str]]:
        """(how to read a batch, the levels to compute, rows known to be bad): from the highest
        level that stands on disk below the lowest one that does not, else from the images."""
        levels, entries = list(self.spec.levels), {level.block: e for level, e in self.kept}
        missing = [i for i, level in enumerate(levels) if level.block in wanted]
        first, levels = missing[0], levels[: missing[-1] + 1]
        for i in reversed(range(first)):
            if (entry := entries.get(levels[i].block)) is not None:
                read = partial(_read_kept, MemmapTensor(entry))
                return read, levels[i + 1 :], entry.bad_rows()
        return self.read_images, levels, {}

    def read_images(self, rows: list[int]) -> tuple[torch.Tensor, dict[int, str]]:
        """(uint8 (V, len(rows), 3, S, S), row → why it could not be read)."""
        spec, bad, side = self.spec, {}, self.spec.transform.image_size
        pixels = torch.zeros(spec.views_of(self.name), len(rows), 3, side, side).byte()
        for at, row in enumerate(rows):
            try:
                plain = spec.transform.load(self.split.read(row))
            except ImageError as error:
                bad[row] = str(error)
                continue
            draw = random.Random(f"{spec.seed} {self.name} {row}")
            for view in range(len(pixels)):
                drawn = augmented(plain, draw) if view else plain
                pixels[view, at] = torch.from_numpy(spec.transform.resized(drawn))
        return pixels, bad

    def through(
        self, level: CacheLayer, values: torch.Tensor, device: torch.device
    ) -> torch.Tensor:
        """(V, n, …) → (V, n, …) behind the level's layers.

        Their weights are in the wanted dtype themselves: it gives what autocast gives, sooner.
        """
        if level.block not in self.stages:
            dtype = self.spec.dtype_of(self.name, level)
            self.stages[level.block] = copy.deepcopy(level.stage).to(device, dtype).eval()
        with torch.inference_mode():
            flat = values.flatten(0, 1).to(device)
            return in_parts(self.stages[level.block], flat).unflatten(0, values.shape[:2])


def _read_kept(below: MemmapTensor, rows: list[int]) -> tuple[torch.Tensor, dict[int, str]]:
    return torch.stack([below[view, rows] for view in range(len(below))]), {}


def in_parts(stage: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """`stage(inputs)`; where memory does not suffice, half of them at a time."""
    try:
        return stage(inputs)
    except RuntimeError as error:
        if len(inputs) == 1 or not should_reduce_batch_size(error):
            raise
    return torch.cat([in_parts(stage, half) for half in inputs.chunk(2)])


def _numbers(values: torch.Tensor) -> np.ndarray:
    values = values.cpu().contiguous()
    return (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()


def _labelled(inputs: MemmapTensor, split: Split, bad: set[int]) -> CachedDataset:
    rows = np.array([row for row in range(len(split)) if row not in bad], dtype=np.int64)
    if len(rows) == 0:
        raise SourceError("expected images that can be read, found none; run inspect to see why")
    readable = split.take(rows)
    return CachedDataset(
        inputs=inputs,
        rows=torch.from_numpy(rows),
        labels=torch.from_numpy(readable.labels),
        names=readable.names,
        random_views=len(inputs) > 1,
    )

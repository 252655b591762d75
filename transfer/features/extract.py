"""Feature extraction: images stream once through the frozen layers, and the outputs are cached.

Images are read ahead while the network computes. Only what the store lacks is computed, from the
highest cached layer below it where there is one. An interrupted training (or one slice of a GPU
that is available for a minute at a time) continues where it stopped.
"""

import copy
import random
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, closing, contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from filelock import Timeout

from transfer.cache.paths import cache_errors
from transfer.cache.store import CacheEntry, Store
from transfer.data.dataset import DataIssue, ImageDataset, Split
from transfer.data.prefetch import processors, read_ahead
from transfer.data.transform import augmented
from transfer.errors import ImageError, SourceError
from transfer.events import CacheProgress
from transfer.features.cached_dataset import (
    CachedDataset,
    CacheLayer,
    CacheSpec,
    MemmapTensor,
    dtype_name,
)
from transfer.features.shared_cache import check_shared
from transfer.machine.device import in_parts
from transfer.model.vgg import Segment

SECONDS_BETWEEN_LOCK_TRIES = 0.2
MEASURED_IMAGES, MEASURED_AT, MEASUREMENTS = 8, 112, 3  # images of so many pixels a side, times
SECONDS_OF_MEASURING = 1.0  # after so many the quickest so far counts
MOST_MEASURED = 64  # smaller images, for a few would mostly measure the calls


def passes_left(images: ImageDataset, spec: CacheSpec, store: Store) -> dict[str, int]:
    """Split → how many views of images must still be computed."""
    return {
        name: FeatureExtractor(images, name, spec, store).passes_left() for name in images.splits
    }


def all_entries(images: ImageDataset, spec: CacheSpec, store: Store) -> tuple[CacheEntry, ...]:
    """Of all splits and layers."""
    extractors = (FeatureExtractor(images, name, spec, store) for name in images.splits)
    return tuple(entry for one in extractors for entry in one.entries.values())


def seconds_a_pass(
    images: ImageDataset, spec: CacheSpec, store: Store, split: str, device: torch.device
) -> float:
    """Measured seconds that one view of one image of this split takes through all layers."""
    extractor = FeatureExtractor(images, split, spec, store)
    views = spec.views_of(split)
    passes = MEASURED_IMAGES * MEASURED_AT**2 // spec.transform.image_size**2
    passes = min(MOST_MEASURED, max(MEASURED_IMAGES, passes))
    rows = range(min(len(extractor.split), max(1, passes // views)))
    started = time.perf_counter()
    pixels, _ = extractor.read_images(rows)
    reading = (time.perf_counter() - started) / processors()
    measured = []
    # the first is slower, and so is a busy moment
    while len(measured) < MEASUREMENTS and sum(measured) < SECONDS_OF_MEASURING:
        started, values = time.perf_counter(), pixels
        for layer in spec.layers:
            if layer.segment is not None:
                values = extractor.forward(layer, values, device)
        values.cpu()  # waits for a GPU
        measured.append(time.perf_counter() - started)
    computing = min(measured)
    # a GPU computes while the processors read; without one they share the processors
    total = reading + computing if device.type == "cpu" else max(reading, computing)
    return total / (views * len(rows))


def cache_layers(
    images: ImageDataset, spec: CacheSpec, store: Store, accelerator: Accelerator, rows_a_batch: int
) -> Iterator[CacheProgress]:
    """Cache every layer of every image; returns (block → split → CachedDataset, issues).

    Training images get `views` views, the first one plain, the others randomly cropped and
    mirrored; other splits only the plain one. An unreadable image is an issue and left out. Each
    process of a distributed training computes its share. Raises SourceError or CacheError.
    """
    total = sum(passes_left(images, spec, store).values())
    started, done, issues = time.monotonic(), 0, []

    def progress(stage: str) -> CacheProgress:
        seconds = time.monotonic() - started
        return CacheProgress(stage=stage, done=min(done, total), total=total, seconds=seconds)

    if accelerator.num_processes > 1:
        check_shared(store.folder, accelerator)
    cached = {layer.block: {} for layer in spec.layers if layer.cached}
    extractors = [FeatureExtractor(images, name, spec, store) for name in images.splits]
    with ExitStack() as locks:
        if accelerator.is_main_process:
            for extractor in extractors:
                for _ in extractor.lock(locks):
                    yield progress("waiting for another training that prepares the same images")
            locks.enter_context(_reserved(extractors, store, several=accelerator.num_processes > 1))
        accelerator.wait_for_everyone()
        for extractor in extractors:
            split = extractor.split
            # closed before the locks are released: it saves what an interrupted training has
            with closing(extractor.run(rows_a_batch, accelerator)) as batches:
                for rows in batches:
                    done += len(rows) * spec.views_of(extractor.name) * accelerator.num_processes
                    yield progress("preparing images")
            unreadable = extractor.unreadable()
            for block, entry in extractor.entries.items():
                inputs = MemmapTensor(entry)
                cached[block][extractor.name] = _labelled(inputs, split, unreadable.keys())
            issues += [
                DataIssue(where=split.names[row], why=why) for row, why in unreadable.items()
            ]
        accelerator.wait_for_everyone()
    return cached, issues


@contextmanager
def _reserved(
    extractors: list["FeatureExtractor"], store: Store, *, several: bool
) -> Iterator[None]:
    """Room on the disk for all that is missing of all splits, taken before an image is read.

    The caller holds the entries' locks. What was not begun is given back. Raises CacheError.
    """
    entries = tuple(entry for one in extractors for entry in one.entries.values())
    new = [entry for one in extractors for entry in one.to_begin(several=several)]
    for entry in new:
        entry.discard()  # what a killed training left
    store.make_room(sum(entry.full_bytes for entry in new), keep=entries)
    try:
        for entry in new:
            entry.start()
        yield
    finally:
        for entry in new:
            if not entry.rows:
                entry.discard()


class FeatureExtractor:
    """Computes and caches all layers of one split."""

    def __init__(self, images: ImageDataset, name: str, spec: CacheSpec, store: Store):
        self.name, self.split, self.spec, self.store = name, images.splits[name], spec, store
        self.entries = {  # by block, from the pixels up
            layer.block: store.entry(
                spec.key(images, name, layer),
                spec.shape_of(name, layer, len(self.split)),
                dtype_name(spec.dtype_of(name, layer)),
            )
            for layer in spec.layers
            if layer.cached
        }
        self._segments: dict[str, Segment] = {}

    def passes_left(self) -> int:
        rows = len(self.split) - min(entry.rows for entry in self.entries.values())
        return rows * self.spec.views_of(self.name)

    def unreadable(self) -> dict[int, str]:
        """Row → why its image could not be read, whichever layer lacks it."""
        return {row: why for e in self.entries.values() for row, why in e.unreadable().items()}

    def lock(self, locks: ExitStack) -> Iterator[None]:
        """Lock all entries; yields while another training fills one of them."""
        for entry in self.entries.values():
            while not entry.lock.is_locked:
                try:
                    with cache_errors():
                        locks.enter_context(entry.lock.acquire(timeout=0))
                except Timeout:
                    yield
                    time.sleep(SECONDS_BETWEEN_LOCK_TRIES)

    def to_begin(self, *, several: bool) -> list[CacheEntry]:
        """The entries that are filled from the first row on: those missing, unless all of them have
        rows. `several` processes write here and there, so they begin again."""
        self._discard_what_can_be_read_now()
        missing = self._missing().values()
        return list(missing) if several or not all(entry.rows for entry in missing) else []

    def run(self, rows_a_batch: int, accelerator: Accelerator) -> Iterator[range]:
        """Compute what is missing; yields the rows of each batch once they are written."""
        if missing := self._missing():
            first = min(entry.rows for entry in missing.values())
            yield from self._compute(missing, first, rows_a_batch, accelerator)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                for entry in missing.values():
                    entry.save(len(self.split))
            accelerator.wait_for_everyone()
        for entry in self.entries.values():
            entry.touch()

    def _missing(self) -> dict[str, CacheEntry]:
        return {block: entry for block, entry in self.entries.items() if not entry.complete}

    def _discard_what_can_be_read_now(self) -> None:
        """An image that failed is tried again: what this machine can read is not in the key."""
        retried = read_ahead(lambda row: self.read_images([row]), sorted(self.unreadable()))
        readable = {row for row, (_, unreadable) in retried if not unreadable}
        for entry in self.entries.values():
            if readable & entry.unreadable().keys():
                entry.discard()

    def _compute(
        self,
        missing: dict[str, CacheEntry],
        first: int,
        batch_size: int,
        accelerator: Accelerator,
    ) -> Iterator[range]:
        """From row `first` on. A single process that is interrupted saves how far it came."""
        read, layers, unreadable_below = self._input_of(missing)
        rows, done = range(first, len(self.split)), first
        batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        mine = batches[accelerator.process_index :: accelerator.num_processes]
        try:
            for batch, (values, unreadable) in read_ahead(read, mine):
                known = {row: unreadable_below[row] for row in batch if row in unreadable_below}
                for layer in layers:
                    if layer.segment is not None:
                        values = self.forward(layer, values, accelerator.device)
                    if layer.block in missing:
                        missing[layer.block].write(batch[0], _to_numpy(values), unreadable | known)
                done = batch[-1] + 1
                yield batch
        finally:
            if accelerator.num_processes == 1 and done > first:
                for entry in missing.values():
                    entry.save(done)

    def _input_of(
        self, missing: dict[str, CacheEntry]
    ) -> tuple[Callable, list[CacheLayer], dict[int, str]]:
        """(how to read a batch, the layers to compute, the unreadable rows that are known): from
        the highest cached layer below all missing ones, else from the images."""
        layers = list(self.spec.layers)
        indices = [i for i, layer in enumerate(layers) if layer.block in missing]
        end = indices[-1] + 1
        for i in reversed(range(indices[0])):
            if entry := self.entries.get(layers[i].block):
                return MemmapTensor(entry).read, layers[i + 1 : end], entry.unreadable()
        return self.read_images, layers[:end], {}

    def read_images(self, rows: Sequence[int]) -> tuple[torch.Tensor, dict[int, str]]:
        """(uint8 (V, len(rows), 3, S, S), row → why it could not be read)."""
        spec, unreadable, side = self.spec, {}, self.spec.transform.image_size
        pixels = torch.zeros(spec.views_of(self.name), len(rows), 3, side, side, dtype=torch.uint8)
        for at, row in enumerate(rows):
            try:
                plain = spec.transform.load(self.split.read(row))
            except ImageError as error:
                unreadable[row] = str(error)
                continue
            # seeded by image: the same views, whatever the batches and the other images are
            generator = random.Random(f"{spec.seed} {self.name} {row}")
            for view in range(len(pixels)):
                drawn = augmented(plain, generator) if view else plain
                pixels[view, at] = torch.from_numpy(spec.transform.resized(drawn))
        return pixels, unreadable

    def forward(self, layer: CacheLayer, values: torch.Tensor, device) -> torch.Tensor:
        """(V, n, …) → (V, n, …) after the layer's segment, on `device`.

        The weights are converted to the split's dtype: same result as autocast, but faster.
        """
        if layer.block not in self._segments:
            dtype = self.spec.precision_of(self.name)
            self._segments[layer.block] = copy.deepcopy(layer.segment).to(device, dtype).eval()
        with torch.inference_mode():
            segment, flat = self._segments[layer.block], values.flatten(0, 1)  # (V · n, …)
            output = in_parts(lambda part: segment(part.to(device)), flat)
            if layer.pooled:
                output = output.float().contiguous().mean(dim=(2, 3), keepdim=True)
            return output.unflatten(0, values.shape[:2])


def _to_numpy(values: torch.Tensor) -> np.ndarray:
    """The same bytes; bfloat16, which numpy lacks, as int16."""
    values = values.cpu().contiguous()
    return (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()


def _labelled(inputs: MemmapTensor, split: Split, unreadable: Set[int]) -> CachedDataset:
    rows = np.delete(np.arange(len(split)), sorted(unreadable))
    if not len(rows):
        raise SourceError("expected images that can be read, found none; run inspect to see why")
    readable = split.take(rows)
    return CachedDataset(
        inputs=inputs,
        rows=torch.from_numpy(rows),
        labels=torch.from_numpy(readable.labels),
        names=readable.names,
        random_views=len(inputs) > 1,
    )

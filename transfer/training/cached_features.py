"""The frozen body's features of a dataset, from the cache that trainings fill."""

from collections.abc import Iterator
from dataclasses import replace

from transfer.cache.store import open_store
from transfer.events import Event
from transfer.features.extract import passes_left
from transfer.features.plan import PlanRequest
from transfer.runs.run import read_run
from transfer.settings import LINEAR_HEAD, TrainingSettings
from transfer.training.accelerator import make_accelerator
from transfer.training.preparation import fill_cache, load, plan_cache
from transfer.training.state import TrainingState


def asked_settings(run: str | None, given: dict) -> TrainingSettings:
    """The run's, else the defaults; what is `given` and not None wins. Raises RunError."""
    settings = read_run(run).settings if run else TrainingSettings()
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def cached_features(source: str, asked: TrainingSettings) -> Iterator[Event]:
    """Load a dataset and its features; returns the TrainingState, of which nothing is trained.

    Where a training with these settings has cached the features, they are read from there; else
    only the plain view of each image is computed. Raises TransferError.
    """
    accelerator = make_accelerator(asked.seed, asked.precision)
    # the output of the body has the same key, whatever is trained on it
    asked = replace(asked, method="finetune", unfreeze="none", head=LINEAR_HEAD, try_heads=False)
    asked = replace(asked, others=None)  # nothing is learned from them here
    training = yield from load(source, asked, accelerator, None)
    training.settings = settings = replace(training.settings, method="features")
    if not _is_cached(training):
        training.settings = replace(settings, views=1)
    yield from plan_cache(training)
    yield from fill_cache(training)
    return training


def _is_cached(training: TrainingState) -> bool:
    """Whether no view of any image is missing."""
    request = PlanRequest(
        network=training.network,
        body=training.body.sha256,
        settings=training.settings,
        asked=training.asked,
        images=training.images,
        accelerator=training.accelerator,
    )
    spec = request.spec(next(request.choices()))
    return not any(passes_left(training.images, spec, open_store()).values())

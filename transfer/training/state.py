"""A training under way: what the steps of the recipe hand to each other."""

from dataclasses import dataclass, field

import torch
from accelerate import Accelerator

from transfer.cache.store import Store
from transfer.data.dataset import ImageDataset
from transfer.data.transform import Transform
from transfer.events import EpochDone, PhaseDone
from transfer.features.cached_dataset import CachedDataset
from transfer.features.plan import Plan
from transfer.model.vgg import Network, Segment, build_network
from transfer.model.weights import Body
from transfer.runs.phase_heads import PhaseHead
from transfer.runs.writer import RunWriter
from transfer.settings import TrainingSettings
from transfer.training.history import TrainingHistory
from transfer.training.resume import ResumeState
from transfer.training.step import class_weights, predict


@dataclass(kw_only=True)
class TrainingState:
    """What the steps hand to each other.

    `asked` are the settings as they came, `settings` what was made of them. `border` is what is
    kept where the lowest unfrozen block begins, `features` what leaves the body. `reached` is the
    loss and accuracy on validation that the network has at present, `heads` those that it had after
    each stage. `earlier` is what it goes on from, where it was cut off.
    """

    builder: RunWriter
    store: Store
    accelerator: Accelerator
    asked: TrainingSettings
    settings: TrainingSettings
    body: Body
    images: ImageDataset
    network: Network
    transform: Transform
    earlier: ResumeState | None = None
    plan: Plan | None = None
    border: dict[str, CachedDataset] = field(default_factory=dict)
    features: dict[str, CachedDataset] = field(default_factory=dict)
    reached: tuple[float, float] | None = None
    heads: dict[str, PhaseHead] = field(default_factory=dict)
    record: TrainingHistory = field(default_factory=TrainingHistory)

    @property
    def class_weights(self) -> torch.Tensor | None:
        """What each class weighs in a loss, where they weigh differently."""
        if not self.settings.class_weights:
            return None
        return class_weights(self.features["train"].labels, len(self.images.classes))

    def stage(self, *layers: torch.nn.Module) -> Segment:
        return Segment(torch.nn.Sequential(*layers), self.transform)

    def judge(
        self, done: PhaseDone, curve: list[EpochDone], module: Segment, test: CachedDataset
    ) -> None:
        """Record a phase, with what it answers on the test images."""
        scores = predict(module, test, self.accelerator.device)
        self.record.add_phase(done, curve, scores, test.labels.numpy())


def build(settings: TrainingSettings, body: Body, images: ImageDataset) -> Network:
    return build_network(
        architecture=settings.architecture,
        body=body.tensors,
        head=settings.head,
        image_size=settings.image_size,
        classes=len(images.classes),
        seed=settings.seed,
    )

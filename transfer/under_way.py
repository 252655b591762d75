"""A training under way: what the steps of the recipe hand to each other."""

from dataclasses import dataclass, field

import torch
from accelerate import Accelerator

from transfer.evaluation import predict
from transfer.events import EpochDone, PhaseDone
from transfer.features import Cached
from transfer.network import Network, Stage, build_network
from transfer.plan import Plan
from transfer.record import Record
from transfer.resuming import Earlier
from transfer.run_builder import RunBuilder
from transfer.settings import TrainingSettings
from transfer.source import LabelledImages
from transfer.stages import StageHead
from transfer.step import class_weights
from transfer.store import Store
from transfer.transform import Transform
from transfer.weights import Body


@dataclass(kw_only=True)
class Training:
    """What the steps hand to each other.

    `asked` are the settings as they came, `settings` what was made of them. `border` is what is
    kept where the lowest unfrozen block begins, `features` what leaves the body. `reached` is the
    loss and accuracy on validation that the network has at present, `heads` those that it had after
    each stage. `earlier` is what it goes on from, where it was cut off.
    """

    builder: RunBuilder
    store: Store
    accelerator: Accelerator
    asked: TrainingSettings
    settings: TrainingSettings
    body: Body
    images: LabelledImages
    network: Network
    transform: Transform
    earlier: Earlier | None = None
    plan: Plan | None = None
    border: dict[str, Cached] = field(default_factory=dict)
    features: dict[str, Cached] = field(default_factory=dict)
    reached: tuple[float, float] | None = None
    heads: dict[str, StageHead] = field(default_factory=dict)
    record: Record = field(default_factory=Record)

    @property
    def class_weights(self) -> torch.Tensor | None:
        """What each class weighs in a loss, where they weigh differently."""
        if not self.settings.class_weights:
            return None
        return class_weights(self.features["train"].labels, len(self.images.classes))

    def stage(self, *layers: torch.nn.Module) -> Stage:
        return Stage(torch.nn.Sequential(*layers), self.transform)

    def judge(self, done: PhaseDone, curve: list[EpochDone], module: Stage, test: Cached) -> None:
        """Record a phase, with what it answers on the test images."""
        scores = predict(module, test, self.accelerator.device)
        self.record.add_phase(done, curve, scores, test.labels.numpy())


def build(settings: TrainingSettings, body: Body, images: LabelledImages) -> Network:
    return build_network(
        architecture=settings.architecture,
        body=body.tensors,
        head=settings.head,
        image_size=settings.image_size,
        classes=len(images.classes),
        seed=settings.seed,
    )

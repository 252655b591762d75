"""The state of a training that the steps of the recipe pass to each other."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator

from transfer.data.dataset import ImageDataset
from transfer.data.others import MOST_OTHERS
from transfer.data.transform import Transform
from transfer.events import EpochDone, PhaseDone
from transfer.features.cached_dataset import CachedDataset
from transfer.features.fit import CHANNELS
from transfer.features.plan import Plan
from transfer.machine.processes import from_main_process
from transfer.model.vgg import Head, Network, Segment, parameter_count
from transfer.model.weights import Body
from transfer.runs.familiarity import MOST_REFERENCES
from transfer.runs.writer import RunWriter
from transfer.settings import TrainingSettings
from transfer.training.history import TrainingHistory
from transfer.training.resume import ResumeState
from transfer.training.step import class_weights, predict


@dataclass(kw_only=True)
class TrainingState:
    """What is trained, on what, and what came of it so far.

    `asked` are the settings as given, `settings` those with every default filled in. `cached` is
    block → split → what enters that block (`none`: what leaves the body). `earlier` is the
    checkpoint that this training continues. `should_stop` ends a phase within one batch.
    `test_outputs`, float32 (M, C), are what left the body at the end of the latest phase, averaged.
    """

    accelerator: Accelerator
    asked: TrainingSettings
    settings: TrainingSettings
    images: ImageDataset
    body: Body
    network: Network
    history: TrainingHistory
    earlier: ResumeState | None = None
    writer: RunWriter | None = None
    should_stop: Callable[[], bool] = lambda: False
    plan: Plan | None = None
    test_outputs: np.ndarray | None = None
    cached: dict[str, dict[str, CachedDataset]] = field(default_factory=dict)

    @property
    def features(self) -> dict[str, CachedDataset]:
        """Split → what leaves the body."""
        return self.cached["none"]

    @property
    def transform(self) -> Transform:
        return Transform(image_size=self.settings.image_size, greys=self.images.greys)

    @property
    def class_weights(self) -> torch.Tensor | None:
        """Float32 (classes,); None where every image has the same weight in the loss."""
        if not self.settings.class_weights:
            return None
        return class_weights(self.features["train"].labels, len(self.images.classes))

    @property
    def result_bytes(self) -> int:
        """At most what the run will take: float32 heads of all phases, unfrozen blocks, float16
        directions of training photos, JSON."""
        network, images = self.network, sum(self.images.counts().values())
        body = parameter_count(network.between(self.settings.unfreeze, "none"))
        heads = 2 * parameter_count(network.head) + 513 * len(self.images.classes)
        photos = min(self.images.counts()["train"], MOST_REFERENCES) + MOST_OTHERS
        references = 2 * CHANNELS["none"] * photos
        texts = 8 * len(self.images.classes) ** 2 + 200 * images + 100_000
        return 4 * (body + heads) + references + texts

    def segment(self, *layers: torch.nn.Module) -> Segment:
        """Layers of the network as they run on cached inputs."""
        return Segment(torch.nn.Sequential(*layers), self.transform)

    def block_of(self, phase: str) -> str:
        """The block whose cached input this phase is trained on."""
        return self.plan.cut if phase == "fine-tune" else "none"

    def body_of(self, phase: str) -> Segment:
        """The layers of the body that this phase runs on what is cached."""
        return self.segment(self.network.between(self.block_of(phase), "none"))

    def record_phase(self, done: PhaseDone, curve: list[EpochDone], head: Head) -> None:
        """Add a phase to the history, judged on the test images."""
        test, body = self.cached[self.block_of(done.phase)]["test"], self.body_of(done.phase)
        found = from_main_process(lambda: predict(body, head, test, self.accelerator.device))
        logits, self.test_outputs = found
        self.history.add_phase(done, curve, logits, test.labels.numpy())

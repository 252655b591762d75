"""What a training records about itself: each phase, its scores, and the final result."""

import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

import numpy as np
import torch

from transfer.data.dataset import ImageDataset
from transfer.events import EpochDone, PhaseDone
from transfer.features.calibration import Calibration
from transfer.features.validation import Validation
from transfer.runs.metrics import accuracy_of, make_report, reliability, set_report
from transfer.runs.phase_heads import PhaseHead

SKIPPED_SHOWN = 200  # in the report, which stays readable
LIBRARIES = ("torch", "timm", "accelerate", "datasets", "huggingface-hub", "scikit-learn")


@dataclass(kw_only=True)
class TrainingHistory:
    """Grows phase by phase.

    `stages` judges each phase on the test images, `logits`, float32 (M, classes), are the latest
    phase's. `heads` is the table of the head search, `phase_heads` the head after each phase,
    `validations` how each did on the validation images, `calibrations` what its scores are
    corrected by. `strength` is C of the linear classifier, `blocks` what BlocksProbed said.
    """

    phases: list[dict] = field(default_factory=list)
    stages: dict[str, dict] = field(default_factory=dict)
    heads: list[dict] = field(default_factory=list)
    phase_heads: dict[str, PhaseHead] = field(default_factory=dict)
    logits: np.ndarray | None = None
    validations: dict[str, Validation] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    strength: float = 1.0
    blocks: dict = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def calibration(self) -> Calibration:
        """Of the latest phase."""
        return self.calibrations[self.phases[-1]["name"]]

    def add_phase(
        self, done: PhaseDone, curve: list[EpochDone], logits: np.ndarray, labels: np.ndarray
    ) -> None:
        """`logits` float (M, classes) on the test images, the same ones for every phase."""
        judged = accuracy_of(logits.argmax(axis=1), labels)
        self.stages[done.phase] = judged | {"validation_accuracy": done.accuracy}
        self.logits = logits
        known = ("epochs", "seconds", "accuracy", "best_epoch", "share", "ended")
        phase = {"name": done.phase} | {name: getattr(done, name) for name in known}
        phase |= {"test_accuracy": judged["accuracy"], "curve": [asdict(e) for e in curve]}
        self.phases.append(phase)

    def pack(self) -> dict:
        """JSON and tensors; `started` becomes the seconds since."""
        return vars(self) | {
            "phase_heads": {phase: vars(head) for phase, head in self.phase_heads.items()},
            "validations": {phase: vars(found) for phase, found in self.validations.items()},
            "calibrations": {phase: vars(found) for phase, found in self.calibrations.items()},
            "logits": torch.from_numpy(self.logits),
            "started": time.monotonic() - self.started,
        }

    @classmethod
    def unpack(cls, data: dict) -> "TrainingHistory":
        """The inverse of `pack`."""
        changed = {
            "phase_heads": {name: PhaseHead(**head) for name, head in data["phase_heads"].items()},
            "validations": {p: Validation(**found) for p, found in data["validations"].items()},
            "calibrations": {p: Calibration(**found) for p, found in data["calibrations"].items()},
            "logits": data["logits"].numpy(),
            "started": time.monotonic() - data["started"],
        }
        return cls(**data | changed)

    def report(self, images: ImageDataset, labels: np.ndarray, names: tuple[str, ...]) -> dict:
        """The content of report.json."""
        from scipy.special import softmax

        calibration = self.calibration
        scores, before = calibration.tempered(self.logits), softmax(self.logits, axis=1)
        predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
        hits, inside = predicted == labels, scores >= calibration.least_score
        return make_report(predicted, confidence, labels, names, images.classes) | {
            "calibration": vars(calibration)
            | {
                "before": reliability(before.max(axis=1), hits),
                "after": reliability(confidence, hits),
            },
            "sets": set_report(inside[np.arange(len(labels)), labels], inside.sum(axis=1)),
            "stages": self.stages,
            "curves": {p["name"]: p["curve"] for p in self.phases if p.get("curve")},
            "heads": self.heads,
            **({"block_probes": self.blocks} if self.blocks else {}),
            "skipped": [problem.to_json() for problem in images.problems[:SKIPPED_SHOWN]],
            "skipped_total": len(images.problems),
        }

    def result(self, report: dict, **known) -> dict:
        """What `train --json` prints; the phases' accuracies are on validation."""
        phases = [{k: v for k, v in phase.items() if k != "curve"} for phase in self.phases]
        return known | {
            "phases": phases,
            "accuracy": report["accuracy"],
            "accuracy_interval": report["interval"],
            "balanced_accuracy": report["balanced_accuracy"],
            "uneven": report["uneven"],
            "seconds": time.monotonic() - self.started,
            "peak_rss_bytes": peak_rss_bytes(),
        }


def library_versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def peak_rss_bytes() -> int:
    """The peak memory of this process; 0 on systems that do not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kB

"""What a training writes down about itself while it goes: phases, stages, and the final result."""

import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

import numpy as np

from transfer.data.dataset import ImageDataset
from transfer.events import EpochDone, PhaseDone
from transfer.runs.metrics import accuracy_of, make_report

LIBRARIES = ("torch", "timm", "accelerate", "datasets", "huggingface-hub", "scikit-learn")


@dataclass(kw_only=True)
class TrainingHistory:
    """Grows phase by phase. `scores` are those of the last phase that the run keeps, `heads` the
    table of those that were tried."""

    phases: list[dict] = field(default_factory=list)
    stages: dict[str, dict] = field(default_factory=dict)
    heads: list[dict] = field(default_factory=list)
    scores: np.ndarray | None = None
    started: float = field(default_factory=time.monotonic)

    def add_cache(self, seconds: float) -> None:
        self.phases.append({"name": "cache", "epochs": 0, "seconds": seconds, "accuracy": None})

    def add_phase(
        self, done: PhaseDone, curve: list[EpochDone], scores: np.ndarray, labels: np.ndarray
    ) -> None:
        """`scores` float (M, classes) on the test images, the same ones for every phase."""
        judged = accuracy_of(scores, labels)
        self.stages[done.phase] = judged | {"validation_accuracy": done.accuracy}
        self.scores = scores
        self.phases.append(
            {
                "name": done.phase,
                "epochs": done.epochs,
                "seconds": done.seconds,
                "accuracy": done.accuracy,
                "test_accuracy": judged["accuracy"],
                "best_epoch": done.best_epoch,
                "share": done.share,
                "ended": done.ended,
                "curve": [asdict(epoch) for epoch in curve],
            }
        )

    def pack(self) -> dict:
        """JSON to go on from, but for the scores."""
        return {
            "phases": self.phases,
            "stages": self.stages,
            "heads": self.heads,
            "seconds": time.monotonic() - self.started,
        }

    @classmethod
    def unpack(cls, data: dict, scores: np.ndarray) -> "TrainingHistory":
        known = {name: data[name] for name in ("phases", "stages", "heads")}
        return cls(**known, scores=scores, started=time.monotonic() - data["seconds"])

    def report(self, images: ImageDataset, labels: np.ndarray, names: tuple[str, ...]) -> dict:
        """What stands in report.json."""
        return make_report(self.scores, labels, names, images.classes) | {
            "stages": self.stages,
            "curves": {p["name"]: p["curve"] for p in self.phases if p.get("curve")},
            "heads": self.heads,
            "skipped": [problem.to_json() for problem in images.problems],
        }

    def result(self, report: dict, **known) -> dict:
        """What `train --json` prints; accuracies of phases are on validation."""
        phases = [{k: v for k, v in phase.items() if k != "curve"} for phase in self.phases]
        return known | {
            "phases": phases,
            "accuracy": report["accuracy"],
            "accuracy_interval": report["interval"],
            "seconds": time.monotonic() - self.started,
            "peak_rss_bytes": peak_rss_bytes(),
        }


def image_counts(counts: dict[str, int], skipped: int) -> dict[str, int]:
    return {name: counts[name] for name in ("train", "validation", "test")} | {"skipped": skipped}


def library_versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def peak_rss_bytes() -> int:
    """The most memory that this process held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""Transfer learning for images: VGG16 from timm, fine-tuned in two visible phases.

run = transfer.train("photos/", out="runs/photos")
classifier = transfer.load("runs/photos")
classifier.classify("photo.jpg", top=5)
"""

from importlib import import_module

__version__ = "0.4.0"
_HOMES = {
    "TransferError": "errors",
    "TrainingSettings": "settings",
    "ImageDataset": "data.dataset",
    "train": "training.recipe",
    "training_events": "training.recipe",
    "Run": "runs.run",
    "load": "inference.loading",
    "Classifier": "inference.classifier",
    "Prediction": "inference.classifier",
    "evaluate": "inference.evaluate",
    "publish": "publishing",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    """Names come on first use, so that importing the package does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'transfer' has no attribute {name!r}")
    return getattr(import_module(f"transfer.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

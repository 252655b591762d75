"""Small VGGs as timm itself saves them, for the tests that read or publish one."""

import json
from pathlib import Path

import numpy as np
import timm
import torch
from timm.models import save_for_hf

from tests.tiny import picture

NARROW = 1 / 64


def save_vgg(
    folder: Path, architecture: str = "vgg11", classes: int = 5, labels=None, **pretrained
) -> Path:
    """A random network with scores that are far from even; `pretrained` goes into its config."""
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=classes, mlp_ratio=NARROW)
    torch.nn.init.normal_(model.head.fc.weight, std=0.5)
    input_size = pretrained.pop("input_size", [3, 32, 32])
    config = {"label_names": labels} if labels is not None else {}
    save_for_hf(model, folder, model_config=config, safe_serialization=True)
    edit_config(folder, pretrained_cfg={"input_size": input_size} | pretrained)
    return folder


def edit_config(folder: Path, **change) -> None:
    """Change fields of config.json: records are updated, None removes a field."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in change.items():
        old = config.get(name)
        config[name] = old | value if isinstance(old, dict) and isinstance(value, dict) else value
        if value is None:
            del config[name]
    path.write_text(json.dumps(config))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def pictures() -> list:
    """A wide, a tall, a small and a large picture."""
    sizes = ((90, 40), (50, 120), (20, 20), (400, 300))
    return [picture(i % 3, i).resize(size) for i, size in enumerate(sizes)]


def scores_of(classifier) -> np.ndarray:
    return np.stack([classifier.scores(shown) for shown in pictures()])


@torch.no_grad()
def scores_of_timm(name: str) -> np.ndarray:
    """As timm's documentation shows it."""
    model = timm.create_model(name, pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    prepare = timm.data.create_transform(**config, is_training=False)
    return np.stack([model(prepare(shown)[None]).softmax(1)[0].numpy() for shown in pictures()])

"""The same body, the same digits, the same epochs: this package and three peers, side by side.

    pip install -r examples/benchmarks/requirements.txt
    python -m examples.benchmarks.peers --out peers.json

1,347 + 450 digits at 64 px, the bundled body, `--frozen` epochs of a new head over the frozen body,
then `--unfrozen` epochs with more of it. fastai's `fine_tune` unfreezes all blocks, this package's
`train` block5 (and all of them for one epoch, to compare epochs); a plain PyTorch loop as tutorials
write it and the transformers Trainer train the same head as this package, then block5.

Every learner runs in a process of its own, in turn, for `--rounds` rounds. This package trains
whole each time. A peer's epochs take the same time one after the other, so only fastai trains
whole, in the first round, for its accuracy; else a peer trains `--sample` epochs of either kind,
and what its whole training takes is the sum of its median epochs.
"""

import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import nn

from examples.benchmarks.steps import machine

SIDE, IMAGES_A_BATCH, HIDDEN = 64, 32, 256
CLASSES = 10
TRAINED, HELD_OUT = 1_347, 450


def main(
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    frozen: Annotated[int, typer.Option(help="Epochs of the head alone.")] = 10,
    unfrozen: Annotated[int, typer.Option(help="Epochs with more of the body.")] = 5,
    rounds: Annotated[int, typer.Option(help="Runs of each learner.")] = 3,
    sample: Annotated[int, typer.Option(help="A peer's epochs of either kind.")] = 2,
    only: Annotated[list[str], typer.Option(help="Learners to run.")] = (
        "transfer",
        "transfer-all-blocks",
        "torch",
        "transformers",
        "fastai",
    ),
) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        images = write_digits(Path(folder) / "digits")
        for round_ in range(rounds):
            for name in only:
                epochs = (frozen, unfrozen)
                if name == "transfer-all-blocks":
                    epochs = (1, 1)
                elif name != "transfer" and (name, round_) != ("fastai", 0):
                    epochs = (min(sample, frozen), min(sample, unfrozen))
                whole = epochs == (frozen, unfrozen)
                row = alone(LEARNERS[name], images, *epochs)
                rows.append({"learner": name, "whole": whole} | row)
                print(json.dumps(rows[-1]), flush=True)
                medians = summary(rows, frozen, unfrozen)
                found = {"machine": machine(), "medians": medians, "rows": rows}
                out.write_text(json.dumps(found, indent=1))
    print(json.dumps(medians, indent=1))


def summary(rows: list[dict], frozen: int, unfrozen: int) -> dict[str, dict]:
    """Learner → medians in seconds: an epoch of either kind, all frozen ones, the whole.

    What this package takes is measured whole; `times` is how many times longer a peer takes.
    """
    found = {}
    for name in dict.fromkeys(row["learner"] for row in rows):
        mine = [row for row in rows if row["learner"] == name]
        a_frozen, an_unfrozen = (
            statistics.median(seconds for row in mine for seconds in row[kind])
            for kind in ("frozen", "unfrozen")
        )
        phases = {"frozen": frozen * a_frozen, "both": frozen * a_frozen + unfrozen * an_unfrozen}
        if name.startswith("transfer"):
            phases = {
                "frozen": statistics.median(row["seconds_frozen"] for row in mine),
                "both": statistics.median(row["seconds"] for row in mine),
            }
        accuracies = [row["accuracy"] for row in mine if row["whole"]]
        found[name] = {"runs": len(mine), "a_frozen_epoch": a_frozen, **phases} | {
            "an_unfrozen_epoch": an_unfrozen,
            "accuracy": statistics.median(accuracies) if accuracies else None,
        }
        if "transfer" in found and not name.startswith("transfer"):
            ours = found["transfer"]
            found[name]["times"] = {key: phases[key] / ours[key] for key in phases}
    return found


def write_digits(folder: Path) -> Path:
    """train/ and validation/ of PNG files; test/ is validation again, since all must be there."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(TRAINED + HELD_OUT)
    for split, rows in {
        "train": order[:TRAINED],
        "validation": order[TRAINED:],
        "test": order[TRAINED:],
    }.items():
        for row in rows:
            target = folder / split / str(digits.target[row]) / f"{row}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.round(digits.images[row] * 255 / 16).astype(np.uint8)).save(target)
    return folder


def alone(learner, images: Path, frozen: int, unfrozen: int) -> dict:
    """Run in a new process, so that no learner finds another's threads or memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(learner, images, frozen, unfrozen).result()


def transfer_in_two_phases(images: Path, frozen: int, unfrozen: int, unfreeze="block5") -> dict:
    """The whole of `train` with an empty cache: loading, estimate, cache, phases, test, saving."""
    import os

    from transfer.training.recipe import train

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFER_CACHE"] = folder
        started = time.monotonic()
        run = train(
            str(images),
            out=Path(folder) / "run",
            weights="bundled",
            image_size=SIDE,
            views=1,
            head=f"flatten-{HIDDEN}",
            head_epochs=frozen,
            finetune_epochs=unfrozen,
            unfreeze=unfreeze,
        )
        seconds = time.monotonic() - started
    phases = {phase["name"]: phase for phase in run.record["phases"]}
    last = phases["fine-tune"]["curve"]
    return {
        "seconds": seconds,
        "seconds_frozen": phases["cache"]["seconds"] + phases["warm-up"]["seconds"],
        "cache": phases["cache"]["seconds"],
        "frozen": [epoch["seconds"] for epoch in phases["warm-up"]["curve"][1:]],
        "unfrozen": [epoch["seconds"] for epoch in last[1:]],
        "accuracy": last[-1]["validation_accuracy"],
    }


def transfer_all_blocks(images: Path, frozen: int, unfrozen: int) -> dict:
    return transfer_in_two_phases(images, frozen, unfrozen, unfreeze="block1")


def fastai_fine_tune(images: Path, frozen: int, unfrozen: int) -> dict:
    """`vision_learner` as its tutorials have it, on timm's VGG16 cut to its body."""
    import timm
    from fastai.callback.core import Callback
    from fastai.callback.schedule import fine_tune  # noqa: F401 - a method of Learner
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, vision_learner

    class Clock(Callback):
        seconds: list[float] = []  # noqa: RUF012

        def before_epoch(self):
            self.started = time.monotonic()

        def after_epoch(self):
            self.seconds.append(time.monotonic() - self.started)

    def body(pretrained: bool):
        model = timm.create_model("vgg16")
        model.features.load_state_dict(bundled())
        return model

    loaders = ImageDataLoaders.from_folder(
        images, train="train", valid="validation", item_tfms=Resize(SIDE), bs=IMAGES_A_BATCH
    )
    learner = vision_learner(
        loaders, body, pretrained=False, cut=lambda m: m.features, metrics=accuracy
    )
    learner.freeze()
    started = time.monotonic()
    with learner.no_bar():
        learner.fine_tune(unfrozen, freeze_epochs=frozen, cbs=Clock())
    seconds = time.monotonic() - started
    return {
        "seconds": seconds,
        "seconds_frozen": sum(Clock.seconds[:frozen]),
        "frozen": Clock.seconds[:frozen],
        "unfrozen": Clock.seconds[frozen:],
        "accuracy": float(learner.recorder.values[-1][-1]),
    }


def bundled() -> dict[str, torch.Tensor]:
    from transfer.model.weights import find_body

    tensors = find_body("bundled", "vgg16", 0).tensors
    return {name.removeprefix("features."): tensor for name, tensor in tensors.items()}


class Plain(nn.Module):
    """Body, and the same head as this package's, as a person would write it."""

    def __init__(self):
        super().__init__()
        import timm

        self.features = timm.create_model("vgg16").features
        self.features.load_state_dict(bundled())
        width = 512 * (SIDE // 32) ** 2
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, CLASSES),
        )

    def freeze(self, frozen: bool) -> None:
        """The whole body, or all of it but block5."""
        for i, layer in enumerate(self.features):
            layer.requires_grad_(not frozen and i >= 24)

    def forward(self, pixel_values, labels=None):
        logits = self.head(self.features(pixel_values))
        if labels is None:
            return logits
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def torch_datasets(images: Path) -> list:
    from torchvision import datasets, transforms

    as_tensor = transforms.Compose(
        [
            transforms.Resize((SIDE, SIDE)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    return [datasets.ImageFolder(images / name, as_tensor) for name in ("train", "validation")]


def torch_loop(images: Path, frozen: int, unfrozen: int) -> dict:
    """The transfer-learning tutorial's loop: a phase, then another with block5."""
    from torch.utils.data import DataLoader

    train, held_out = torch_datasets(images)
    train = DataLoader(train, IMAGES_A_BATCH, shuffle=True, num_workers=2)
    held_out = DataLoader(held_out, IMAGES_A_BATCH, num_workers=2)
    model, seconds, right = Plain(), {True: [], False: []}, 0
    for is_frozen, epochs, rate in ((True, frozen, 1e-3), (False, unfrozen, 1e-4)):
        model.freeze(is_frozen)
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(learning, rate)
        for _ in range(epochs):
            started, right = time.monotonic(), 0
            model.train()
            for x, y in train:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for x, y in held_out:
                    right += int((model(x).argmax(1) == y).sum())
            seconds[is_frozen].append(time.monotonic() - started)
    return {
        "seconds": sum(seconds[True] + seconds[False]),
        "seconds_frozen": sum(seconds[True]),
        "frozen": seconds[True],
        "unfrozen": seconds[False],
        "accuracy": right / HELD_OUT,
    }


def transformers_trainer(images: Path, frozen: int, unfrozen: int) -> dict:
    """The image-classification script's Trainer, judged after each epoch; two of them."""
    from transformers import Trainer, TrainingArguments

    train, held_out = (Pairs(data) for data in torch_datasets(images))
    model, seconds, accuracy = Plain(), {}, 0.0
    for is_frozen, epochs, rate in ((True, frozen, 1e-3), (False, unfrozen, 1e-4)):
        model.freeze(is_frozen)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model,
                TrainingArguments(
                    folder,
                    num_train_epochs=epochs,
                    learning_rate=rate,
                    per_device_train_batch_size=IMAGES_A_BATCH,
                    per_device_eval_batch_size=IMAGES_A_BATCH,
                    eval_strategy="epoch",
                    save_strategy="no",
                    report_to="none",
                    dataloader_num_workers=2,
                    disable_tqdm=True,
                ),
                train_dataset=train,
                eval_dataset=held_out,
                compute_metrics=lambda p: {"accuracy": (p[0].argmax(1) == p[1]).mean().item()},
            )
            started = time.monotonic()
            trainer.train()
            seconds[is_frozen] = time.monotonic() - started
            accuracy = [log for log in trainer.state.log_history if "eval_accuracy" in log][-1]
    return {
        "seconds": seconds[True] + seconds[False],
        "seconds_frozen": seconds[True],
        "frozen": [seconds[True] / frozen] * frozen,
        "unfrozen": [seconds[False] / unfrozen] * unfrozen,
        "accuracy": accuracy["eval_accuracy"],
    }


class Pairs(torch.utils.data.Dataset):
    """What the Trainer's collator expects."""

    def __init__(self, images):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> dict:
        pixels, label = self.images[i]
        return {"pixel_values": pixels, "labels": label}


LEARNERS = {
    "transfer": transfer_in_two_phases,
    "transfer-all-blocks": transfer_all_blocks,
    "torch": torch_loop,
    "transformers": transformers_trainer,
    "fastai": fastai_fine_tune,
}

if __name__ == "__main__":
    typer.run(main)

"""This package and three peers: the same body file, the same photos, the same image size.

    pip install -r examples/benchmarks/requirements.txt
    python -m examples.benchmarks.peers FOLDER... --out peers.json --bf16        # accuracy
    python -m examples.benchmarks.peers FOLDER... --out peers.json --sample 1    # seconds

FOLDER holds `train/` and `test/`, each with a folder of photos per class. Every learner starts from
the bundled body and is judged on `test/` once, after its last epoch. Peers train on all of
`train/`; this package holds out a part of it to choose by.

- transfer: `transfer.train` with its defaults.
- fastai: `vision_learner` with `aug_transforms`, then `fine_tune(5, freeze_epochs=3)`.
- transformers: the Trainer as the image-classification script's example sets it: 5 epochs of the
  whole network, batches of 8, learning rate 2e-5, falling linearly; a linear layer on pooled
  features is the classifier, since the body file has none.
- tutorial: the loop of PyTorch's transfer-learning tutorial: 25 epochs of the same network, batches
  of 4, SGD with learning rate 1e-3, a tenth of it every 7 epochs.

Accuracy is of whole trainings. `--bf16` makes those of the peers affordable on a CPU: their body
runs under bf16 autocast, channels last, which is the same mathematics to rounding. Seconds of this
package are of its whole training with an empty cache, saving included. A peer's epochs take equally
long, so `--sample N` trains N of each kind in float32, as the peer comes; its seconds are the
median epoch times the number of epochs, and one pass over `test/`. Its imports, setting up and a
validation after each epoch are not counted.

Each learner runs in a process of its own, one after the other. Every row is written as soon as it
is measured; the same command again measures only the rows that are missing.
"""

import itertools
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn

import transfer
from examples.benchmarks.steps import machine, spread
from transfer.data.transform import IMAGENET_MEAN, IMAGENET_STD
from transfer.jobs.worker import import_needed
from transfer.model.weights import build_body, find_body, load_body

EPOCHS = {
    "fastai": {"frozen": 3, "unfrozen": 5},
    "transformers": {"unfrozen": 5},
    "tutorial": {"unfrozen": 25},
}


@dataclass
class Trial:
    """What a learner trains on, for how many epochs of each kind (peers only), and its clock.

    `seconds` are lists by kind: `frozen` and `unfrozen` epochs, and `test`, the pass over test/.
    """

    images: Path
    image_size: int
    seed: int
    bf16: bool
    epochs: dict[str, int]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def start(self) -> None:
        self.started = time.monotonic()

    def stop(self, kind: str) -> None:
        self.seconds.setdefault(kind, []).append(time.monotonic() - self.started)


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders with train/ and test/.")],
    out: Annotated[Path, typer.Option(help="The JSON to write, or to add to.")],
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 224,
    seeds: Annotated[int, typer.Option(help="How many, from 0 up.")] = 3,
    bf16: Annotated[bool, typer.Option("--bf16", help="Peers' bodies in bf16.")] = False,
    sample: Annotated[int, typer.Option(help="A peer's epochs of each kind; 0: all.")] = 0,
    only: Annotated[list[str], typer.Option(help="Learners to run.")] = ("transfer", *EPOCHS),
) -> None:
    if unknown := set(only) - {"transfer", *EPOCHS}:
        raise typer.BadParameter(f"expected transfer, {', '.join(EPOCHS)}, found {unknown.pop()}")
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    for folder, seed, learner in itertools.product(folders, range(seeds), only):
        row = {"learner": learner, "data": folder.name, "image_size": image_size, "seed": seed}
        if learner in EPOCHS:
            row |= {"bf16": bf16, "sample": sample}
        if any(row.items() <= earlier.items() for earlier in rows):
            continue
        epochs = {kind: sample or count for kind, count in EPOCHS.get(learner, {}).items()}
        rows.append(row | alone(learner, Trial(folder, image_size, seed, bf16, epochs)))
        print(json.dumps(rows[-1]), flush=True)
        part = out.with_suffix(".part")
        part.write_text(json.dumps({"summary": summary(rows), "rows": rows}, indent=1))
        part.replace(out)
    print(json.dumps(summary(rows), indent=1))


def summary(rows: list[dict]) -> dict[str, dict]:
    """Images → learner → accuracy of whole trainings, and seconds as the learner comes.

    `times` is how many times longer than this package a peer takes, by the medians.
    """
    groups = {}
    for row in rows:
        images = groups.setdefault(f"{row['data']} at {row['image_size']} px", {})
        images.setdefault(row["learner"], []).append(row)
    found = {}
    for images, learners in groups.items():
        lines = found[images] = {name: figures(measured) for name, measured in learners.items()}
        ours = lines.get("transfer")
        for name, line in lines.items():
            if ours and name in EPOCHS and line["seconds"]:
                line["times"] = line["seconds"]["median"] / ours["seconds"]["median"]
    return found


def figures(rows: list[dict]) -> dict[str, dict | None]:
    """Of the rows of one learner on the same images."""
    whole = [row for row in rows if not row.get("sample")]
    peer = rows[0]["learner"] in EPOCHS
    timed = [row for row in rows if row["sample"] and not row["bf16"]] if peer else whole
    return {
        "accuracy": spread([row["accuracy"] for row in whole]) if whole else None,
        "seconds": spread([row["seconds"] for row in timed]) if timed else None,
    }


def alone(learner: str, trial: Trial) -> dict:
    """Run in a new process, so that no learner finds another's threads or memory."""
    conditions = {"load_before": os.getloadavg()[0], "threads": torch.get_num_threads()}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        row = pool.submit(measure, learner, trial).result()
    peers = {name: version(name) for name in ("fastai", "transformers", "torchvision")}
    return row | conditions | {"machine": machine() | {"peers": peers}}


def measure(learner: str, trial: Trial) -> dict:
    """Accuracy on test/ and seconds: of this package as they passed, of a peer added up.

    A peer trains, and returns the function that judges it on test/.
    """
    if learner == "transfer":
        return transfer_defaults(trial)
    random.seed(trial.seed)
    np.random.seed(trial.seed)
    torch.manual_seed(trial.seed)
    judge = PEERS[learner](trial)
    trial.start()
    accuracy = judge()
    trial.stop("test")
    times = EPOCHS[learner] | {"test": 1}
    seconds = sum(count * statistics.median(trial.seconds[kind]) for kind, count in times.items())
    return {"accuracy": accuracy, "seconds": seconds, "parts": trial.seconds}


def transfer_defaults(trial: Trial) -> dict:
    import_needed()
    options = {"weights": "bundled", "image_size": trial.image_size, "seed": trial.seed}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFER_CACHE"] = str(Path(folder) / "cache")
        started = time.monotonic()
        run = transfer.train(str(trial.images), out=Path(folder) / "run", **options)
        seconds = time.monotonic() - started
    phases = {phase["name"]: [phase["seconds"]] for phase in run.record["phases"]}
    stages = {name: stage["accuracy"] for name, stage in run.report["stages"].items()}
    return {"accuracy": run.accuracy, "seconds": seconds, "parts": phases, "stages": stages}


class Body(nn.Sequential):
    """The bundled body: float32 (N, 3, S, S) → (N, 512, S/32, S/32); inside in bf16 if asked."""

    def __init__(self, bf16: bool):
        super().__init__(*load_body(build_body("vgg16"), find_body("bundled", "vgg16", 0).tensors))
        self.bf16 = bf16
        if bf16:
            self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.bf16:
            return super().forward(x)
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x.contiguous(memory_format=torch.channels_last)).float()


def layers(trial: Trial, classes: int) -> list[nn.Module]:
    return [Body(trial.bf16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)]


def datasets(trial: Trial, shorter_side: int) -> list:
    """train/ and test/ as the tutorial and the script of transformers transform them."""
    from torchvision import transforms as t
    from torchvision.datasets import ImageFolder

    size = trial.image_size
    to_tensor = [t.ToTensor(), t.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    augmented = [t.RandomResizedCrop(size), t.RandomHorizontalFlip(), *to_tensor]
    plain = [t.Resize(shorter_side), t.CenterCrop(size), *to_tensor]
    both = {"train": augmented, "test": plain}
    return [ImageFolder(trial.images / name, t.Compose(steps)) for name, steps in both.items()]


def fastai_fine_tune(trial: Trial) -> Callable[[], float]:
    from fastai.vision import all as fastai

    class Clock(fastai.Callback):
        def before_epoch(self):
            trial.start()

        def before_validate(self):  # test/ comes once, at the end
            raise fastai.CancelValidException

        def after_epoch(self):
            trial.stop("frozen" if self.opt.frozen_idx else "unfrozen")

    size, epochs = trial.image_size, trial.epochs
    normalize = fastai.Normalize.from_stats(*fastai.imagenet_stats)
    loaders = fastai.ImageDataLoaders.from_folder(
        trial.images,
        valid="test",
        item_tfms=fastai.Resize(round(size * 460 / 224)),  # the tutorials' 460 px for 224 px
        batch_tfms=[*fastai.aug_transforms(size=size), normalize],
    )
    learner = fastai.vision_learner(
        loaders,
        lambda pretrained: Body(trial.bf16),
        pretrained=False,  # nothing to download
        cut=lambda body: body,
        metrics=fastai.accuracy,
    )
    learner.remove_cb(fastai.ProgressCallback)
    learner.fine_tune(epochs["unfrozen"], freeze_epochs=epochs["frozen"], cbs=Clock())
    return lambda: float(learner.validate()[-1])


def transformers_trainer(trial: Trial) -> Callable[[], float]:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *args, **kwargs):
            trial.start()

        def on_epoch_end(self, *args, **kwargs):
            trial.stop("unfrozen")

    class Classifier(nn.Sequential):
        def forward(self, pixel_values, labels):
            logits = super().forward(pixel_values)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    def collate(rows: list) -> dict:
        pixels, labels = zip(*rows, strict=True)
        return {"pixel_values": torch.stack(pixels), "labels": torch.tensor(labels)}

    train, test = datasets(trial, shorter_side=trial.image_size)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=trial.epochs["unfrozen"],
            learning_rate=2e-5,
            seed=trial.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            Classifier(*layers(trial, len(train.classes))),
            settings,
            data_collator=collate,
            train_dataset=train,
            eval_dataset=test,
            compute_metrics=lambda p: {"accuracy": (p[0].argmax(1) == p[1]).mean().item()},
            callbacks=[Clock()],
        )
        trainer.train()
    return lambda: trainer.evaluate()["eval_accuracy"]


def tutorial_loop(trial: Trial) -> Callable[[], float]:
    from torch.utils.data import DataLoader

    train, test = datasets(trial, shorter_side=round(trial.image_size * 256 / 224))
    model = nn.Sequential(*layers(trial, len(train.classes)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    batches = DataLoader(train, batch_size=4, shuffle=True, num_workers=4)
    for _ in range(trial.epochs["unfrozen"]):
        trial.start()
        model.train()
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        schedule.step()
        trial.stop("unfrozen")

    @torch.no_grad()
    def judge() -> float:
        model.eval()
        batches = DataLoader(test, batch_size=4, num_workers=4)
        return sum(int((model(x).argmax(1) == y).sum()) for x, y in batches) / len(test)

    return judge


PEERS = dict(zip(EPOCHS, (fastai_fine_tune, transformers_trainer, tutorial_loop), strict=True))

if __name__ == "__main__":
    typer.run(main)

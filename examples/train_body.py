"""Train a VGG body from scratch on any labelled dataset, where ImageNet's is not available.

    python -m examples.train_body user/name --out bodies/mine.safetensors --card
    python -m transfer train photos/ --out runs/photos --weights bodies/mine.safetensors

A VGG with batch norm (average pooling, one linear layer) is trained on images of increasing size.
Batch norm is then folded into the convolutions, which gives a plain VGG's `features.*`.
"""

import hashlib
import sys
from pathlib import Path
from typing import Annotated

import timm
import torch
import typer
from accelerate import Accelerator
from safetensors.torch import save
from timm.optim import create_optimizer_v2
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from transfer.cache.store import open_store
from transfer.cli.options import Config, ImageColumn, LabelColumn, Source
from transfer.data.dataset import ImageDataset
from transfer.data.source import open_dataset
from transfer.data.splits import limit_per_class, with_all_splits
from transfer.data.transform import Transform
from transfer.errors import TransferError
from transfer.features.cached_dataset import CachedDataset, CacheLayer, CacheSpec
from transfer.features.extract import cache_layers
from transfer.model.vgg import Segment
from transfer.settings import TrainingSettings
from transfer.training.accelerator import make_accelerator
from transfer.training.history import library_versions

SMALLEST_CROP = 0.5
LARGEST_DIFFERENCE = 1e-3
IMAGES_A_VALIDATION_BATCH = 64
IMAGES_A_READING = 256
READING = ("architecture", "seed", "limit_per_class", "image_column", "label_column", "config")
CARD = """---
library_name: timm
tags: [image-feature-extraction, vgg]
---
# {file}
The body (`features.*`, float16) of a {architecture} trained from scratch.

- Data: {data}, revision {revision}: {classes} classes, {train} training and {validation} validation
  images. The data's terms hold for the weights too.
- Training: timm's {architecture}_bn, average pooling and one linear layer; SGD with Nesterov
  momentum 0.9, weight decay 5e-4 (not on biases and norms), label smoothing 0.1, random crops and
  flips, batch {batch_size}, {epochs} epochs each at {sizes} px, one cycle that peaks at a rate of
  {learning_rate:g}, seed {seed}.
- Libraries: {versions}.
- Batch norm was folded into the convolutions (largest difference {difference:.1e}).
- Input: RGB, ImageNet's mean and standard deviation.
- Validation: {top1:.1%} top-1, {top5:.1%} top-5.
- sha256 {sha256}
"""


def train_body(images: ImageDataset, out: Path, options: dict) -> dict:
    """Read, train, fold, write, evaluate what was written; `options` are those of `command`.

    Returns the card's figures. Raises TransferError.
    """
    accelerator = make_accelerator(options["seed"])
    transform = Transform(image_size=max(options["sizes"]))
    pixels = read_pixels(images, transform, accelerator)
    body = build_bn_body(options["architecture"])
    stage = make_stage(body, len(images.classes), transform)
    train(stage, pixels["train"], options, accelerator)
    plain = fold(body.cpu().eval())
    difference = folding_difference(body, plain, transform, pixels["validation"])
    sha256 = write(plain, out) if accelerator.is_main_process else None
    written = nn.Sequential(plain.half().float(), *stage.layers[1:])
    top1, top5 = evaluate(Segment(written, transform), pixels["validation"], accelerator)
    counts = {name: len(cached) for name, cached in pixels.items()}
    return counts | {"difference": difference, "top1": top1, "top5": top5, "sha256": sha256}


def open_images(source: str, settings: TrainingSettings) -> ImageDataset:
    """Training and validation images; of a dataset with both, all training images are used."""
    images = open_dataset(source, settings)
    if settings.limit_per_class:
        images = limit_per_class(images, settings.limit_per_class, settings.seed)
    if {"train", "validation"} <= images.splits.keys():
        images = images.with_splits({"test": images.splits["validation"]} | images.splits)
    images = with_all_splits(images, settings.seed)
    return images.with_splits({name: images.splits[name] for name in ("train", "validation")})


def read_pixels(images: ImageDataset, transform: Transform, accelerator: Accelerator):
    """Split → CachedDataset of uint8 (1, N, 3, S, S), in the cache that all processes share."""
    pixels = CacheLayer(block="block1", row_shape=(3, transform.image_size, transform.image_size))
    spec = CacheSpec(
        transform=transform, views=1, seed=0, body="", dtype=torch.float32, layers=(pixels,)
    )
    filling = cache_layers(images, spec, open_store(), accelerator, IMAGES_A_READING)
    while True:
        try:
            next(filling)
        except StopIteration as end:
            return end.value[0]["block1"]


def build_bn_body(architecture: str) -> nn.Sequential:
    """timm's `features` with batch norm, initialised as timm does; its head is never allocated.

    Float32 (N, 3, S, S) → (N, 512, S/32, S/32).
    """
    with torch.device("meta"):
        body = timm.create_model(f"{architecture}_bn").features
    for layer in body.to_empty(device="cpu"):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return body


def make_stage(body: nn.Sequential, classes: int, transform: Transform) -> Segment:
    """uint8 (N, 3, S, S) → logits (N, classes): average pooling and one linear layer."""
    width = [layer.out_channels for layer in body if isinstance(layer, nn.Conv2d)][-1]
    layers = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
    return Segment(layers, transform).to(memory_format=torch.channels_last)


def train(stage: Segment, cached: CachedDataset, options: dict, accelerator: Accelerator) -> None:
    """One cycle over all sizes: the rate rises for a tenth of the steps, then decays to zero."""
    rate, epochs, sizes = options["learning_rate"], options["epochs"], options["sizes"]
    sgd = make_optimizer(stage, rate)
    loaders = [accelerator.prepare(crops(cached, size, options)) for size in sizes]
    steps = epochs * sum(map(len, loaders))
    schedule = OneCycleLR(sgd, rate, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    trained, optimizer = accelerator.prepare(stage, sgd)
    for size, loader in zip(sizes, loaders, strict=True):
        for epoch in range(1, epochs + 1):
            loss = train_epoch(trained, optimizer, schedule, loader, accelerator)
            accelerator.print(f"{size} px, epoch {epoch} of {epochs}: loss {loss:.4f}")


def make_optimizer(stage: Segment, rate: float) -> torch.optim.Optimizer:
    """timm's `sgd`: with Nesterov momentum, without decay of biases and norms."""
    return create_optimizer_v2(stage, opt="sgd", lr=rate, weight_decay=5e-4, momentum=0.9)


def crops(cached: CachedDataset, size: int, options: dict) -> DataLoader:
    """Shuffled random crops, half of them mirrored, uint8 (B, 3, size, size).

    The last batch is dropped: it might be a single image, which batch norm cannot handle.
    """
    crop = v2.RandomResizedCrop(size, scale=(SMALLEST_CROP, 1), ratio=(0.8, 1.25))
    augment = v2.Compose([crop, v2.RandomHorizontalFlip()])
    return DataLoader(
        cached,
        batch_size=min(options["batch_size"], len(cached)),
        shuffle=True,
        generator=torch.Generator().manual_seed(options["seed"] + size),
        drop_last=True,
        collate_fn=lambda batch: (torch.stack([augment(view) for view in batch[0]]), batch[1]),
    )


def train_epoch(trained, optimizer, schedule, loader, accelerator: Accelerator) -> float:
    """Mean label-smoothed cross-entropy in nats. Raises TransferError where it is not finite."""
    trained.train()
    total = 0.0
    for pixels, labels in loader:
        logits = trained(pixels).float()
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        total += loss.detach()
    if not torch.isfinite(total):
        raise TransferError("the loss is no longer finite; pass a smaller --learning-rate")
    return total.item() / len(loader)


def fold(body: nn.Sequential) -> nn.Sequential:
    """The layers of a plain VGG, each batch norm merged into the convolution before it."""
    layers: list[nn.Module] = []
    for layer in body:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


@torch.no_grad()
def folding_difference(body, plain, transform: Transform, cached: CachedDataset) -> float:
    """The largest difference between both bodies' features of real images. Raises TransferError."""
    pixels, _ = next(iter(validation_batches(cached)))
    inputs = transform.normalise(pixels)
    difference = (plain(inputs) - body(inputs)).abs().max().item()
    if not difference < LARGEST_DIFFERENCE:
        found = f"expected the folded body to agree with the trained one, found {difference:g}"
        raise TransferError(f"{found} between them; pass a smaller --learning-rate")
    return difference


@torch.no_grad()
def evaluate(
    stage: Segment, cached: CachedDataset, accelerator: Accelerator
) -> tuple[float, float]:
    """(top-1, top-5) accuracy on the validation images, uncropped, in float32."""
    stage.to(accelerator.device).eval()
    best = min(5, stage.layers[-1].out_features)
    hits = []
    for pixels, labels in accelerator.prepare(validation_batches(cached)):
        ranked = stage(pixels).topk(best).indices  # (N, 5), best class first
        hits.append(accelerator.gather_for_metrics(ranked == labels[:, None]))
    shares = torch.cat(hits).float().mean(dim=0)
    return shares[0].item(), shares.sum().item()


def validation_batches(cached: CachedDataset) -> DataLoader:
    return DataLoader(cached, IMAGES_A_VALIDATION_BATCH, collate_fn=lambda batch: batch)


def write(plain: nn.Sequential, out: Path) -> str:
    """Write `features.*` in float16 under timm's names, atomically; returns the sha256."""
    tensors = {f"features.{k}": v.half().contiguous() for k, v in plain.state_dict().items()}
    data = save(tensors, metadata={"format": "pt"})
    part = out.with_name(f"{out.name}.part")
    part.write_bytes(data)
    part.replace(out)
    return hashlib.sha256(data).hexdigest()


def write_card(out: Path, images: ImageDataset, facts: dict) -> None:
    """README.md beside the body: dataset, training, figures."""
    facts = facts | {
        "file": out.name,
        "data": images.source if images.source.startswith("hub:") else Path(images.source).name,
        "revision": images.revision,
        "classes": len(images.classes),
        "sizes": ", ".join(map(str, facts["sizes"])),
        "versions": ", ".join(f"{name} {version}" for name, version in library_versions().items()),
    }
    out.with_name("README.md").write_text(CARD.format_map(facts), encoding="utf-8")


def sizes_in(text: str) -> tuple[int, ...]:
    """`32,48` → (32, 48). Raises SettingsError for a size that VGG cannot take."""
    return tuple(TrainingSettings(image_size=int(size)).image_size for size in text.split(","))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def command(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A new .safetensors file.")],
    architecture: Annotated[str, typer.Option(help="vgg11, vgg13, vgg16 or vgg19.")] = "vgg16",
    sizes: Annotated[
        object, typer.Option(parser=sizes_in, metavar="N,N", help="Pixels a side, in this order.")
    ] = "32,48,64",
    epochs: Annotated[int, typer.Option(min=1, help="At each size.")] = 4,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="The highest.")] = 0.08,
    batch_size: Annotated[int, typer.Option(min=2, help="Images, in each process.")] = 256,
    seed: Annotated[int, typer.Option(help="For splits, weights, order and crops.")] = 0,
    limit_per_class: Annotated[int | None, typer.Option(help="At most, in each split.")] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    config: Config = None,
    card: Annotated[bool, typer.Option("--card", help="Write README.md beside FILE.")] = False,
) -> None:
    """Train a VGG body from scratch on SOURCE, for `python -m transfer train --weights FILE`."""
    options = dict(locals())
    settings = TrainingSettings(**{name: options[name] for name in READING})
    for new in [out, out.with_name("README.md")] if card else [out]:
        if new.exists():
            raise TransferError(f"expected a new file, found {new.name!r} there; choose another")
    out.parent.mkdir(parents=True, exist_ok=True)
    images = open_images(source, settings)
    figures = train_body(images, out, options)
    if figures["sha256"]:
        print("folded, largest difference {difference:.1e}".format(**figures))
        print("top-1 {top1:.1%}, top-5 {top5:.1%} of {validation} images".format(**figures))
        print(f"{out}: sha256 {figures['sha256']}")
        if card:
            write_card(out, images, options | figures)


if __name__ == "__main__":
    try:
        app()
    except (TransferError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)

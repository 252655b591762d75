"""Well-known data sets that suit VGG16, to choose from. Figures as their cards or makers say."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preset:
    """`megabytes` is what a whole download takes, rounded; `licence` as the card has it."""

    source: str
    what: str
    classes: int
    images: int
    licence: str
    megabytes: int

    @property
    def title(self) -> str:
        size = f"{self.megabytes / 1000:g} GB" if self.megabytes >= 1000 else f"{self.megabytes} MB"
        download = size if self.megabytes else "no download"
        return (
            f"{self.source}: {self.what}, {self.classes} classes, {self.images:,} images, "
            f"{self.licence}, {download}"
        )


PRESETS = (
    Preset(
        source="digits",
        what="handwritten digits",
        classes=10,
        images=1_797,
        licence="CC BY 4.0",
        megabytes=0,
    ),
    Preset(
        source="AI-Lab-Makerere/beans",
        what="bean leaves, healthy or ill",
        classes=3,
        images=1_295,
        licence="MIT",
        megabytes=180,
    ),
    Preset(
        source="pcuenq/oxford-pets",
        what="breeds of cats and dogs",
        classes=37,
        images=7_390,
        licence="CC BY-SA 4.0",
        megabytes=790,
    ),
    Preset(
        source="microsoft/cats_vs_dogs",
        what="cats and dogs",
        classes=2,
        images=23_410,
        licence="licence unknown",
        megabytes=825,
    ),
    Preset(
        source="uoft-cs/cifar10",
        what="things at 32 px",
        classes=10,
        images=60_000,
        licence="licence unknown",
        megabytes=170,
    ),
    Preset(
        source="uoft-cs/cifar100",
        what="more things at 32 px",
        classes=100,
        images=60_000,
        licence="licence unknown",
        megabytes=170,
    ),
    Preset(
        source="zalando-datasets/fashion_mnist",
        what="clothes, grey, 28 px",
        classes=10,
        images=70_000,
        licence="MIT",
        megabytes=31,
    ),
    Preset(
        source="ylecun/mnist",
        what="handwritten digits, grey, 28 px",
        classes=10,
        images=70_000,
        licence="MIT",
        megabytes=12,
    ),
    Preset(
        source="ethz/food101",
        what="dishes",
        classes=101,
        images=101_000,
        licence="licence unknown",
        megabytes=5_000,
    ),
)

"""Well-known datasets that suit VGG16. Figures as stated by their cards or authors."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """`megabytes`: the complete download, rounded; `licence` as the card has it."""

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
        return f"{self.source}: {self.what}, {self.figures}, {self.licence}, {download}"

    @property
    def figures(self) -> str:
        return f"{self.classes} classes, {self.images:,} images"


PRESETS = (
    Preset("digits", "handwritten digits", 10, 1_797, "CC BY 4.0", 0),
    Preset("AI-Lab-Makerere/beans", "bean leaves, healthy or ill", 3, 1_295, "MIT", 180),
    Preset("pcuenq/oxford-pets", "breeds of cats and dogs", 37, 7_390, "CC BY-SA 4.0", 790),
    Preset("microsoft/cats_vs_dogs", "cats and dogs", 2, 23_410, "licence unknown", 825),
    Preset("uoft-cs/cifar10", "things at 32 px", 10, 60_000, "licence unknown", 170),
    Preset("uoft-cs/cifar100", "more things at 32 px", 100, 60_000, "licence unknown", 170),
    Preset("zalando-datasets/fashion_mnist", "clothes, grey, 28 px", 10, 70_000, "MIT", 31),
    Preset("ylecun/mnist", "handwritten digits, grey, 28 px", 10, 70_000, "MIT", 12),
    Preset("ethz/food101", "dishes", 101, 101_000, "licence unknown", 5_000),
)

"""Picture → tensor, defined once: used for training, evaluation and every upload."""

import math
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from transfer.data.greys import PER_PICTURE, GreyScale
from transfer.data.image import MAX_PIXELS, Picture, load_image
from transfer.errors import ImageError, RunError

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SMALLEST_CROP = 0.6  # of the area
DETAIL = 2  # decode JPEGs at no less than twice the size that they are resized to


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Squash to a square, then normalise as for VGG16 on ImageNet.

    Nothing is cropped, as in timm's `crop_mode="squash"`: the labelled object may be at the edge.
    """

    image_size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    greys: GreyScale | None = PER_PICTURE  # None in runs from before this field

    def pixels(self, picture: Picture) -> np.ndarray:
        """Any picture → uint8 (3, image_size, image_size), 0…255. Raises ImageError."""
        return self.resized(self.load(picture))

    def load(self, picture: Picture) -> Image.Image:
        """Any picture → upright RGB, decoded not much larger than needed. Raises ImageError."""
        return load_image(picture, side=DETAIL * self.image_size, greys=self.greys)

    def resized(self, image: Image.Image) -> np.ndarray:
        """An RGB image of any size → uint8 (3, image_size, image_size), 0…255."""
        resampling = Image.Resampling[self.interpolation.upper()]
        square = image.resize((self.image_size, self.image_size), resampling)
        return np.array(square).transpose(2, 0, 1)  # (H, W, 3) → (3, H, W)

    def normalise(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """uint8 (N, 3, S, S) → float32 (N, 3, S, S), channels last, zero mean and unit variance."""
        import torch

        # ((x / 255) - mean) / std as one multiplication and one addition
        scale = [1 / (255 * s) for s in self.std]
        shift = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        scale, shift = (
            torch.tensor(v, device=pixels.device, dtype=torch.float32).view(1, 3, 1, 1)
            for v in (scale, shift)
        )
        return (pixels * scale + shift).contiguous(memory_format=torch.channels_last)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> "Transform":
        """Raises RunError when the record does not describe a transform."""
        try:
            size = int(data["image_size"])
            mean, std = (tuple(map(float, data[name])) for name in ("mean", "std"))
            if not (len(mean) == len(std) == 3 and all(map(math.isfinite, mean + std))):
                raise ValueError("mean and std must be three numbers each")
            if size < 1 or min(std) <= 0:
                raise ValueError("image_size and std must be above 0")
            interpolation = Image.Resampling[data["interpolation"].upper()].name.lower()
            greys = data.get("greys")
            greys = None if greys is None else GreyScale.from_json(greys)
            return cls(
                image_size=size, mean=mean, std=std, interpolation=interpolation, greys=greys
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(f"the run's transform cannot be read ({error}); train again") from None


@dataclass(frozen=True, kw_only=True)
class TimmTransform(Transform):
    """timm's own preprocessing, for its other networks; `image_size` is the shorter side.

    `crop_mode` is center (cuts off the edges of the longer side), squash, or border (pads the
    complete picture); `crop_pct` is the share of each side that center crop keeps.
    """

    height: int
    width: int
    crop_pct: float
    crop_mode: str

    def load(self, picture: Picture) -> Image.Image:
        """Any picture → upright RGB in full size, as timm decodes it. Raises ImageError."""
        return load_image(picture, greys=self.greys)

    def resized(self, image: Image.Image) -> np.ndarray:
        """An RGB image → uint8 (3, height, width), 0…255. Raises ImageError."""
        from timm.data import create_transform

        self._check_shape(image)
        prepare = create_transform(
            input_size=(3, self.height, self.width),
            interpolation=self.interpolation,
            mean=self.mean,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
            normalize=False,
        )
        return prepare(image).numpy()

    def _check_shape(self, image: Image.Image) -> None:
        """Center crop scales the shorter side to the network's: a thin strip would become huge."""
        long, short = max(image.size), min(image.size)
        largest, least = (f(self.height, self.width) / self.crop_pct for f in (max, min))
        huge = self.crop_mode == "center" and largest**2 * long / short > MAX_PIXELS
        nothing = self.crop_mode == "border" and least * short / long < 1
        if huge or nothing:
            raise ImageError(
                f"expected a picture that is not so thin, found {image.width} x {image.height}; "
                "crop it first"
            )


def augmented(image: Image.Image, draw: random.Random) -> Image.Image:
    """A random crop, mirrored half of the time: a gentler form of Szegedy et al. 2015, section 6.

    It has at least SMALLEST_CROP of the area, and the picture's aspect ratio within a quarter.
    """
    area, stretch = draw.uniform(SMALLEST_CROP, 1), draw.uniform(0.8, 1.25) ** 0.5
    width = min(image.width, max(1, round(image.width * area**0.5 * stretch)))
    height = min(image.height, max(1, round(image.height * area**0.5 / stretch)))
    left, top = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
    part = image.crop((left, top, left + width, top + height))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else part

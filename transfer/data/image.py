"""The one image loader: any image file → an upright RGB picture with 8 bits a channel."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from transfer.data.greys import (
    PER_PICTURE,
    Extent,
    GreyScale,
    declared_white,
    deep_values,
    is_deep,
    to_8_bits,
)
from transfer.data.limits import LIMITS
from transfer.errors import ImageError

# by default Pillow refuses a picture for a comment of 1 MB, which image generators write
PngImagePlugin.MAX_TEXT_CHUNK = LIMITS.png_text_bytes
MAX_PIXELS = LIMITS.pixels
MAX_JPEG_PIXELS = 4 * MAX_PIXELS
Picture = Image.Image | np.ndarray | bytes | str | Path
TO_UPRIGHT = {  # EXIF orientation → what turns the picture upright; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TOO_LARGE = f"expected at most {MAX_PIXELS // 1_000_000} million pixels; make the image smaller"


def load_image(
    picture: Picture, side: int | None = None, greys: GreyScale | None = PER_PICTURE
) -> Image.Image:
    """A file, its bytes, an array or a PIL image → an upright PIL image in mode RGB.

    With `side`, a JPEG with both sides at least twice as long is decoded at a half, a quarter or an
    eighth of its size, never below `side`: several times faster. PIL images keep their size. A JPEG
    of more than MAX_PIXELS is decoded at an eighth; any other picture of that size is refused.

    EXIF rotation is applied; 16-bit and float pictures are scaled to 8 bits by `greys`; palettes,
    CMYK and grey become RGB; transparent areas become white; of several frames the first is used.
    Arrays are uint8 (H, W), (H, W, 3) or (H, W, 4), or greys (H, W): int16, uint16, int32, float32
    or float64. Raises ImageError.
    """
    with _as_image_errors(picture):
        image = _open(picture)
        # draft changes an image in place: the caller's stays as it is
        if side and image is not picture:
            image.draft(None, (side, side))
        deep = is_deep(image)
        white = declared_white(image) if deep else 0
        image = _upright(image)
        if deep:
            pixels = to_8_bits(deep_values(image), white, greys)
            mode = image.mode if pixels.ndim == 3 else "L"
            image = Image.frombytes(mode, image.size, pixels.tobytes())
        return _to_rgb(image)


def deep_extent(picture: Picture) -> Extent | None:
    """How far the values of a picture go; None, undecoded, with 8 bits. Raises ImageError."""
    with _as_image_errors(picture):
        image = _open(picture)
        if not is_deep(image):
            return None
        white = declared_white(image)
        return Extent.of(deep_values(image), white)


@contextmanager
def _as_image_errors(picture: Picture) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(_not_an_image(picture)) from None
    except Image.DecompressionBombError:
        raise ImageError(TOO_LARGE) from None
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        reason = f"the picture is damaged ({_reason(error)}); save it again"
        if isinstance(error, OSError) and error.strerror:
            reason = f"the file cannot be read ({error.strerror}); check its name"
        raise ImageError(reason) from None


def _open(picture: Picture) -> Image.Image:
    image = _opened(picture)
    if _is_large_jpeg(image) and image is not picture:
        image.draft(None, (image.width // 8, image.height // 8))
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(TOO_LARGE)
    if 0 in image.size:
        raise ImageError("expected a picture, found one without pixels; save it again")
    return image


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, np.ndarray):
        try:
            return Image.fromarray(picture)
        except (TypeError, ValueError):
            raise ImageError(
                "expected an array uint8 (H, W), (H, W, 3) or (H, W, 4), or greys (H, W), found "
                f"{picture.dtype} {picture.shape}; convert it first"
            ) from None
    if isinstance(picture, (bytes, str, Path)):
        return _open_file(picture)
    raise ImageError(f"expected a picture or a file, found {type(picture).__name__}; choose one")


def _open_file(file: bytes | str | Path) -> Image.Image:
    """Raises what Pillow raises, but opens JPEGs of any size, as phones make them."""
    streams = (io.BytesIO(file) if isinstance(file, bytes) else file for _ in range(2))
    try:
        return Image.open(next(streams), formats=formats())
    except Image.DecompressionBombError:
        with suppress(SyntaxError):  # not a JPEG
            return JpegImagePlugin.JpegImageFile(next(streams))
        raise


def stored_size(file: bytes | str | Path) -> tuple[int, int]:
    """(width, height) of an image that `load_image` opens, as stored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open_file(file) as image:
            return image.size


def _is_large_jpeg(image: Image.Image) -> bool:
    large = MAX_PIXELS < image.width * image.height <= MAX_JPEG_PIXELS
    return large and isinstance(image, JpegImagePlugin.JpegImageFile)


def formats() -> tuple[str, ...]:
    """All that Pillow reads but PostScript: for that it starts Ghostscript, which runs the file."""
    Image.init()
    _register_heic()
    return tuple(name for name in Image.ID if name != "EPS")


@cache
def _register_heic() -> None:
    """If Pillow's plugin for it is installed."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; a damaged EXIF block is ignored."""
    image.load()  # so that a damaged picture fails here, not below
    try:
        turn = TO_UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    image.info = {}  # the orientation in it has been applied
    return image


def _not_an_image(picture: Picture) -> str:
    if isinstance(picture, bytes):
        head = picture[:512]
    else:
        with Path(picture).open("rb") as file:
            head = file.read(512)
    if not head:
        return "the file is empty; save it again"
    if b"<svg" in head.lower():
        return "this is an SVG drawing; save it as PNG first"
    if head.lstrip()[:1] == b"<":
        return "this is a web page, not an image; download the image itself"
    if head[4:8] == b"ftyp" and head[8:12] != b"avif":
        return "this is a HEIC picture or a video; install pillow-heif, or save it as JPEG first"
    return "this is not an image that can be read; save it as JPEG or PNG"


def _reason(error: Exception) -> str:
    """Pillow's message, unless it might contain a path or a memory address."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    plain = len(text) < 80 and not any(sign in text for sign in ("/", "\\", "0x"))
    return text if plain else "cannot be decoded"

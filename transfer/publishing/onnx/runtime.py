"""ONNX Runtime's build for browsers, of one version, each file checked by its hash."""

import base64
import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from transfer.cache.paths import cache_errors, private_folder
from transfer.errors import SettingsError, TransferError
from transfer.events import CacheProgress

VERSION = "1.30.0"
NAME = f"onnxruntime-web {VERSION}"
REGISTRY = "https://registry.npmjs.org"
ARCHIVE = f"onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
ARCHIVE_BYTES = 33_106_585
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
WASM, WEBGPU = "ort-wasm-simd-threaded", "ort-wasm-simd-threaded.asyncify"
# What runs the model → role → file. `main` loads `mjs`, which loads `wasm`.
FILES = {
    "wasm": {"main": "ort.wasm.min.mjs", "mjs": f"{WASM}.mjs", "wasm": f"{WASM}.wasm"},
    "webgpu": {"main": "ort.webgpu.min.mjs", "mjs": f"{WEBGPU}.mjs", "wasm": f"{WEBGPU}.wasm"},
}
KNOWN = {  # file → (bytes, sha384)
    "ort.wasm.min.mjs": (
        50_126,
        "SfFfy/pvthiOsgaw3KX0bV5TfQ6Iq+oY9KutMe4SxIuHH4cl+DCSD4rTsYOoG1tJ",
    ),
    f"{WASM}.mjs": (
        24_381,
        "XcXA/MtAf0WpB8e023xQH9CM7RIjiugakT7x99DIwpFf7k56BIFFcAPerIF7FDad",
    ),
    f"{WASM}.wasm": (
        14_239_897,
        "vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
    ),
    "ort.webgpu.min.mjs": (
        66_349,
        "FPQBMbud8ICuP0Ii+Gr95KWEX9pKHtUC3lacIp0aPI8WYluKvTsEGQ3AE2Ze3QlL",
    ),
    f"{WEBGPU}.mjs": (
        53_057,
        "qViEcCGzsR/m8nlQwIsbYh7afN4thuraqFYDQY6huvmoLVoZq/eYawQ1wrv8nnhA",
    ),
    f"{WEBGPU}.wasm": (
        26_781_914,
        "EPVDLTxuO663dkZO/pcKJF6vOyyfq/5z9FY1oksN0UWFX2ABH4wDDZQHeNoUleWR",
    ),
}
WEB = Path(__file__).with_name("web")  # the page itself
PAGE_FILES = ("index.html", "page.css", "page.js", *KNOWN)
ANSWER_SECONDS = 10  # for the registry to go on
CHUNK = 1 << 20  # bytes


def describe_runtime(base: str) -> dict:
    """What page.js needs: how it runs the model → role → name, address below `base`, bytes, hash.

    The hashes are subresource integrity (W3C), which browsers check.
    """
    return {
        kind: {
            role: {
                "name": name,
                "url": base + name,
                "bytes": KNOWN[name][0],
                "integrity": f"sha384-{KNOWN[name][1]}",
            }
            for role, name in roles.items()
        }
        for kind, roles in FILES.items()
    }


def integrity(data: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(data).digest()).decode()}"


def find_runtime(
    folder: str | Path | None, report: Callable[[CacheProgress], None] = lambda progress: None
) -> dict[str, bytes]:
    """File name → content, from `folder` (the npm package or its dist), else from the cache, else
    from the npm registry. Raises SettingsError, CacheError or TransferError."""
    if folder is not None:
        return _checked(_read(Path(folder).expanduser()), f"in the folder {Path(folder).name!r}")
    cache = private_folder("onnxruntime-web")
    try:
        return _checked(_read(cache), "in the cache")
    except SettingsError:  # none yet, another version, or damaged
        found = _checked(_unpacked(_download(report)), "in the npm registry")
    with cache_errors():
        for name, data in found.items():
            (cache / name).write_bytes(data)
    return found


def _read(folder: Path) -> dict[str, bytes]:
    inner = folder / "dist"
    place = inner if inner.is_dir() else folder
    return {name: (place / name).read_bytes() for name in KNOWN if (place / name).is_file()}


def _checked(found: dict[str, bytes], where: str) -> dict[str, bytes]:
    for name, (_, wanted) in KNOWN.items():
        if name not in found or integrity(found[name]) != f"sha384-{wanted}":
            what = "another file" if name in found else "none"
            raise SettingsError(
                f"expected {name} of {NAME} {where}, found {what}; unpack that version of the npm "
                "package and name its folder with --runtime"
            )
    return found


def _unpacked(archive: bytes) -> dict[str, bytes]:
    """Only the files that are known by name; nothing is written."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            names = {f"package/dist/{name}": name for name in KNOWN}
            members = [member for member in tar if member.name in names and member.isfile()]
            return {names[m.name]: tar.extractfile(m).read() for m in members}
    except (tarfile.TarError, OSError, EOFError):
        return {}


def _download(report: Callable[[CacheProgress], None]) -> bytes:
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY
    address = f"{registry.rstrip('/')}/{ARCHIVE}"
    found = bytearray()
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:
            while len(found) < ARCHIVE_BYTES and (part := answer.read(CHUNK)):
                found += part
                done = {"done": len(found) // 10**6, "total": ARCHIVE_BYTES // 10**6, "seconds": 0}
                report(CacheProgress(stage=f"downloading {NAME}, MB", **done))
    except (OSError, ValueError, urllib.error.URLError):
        raise TransferError(
            f"{NAME} could not be downloaded from the npm registry, which the page needs once; try "
            "again with a connection, or name its folder with --runtime FOLDER"
        ) from None
    return bytes(found)

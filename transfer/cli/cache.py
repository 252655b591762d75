"""The command `cache`: what is cached between trainings, and how to remove it."""

import json
import time
from typing import Annotated

import typer

from transfer.cli.options import AsJson


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove everything that is not in use.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List cached features, and models, datasets and pretrained bodies downloaded from the Hub,
    with their folders and sizes."""
    from transfer.cache.downloads import open_bodies, open_datasets, open_models
    from transfer.cache.store import open_store

    stores = {
        "features": open_store(),
        "models": open_models(),
        "datasets": open_datasets(),
        "bodies": open_bodies(),
    }
    cleared = [store.clear() for store in stores.values()] if clear else []
    listed = {}
    for name, store in stores.items():
        entries = [
            {"what": entry.description, "bytes": entry.bytes, "used": entry.used}
            for entry in reversed(store.entries())  # newest first
        ]
        listed[name] = {"folder": str(store.folder), "bytes": store.bytes, "entries": entries}
        if name != "bodies":  # there are only a few
            listed[name]["limit_bytes"] = store.limit
    result = listed.pop("features") | listed
    if clear:
        result["removed_bytes"] = sum(removed for removed, _ in cleared)
    if as_json:
        print(json.dumps(result))
        return
    if clear:
        in_use = sum(left for _, left in cleared)
        left = f"; {in_use} in use, not removed" if in_use else ""
        print(f"removed {result['removed_bytes'] / 1e6:.0f} MB{left}")
    for store in (result, *listed.values()):
        _print_store(store)


def _print_store(store: dict) -> None:
    most = f" of at most {store['limit_bytes'] / 1e6:.0f}" if "limit_bytes" in store else ""
    print(f"{store['folder']}: {store['bytes'] / 1e6:.0f}{most} MB")
    for entry in store["entries"]:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["used"]))
        print(f"{entry['bytes'] / 1e6:8.0f} MB  {used}  {entry['what']}")

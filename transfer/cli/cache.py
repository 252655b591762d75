"""The command `cache`: what is kept between trainings, and how to be rid of it."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from transfer.cache.store import Store


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all that is kept and not in use.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Say what is kept of images that trainings have seen, and of models, data sets and bodies that
    were fetched from the Hub; where, and how large it is."""
    from transfer.cache.downloads import open_bodies, open_data_sets, open_models
    from transfer.cache.store import open_store

    stores = {
        "features": open_store(),
        "models": open_models(),
        "datasets": open_data_sets(),
        "bodies": open_bodies(),
    }
    cleared = [store.clear() for store in stores.values()] if clear else []
    found = {name: _kept(store) for name, store in stores.items()}
    del found["bodies"]["limit_bytes"]  # they are few
    told = found["features"] | found
    del told["features"]
    if clear:
        told["removed_bytes"] = sum(removed for removed, _ in cleared)
    if as_json:
        print(json.dumps(told))
        return
    if clear:
        busy = sum(left for _, left in cleared)
        left = f"; {busy} are in use and stay" if busy else ""
        print(f"removed {told['removed_bytes'] / 1e6:.0f} MB{left}")
    for kept in found.values():
        _print_kept(kept)


def _kept(store: "Store") -> dict:
    """The newest first."""
    return {
        "folder": str(store.folder),
        "bytes": store.bytes,
        "limit_bytes": store.limit,
        "entries": [entry.described() for entry in reversed(store.entries())],
    }


def _print_kept(kept: dict) -> None:
    most = f" of at most {kept['limit_bytes'] / 1e6:.0f}" if "limit_bytes" in kept else ""
    print(f"{kept['folder']}: {kept['bytes'] / 1e6:.0f}{most} MB")
    for entry in kept["entries"]:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["used"]))
        print(f"{entry['bytes'] / 1e6:8.0f} MB  {used}  {entry['what']}")

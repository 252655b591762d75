"""Links that open the page on a dataset, a model or a tab: `?source=…`, `?run=…`, `?tab=…`."""

import gradio as gr

from transfer.data.source import HUB_ID, local_path
from transfer.errors import RunError
from transfer.inference.hub_files import parse_address

TABS = ("data", "train", "try", "publish")
# in the browser: what the page's address asks for, once; a later reload shows what is going on
QUERY = """() => {
    const address = new URL(location.href), asked = {};
    for (const name of ["source", "run", "tab"]) {
        if (address.searchParams.has(name)) asked[name] = address.searchParams.get(name);
        address.searchParams.delete(name);
    }
    if (Object.keys(asked).length) history.replaceState(null, "", address);
    return asked;
}"""


def follow_link(query: dict | None) -> tuple:
    """(the dataset, the run, the tab to open or ""); nothing starts by itself.

    A stranger may have made the link: it names only `digits` and what is on the Hub.
    """
    query = query if isinstance(query, dict) else {}
    source, run, tab = (str(query.get(name) or "").strip() for name in ("source", "run", "tab"))
    refused = {"source": source and not _dataset(source), "run": run and not _model(run)}
    refused["tab"] = tab and tab not in TABS
    if names := [name for name, bad in refused.items() if bad]:
        gr.Warning(
            f"This link's {' and '.join(names)} cannot be opened: it may name digits or a dataset "
            f"of the Hub as source, a model of the Hub as run, and as tab {', '.join(TABS)}."
        )
    source, run = _dataset(source), _model(run)
    opens = tab if tab in TABS else "try" if run else "data" if source else ""
    return source or gr.skip(), run or gr.skip(), opens


def _dataset(source: str) -> str:
    """As it is typed in the field; empty if it is none."""
    name = source.removeprefix("hub:")
    if source == "digits":
        return source
    if "/" not in name or not HUB_ID.fullmatch(name):
        return ""
    return f"hub:{name}" if local_path(name) else name  # not a folder that happens to be here


def _model(run: str) -> str:
    try:
        return run if "/" in run and parse_address(run) else ""
    except RunError:
        return ""

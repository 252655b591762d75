"""The page: `python app.py`, then open the address that it prints."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from transfer.errors import TransferError
from transfer.jobs import Jobs, Limits, Worker

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# the page, its visitors' pictures and a training share the cores: whoever waits lets others work
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# of the newest ones: gradio keeps a quarter of a megabyte of each, and by itself of ten thousand
SESSIONS = 1_000


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    _log_to_stderr()
    shared = os.environ.get("SYSTEM") == "spaces"  # strangers come there
    limits = Limits.shared() if shared else Limits.local()
    try:
        jobs = Jobs(options.runs, limits=limits, worker=_worker())
    except TransferError as error:
        sys.exit(f"error: {error}")
    try:
        _serve(jobs, options.port, shared=shared)
    finally:
        jobs.close()


def _serve(jobs: Jobs, port: int | None, *, shared: bool) -> None:
    """Show the page until the app is asked to end."""
    from transfer.ui.page import build_page
    from transfer.ui.theme import CSS, theme

    page = build_page(jobs, shared=shared)
    try:
        page.launch(
            server_port=port,
            theme=theme(),
            css=CSS,
            max_threads=200,
            max_file_size="50mb",
            state_session_capacity=SESSIONS,
            show_error=False,
            footer_links=[],
            mcp_server=find_spec("mcp") is not None,
            prevent_thread_lock=True,
        )
    except OSError:
        found = f"{port} taken" if port else "none from 7860 up"
        sys.exit(f"error: expected a free port, found {found}; choose another with --port")
    print(f"* Runs are kept in {jobs.runs.absolute()}", flush=True)
    threading.Thread(target=jobs.keep_warm, daemon=True).start()
    page.block_thread()


def _worker() -> Callable[[tuple[str, ...]], Worker]:
    """What makes the processes that train."""
    if not os.environ.get("SPACES_ZERO_GPU"):
        return Worker
    from transfer.zero_gpu import zero_gpu_worker

    return zero_gpu_worker


def _log_to_stderr() -> None:
    """What this package and its workers have to say; the libraries keep their own ways."""
    log = logging.getLogger("transfer")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    log.propagate = False


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 up")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of finished runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()

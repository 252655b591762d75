"""The page: `python app.py`, then open the address that it prints."""

import argparse
import ctypes
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from transfer.formatting import error_line, prepare_streams, without_folders
from transfer.jobs import JobLimits, JobManager, Worker
from transfer.machine.environment import is_shared, on_zero_gpu, use_writable_disk
from transfer.machine.signals import handle_ending

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# at the end of each event gradio would summarise the last ten thousand events for its monitoring
# page, which costs more than most events
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
if "*" not in (around := os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")):
    # the page talks to itself, and no proxy leads back to this machine
    around = ",".join(filter(None, (around, "localhost,127.0.0.1,::1")))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = around
OWN_SETTINGS = {"GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY", "HF_TOKEN_PATH"} | {
    name for name in os.environ if "ANALYTICS" in name
}
DETOURS = ("NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
# the page and a training share the cores: OpenMP threads that wait must not spin
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SESSIONS = 1_000  # gradio stores 0.25 MB for each, by default for ten thousand sessions
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE", "HF_OIDC_ID_TOKEN")
M_ARENA_MAX, HEAPS = -8, 2  # the option of glibc's mallopt, and its value


def main() -> None:
    prepare_streams()
    use_writable_disk()
    options = _options()
    _share_heaps()
    handle_ending(_leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    _log_to_stderr()
    with _upload_folder(), suppress(KeyboardInterrupt):  # until gradio handles it
        _run(options.runs, options.port)


def _run(runs: Path, port: int | None) -> None:
    """Serve the page for a folder of runs until the app is ended; an error is one line."""
    try:
        _serve_runs(runs, port)
    except Exception as error:
        from transfer.cli.main import unexpected

        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {error_line(error) or unexpected(error, 'app.py')}")


def _serve_runs(runs: Path, port: int | None) -> None:
    _check_address()
    shared = is_shared()
    if shared:
        _forget_tokens()
    limits = JobLimits.shared() if shared else JobLimits()
    jobs = JobManager(runs, limits=limits.with_environment(), worker=_worker())
    try:
        _serve(jobs, port, shared=shared)
    finally:
        jobs.close()


def _serve(jobs: JobManager, port: int | None, *, shared: bool) -> None:
    """Serve the page until the app is ended."""
    try:
        with _no_detours():
            page = _launch(jobs, port, shared=shared)
    except Exception as error:
        if why := _why_not(error, port):
            sys.exit(f"error: {why}")
        raise
    print(f"* Runs are saved in {jobs.runs.absolute()}", flush=True)
    threading.Thread(target=jobs.keep_warm, daemon=True).start()
    page.block_thread()


def _launch(jobs: JobManager, port: int | None, *, shared: bool):
    """The page, which answers from now on."""
    from transfer.ui.page import build_page
    from transfer.ui.shared.sign_in import sign_in_error_handlers
    from transfer.ui.theme import CSS, WORDS, theme

    page = build_page(jobs, shared=shared)
    page.enable_monitoring = False  # `launch` closes it only once the server answers
    page.launch(
        server_port=port,
        theme=theme(),
        css=CSS,
        i18n=WORDS,
        max_threads=200,
        max_file_size="50mb",
        state_session_capacity=SESSIONS,
        show_error=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=find_spec("mcp") is not None,
        app_kwargs={"exception_handlers": sign_in_error_handlers()},
        prevent_thread_lock=True,
    )
    return page


def _check_address() -> None:
    """Gradio would try a hundred ports of an address that is not this machine's."""
    if not (name := os.environ.get("GRADIO_SERVER_NAME")):
        return
    try:
        found = socket.getaddrinfo(name.strip("[]"), 0, type=socket.SOCK_STREAM)
        for family, kind, _, _, address in sorted(found):  # IPv4 first
            with socket.socket(family, kind) as tried:
                tried.bind(address)
            return
    except (OSError, UnicodeError) as error:  # an empty label, say
        reason = getattr(error, "strerror", None) or "no such name"
        sys.exit(
            "error: expected an address of this machine in GRADIO_SERVER_NAME, found "
            f"{name[:80]!r} ({reason}); unset it, or set 0.0.0.0 for all addresses"
        )


@contextmanager
def _no_detours() -> Iterator[None]:
    """Without any proxy or certificates of the environment. While it starts, gradio asks its own
    page whether it is up, which fails even where they would not be used but cannot be read."""
    hidden = {name: os.environ.pop(name, None) for name in DETOURS}
    os.environ["no_proxy"] = "*"
    try:
        yield
    finally:
        del os.environ["no_proxy"]
        os.environ.update({name: value for name, value in hidden.items() if value is not None})


def _why_not(error: Exception, port: int | None) -> str:
    """What in the environment may keep the page from starting, in one line; empty if nothing."""
    if isinstance(error, OSError) and "port" in str(error):
        name = os.environ.get("GRADIO_SERVER_NAME")
        where = f" on {name} (GRADIO_SERVER_NAME)" if name else ""
        problem = f"port {port} is taken" if port else "no port from 7860 up is free"
        return f"{problem}{where}; choose another with --port"
    names = [name for name in sorted(os.environ) if name.startswith(("GRADIO_", "HF_"))]
    given = ", ".join(name for name in names if name not in OWN_SETTINGS)
    reason = without_folders(" ".join(f"{type(error).__name__}: {error}".split()))[:200]
    return given and f"the page cannot start ({reason}); check {given} in the environment"


def _upload_folder() -> tempfile.TemporaryDirectory:
    """A folder of this app's own for uploads, removed at its end; by default gradio uses one that
    belongs to the first user of the machine who started it."""
    parent = os.environ.get("GRADIO_TEMP_DIR") or None
    try:
        if parent:
            Path(parent).mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            prefix="transfer-", dir=parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        name = Path(parent or tempfile.gettempdir()).name
        sys.exit(
            f"error: the folder for uploads {name!r} cannot be written to ({error.strerror}); set "
            "GRADIO_TEMP_DIR to another one"
        )
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    return folder


def _forget_tokens() -> None:
    """Visitors must not read anything with the token of the server's owner: remove it wherever the
    Hub's clients look for one, in this process and in those that it starts."""
    for name in TOKENS:
        os.environ.pop(name, None)
    os.environ["HF_TOKEN_PATH"] = os.devnull
    from huggingface_hub import constants

    constants.HF_TOKEN_PATH = os.devnull  # the module may have been imported before


def _worker() -> Callable[[tuple[str, ...]], Worker]:
    """Starts a process that trains."""
    if not on_zero_gpu():
        return Worker
    from transfer.jobs.gpu_slices import zero_gpu_worker

    return zero_gpu_worker()


def _leave(*_) -> None:
    handle_ending(lambda *_: None)  # a system that shuts down sends several
    sys.exit(0)


def _share_heaps() -> None:
    """Limit glibc to two heaps. By default its threads get up to eight heaps a core, which hold on
    to hundreds of megabytes of free memory after many visitors."""
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)


def _log_to_stderr() -> None:
    """Show the log of this package and its workers."""
    log = logging.getLogger("transfer")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    log.propagate = False


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 up")
    runs = Path(os.environ.get("TRANSFER_RUNS") or "runs")
    parser.add_argument("--runs", type=Path, default=runs, help="folder of finished runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()

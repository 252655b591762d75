"""The command line's `publish`."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from transfer.cli.interrupt import lasting_interrupt
from transfer.cli.options import AsJson
from transfer.cli.progress import Progress, suggest

if TYPE_CHECKING:
    from transfer.publishing import Event, Published, PublishRequest


def publish(
    run: Annotated[
        str, typer.Argument(metavar="RUN_OR_DIR", help="A run folder, or one that `export` wrote.")
    ],
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="Where on the Hub.")],
    private: Annotated[
        bool, typer.Option("--private/--public", help="Who may see a new repository.")
    ] = True,
    what: Annotated[
        str,
        typer.Option(
            help="head: small, for this package; full: for timm and transformers; "
            "page: a static Space that classifies in the browser; dataset: RUN_OR_DIR is a folder "
            "of photos that the page saved."
        ),
    ] = "head",
    license: Annotated[
        str | None, typer.Option(help="Like apache-2.0; by default what weights and images allow.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a run, an exported folder or photos on the Hub: one commit, compared with what was
    sent."""
    from transfer.publishing import PublishRequest

    progress = Progress()
    with lasting_interrupt() as check:
        if license is None and sys.stdin.isatty():
            license = _ask_license(run, what)
        progress.say("checking the run and the Hub")
        request = PublishRequest(
            run=run, repository=repository, what=what, private=private, license=license
        )
        event = report_publish(progress, request, check)
    if as_json:
        print(json.dumps({k: v for k, v in asdict(event).items() if k != "changed"}))
    else:
        print(event.url)
        if what in ("head", "full"):
            suggest("classify", repository, "PHOTO_OR_FOLDER")


def report_publish(
    progress: Progress, request: "PublishRequest", check: Callable[[], bool]
) -> "Published":
    """Publish and say so; `check` tells of an interrupt."""
    from transfer.publishing import publish_events

    for event in publish_events(request, check):
        check()
        _report(progress, event, request.private)
    return event


def _ask_license(run: str, what: str) -> str | None:
    """What the user answers, unless a license follows from the weights and the images."""
    from transfer.publishing import check_source
    from transfer.publishing.card import choose_license
    from transfer.runs.run import Run

    found = check_source(run, what)
    if isinstance(found, Run) and choose_license(found, None).metadata:
        return None
    published = "photos" if what == "dataset" else "model"
    question = f"license of the published {published}, like apache-2.0 (empty: none)"
    return typer.prompt(question, default="", show_default=False, err=True).strip() or None


def _report(progress: Progress, event: "Event", private: bool) -> None:
    from transfer.publishing import Checked, Published, Sending, Verifying, Waiting

    match event:
        case Checked():
            action = "updates" if event.exists else "creates"
            kept = "" if event.private == private else " (an existing one keeps its visibility)"
            visibility = "private" if event.private else "public"
            progress.say(
                f"{action} the {visibility} repository {event.repository}{kept}: "
                f"{event.what}, {len(event.files)} files, {event.bytes / 1e6:.1f} MB"
            )
        case Waiting():
            progress.show(f"{event.why}; trying again in {event.seconds:.0f} s", passing=True)
        case Sending():
            sent, total = event.sent_bytes / 1e6, event.total_bytes / 1e6
            progress.show(f"sending: {sent:.1f} of {total:.1f} MB", passing=True)
        case Verifying():
            progress.say("all files are sent; comparing them")
        case Published():
            how = "published" if event.changed else "nothing had changed"
            progress.say(f"{how}: {event.url} at commit {event.commit[:12]}")

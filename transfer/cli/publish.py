"""The command line's `publish`."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from transfer.cli.progress import Progress
    from transfer.publishing import Event

RunOrFolder = Annotated[
    str, typer.Argument(metavar="RUN_OR_DIR", help="A run folder, or one that `export` wrote.")
]


def publish(
    run: RunOrFolder,
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="Where on the Hub.")],
    private: Annotated[
        bool, typer.Option("--private/--public", help="Who may see a new repository.")
    ] = True,
    what: Annotated[
        str, typer.Option(help="head: small, for this package; full: for timm and transformers.")
    ] = "head",
    license: Annotated[
        str | None, typer.Option(help="Like apache-2.0; left open: as the weights and images say.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Put a run or an exported folder on the Hub: one commit, then read back."""
    from transfer.cli.interrupt import lasting_interrupt
    from transfer.cli.progress import Progress
    from transfer.publishing import publishing

    progress, event = Progress(), None
    with lasting_interrupt() as check:
        if license is None and sys.stdin.isatty():
            license = _asked_license(run)
        progress.say("looking at the run and at the Hub")
        for event in publishing(
            run,
            repository,
            what=what,
            private=private,
            license=license,
            should_stop=check,
        ):
            check()
            _tell(progress, event, private)
    if as_json:
        print(json.dumps({k: v for k, v in asdict(event).items() if k != "changed"}))
    else:
        print(event.url)


def _asked_license(run: str) -> str | None:
    """What the user answers, where what is known of weights and images gives no licence."""
    from transfer.publishing import read_source
    from transfer.publishing.card import choose_terms

    source = read_source(run)
    if source is not None and choose_terms(source, None).metadata:
        return None
    asked = "licence of what is published, like apache-2.0 (empty: none is named)"
    return typer.prompt(asked, default="", show_default=False, err=True).strip() or None


def _tell(progress: "Progress", event: "Event", private: bool) -> None:
    from transfer.publishing import Checked, Published, Sending, Verifying, Waiting

    match event:
        case Checked():
            place = "goes on in" if event.exists else "makes"
            kept = "" if event.private == private else ", which it stays, whatever was asked"
            progress.say(
                f"{place} the {_seen(event.private)} repository {event.repository}{kept}: "
                f"{event.what}, {len(event.files)} files, {event.bytes / 1e6:.1f} MB"
            )
        case Waiting():
            progress.show(f"{event.why}; trying again in {event.seconds:.0f} s", passing=True)
        case Sending():
            done, total = event.done_bytes / 1e6, event.total_bytes / 1e6
            progress.show(f"sending: {done:.1f} of {total:.1f} MB", passing=True)
        case Verifying():
            progress.say("all files are up; reading them back")
        case Published():
            how = "published" if event.changed else "nothing had changed"
            progress.say(f"{how}: {event.url} at commit {event.commit[:12]}")


def _seen(private: bool) -> str:
    return "private" if private else "public"

"""What may be printed: file names come from anywhere, and a terminal acts on what it is sent."""

import io
import sys
from pathlib import Path

from transfer import events


def printable(text: str) -> str:
    """A name may hold what a terminal would act on, or what cannot be printed."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def print_whatever_comes() -> None:
    """A name that stdout or stderr has no signs for is escaped; printing it never fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


BEGUN_ANEW = "no checkpoint to go on from: the training begins anew, on the features that are kept"


def describe(event: events.Event) -> str:
    """One line about an event."""
    match event:
        case events.BodyProgress():
            done, total = (round(n / 1e6) for n in (event.done_bytes, event.total_bytes))
            return f"downloading the body: {done} of {total} MB"
        case events.WeightsChosen():
            return f"body: {event.weights} ({event.reason})"
        case events.DatasetReady():
            counts = ", ".join(f"{n} {name}" for name, n in event.images.items())
            skipped = f", {len(event.skipped)} told or skipped" if event.skipped else ""
            path = Path(event.source)
            source = path.name if path.is_absolute() else event.source
            return f"data: {source}, {len(event.classes)} classes, {counts}{skipped}"
        case events.CacheProgress():
            rate = event.done / max(event.seconds, 1e-9)
            left = duration((event.total - event.done) / max(rate, 1e-9))
            return f"{event.stage}: {event.done}/{event.total}, {rate:.0f} a second, {left} left"
        case events.Estimated():
            parts = [f"{name} {duration(seconds)}" for name, seconds in event.seconds.items()]
            return f"this will take about {', '.join(parts)}; {event.cached}"
        case events.CacheFilled():
            images, skipped = sum(event.images.values()), len(event.skipped)
            told = f", {skipped} told or skipped" if skipped else ""
            how = f"in {duration(event.seconds)}" if event.computed else "found in the cache"
            return f"features: {images} images{told}, {event.megabytes:.0f} MB, {how}"
        case events.HeadTried():
            return f"head {_head(vars(event))}: validation loss {event.validation_loss:.4f}"
        case events.HeadChosen():
            tried = f"{len(event.tried)} heads tried in {duration(event.seconds)}"
            chosen = next(row for row in event.tried if row["chosen"])
            return f"{tried}: {_head(chosen)} is taken, {event.why}"
        case events.Resumed():
            return (
                f"going on after {event.phase} epoch {event.epoch}" if event.phase else BEGUN_ANEW
            )
        case events.PhaseStarted():
            learns = f"{event.trainable:,} of {event.parameters:,} parameters learn"
            return f"{event.phase}: {learns} ({', '.join(event.learns)})"
        case events.BatchDone():
            left = duration(event.seconds_left)
            return (
                f"{event.phase} epoch {event.epoch}: batch {event.done}/{event.total}, "
                f"at most {left} left"
            )
        case events.EpochDone():
            loss = "" if event.loss is None else f"loss {event.loss:.4f}, "
            best = " (best)" if event.best else ""
            return (
                f"{event.phase} epoch {event.epoch}/{event.epochs}: {loss}validation loss "
                f"{event.validation_loss:.4f}, accuracy {event.validation_accuracy:.4f}{best}, "
                f"at most {duration(event.seconds_left)} left"
            )
        case events.PhaseDone():
            way = "" if event.share == 1 else f"{event.share:.0%} of the way to "
            return (
                f"{event.phase} done: validation accuracy {event.accuracy:.4f} from {way}epoch "
                f"{event.best_epoch}, {duration(event.seconds)}; {event.ended}"
            )
        case events.RunSaved():
            low, high = event.result["accuracy_interval"]
            return (
                f"saved: {event.run}; test accuracy {event.result['accuracy']:.4f} "
                f"({low:.3f} to {high:.3f} with 95 % confidence), head of "
                f"{event.result['head_parameters']:,} parameters in place of "
                f"{event.result['original_head_parameters']:,}"
            )


def _head(row: dict) -> str:
    return (
        f"{row['head']} (dropout {row['dropout']:g}, {row['optimizer']} at "
        f"{row['learning_rate']:g})"
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"

"""Text for people: events as lines, durations, and names that are safe to print."""

import io
import os
import re
import sys
import time
import unicodedata
from pathlib import Path

from transfer import events
from transfer.errors import TransferError

# what the estimate of each phase is called in a sentence
PHASE_NAMES = {
    "cache": "preparing images",
    "images": "preparing images",
    "heads": "trying heads",
    "features": "feature extraction",
    "fine-tune": "fine-tuning",
}
LEAST_IN_PERCENT = 100  # images of a test set; the accuracy on fewer is shown as a count
FOLDERS = re.compile(r"(?<![\w.:/])~?/(?:[^/\s'\"]+/)*")


def printable(text: str) -> str:
    """The text with escape sequences in place of control characters.

    A file's name may hold codes that a terminal would act on, or half a character.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def encodable(text: str) -> str:
    """The text with escape sequences in place of half characters, which no encoder takes.

    Python reads names that are not UTF-8 into such halves.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def encodable_parts(data):
    """The same JSON value with `encodable` texts, so that every program can read it."""
    if isinstance(data, str):
        return encodable(data)
    if isinstance(data, dict):
        return {encodable_parts(key): encodable_parts(value) for key, value in data.items()}
    return [*map(encodable_parts, data)] if isinstance(data, list | tuple) else data


def isolated(text: str) -> str:
    """A name for a sentence of the page: one from right to left does not take the words and
    numbers beside it along."""
    turned = any(unicodedata.bidirectional(sign) in ("R", "AL") for sign in text)
    return f"\u2068{text}\u2069" if turned else text


def prepare_streams() -> None:
    """Printing never fails for want of a stream or a character.

    Characters that stdout or stderr cannot encode are escaped. A service or a closed terminal may
    have closed a stream: what goes there is dropped, and no file gets its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def error_line(error: Exception) -> str:
    """One line about an error of ours, of the disk or of memory; empty for any other."""
    if isinstance(error, TransferError):
        return str(error)
    if isinstance(error, MemoryError | RuntimeError):
        from transfer.machine.device import out_of_memory

        if out_of_memory(error):
            return "there was not enough memory; choose fewer or smaller images"
    if isinstance(error, OSError) and error.strerror:
        named = f"{Path(os.fsdecode(error.filename)).name!r}: " if error.filename else ""
        return f"a file cannot be read or written ({named}{error.strerror}); make room or check it"
    return ""


def without_folders(text: str) -> str:
    """The text in one line, with only the last part of every path."""
    return " ".join(FOLDERS.sub("", text).split())


def duration(seconds: float) -> str:
    """As in `45 s`, `12 min` or `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def byte_size(count: float) -> str:
    """As in `700 MB` or `1.52 GB`, three digits at most."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= 0.9995 * unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"


def counted(number: int, word: str) -> str:
    """`1 image`, `2,000 images`."""
    plural = "es" if word.endswith("s") else "s"
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}{plural}"


def score_text(score: float) -> str:
    """Never 100 % for what is uncertain, never 0 % for what is possible."""
    if 0.9995 <= score < 1:
        return "> 99.9%"
    return "< 0.1%" if 0 < score < 0.0005 else f"{score:.1%}"


def accuracy_text(accuracy: float, images: int) -> str:
    """As in `83.3%`; of fewer than LEAST_IN_PERCENT images as in `5 of 6`, for the decimals of so
    few say nothing."""
    if images < LEAST_IN_PERCENT:
        return f"{accuracy * images:.0f} of {images}"
    return f"{accuracy:.1%}"


def interval_text(low: float, high: float, images: int) -> str:
    """Of an accuracy on so many images: without decimals where it is a count."""
    digits = 1 if images >= LEAST_IN_PERCENT else 0
    return f"{low:.{digits}%} to {high:.{digits}%}"


def time_text(seconds: float) -> str:
    """Seconds since 1970 as this machine's local time: `1 Dec 14:03`."""
    local = time.localtime(seconds)
    return f"{local.tm_mday} {time.strftime('%b %H:%M', local)}"


def phase_times(seconds: dict[str, float]) -> str:
    """As in `preparing images 45 s, warm-up 12 s`."""
    return ", ".join(f"{PHASE_NAMES.get(p, p)} {duration(s)}" for p, s in seconds.items())


def describe(event: events.Event) -> str:
    """One line about an event, as the command line and the page show it."""
    text = _describe(event)
    return text[:1].upper() + text[1:]


def _describe(event: events.Event) -> str:
    match event:
        case events.BodyProgress(done_bytes=done, total_bytes=total):
            return f"downloading the pretrained body: {done / 1e6:.0f} of {total / 1e6:.0f} MB"
        case events.WeightsChosen():
            return f"weights: {event.weights} ({event.reason})"
        case events.DatasetReady():
            return _dataset(event)
        case events.CacheProgress():
            return _cache_progress(event)
        case events.Estimated():
            return f"estimated: {phase_times(event.seconds)}; {event.cached}"
        case events.CacheFilled():
            how = f"prepared in {duration(event.seconds)}" if event.computed else "already cached"
            images = f"{sum(event.images.values()):,} images{_skipped(event.skipped)}"
            return f"features: {images}, {event.megabytes:.0f} MB, {how}"
        case events.HeadTried():
            return f"head {_head(vars(event))}: validation loss {event.validation_loss:.4f}"
        case events.HeadChosen():
            chosen = next(row for row in event.tried if row["chosen"])
            tried = f"tried {len(event.tried)} heads in {duration(event.seconds)}"
            return f"{tried}; using {_head(chosen)}: {event.why}"
        case events.Resumed(phase=""):
            return "no checkpoint to resume from: starting again with the cached features"
        case events.Resumed():
            return f"resuming after {event.phase} epoch {event.epoch}"
        case events.PhaseStarted():
            count = f"{event.trainable:,} of {event.parameters:,} parameters"
            return f"{event.phase}: training {count} ({', '.join(event.learns)})"
        case events.BatchDone():
            left = f"at most {duration(event.seconds_left)} left"
            return f"{event.phase} epoch {event.epoch}: batch {event.done}/{event.total}, {left}"
        case events.EpochDone():
            return _epoch(event)
        case events.PhaseDone():
            return (
                f"{event.phase} done in {duration(event.seconds)} ({event.ended}): validation "
                f"accuracy {event.accuracy:.4f}{_taken(event)}"
            )
        case events.BlocksProbed():
            return block_probes(event.images, event.accuracy, event.no_gain)
        case events.CrossValidated():
            low, high = event.interval
            return (
                f"linear head, {event.folds}-fold cross-validation over {event.images:,} training "
                f"and validation images: accuracy {event.accuracy:.4f} (95 % interval {low:.3f} to "
                f"{high:.3f}); fine-tune is judged on the split alone"
            )
        case events.RunSaved():
            return _saved(event)


def _taken(event: events.PhaseDone) -> str:
    """Which weights the accuracy is of; where no epoch's are taken, `ended` says so."""
    if not event.best_epoch:
        return ""
    part = "" if event.share == 1 else f"{event.share:.0%} of the way to "
    return f" from {part}epoch {event.best_epoch}"


def _dataset(event: events.DatasetReady) -> str:
    path = Path(event.source)
    source = path.name if path.is_absolute() else event.source  # no folders of this machine
    counts = ", ".join(f"{n:,} {name}" for name, n in event.images.items())
    notes = "".join(f"; {line}" for line in event.greys)
    skipped = _skipped(event.skipped)
    return f"dataset: {source}, {len(event.classes)} classes, {counts}{skipped}{notes}"


def _skipped(skipped: list) -> str:
    return f", {len(skipped):,} skipped" if skipped else ""


def _cache_progress(event: events.CacheProgress) -> str:
    text = f"{event.stage}: {event.done:,} of {event.total:,}"
    if not event.done or not event.seconds:  # no rate to measure yet
        return text
    rate = event.done / event.seconds  # images a second
    left = duration((event.total - event.done) / rate)
    return f"{text}, {rate:.0f} images/s, {left} left"


def _head(row: dict) -> str:
    return (
        f"{row['head']} (dropout {row['dropout']:g}, {row['optimizer']} at "
        f"{row['learning_rate']:g})"
    )


def _epoch(event: events.EpochDone) -> str:
    loss = "" if event.loss is None else f"loss {event.loss:.4f}, "
    best = " (lowest validation loss so far)" if event.best else ""
    return (
        f"{event.phase} epoch {event.epoch}/{event.epochs}: {loss}validation loss "
        f"{event.validation_loss:.4f}, accuracy {event.validation_accuracy:.4f}"
        f"{best}, at most {duration(event.seconds_left)} left"
    )


def _saved(event: events.RunSaved) -> str:
    result, (low, high) = event.result, event.result["accuracy_interval"]
    balanced = f", balanced {result['balanced_accuracy']:.1%}" if result.get("uneven") else ""
    images = result["images"]["test"]
    accuracy, interval = accuracy_text(result["accuracy"], images), interval_text(low, high, images)
    return (
        f"saved to {event.run}; test accuracy {accuracy} (95 % interval {interval})"
        f"{balanced}, head of {result['head_parameters']:,} parameters in place of "
        f"{result['original_head_parameters']:,}"
    )


def block_probes(images: int, accuracy: dict[str, float], no_gain: list[str]) -> str:
    """How well each block's output tells the classes apart, as BlocksProbed has it."""
    blocks = ", ".join(f"{block} {share:.1%}" for block, share in accuracy.items())
    gain = "each block adds to the one below"
    if no_gain:
        gain = f"no certain gain from {', '.join(no_gain)}, which could profit most from fine-tune"
    fitted = f"linear classifiers on each block's output before fine-tune, {images} training images"
    return f"{fitted}: {blocks}; {gain}"


def points_gained(low: float, high: float) -> str:
    """An interval of accuracies gained, in percentage points: `+1.0 to +4.2 points`."""
    low, high = (round(100 * gain, 1) + 0.0 for gain in (low, high))  # no -0.0
    return f"{low:+.1f} to {high:+.1f} points"

"""README.md and its pictures; what a person wrote into the previous card stays."""

import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import RunError, TransferError
from transfer.publishing.card.escape import as_line, as_text
from transfer.publishing.card.facts import (
    EXAMPLE_ADDRESS,
    LICENSE_KEYS,
    card_facts,
    card_metadata,
    merge_metadata,
    page_metadata,
)
from transfer.publishing.card.images import find_examples, find_mistakes, open_images
from transfer.publishing.card.license import checked_license, choose_license
from transfer.publishing.card.plots import (
    draw_confusion,
    draw_curves,
    draw_mistakes,
    draw_reliability,
    draw_thumbnail,
)
from transfer.publishing.card.render import render
from transfer.publishing.onnx.readme import readme
from transfer.publishing.redact import published_record, published_report
from transfer.runs.run import FAMILIARITY, RECORD, REPORT, STAGES, TENSORS, Run

if TYPE_CHECKING:
    from transfer.data.dataset import ImageDataset
    from transfer.publishing.bundle import Bundle

CARD, THUMBNAIL = "README.md", "thumbnail.png"
TEMPLATE = Path(__file__).with_name("template.md")
ANSWERS = 3  # shown of an example
FILES = {  # of a run's folder → what they are
    RECORD: "classes, settings and learning curves",
    REPORT: "accuracy and confusion matrix on the test images",
    TENSORS: "the new head and the layers that were fine-tuned",
    STAGES: "the heads after the earlier phases, to compare them",
    FAMILIARITY: "to recognise pictures of something else: numbers, no photos",
}
FRONT_MATTER = re.compile(r"\A\ufeff?\s*---\r?\n(.*?)\r?\n?---(?:\r?\n|\Z)", re.DOTALL)
# The generated part, with the license that it was given. Versions until 0.4 marked each section by
# a name of its own; these are replaced as well. A mark without its partner is ordinary text.
GENERATED = re.compile(
    r"^<!-- transfer: begin (\w+)(?:, license: (\S+))? -->"
    r"(?:(?!<!-- transfer: (?:begin|end)).)*"
    r"<!-- transfer: end \1 -->[ \t]*(?=\r?$)",
    re.MULTILINE | re.DOTALL,
)


def write_card(
    bundle: "Bundle",
    repository: str,
    *,
    license: str | None = None,
    private: bool = True,
    source_is_public: bool,
    previous: str | None = None,
    linked: bool = False,
) -> None:
    """Write README.md and its pictures into the bundle's folder.

    `previous` is the repository's card, decoded with `surrogateescape`. Everything outside the
    generated part stays, and so do the metadata that a person added and a license that a person
    chose, unless `license` names one. Training images are shown only if `source_is_public`.
    `linked` says that a model's page or a page's model is on the Hub under the same name.
    Raises SettingsError for an unknown license, RunError if the run's records are damaged.
    """
    with _as_run_errors():
        examples, widget = {}, []
        if bundle.what == "page":
            pictures = {THUMBNAIL: draw_thumbnail(repository, bundle.classes, bundle.run.report)}
        else:
            images = open_images(bundle.run) if bundle.run and source_is_public else None
            if images and "/" in repository:  # not in a zip of files, which have no address
                examples, widget = _examples(bundle, repository, images)
            pictures = _draw(bundle, images) | examples
        facts = {"private": private, "pictures": pictures.keys(), "widget": widget}
        facts |= {"linked": linked, "folder": {}}
        text = _card(bundle, repository, license, previous or "", facts)
    for name, content in {CARD: text.encode("utf-8", "surrogateescape"), **pictures}.items():
        (bundle.folder / name).write_bytes(content)


def run_readme(run: Run, name: str) -> str:
    """The card's text for a copy of the run's own folder, called `name`, with what each file is.

    Raises RunError if the run's records are damaged.
    """
    from transfer.publishing.bundle import Bundle

    known = {"record": published_record(run), "report": published_report(run, public=False)}
    files = {path.name: path.stat().st_size for path in run.path.iterdir() if path.name in FILES}
    shown = replace(run, **known)
    copy = Bundle(folder=run.path, what="head", files=files, run=shown, classes=run.classes)
    facts = {"private": False, "pictures": (), "linked": False}
    facts["folder"] = {file: FILES[file] for file in sorted(files)}
    with _as_run_errors():
        text = render(TEMPLATE, facts | card_facts(copy, name, choose_license(run, None)))
    return f"# {as_text(name)}\n\n{text.strip()}\n"


@contextmanager
def _as_run_errors() -> Iterator[None]:
    from jinja2 import TemplateError

    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, TemplateError) as error:
        raise RunError(
            "expected a complete record and report of the run to write its card from, found them "
            f"damaged ({type(error).__name__}: {as_line(error)}); train again"
        ) from None


def _examples(
    bundle: "Bundle", repository: str, images: "ImageDataset"
) -> tuple[dict[str, bytes], list[dict]]:
    """(file name → JPEG, what the Hub's page shows of them: the answers of what is published)."""
    from transfer.inference.loading import open_classifier

    found, files, widget = list(find_examples(bundle.run, images)), {}, []
    if not found:
        return files, widget
    try:
        classifier = open_classifier(bundle.run if bundle.what == "head" else bundle.folder)
    except (TransferError, RuntimeError, MemoryError):  # too little memory: the card does without
        return files, widget
    for number, (picture, label) in enumerate(found, 1):
        picture.save(file := io.BytesIO(), format="JPEG", quality=95)
        files[f"example-{number}.jpg"] = file.getvalue()
        answers = classifier.classify(file.getvalue(), top=ANSWERS)
        scores = [{"label": answer.label, "score": round(answer.score, 4)} for answer in answers]
        address = f"https://huggingface.co/{repository}{EXAMPLE_ADDRESS}{number}.jpg"
        widget.append({"src": address, "example_title": label, "output": scores})
    return files, widget


def _draw(bundle: "Bundle", images: "ImageDataset | None") -> dict[str, bytes]:
    """File name → PNG."""
    if bundle.run is None:
        return {}
    report = bundle.run.report
    mistakes = find_mistakes(bundle.run, images) if images else []
    drawn = {
        "curves.png": draw_curves(report),
        "reliability.png": draw_reliability(report),
        "confusion.png": draw_confusion(bundle.classes, report["confusion"]),
        "mistakes.png": draw_mistakes(mistakes, bundle.classes),
    }
    return {name: picture for name, picture in drawn.items() if picture}


def _card(
    bundle: "Bundle", repository: str, license: str | None, previous: str, facts: dict
) -> str:
    from huggingface_hub.utils import yaml_dump

    old, text = split_card(previous)
    generated = GENERATED.search(text)
    # The previous license is a person's, unless the generated part says that it was derived.
    name = _license_name(old) if license is None else ""
    persons = "" if generated and generated[2] == name else name
    chosen = checked_license(license) if license else persons or None
    terms = choose_license(bundle.run, chosen)
    page = bundle.what == "page"
    if page:
        metadata = page_metadata(bundle, repository, terms, old, facts["linked"])
    else:
        metadata = card_metadata(bundle, repository, terms, facts["widget"])
    if persons:
        metadata |= {key: old[key] for key in LICENSE_KEYS if key in old}
    head = yaml_dump(merge_metadata(old, metadata, bool(generated)), sort_keys=False)
    derived = "" if chosen else _license_name(terms.metadata)
    if page:
        body = readme(bundle.run, bundle.folder, terms.text)
    else:
        body = render(TEMPLATE, facts | card_facts(bundle, repository, terms))
        text = text if text.strip() else f"# {repository.rpartition('/')[2]}\n\n"
    return f"---\n{head}---\n{replace_generated(text, body, derived)}"


def is_generated(card: str) -> bool:
    """Whether a part of the card was written by this package."""
    return GENERATED.search(split_card(card)[1]) is not None


def _license_name(metadata: dict) -> str:
    return str(metadata.get("license_name") or metadata.get("license") or "")


def split_card(card: str) -> tuple[dict, str]:
    """A card → (its metadata, its text). Metadata that cannot be read become text."""
    import yaml

    found = FRONT_MATTER.match(card)
    if found is None:
        return {}, card
    text = card[found.end() :]
    try:
        data = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        data = found[1]
    if data is None or isinstance(data, dict):
        return data or {}, text
    note = "The metadata of an earlier version of this card could not be read:"
    return {}, f"{text}\n\n{note}\n\n{textwrap.indent(found[1], '    ')}\n"


def replace_generated(text: str, generated: str, license: str = "") -> str:
    """Put the generated part in the place of the previous one, or below the text."""
    noted = f", license: {license}" if license else ""
    block = (
        f"<!-- transfer: begin generated{noted} -->\n\n{generated.strip()}\n\n"
        "<!-- transfer: end generated -->"
    )
    first = GENERATED.search(text)
    if first is None:
        gap = "" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}{block}\n"
    rest = re.sub(GENERATED.pattern + r"\s*", "", text[first.end() :], flags=GENERATED.flags)
    return text[: first.start()] + block + rest

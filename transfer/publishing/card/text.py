"""The sections of a card, each Markdown: what the model is, what it can do and what it cannot."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from transfer.publishing.card.escape import as_text, counted, listed, percent
from transfer.publishing.card.license import License, hub_set, is_digits
from transfer.publishing.card.metadata import base_model, own_name
from transfer.publishing.card.training import training_section
from transfer.publishing.card.usage import use_section
from transfer.runs.run import Run

if TYPE_CHECKING:
    from transfer.publishing.bundle import Bundle

NOTE = (
    "<!-- What stands between such marks is written anew by each publish. "
    "Write outside them, and it stays. -->"
)
STEPS = {
    "features": "body features only (logistic regression)",
    "warm-up": "after warm-up",
    "fine-tune": "after fine-tune",
}
OPEN_AT_MOST = 20
CLASSES_SHOWN = 200
CONFUSIONS_SHOWN = 10
MISTAKES_SHOWN = 8
SURE = 0.9
FEW_IMAGES = 500
MB = 1e6
BODY_MB = {"vgg11": 37, "vgg13": 38, "vgg16": 59, "vgg19": 80}  # in float32


def card_sections(
    bundle: "Bundle",
    repository: str,
    terms: License,
    pictures: Collection[str],
    *,
    private: bool,
) -> dict[str, str]:
    """Name → Markdown, in the order of the card."""
    return {
        "summary": _summary(bundle),
        "results": _results(bundle.run, pictures),
        "use": use_section(bundle, repository, private=private),
        "training": training_section(bundle.run, pictures),
        "limits": _limits(bundle),
        "terms": f"## Licence\n\n{terms.text}",
    }


def source_told(run: Run) -> str:
    """Where the images are from, as Markdown."""
    if is_digits(run):
        return "scikit-learn's handwritten digits"
    if name := hub_set(run):
        return f"[{as_text(name)}](https://huggingface.co/datasets/{name})"
    return f"the publisher's own images (“{as_text(own_name(run))}”)"


def _summary(bundle: "Bundle") -> str:
    run, classes = bundle.run, bundle.classes
    what = f"Sorts pictures into {counted(len(classes), 'class')}: {listed(classes)}."
    if run is None:
        made = "A VGG16 with a head of its own, as timm loads it."
        return "\n\n".join([NOTE, f"{what} {made}", _size(bundle)])
    low, high = run.report["interval"]
    accuracy = (
        f"**{percent(run.accuracy)} of {counted(run.report['images'], 'test image')} are "
        f"answered rightly** (95 % interval: {percent(low)} to {percent(high)})."
    )
    made = f"{_architecture(run)} that was taught by transfer learning on {source_told(run)}."
    return "\n\n".join([NOTE, f"{what} {made}", accuracy, _size(bundle)])


def _architecture(run: Run) -> str:
    return f"A {run.settings.architecture.upper()}"


def _size(bundle: "Bundle") -> str:
    whole = f"{max(bundle.bytes, 1e4) / MB:,.2f} MB".replace(".00", "")
    if bundle.what == "full":
        return f"All of the network is here, {whole}; timm and transformers load it as it is."
    rest = _body(bundle.run)
    half = ", in half precision" if bundle.run.record.get("stored") == "float16" else ""
    what = f"the new head and what moved below it{half}"
    return f"Only what was learned is here, {whole}: {what}. {rest}"


def _body(run: Run) -> str:
    if name := base_model(run):
        return (
            f"The rest is the body of [{name}](https://huggingface.co/{name}), of which "
            f"{BODY_MB[run.settings.architecture]} MB are fetched once."
        )
    if run.record["body"]["weights"] == "bundled":
        return "The rest comes with the package."
    return "The rest is made by the package from a seed."


def _results(run: Run | None, pictures: Collection[str]) -> str:
    if run is None:
        return "## Results\n\nThis folder came without a report, so no accuracy is known."
    parts = [
        "## Results",
        _steps(run),
        _classes(run.report["classes"]),
        _confusion(run, pictures),
        _mistakes(run, pictures),
    ]
    return "\n\n".join(filter(None, parts))


def _steps(run: Run) -> str:
    stages = [(STEPS[name], stage) for name, stage in run.report["stages"].items() if name in STEPS]
    rows = [
        f"| {told} | {percent(stage['accuracy'])} | {percent(stage['interval'][0])} to "
        f"{percent(stage['interval'][1])} |"
        for told, stage in stages
    ]
    images = counted(run.report["images"], "test image")
    head = f"### What each step bought, on the same {images}"
    table = "\n".join(["| step | accuracy | 95 % interval |", "|---|---:|---:|", *rows])
    return (
        f"{head}\n\n{table}\n\nThe test images took no part in any choice. A difference that is "
        "small beside these intervals may be chance."
    )


def _classes(classes: list[dict]) -> str:
    """Weakest first once there are too many to show."""
    shown = classes
    if len(classes) > CLASSES_SHOWN:
        shown = sorted(classes, key=lambda c: (c["f1"], -c["support"]))[:CLASSES_SHOWN]
    numbers = {id(c): i for i, c in enumerate(classes, 1)}
    rows = [
        f"| {numbers[id(c)]} | {as_text(c['label'])} | {c['precision']:.2f} | {c['recall']:.2f} "
        f"| {c['f1']:.2f} | {c['support']:,} |"
        for c in shown
    ]
    head = ["| | class | precision | recall | F1 | test images |", "|---:|---|---:|---:|---:|---:|"]
    table = "\n".join(head + rows)
    title = f"{len(classes):,} classes, each for itself"
    if len(shown) < len(classes):
        title = f"The {len(shown)} weakest of {len(classes):,} classes; `report.json` has them all"
    return _folded(title, table) if len(classes) > OPEN_AT_MOST else f"### Each class\n\n{table}"


def _folded(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _confusion(run: Run, pictures: Collection[str]) -> str:
    picture = "![Confusion matrix: truth down, answer across](confusion.png)"
    return "\n\n".join(([picture] if "confusion.png" in pictures else []) + _confused(run))


def _confused(run: Run) -> list[str]:
    """Pairs of classes that were mixed up most, as a table."""
    found = [
        (count, truth, answer)
        for truth, row in enumerate(run.report["confusion"])
        if sum(row) > row[truth]
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    found = sorted(found, key=lambda pair: -pair[0])[:CONFUSIONS_SHOWN]
    if not found or len(run.classes) <= 2:
        return []
    rows = [
        f"| {as_text(run.classes[truth])} | {as_text(run.classes[answer])} | {count:,} |"
        for count, truth, answer in found
    ]
    table = "\n".join(["| truth | taken for | times |", "|---|---|---:|", *rows])
    return [_folded("Taken for each other most often", table)]


def _mistakes(run: Run, pictures: Collection[str]) -> str:
    wrong = run.report["images"] - round(run.accuracy * run.report["images"])
    if not wrong:
        return "### Mistakes\n\nNone on the test images."
    listed_mistakes = run.report["mistakes"]
    sure = sum(mistake["score"] >= SURE for mistake in listed_mistakes)
    least = "at least " if sure == len(listed_mistakes) < wrong else ""
    parts = [
        "### Mistakes",
        f"{counted(wrong, 'test image')} answered wrongly, {least}{sure or 'none'} of them with "
        f"a score of {100 * SURE:.0f} % or more.",
    ]
    if "mistakes.png" in pictures:
        parts.append("The most confident ones:")
        parts.append("![The most confident mistakes, each with its answer](mistakes.png)")
    return "\n\n".join(parts)


def _limits(bundle: "Bundle") -> str:
    run = bundle.run
    points = [
        "Every picture gets one of these classes, whatever it shows: the model cannot say that it "
        "does not know, and a high score is no proof.",
        "Pictures are squashed to a square as they are, so very long or tall ones look unlike what "
        "it has learned from.",
    ]
    if run:
        points += _limits_of_run(run)
    return "\n".join(["## Limits", "", *(f"- {point}" for point in points)])


def _limits_of_run(run: Run) -> list[str]:
    train = counted(run.record["result"]["images"]["train"], "picture")
    points = [
        f"It has learned from {train} of {source_told(run)}. Pictures taken otherwise, or of "
        "other kinds of these classes, may well be answered worse than the figures above say."
    ]
    images, (low, high) = run.report["images"], run.report["interval"]
    if images < FEW_IMAGES:
        points.append(
            f"{counted(images, 'test image')} are few: the accuracy is known only to within "
            f"{100 * (high - low):.0f} points."
        )
    weights = run.record["body"]["weights"]
    if weights == "bundled":
        points.append(
            "Its body is the small one that comes with the package, trained on Tiny-ImageNet, and "
            "a weak stand-in for ImageNet's VGG16, with which the same training would likely do "
            "better."
        )
    if weights == "random":
        points.append("Its body began with random numbers: nothing was transferred.")
    return points

"""The confusion matrix as an HTML table: rows are the true classes, columns the predictions."""

from html import escape

from transfer.formatting import isolated
from transfer.runs.run import Run
from transfer.ui.shared.tables import scrolling

MOST_CLASSES = 20  # in a matrix that can still be read; for more, a list of pairs
LONGEST_LABEL, LONGEST_UPRIGHT = 14, 2  # letters
PAIRS_BESIDE_MATRIX, PAIRS_IN_LIST = 3, 10


def confusion(run: Run) -> str:
    """The matrix and the most frequent mistakes, or only these where there are many classes."""
    counts = run.report["confusion"]
    correct = sum(counts[i][i] for i in range(len(counts)))
    few = len(run.classes) <= MOST_CLASSES
    pairs = _confused_pairs(run)[: PAIRS_BESIDE_MATRIX if few else PAIRS_IN_LIST]
    items = "".join(f"<li>{escape(pair)}</li>" for pair in pairs)
    return (
        f"<h3>Confusion matrix</h3><p>{correct} of {sum(map(sum, counts))} test images are "
        f"classified correctly.{' Most often confused:' if pairs else ''}</p><ol>{items}</ol>"
        f"{scrolling(_matrix(run), 'Confusion matrix') if few else ''}"
    )


def _confused_pairs(run: Run) -> list[str]:
    """`ant predicted as bee (3 of 20)`, the most frequent first."""
    names, counts = [*map(isolated, run.classes)], run.report["confusion"]
    return [
        f"{names[true]} predicted as {names[predicted]} ({n} of {sum(counts[true])})"
        for n, true, predicted in run.confusions
    ]


def _matrix(run: Run) -> str:
    columns = "".join(f'<th scope="col">{_label(name)}</th>' for name in run.classes)
    rows = "".join(_row(run, i) for i in range(len(run.classes)))
    corner = '<td class="corner">true ↓<br>predicted →</td>'
    turned = " turned" if max(map(len, run.classes)) > LONGEST_UPRIGHT else ""
    return f'<table class="confusion{turned}"><tr>{corner}{columns}</tr>{rows}</table>'


def _row(run: Run, true: int) -> str:
    counts, names = run.report["confusion"][true], [*map(isolated, run.classes)]
    total = sum(counts) or 1
    cells = "".join(
        f'<td class="{"right" if true == predicted else "wrong"}" style="--share:{n / total:.2f}" '
        f'title="{escape(names[true])} predicted as {escape(names[predicted])}: '
        f'{n} of {total}">{n}</td>'
        if n
        else "<td></td>"
        for predicted, n in enumerate(counts)
    )
    return f'<tr><th scope="row">{_label(run.classes[true])}</th>{cells}</tr>'


def _label(name: str) -> str:
    short = name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"
    return f'<span title="{escape(name)}">{escape(short)}</span>'

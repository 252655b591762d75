"""What was taken for what, as SVG: rows are the truth, columns the answers."""

from html import escape

from transfer.runs.run import Run

READABLE = 20
SMALLEST_CELL, LARGEST_CELL, MATRIX = 26, 44, 260
LONGEST_LABEL = 14
PIXELS_A_LETTER, LETTERS_AT_LEAST, RISE = 7.5, 3, 0.87
PAIRS_SHOWN, PAIRS_OF_MANY = 3, 10


def confusion(run: Run) -> str:
    """The matrix where it can be read, else the pairs that are mixed up most."""
    pairs = _mixed_up(run)
    if len(run.classes) > READABLE:
        told = "".join(f"<li>{escape(pair)}</li>" for pair in pairs[:PAIRS_OF_MANY])
        return f"<ol>{told}</ol>" if told else "<p>Nothing was mixed up.</p>"
    most = "; ".join(pairs[:PAIRS_SHOWN])
    said = f"Mixed up most: {most}." if most else "Nothing was mixed up."
    return (
        f"<p>{escape(said)} Rows are the truth, columns the answers.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Confusion matrix">'
        f"{_matrix(run, said)}</div>"
    )


def _mixed_up(run: Run) -> list[str]:
    """`ant taken for bee (3 of 20)`, the most frequent first."""
    counts = run.report["confusion"]
    pairs = [
        (n, f"{run.classes[i]} taken for {run.classes[j]} ({n} of {sum(row)})")
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if i != j and n
    ]
    return [told for _, told in sorted(pairs, key=lambda pair: -pair[0])]


def _matrix(run: Run, said: str) -> str:
    n = len(run.classes)
    cell = cell_side(n)
    longest = max(LETTERS_AT_LEAST, *(len(_short(name)) for name in run.classes))
    left = round(longest * PIXELS_A_LETTER) + 12
    top = round(longest * PIXELS_A_LETTER * RISE) + 16
    # the last column's label leans out to the right
    width, height = left + n * cell + left // 2, top + n * cell + 2
    right = sum(run.report["confusion"][i][i] for i in range(n))
    whole = sum(map(sum, run.report["confusion"]))
    label = escape(f"Confusion matrix: {right} of {whole} test images are right. {said}")
    rows = "".join(_row(run, i, left, top + i * cell, cell) for i in range(n))
    heads = "".join(
        _column_label(name, left + i * cell + cell // 2, top - 6)
        for i, name in enumerate(run.classes)
    )
    return (
        f'<svg class="confusion" role="img" aria-label="{label}" viewBox="0 0 {width} {height}" '
        f'style="width:{width}px">{heads}{rows}</svg>'
    )


def cell_side(classes: int) -> int:
    """Pixels: few classes have larger cells."""
    return max(SMALLEST_CELL, min(LARGEST_CELL, MATRIX // classes))


def _row(run: Run, i: int, left: int, y: int, side: int) -> str:
    counts, name = run.report["confusion"][i], run.classes[i]
    total = sum(counts) or 1
    parts = [
        f'<text class="truth" x="{left - 8}" y="{y + side // 2 + 4}">'
        f"<title>{escape(name)}</title>{escape(_short(name))}</text>"
    ]
    for j, n in enumerate(counts):
        cell = _cell(left + j * side, y, side, n, n / total, _kind(i, j, n))
        told = f"{name} taken for {run.classes[j]}: {n} of {total}"
        parts.append(f"<g><title>{escape(told)}</title>{cell}</g>" if n else cell)
    return "".join(parts)


def _kind(i: int, j: int, n: int) -> str:
    return "none" if not n else "right" if i == j else "wrong"


def _cell(x: int, y: int, side: int, n: int, share: float, kind: str) -> str:
    box = f'<rect class="{kind}" x="{x}" y="{y}" width="{side - 2}" height="{side - 2}" rx="3"'
    if kind == "none":
        return f"{box}/>"
    on_full = " on-full" if share > 0.5 else ""
    return (
        f'{box} style="fill-opacity:{0.15 + 0.85 * share:.2f}"/>'
        f'<text class="n{on_full}" x="{x + side // 2 - 1}" y="{y + side // 2 + 3}">{n}</text>'
    )


def _column_label(name: str, x: int, y: int) -> str:
    return (
        f'<text transform="translate({x + 3} {y}) rotate(-60)">'
        f"<title>{escape(name)}</title>{escape(_short(name))}</text>"
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"

"""Small pieces of a page: HTML that several tabs show, and how events follow each other."""

from collections.abc import Callable
from functools import wraps
from html import escape

import gradio as gr

from transfer.ui.shared.session import PRIVATE, QUIET

# an event that comes while its handler still runs is run once more at the end
LATEST = {"trigger_mode": "always_last"}
# an event that comes while its handler still runs is run beside it
AT_ONCE = {"trigger_mode": "multiple"}
# of accuracies and predictions, by the phase of the training after which they were made
PHASE_TITLES = {
    "features": "Features only",
    "warm-up": "After warm-up",
    "fine-tune": "After fine-tuning",
}


def advice_first(line: str) -> str:
    """An error of this package, "what was expected; what to do", as sentences in reverse order."""
    what, _, advice = line.rpartition("; ")
    parts = (part[:1].upper() + part[1:] for part in (advice, what) if part)
    return " ".join(part if part.endswith((".", "…")) else f"{part}." for part in parts)


def warning(message: object) -> str:
    return f'<p class="warning">{escape(advice_first(str(message)))}</p>'


def note() -> gr.HTML:
    """A place beside a field for why an input was refused."""
    return gr.HTML(live_region(""), padding=False, elem_classes="note")


def beside(
    note: gr.HTML, event: Callable, handler: Callable, inputs: list | None, outputs: list, **more
) -> gr.events.Dependency:
    """Run `handler` at `event`, such as a button's `click`; what it refuses is explained in `note`.

    Gradio's own message would cover other fields, and its event would end in a failure.
    """

    @wraps(handler)
    def answer(*args, **kwargs) -> tuple:
        try:
            found = handler(*args, **kwargs)
        except gr.Error as error:
            return *(gr.skip() for _ in outputs), live_region(warning(error.message))
        shown = found if len(outputs) > 1 else (found,)[: len(outputs)]
        return *shown, live_region("")

    return event(answer, inputs, [*outputs, note], **QUIET | more)


def live_region(html: str) -> str:
    """What a screen reader announces: no numbers that change several times a second."""
    return f'<div role="status" aria-live="polite">{html}</div>'


def skeleton(lines: int) -> str:
    """In the place of what is still loading."""
    return f'<div class="skeleton" aria-busy="true">{"<i></i>" * lines}</div>'


def step(name: str, title: str, what: str, *, is_first: bool = False) -> gr.Column:
    """One of the steps that stand side by side, or below each other on a phone, where one is open
    at a time; `name` is what a link to it says."""
    classes = ["step"] if is_first else ["step", "folded"]
    with gr.Column(elem_id=f"step-{name}", elem_classes=classes, min_width=0) as column:
        heading = f"<h2>{title}</h2><p>{what}</p>"
        gr.HTML(heading, js_on_load=FOLDING, elem_classes="title", padding=False)
    return column


def progress(what: str, share: float | None, counts: str = "") -> str:
    """What is being done. A screen reader announces `what`, but no counts, which change all the
    time."""
    counts = counts and f"<p>{counts}</p>"
    return f"{live_region(f'<p>{what}</p>')}{counts}{progress_bar(share)}"


def progress_bar(share: float | None) -> str:
    """`share` is 0 to 1; None where it is not known."""
    if share is None:
        return '<div class="progress waiting"><i></i></div>'
    return f'<div class="progress"><i style="width:{100 * share:.1f}%"></i></div>'


def status(announced: str, silent: str = "", kind: str = "") -> str:
    """How a long task is going, in HTML: what a screen reader announces, and the rest."""
    return f'<div class="status {kind}">{live_region(announced)}{silent}</div>'


def run_choices(choices: list[tuple[str, str]], selected: str | None) -> gr.Dropdown:
    """For a field Run: the selected run stays; if it is gone, the first takes its place."""
    runs = [run for _, run in choices]
    if selected in runs:  # not set again, as the visitor may be choosing another one just now
        return gr.Dropdown(choices=choices)
    return gr.Dropdown(choices=choices, value=next(iter(runs), None))


def on_change(component: gr.components.Component) -> gr.events.Dependency:
    """A change of `component`, which any number of handlers may follow with `then`.

    Gradio repeats all handlers of an event when one of them was still busy; two such handlers
    would repeat each other without end. Handlers that follow with `then` are not repeated.
    """
    return component.change(None, js="() => {}", **PRIVATE)


def accordion(label: str) -> gr.Accordion:
    """A closed accordion whose content exists from the start.

    With `open=False` gradio builds the content when it is first opened, and two frames later sets
    each field to its initial value, which would overwrite what was typed by then.
    """
    return gr.Accordion(label, open=0)


# in the browser: on a phone the heading of a step is a button, and an event "step" opens one
FOLDING = """
const step = element.closest(".step"), heading = element.querySelector("h2");
const button = Object.assign(document.createElement("button"), {type: "button"});
const name = button.textContent = heading.textContent, narrow = matchMedia("(max-width: 759px)");
const open = id => document.dispatchEvent(new CustomEvent("step", {detail: id}));
const isOpen = () => !step.classList.contains("folded");
const mark = () => button.setAttribute("aria-expanded", isOpen());
const build = () => heading.replaceChildren(narrow.matches ? button : name);
document.addEventListener("step", ({detail}) => {
    step.classList.toggle("folded", detail !== step.id);
    mark();
    if (isOpen()) dispatchEvent(new Event("resize"));  // for what measures itself
});
button.addEventListener("click", () => {
    open(isOpen() ? "" : step.id);
    if (isOpen()) step.scrollIntoView();
});
narrow.addEventListener("change", build);
mark();
build();
"""
# in the browser: opens and scrolls to the step, or opens the tab, that `where` names
GO_TO = """where => {
    const step = document.getElementById(`step-${where}`);
    if (step) document.dispatchEvent(new CustomEvent("step", {detail: step.id}));
    const at = step || document.getElementById(`${where}-button`);
    setTimeout(() => at?.scrollIntoView({block: "start"}), 200);  // once a tab has its content
    return {__type__: "update", ...(where && !step && {selected: where})};
}"""

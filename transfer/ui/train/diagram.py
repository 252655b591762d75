"""A diagram of the network: what is frozen, what learns, and how far each part has moved."""

from html import escape

from transfer import events
from transfer.jobs import Job
from transfer.settings import BLOCKS

FROZEN, LATER, LEARNS = "frozen", "later", "learns"
# part → what it responds to (Zeiler & Fergus 2014); side and depth of its drawing in pixels
PARTS = {
    "block1": ("edges, colours", 88, 10),
    "block2": ("textures", 72, 14),
    "block3": ("patterns", 56, 20),
    "block4": ("parts", 42, 26),
    "block5": ("objects", 30, 26),
    "head": ("your classes", 42, 14),
}
STATES = {FROZEN: "frozen", LATER: "learns in phase 2", LEARNS: "learns"}
SNOW = (
    '<svg class="sign" viewBox="0 0 16 16" aria-hidden="true"><path d="M8 1v14M2 4.5l12 7M2 11.5l12'
    "-7M6 2l2 2 2-2M6 14l2-2 2 2M2 7l2.6-1L4 3.4M14 9l-2.6 1 .6 2.6M14 7l-2.6-1 .6-2.6M2 "
    '9l2.6 1-.6 2.6"/></svg>'
)
SPARK = (
    '<svg class="sign" viewBox="0 0 16 16" aria-hidden="true"><path class="full" d="M9 1 3 9h4l-1 '
    '6 7-9H8.5z"/></svg>'
)
PHOTO = (
    '<svg class="thing" viewBox="0 0 40 40" aria-hidden="true"><rect x="3" y="6" width="34" height='
    '"28" rx="3"/><circle cx="13" cy="15" r="3"/><path d="m4 31 10-9 7 6 6-8 10 11"/></svg>'
)
ANSWER = (
    '<svg class="thing" viewBox="0 0 40 40" aria-hidden="true"><path d="M5 11h26M5 20h14M5 29h8"/>'
    "</svg>"
)
# phase → title, text
PHASES = {
    "features": ("Feature extraction.", "A linear classifier on the frozen body."),
    "warm-up": (
        "Phase 1, warm-up.",
        "The head starts at random. The frozen filters are safe from its large gradients.",
    ),
    "fine-tune": (
        "Phase 2, fine-tune.",
        "Small steps, smaller in lower blocks, keep the filters close to where they were.",
    ),
}
RESULT = ("Result.", "Frozen parts have not changed by a single bit.")


def planned_diagram(method: str, unfreeze: str) -> str:
    """What a training with these settings will do."""
    upper = BLOCKS[BLOCKS.index(unfreeze) :] if unfreeze in BLOCKS else ()
    if method == "features":
        (title, text), upper = PHASES["features"], ()
    elif upper:
        title = "Two phases."
        blocks = unfreeze if len(upper) == 1 else f"{unfreeze} and up"
        text = f"First only the new head learns, then {blocks} too, in small steps."
    else:
        title, text = "Warm-up only.", "The new head learns, the body stays frozen."
    states = {name: LATER if name in upper else FROZEN for name in BLOCKS} | {"head": LEARNS}
    return _diagram(title, text, states)


def live_diagram(job: Job) -> str:
    """The network in a job's current phase, or as it ended."""
    started = [event for event in job.history if isinstance(event, events.PhaseStarted)]
    unfreeze = unfrozen(job)
    if not started:
        return planned_diagram(job.settings.method, unfreeze)
    phase, learns = started[-1].phase, started[-1].learns
    waits = job.live and phase != "fine-tune" and unfreeze in BLOCKS
    later = BLOCKS[BLOCKS.index(unfreeze) :] if waits else ()
    states = {
        name: LEARNS if name in learns else LATER if name in later else FROZEN for name in PARTS
    }
    epochs = [event for event in job.history if isinstance(event, events.EpochDone)]
    title, text = PHASES[phase] if job.live else RESULT
    return _diagram(title, text, states, epochs[-1].drift if epochs else None)


def unfrozen(job: Job) -> str:
    """The lowest block that a job unfreezes, as it was set or chosen for the dataset."""
    for event in job.history:
        if isinstance(event, events.DatasetReady):
            return event.settings.get("unfreeze") or "none"
    return job.settings.unfreeze or "block5"


def _diagram(
    title: str, text: str, states: dict[str, str], drift: dict[str, float] | None = None
) -> str:
    """`states` and `drift` (relative distance from the start of the phase) are by part."""
    parts = "".join(_part(name, states[name], _drift(name, drift)) for name in PARTS)
    return (
        f'<figure class="vgg"><figcaption><b>{escape(title)}</b> {escape(text)}'
        f'</figcaption><ol aria-label="The network, from image to answer">'
        f'<li class="end">{PHOTO}<b>image</b></li>{parts}'
        f'<li class="end">{ANSWER}<b>answer</b></li></ol></figure>'
    )


def _part(name: str, state: str, drift: str) -> str:
    sees, side, depth = PARTS[name]
    sign = SPARK if state == LEARNS else SNOW
    return (
        f'<li class="part {state}"><span class="solid" style="--side:{side}px;--depth:{depth}px'
        f'"></span><b>{name}</b><span class="sees">{sees}</span>'
        f'<span class="state">{sign}{STATES[state]}</span>{drift}</li>'
    )


def _drift(name: str, drift: dict[str, float] | None) -> str:
    """A bar and a number; empty before the first epoch, so that the diagram keeps its height."""
    if drift is None:
        return '<span class="drift"></span>'
    moved = drift.get(name, 0.0)
    width = 100 * min(moved / max(*drift.values(), 1e-9), 1)
    return f'<span class="drift"><i style="width:{width:.0f}%"></i>moved {percent(moved)}</span>'


def percent(moved: float) -> str:
    """A relative distance, with as many digits as it needs."""
    if moved == 0:
        return "0"
    return f"{moved:.0%}" if moved >= 0.1 else f"{moved:.2%}" if moved >= 0.0005 else "< 0.05%"

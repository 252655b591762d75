"""A diagram of the network: what is frozen, what learns, and how far each part has moved."""

from transfer import events
from transfer.jobs import Job
from transfer.settings import BLOCKS

# part → what it responds to (Zeiler & Fergus 2014); side and depth of its drawing in pixels
PARTS = {
    "block1": ("edges, colours", 88, 10),
    "block2": ("textures", 72, 14),
    "block3": ("patterns", 56, 20),
    "block4": ("parts", 42, 26),
    "block5": ("objects", 30, 26),
    "head": ("your classes", 42, 14),
}
STATES = {"frozen": "frozen", "later": "learns in phase 2", "learns": "learns"}
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
PHASES = {
    "features": "<b>Feature extraction.</b> A linear classifier on the frozen body.",
    "warm-up": "<b>Phase 1, warm-up.</b> The head starts at random. The frozen filters are safe "
    "from its large gradients.",
    "fine-tune": "<b>Phase 2, fine-tune.</b> Small steps, smaller in lower blocks, keep the "
    "filters close to where they were.",
}
RESULT = "<b>Result.</b> Frozen parts have not changed by a single bit."
NOTHING_OF = " Nothing of {} is used: that was not shown to be better than what came before."


def planned_diagram(method: str, unfreeze: str) -> str:
    """What a training with these settings will do."""
    later = _and_up(unfreeze) if method == "finetune" else ()
    if method == "features":
        caption = PHASES["features"]
    elif later:
        blocks = unfreeze if len(later) == 1 else f"{unfreeze} and up"
        caption = (
            f"<b>Two phases.</b> First only the new head learns, then {blocks} too, in small steps."
        )
    else:
        caption = "<b>Warm-up only.</b> The new head learns, the body stays frozen."
    return _diagram(caption, ["head"], later)


def live_diagram(job: Job) -> str:
    """The network in a job's current phase, or as its run has it."""
    started = [event for event in job.history if isinstance(event, events.PhaseStarted)]
    unfreeze = unfrozen(job)
    if job.state == "done":
        return _result_diagram(job)
    if not started or not job.live:
        return planned_diagram(job.settings.method, unfreeze)
    phase = started[-1].phase
    later = _and_up(unfreeze) if phase != "fine-tune" else ()
    epochs = [event for event in job.history if isinstance(event, events.EpochDone)]
    drift = epochs[-1].drift if epochs else None
    return _diagram(PHASES[phase], started[-1].learns, later, drift)


def _result_diagram(job: Job) -> str:
    """What moved in the run, and how far from the start of the phase that it is from.

    A phase may end with the weights of an earlier epoch, with some part of the way there, or where
    it began.
    """
    trained = [e for e in job.history if isinstance(e, events.PhaseDone) and e.epochs]
    unused = " and ".join(e.phase for e in trained if not e.best_epoch)
    caption = RESULT + (NOTHING_OF.format(unused) if unused else "")
    used = next((e for e in reversed(trained) if e.best_epoch), None)
    if used is None:  # the fitted linear classifier
        return _diagram(caption, ["head"], ())
    phase = [event for event in job.history if getattr(event, "phase", "") == used.phase]
    learns = next((e.learns for e in phase if isinstance(e, events.PhaseStarted)), ["head"])
    epochs = {e.epoch: e.drift for e in phase if isinstance(e, events.EpochDone)}
    drift = {part: used.share * far for part, far in epochs.get(used.best_epoch, {}).items()}
    return _diagram(caption, learns, (), drift)


def unfrozen(job: Job) -> str:
    """The lowest block that a job unfreezes, as it was set or chosen for the dataset."""
    for event in job.history:
        if isinstance(event, events.DatasetReady):
            return event.settings.get("unfreeze") or "none"
    return job.settings.unfreeze or "block5"


def _and_up(block: str) -> tuple[str, ...]:
    return BLOCKS[BLOCKS.index(block) :] if block in BLOCKS else ()


def _diagram(
    caption: str, learns: list[str], later: tuple[str, ...], drift: dict[str, float] | None = None
) -> str:
    """`drift` is part → relative distance from the start of the phase."""
    parts = ""
    for name in PARTS:
        state = "learns" if name in learns else "later" if name in later else "frozen"
        parts += _part(name, state, drift)
    return (
        f'<figure class="vgg"><figcaption>{caption}</figcaption>'
        f'<ol aria-label="The network, from image to answer"><li class="end">{PHOTO}<b>image</b>'
        f'</li>{parts}<li class="end">{ANSWER}<b>answer</b></li></ol></figure>'
    )


def _part(name: str, state: str, drift: dict[str, float] | None) -> str:
    sees, side, depth = PARTS[name]
    moved = ""  # before the first epoch, so that the diagram keeps its height
    if drift is not None:
        far = drift.get(name, 0.0)
        width = 100 * far / max([*drift.values(), 1e-9])
        moved = f'<i style="width:{width:.0f}%"></i>moved {_percent(far)}'
    return (
        f'<li class="part {state}"><span class="solid" style="--side:{side}px;--depth:{depth}px">'
        f'</span><b>{name}</b><span class="sees">{sees}</span><span class="state">'
        f"{SPARK if state == 'learns' else SNOW}{STATES[state]}</span>"
        f'<span class="drift">{moved}</span></li>'
    )


def _percent(far: float) -> str:
    if far == 0:
        return "0"
    return f"{far:.0%}" if far >= 0.1 else f"{far:.2%}" if far >= 0.0005 else "< 0.05%"

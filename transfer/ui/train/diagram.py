"""The network as a picture: what is frozen, what learns, and how far each part has moved."""

from dataclasses import dataclass
from html import escape

from transfer import events
from transfer.jobs import Job
from transfer.settings import BLOCKS

FROZEN, LATER, LEARNS = "frozen", "later", "learns"
# what the parts of a ConvNet answer to (Zeiler & Fergus 2014); side and depth are for the eye
SEES = {
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


@dataclass(frozen=True, kw_only=True)
class NetworkDiagram:
    """`states` and `drift` are by part; `title` names the phase, `says` is one sentence."""

    title: str
    says: str
    states: dict[str, str]
    drift: dict[str, float] | None = None

    def html(self) -> str:
        parts = "".join(self._part(name) for name in SEES)
        return (
            f'<figure class="vgg"><figcaption><b>{escape(self.title)}</b> {escape(self.says)}'
            f'</figcaption><ol aria-label="The network, from image to answer">'
            f'<li class="end">{PHOTO}<b>image</b></li>{parts}'
            f'<li class="end">{ANSWER}<b>answer</b></li></ol></figure>'
        )

    def _part(self, name: str) -> str:
        state = self.states[name]
        sees, side, depth = SEES[name]
        sign = SPARK if state == LEARNS else SNOW
        return (
            f'<li class="part {state}"><span class="solid" style="--side:{side}px;--depth:{depth}px'
            f'"></span><b>{name}</b><span class="sees">{sees}</span>'
            f'<span class="state">{sign}{STATES[state]}</span>{self._drift(name)}</li>'
        )

    def _drift(self, name: str) -> str:
        """A bar and words; the line stands there empty before there is anything to tell."""
        if self.drift is None:
            return '<span class="drift"></span>'
        moved = self.drift.get(name, 0.0)
        width = 100 * min(moved / max(*self.drift.values(), 1e-9), 1)
        return f'<span class="drift"><i style="width:{width:.0f}%"></i>moved {share(moved)}</span>'


def share(moved: float) -> str:
    """A distance relative to where it began, with as many digits as it needs."""
    if moved == 0:
        return "0"
    return f"{moved:.0%}" if moved >= 0.1 else f"{moved:.2%}" if moved >= 0.0005 else "< 0.05%"


def planned_picture(method: str, unfreeze: str) -> str:
    """What these settings will do, before anything has been started."""
    tuned = method == "finetune" and unfreeze in BLOCKS
    upper = BLOCKS[BLOCKS.index(unfreeze) :] if tuned else ()
    states = {name: LATER if name in upper else FROZEN for name in BLOCKS} | {"head": LEARNS}
    if method == "features":
        says = "The body stays as it is; a linear classifier learns on what it sees."
        return NetworkDiagram(title="Feature extraction.", says=says, states=states).html()
    if not tuned:
        says = "Only the new head learns; the body stays as it is."
        return NetworkDiagram(title="Warm-up alone.", says=says, states=states).html()
    says = (
        f"First only the new head learns. Then {spoken(upper)} "
        f"{'learn' if len(upper) > 1 else 'learns'} too, gently."
    )
    return NetworkDiagram(title="Two phases.", says=says, states=states).html()


def live_picture(job: Job) -> str:
    """The network as it is in the job's present phase; after the end, how far it came."""
    started = [event for event in job.history if isinstance(event, events.PhaseStarted)]
    unfreeze = unfrozen(job)
    if not started:
        return planned_picture(job.settings.method, unfreeze)
    learns, drift = started[-1].learns, _drift(job)
    upper = BLOCKS[BLOCKS.index(unfreeze) :] if unfreeze in BLOCKS else ()
    later = upper if started[-1].phase != "fine-tune" and job.live else ()
    states = {
        name: LEARNS if name in learns else LATER if name in later else FROZEN for name in SEES
    }
    title, says = _told(started[-1].phase, job.live)
    return NetworkDiagram(title=title, says=says, states=states, drift=drift).html()


def unfrozen(job: Job) -> str:
    """The lowest block that a job unfreezes, as it was asked for or as it was chosen."""
    for event in job.history:
        if isinstance(event, events.DatasetReady):
            return event.settings.get("unfreeze") or "none"
    return job.settings.unfreeze or "block5"


def _told(phase: str, live: bool) -> tuple[str, str]:
    if not live:
        return "How far it came.", "What was frozen has not changed by one bit."
    return {
        "features": ("Feature extraction.", "A linear classifier on the frozen body."),
        "warm-up": (
            "Phase 1, warm-up.",
            "The head begins at random: frozen, the filters below are safe from it.",
        ),
        "fine-tune": (
            "Phase 2, fine-tune.",
            "Small steps, smaller the lower the block, keep the filters close to where they were.",
        ),
    }[phase]


def _drift(job: Job) -> dict[str, float] | None:
    """Part → how far it has moved; the head's is that of both phases, as far as it is known."""
    epochs = [event for event in job.history if isinstance(event, events.EpochDone)]
    return epochs[-1].drift if epochs else None


def spoken(names: tuple[str, ...]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]

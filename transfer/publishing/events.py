"""What a publish reports while it runs."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Everything is ready to be sent. A repository that exists keeps its visibility."""

    repository: str
    exists: bool
    private: bool
    what: str
    files: dict[str, int]  # name → bytes
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The next attempt starts in `seconds`; `why` completes the sentence "Waiting: …"."""

    seconds: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Sending:
    """The files are being uploaded; `sent_bytes` of them are there."""

    total_bytes: int
    sent_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Verifying:
    """The commit exists; it is being compared with what was sent."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is on the Hub now. `changed` is False if the repository already held these files."""

    repository: str
    url: str
    commit: str
    private: bool
    what: str
    files: dict[str, int]  # name → bytes
    bytes: int
    changed: bool


Event = Checked | Waiting | Sending | Verifying | Published

"""A finished run → a model repository on the Hugging Face Hub."""

from transfer.publishing.bundle import read_run_or_export
from transfer.publishing.events import Checked, Event, Published, Sending, Verifying, Waiting
from transfer.publishing.publisher import (
    PublishRequest,
    check_place,
    publish,
    publish_events,
    write_files,
)

__all__ = [
    "Checked",
    "Event",
    "PublishRequest",
    "Published",
    "Sending",
    "Verifying",
    "Waiting",
    "check_place",
    "publish",
    "publish_events",
    "read_run_or_export",
    "write_files",
]

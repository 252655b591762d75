"""A finished run, or one's own photos → a repository on the Hugging Face Hub."""

from transfer.publishing.events import Checked, Event, Published, Sending, Verifying, Waiting
from transfer.publishing.publisher import (
    PublishRequest,
    check_place,
    check_source,
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
    "check_source",
    "publish",
    "publish_events",
    "write_files",
]

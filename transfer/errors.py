"""What can go wrong, told to a person.

    TransferError
    ├── SettingsError   a setting has a value that cannot be used
    ├── SourceError     a source cannot be found, opened or learned from
    ├── ImageError      a file is no picture that can be read
    ├── WeightsError    a body cannot be found or does not fit
    ├── CacheError      the cache cannot be written or has no room
    ├── RunError        a run folder is missing, incomplete or of another kind
    ├── JobError        a training in the background cannot start or was lost
    └── PublishError    a run cannot be published, or what was published cannot be read back

Every message is one line: what was expected, what was found, what to do.
"""


class TransferError(Exception):
    """Anything that this package says to a person instead of a traceback."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


class SettingsError(TransferError):
    """A setting has a value that cannot be used; the message names field, value and range."""


class SourceError(TransferError):
    """A source cannot be found, opened or learned from."""


class ImageError(TransferError):
    """A file is no picture that can be read."""


class WeightsError(TransferError):
    """A body cannot be found, downloaded or fitted into the network."""


class CacheError(TransferError):
    """The cache of pixels and features cannot be written, or has no room for what is needed."""


class RunError(TransferError):
    """A run folder is missing, incomplete or of another kind."""


class JobError(TransferError):
    """A training in the background cannot be started or was lost."""


class PublishError(TransferError):
    """A run cannot be published, or what was published cannot be read back as it was sent."""

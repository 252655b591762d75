"""The package's errors. Every message is one line: what was expected, what was found, what to do.

TransferError
├── SettingsError   a setting has a bad value
├── SourceError     a dataset cannot be found, opened or learned from
├── ImageError      a file is not a readable picture
├── WeightsError    a body cannot be found, downloaded or loaded
├── CacheError      the cache cannot be written or is full
├── RunError        a run folder is missing, incomplete or something else
├── JobError        a background training cannot start or was lost
└── PublishError    a run cannot be published, or not read back as it was sent
    └── SignInError the Hub knows no token of the user's, or it may not write
"""


class TransferError(Exception):
    """Shown to people as it is, without a traceback."""

    def __init__(self, message: str):
        line = " ".join(str(message).split())
        # half characters, as in names that are not UTF-8, could not be sent to a browser
        super().__init__(line.encode("utf-8", "backslashreplace").decode())


class SettingsError(TransferError):
    """The message names the field, its value and the allowed range."""


class SourceError(TransferError):
    pass


class ImageError(TransferError):
    pass


class WeightsError(TransferError):
    pass


class CacheError(TransferError):
    pass


class RunError(TransferError):
    pass


class JobError(TransferError):
    pass


class PublishError(TransferError):
    pass


class SignInError(PublishError):
    pass

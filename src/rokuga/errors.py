"""Errors that know their TRTC code and whose fault they are."""

from enum import StrEnum


class Fault(StrEnum):
    """Who has to do something about an error; it decides the log level and the alarm."""

    CALLER = "caller"
    """The request is wrong: fix the input (InvalidParameter.*, MissingParameter.*, AuthFailure.*)."""
    DESTINATION = "destination"
    """The customer's bucket or receiver refuses; not our alarm."""
    SERVICE = "service"
    """Ours: retry with back-off (InternalError.*)."""


class RokugaError(Exception):
    """Base of all errors raised on purpose."""


class ApiError(RokugaError):
    """An error that the API answers with, as code and message of TRTC's envelope.

    Attributes: ``code`` (a TRTC code such as ``InvalidParameter.OutOfRange``), ``message`` (what was wrong and what
    to do), ``fault``.
    """

    def __init__(self, code: str, message: str, fault: Fault = Fault.CALLER) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fault = fault


class ConfigError(RokugaError):
    """The configuration is wrong; ``problems`` names each key and what is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreError(RokugaError):
    """An object store said no or did not answer.

    Attributes: ``code`` and ``message`` as the store gave them (safe to pass on: no secret, no URL), ``refused`` true if
    the store answered and said no (wrong key, no such bucket), false if it did not answer or failed itself (5xx).
    """

    def __init__(self, code: str, message: str, refused: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.refused = refused


class JournalError(RokugaError):
    """A journal file cannot be read as one: unknown format version, damaged header or record."""


class DamagedHeader(JournalError):
    """A journal file whose header is not what any version wrote: a power cut can leave zeros there."""


class RoomError(RokugaError):
    """The media server refused: ``code`` is Janus' error code (0: it did not answer)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class BotStays(RoomError):
    """Another recorder's bot has the id of ours and keeps it."""


class FontError(RokugaError):
    """The typeface of watermarks is not installed."""


class ImageError(RokugaError):
    """An image from outside cannot be had, is too large, or is none that we take."""

"""The exception tree: every error a person may meet says what was found, what was expected and where."""


class CanaryError(Exception):
    """Root of all errors of this project; `hint` is one more sentence on what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(CanaryError):
    """The configuration is wrong; the message lists every problem as `file:line:column: text`."""


class StoreError(CanaryError):
    """Postgres or a state file could not be used."""


class StoreAway(StoreError):
    """Postgres cannot be reached now; trying later may help."""


class DataRefused(StoreError):
    """Postgres would not take what was written, whatever the time: the batch holds something bad."""


class JournalError(StoreError):
    """A journal or one of its frames is damaged."""


class SnapshotError(StoreError):
    """The snapshot file is missing, damaged or of another format."""


class NotFound(CanaryError):
    """Nothing is stored under that name."""


class Conflict(CanaryError):
    """The order does not fit what is in force."""


class StaleRevision(Conflict):
    """Somebody changed the rollout since it was read."""


class CountersMoved(Conflict):
    """Counters were added up since this reader looked last: it has to read them anew."""


class Deposed(Conflict):
    """The lease moved on: this controller leads no longer."""


class VersionInUse(Conflict):
    """A version or plan that a rollout or a route still uses was removed or changed."""


class IllegalTransition(Conflict):
    """The transition table has no such move."""


class Refused(CanaryError):
    """The order is understood and declined, with the reason."""

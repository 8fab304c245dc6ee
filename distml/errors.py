"""The errors distml raises.

Every message is one line that says what is wrong, which value, and what to do about it. The command
line prints that line and ends with `exit_code`; the traceback goes to the run's log.
"""

__all__ = [
    "DataError",
    "DistmlError",
    "LaunchError",
    "MemberError",
    "ResourcesError",
    "StorageError",
    "UserError",
]


class DistmlError(Exception):
    """Something failed that the user did not get wrong."""

    exit_code = 1

    @property
    def line(self) -> str:
        """What the command line prints."""
        return " ".join(str(self).split())


class UserError(DistmlError):
    """The user asked for something that cannot be done: a wrong name, type, value, or state."""

    exit_code = 2


class DataError(UserError):
    """The data cannot be read or cannot be learnt from."""


class ResourcesError(UserError):
    """It needs more CPUs, GPUs or memory than there are: nothing can come of it here."""


class StorageError(UserError):
    """The run's storage cannot be written or read."""


class MemberError(DistmlError):
    """Members of an ensemble failed to fit; the message names each with its cause."""


class LaunchError(DistmlError):
    """The place a job was given to refused or lost it, through no mistake of the user's."""

"""The failures a person can act on, each with the exit code the command line gives it.

Anything else that escapes is a bug and keeps its traceback.
"""


class SpError(Exception):
    """A failure whose message is one clear sentence for the person at the prompt."""

    exit_code = 1


class InvalidInput(SpError):
    """The command line or a configuration is wrong; every problem found, one line each."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class FolderRefused(SpError):
    """A run folder is locked, corrupt, or belongs to another configuration."""

    exit_code = 4


class OutOfResources(SpError):
    """Disk or memory does not suffice; the message names the path and the need."""

    exit_code = 5

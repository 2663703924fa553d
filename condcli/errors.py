"""The errors that condcli raises on purpose, and the ones that stop it from outside."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CondcliError(Exception):
    """What is wrong, with which file or value, and what to do about it.

    The command line prints it as ``condcli: error: MESSAGE; REMEDY`` and exits with ``exit_code``;
    the kinds below set the code (docs/commands.md lists them).
    """

    exit_code = 3

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.remedy = remedy


class UsageError(CondcliError):
    """The options do not make sense, alone or together (exit 2)."""

    exit_code = 2


class InputError(CondcliError):
    """An input is missing, damaged or does not fit another one (exit 3)."""

    exit_code = 3


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Put the file's name before what an analysis finds wrong in it."""
    try:
        yield
    except InputError as error:
        if error.message.startswith(f"{file}:"):
            raise
        raise InputError(f"{file}: {error.message}", error.remedy) from error


class UnsafeError(CondcliError):
    """An input would run code, and ``--trust`` was not given (exit 4)."""

    exit_code = 4


class CannotFinishError(CondcliError):
    """Disk, memory or an existing output stands in the way (exit 5)."""

    exit_code = 5


class BatchTooLargeError(CannotFinishError):
    """Memory ran out in a pass over one batch."""

    def __init__(self, examples: int) -> None:
        super().__init__(
            f"memory ran out in a batch of {examples} examples",
            "pass a smaller --batch-size, or only some --layers",
        )


class Told(Exception):
    """Another process of the same job has told what is wrong: this one leaves in silence."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"told by another process, with exit code {exit_code}")
        self.exit_code = exit_code


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: no error, nor the SystemExit of someone's code."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


# What no code that is not ours may be blamed for.
FROM_OUTSIDE = (KeyboardInterrupt, Terminated, GeneratorExit)


class Interrupted(KeyboardInterrupt):
    """A signal has ended a probe between two batches; ``saved``: so that it can be resumed."""

    def __init__(self, number: int, message: str, *, saved: bool) -> None:
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number
        self.saved = saved


# torch says so by a plain RuntimeError, in other words on each device.
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "[enforce fail at alloc_cpu.cpp",
    "_status_alloc_failed",  # cuBLAS and cuDNN
    "could not create a primitive",  # oneDNN
    "can't start new thread",  # no room for its stack
    "failed to map segment",  # the loader of shared libraries
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, as Python, the system or torch tells it."""
    if isinstance(error, MemoryError):
        return True
    said = text_of(error).lower()
    return isinstance(error, RuntimeError | OSError | ImportError) and any(
        word in said for word in _OUT_OF_MEMORY
    )


def text_of(error: BaseException) -> str:
    """What the error says of itself; nothing where even that fails."""
    try:
        return str(error)
    except Exception:
        return ""

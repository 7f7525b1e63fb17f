"""Every error of the library. Each says what failed, where, why, and what to do next.

MigratorError (1)
├── ConfigError (2)             a flag, job file, name or path is wrong
│   └── UnknownArgument         ... or an argument of a function, which is also a TypeError
├── TransformError (1)          one document's transformation failed; it becomes a reject of stage "transform"
├── UnreadableLeaf (1)          one leaf cannot be read whole; it becomes a reject of stage "extract"
├── RejectsError (3)            documents were rejected; the limit of rejects was passed
├── VerificationError (4)       source and target differ
│   └── DamagedBackup           ... a file of a backup is missing, or not as it was written
├── EndpointError (5)           a server cannot be used
│   ├── TransientError          ... now: no answer, overload; the same call may work later
│   ├── Unauthorized            ... with these credentials; never retried
│   ├── Forbidden               ... for this user
│   ├── TargetMissing           ... because a database is gone
│   │   └── DatabaseMissing     ... or was never there (exit code 2)
│   └── StorageError            ... no: a disk of this machine is full, read-only or failing
├── BatchRefused (1)            the target refused a whole batch; loaders' wrappers divide it
├── CheckpointError (6)         exists, belongs to another job, is damaged or too new
│   └── TargetReplaced          ... or what it says of the target is about another one of that name
├── LockedError (7)             another run holds the checkpoint
├── UnaccountedError (1)        documents whose end is not known: the promise is broken
├── DatabaseError (1)           of `migrator.database`: DocumentNotFound, DocumentConflict
└── Interrupted (130)           stopped on request, checkpoint saved

The number is the exit code of the command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeVar, cast

_T = TypeVar("_T")

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_REJECTS = 3
EXIT_DIFFERENCES = 4
EXIT_UNREACHABLE = 5
EXIT_CHECKPOINT = 6
EXIT_LOCKED = 7
EXIT_INTERRUPTED = 130


# User and password of a URL in a text, as it was typed or as a path has it, with one slash; or mistyped, without a
# slash or without a scheme. A password can hold all but blanks and quotes, so the last @ counts; host:5984/… is
# not one.
_CREDENTIALS = re.compile(
    r"(\b[A-Za-z][A-Za-z0-9+.-]*:/{1,2}|\bhttps?:(?!/)|(?<![^\s'\"(])//(?=[^\s/@'\"]*:))(?:[^\s/@:\['\"]*:(?!\d{1,5}(?:[/\s'\"]|$))[^\s'\"]*@|[^\s/?#'\"]*@)"
)


# A secret among the options of a URL, signed ones included.
_SECRETS = r"(?:[\w.~%-]*(?:password|passwd|token|secret|signature|credential|api_?-?key)|pwd|sig|auth|policy|jwt)"
_SECRET = re.compile(rf"([?&;]{_SECRETS}=)[^&;#\s'\"]*", re.IGNORECASE)
# A flag that a hint names, for who reads it at a command line.
FLAG = re.compile(r"\b(with|[Aa]dd|or|then) --(resume|restart)\b")


def without_passwords(value: _T, *secrets: str | None) -> _T:
    """Take the users and passwords of URLs out of what people will see.

    >>> without_passwords("There is no file http:/ada:p@ss/word@host:5984/x.")
    'There is no file http:/host:5984/x.'

    Args:
        value: a text, or a JSON value with texts in it at any depth.
        secrets: passwords that are known, which may stand anywhere; "" and None are none.

    Returns:
        The same value, of each URL only what follows its `@`, and `…` for a secret among its options.
    """
    shown: Any = value
    if isinstance(value, str):
        shown = _CREDENTIALS.sub(r"\1", value) if "@" in value else value
        shown = _SECRET.sub(r"\1…", shown) if "=" in shown else shown
        for secret in filter(None, secrets):
            shown = shown.replace(secret, "***")
    elif isinstance(value, Mapping):
        shown = {key: without_passwords(item, *secrets) for key, item in value.items()}
    elif isinstance(value, list):
        shown = [without_passwords(item, *secrets) for item in value]
    return cast("_T", shown)


class MigratorError(Exception):
    """Root of the hierarchy.

    Args:
        message: what failed, where and why, in one sentence without credentials.
        hint: what to do next, best a command to type.
    """

    exit_code = EXIT_UNEXPECTED
    usual_hint = ""
    """What the command says where an error that ended it has no hint of its own."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        # A URL with a password can stand wherever people type: also where a path belongs.
        message, hint = without_passwords(message), without_passwords(hint.strip())
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def text(self) -> str:
        """Message and hint, in which a flag is one of a command."""
        return f"{self.message} {self.hint}".strip()

    def __str__(self) -> str:
        """The text for a program, where a flag is the argument of that name."""
        return FLAG.sub(r"\1 \2=True", self.text)


class ConfigError(MigratorError):
    """A flag, a job file, a name or a path is wrong; nothing was written."""

    exit_code = EXIT_USAGE


class UnknownArgument(ConfigError, TypeError):
    """A function was given an argument that it does not take; the hint names the nearest that it does."""


class TransformError(MigratorError):
    """A transformer cannot map one document; that document is rejected at stage "transform", the run goes on."""


class UnreadableLeaf(MigratorError):
    """One leaf's attachment is gone or damaged; that leaf is rejected at stage "extract", the run goes on.

    Args:
        message: as in MigratorError.
        error: one machine-readable word.
    """

    def __init__(self, message: str, *, error: str) -> None:
        super().__init__(message)
        self.error = error


class RejectsError(MigratorError):
    """More documents were rejected than `--max-errors` allows; the checkpoint is saved."""

    exit_code = EXIT_REJECTS


class VerificationError(MigratorError):
    """Source and target differ."""

    exit_code = EXIT_DIFFERENCES


class DamagedBackup(VerificationError):
    """A file of a backup is missing, or it is not as it was written."""


class EndpointError(MigratorError):
    """A server is out of reach or will not serve us."""

    exit_code = EXIT_UNREACHABLE


@dataclass(eq=False, repr=False)
class TransientError(EndpointError):
    """The same call may work later.

    Args:
        message: as in MigratorError.
        hint: as in MigratorError.
        retry_after_s: how long the server asked us to wait.
        outcome_unknown: the request may have been carried out.
        overload: the server asked for less, so send less at once.
        status: the HTTP status, None where there was no answer.
        signature: equal for failures of the same kind; a repeated equal one is not a passing fault.
    """

    usual_hint = "Go on later with --resume."

    message: str
    _: KW_ONLY
    hint: str = ""
    retry_after_s: float | None = None
    outcome_unknown: bool = False
    overload: bool = False
    status: int | None = None
    signature: str = ""

    def __post_init__(self) -> None:
        super().__init__(self.message, hint=self.hint)


class Unauthorized(EndpointError):
    """The credentials were refused (401). Never retried: five failures lock the account for minutes."""


class Forbidden(EndpointError):
    """The user may not do this (403), or the account is locked for the moment."""


class TargetMissing(EndpointError):
    """A database that was there is not (404)."""


class DatabaseMissing(TargetMissing):
    """A database that was named is not there; trying again later does not help."""

    exit_code = EXIT_USAGE


class StorageError(EndpointError):
    """A file cannot be written: the disk is full, over its quota, read-only, closed to this user or failing."""


@dataclass(eq=False, repr=False)
class BatchRefused(MigratorError):
    """The target refused the request as a whole, so at least one document in it is at fault, or all are too many.

    Args:
        message: as in MigratorError.
        status: the HTTP status.
        error: the server's word for it.
        reason: the server's sentence.
        guilty_id: the id that the server named, "" where it named none.
        maybe_written: some of the documents may have been written all the same.
        server_fault: a 500, which can be the server's own trouble as well as a document's.
    """

    message: str
    _: KW_ONLY
    status: int
    error: str
    reason: str
    guilty_id: str = ""
    maybe_written: bool = False
    server_fault: bool = False

    def __post_init__(self) -> None:
        super().__init__(self.message)


class CheckpointError(MigratorError):
    """The checkpoint file cannot be used: it exists, is another job's, damaged, or of a newer version."""

    exit_code = EXIT_CHECKPOINT


class TargetReplaced(CheckpointError):
    """The target was deleted or replaced after documents had been confirmed there, so they may be missing.

    Args:
        message: as in MigratorError.
        hint: as in MigratorError.
        flag: what the same command needs to start over; "" where it does so by itself, None where it does not.
    """

    def __init__(self, message: str, *, hint: str = "", flag: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.flag = flag


class LockedError(MigratorError):
    """Another run holds the lock of this checkpoint."""

    exit_code = EXIT_LOCKED


class UnaccountedError(MigratorError):
    """The numbers do not add up: the ids named have no outcome."""

    usual_hint = "Please report it, and run again: what is there already stays as it is."


class DatabaseError(MigratorError):
    """Something that `migrator.database` cannot do."""


class DocumentNotFound(DatabaseError, KeyError):
    """There is no document of that id in that database (or no such database)."""

    __str__ = MigratorError.__str__


class DocumentConflict(DatabaseError):
    """Saving lost the race against other writers more often than it may."""


class Interrupted(MigratorError):
    """The run was asked to stop; what was in flight is settled and the checkpoint is saved."""

    exit_code = EXIT_INTERRUPTED
    documents = 0
    """How many had their end by then, where that is known."""
    complete = False
    """Nothing was left to do, or nothing can be gone on with."""
    usual_hint = "Run it again: what is there already stays as it is."

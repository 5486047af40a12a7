"""The errors a user can meet. Programmer errors are ``assert``; these are for people.

::

    WorldgateError                 1   something failed
    ├── UsageError                 2   the request cannot be understood
    │   ├── ConfigError                a key or value of a configuration file, variable or --set
    │   ├── NameRefused                a name that could leave its folder or confuse a reader
    │   ├── NotFound                   no such id, file, stream, seam entry
    │   ├── AmbiguousId                a prefix that fits several ids
    │   ├── AlreadyExists              nothing existing is overwritten
    │   ├── MissingExtra               a part whose optional dependency is not installed
    │   └── CapabilityMissing          a world model asked for what it cannot do
    ├── DataRefused                4   data that must not go further
    │   ├── LogUnreadable              not the format it claims, or damaged beyond the recoverable part
    │   ├── ContractBroken             a check that the contract says must refuse
    │   ├── SplitLeak                  the same evidence on both sides of a split
    │   └── WeightsRefused             not safetensors, or not the digest that was promised
    ├── RecordError                1   the ledger or the store
    │   ├── Tampered                   bytes that do not match their digest, chain or signature
    │   ├── SchemaTooNew               written by a newer Worldgate
    │   └── NotAuthorised              a key that may not do this
    └── Interrupted              130   stopped by the user; the message says how to resume

Exit code 3, a gate that did not pass, is an answer and no error.
"""

from __future__ import annotations

from typing import ClassVar


class WorldgateError(Exception):
    """Something failed. Says what is wrong, what was got and where, and the command to try.

    Args:
        what: one sentence: what is wrong.
        got: the offending value, as short as possible.
        where: ``file:key``, ``file:line``, a time span, an id.
        hint: the command or change to try.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, got: object = None, where: object = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.got = got
        self.where = where
        self.hint = hint

    def lines(self) -> list[str]:
        """The message as printed: ``error``, ``got … in …``, ``try``; lines that would say nothing are left out."""
        out = [f"error: {self.what}"]
        if self.got is not None and self.where is not None:
            out.append(f"  got {self.got} in {self.where}")
        elif self.got is not None:
            out.append(f"  got {self.got}")
        elif self.where is not None:
            out.append(f"  in {self.where}")
        if self.hint is not None:
            out.append(f"  try: {self.hint}")
        return out

    def __str__(self) -> str:
        return "\n".join(self.lines())


class UsageError(WorldgateError):
    """The request cannot be understood."""

    exit_code = 2


class ConfigError(UsageError):
    """A key or value of a configuration file, environment variable or ``--set``."""


class NameRefused(UsageError):
    """A name that could leave its folder or confuse a reader."""


class NotFound(UsageError):
    """No such id, file, stream or seam entry."""


class AmbiguousId(UsageError):
    """A prefix that fits several ids."""


class AlreadyExists(UsageError):
    """Nothing existing is overwritten."""


class MissingExtra(UsageError):
    """A part whose optional dependency is not installed; the hint is the install line."""


class CapabilityMissing(UsageError):
    """A world model was asked for what it cannot do; the hint names families that can."""


class DataRefused(WorldgateError):
    """Data that must not go further."""

    exit_code = 4


class LogUnreadable(DataRefused):
    """Not the format it claims to be, or damaged beyond the recoverable part."""


class ContractBroken(DataRefused):
    """A check failed that the contract says must refuse."""


class SplitLeak(DataRefused):
    """The same evidence stands on both sides of a split."""


class WeightsRefused(DataRefused):
    """Weights that are not safetensors, or not the digest that was promised."""


class RecordError(WorldgateError):
    """The ledger or the store failed."""


class Tampered(RecordError):
    """Bytes that do not match their digest, chain or signature."""


class SchemaTooNew(RecordError):
    """Written by a newer Worldgate."""


class NotAuthorised(RecordError):
    """A key that may not do this."""


class Interrupted(WorldgateError):
    """Stopped by the user; the hint is the command that resumes."""

    exit_code = 130

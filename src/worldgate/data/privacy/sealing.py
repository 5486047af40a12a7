"""Sealing: the raw of a masked log, encrypted for the people that a contract names, in the open format ``age``.

The private half of a recipient's key never comes near this machine, so neither the workspace nor whoever steals it can
open what is sealed; ``age -d -i key.txt`` can, anywhere. Source: https://age-encryption.org/v1, by rage (pyrage).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldgate.core.digest import digest_file
from worldgate.core.errors import ConfigError, MissingExtra, NotAuthorised

SUFFIX = ".age"


def _age() -> Any:
    try:
        import pyrage
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "sealing needs a package that is not installed", got=error.name, hint='pip install "worldgate[privacy]"'
        ) from error
    return pyrage


def seal(source: Path, target: Path, recipients: Sequence[str]) -> dict[str, str]:
    """Encrypt a file, or every file of a folder, into a folder; returns relative path -> SHA-256 of the plain bytes.

    Args:
        source: what to seal.
        target: an empty folder.
        recipients: age public keys; any one of them opens it.

    Raises:
        ConfigError: not a recipient.
        MissingExtra: the extra ``privacy`` is not installed.
    """
    age = _age()
    try:
        keys = [age.x25519.Recipient.from_str(text) for text in recipients]
    except age.RecipientError as error:
        raise ConfigError("not an age recipient", got=str(error)[:80], where="privacy.sealed_for") from error
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    base = source.parent if source.is_file() else source
    plain = {}
    for file in files:
        name = file.relative_to(base).as_posix()
        sealed = target / f"{name}{SUFFIX}"
        sealed.parent.mkdir(parents=True, exist_ok=True)
        age.encrypt_file(str(file), str(sealed), keys)
        plain[name] = digest_file(file)
    return plain


def unseal(sealed: Path, target: Path, identity: Path) -> list[Path]:
    """Decrypt every file of a sealed folder into ``target``, with the private key in the file ``identity``.

    Raises:
        NotAuthorised: not one of the keys it was sealed for, or a file that is no age key.
        MissingExtra: the extra ``privacy`` is not installed.
    """
    age = _age()
    lines = identity.read_text(encoding="utf-8").splitlines()
    try:
        keys = [age.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
        out = []
        for file in sorted(sealed.rglob(f"*{SUFFIX}")):
            plain = target / file.relative_to(sealed).with_suffix("")
            plain.parent.mkdir(parents=True, exist_ok=True)
            age.decrypt_file(str(file.resolve()), str(plain), keys)
            out.append(plain)
    except (age.IdentityError, age.DecryptError) as error:
        raise NotAuthorised("this key does not open it", got=str(error)[:80], where=identity) from error
    return out

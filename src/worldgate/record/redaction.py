"""Redaction: names that a reader need not learn are replaced, and whatever named them is withheld or shown as a copy.

A signed record cannot be edited without breaking it, so a record or document that holds a hidden word is withheld as it
is and shown beside as a redacted copy, which proves nothing. Each word gets the same stand-in everywhere
(``person-1``), so that the reader can still see that two were different persons. Words match whole, whatever their
case, also inside base64: ``ada`` hides in ``Ada said`` and in ``ada-laptop``, not in ``adapter``.

What a digest cannot do: whoever can guess a withheld record to the last letter can confirm the guess.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from worldgate.core.digest import read_json
from worldgate.record.events import Event
from worldgate.record.keys import ADDED

What: TypeAlias = Literal["persons", "serials", "sites"]
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}", re.ASCII)


@dataclass(frozen=True)
class Redactor:
    """Finds and replaces hidden words."""

    words: Mapping[str, str]
    """Hidden word -> its stand-in."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest = sorted(self.words, key=lambda word: (-len(word), word))
        some = "|".join(map(re.escape, longest)) or r"(?!)"
        return re.compile(rf"(?<![A-Za-z0-9])(?:{some})(?![A-Za-z0-9])", re.IGNORECASE)

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        return {word.casefold(): stand_in for word, stand_in in self.words.items()}

    def text(self, text: str) -> str:
        """Text with every hidden word replaced."""
        return self._pattern.sub(lambda match: self._folded[match[0].casefold()], text)

    def hides(self, value: Any) -> bool:
        """Whether plain JSON holds a hidden word: in a value, a key, or in what base64 hides."""
        return any(self._pattern.search(text) for text in _texts(value))

    def tree(self, value: Any) -> Any:
        """Plain JSON with every hidden word replaced; base64 that hides one becomes the word ``withheld``."""
        if isinstance(value, str):
            inner = _unpacked(value)
            return "withheld" if inner and self._pattern.search(inner) else self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield _unpacked(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _unpacked(text: str) -> str:
    """What base64 hides, where it is text."""
    if _BASE64.fullmatch(text) is None:
        return ""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def of_events(events: Iterable[Event], what: Sequence[What], words: Sequence[str] = ()) -> Redactor:
    """A redactor for what a ledger knows.

    Args:
        events: the ledger; names get their stand-ins in the order in which it learns them.
        what: kinds of names: ``persons`` (owners and names of keys of persons), ``serials`` (robots), ``sites``.
        words: anything else.
    """
    found: dict[str, dict[str, None]] = {"persons": {}, "serials": {}, "sites": {}}
    key_names: dict[str, str] = {}
    for event in events:
        body = event.body
        if event.kind == ADDED and isinstance(body.get("owner"), str):
            found["persons"].setdefault(body["owner"])
            if body.get("role") == "person":
                key_names.setdefault(str(body.get("name", "")), body["owner"])
        for slot in _slots(body):
            site, _, rest = slot.partition("/")
            found["sites"].setdefault(site)
            found["serials"].setdefault(rest.split("/")[0])
        for key, kind in (("person", "persons"), ("site", "sites"), ("robot", "serials")):
            if isinstance(body.get(key), str):
                found[kind].setdefault(body[key])
        for site in body["sites"] if isinstance(body.get("sites"), list) else ():
            found["sites"].setdefault(str(site))
    hidden: dict[str, str] = {}
    for kind in what:
        names = [name for name in found[kind] if name]
        hidden |= {name: f"{kind.removesuffix('s')}-{i}" for i, name in enumerate(names, 1)}
    if "persons" in what:
        hidden |= {k: f"{hidden[owner]}-key" for k, owner in key_names.items() if k and k not in hidden}
    hidden |= {word: f"withheld-{i}" for i, word in enumerate(words, 1) if word and word not in hidden}
    return Redactor(hidden)


def _slots(body: Mapping[str, Any]) -> Iterator[str]:
    told = body.get("slots")
    for slot in (body.get("slot"), *(told if isinstance(told, list) else ())):
        if isinstance(slot, str) and slot.count("/") == 2:
            yield slot


def payload_of(event: Event) -> Any:
    """What an event says, as plain JSON."""
    return read_json(event.payload)

"""Labels across a breaking change of their schema: moved by a mapping that says where each entry went.

A rename, a split by value, a change of unit or a removal is one line of the mapping. What it leaves out keeps its name
and value, and is refused where the new schema has no place for it. Moved sets are new records that name the old ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from worldgate.core.config import decode, read_toml
from worldgate.core.errors import ConfigError
from worldgate.data.labelling import store
from worldgate.data.labelling.schema import LabelSchema, ValueType, check_value
from worldgate.data.labelling.sets import Label, LabelSet, Method
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where labels of one entry go. A move that names a value goes before one that does not."""

    label: str
    """Entry of the old vocabulary."""
    value: str | bool | None = None
    """Only statements of this value; None: all."""
    to: str = ""
    """Entry of the new vocabulary; empty: the same name."""
    to_value: str | bool | None = None
    """What they say there; None: the same."""
    factor: float = 1.0
    """By which numbers are multiplied: a change of unit."""
    drop: bool = False
    """They are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A mapping from one schema to the next major one."""

    schema: str
    """Name of both."""
    before: str
    """Version that labels come from."""
    after: str
    """Version that they go to."""
    moves: tuple[Move, ...] = ()
    """Entries that are not named keep name and value."""


def read_mapping(path: Path) -> Mapped:
    """Read a mapping file.

    Raises:
        ConfigError: not TOML, an unknown key or a wrong value.
    """
    return decode(Mapped, read_toml(path), where=str(path))


def migrate(item: LabelSet, old: LabelSchema, new: LabelSchema, mapping: Mapped) -> LabelSet:
    """Labels under a new major version.

    Args:
        item: a set made under ``old``.
        old: the schema it names.
        new: the schema it shall name.
        mapping: where its labels go.

    Raises:
        ConfigError: a mapping between other schemas or versions, or of labels that they do not have.
        DataRefused: a label that has no place in the new schema and is not dropped.
    """
    _refuse_misfit(old, new, mapping)
    moved = [moved for label in item.labels if (moved := _moved(label, new, mapping)) is not None]
    considered = {target for name in item.considered for target in _targets(name, mapping)}
    return replace(
        item,
        schema=new.digest(),
        labels=tuple(moved),
        considered=tuple(sorted(considered)),
        source={**item.source, "migrated_from": f"{old.title}"},
    )


def _refuse_misfit(old: LabelSchema, new: LabelSchema, mapping: Mapped) -> None:
    if (mapping.schema, mapping.before, mapping.after) != (old.name, old.version, new.version) or new.name != old.name:
        raise ConfigError(
            "a mapping between other schemas",
            got=f"{mapping.schema} {mapping.before} to {mapping.after}",
            where="mapping",
            hint=f"{old.title} to {new.title}",
        )
    for move in mapping.moves:
        if move.label not in old.labels:
            raise ConfigError("a move of a label that the old schema lacks", got=move.label, where="moves.label")
        if not move.drop and (move.to or move.label) not in new.labels:
            raise ConfigError(
                "a move to a label that the new schema lacks", got=move.to or move.label, where="moves.to"
            )


def _move_of(label: str, value: object, mapping: Mapped) -> Move:
    fits = [m for m in mapping.moves if m.label == label and m.value in (None, value)]
    return min(fits, key=lambda m: m.value is None, default=Move(label=label))


def _targets(label: str, mapping: Mapped) -> set[str]:
    """Where an entry's statements may go: entries of the new vocabulary that were thereby looked for."""
    moves = [m for m in mapping.moves if m.label == label] or [Move(label=label)]
    whole = {m.to or label for m in moves if m.value is None and not m.drop}
    split = {m.to or label for m in moves if m.value is not None and not m.drop}
    stays = set() if any(m.value is None for m in moves) else {label}
    return whole | split | stays


def _moved(item: Label, new: LabelSchema, mapping: Mapped) -> Label | None:
    move = _move_of(item.label, item.value, mapping)
    if move.drop:
        return None
    target = move.to or item.label
    where = f"{item.label} = {item.value!r}"[:80]
    rule = new.rule(target, where=where)
    value = item.value if move.to_value is None else move.to_value
    if rule.type is ValueType.NUMBER and isinstance(value, float) and move.factor != 1.0:
        value = value * move.factor
    return replace(item, label=target, value=check_value(rule, value, label=target, where=where))


def migrate_all(ws: Workspace, old: Ref, new: Ref, mapping: Mapped, *, actor: str | None = None) -> list[Ref]:
    """Migrate every set that counts under a schema; each new one names the old as its input.

    Adjudications follow the sets that they decide between.

    Raises:
        ConfigError: a mapping that does not fit.
        DataRefused: a label without a place in the new schema; nothing is recorded then.
    """
    shelf = store.LabelShelf(ws)
    before, after = shelf.schema(old.digest), shelf.schema(new.digest)
    counting = [item for log in shelf.logs for item in shelf.of(log) if item.schema.digest == old.digest]
    ordered = sorted(counting, key=lambda item: item.method is Method.ADJUDICATED)
    prepared: list[tuple[store.RecordedLabels, LabelSet]] = [
        (item, migrate(item.set, before, after, mapping)) for item in ordered if not shelf.stale(item)
    ]
    became: dict[str, Ref] = {}
    for item, moved in prepared:
        decided = [became.get(digest, Ref(store.KIND, digest)) for digest in item.inputs]
        inputs = decided if item.method is Method.ADJUDICATED else [item.ref]
        became[item.ref.digest] = store.record(ws, moved, inputs=inputs, actor=actor)
    return list(became.values())

"""How a label schema may change: which change is compatible and which breaks.

Compatible (a minor version): a label or value more, a wider range, overlap allowed, other requirements. Breaking (a
major version, with a mapping): a label or value removed, renamed or split, another type, extent or unit, another order
of ordered values, a narrower range, overlap forbidden. Labels under a minor version are labels under the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from worldgate.core.errors import ConfigError
from worldgate.data.labelling.schema import LabelRule, LabelSchema, parse_version


class Step(StrEnum):
    """What a change needs."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between two schemas."""

    step: Step
    label: str
    what: str


def compare(old: LabelSchema, new: LabelSchema) -> tuple[Difference, ...]:
    """Every difference between two versions of a schema, and what each needs.

    Raises:
        ConfigError: two schemas of different names.
    """
    if old.name != new.name:
        raise ConfigError("versions of one schema share its name", got=f"{old.name}, {new.name}", where="name")
    found: list[Difference] = []
    for name in old.labels.keys() - new.labels.keys():
        found.append(Difference(step=Step.MAJOR, label=name, what="removed or renamed"))
    for name in new.labels.keys() - old.labels.keys():
        found.append(Difference(step=Step.MINOR, label=name, what="added"))
    for name in old.labels.keys() & new.labels.keys():
        found += [
            Difference(step=step, label=name, what=what) for step, what in _rule(old.labels[name], new.labels[name])
        ]
    if (old.grid_ns, old.about) != (new.grid_ns, new.about):
        found.append(Difference(step=Step.MINOR, label="", what="grid or description"))
    return tuple(sorted(found, key=lambda d: (d.step, d.label, d.what)))


def _rule(old: LabelRule, new: LabelRule) -> Iterator[tuple[Step, str]]:
    if old.type is not new.type:
        yield Step.MAJOR, f"type {old.type} became {new.type}"
        return
    if old.extent is not new.extent:
        yield Step.MAJOR, f"extent {old.extent} became {new.extent}"
    if old.unit != new.unit:
        yield Step.MAJOR, f"unit {old.unit or 'none'} became {new.unit or 'none'}"
    gone = [value for value in old.values if value not in new.values]
    if gone:
        yield Step.MAJOR, f"values removed or renamed: {', '.join(gone)}"
    if [value for value in new.values if value not in old.values]:
        yield Step.MINOR, "values added"
    kept = [value for value in new.values if value in old.values]
    if (old.ordered or new.ordered) and kept != [value for value in old.values if value in kept]:
        yield Step.MAJOR, "another order of ordered values"
    if old.ordered is not new.ordered:
        yield Step.MINOR, "ordered or not"
    if old.range != new.range:
        wider = new.range is None or (
            old.range is not None and new.range[0] <= old.range[0] and old.range[1] <= new.range[1]
        )
        yield (Step.MINOR, "a wider range") if wider else (Step.MAJOR, "a narrower range")
    if old.overlap is not new.overlap:
        yield (Step.MINOR, "spans may overlap") if new.overlap else (Step.MAJOR, "spans may not overlap any more")
    if _requirements(old) != _requirements(new):
        yield Step.MINOR, "requirements"


def _requirements(rule: LabelRule) -> tuple[object, ...]:
    return rule.annotators, rule.least_alpha, rule.least_f1, rule.tolerance_ns, rule.coverage, rule.about


def needed(old: LabelSchema, new: LabelSchema) -> Step:
    """What the change from one schema to another needs."""
    steps = {difference.step for difference in compare(old, new)}
    return Step.MAJOR if Step.MAJOR in steps else Step.MINOR if steps else Step.NONE


def refuse_misnumbered(old: LabelSchema, new: LabelSchema) -> None:
    """Refuse a version number that does not say what changed.

    Raises:
        ConfigError: a change under a version that is not above the old one, or a breaking one within a major version.
    """
    step = needed(old, new)
    before, after = parse_version(old.version), parse_version(new.version)
    if step is Step.NONE or after[0] > before[0] or (after > before and step is Step.MINOR):
        return
    broke = [f"{d.label} {d.what}".strip() for d in compare(old, new) if d.step is step]
    major, minor = before
    hint = f'version = "{major + 1}.0", and a mapping' if step is Step.MAJOR else f'version = "{major}.{minor + 1}"'
    raise ConfigError(
        f"a {step} change of {old.name} under version {new.version}",
        got="; ".join(broke),
        where=f"{old.title} is recorded",
        hint=hint,
    )

"""A contract's word on labels: who must have labelled a log, how well they must agree, how much must be covered.

Agreement below the least is settled by an adjudication that decides between the very sets that count now; when one of
them is replaced, it settles nothing any more. Labels of the whole log are compared log by log, and their alpha over all
logs at once, because one log has no variation to agree on. Every finding here refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

from worldgate.core.errors import NotFound
from worldgate.core.streams import Finding
from worldgate.data.contracts import Contract
from worldgate.data.ingest import IngestedLog
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.agreement import alpha, alpha_of, level_of, log_values
from worldgate.data.labelling.schema import Extent, LabelRule, LabelSchema, ValueType
from worldgate.data.labelling.segments import segment_hits
from worldgate.data.labelling.sets import Method
from worldgate.data.labelling.spans import Span, covered, gaps
from worldgate.data.labelling.store import LabelShelf, RecordedLabels, Stale
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

CHECK = "contract"
_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is asked of one label: the schema's word and the contract's, the greater of both."""

    label: str
    rule: LabelRule
    annotators: int
    least_alpha: float | None
    least_f1: float | None
    coverage: float | None


class LabelJudge:
    """Holds the labels of logs against a contract; reads the record once for all of them.

    Args:
        ws: the workspace.
        contract: what is asked.
        logs: what was ingested, by digest.
    """

    def __init__(self, ws: Workspace, contract: Contract, logs: Mapping[str, IngestedLog]) -> None:
        self._ws, self._contract, self._logs = ws, contract, logs
        self._alignment = contract.spec().digest()

    @property
    def asks(self) -> bool:
        """Whether the contract asks anything of labels."""
        return bool(self._contract.labels.schema or self._contract.labels.present)

    @cached_property
    def _shelf(self) -> LabelShelf:
        return LabelShelf(self._ws, self._logs)

    @cached_property
    def _schema(self) -> tuple[Ref, LabelSchema] | None:
        """The schema that the contract names; None where nobody recorded it."""
        named = self._contract.labels.schema
        try:
            ref = catalogue.find(self._ws, named, record=False)
        except NotFound:
            return None
        return ref, self._shelf.schema(ref.digest)

    def findings(self, record: IngestedLog) -> Iterator[Finding]:
        """What is missing in a log's labels."""
        if not self.asks:
            return
        yield from self._absent(record)
        if not self._contract.labels.schema:
            return
        if self._schema is None:
            named = self._contract.labels.schema
            yield _finding(f"no label was made under the schema {named}", 0.0, 1.0, "sets")
            return
        for asked in self._asked():
            yield from self._asked_of(asked, record)

    def _asked(self) -> list[_Asked]:
        if not self._contract.labels.schema or self._schema is None:
            return []
        word, schema = self._contract.labels, self._schema[1]
        out = []
        for name, rule in schema.labels.items():
            if rule.annotators == 0:
                continue
            spans = rule.extent is Extent.SPAN
            compared = rule.type is not ValueType.TEXT and rule.extent is not Extent.INSTANT
            out.append(
                _Asked(
                    label=name,
                    rule=rule,
                    annotators=max(rule.annotators, word.annotators),
                    least_alpha=_most(rule.least_alpha, word.least_alpha if compared else None),
                    least_f1=_most(rule.least_f1, word.least_f1 if rule.extent is not Extent.LOG else None),
                    coverage=_most(rule.coverage, word.coverage if spans else None),
                )
            )
        return out

    def _absent(self, record: IngestedLog) -> Iterator[Finding]:
        """Labels that nobody looked for."""
        for name in self._contract.labels.present:
            schema, _, label = name.rpartition("/")
            wanted = catalogue.plain(schema or self._contract.labels.schema)
            held = [item for item in self._shelf.of(record.digest, schema=wanted) if label in item.considered]
            fresh = [item for item in held if not self._stale(item, None)]
            if not fresh:
                why = f", a set is stale: {self._stale(held[-1], None)}" if held else ""
                yield _finding(f"nobody and no labeller looked for {name}{why}", 0.0, 1.0, "sets")

    def _stale(self, item: RecordedLabels, schema: Ref | None) -> Stale:
        return self._shelf.stale(item, alignment=self._alignment, schema=schema)

    def _people(self, log: str, label: str) -> tuple[list[RecordedLabels], list[RecordedLabels]]:
        """Sets of people who looked for a label: those that count, and stale ones."""
        assert self._schema is not None
        ref = self._schema[0]
        held = [i for i in self._shelf.of(log, schema=catalogue.name_of(ref)) if label in i.considered]
        people = [item for item in held if item.method is Method.HUMAN]
        fresh = [item for item in people if not self._stale(item, ref)]
        return fresh, [item for item in people if item not in fresh]

    def _decided(self, log: str, label: str, people: Sequence[RecordedLabels]) -> RecordedLabels | None:
        """The newest adjudication of a label that decides between all these sets."""
        assert self._schema is not None
        ref = self._schema[0]
        fits = [
            item
            for item in self._shelf.of(log, schema=catalogue.name_of(ref))
            if item.method is Method.ADJUDICATED
            and label in item.considered
            and not self._stale(item, ref)
            and set(item.inputs) >= {person.ref.digest for person in people}
        ]
        return max(fits, key=lambda item: item.seq, default=None)

    def _asked_of(self, asked: _Asked, record: IngestedLog) -> Iterator[Finding]:
        people, stale = self._people(record.digest, asked.label)
        if len(people) < asked.annotators:
            yield self._too_few(asked, record, people, stale)
        decided = self._decided(record.digest, asked.label, people) if people else None
        if decided is None and len(people) > 1:
            found = list(self._disagreement(asked, record, people))
            yield from (replace(f, message=f.message + self._settled_before(record.digest, asked.label)) for f in found)
        if asked.coverage is not None:
            for item in [decided] if decided is not None else people:
                yield from _uncovered(asked, item, record.span_ns)

    def _settled_before(self, log: str, label: str) -> str:
        """Words on an adjudication that no longer settles anything; empty where there is none."""
        assert self._schema is not None
        ref = self._schema[0]
        for item in reversed(self._shelf.of(log, schema=catalogue.name_of(ref))):
            if item.method is Method.ADJUDICATED and label in item.considered:
                why = self._stale(item, ref) or "it decided between other sets"
                return f"; {item.annotator}'s adjudication no longer counts: {why}"
        return "; nobody adjudicated"

    def _too_few(
        self, asked: _Asked, record: IngestedLog, people: Sequence[RecordedLabels], stale: Sequence[RecordedLabels]
    ) -> Finding:
        assert self._schema is not None
        words = f"{asked.label} was labelled by {len(people)} of {asked.annotators} annotators"
        if stale:
            words += f"; {len(stale)} more no longer count: {self._stale(stale[-1], self._schema[0])}"
        elif not people and (other := self._of_namesake(record)):
            words += f"; labels of {record.name} are of other content ({other[:12]})"
        return _finding(words, float(len(people)), float(asked.annotators), "annotators")

    def _of_namesake(self, record: IngestedLog) -> str:
        """A labelled log of the same name and other content: what was labelled before the log changed."""
        assert self._schema is not None
        name = catalogue.name_of(self._schema[0])
        for item in reversed(self._shelf.every):
            if (
                item.log.name == record.name
                and item.log.digest != record.digest
                and catalogue.name_of(item.schema) == name
            ):
                return item.log.digest
        return ""

    def _disagreement(self, asked: _Asked, record: IngestedLog, people: Sequence[RecordedLabels]) -> Iterator[Finding]:
        by_annotator = [item.set.of(asked.label) for item in people]
        names = ", ".join(item.annotator for item in people)
        if _by_log(asked.rule):
            yield from self._of_log(asked, people)
            return
        if asked.least_alpha is not None:
            assert self._schema is not None
            found = alpha_of(by_annotator, asked.rule, record.span_ns, self._schema[1].grid_ns)
            if found < asked.least_alpha:  # NaN, where nothing varies, is not below
                words = f"alpha of {asked.label} between {names} is {found:.3f}, not {asked.least_alpha:g}"
                yield _finding(words, found, asked.least_alpha, "")
        if asked.least_f1 is not None:
            pairs = combinations(people, 2)
            found, a, b = min(
                (
                    segment_hits(x.set.of(asked.label), y.set.of(asked.label), asked.rule.tolerance_ns).f1,
                    x.annotator,
                    y.annotator,
                )
                for x, y in pairs
            )
            if found < asked.least_f1:
                words = f"segment F1 of {asked.label} between {a} and {b} is {found:.3f}, not {asked.least_f1:g}"
                yield _finding(words, found, asked.least_f1, "")

    def _of_log(self, asked: _Asked, people: Sequence[RecordedLabels]) -> Iterator[Finding]:
        said = {item.annotator: [str(x.value) for x in item.set.of(asked.label)] for item in people}
        silent = [name for name, values in said.items() if not values]
        if silent and not asked.rule.overlap:
            yield _finding(f"{', '.join(silent)} looked for {asked.label} and said nothing", 0.0, 1.0, "labels")
        if len({tuple(values) for values in said.values() if values}) > 1 and asked.least_alpha is not None:
            words = "; ".join(f"{name} {' '.join(values)}" for name, values in said.items() if values)
            yield _finding(f"{asked.label} is disputed: {words}", 0.0, 1.0, "adjudications")
        if asked.least_alpha is not None:
            found = self._alpha_over_logs(asked)
            if found < asked.least_alpha:
                words = f"alpha of {asked.label} over all logs is {found:.3f}, not {asked.least_alpha:g}"
                yield _finding(words, found, asked.least_alpha, "")

    def _alpha_over_logs(self, asked: _Asked) -> float:
        """Alpha of a label of whole logs over every log that several people labelled; NaN where nothing varies."""
        if asked.label not in self._alphas:
            values = {}
            for log in self._logs:
                people, _ = self._people(log, asked.label)
                for item in people:
                    for label in item.set.of(asked.label)[:1]:
                        values[item.annotator, log] = label.value
            comparable = asked.rule.type is not ValueType.TEXT and values
            found = alpha(log_values(values, asked.rule), level_of(asked.rule)) if comparable else math.nan
            self._alphas[asked.label] = found
        return self._alphas[asked.label]

    @cached_property
    def _alphas(self) -> dict[str, float]:
        return {}


def _by_log(rule: LabelRule) -> bool:
    return rule.extent is Extent.LOG


def _most(a: float | None, b: float | None) -> float | None:
    return max((x for x in (a, b) if x is not None), default=None)


def _uncovered(asked: _Asked, item: RecordedLabels, whole: Span) -> Iterator[Finding]:
    assert asked.coverage is not None
    spans = [label.span for label in item.set.of(asked.label)]
    share = covered(spans, whole)
    if share < asked.coverage:
        words = f"{asked.label} by {item.annotator} covers {share:.3f} of the log, not {asked.coverage:g}"
        longest = sorted(gaps(spans, whole), key=lambda span: span[0] - span[1])[:_KEPT]
        yield _finding(words, share, asked.coverage, "", tuple(sorted(longest)))


def _finding(message: str, value: float, limit: float, unit: str, spans: tuple[Span, ...] = ()) -> Finding:
    return Finding(check=CHECK, stream="", message=message, value=value, limit=limit, unit=unit, spans_ns=spans)

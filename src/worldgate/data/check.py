"""The check stage: a contract's requirements and checks over logs, recorded with their evidence.

A log is accepted when nothing that refuses was found. What was found, of either severity, stays on the record with its
spans, so that a refusal can be looked at and a flag can be counted later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.errors import ContractBroken
from worldgate.core.streams import IMAGE_LIKE, Finding, Kind
from worldgate.data import check_stage, contracts
from worldgate.data.contracts import Contract, Severity, StreamRule
from worldgate.data.ingest import IngestedLog, Progress, Shelf, StreamSummary
from worldgate.data.labelling.judge import LabelJudge
from worldgate.data.opening import modules_of
from worldgate.engines import Call, Engine, Stage, run, session
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

EVENT = "log.checked"

REQUIREMENTS = "contract"
"""Name under which missing streams, wrong units, origins and labels are reported; these always refuse."""
COPIES = "copies"
"""Name under which cameras that are byte-identical to another log's are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One check on one log."""

    check: str
    severity: Severity
    findings: tuple[Finding, ...]
    key: str = ""
    """Key of the stage that looked: input, code and configuration; empty for what the record alone decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLog:
    """What a contract says of one log."""

    log: str
    name: str
    contract: str
    accepted: bool
    outcomes: tuple[Outcome, ...]
    """Every check that ran, those without findings too."""

    def found(self, severity: Severity | None = None) -> tuple[Finding, ...]:
        """Findings, of one severity or all."""
        return tuple(f for o in self.outcomes if severity in (None, o.severity) for f in o.findings)


def check(
    ws: Workspace,
    log_refs: Sequence[Ref] | None,
    contract_ref: Ref,
    *,
    strict: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> list[CheckedLog]:
    """Hold logs against a contract and record what was found.

    What a check found before on the same bytes, with the same code and parameters, stands on the record and is not
    computed again.

    Args:
        ws: the workspace.
        log_refs: which logs; None: all.
        contract_ref: a recorded contract.
        strict: raise when any log is refused, after all were checked and recorded.
        progress: called after every log.
        engine: where checks run; None: as the workspace says.

    Raises:
        ContractBroken: under ``strict``: names every refused log and reason.
        NotFound: no such log or contract.
    """
    contract = contracts.load(ws, contract_ref.digest)
    shelf = Shelf(ws)
    copies, labels = _copies(shelf.records.values()), LabelJudge(ws, contract, shelf.records)
    digests = [ref.digest for ref in log_refs] if log_refs is not None else list(shelf.records)
    before = _recorded(ws, contract_ref.digest)
    calls = {digest: _calls(shelf, digest, contract) for digest in dict.fromkeys(digests)}
    known = {digest: {o.key: o.findings for o in held.outcomes if o.key} for digest, held in before.items()}
    todo = [c for d, named in calls.items() for c in named.values() if c.key() not in known.get(d, {})]
    out = []
    with session(ws, engine) as chosen:
        fresh = run(todo, place=shelf.place, engine=chosen)
        for done, digest in enumerate(digests):
            record = shelf.record(digest)
            required = (*_requirements(record, contract), *labels.findings(record))
            outcomes = [
                Outcome(check=REQUIREMENTS, severity=Severity.REFUSE, findings=required),
                Outcome(check=COPIES, severity=Severity.FLAG, findings=(*_copied(record, copies),)),
            ]
            for name, call in calls[digest].items():
                held = known.setdefault(digest, {})
                if call.key() not in held:
                    held[call.key()] = decode(_Found, {"findings": next(fresh).value}, where=record.name).findings
                severity = contract.checks[name].severity
                outcomes.append(Outcome(check=name, severity=severity, findings=held[call.key()], key=call.key()))
            out.append(_record(ws, record, contract_ref, tuple(outcomes), before.get(digest)))
            if progress is not None:
                progress(done + 1, len(digests), record.name)
    if strict:
        refuse(out, contract)
    return out


def refuse(checked: Sequence[CheckedLog], contract: Contract) -> None:
    """Raise when any log is refused.

    Raises:
        ContractBroken: names every reason once, with how many logs it holds for.
    """
    refused = [c for c in checked if not c.accepted]
    if refused:
        raise ContractBroken(
            f"contract {contract.name} refuses {len(refused)} of {len(checked)} logs",
            got="; ".join(reasons(refused)),
            where=", ".join(c.name for c in refused[:6]) + (" ..." if len(refused) > 6 else ""),
            hint="worldgate check shows the spans",
        )


def reasons(checked: Sequence[CheckedLog]) -> list[str]:
    """Distinct refusing findings in words, each with the number of logs it holds for where that is not all."""
    logs: dict[str, set[str]] = defaultdict(set)
    for item in checked:
        for finding in item.found(Severity.REFUSE):
            subject = f"{finding.stream} " if finding.stream else ""
            logs[f"{finding.check}: {subject}{finding.message}"].add(item.log)
    return [text + (f" ({len(names)} logs)" if len(names) > 1 else "") for text, names in logs.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    findings: tuple[Finding, ...]


def _calls(shelf: Shelf, digest: str, contract: Contract) -> dict[str, Call]:
    """The stage of each check on a log, by the check's name."""
    record, where = shelf.record(digest), shelf.where(digest)
    modules = modules_of(record.format)
    return {
        name: Call(
            stage=Stage(function=check_stage.STAGE, uses=(*modules, seams.cards("checks")[name].module)),
            name=record.name,
            inputs=(record.source,),
            config={"log": where, "check": name, "params": rule.params},
            group=digest,
        )
        for name, rule in contract.checks.items()
    }


def _record(
    ws: Workspace, record: IngestedLog, contract: Ref, outcomes: tuple[Outcome, ...], before: CheckedLog | None
) -> CheckedLog:
    accepted = not any(o.findings and o.severity is Severity.REFUSE for o in outcomes)
    found = CheckedLog(
        log=record.digest, name=record.name, contract=contract.digest, accepted=accepted, outcomes=outcomes
    )
    if found != before:
        ws.record(EVENT, body={"accepted": accepted, "outcomes": outcomes}, inputs=[record.ref, contract])
    return found


def _recorded(ws: Workspace, contract: str) -> dict[str, CheckedLog]:
    """What was found last under a contract, by log."""
    found = {}
    for event in ws.ledger.events(EVENT):
        log, held = event.inputs
        if held.digest == contract:
            tree = {key: event.body[key] for key in ("accepted", "outcomes")}
            tree |= {"log": log.digest, "name": log.name, "contract": held.digest}
            found[log.digest] = decode(CheckedLog, tree, where=short(event.digest))
    return found


def _copies(records: Iterable[IngestedLog]) -> Mapping[str, list[str]]:
    """Content digest of a camera -> the logs that hold it."""
    held: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for stream in record.streams:
            if stream.kind in IMAGE_LIKE and stream.count:
                held[stream.digest].append(record.name)
    return held


def _copied(record: IngestedLog, copies: Mapping[str, list[str]]) -> Iterator[Finding]:
    for stream in record.streams:
        others = len(copies.get(stream.digest, ())) - 1
        if others > 0:
            yield Finding(
                check=COPIES,
                stream=stream.name,
                message=f"byte-identical to the same camera in {others} other logs",
                value=float(others),
                limit=0.0,
                unit="logs",
                spans_ns=((stream.start_ns, stream.end_ns + 1),),
            )


def _requirements(record: IngestedLog, contract: Contract) -> Iterator[Finding]:
    """What the contract requires of streams, origin, labels and privacy."""

    def broken(stream: str, message: str, value: float = 0.0, limit: float = 0.0, unit: str = "") -> Finding:
        return Finding(check=REQUIREMENTS, stream=stream, message=message, value=value, limit=limit, unit=unit)

    streams = {stream.name: stream for stream in record.streams}
    for name, rule in contract.streams.items():
        if name not in streams:
            yield broken(name, "is missing", 0.0, 1.0, "streams")
        else:
            yield from _stream(streams[name], rule, broken)
    if record.origin not in contract.origins:
        allowed = " or ".join(contract.origins)
        yield broken("", f"the log is {record.origin}, the contract takes {allowed}", 1.0, 0.0, "logs")
    licence = str(record.facts.get("licence", ""))
    if contract.licences and licence not in contract.licences:
        yield broken("", f"its licence is {licence or 'not stated'}, the contract takes {', '.join(contract.licences)}")
    for label in contract.labels.required:
        if label not in record.facts:
            yield broken("", f"the label {label} is missing", 0.0, 1.0, "labels")
    cameras = [stream.name for stream in record.streams if stream.kind is Kind.IMAGE]
    for name in contract.privacy.unmet(cameras, record.facts):
        yield broken(name, "is not masked as the contract asks: worldgate ingest --contract", 1.0, 0.0, "streams")
    for name in contract.privacy.forbids(streams):
        yield broken(name, "is forbidden by the contract's privacy rule", 1.0, 0.0, "streams")
    for name in contract.privacy.forbids_facts(record.facts):
        yield broken("", f"the fact {name} is forbidden by the contract's privacy rule", 1.0, 0.0, "facts")


def _stream(stream: StreamSummary, rule: StreamRule, broken: Callable[..., Finding]) -> Iterator[Finding]:
    if stream.kind is not rule.kind:
        yield broken(stream.name, f"holds {stream.kind}, not {rule.kind}")
        return
    place = 1 if stream.kind in IMAGE_LIKE else 0
    width = stream.shape[place] if len(stream.shape) > place else 0
    if rule.width and width != rule.width:
        yield broken(stream.name, f"is {width} wide, not {rule.width}", float(width), float(rule.width), "channels")
    if rule.unit and stream.unit != rule.unit:
        yield broken(stream.name, f"is in {stream.unit or 'no declared unit'}, not {rule.unit}")
    if rule.rate_hz is not None and not rule.rate_hz[0] <= stream.rate_hz <= rule.rate_hz[1]:
        low, high = rule.rate_hz
        limit = low if stream.rate_hz < low else high
        yield broken(
            stream.name, f"runs at {stream.rate_hz:.2f} Hz, not {low:g} to {high:g}", stream.rate_hz, limit, "Hz"
        )

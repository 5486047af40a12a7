"""Decisions: a gate policy applied to recorded evidence, signed, scoped, expiring, and recomputable by anyone.

:func:`evaluate` is a pure function: policy, documents and the moment in, a payload out. Its canonical bytes name the
decision. :func:`decide` gathers the documents, evaluates and records ``gate.decided``. What a gate must see is taken
from the ledger, never from the caller alone: every trial of the release, every incident scenario, the newest
admission.

Layout of the payload: ``docs/explanation/gates.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.digest import canonical, restore, sha256, short, to_json
from worldgate.core.errors import UsageError
from worldgate.core.evidence import CheckResult, Status, Verdict
from worldgate.core.names import Slot
from worldgate.core.times import format_ns
from worldgate.data.datasets.manifests import SCHEMA as DATASET
from worldgate.data.datasets.snapshots import EVENT as SNAPSHOT
from worldgate.evidence import hardware, holdout, pairing, persons, plans, scenarios, trials
from worldgate.evidence import policy as policies
from worldgate.evidence import waivers as waiving
from worldgate.evidence.bootstrap import FEW
from worldgate.evidence.counted import RELEASE_SCHEMA, read_evidence
from worldgate.evidence.gap_report import SCHEMA as GAP
from worldgate.evidence.gap_report import GapReport
from worldgate.evidence.gate_evidence import TRAINING_SCHEMA, GateEvidence, TrainingRecord
from worldgate.evidence.policy import CheckSpec, GatePolicy
from worldgate.evidence.regression_table import SCHEMA as REGRESSION
from worldgate.evidence.site_report import SCHEMA as MEASURED
from worldgate.evidence.site_report import SiteReport
from worldgate.record.events import Ref
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/decision/1"
DECIDED = persons.DECIDED
_LEDGERS = frozenset(
    {trials.LIST_SCHEMA, TRAINING_SCHEMA, RELEASE_SCHEMA, plans.SCHEMA, REGRESSION, pairing.SCHEMA, DATASET}
)
"""Documents taken from the ledger, whatever the caller gives."""
DAY_NS = 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a decision holds."""

    sites: tuple[str, ...] = ()
    """Admission: where the world model may serve as evidence. Promotion: derived from the slots."""
    slots: tuple[str, ...] = ()
    """Promotion: the arms, ``site/robot/arm``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything :func:`evaluate` depends on."""

    subject: Ref
    scope: Scope
    decided_at_ns: int
    expires_ns: int
    ledger_head: tuple[int, str]
    """Sequence and chain hash of the ledger when the evidence was gathered."""
    documents: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """(digest, document), in the order in which they are named in the payload."""
    admissions: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """(digest, payload) of admission decisions, oldest first."""
    incidents: Sequence[Mapping[str, str]] = ()
    hardware: Mapping[str, str] = field(default_factory=dict)
    """Slot -> digest of what the arm is made of; empty where nobody told."""
    made_ns: Mapping[str, int] = field(default_factory=dict)
    """Digest of a document that was given -> when it was recorded; 0: never."""
    waivers: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """(digest, terms) of waivers in force for this policy, subject and scope, by digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A recorded decision."""

    ref: Ref
    event: str
    """Digest of the ``gate.decided`` event."""
    envelope: str
    """Digest of the signed DSSE envelope in the store."""
    payload: Mapping[str, Any] = field(repr=False)

    @property
    def verdict(self) -> Verdict:
        """What the gate said."""
        return Verdict(self.payload["verdict"])

    @property
    def passed(self) -> bool:
        """Whether the gate opened; the command line exits 3 when not."""
        return self.verdict in {Verdict.ADMIT, Verdict.PROMOTE}

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """Results, in the order of the policy."""
        return tuple(decode(CheckResult, c, where="decision") for c in self.payload["checks"])


def evaluate(policy: GatePolicy, inputs: Inputs) -> dict[str, Any]:
    """Apply a policy to evidence: the payload of a decision, as plain JSON. Pure: same inputs, same canonical bytes."""
    evidence = read_evidence(policy, inputs)
    results: list[CheckResult] = []
    for spec in policy.checks:
        module = seams.load("gates", spec.check)
        config = decode(module.Config, spec.params, where=f"{policy.name}:{spec.check}")
        results += [_strict(spec, result, evidence) for result in module.check(config, evidence)]
    results = waiving.apply(policy, inputs.waivers, results)
    used = sorted({r.waived for r in results} - {""})
    ends = [int(terms["expires_ns"]) for digest, terms in inputs.waivers if digest in used]
    verdict = judge(policy.kind, results)
    payload = {
        "schema": SCHEMA,
        "gate": policy.kind,
        "policy": {"digest": policy.digest, "name": policy.name},
        "population": policy.population,
        "subject": {"kind": inputs.subject.kind, "digest": inputs.subject.digest},
        "scope": {
            "sites": evidence.sites,
            "slots": evidence.slots,
            "signals": [s.name for s in evidence.judged()] if policy.kind == "admission" else [],
            "stage": policy.stage if policy.kind == "promotion" else "",
            "hardware": dict(inputs.hardware),
        },
        "evidence": [
            {"digest": digest, "schema": str(doc.get("schema")), "made_ns": inputs.made_ns.get(digest, 0)}
            for digest, doc in inputs.documents
        ],
        "admissions": [digest for digest, _ in inputs.admissions],
        "incidents": list(inputs.incidents),
        "decided_at_ns": inputs.decided_at_ns,
        "not_before_ns": inputs.decided_at_ns,
        "expires_ns": min(inputs.expires_ns, inputs.decided_at_ns + policy.valid_for_days * DAY_NS, *ends),
        "ledger_head": {"seq": inputs.ledger_head[0], "hash": inputs.ledger_head[1]},
        "approvals_needed": policy.approvals if policy.kind == "promotion" else 0,
        "approvers": policy.approvers if policy.kind == "promotion" else [],
        "waivers": used,
        "checks": results,
        "verdict": verdict,
        "admitted": _admitted(evidence, results) if verdict is Verdict.ADMIT else [],
        "missing": [_missing(r) for r in results if r.status is Status.INCONCLUSIVE and r.blocking],
        "notes": [*_notes(policy, evidence), *map(_waived, (r for r in results if r.waived))],
    }
    tree = restore(to_json(payload))
    assert isinstance(tree, dict)
    return tree


def _strict(spec: CheckSpec, result: CheckResult, evidence: GateEvidence) -> CheckResult:
    """What a policy asks of every check: enough units, fresh evidence, and whether the verdict rests on it."""
    stale = spec.max_age_days and evidence.now_ns - evidence.oldest_ns > spec.max_age_days * DAY_NS
    if result.status is Status.PASS and result.n < spec.min_n:
        detail = f"needs at least {spec.min_n} by its policy, has {result.n}: {result.detail}"
        result = replace(result, status=Status.INCONCLUSIVE, detail=detail)
    elif result.status is Status.PASS and stale:
        oldest = f"the oldest is of {format_ns(evidence.oldest_ns)}" if evidence.oldest_ns else "its age is unknown"
        detail = f"needs evidence of the last {spec.max_age_days} days, {oldest}"
        result = replace(result, status=Status.INCONCLUSIVE, detail=detail)
    return replace(result, blocking=spec.blocking)


def judge(kind: str, results: Sequence[CheckResult]) -> Verdict:
    """Every blocking check must pass or be waived; one that failed rejects, else one that cannot say holds."""
    results = [r for r in results if r.blocking]
    left = [r for r in results if not r.waived]
    if any(r.status is Status.FAIL for r in left):
        return Verdict.REJECT
    if not results or any(r.status is not Status.PASS for r in left):
        return Verdict.HOLD
    return Verdict.ADMIT if kind == "admission" else Verdict.PROMOTE


def _missing(result: CheckResult) -> str:
    about = f" {result.signal}" if result.signal else ""
    return f"{result.check}{about}: {result.detail}"


def _waived(result: CheckResult) -> str:
    about = f" {result.signal}" if result.signal else ""
    return f"{result.check}{about}: {result.status}, waived by {short(result.waived)}"


def _admitted(evidence: GateEvidence, results: Sequence[CheckResult]) -> list[dict[str, Any]]:
    """For which signals and up to which horizon; 0 where no ``horizon`` check was asked for."""
    if evidence.gap is None:
        return []  # a policy that asks nothing of errors by step admits no signal
    reached = {r.signal: float(r.estimate.removesuffix(" s")) for r in results if r.check == "horizon"}
    return [
        {
            "signal": s.name,
            "unit": s.unit,
            "epsilon": s.epsilon,
            "horizon_s": reached.get(s.name, 0.0),
            "steps": evidence.gap.step_of(reached[s.name]) if s.name in reached else 0,
        }
        for s in evidence.judged()
    ]


def _notes(policy: GatePolicy, evidence: GateEvidence) -> list[str]:
    notes = list(evidence.notes)
    if policy.population != "real":
        notes.insert(0, "simulated stands in for real: this decision says nothing about real arms")
    if evidence.gap is not None and evidence.gap.cross_validated:
        notes.append("leave-one-episode-out: the bounds judge the recipe that trained this model, not its weights")
    if evidence.gap is not None and len(evidence.gap.episodes) < FEW:
        notes.append(
            f"bootstrap bounds from {len(evidence.gap.episodes)} episodes: 5 % miss promised, up to 13 % measured "
            "where errors are skewed"
        )
    return notes


def decide(
    ws: Workspace,
    policy_ref: Ref,
    subject: Ref,
    evidence: Sequence[Ref] = (),
    *,
    scope: Scope,
    now_ns: int,
    valid_for_ns: int = 90 * DAY_NS,
    actor: str | None = None,
) -> Decision:
    """Gather, evaluate, sign and record.

    Args:
        ws: the workspace.
        policy_ref: a registered gate policy.
        subject: a ``world_model`` (admission) or a ``release`` (promotion).
        evidence: the gap report, in the store; training record, trials, incidents and admissions come from the ledger.
        scope: sites for an admission, slots for a promotion.
        now_ns: when the decision is made; the caller's clock.
        valid_for_ns: how long it is meant to hold; the policy may cut it short.
        actor: name of the key that signs; None: the program's own.

    Raises:
        UsageError: evidence about another subject, or a scope the policy does not decide for.
        NotFound: evidence that is not in the store.
    """
    policy = policies.read(ws.get_json(policy_ref.digest), where=policy_ref.digest[:12])
    wanted = "world_model" if policy.kind == "admission" else "release"
    if subject.kind != wanted:
        raise UsageError(f"a gate of kind {policy.kind} judges a {wanted}", got=subject.kind)
    head = ws.ledger.head()
    inputs = gather(
        ws,
        policy,
        subject,
        [ref.digest for ref in evidence],
        scope=scope,
        decided_at_ns=now_ns,
        expires_ns=now_ns + valid_for_ns,
        head=(head.seq, head.hash),
    )
    payload = evaluate(policy, inputs)
    data = canonical(payload)
    ref = Ref("decision", ws.store.put_bytes(data), policy.name)
    assert ref.digest == sha256(data)
    envelope = ws.put_json(sign_statement(data, statement_type("decision"), ws.signer(actor)))
    body = {
        "decision": ref.digest,
        "envelope": envelope,
        "gate": policy.kind,
        "subject": subject.digest,
        "verdict": payload["verdict"],
        "population": policy.population,
        "slots": payload["scope"]["slots"],
        "sites": payload["scope"]["sites"],
    }
    sources = [policy_ref, subject, *(Ref("evidence", d["digest"]) for d in payload["evidence"])]
    sources += [Ref("decision", d) for d in payload["admissions"]]
    sources += [Ref("waiver", d) for d in payload["waivers"]]
    listed = [doc for _, doc in inputs.documents if doc.get("schema") == trials.LIST_SCHEMA]
    sources += [Ref("trial", row["digest"]) for doc in listed for row in doc["trials"]]  # so that lineage reaches logs
    event = ws.record(
        DECIDED,
        body=body,
        inputs=sources,
        outputs=(ref,),
        valid_from_ns=payload["not_before_ns"],
        valid_to_ns=payload["expires_ns"],
        actor=actor,
    )
    return Decision(ref=ref, event=event.digest, envelope=envelope, payload=payload)


def gather(
    ws: Workspace,
    policy: GatePolicy,
    subject: Ref,
    evidence: Sequence[str],
    *,
    scope: Scope,
    decided_at_ns: int,
    expires_ns: int,
    head: tuple[int, str],
) -> Inputs:
    """Everything a decision rests on, as the ledger stood at ``head``."""
    given = [(digest, ws.get_json(digest)) for digest in evidence]
    documents: list[tuple[str, Mapping[str, Any]]] = [(d, doc) for d, doc in given if doc.get("schema") not in _LEDGERS]
    trained = {subject.digest}
    admissions: list[tuple[str, Mapping[str, Any]]] = []
    incidents: list[dict[str, str]] = []
    waived: list[tuple[str, dict[str, Any]]] = []
    if policy.kind == "promotion":
        manifest = ws.get_json(subject.digest)
        trained = set(manifest.get("weights", {}).values())
        plan, listed = _listed(ws, subject.digest, manifest, scope, upto_seq=head[0])
        documents += [(subject.digest, manifest), *plan, (ws.put_json(listed), listed)]
        models = {str(t["chosen_by"]) for t in listed["trials"] if t["chosen_by"]}
        admissions = _newest_admissions(ws, models, upto_seq=head[0])
        incidents = scenarios.incident_scenarios(ws, upto_seq=head[0])
        waived = waiving.in_force(ws, policy, subject.digest, scope.slots, now_ns=decided_at_ns, upto_seq=head[0])
        if any(spec.check == "regression" for spec in policy.checks):
            documents += _newest_regression(ws, subject.digest, upto_seq=head[0])
    given_ns = _made(ws, {digest for digest, _ in documents}, upto_seq=head[0]) if policy.kind == "admission" else {}
    if policy.kind == "admission":
        documents += _datasets(ws, documents, upto_seq=head[0])
    if policy.kind == "admission" and pairing.CHECKS & {spec.check for spec in policy.checks}:
        both = pairing.collect(ws, subject.digest, upto_seq=head[0])
        documents.append((ws.put_json(both), both))
    told = (event for event in ws.ledger.events(hardware.CONFIGURED) if event.seq <= head[0])
    training = _training(ws, trained, upto_seq=head[0])
    documents += [(training, ws.get_json(training))] if training else []
    return Inputs(
        subject=subject,
        scope=scope,
        decided_at_ns=decided_at_ns,
        expires_ns=expires_ns,
        ledger_head=head,
        documents=documents,
        admissions=admissions,
        incidents=incidents,
        hardware=hardware.current(told, scope.slots),
        made_ns=given_ns,
        waivers=waived,
    )


def _made(ws: Workspace, digests: set[str], *, upto_seq: int) -> dict[str, int]:
    """When each document was first recorded as evidence; 0 where it never was."""
    found = dict.fromkeys(digests, 0)
    for event in ws.ledger.events("evidence.made"):
        digest = str(event.body["evidence"])
        if event.seq <= upto_seq and found.get(digest) == 0:
            found[digest] = event.recorded_at_ns
    return found


def _datasets(
    ws: Workspace, reports: Sequence[tuple[str, Mapping[str, Any]]], *, upto_seq: int
) -> list[tuple[str, Mapping[str, Any]]]:
    """Manifests of the datasets that reports name, of those on the ledger: they say what a report left out."""
    named = {str(doc["dataset"]) for _, doc in reports if doc.get("schema") in {GAP, MEASURED}}
    known = (ref.digest for e in ws.ledger.events(SNAPSHOT) if e.seq <= upto_seq for ref in e.outputs)
    return [(digest, ws.get_json(digest)) for digest in sorted(named & set(known))]


def _listed(
    ws: Workspace, release: str, manifest: Mapping[str, Any], scope: Scope, *, upto_seq: int
) -> tuple[list[tuple[str, Mapping[str, Any]]], dict[str, Any]]:
    """The newest plan of a release at these sites, if there is one, and the trials that a gate must see."""
    sites = sorted({str(Slot.parse(slot).site) for slot in scope.slots})
    event = plans.newest(ws, release, sites, upto_seq=upto_seq)
    if event is None:
        return [], trials.collect(ws, release, upto_seq=upto_seq)
    digest = str(event.body["plan"])
    plan = plans.load(ws, digest)
    scenes = frozenset(row.scenario for row in plan.rows if not row.tripwire)
    before = plans.attempts_before(
        ws,
        plan.suite,
        release,
        scenes,
        sites=plan.sites,
        before=digest,
        upto_seq=upto_seq,
    )
    listed = trials.collect(
        ws,
        release,
        upto_seq=upto_seq,
        plan=digest,
        plan_seq=event.seq,
        attempt=1 + len(before),
        problems=[
            *plans.problems(ws, plan, seq=event.seq),
            *hardware.changed_after(ws, digest, plan.slots, upto_seq=upto_seq),
        ],
    )
    chose = {str(t["chosen_by"]) for t in listed["trials"] if t["chosen_by"]}
    behind = {release, *manifest.get("weights", {}).values(), *chose}
    listed["trained_on"] = holdout.overlaps(ws, scenes, behind, upto_seq=upto_seq)
    return [(digest, plan.to_json())], listed


def _training(ws: Workspace, subjects: set[str], *, upto_seq: int) -> str | None:
    """The first training record of these weights: what is recorded later cannot replace it."""
    for event in ws.ledger.events("evidence.made"):
        body = event.body
        if event.seq <= upto_seq and body["schema"] == TRAINING_SCHEMA and body["subject"] in subjects:
            return str(body["evidence"])
    return None


def _newest_regression(ws: Workspace, release: str, *, upto_seq: int) -> list[tuple[str, Mapping[str, Any]]]:
    """The newest document about a release open loop, whoever made it."""
    found = ""
    for event in ws.ledger.events("evidence.made"):
        if event.seq <= upto_seq and event.body["schema"] == REGRESSION and event.body["subject"] == release:
            found = str(event.body["evidence"])
    return [(found, ws.get_json(found))] if found else []


def _newest_admissions(ws: Workspace, models: set[str], *, upto_seq: int) -> list[tuple[str, Mapping[str, Any]]]:
    newest: dict[str, str] = {}
    for event in ws.ledger.events(DECIDED):
        body = event.body
        if event.seq <= upto_seq and body["gate"] == "admission" and body["subject"] in models:
            newest[body["subject"]] = body["decision"]
    return [(digest, ws.get_json(digest)) for _, digest in sorted(newest.items())]


def put_evidence(
    ws: Workspace, document: GapReport | SiteReport | TrainingRecord, *, inputs: Sequence[Ref] = ()
) -> Ref:
    """Keep a gap report, site report or training record and record ``evidence.made``."""
    tree = document.to_json()
    name = {GapReport: "gap", SiteReport: "site-gap"}.get(type(document), "training")
    ref = Ref("evidence", ws.put_json(tree), name)
    body: dict[str, Any] = {"evidence": ref.digest, "schema": tree["schema"], "subject": tree["subject"]}
    if not isinstance(document, TrainingRecord):
        body |= {"origin": document.origin, "episodes": len(document.episodes)}
    ws.record("evidence.made", body=body, inputs=inputs, outputs=(ref,))
    return ref

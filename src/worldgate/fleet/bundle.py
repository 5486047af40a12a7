"""The evidence bundle: everything that speaks for and against one decision, for an insurer or an authority.

It holds the decision and its signed envelope, its policy and plan, trials, approvals, waivers, the release, what ran
where on the decision's arms, exposure, incidents, claims, and the chain of the ledger. Records that are no part of this
story keep their place in the chain and are withheld; so is what a redaction asks for. Both are listed. The README says
in plain words what is shown and what is not.

One decision's story is: everything that its lineage reaches backwards; every record that names the decision, its
subject, or a plan, suite or world model that it rests on; what was deployed, recorded and reported on its arms; what
was deployed on the other arms of its subject's waivers, since that ends a waiver or does not; every approval or waiver
of these that was taken back; every scenario that an incident left behind; and all keys. The same ledger at the same
time gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldgate.core.digest import canonical, read_canonical, to_json
from worldgate.core.errors import NotFound, WorldgateError
from worldgate.evidence import claim_status
from worldgate.evidence.claim_svg import draw
from worldgate.evidence.claims import Tree
from worldgate.evidence.decide import DECIDED
from worldgate.evidence.exposure import ASSIGNED, REPORTED
from worldgate.evidence.persons import EVENTS, WAIVED
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.fleet import bundle_readme, bundle_tables
from worldgate.fleet.bundle_tables import Facts
from worldgate.record import bundles
from worldgate.record.bundle_verify import BundleReport, verify_bundle
from worldgate.record.bundles import REDACTED, Contents, Manifest, VouchedKey
from worldgate.record.erasure import tombstones
from worldgate.record.events import Event, Ref
from worldgate.record.keys import ADDED, ERASED, KEY_KINDS, WITHDRAWN, read_key
from worldgate.record.ledger import Head
from worldgate.record.redaction import Redactor, What, of_events, payload_of
from worldgate.record.workspace import Workspace

LARGEST = 8 << 20
"""Documents beyond this many bytes are named and left out."""
ELSEWHERE = "not part of this story"
_CORE = frozenset({"plan", "suite", "world_model", "decision", "release"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a bundle shall hold besides its decision."""

    redact: tuple[What, ...] = ()
    words: tuple[str, ...] = ()
    """Other words that nobody shall read."""
    claims: tuple[Tree, ...] = ()
    """Safety cases; ``$release``, ``$slot``, ``$site`` mean the decision's own, the first of several."""
    witness: Head | None = None
    """A head that somebody else kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A bundle that was written."""

    folder: Path
    manifest: Manifest
    report: BundleReport
    """What checking it gave."""
    not_shown: tuple[str, ...]
    """What the README says is not shown."""


def make(
    ws: Workspace, decision: Ref, folder: Path, *, now_ns: int, asked: Asked | None = None, key: str | None = None
) -> Made:
    """Write the evidence bundle of a decision and check it.

    Args:
        ws: the workspace.
        decision: a recorded decision.
        folder: where; must not exist.
        now_ns: the moment at which it is made: what is in force, and how long exposure lasted.
        asked: redactions, claims and a witness's head.
        key: name of the key that signs the manifest; None: the program's own.

    Raises:
        NotFound: no such decision on this ledger.
        AlreadyExists: the folder exists.
    """
    asked = asked or Asked()
    head = ws.ledger.head()
    events = [event for event in ws.ledger.events() if event.seq <= head.seq]
    record = next((e for e in events if e.kind == DECIDED and decision.digest in {r.digest for r in e.outputs}), None)
    if record is None:
        raise NotFound("no such decision on this ledger", got=decision.digest[:12], hint="worldgate show")
    redactor = of_events(events, asked.redact, asked.words)
    shown = story(ws, events, record)
    why = {e.seq: ELSEWHERE for e in events if e.seq not in shown}
    label = _label(asked)
    hidden = [e for e in events if e.seq in shown and redactor.hides(payload_of(e))]
    why |= {e.seq: label for e in hidden}
    sorted_out = _documents(ws, [e for e in events if e.seq in shown], redactor, label, _erased(events))
    copies = {f"redacted/records/{e.seq:08d}.json": _pretty(redactor.tree(payload_of(e))) for e in hidden}
    copies |= {f"redacted/objects/{d}.json": _pretty(redactor.tree(t)) for d, t in sorted_out.hidden.items()}
    facts = bundle_tables.facts(ws, events, record, now_ns=now_ns, head=head, witness=asked.witness)
    files = {name: _redacted(redactor, name, data) for name, data in bundle_tables.tables(facts).items()}
    cases = [_assessed(ws, tree, facts, now_ns) for tree in asked.claims]
    files |= _claims(cases, redactor)
    files["redactions.csv"] = _redactions(events, why, sorted_out.withheld)
    not_shown = bundle_readme.not_shown(facts, cases, why, sorted_out.withheld, asked.redact)
    not_shown = [redactor.text(line) for line in not_shown]
    files["README.md"] = redactor.text(bundle_readme.text(facts, cases, not_shown)).encode()
    contents = Contents(
        decision=decision.digest,
        decision_seq=record.seq,
        head=head,
        made_at_ns=now_ns,
        why=why,
        objects=sorted_out.objects,
        withheld=sorted_out.withheld,
        redacted=(*asked.redact, *(("words",) if asked.words else ())),
        keys=tuple(_vouched(hidden, redactor)),
        witness=asked.witness,
        files=files | copies,
    )
    bundles.check_contents(contents)
    manifest = bundles.write(ws, folder, contents, key=key)
    report = verify_bundle(folder, recompute=RECOMPUTE, witness=asked.witness)
    return Made(folder=folder, manifest=manifest, report=report, not_shown=tuple(not_shown))


def story(ws: Workspace, events: Sequence[Event], decision: Event) -> frozenset[int]:
    """Sequences of the records that belong to a decision's story."""
    shown = _backward(events, [decision])
    core = _core(ws, [e for e in events if e.seq in shown], decision)
    shown |= _backward(events, [e for e in events if not core.isdisjoint(ref.digest for ref in e.outputs)])
    slots = set(decision.body["slots"])
    waived = {slot for e in events if e.kind == WAIVED and _mentions(e, core) for slot in _texts(e.body.get("slots"))}
    for event in events:
        always = event.kind in KEY_KINDS or event.kind == ERASED
        left_behind = event.kind == "scenario.made" and event.body.get("source") == "incident"
        wears = event.kind in (ASSIGNED, REPORTED) and event.body.get("slot") in waived
        if always or left_behind or wears or _about(event, slots, core) or _mentions(event, core):
            shown.add(event.seq)
    said = {ref.digest for e in events if e.seq in shown and e.kind in EVENTS.values() for ref in e.outputs}
    shown |= {e.seq for e in events if e.kind == WITHDRAWN and e.body.get("withdrawn") in said}
    return frozenset(shown)


def _texts(value: Any) -> list[str]:
    """The texts of a list; of signed nonsense none."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _backward(events: Sequence[Event], starts: Sequence[Event]) -> set[int]:
    """These records, everything that they were made from, and what that was made from."""
    makers: dict[str, list[Event]] = {}
    for event in events:
        for ref in event.outputs:
            makers.setdefault(ref.digest, []).append(event)
    shown, waiting = {event.seq for event in starts}, [*starts]
    while waiting:
        for ref in waiting.pop().inputs:
            for event in makers.get(ref.digest, ()):
                if event.seq not in shown:
                    shown.add(event.seq)
                    waiting.append(event)
    return shown


def _core(ws: Workspace, shown: Iterable[Event], decision: Event) -> frozenset[str]:
    """The decision, its subject with its weights, and the plans, suites and models it rests on."""
    subject = str(decision.body["subject"])
    found = {subject, *(ref.digest for ref in decision.outputs)}
    for event in shown:
        if event.seq == decision.seq or event.kind == "plan.registered":
            found |= {ref.digest for ref in (*event.inputs, *event.outputs) if ref.kind in _CORE}
        if event.kind == DECIDED:
            found.add(str(event.body["subject"]))
    try:
        manifest = ws.get_json(subject)
    except WorldgateError:
        return frozenset(found)
    weights = manifest.get("weights") if isinstance(manifest, dict) else None
    return frozenset(found | {str(w) for w in (weights.values() if isinstance(weights, dict) else ())})


def _about(event: Event, slots: set[str], core: frozenset[str]) -> bool:
    """Whether it is about what ran, or went wrong, on the decision's arms."""
    body = event.body
    if event.kind == "log.ingested":
        place = "/".join(str(body.get(key, "")) for key in ("site", "robot", "arm"))
        return place in slots and body.get("facts", {}).get("release") in core
    return body.get("slot") in slots and event.kind.split(".")[0] in ("deployment", "incident", "slot")


def _mentions(event: Event, core: frozenset[str]) -> bool:
    named = {ref.digest for ref in (*event.inputs, *event.outputs)}
    return not core.isdisjoint(named | {value for value in event.body.values() if isinstance(value, str)})


def _erased(events: Iterable[Event]) -> Mapping[str, Any]:
    return tombstones(e for e in events if e.kind == ERASED)


def _label(asked: Asked) -> str:
    return f"{REDACTED}: {', '.join((*asked.redact, *(('words',) if asked.words else ())))}"


@dataclass(slots=True)
class _Sorted:
    objects: list[str]
    withheld: dict[str, str]
    hidden: dict[str, Any]
    """Documents that hold a hidden word, as plain JSON."""


def _documents(
    ws: Workspace, shown: Iterable[Event], redactor: Redactor, label: str, erased: Mapping[str, Any]
) -> _Sorted:
    """Which documents of the shown records go in, and why others do not."""
    out = _Sorted([], {}, {})
    for digest in sorted({digest for event in shown for digest in event.objects}):
        if digest in erased:
            out.withheld[digest] = "erased"
        elif not ws.store.has(digest):
            continue  # verifying says so
        elif ws.store.size(digest) > LARGEST:
            out.withheld[digest] = "too large"
        else:
            data = ws.store.get(digest)
            tree = _document(data)
            if tree is None:
                out.withheld[digest] = "not a document: log, weights or other data"
            elif redactor.hides(tree):
                out.withheld[digest], out.hidden[digest] = label, tree
            else:
                out.objects.append(digest)
    return out


def _document(data: bytes) -> Any:
    """Plain JSON of a document; None for bytes that are none, and for the list of files of a tree."""
    if not data.startswith(b"{"):
        return None
    try:
        tree = read_canonical(data)
    except ValueError:
        return None
    return None if tree.get("type") == "worldgate.tree.v1" else tree


def _vouched(hidden: Iterable[Event], redactor: Redactor) -> Iterator[VouchedKey]:
    """Keys whose records name persons: the keys themselves are no secret."""
    for event in hidden:
        if event.kind == ADDED:
            key = read_key(event.body)
            yield VouchedKey(
                ledger=event.ledger,
                keyid=key.keyid,
                public=key.public,
                role=key.role,
                owner=redactor.text(key.owner),
                added=event.origin_seq,
            )


def _assessed(ws: Workspace, tree: Tree, facts: Facts, now_ns: int) -> claim_status.Assessment:
    slot = next(iter(facts.slots), "")
    names = {"release": facts.subject, "slot": slot, "site": slot.split("/")[0], "model": facts.model}
    if facts.witness is not None:
        names["witness"] = f"{facts.witness.seq}:{facts.witness.hash}"
    return claim_status.assess(tree, ws, now_ns=now_ns, names=names)


def _claims(cases: Sequence[claim_status.Assessment], redactor: Redactor) -> Iterator[tuple[str, bytes]]:
    for number, case in enumerate(cases, 1):
        name = "claims" if len(cases) == 1 else f"claims-{number}"
        yield f"{name}.json", _pretty(redactor.tree(claim_status.export(case)))
        yield f"{name}.svg", redactor.text(draw(case)).encode()


def _redactions(events: Sequence[Event], why: Mapping[int, str], withheld: Mapping[str, str]) -> bytes:
    """Every record and document that is withheld, for people."""
    rows = [("record", str(e.seq), e.digest, e.kind, why[e.seq]) for e in events if e.seq in why]
    rows += [("document", "", digest, "", reason) for digest, reason in sorted(withheld.items())]
    return bundle_tables.csv_of(("what", "sequence", "digest", "kind", "why"), rows)


def _redacted(redactor: Redactor, name: str, data: bytes) -> bytes:
    if name.endswith(".json"):
        return _pretty(redactor.tree(json.loads(data)))
    return redactor.text(data.decode()).encode()


def _pretty(tree: Any) -> bytes:
    return (json.dumps(json.loads(canonical(to_json(tree))), indent=2, ensure_ascii=False) + "\n").encode()

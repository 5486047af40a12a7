"""Verify a bundle: every link, shown record, signature and document, and the decision that it is about.

Another program does the same without this one: ``tools/verify.py FOLDER``. Nothing is believed because the bundle says
so, except what it withholds, and that is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.digest import read_canonical
from worldgate.core.errors import RecordError, Tampered, WorldgateError
from worldgate.record.bundles import ENVELOPE, GATES_READ, REDACTED, TYPE, Bundle
from worldgate.record.events import Event
from worldgate.record.keys import ADDED, Keyring
from worldgate.record.ledger import Head
from worldgate.record.readings import NOWHERE, EventList, Reading
from worldgate.record.signing import verify_envelope
from worldgate.record.verify import Problem, Recompute, Verification, VerifyReport

_DECIDED, _APPROVED = "gate.decided", "gate.approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReport:
    """What was checked, what does not hold, and what nobody can check."""

    report: VerifyReport
    withheld_records: int
    withheld_objects: int
    decision_withheld: bool
    """The decision cannot be recomputed: its record or a document of it is withheld."""

    @property
    def ok(self) -> bool:
        """Whether everything that is shown holds."""
        return self.report.ok


def verify_bundle(
    folder: Path, *, recompute: Mapping[str, Recompute] | None = None, witness: Head | None = None
) -> BundleReport:
    """Check everything that a bundle shows.

    Args:
        folder: the bundle.
        recompute: kind of event -> what recomputes its claim.
        witness: a head that somebody else kept.

    Raises:
        Tampered: a folder whose manifest cannot be read.
        SchemaTooNew: made by a newer Worldgate.
    """
    bundle = Bundle(folder)
    empty = EventList(bundle.manifest.ledger, (), Keyring(bundle.manifest.ledger), NOWHERE)
    run = BundleVerification(Reading(folder, empty, bundle.store), recompute or {}, witness, bundle=bundle)
    for step in (run.manifest, run.chain, run.vouch, run.signatures, run.signed, run.objects, run.about, run.decisions):
        step()
    report = VerifyReport(
        problems=tuple(sorted(run.problems, key=lambda problem: problem.seq)),
        records=run.records,
        objects=len(run.checked),
        recomputed=run.recomputed,
        head=run.head,
        witnessed=run.witnessed,
    )
    return BundleReport(
        report=report,
        withheld_records=len(run.hidden),
        withheld_objects=len(run.checked & set(bundle.manifest.withheld)),
        decision_withheld=run.untold,
    )


@dataclass
class BundleVerification(Verification):
    """One pass over a bundle."""

    bundle: Bundle = field(kw_only=True)
    hidden: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """Withheld rows by sequence."""
    heads: set[Head] = field(default_factory=set)
    covered: frozenset[str] = frozenset()
    """Decisions that are recomputed: the one it is about, and the admissions that one rests on."""
    untold: bool = False

    def wrong(self, what: str, seq: int = 0, digest: str = "") -> None:
        """Note something that does not hold."""
        self.problems.append(Problem(seq, digest, what))

    def manifest(self) -> None:
        """Every file is the one that was signed."""
        for what in self.bundle.wrong_files():
            self.wrong(what)

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """The lines of the ledger; one that cannot be read ends them."""
        try:
            for row in self.bundle.rows():
                self.heads.add(Head(row["seq"], row["hash"]))
                yield row
        except Tampered as error:
            self.wrong(f"{error.what}: {error.where}")

    def read_row(self, row: Mapping[str, Any]) -> None:
        """As for a ledger, where there is something to read."""
        if row["payload"] is None:
            self.hidden[row["seq"]] = row
        else:
            super().read_row(row)

    def chain(self) -> None:
        """As for a ledger; the chain ends where the manifest says, and holds the head it says was kept."""
        super().chain()
        if self.head != self.bundle.manifest.head:
            self.wrong("the chain does not end where the manifest says")
        kept = self.bundle.manifest.witness
        if kept is not None and kept not in self.heads:
            self.wrong("the head that was kept, says the manifest, is not in the chain")

    def vouch(self) -> None:
        """Keys on the maker's word: only where a withheld record has that place and says that it adds one."""
        places = {(row["ledger"], row["origin_seq"]) for row in self.hidden.values() if row["kind"] == ADDED}
        for vouched in self.bundle.manifest.keys:
            try:
                if (vouched.ledger, vouched.added) not in places:
                    raise ValueError("no withheld record adds it")
                self.keyring.vouch(vouched.ledger, vouched.key(), added=vouched.added)
            except ValueError as error:
                self.wrong(f"a key on the maker's word, {vouched.keyid[:12]}: {error}")

    def signed(self) -> None:
        """The manifest's own signature, by a key of the ledger that was good at its head."""
        told = self.bundle.manifest
        try:
            key = self.keyring.authorise(told.signer, ledger=told.ledger, seq=told.head.seq, kind="bundle")
            envelope = read_canonical((self.bundle.folder / ENVELOPE).read_bytes())
            if verify_envelope(envelope, TYPE, [key.sslib()]) != self.bundle.told:
                raise Tampered("another manifest was signed")
        except (OSError, ValueError, TypeError, RecordError) as error:
            what = error.what if isinstance(error, WorldgateError) else f"no envelope that can be read: {error}"
            self.wrong(f"the manifest: {what}")

    def check_object(self, event: Event, digest: str) -> None:
        """As for a ledger, but for what the manifest withholds."""
        if digest in self.bundle.manifest.withheld and not self.bundle.store.has(digest):
            self.checked.add(digest)
        else:
            super().check_object(event, digest)

    def about(self) -> None:
        """The decision that it is about is here, or is said to be withheld."""
        told = self.bundle.manifest
        made = next((e for e in self.events if e.seq == told.decision_seq), None)
        if told.decision_seq in self.hidden:
            self.untold = True
            if self.hidden[told.decision_seq]["kind"] != _DECIDED:
                self.wrong("what is said to hold the decision is another kind of record", told.decision_seq)
            return
        if made is None or made.kind != _DECIDED or [ref.digest for ref in made.outputs] != [told.decision]:
            self.wrong("the decision it is about is not where the manifest says", told.decision_seq)
            return
        named = {*made.objects, *(ref.digest for ref in (*made.inputs, *made.outputs))}
        if self.hidden_evidence() or any(told.withheld.get(digest, "").startswith(REDACTED) for digest in named):
            self.untold = True
            return
        try:
            payload = read_canonical(self.bundle.store.get(told.decision))
            self.covered = frozenset({told.decision, *map(str, payload["admissions"])})
        except (WorldgateError, ValueError, KeyError, TypeError) as error:
            what = error.what if isinstance(error, WorldgateError) else error
            self.wrong(f"the decision it is about cannot be read: {what}", told.decision_seq, made.digest)

    def hidden_evidence(self) -> bool:
        """Whether a record of a kind that gates read was redacted: then no decision can be computed again."""
        return any(row["kind"] in GATES_READ and row["why"].startswith(REDACTED) for row in self.hidden.values())

    def wanted(self, event: Event) -> bool:
        """Of decisions and approvals, those that the bundle is about; waivers with them, since decisions read those."""
        if event.kind == _DECIDED:
            return any(ref.digest in self.covered for ref in event.outputs)
        if event.kind == _APPROVED:
            return event.body.get("decision") in self.covered
        return not self.untold

    def projections(self) -> None:
        """A bundle has none."""

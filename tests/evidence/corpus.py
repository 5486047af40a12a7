"""The corpus of good and bad records on which two verifiers must agree: folders, and what is done to copies of them.

A case is a template (a workspace or bundle, built once) and a change whose chances are drawn from the case's name, so
that a case which once disagreed can be run again alone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.evidence import conftest as fakes
from tests.evidence import corpus_bundle as b
from tests.evidence import corpus_record as ws
from tests.evidence import corpus_waivers as wv
from tests.evidence import promotions
from tests.evidence import stories as st
from tests.evidence.corpus_record import LATER, Change

from worldgate.core.streams import Origin
from worldgate.evidence import policy as policies
from worldgate.evidence.claims import load as load_claims
from worldgate.evidence.decide import Scope, decide
from worldgate.fleet.bundle import Asked, make
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@dataclass(frozen=True)
class Case:
    """One member of the corpus."""

    name: str
    template: str
    change: Change
    good: bool


# ---- templates ------------------------------------------------------------------------------------------------------


class Templates:
    """Folders built when they are first asked for, and copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def copy(self, name: str, to: Path) -> Path:
        source = self.folder / name
        if not source.exists():
            kind, _, rest = name.partition("/")
            build = self.bundle if kind == "bundle" else self.workspace
            build(source, rest)
        shutil.copytree(source, to)
        home = self.folder / f"{name}.home"
        if home.is_file():
            (to.parent / f"{to.name}.home").write_text(home.read_text())
        return to

    def workspace(self, path: Path, kind: str) -> None:
        ws = Workspace.init(path, person="tester")
        life, rules = wv.LIVES.get(kind, (None, {}))
        if life is not None:
            life(*wv.hall_of(ws, **rules))
            decided = ws.get_json(ws.artifacts("decision")[-1].digest)
            assert bool(decided["waivers"]) == (kind in wv.IN_FORCE), kind
        else:
            getattr(self, f"ws_{kind.replace('-', '_')}")(ws)
        ws.close()

    def bundle(self, path: Path, kind: str) -> None:
        of, _, how = kind.partition(" ")
        home = self.folder / "ws" / of
        if not home.exists():
            self.workspace(home, of)
        with Workspace.open(home) as ws:
            decision = ws.artifacts("decision")[-1]
            head = ws.ledger.head()
            asked = {
                "": Asked(),
                "persons": Asked(redact=("persons",)),
                "serials": Asked(redact=("serials",)),
                "sites": Asked(redact=("sites", "persons")),
                "words": Asked(words=("near-miss",)),
                "witness": Asked(witness=head),
                "claims": Asked(claims=(load_claims("cell"),)) if of == "promoted" else Asked(),
            }[how]
            made = make(ws, decision, path, now_ns=st.NOW + 20 * LATER, asked=asked)
            assert made.report.ok, made.report.report.problems
        (self.folder / f"bundle/{kind}.home").write_text(str(home))

    def ws_promoted(self, ws: Workspace) -> None:
        st.promote(ws, fakes)

    def ws_plain(self, ws: Workspace) -> None:
        st.promote(ws, fakes, model=False)

    def ws_rejected(self, ws: Workspace) -> None:
        st.promote(ws, fakes, model=False, normaliser="another")

    def ws_violations(self, ws: Workspace) -> None:
        st.promote(ws, fakes, model=False, violations=20)

    def ws_held(self, ws: Workspace) -> None:
        st.promote(ws, fakes, model=False, outcomes=[True] * 25)

    def ws_untried(self, ws: Workspace) -> None:
        st.promote(ws, fakes, model=False, outcomes=[])

    def ws_admitted(self, ws: Workspace) -> None:
        st.admit(ws, fakes)

    def ws_not_admitted(self, ws: Workspace) -> None:
        st.admit(ws, fakes, gain=0.0)

    def ws_simulated(self, ws: Workspace) -> None:
        release = st.register_release(ws, fakes)
        suite = st.make_suite(ws)
        policy = st.tried(ws, release, suite, [True] * 70, policy="promotion-simulated", origin=Origin.SIMULATED)
        decide(ws, policy, release, scope=Scope(slots=(st.SLOT,)), now_ns=st.NOW + st.HOUR)

    def ws_field(self, ws: Workspace) -> None:
        story = st.promote(ws, fakes, model=False)
        other = st.register_release(ws, fakes, "r2")
        held = promotions.suite(ws, 20, name="another")
        st.tried(ws, other, held, [True, False] * 5)
        ws.record(
            "deployment.desired",
            body={"slot": st.SLOT, "release": story.release.digest},
            inputs=(story.release, story.decision.ref),
            valid_from_ns=st.NOW + 4 * st.HOUR,
        )
        st.recorded(ws, story.release, st.NOW + 5 * st.HOUR, 8)
        opened = st.incident(ws, fakes, story.release, st.NOW + 6 * st.HOUR, note="Bea saw it")
        body = {
            "incident": opened.body["incident"],
            "slot": st.SLOT,
            "scenario": "",
            "reason": "x",
        }
        ws.record("incident.closed", body={**body, "person": "tester"}, actor="tester")
        policy = policies.register(ws, policies.load("promotion"))
        decide(ws, policy, story.release, scope=Scope(slots=(st.SLOT,)), now_ns=st.NOW + 10 * st.HOUR)

    def ws_to_waive(self, ws: Workspace) -> None:
        wv.hall_of(ws)

    def ws_two_ledgers(self, ws: Workspace) -> None:
        with Workspace.init(ws.root.parent / f"{ws.root.name}-other", person="olga") as other:
            other.record("release.registered", body={"release": "a" * 64}, outputs=[Ref("release", "a" * 64, "far")])
            root = other.ledger.keyring().root()
            assert root is not None
            ws.trust_ledger(other.id, root=root)
            ws.ledger.import_events(other.ledger.events())
        st.promote(ws, fakes, model=False)


# ---- the corpus -----------------------------------------------------------------------------------------------------

GOOD = ("promoted", "plain", "rejected", "violations", "held", "untried", "admitted", "not-admitted", "simulated")
GOOD += ("field", "two-ledgers")
BUNDLES = (
    "promoted",
    "promoted claims",
    "plain persons",
    "plain serials",
    "plain sites",
    "plain words",
    "plain witness",
)
BUNDLES += ("rejected", "held", "admitted", "simulated", "field", "field persons", "field serials", "field words")
BUNDLES += ("two-ledgers", "two-ledgers persons", "untried")


ONCE_DISAGREED = frozenset(
    {"bundle/withdrawn: nothing 0", "bundle/another-release-runs-on-its-other-arm: nothing 0"}
    | {"bundle/another-release-runs-on-its-other-arm words: nothing 0"}
    | {"bundle/its-key-was-revoked: key.revoked redacted 0"}
    | {f"ws/to-waive: waived {what} 0" for what in (
        "under a policy that lets violations be waived", "under a policy that asks for nobody",
        "a decision without hardware", "a decision that needs true persons",
        "a decision that needs a text of approvals",
    )}
)  # fmt: skip
"""Cases that one of the two once took otherwise; they are always run."""


class _Corpus:
    """Cases in an order that is always the same."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def add(self, template: str, change: Change, *, good: bool = False, times: int = 1) -> None:
        name = f"{template}: {change.__name__.replace('_', ' ')}"
        taken = sum(case.name.startswith(f"{name} ") for case in self.cases)
        self.cases += [Case(f"{name} {seed}", template, change, good) for seed in range(taken, taken + times)]


def cases() -> list[Case]:
    """Every case."""
    out = _Corpus()
    _good(out)
    _edited_files(out)
    _signed_by_somebody(out)
    _bundles(out)
    _bundles_by_their_maker(out)
    _waivers(out)
    return out.cases


def _good(out: _Corpus) -> None:
    for name in GOOD:
        out.add(f"ws/{name}", ws.nothing, good=True)
    for name in BUNDLES:
        out.add(f"bundle/{name}", ws.nothing, good=True)
    for name in ("plain", "field"):
        for change in (ws.told_the_head, ws.erased_and_gone, ws.a_second_trial_later):
            out.add(f"ws/{name}", change, good=True)
    out.add("ws/plain", ws.a_good_approval, good=True, times=3)


def _edited_files(out: _Corpus) -> None:
    for change, times in (
        (ws.flip_payload, 6), (ws.flip_decision_event, 3), (ws.flip_payload_and_digest, 3), (ws.flip_signature, 3),
        (ws.flip_hash, 3), (ws.file_under_another_kind, 3), (ws.file_elsewhere, 2), (ws.delete_one, 3),
        (ws.swap_two, 2), (ws.cut_the_tail, 2), (ws.another_head, 2), (ws.lose_an_object, 5), (ws.flip_an_object, 6),
        (ws.relabel_a_failure, 2),
    ):  # fmt: skip
        out.add("ws/plain", change, times=times)
    for change in (ws.flip_payload, ws.delete_one, ws.flip_an_object, ws.lose_an_object):
        out.add("ws/promoted", change)
        out.add("ws/two-ledgers", change)
    for schema in ("gap", "training", "decision", "gate-policy"):
        out.add("ws/promoted", ws._flip_schema(f"worldgate/{schema}/"), times=2)
    for schema in ("release", "trials", "scenario", "trial", "plan", "suite"):
        out.add("ws/plain", ws._flip_schema(f"worldgate/{schema}/"))


def _signed_by_somebody(out: _Corpus) -> None:
    for change in (ws.signed_by_a_stranger, ws.signed_after_revocation, ws.key_added_by_the_program):
        out.add("ws/plain", change)
    for change in (ws.erased_by_the_program, ws.erased_and_still_here, ws.laxer_policy, ws.envelope_by_another_key):
        out.add("ws/plain", change)
    out.add("ws/plain", ws.signed_nonsense, times=3)
    for name in ("plain", "promoted", "two-ledgers"):
        out.add(f"ws/{name}", ws.swapped_decision)
        out.add(f"ws/{name}", ws.envelope_of_another_type, times=2)
    for name, forgery in ws.FORGERIES.items():
        out.add("ws/held" if "flipped" in name else "ws/plain", ws._forge(forgery, name))
        if name != "a number in another form":
            out.add("ws/admitted", ws._forge(forgery, name))
    for name, forgery in ws.PROMOTIONS.items():
        out.add("ws/promoted" if "admissions" in name else "ws/plain", ws._forge(forgery, name))
    for change in ws.APPROVALS:
        out.add("ws/plain", change)
    out.add("ws/plain", ws.approved_again)
    out.add("ws/rejected", ws.approval_of_a_rejection)


def _bundles(out: _Corpus) -> None:
    for name in ("plain", "field persons"):
        for change in (b.flip_a_file, b.flip_the_manifest, b.flip_the_readme, b.add_a_file, b.lose_a_file):
            out.add(f"bundle/{name}", change)
        for change in (b.lose_a_line, b.swap_lines, b.cut_lines, b.cut_lines_and_head, b.junk_line, b.loose_line):
            out.add(f"bundle/{name}", change)
        for change in (b.signed_by_me, b.signed_as_a_decision):
            out.add(f"bundle/{name}", change)
    out.add("bundle/plain", b.flip_a_file, times=4)
    out.add("bundle/plain", ws.flip_an_object, times=3)
    out.add("bundle/plain", b.lose_a_document, times=2)
    for change in (b.a_key_of_mine, b.a_key_misnamed, b.a_key_too_many):
        out.add("bundle/plain persons", change)


def _bundles_by_their_maker(out: _Corpus) -> None:
    """What a maker may withhold, and what shows that too much was."""
    out.add("bundle/plain", b.withhold_a_document)
    out.add("bundle/field", b.show_something_else, times=2)
    out.add("bundle/field", b.another_kind_said, good=True)
    out.add("bundle/plain", b.redact_a_document, good=True)
    out.add("bundle/plain persons", b.an_idle_key_of_mine, good=True)
    for kind, why, name, good in (
        ("trial.run", "not part of this story", "a trial hidden", False),
        ("trial.run", "redacted: words", "a trial redacted", True),
        ("gate.decided", "not part of this story", "the decision hidden", True),
        ("key.added", "redacted: persons", "a key hidden", False),
        ("gate.approved", "redacted: persons", "an approval hidden", True),
    ):
        out.add("bundle/plain", b._hide(kind, why, name), good=good)
    for change in b.MANIFESTS:
        out.add("bundle/plain", change)


def _waivers(out: _Corpus) -> None:
    """What waivers did at the end of each life, what is claimed that they did, and what is forged of them."""
    for life in wv.LIVES:
        out.add(f"ws/{life}", ws.nothing, good=True)
        out.add(f"bundle/{life}", ws.nothing, good=True)
        if life not in wv.IN_FORCE:
            out.add(f"ws/{life}", wv.claimed)
    for name, forgery in wv.ABOUT_DECISIONS.items():
        out.add("ws/by-two-persons", ws._forge(forgery, name))
    for change in (*wv.TERMS, wv.NEVER, *wv.EDITED_LIBRARY, *wv.DECISIONS):
        out.add("ws/to-waive", change)
    out.add("bundle/another-release-runs-on-its-other-arm words", ws.nothing, good=True)
    out.add("ws/to-waive", wv.an_approval_presented_as_a_waiver)
    for change in wv.SIGNED_AGAIN:
        out.add("ws/by-one-of-two-persons", change)
    out.add("ws/withdrawn", wv.waived_again_after_it_was_withdrawn)
    for change in wv.EDITED:
        out.add("ws/its-time-is-over", change)
    for template in ("ws/by-two-persons", "bundle/by-two-persons"):
        out.add(template, wv.the_waiver_s_file_edited)
    for life, kind in (
        ("withdrawn", "gate.withdrawn"), ("its-hours-are-used-up", "exposure.recorded"),
        ("what-ran-is-not-known", "deployment.desired"), ("its-key-was-revoked", "key.revoked"),
    ):  # fmt: skip
        for why, name, good in (("not part of this story", "hidden", False), ("redacted: words", "redacted", True)):
            out.add(f"bundle/{life}", b._hide(kind, why, f"{kind} {name}"), good=good)
    for why, name, good in (("not part of this story", "hidden", False), ("redacted: words", "redacted", True)):
        out.add("bundle/by-two-persons", b._hide("gate.waived", why, f"gate.waived {name}"), good=good)

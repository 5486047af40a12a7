"""The README of an evidence bundle: what is shown, what is not shown, and how to check it, from the facts alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from worldgate.core.evidence import Status
from worldgate.core.times import format_ns
from worldgate.evidence.claim_queries import Standing
from worldgate.evidence.claim_status import Assessment, headline
from worldgate.fleet import bundle_tables
from worldgate.fleet.bundle_tables import Facts
from worldgate.record.bundles import GATES_READ, REDACTED

_RATES = ("0.1", "0.01", "0.001")
"""Faults an hour whose chance of being seen is told."""


def not_shown(
    told: Facts,
    cases: Sequence[Assessment],
    why: Mapping[int, str],
    withheld: Mapping[str, str],
    redacted: Sequence[str],
) -> list[str]:
    """What this bundle does not show, one sentence each."""
    return [
        *_general(told),
        *_decision(told),
        *_trials(told),
        *_operation(told),
        *_cases(cases),
        *_left_out(why, withheld, redacted),
    ]


def _general(told: Facts) -> list[str]:
    out = [
        "It is no safety certificate and claims conformity with no standard.",
        "What was never recorded is not here: trials, recordings and incidents that nobody put on the record.",
    ]
    if told.witness is None:
        out.append(
            "Unwitnessed: no head of the ledger that somebody else kept was given. The chain is self-issued; that its "
            "end was not cut off, or the whole written anew with its owner's keys, cannot be seen from it."
        )
    else:
        out.append(
            f"The head at record {told.witness.seq} is said to have been kept by somebody else. Ask its keeper: "
            f"{told.witness.seq}:{told.witness.hash}."
        )
    if told.payload["population"] != "real":
        out.append(f"Not real: {told.payload['population']}. This says nothing about real arms.")
    return out


def _decision(told: Facts) -> list[str]:
    payload = told.payload
    out = [f"The decision notes: {note}." for note in payload["notes"]]
    for check in payload["checks"]:
        if check["status"] != Status.PASS:
            about = f"{check['check']} {check['signal']}".rstrip()
            out.append(f"Check {about} is {check['status']}: {check['detail'] or check['statistic']}.")
    for event in told.waivers:
        ends = format_ns(event.valid_to_ns) if event.valid_to_ns else "an end it does not name"
        named = event.body.get("check") or "a check"
        out.append(f"Waived by a signature, not shown by evidence: {named}, until {ends} (record {event.seq}).")
    if not payload["not_before_ns"] <= told.now_ns < payload["expires_ns"]:
        span = f"{format_ns(payload['not_before_ns'])} to {format_ns(payload['expires_ns'])}"
        out.append(f"The decision is not in force when this bundle is made; it holds from {span}.")
    needed = int(payload["approvals_needed"])
    persons = {str(e.body["person"]) for e in told.approvals if e.body["expires_ns"] > told.now_ns}
    if len(persons) < needed:
        out.append(f"Approved by {len(persons)} of {needed} persons: the decision alone allows nothing.")
    return out


def _trials(told: Facts) -> list[str]:
    out = []
    origins = Counter(str(run["executor"]) for run in told.trials)
    if told.payload["gate"] == "promotion" and not told.trials:
        out.append("No trial of this release is on the record.")
    for origin in ("simulated", "imagined"):
        if origins[origin]:
            out.append(f"{origins[origin]} of {len(told.trials)} trials are {origin}.")
    if told.replayed:
        out.append(f"{told.replayed} recordings were replayed open loop; that cannot show closed-loop success.")
    out += [f"{limit[:1].upper()}{limit[1:]}." for limit in told.limits]
    excluded = sum(bool(run["excluded"]) for run in told.trials)
    if excluded:
        out.append(f"{excluded} trials were excluded; they count as failures in every bound.")
    later = sum(not run["seen"] for run in told.trials)
    if later:
        out.append(f"{later} trials were recorded after the decision, which does not know them.")
    if told.trials:
        scenes = len({run["scenario"] for run in told.trials})
        out.append(f"The trials cover {scenes} scenes; nothing is shown about situations outside them.")
    return out


def _operation(told: Facts) -> list[str]:
    if not told.slots:
        return []
    out = []
    for origin in ("real", "simulated"):
        seen = [e for (_, of), e in told.exposure.items() if of == origin]
        total = float(bundle_tables.hours(seen))
        if seen:
            chances = ", ".join(f"{rate} per h with {-100 * math.expm1(-float(rate) * total):.2g} %" for rate in _RATES)
            out.append(
                f"{total:.4g} {origin} hours of operation were observed. That would have shown a fault of {chances}; "
                "a rarer one hides."
            )
    if not any(of == "real" for _, of in told.exposure):
        out.append("No hour of real operation of this release on these arms was observed.")
    left = [e for e in told.incidents if str(e.body["incident"]) not in told.closed]
    if left:
        out.append(f"{len(left)} incidents on these arms are still open.")
    unsure = sum(row[4] != "CERTAIN" for row in told.timeline)
    if unsure:
        out.append(f"{unsure} spans of the timeline are ambiguous, and between its spans nothing is known.")
    return out


def _cases(cases: Sequence[Assessment]) -> list[str]:
    out = [] if cases else ["No safety case was asked: the claims that rest on this decision are not here."]
    for case in cases:
        weak = [c for c in case.claims.values() if c.standing not in (None, Standing.FRESH)]
        out += [f"Claim {c.element.id}, {c.element.text}, is {c.standing}: {c.reason}." for c in weak]
    return out


def _left_out(why: Mapping[int, str], withheld: Mapping[str, str], redacted: Sequence[str]) -> list[str]:
    reasons, documents = Counter(why.values()), Counter(withheld.values())
    out = [f"{_count(n, 'record')} withheld: {reason}." for reason, n in sorted(reasons.items())]
    out += [f"{_count(n, 'object')} withheld: {reason}." for reason, n in sorted(documents.items())]
    if why:
        kinds = ", ".join(sorted(GATES_READ))
        out.append(
            "What a withheld record says, its kind included, is the maker's signed word. Whether one of them bears on "
            f"this decision (decisions rest on {kinds}) cannot be checked from this bundle alone."
        )
    if "persons" in redacted:
        out.append("Who the keys belong to is the maker's word: the records that add them are withheld.")
    if any(reason.startswith(REDACTED) for reason in (*why.values(), *withheld.values())):
        out.append("A redacted copy proves nothing; only the original matches its digest.")
    return out


def _count(number: int, word: str) -> str:
    return f"{number} {word} is" if number == 1 else f"{number} {word}s are"


def text(told: Facts, cases: Sequence[Assessment], missing: Sequence[str]) -> str:
    """The whole README, Markdown."""
    payload, scope = told.payload, told.payload["scope"]
    where = ", ".join(scope["slots"] or scope["sites"])
    named = f"{told.subject_name} ({told.subject[:12]})" if told.subject_name else told.subject[:12]
    lines = [
        f"# Evidence bundle: {payload['verdict']}, {payload['gate']} of {named}",
        "",
        f"Made {format_ns(told.now_ns)} from ledger records 1 to {told.head.seq}. Everything here was written by a "
        "program from signed records; this page is for reading, the records are what counts.",
        "",
        "## What is shown",
        "",
        f"- **Decision** `{told.decision}` (record {told.seq}), by the policy {payload['policy']['name']}: "
        f"**{payload['verdict']}** for {where}, from {format_ns(payload['not_before_ns'])} until "
        f"{format_ns(payload['expires_ns'])}. Population: {payload['population']}.",
        *(_check_line(check) for check in payload["checks"]),
        f"- **Trials**: {len(told.trials)} on the record (`trials.csv`).",
        f"- **Approvals**: {len(told.approvals)} (`approvals.csv`). **Waivers**: {len(told.waivers)} (`waivers.csv`).",
        f"- **What ran where**: {len(told.timeline)} spans on three planes that are never merged (`timeline.csv`).",
        *_exposure_lines(told),
        f"- **Incidents** on these arms: {len(told.incidents)} (`incidents.csv`).",
        *(f"- **Claims**: {case.tree.title}: {headline(case)} (`claims.json`, `claims.svg`)." for case in cases),
        "- **Ledger**: the whole chain of links up to the head, in `ledger.jsonl`; documents by digest in `objects/`.",
        "",
        "## What is not shown",
        "",
        *(f"- {line}" for line in missing),
        "",
        "Every withheld record and document stands in `redactions.csv`.",
        "",
        "## How to check it",
        "",
        "`python verify.py FOLDER` with the single file `tools/verify.py` of Worldgate, which needs Python and the "
        "package cryptography, no network and nothing else of ours; or `worldgate record verify FOLDER`. Both check "
        "every link, signature, document and file, and compute the decision again. Give `--head SEQ:HASH` if you were "
        "given a head, and `--root KEYID` to verify.py if its owner told you their key.",
        "",
        "A file without a signature over it is worth nothing: this page, the tables and the pictures are named, with "
        "their digests, in `bundle.json`, which is signed in `bundle.dsse.json`.",
        "",
    ]
    return "\n".join(lines)


def _check_line(check: Mapping[str, str]) -> str:
    about = f"{check['check']} {check['signal']}".rstrip()
    bound = f"bound {check['bound']}" if check["bound"] else "no bound"
    return f"    - {about}: {check['status']}, {bound}, required {check['required'] or 'nothing'}, from {check['n']}"


def _exposure_lines(told: Facts) -> list[str]:
    return [
        f"- **Exposure** on {slot}, {origin}: {float(seen.hours):.4g} h in {len(seen.recordings)} recordings, "
        f"{len(seen.incidents)} incidents, at most {bundle_tables.bound(seen) or 'unknown'} per h (95 %)."
        for (slot, origin), seen in told.exposure.items()
    ]

#!/usr/bin/env python3
"""The outsider's verifier: checks a Worldgate workspace, or an evidence bundle cut from one, without Worldgate.

One file, the standard library and ``cryptography``. It shares no line with the library on purpose: two programs written
apart that agree are evidence. It checks

- the chain: every sequence, link and payload digest, and that each payload is the canonical JSON (RFC 8785) it claims;
- every DSSE signature (Ed25519), by a key that was good at that place of its ledger;
- every object that an event promised, the files of trees included;
- every gate decision: trials, incidents, admissions and waivers gathered again from the ledger, each bound computed
  again (binomial and sequential ones in rational arithmetic, bootstrap ones within 1e-9), and the verdict;
- every approval and waiver: signed by persons who count, within its decision, under a nonce of its own, after it was
  decided and on this chain.

Of a bundle it checks every file against the signed manifest as well; what is withheld has its place in the chain, is
counted in the last line, and nothing it may have said is believed.

Not recomputed: the words beside the figures (``statistic``, ``estimate``, ``required``, ``detail``, ``notes``,
``missing``), which are for people. The library writes them again and demands the same bytes.

Usage: ``python verify.py FOLDER [--root KEYID] [--head SEQ:HASH] [--witness FILE]``. Prints one line for each thing
that does not hold, naming the record; exits 0 if all holds, 1 if not, 2 if it cannot be read. Without a head that
somebody else kept or signed, neither a cut tail nor a ledger re-issued with its owner's keys can show; the last line
says so.
"""

from __future__ import annotations

import argparse
import base64
import fnmatch
import functools
import hashlib
import json
import math
import re
import sqlite3
import statistics
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EVENT = "application/vnd.worldgate.event.v1+json"
STATEMENT = "urn:worldgate:{}:v1"
IN_TOTO = "application/vnd.in-toto+json"
BEFORE = b'{"_type":"https://in-toto.io/Statement/v1","predicate":'
SCHEMA = 1
PERSONS_ONLY = {"key.added", "key.revoked", "ledger.trusted", "object.erased", "log.hold_lifted", "gate.withdrawn"}
FIELDS = {"actor", "body", "clock", "inputs", "kind", "ledger", "name", "objects", "outputs"} | {
    "recorded_at_ns", "valid_err_ns", "valid_from_ns", "valid_to_ns"
}  # fmt: skip
SAFE = 2**53 - 1
DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)
DAY_NS = 86_400_000_000_000


class Unreadable(Exception):
    """Something that does not even have the form it claims."""


# ---- canonical JSON (RFC 8785) --------------------------------------------------------------------------------------


def number(value: float) -> str:
    """A float as ECMAScript writes it: shortest digits, exponent outside 1e-7 to 1e21."""
    if not math.isfinite(value):
        raise Unreadable("a number without a JSON form")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if 0 < point <= 21:
        out = text.ljust(point, "0") if len(text) <= point else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        out = "0." + "0" * -point + text
    else:
        rest = f".{text[1:]}" if len(text) > 1 else ""
        out = f"{text[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return "-" * sign + out


ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """Text as a JSON string; only what must be escaped is."""
    return '"' + re.sub(r'[\x00-\x1f"\\]', lambda m: ESCAPES.get(m[0], f"\\u{ord(m[0]):04x}"), text) + '"'


def canonical(value: Any) -> str:
    """Canonical JSON text of plain JSON."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        if abs(value) > SAFE:
            raise Unreadable("an integer beyond 2^53")
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(f"{quoted(key)}:{canonical(value[key])}" for key in keys) + "}"


def parse(data: bytes) -> Any:
    """Read JSON, refusing what is not canonical."""
    try:
        tree = json.loads(data, parse_int=lambda t: int(t) if abs(int(t)) <= SAFE else float(t))
        same = canonical(tree).encode() == data and not loose_times(tree)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from error
    if not same:
        raise Unreadable("not canonical JSON")
    return tree


def loose_times(value: Any, key: str = "") -> bool:
    """Whether a time stands as a number: under a key that ends in _ns there are decimal strings."""
    if isinstance(value, dict):
        return any(loose_times(item, name) for name, item in value.items())
    if isinstance(value, list):
        return any(loose_times(item, key) for item in value)
    return key.endswith("_ns") and isinstance(value, int | float) and not isinstance(value, bool)


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def good_signature(public: bytes, kind: str, payload: bytes, signature: bytes) -> bool:
    """Whether a DSSE v1 signature holds."""
    head = f"DSSEv1 {len(kind.encode())} {kind} {len(payload)} ".encode()
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, head + payload)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- the record -----------------------------------------------------------------------------------------------------


class Record:
    """One row of the ledger."""

    def __init__(self, row: Any) -> None:
        self.seq, self.digest, self.hash, self.ledger, self.origin_seq, self.kind, self.payload, self.signature = row
        self.tree: dict[str, Any] = {}

    @property
    def body(self) -> dict[str, Any]:
        """What the event says."""
        return self.tree["body"]


class Key:
    """A key's time on its own ledger."""

    def __init__(self, body: dict[str, Any], added: int) -> None:
        self.public, self.owner, self.role = bytes.fromhex(body["public"]), body["owner"], body["role"]
        self.added, self.revoked = added, math.inf
        self.known, self.gone = math.inf, math.inf  # where this ledger heard of it and of its revocation
        if body["scheme"] != "ed25519" or sha256(self.public) != body["keyid"]:
            raise KeyError("a key id that does not name its key")


class Workspace:
    """A workspace being verified."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[tuple[int, str]] = []
        self.records: list[Record] = []
        self.keys: dict[tuple[str, str], Key] = {}
        self.seen: set[str] = set()
        self.hashes: dict[int, str] = {}
        self.decided = 0
        self.id, self.rows = self.load()

    def load(self) -> tuple[str, list[Record]]:
        """Id of the ledger and its rows."""
        meta, rows = read_ledger(self.root / "ledger.db")
        if int(meta["schema"]) > SCHEMA:
            raise Unreadable(f"schema {meta['schema']} is newer than this verifier, which knows {SCHEMA}")
        return meta["ledger"], [Record(row) for row in rows]

    def withheld(self, digest: str) -> bool:
        """Whether an object is not here and need not be."""
        return False

    def wanted(self, r: Record) -> bool:
        """Whether a decision or approval is looked at."""
        return True

    def counts(self) -> list[str]:
        """What was looked at, the last lines but one."""
        told = f"{len(self.rows)} records, {len(self.seen)} objects, {self.decided} decisions, approvals and waivers"
        return [f"{told}: {len(self.problems)} problems"]

    def wrong(self, record: Record | None, what: str) -> None:
        """Note something that does not hold."""
        where = f"record {record.seq} {record.digest[:12]}" if record else "ledger"
        self.problems.append((record.seq if record else 0, f"{where}: {what}"))

    def chain(self) -> None:
        """Sequences and links."""
        seq, prev, places = 0, "0" * 64, set()
        for r in self.rows:
            if r.seq != seq + 1:
                self.wrong(r, f"records {seq + 1} to {r.seq - 1} are missing")
            link = {"event": r.digest, "origin_seq": r.origin_seq, "prev": prev, "seq": r.seq}
            if sha256(canonical(link).encode()) != r.hash:
                self.wrong(r, "does not follow from the record before it")
            if (r.ledger, r.origin_seq) in places:
                self.wrong(r, "claims a place that another record has")
            places.add((r.ledger, r.origin_seq))
            seq, prev = r.seq, r.hash
            self.hashes[seq] = prev
            self.read(r)

    def seen_by(self, heads: list[str]) -> None:
        """Heads that somebody else kept or signed."""
        for head in heads:
            if head not in {f"{s}:{h}" for s, h in self.hashes.items()}:
                self.wrong(None, f"the head that was kept, {head[:24]}, is not in the chain")

    def read(self, r: Record) -> None:
        """A record's payload: its digest, its canonical form, its fields."""
        if sha256(r.payload) != r.digest:
            self.wrong(r, "payload does not match its digest")
            return
        try:
            r.tree = parse(r.payload)
            if not isinstance(r.tree, dict) or set(r.tree) != FIELDS or not well_typed(r.tree):
                raise Unreadable("not the fields of an event")
        except Unreadable as error:
            self.wrong(r, str(error))
            return
        if (r.tree["kind"], r.tree["ledger"]) != (r.kind, r.ledger):
            self.wrong(r, "is filed under another kind or ledger")
            r.kind, r.ledger = r.tree["kind"], r.tree["ledger"]  # what was signed counts
        elif r.ledger == self.id and r.origin_seq != r.seq:
            self.wrong(r, "is this ledger's own but claims another place")
        self.records.append(r)

    def learn_keys(self, root: str | None) -> None:
        """Replay key events: home first, because it says which other ledgers are trusted."""
        events = [r for r in self.records if r.kind in ("key.added", "key.revoked", "ledger.trusted")]
        trusted: dict[str, str] = {}
        for r in sorted(events, key=lambda r: (r.ledger != self.id, r.ledger, r.origin_seq)):
            body, actor = r.body, r.tree["actor"]
            try:
                first = r.kind == "key.added" and r.origin_seq == 1 and actor == body["keyid"]
                if first and r.ledger != self.id and trusted.get(r.ledger) != actor:
                    continue
                if not (first and body["role"] == "person") and self.refusal(r):
                    continue
                if r.kind == "key.added":
                    key = self.keys.setdefault((r.ledger, body["keyid"]), Key(body, r.origin_seq))
                    key.known = min(key.known, r.seq)
                elif r.kind == "key.revoked":
                    key = self.keys[r.ledger, body["keyid"]]
                    key.revoked, key.gone = min(key.revoked, r.origin_seq), min(key.gone, r.seq)
                elif r.ledger == self.id:
                    trusted.setdefault(body["ledger"], body["root"])
            except (KeyError, ValueError, TypeError):
                continue
        roots = [keyid for (ledger, keyid), key in self.keys.items() if ledger == self.id and key.added == 1]
        if not roots or (root is not None and roots != [root]):
            self.wrong(None, "has no root of trust, or another than --root")

    def refusal(self, r: Record) -> str:
        """Why a record's key may not have signed it, or nothing."""
        key = self.keys.get((r.ledger, r.tree["actor"]))
        if key is None or r.origin_seq < key.added:
            return "signed by a key that the ledger does not know"
        if r.origin_seq > key.revoked:
            return "signed by a key that was revoked before"
        if r.kind in PERSONS_ONLY and key.role != "person":
            return "only a person may do this"
        root = next((k for (ledger, _), k in self.keys.items() if ledger == r.ledger and k.added == 1), None)
        if r.kind == "key.added" and r.tree["actor"] != r.body.get("keyid"):
            own = key.owner == r.body.get("owner")
            if not own and (root is None or key.owner != root.owner):
                return "only its owner or the person of the root adds a key in somebody's name"
        return ""

    def good(self, r: Record, upto: int) -> Key | None:
        """The key behind a record, if as the ledger stood no ledger had revoked it."""
        key, keyid = self.keys.get((r.ledger, r.tree["actor"])), r.tree["actor"]
        revoked = any(k.gone <= upto for (_, other), k in self.keys.items() if other == keyid)
        return None if key is None or key.known > upto or revoked else key

    def owner(self, r: Record) -> str | None:
        """The person behind a record."""
        key = self.keys.get((r.ledger, r.tree["actor"]))
        return key.owner if key else None

    def past(self, upto: int, *kinds: str) -> list[Record]:
        """Records of these kinds up to a sequence."""
        return [r for r in self.records if r.kind in kinds and r.seq <= upto]

    def signatures(self) -> None:
        """Every signature, by a key that was good there."""
        for r in self.records:
            refused = self.refusal(r)
            if not refused:
                public = self.keys[r.ledger, r.tree["actor"]].public
                refused = "" if good_signature(public, EVENT, r.payload, r.signature) else "a signature does not hold"
            if refused:
                self.wrong(r, refused)

    def object(self, digest: str) -> bytes:
        """The bytes of a digest, checked."""
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise Unreadable(f"not a digest: {digest!r:.40}")
        path = self.root / "objects" / digest[:2] / digest[2:]
        if not path.is_file():
            raise Unreadable(f"object {digest[:12]} is missing")
        data = path.read_bytes()
        if sha256(data) != digest:
            raise Unreadable(f"object {digest[:12]} holds other bytes")
        return data

    def json(self, digest: str) -> Any:
        """The JSON of a digest, checked."""
        return parse(self.object(digest))

    def objects(self) -> None:
        """Every object that an event promised, and the files of trees; what a person erased must be gone."""
        gone = [r.body.get("erased") for r in self.records if r.kind == "object.erased"]
        erased = {digest for names in gone if isinstance(names, list) for digest in names if isinstance(digest, str)}
        for r in self.records:
            waiting = list(r.tree["objects"])
            while waiting:
                digest = waiting.pop()
                if digest in self.seen:
                    continue
                self.seen.add(digest)
                if self.withheld(digest):
                    continue
                if digest in erased:
                    if (self.root / "objects" / digest[:2] / digest[2:]).exists():
                        self.wrong(r, f"object {digest[:12]} was erased and is still here")
                    continue
                try:
                    data = self.object(digest)
                    if data.startswith(b'{"files":{') and data.endswith(b'"type":"worldgate.tree.v1"}'):
                        waiting += parse(data)["files"].values()
                except (Unreadable, KeyError, AttributeError) as error:
                    self.wrong(r, str(error))

    def decisions(self) -> None:
        """Every decision, approval and waiver."""
        for r in self.records:
            if r.kind not in CLAIMS or not self.wanted(r):
                continue
            self.decided += 1
            try:
                for what in self.claim(r):
                    self.wrong(r, what)
            except Unreadable as error:
                self.wrong(r, f"cannot be recomputed: {error}")
            except (KeyError, ValueError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
                self.wrong(r, f"cannot be recomputed: {type(error).__name__} {error}")

    def claim(self, r: Record) -> list[str]:
        """What is wrong with a decision, approval or waiver; with another ledger's decision, what is seen from here."""
        if r.kind != "gate.decided":
            return CLAIMS[r.kind](self, r)
        return Gate(self, r).problems() if r.ledger == self.id else imported(self, r)


def well_typed(tree: dict[str, Any]) -> bool:
    """Whether an event's fields are of the types they should be: an authorised key may sign nonsense."""

    def ref(item: Any) -> bool:
        named = isinstance(item, dict) and set(item) == {"digest", "kind", "name"}
        return named and bool(DIGEST.fullmatch(str(item["digest"]))) and isinstance(item["kind"], str)

    def time(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch("0|-?[1-9][0-9]*", value) is not None

    lists = all(isinstance(tree[key], list) for key in ("inputs", "outputs", "objects"))
    return (
        lists
        and all(map(ref, [*tree["inputs"], *tree["outputs"]]))
        and all(isinstance(item, str) and DIGEST.fullmatch(item) for item in tree["objects"])
        and all(isinstance(tree[key], str) for key in ("actor", "clock", "kind", "ledger", "name"))
        and all(time(tree[key]) for key in ("recorded_at_ns", "valid_err_ns"))
        and all(tree[key] is None or time(tree[key]) for key in ("valid_from_ns", "valid_to_ns"))
        and isinstance(tree["body"], dict)
    )


def read_ledger(path: Path) -> tuple[dict[str, str], list[Any]]:
    """Settings and rows of a ledger, read only."""
    if not path.is_file():
        raise Unreadable(f"no ledger at {path}")
    columns = "seq, digest, hash, ledger, origin_seq, kind, payload, signature"
    for mode in ("mode=ro", "immutable=1"):  # the second where the folder itself may not be written
        try:
            db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
            try:
                meta = dict(db.execute("SELECT key, value FROM meta"))
                return meta, list(db.execute(f"SELECT {columns} FROM events ORDER BY seq"))
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            problem = error
    raise Unreadable(f"not a ledger: {problem}")


# ---- exact arithmetic -----------------------------------------------------------------------------------------------

PRECISE = Context(prec=60)


def to_12(value: Fraction, up: bool) -> Decimal:
    """Twelve significant digits, rounded outward."""
    return Context(prec=12, rounding=ROUND_CEILING if up else ROUND_FLOOR).divide(
        Decimal(value.numerator), Decimal(value.denominator)
    )


def unit(value: Decimal) -> Decimal:
    """One in the last of twelve digits."""
    return Decimal((0, (1,), (value.adjusted() if value else 0) - 11))


def plain(value: Decimal) -> str:
    """Positional notation without trailing zeros."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def largest(holds: Any) -> str:
    """The largest twelve-digit decimal in [0, 1] with a property that is lost as p grows."""
    low, high = Fraction(0), Fraction(1)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    at = to_12(low, up=False)
    while at < 1 and holds(Fraction(at + unit(at))):
        at += unit(at)
    while at > 0 and not holds(Fraction(at)):
        at -= unit(at)
    return plain(at)


def binomial(n: int, p: Fraction, counts: range) -> Fraction:
    """P(X in counts) for X ~ Binomial(n, p), exactly."""
    a, d = p.numerator, p.denominator
    return Fraction(sum(math.comb(n, j) * a**j * (d - a) ** (n - j) for j in counts), d**n)


def binomial_lower(k: int, n: int, alpha: Fraction) -> str:
    """Clopper and Pearson's lower bound of k of n."""
    return "0" if k == 0 else largest(lambda p: binomial(n, p, range(k, n + 1)) <= alpha)


def shown_below(k: int, n: int, limit: Fraction, alpha: Fraction) -> bool:
    """Whether the exact upper bound of k of n lies below a limit: already at the next decimal under it."""
    at = to_12(limit, up=False)
    return k < n and binomial(n, Fraction(at - unit(at)) if at == limit else Fraction(at), range(k + 1)) <= alpha


def crossings(looks: list[int], boundaries: list[int | None], p: Fraction) -> list[Fraction]:
    """Probability of first reaching each boundary, exactly."""
    a, d = p.numerator, p.denominator
    weights: list[int] = [1]
    out: list[Fraction] = []
    for look, boundary in zip(looks, boundaries, strict=True):
        while len(weights) <= look:
            weights = [x * (d - a) + y * a for x, y in zip([*weights, 0], [0, *weights], strict=True)]
        start = len(weights) if boundary is None else boundary
        out.append(Fraction(sum(weights[start:]), d**look))
        weights[start:] = [0] * (len(weights) - start)
    return out


@functools.lru_cache
def spending(p0: Fraction, alpha: Fraction, looks: tuple[int, ...]) -> list[int | None]:
    """Boundaries of the alpha-spending test: at each look the fewest successes whose crossing stays in budget."""
    found: list[int | None] = []
    for index, look in enumerate(looks):
        budget, kept = alpha * look / looks[-1], None
        for boundary in range(look, -1, -1):
            if sum(crossings(list(looks[: index + 1]), [*found, boundary], p0)) > budget:
                break
            kept = boundary
        found.append(kept)
    return found


def follow(p0: Fraction, alpha: Fraction, looks: tuple[int, ...], outcomes: list[bool]) -> tuple[str, int, int, int]:
    """(step, trials, successes, index of the deciding look)."""
    boundaries, done = spending(p0, alpha, looks), len(outcomes)
    for index, (look, boundary) in enumerate(zip(looks, boundaries, strict=True)):
        if look <= done and boundary is not None and sum(outcomes[:look]) >= boundary:
            return "crossed", look, sum(outcomes[:look]), index
    if done >= looks[-1]:
        return "exhausted", looks[-1], sum(outcomes[: looks[-1]]), -1
    wins, pairs = sum(outcomes), zip(looks, boundaries, strict=True)
    reachable = any(b is not None and n > done and wins + n - done >= b for n, b in pairs)
    if not reachable or (done and shown_below(wins, done, p0, Fraction(1, 20))):
        return "futile", done, wins, -1
    return "continue", done, wins, -1


def stagewise(p0: Fraction, alpha: Fraction, looks: tuple[int, ...], index: int, successes: int) -> str:
    """Lower bound of p after a crossing, by stage-wise ordering."""
    here = [*spending(p0, alpha, looks)[:index], successes]
    return largest(lambda p: sum(crossings(list(looks[: index + 1]), here, p)) <= alpha)


def divergence(n: int, mean: Fraction, p: Fraction) -> Decimal:
    """Scaled by n, the Kullback-Leibler divergence of Bernoulli(mean) from Bernoulli(p)."""

    def part(a: Fraction, b: Fraction) -> Decimal:
        q = a / b
        log = PRECISE.ln(PRECISE.divide(Decimal(q.numerator), Decimal(q.denominator)))
        return PRECISE.multiply(PRECISE.divide(Decimal(a.numerator), Decimal(a.denominator)), log)

    return PRECISE.multiply(Decimal(n), PRECISE.add(part(mean, p), part(1 - mean, 1 - p)))


def mean_lower(values: list[Fraction], alpha: Fraction) -> str:
    """Chernoff-Hoeffding lower bound of a mean in [0, 1]."""
    total, n = sum(values, Fraction(0)), len(values)
    if not n or total == 0:
        return "0"
    if total == n:
        return binomial_lower(n, n, alpha)
    needed = PRECISE.ln(PRECISE.divide(Decimal(alpha.denominator), Decimal(alpha.numerator)))
    least = Fraction(1, 10**12)
    if least >= total / n or divergence(n, total / n, least) < needed:
        return "0"  # a bound this small is given as 0
    return largest(lambda p: p <= least or (p < total / n and divergence(n, total / n, p) >= needed))


def wealth(values: list[Fraction], mean: Fraction) -> list[Fraction]:
    """Wealth after each value against "the mean is at most ``mean``": stakes 1/8 to 7/8, each with a seventh of it."""
    stakes, scale, out = [1] * 7, 1, []
    for value in values:
        base = mean.numerator * value.denominator
        gain = value.numerator * mean.denominator - base
        stakes = [old * (8 * base + j * gain) for j, old in enumerate(stakes, 1)]
        scale *= 8 * base
        out.append(Fraction(sum(stakes), scale * 7))
    return out


def crossing(values: list[Fraction], mean: Fraction, alpha: Fraction) -> int | None:
    """After how many values the hypothesis was first refuted."""
    return next((n for n, owned in enumerate(wealth(values, mean), 1) if owned * alpha >= 1), None)


def anytime_lower(values: list[Fraction], alpha: Fraction) -> str:
    """Lower bound of a mean that holds at all times at once: the largest of its prefixes' bounds."""
    at, counts = Decimal(0), dict.fromkeys(values, 0)

    def refuted(mean: Fraction) -> bool:
        if mean == 0 or mean >= 1:
            return mean == 0
        total = [Fraction(1)] * 7
        for value, count in counts.items():
            step = value / mean - 1
            total = [old * (1 + Fraction(j, 8) * step) ** count for j, old in enumerate(total, 1)]
        return sum(total) * alpha >= 7

    for value in values:
        counts[value] += 1
        if at < 1 and refuted(Fraction(at + unit(at))):
            at = max(at, Decimal(largest(refuted)))
    return plain(at)


# ---- the episode bootstrap ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def resamples_of(seed: int, count: int, n: int) -> list[list[int]]:
    """Indices drawn by SplitMix64 as a counter: each resample's episodes."""
    mask, drawn = (1 << 64) - 1, []
    for i in range(1, count * n + 1):
        z = (seed + i * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        drawn.append((((z ^ (z >> 31)) >> 32) * n) >> 32)
    return [drawn[b * n : b * n + n] for b in range(count)]


def student_cdf(t: float, dof: int) -> float:
    """Student's t distribution, whole degrees of freedom."""
    theta, odd = math.atan(t / math.sqrt(dof)), dof % 2
    c = math.cos(theta)
    term, total = (c, 0.0) if odd else (1.0, 0.0)
    for k in range((dof - 1) // 2 if odd else dof // 2):
        total += term
        term *= c * c * ((2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2))
    s = math.sin(theta) * total
    return 0.5 + ((2 / math.pi) * (theta + s) if odd else s) / 2


@functools.lru_cache
def level_for(n: int, alpha: float) -> float:
    """Hesterberg's widened percentile for few episodes."""
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, n - 1) < 1 - alpha else (low, middle)
    return statistics.NormalDist().cdf(-math.sqrt(n / (n - 1)) * low)


def ratio_interval(
    above: list[float], below: list[float], alpha: Fraction, count: int, seed: int
) -> tuple[Decimal, Decimal]:
    """Bounds of sum(above) / sum(below) over resampled episodes, sums in fixed point."""
    n, top = len(above), max([*above, *below])
    shift = 40 - math.frexp(top)[1] if top > 0 else 0
    a, b = ([round(math.ldexp(v, shift)) for v in values] for values in (above, below))
    ratios = []
    for index in resamples_of(seed, count, n):
        summed, divisor = sum(a[i] for i in index), sum(b[i] for i in index)
        ratios.append(summed / max(divisor, 1) if summed or divisor else 1.0)  # nothing over nothing: no difference
    ratios.sort()
    rank = max(0, math.floor(level_for(n, float(alpha)) * count) - 1)
    return to_12(Fraction(ratios[rank]), up=False), to_12(Fraction(ratios[count - 1 - rank]), up=True)


# ---- gates ----------------------------------------------------------------------------------------------------------

Result = tuple[str, str, str, int]
"""(signal, status, bound, n) of one check."""


class Unmeasured(Exception):
    """The report lacks what a bound needs."""


class Gate:
    """One decision, rebuilt from its evidence and the ledger as it stood then."""

    def __init__(self, ws: Workspace, record: Record) -> None:
        self.ws, self.record = ws, record
        self.digest = record.tree["outputs"][0]["digest"]
        self.d = ws.json(self.digest)
        self.policy = policy_of(ws, self.d)
        self.head = self.d["ledger_head"]["seq"]
        self.population = self.policy["population"]
        self.origins = {"real"} if self.population == "real" else {"real", "simulated"}
        self.sites, self.slots = self.d["scope"]["sites"], self.d["scope"]["slots"]
        self.now = int(self.d["decided_at_ns"])
        self.docs = {item["schema"]: ws.json(item["digest"]) for item in self.d["evidence"]}
        frozen = [item["digest"] for item in self.d["evidence"] if item["schema"] == "worldgate.dataset/1"]
        self.datasets = {digest: ws.json(digest) for digest in frozen}
        self.training = self.docs.get("worldgate/training/1")
        self.gap = self.read_gap(self.docs.get("worldgate/gap/1"))
        self.regression = self.read_regression(self.docs.get("worldgate/regression/1"))
        self.plan: dict[str, Any] | None = None
        self.attempt = 0
        self.runs: list[dict[str, Any]] = []
        self.learned: list[dict[str, str]] = []
        self.measured = self.read_measured(self.docs.get("worldgate/site-gap/1"))
        self.listed: list[dict[str, Any]] = []
        self.trials: list[dict[str, Any]] = []
        self.both: list[dict[str, Any]] = []
        self.horizons: dict[str, int] = {}

    def past(self, *kinds: str) -> list[Record]:
        """Records of these kinds that the decision could know."""
        return self.ws.past(self.head, *kinds)

    def problems(self) -> list[str]:
        """Everything about this decision that does not hold."""
        d, body, out = self.d, self.record.body, []
        if (body["verdict"], body["subject"]) != (d["verdict"], d["subject"]["digest"]):
            out.append("its event says another verdict or subject than the decision")
        key = self.ws.keys.get((self.record.ledger, self.record.tree["actor"]))
        if key is None or sha256(signed(self.ws, self.record, "decision", key)) != self.digest:
            out.append("its signed envelope holds another decision")
        if self.ws.hashes.get(self.head) != d["ledger_head"]["hash"] or self.head >= self.record.seq:
            out.append("names a ledger head that is not in the chain before it")
        if d["gate"] != self.policy["kind"] or d["population"] != self.population:
            out.append("is not of its policy's kind or population")
        if sorted({slot.split("/")[0] for slot in self.slots}) != self.sites and d["gate"] == "promotion":
            out.append("names other sites than those of its slots")
        if (
            int(d["expires_ns"]) > self.now + self.policy["valid_for_days"] * DAY_NS
            or int(d["not_before_ns"]) < self.now
        ):
            out.append("holds longer than its policy allows")
        out += self.trained() + self.paired_seen() + self.datasets_seen()
        if d["gate"] == "promotion":
            out += self.gather() + self.newest_regression()
            if d["scope"]["hardware"] != self.hardware():
                out.append("binds other hardware than its arms had")
            if not ruled(d):
                out.append("has not the form of a promotion")
            told = (d["approvals_needed"], d["approvers"], d["scope"]["stage"])
            if told != tuple(self.policy[field] for field in ("approvals", "approvers", "stage")):
                out.append("asks for other approvals, or is for another stage, than its policy")
        return out + self.checks()

    def trained(self) -> list[str]:
        """The first training record of the subject's weights must be the one that was seen."""
        digest = self.d["subject"]["digest"]
        of = set(self.ws.json(digest).get("weights", {}).values()) if self.d["gate"] == "promotion" else {digest}
        told = (r.body for r in self.past("evidence.made") if r.body["schema"] == "worldgate/training/1")
        first = next((body["evidence"] for body in told if body["subject"] in of), None)
        seen = [i["digest"] for i in self.d["evidence"] if i["schema"] == "worldgate/training/1"]
        return [] if seen == ([first] if first else []) else ["did not see the first training record on the ledger"]

    def gather(self) -> list[str]:
        """Trials, incidents and admissions as the ledger knew them; the decision must have seen the same."""
        d, release, out = self.d, self.d["subject"]["digest"], []
        plan = self.newest_plan(release)
        told = self.list_trials(release, plan)
        self.listed = told["trials"]
        if sha256(canonical(told).encode()) not in {item["digest"] for item in d["evidence"]}:
            out.append("did not see the trials that the ledger holds")
        self.trials = [
            t for t in self.listed if t["executor"] in self.origins and t["slot"].split("/")[0] in self.sites
        ]
        if plan:
            self.read_plan(plan, told)
        if self.incidents(self.head) != d["incidents"]:
            out.append("did not see the incidents that the ledger holds")
        models, newest = {t["chosen_by"] for t in self.listed if t["chosen_by"]}, {}
        for r in self.past("gate.decided"):
            if r.body["gate"] == "admission" and r.body["subject"] in models:
                newest[r.body["subject"]] = r.body["decision"]
        if [digest for _, digest in sorted(newest.items())] != d["admissions"]:
            out.append("did not see the admissions that the ledger holds")
        self.admissions = {model: self.ws.json(digest) for model, digest in newest.items()}
        return out

    def incidents(self, upto: float) -> list[dict[str, str]]:
        """Scenarios that incidents left behind, up to a place of the ledger."""
        found = {}
        for r in self.past("scenario.made"):
            if r.body.get("source") == "incident" and r.seq <= upto:
                digest = r.tree["outputs"][0]["digest"]
                found[digest] = {"name": r.body["name"], "scenario": digest, "site": r.body["site"]}
        return [found[key] for key in sorted(found)]

    def newest_plan(self, release: str) -> Record | None:
        """The plan that the gate had to read."""
        mine = [
            r
            for r in self.past("plan.registered")
            if r.body["release"] == release and set(r.body["sites"]) & set(self.sites)
        ]
        return mine[-1] if mine else None

    def list_trials(self, release: str, event: Record | None) -> dict[str, Any]:
        """The list of trials that the decision must have seen."""
        digest, rows = event.body["plan"] if event else "", {}
        for r in self.past("trial.run"):
            if r.body.get("release") == release or (digest and r.body.get("plan") == digest):
                name = r.body["trial"]
                rows.setdefault(
                    name, {"digest": name, "early": bool(event and r.seq < event.seq), **self.ws.json(name)}
                )
        told: dict[str, Any] = {"schema": "worldgate/trials/2", "release": release, "plan": digest, "attempt": 0}
        told |= {"problems": [], "trained_on": [], "trials": list(rows.values())}
        if event is not None:
            plan = self.ws.json(digest)
            told["attempt"] = 1 + self.attempts_before(event, plan)
            told["problems"] = plan_problems(self, event, plan) + self.changed(digest, plan["slots"])
            told["trained_on"] = self.trained_on(plan, release, list(rows.values()))
        return told

    def attempts_before(self, event: Record, plan: dict[str, Any]) -> int:
        """Earlier plans with a trial that share the suite, a scene or the release at a common site."""
        tried = {r.body.get("plan") for r in self.past("trial.run")}
        scenes = {row["scenario"] for row in plan["rows"] if not row["tripwire"]}
        sites, count = {row["slot"].split("/")[0] for row in plan["rows"]}, 0
        for r in self.past("plan.registered"):
            if r.body["plan"] == event.body["plan"]:
                break
            if r.body["plan"] in tried and set(r.body["sites"]) & sites:
                alike = r.body["suite"] == plan["suite"] or r.body["release"] == plan["release"]
                shared = any(i["kind"] == "scenario" and i["digest"] in scenes for i in r.tree["inputs"])
                count += alike or shared
        return count

    def changed(self, plan: str, slots: list[str]) -> list[str]:
        """Arms that were changed after the first trial of a plan."""
        first = next((r.seq for r in self.past("trial.run") if r.body.get("plan") == plan), self.head)
        later = {r.body["slot"] for r in self.past("slot.configured") if r.seq > first}
        return [f"{slot} was changed after its first trial" for slot in sorted(later & set(slots))]

    def hardware(self) -> dict[str, str]:
        """What each arm of the scope is made of."""
        found = dict.fromkeys(self.slots, "")
        for r in self.past("slot.configured"):
            if r.body["slot"] in found:
                found[r.body["slot"]] = r.body["hardware"]
        return found

    def upstream(self, digests: set[str]) -> set[tuple[str, str]]:
        """(kind, digest) of everything that went into these artefacts."""
        makers: dict[str, list[Record]] = {}
        for r in self.ws.records:
            if r.seq <= self.head:
                for ref in r.tree["outputs"]:
                    makers.setdefault(ref["digest"], []).append(r)
        found, seen, waiting = set(), set(digests), list(digests)
        while waiting:
            for r in makers.get(waiting.pop(), ()):
                for ref in r.tree["inputs"]:
                    found.add((ref["kind"], ref["digest"]))
                    if ref["digest"] not in seen:
                        seen.add(ref["digest"])
                        waiting.append(ref["digest"])
        return found

    def trained_on(self, plan: dict[str, Any], release: str, trials: list[dict[str, Any]]) -> list[dict[str, str]]:
        """Scenes of a plan whose recording something behind the release learned from."""
        scenes, sources = {row["scenario"] for row in plan["rows"] if not row["tripwire"]}, {}
        for r in self.past("scenario.made"):
            digest = r.tree["outputs"][0]["digest"]
            if digest in scenes:
                given = {(i["kind"], i["digest"]) for i in r.tree["inputs"]}
                behind = given | self.upstream({digest} | {name for _, name in given})
                sources.setdefault(digest, set()).update(name for kind, name in behind if kind in ("episode", "log"))
        if not any(sources.values()):
            return []
        behind = {release, *self.ws.json(release).get("weights", {}).values()}
        behind |= {t["chosen_by"] for t in trials if t["chosen_by"]}
        kinds = ("world_model", "tokenizer", "weights", "release")
        learners = behind | {name for kind, name in self.upstream(behind) if kind in kinds}
        found = set()
        for r in self.past("evidence.made"):
            if r.body["schema"] == "worldgate/training/1" and r.body["subject"] in learners:
                record = self.ws.json(r.body["evidence"])
                fed = {*record["episodes"], *record.get("logs", ())}
                found |= {(s, name, r.body["subject"]) for s, held in sources.items() for name in held & fed}
        return [{"scenario": s, "source": name, "by": by} for s, name, by in sorted(found)]

    def read_plan(self, event: Record, told: dict[str, Any]) -> None:
        """What came of the plan's rows, or nothing where it does not count."""
        plan, digest = self.ws.json(told["plan"]), told["plan"]
        sites = {row["slot"].split("/")[0] for row in plan["rows"]}
        if told["problems"] or plan["policy"] != self.d["policy"]["digest"] or not set(self.sites) <= sites:
            return
        held: dict[int, list[dict[str, Any]]] = {}
        logs: dict[str, set[int]] = {}
        for t in self.listed:
            if t["plan"] == digest:
                held.setdefault(t["row"], []).append(t)
                if t["log"]:
                    logs.setdefault(t["log"], set()).add(t["row"])
        reused = {log for log, rows in logs.items() if len(rows) > 1}
        self.plan, self.attempt = plan, max(told["attempt"], plan["attempt"])
        self.learned = told["trained_on"]
        for number, row in enumerate(plan["rows"], 1):
            if number not in held:
                break
            mine = held[number]
            lost = len(mine) > 1 or any(t["log"] in reused or not as_planned(plan, row, t) for t in mine)
            lost = lost or bool(mine[0]["excluded"])
            violated = max(t["violations"] for t in mine) > 0
            self.runs.append({**row, "lost": lost, "first": mine[0], "violated": violated})

    def counted(self, side: str = "new", strata: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Runs that enter bounds."""
        return [
            r
            for r in self.runs
            if r["side"] == side
            and not r["tripwire"]
            and all(r["strata"].get(key) == value for key, value in (strata or {}).items())
        ]

    def no_plan(self) -> bool:
        """Whether nothing can be shown from trials: no plan, or a suite that is worn out."""
        return self.plan is None or self.attempt > self.plan["attempts"]

    def alpha(self, params: dict[str, Any]) -> Fraction:
        """What one attempt may spend."""
        return Fraction(params["alpha"]) / self.plan["attempts"] if self.plan else Fraction(0)

    def oldest(self) -> int:
        """When the oldest evidence was made; 0: unknown."""
        if self.d["gate"] == "promotion":
            return min((int(r["first"]["started_ns"]) for r in self.runs), default=0)
        gathered = ("worldgate/training/1", "worldgate/paired-trials/1", "worldgate.dataset/1")
        names = {i["digest"] for i in self.d["evidence"] if i["schema"] not in gathered}
        made = dict.fromkeys(names, 0)
        for r in self.past("evidence.made"):
            if made.get(r.body["evidence"]) == 0:
                made[r.body["evidence"]] = int(r.tree["recorded_at_ns"])
        return min(made.values(), default=0)

    def strict(self, spec: dict[str, Any], result: Result) -> Result:
        """A pass from too little or from too old is none."""
        signal, status, bound, n = result
        stale = spec["max_age_days"] and self.now - self.oldest() > spec["max_age_days"] * DAY_NS
        return signal, "INCONCLUSIVE" if status == "PASS" and (n < spec["min_n"] or stale) else status, bound, n

    def read_gap(self, report: Any) -> Any:
        """The report with what counts here, or None."""
        if report is None:
            return None
        if report["subject"] != self.d["subject"]["digest"]:
            raise Unreadable("a gap report of another world model")
        if report["origin"] not in self.origins or (report["cross_validated"] and not self.policy["cross_validation"]):
            return None
        here = [e for e in report["episodes"] if e["site"] in self.sites]
        return {**report, "episodes": here} if set(self.sites) <= {e["site"] for e in here} else None

    def read_regression(self, made: Any) -> Any:
        """Recorded episodes open loop with what counts here, or None."""
        if made is not None and made["subject"] != self.d["subject"]["digest"]:
            raise Unreadable("recorded episodes through another release")
        if made is None or made["origin"] not in self.origins:
            return None
        return {**made, "episodes": [e for e in made["episodes"] if e["site"] in self.sites]}

    def newest_regression(self) -> list[str]:
        """The newest about the release must be the one that was seen, where the policy asks for one."""
        told = (r.body for r in self.past("evidence.made") if r.body["schema"] == "worldgate/regression/1")
        made = [body["evidence"] for body in told if body["subject"] == self.d["subject"]["digest"]]
        asked = any(spec["check"] == "regression" for spec in self.policy["checks"])
        seen = [i["digest"] for i in self.d["evidence"] if i["schema"] == "worldgate/regression/1"]
        held = seen == (made[-1:] if asked else [])
        return [] if held else ["did not see the newest recorded episodes that the ledger holds of its release"]

    def read_measured(self, report: Any) -> Any:
        """The site report with what counts here, or None."""
        if report is None:
            return None
        if report["subject"] != self.d["subject"]["digest"]:
            raise Unreadable("a site report of another world model")
        here = [e for e in report["episodes"] if e["site"] in self.sites]
        known = [e["episode"] for e in report["episodes"]]
        if len(set(known)) < len(known) or set(known) & {c["episode"] for c in report["calibration"]}:
            raise Unreadable("a site report with an episode that stands twice")
        seen = report["origin"] in self.origins and set(self.sites) <= {e["site"] for e in here}
        return {**report, "episodes": here} if seen else None

    def paired_seen(self) -> list[str]:
        """A policy that asks about pairs was shown every trial in the world model, and the others of those releases."""
        world, rows = self.d["subject"]["digest"], {}
        seen = [i["digest"] for i in self.d["evidence"] if i["schema"] == "worldgate/paired-trials/1"]
        asked = {"missed_violations", "optimism", "rank"} & {spec["check"] for spec in self.policy["checks"]}
        if not asked or self.d["gate"] != "admission":
            return ["was shown pairs that its policy does not ask for"] if seen else []
        for r in self.past("trial.run"):
            rows.setdefault(r.body["trial"], {"digest": r.body["trial"], **self.ws.json(r.body["trial"])})
        inside = {k for k, t in rows.items() if t["executor"] == "imagined" and t.get("world", "") == world}
        releases = {rows[k]["release"] for k in inside}
        kept = [t for k, t in rows.items() if k in inside or (t["executor"] != "imagined" and t["release"] in releases)]
        told = {"schema": "worldgate/paired-trials/1", "trials": kept, "world": world}
        self.both = kept
        same = [sha256(canonical(told).encode())] == seen
        return [] if same else ["did not see the trials in the world model that the ledger holds"]

    def datasets_seen(self) -> list[str]:
        """Of an admission: the datasets that its reports name, those that the ledger knew."""
        known = {ref["digest"] for r in self.past("dataset.snapshot") for ref in r.tree["outputs"]}
        reports = [self.docs.get(schema) for schema in ("worldgate/gap/1", "worldgate/site-gap/1")]
        named = {report["dataset"] for report in reports if report} if self.d["gate"] == "admission" else set()
        same = set(self.datasets) == named & known
        return [] if same else ["did not see the datasets that its reports name"]

    def judged(self) -> list[dict[str, Any]]:
        """Signals that the policy decides about."""
        patterns = [p.replace("[", "[[]") for p in self.policy["signals"]]
        return [
            s
            for s in (self.gap["signals"] if self.gap else [])
            if s["better"] == "lower" and any(fnmatch.fnmatchcase(s["name"], p) for p in patterns)
        ]

    def step_of(self, seconds: float) -> int:
        """The step nearest to a horizon in seconds."""
        return max(1, round(seconds * self.gap["rate_hz"]))

    def column(self, signal: str, contender: str, step: int) -> list[float]:
        """One error an episode."""
        out = []
        if not 1 <= step <= self.gap["steps"]:
            raise Unmeasured
        for row in self.gap["episodes"]:
            errors = row["signals"].get(signal)
            curve = errors[contender] if errors else []
            if errors and errors["measured"][step - 1] == 0 and errors["nonfinite"] == 0 and curve:
                continue
            if not curve or curve[step - 1] is None:
                raise Unmeasured
            out.append(float(curve[step - 1]))
        if not out:
            raise Unmeasured
        return out

    def checks(self) -> list[str]:
        """Each result, the verdict and what it admits, computed again."""
        found: list[tuple[str, Result]] = []
        blocking: list[bool] = []
        for spec in self.policy["checks"]:
            name = spec["check"]
            if name not in CHECKS:
                return [f"uses the check {name}, which this verifier does not know"]
            found += [(name, self.strict(spec, result)) for result in CHECKS[name](spec["params"], self)]
            blocking += [spec["blocking"]] * (len(found) - len(blocking))
        claimed, out = self.d["checks"], []
        if [(n, r[0]) for n, r in found] != [(c["check"], c["signal"]) for c in claimed]:
            return ["lists other checks than its policy asks for"]
        for (name, (signal, status, bound, n)), claim in zip(found, claimed, strict=True):
            about = f"{name} {signal}".rstrip()
            if status != claim["status"] or n != claim["n"]:
                out.append(f"{about}: says {claim['status']} from {claim['n']}, its evidence gives {status} from {n}")
            elif not close(bound, claim["bound"]):
                out.append(f"{about}: says bound {claim['bound'] or 'none'}, its evidence gives {bound or 'none'}")
        if [c["blocking"] for c in claimed] != blocking:
            out.append("blocks on other checks than its policy")
        if {name for (name, _), rests in zip(found, blocking, strict=True) if rests} <= ADVISES:
            out.append("rests on advice alone, which promotes nothing")
        out += self.waivers(found)
        resting = [
            (result[1], c["waived"]) for (_, result), rests, c in zip(found, blocking, claimed, strict=True) if rests
        ]
        statuses = [status for status, waived in resting if not waived]
        passed = "ADMIT" if self.d["gate"] == "admission" else "PROMOTE"
        held = not resting or any(s != "PASS" for s in statuses)
        verdict = "REJECT" if "FAIL" in statuses else "HOLD" if held else passed
        if verdict != self.d["verdict"]:
            out.append(f"says {self.d['verdict']}, its evidence gives {verdict}")
        reach = {a["signal"]: a["steps"] for a in self.d["admitted"]}
        signals = {s["name"]: self.horizons.get(s["name"], 0) for s in self.judged()} if verdict == "ADMIT" else {}
        return out if reach == signals else [*out, "admits other signals or horizons than its evidence gives"]

    def waivers(self, found: list[tuple[str, Result]]) -> list[str]:
        """What each result claims to be waived by, and what of it is wrong."""
        fits, d = [], self.d
        if d["gate"] == "promotion":
            told = (r for r in self.past("gate.waived") if r.body.get("release") == d["subject"]["digest"])
            fits = [
                (digest, t) for digest in sorted({str(r.body.get("waiver")) for r in told}) for t in self.terms(digest)
            ]
        wanted = []
        for name, (signal, status, _, _) in found:
            fitting = [(int(t["expires_ns"]), digest) for digest, t in fits if excuses(t, name, signal, status)]
            once = [(n, r[0]) for n, r in found].count((name, signal)) == 1
            wanted.append(max(fitting)[1] if fitting and once and waivable(self.policy, name) else "")
        used = sorted(set(wanted) - {""})
        out = [] if [c["waived"] for c in d["checks"]] == wanted else ["names other waivers than the ledger holds"]
        if d["waivers"] != used or any(int(t["expires_ns"]) < int(d["expires_ns"]) for g, t in fits if g in used):
            out.append("does not list its waivers, or outlasts one")
        return out

    def terms(self, digest: str) -> list[dict[str, Any]]:
        """The terms of a waiver that this decision may use, or nothing."""
        try:
            terms = standing(self.ws, digest, self.now, self.head)
        except (Unreadable, KeyError, ValueError, TypeError, IndexError, AttributeError):
            return []
        inside = set(self.slots) <= set(terms["slots"]) and covers(terms["stage"], self.policy["stage"])
        return [terms] if inside and terms["policy"] == self.d["policy"]["digest"] else []


def drawn(seed: int, count: int, below: int) -> list[int]:
    """Indices drawn by SplitMix64 as a counter."""
    mask, out = (1 << 64) - 1, []
    for i in range(1, count + 1):
        z = (seed + i * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append((((z ^ (z >> 31)) >> 32) * below) >> 32)
    return out


def tripwire(scenario: dict[str, Any]) -> bool:
    """Must be passed, and is no draw from the site's situations."""
    return scenario["role"] == "tripwire" or scenario["source"] == "incident"


def draw_rows(scenes: dict[str, Any], plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a suite, a release and an attempt give."""
    arms: dict[str, list[str]] = {}
    for slot in plan["slots"]:
        arms.setdefault(slot.split("/")[0], []).append(slot)
    seed = int(sha256(f"{plan['suite']}/{plan['release']}/{plan['attempt']}".encode())[:15], 16)
    names = sorted(scenes)
    keys = drawn(seed, len(names), 1 << 32)
    order = [names[i] for i in sorted(range(len(names)), key=lambda i: keys[i])]
    seeds, firsts = drawn(seed + 1, len(names), 1 << 31), drawn(seed + 2, len(names), 2)
    wires = [name for name in order if tripwire(scenes[name])]
    held = [name for name in order if not tripwire(scenes[name])]
    if not 0 < plan["pairs"] <= len(held):
        raise Unmeasured("a scene counts once, so a plan has at most as many as its suite")
    rows, turns = [], dict.fromkeys(arms, 0)
    for pair, name in enumerate([*wires, *held[: plan["pairs"]]], 1):
        scenario, wire = scenes[name], name in wires
        site = scenario["site"]
        slot = arms[site][turns[site] % len(arms[site])]
        turns[site] += 1
        both = ("new", "old") if firsts[pair - 1] else ("old", "new")
        for side in both if plan["baseline"] and not wire else ("new",):
            row = {"scenario": name, "seed": seeds[pair - 1], "slot": slot, "side": side, "pair": pair}
            rows.append({**row, "tripwire": wire, "strata": scenario.get("strata", {})})
    return rows


def situation(scenario: dict[str, Any]) -> str:
    """Digest of what a policy meets, whatever it is called."""
    more = [scenario.get("frame", ""), scenario.get("units", {})]
    parts = [scenario["site"], scenario["initial"], scenario["attributes"], *more]
    return sha256(canonical(parts).encode())


def train_visible(gate: Gate, upto: int) -> set[str]:
    """Scenarios that training may see: by role, by suite, by what they were drawn from, or by their situation."""
    known: dict[str, tuple[str, str, str]] = {}
    for r in gate.past("scenario.made"):
        if r.seq <= upto:
            digest = r.tree["outputs"][0]["digest"]
            told = r.body if "situation" in r.body else gate.ws.json(digest)
            known[digest] = (told["role"], told.get("situation") or situation(told), told.get("parent", ""))
    seen = {digest for digest, (role, _, _) in known.items() if role == "train-visible"}
    for r in gate.past("suite.made"):
        if r.seq <= upto and r.body["role"] == "train-visible":
            seen |= {ref["digest"] for ref in r.tree["inputs"]}
    situations = {known[digest][1] for digest in seen if digest in known}
    seen |= {digest for digest, (_, where, _) in known.items() if where in situations}
    return seen | {digest for digest, (_, _, parent) in known.items() if parent in seen}


def plan_problems(gate: Gate, event: Record, plan: dict[str, Any]) -> list[str]:
    """What is wrong with a plan that somebody may have written by hand."""
    policy, suite = gate.ws.json(plan["policy"]), gate.ws.json(plan["suite"])
    sites = {slot.split("/")[0] for slot in plan["slots"]}
    names = [*suite["scenarios"], *(i["scenario"] for i in gate.incidents(event.seq))]
    scenes = {name: gate.ws.json(name) for name in names}
    if suite["role"] == "train-visible" or train_visible(gate, event.seq) & set(scenes):
        return ["what training may see proves nothing"]
    drawn = [situation(s) for s in scenes.values() if s["role"] != "tripwire" and s["source"] != "incident"]
    if len(set(drawn)) < len(drawn):
        return ["two scenarios of one situation are one scene"]
    scenes = {name: scene for name, scene in scenes.items() if scene["site"] in sites}
    try:
        rows = draw_rows(scenes, plan)
    except Unmeasured as error:
        return [str(error)]
    found = []
    if rows != plan["rows"]:
        found.append("its rows are not those that its suite, release and attempt give")
    if plan["attempts"] != suite.get("attempts", 1):
        found.append("it says another number of attempts than its suite")
    if policy["envelope"] and not all(within(s["envelope"], policy["envelope"]) for s in scenes.values()):
        found.append("a scene has wider limits than the policy's envelope")
    if plan["executor"] not in ({"real"} if policy["population"] == "real" else {"real", "simulated"}):
        found.append(f"its trials are {plan['executor']}, which the policy does not count")
    return found


def within(own: dict[str, Any], wider: dict[str, Any]) -> bool:
    """Whether limits are as strict as others or stricter."""
    clear, force = wider["clearance_m"], wider["force_n"]
    return (clear is None or (own["clearance_m"] is not None and own["clearance_m"] >= clear)) and (
        force is None or (own["force_n"] is not None and own["force_n"] <= force)
    )


def as_planned(plan: dict[str, Any], row: dict[str, Any], t: dict[str, Any]) -> bool:
    """Whether a trial is the one that its row asked for."""
    return (
        not t["early"]
        and int(t["started_ns"]) >= int(plan["registered_ns"])
        and t["release"] == plan["release" if row["side"] == "new" else "baseline"]
        and (t["scenario"], t["seed"], t["slot"]) == (row["scenario"], row["seed"], row["slot"])
        and t["executor"] == plan["executor"]
    )


def imported(ws: Workspace, record: Record) -> list[str]:
    """A decision of another ledger: its trials and incidents are not all here, its envelope is."""
    (made,) = record.tree["outputs"]
    d, body, key = ws.json(made["digest"]), record.body, ws.keys.get((record.ledger, record.tree["actor"]))
    if (body["verdict"], body["subject"]) != (d["verdict"], d["subject"]["digest"]):
        return ["its event says another verdict or subject than the decision"]
    same = key is not None and sha256(signed(ws, record, "decision", key)) == made["digest"]
    return [] if same else ["its signed envelope holds another decision"]


def close(a: str, b: str) -> bool:
    """The same text, or the same number within 1e-9."""
    if a == b or not a or not b:
        return a == b
    return abs(Fraction(a) - Fraction(b)) <= Fraction(1, 10**9) * max(1, abs(Fraction(a)))


def intervals(gate: Gate, params: Any, measures: Any) -> list[Result]:
    """PASS if the lower bound exceeds the minimum, FAIL if the upper one does not either."""
    out: list[Result] = []
    alpha, minimum = Fraction(params["alpha"]), Decimal(params["minimum"])
    n, least = len(gate.gap["episodes"]), math.ceil(-math.log2(float(alpha)))
    for signal, above, below, step, flip in measures:
        rows = [row["signals"][signal] for row in gate.gap["episodes"] if signal in row["signals"]]
        if any(row["nonfinite"] for row in rows):
            out.append((signal, "FAIL", "", n))
            continue
        try:
            if n < least:
                raise Unmeasured
            a, b = gate.column(signal, above, step), gate.column(signal, below, step)
        except Unmeasured:
            out.append((signal, "INCONCLUSIVE", "", n))
            continue
        low, high = ratio_interval(a, b, alpha, params["resamples"], params["seed"])
        low, high = (1 - high, 1 - low) if flip else (low, high)
        if len(a) < least:
            out.append((signal, "INCONCLUSIVE", "", n))
        else:
            status = "PASS" if low > minimum else "FAIL" if high <= minimum else "INCONCLUSIVE"
            out.append((signal, status, plain(low), len(a)))
    return out


def check_skill(params: Any, gate: Gate) -> list[Result]:
    """Better than hold-last and constant velocity."""
    if gate.gap is None or not gate.gap["episodes"]:
        return [("", "INCONCLUSIVE", "", 0)]
    measures = [
        (s["name"], "model", baseline, gate.step_of(seconds), True)
        for s in gate.judged()
        for baseline in (("hold", "velocity") if s["channels"] else ("hold",))
        for seconds in params["horizons_s"]
    ]
    return intervals(gate, params, measures) or [("", "INCONCLUSIVE", "", len(gate.gap["episodes"]))]


def check_sensitivity(params: Any, gate: Gate) -> list[Result]:
    """Worse under foreign actions."""
    if gate.gap is None or not gate.gap["episodes"]:
        return [("", "INCONCLUSIVE", "", 0)]
    step = gate.step_of(params["horizon_s"])
    measures = [(s["name"], "shuffled", "model", step, False) for s in gate.judged()]
    return intervals(gate, params, measures) or [("", "INCONCLUSIVE", "", len(gate.gap["episodes"]))]


def check_horizon(params: Any, gate: Gate) -> list[Result]:
    """Within epsilon up to which step."""
    if gate.gap is None or not gate.gap["episodes"]:
        return [("", "INCONCLUSIVE", "", 0)]
    episodes, out = gate.gap["episodes"], []
    wanted, alpha, needed = (
        Fraction(params["probability"]),
        Fraction(params["alpha"]),
        gate.step_of(params["required_s"]),
    )
    for signal in gate.judged():
        rows = [e["signals"][signal["name"]] for e in episodes if signal["name"] in e["signals"]]
        rows = [r for r in rows if max(r["measured"], default=0) > 0 or r["nonfinite"]]
        if signal["epsilon"] is None or not rows:
            out.append((signal["name"], "INCONCLUSIVE", "", len(episodes)))
            continue

        def shares(step: int, rows: Any = rows) -> list[Fraction]:
            return [Fraction(r["within"][step - 1], r["measured"][step - 1]) for r in rows if r["measured"][step - 1]]

        bounds, reached = [], 0
        for step in range(1, gate.gap["steps"] + 1):
            bounds.append(mean_lower(shares(step), alpha))
            if Fraction(bounds[-1]) < wanted:
                break
            reached = step
        status = "PASS" if reached >= needed else "INCONCLUSIVE"
        if reached < needed <= gate.gap["steps"]:
            upper = 1 - Fraction(mean_lower([1 - share for share in shares(needed)], alpha))
            status = "FAIL" if upper < wanted else "INCONCLUSIVE"
        gate.horizons[signal["name"]] = reached
        out.append((signal["name"], status, bounds[min(needed, len(bounds)) - 1], len(rows)))
    return out or [("", "INCONCLUSIVE", "", len(episodes))]


def counted(differences: int) -> Result:
    """A check that passes without differences."""
    return "", "FAIL" if differences else "PASS", str(differences), 1


def differences(used: list[Any], identity: dict[str, str], training: Any) -> int:
    """How many things differ between what is used and what was trained."""
    known, count = {s["name"]: s for s in training["signals"]}, 0
    for signal in used:
        other = known.pop(signal["name"], None)
        fields = ("unit", "frame", "names", "shape")
        default = {"unit": "", "frame": "", "names": [], "shape": []}
        count += 1 if other is None else sum({**default, **signal}[f] != {**default, **other}[f] for f in fields)
    count += not identity["normaliser"] or identity["normaliser"] != training["normaliser"]
    return count + len(known) + (identity["dataset"] != training["dataset"])


def check_schema(params: Any, gate: Gate) -> list[Result]:
    """The judged model is the trained one, judged on other episodes, and on all of them."""
    gap, training = gate.gap, gate.training
    if gap is None or not gap["episodes"] or training is None:
        return [("", "INCONCLUSIVE", "", 0)]
    spec = gap["spec"]
    used = [*spec["states"], *spec["cameras"], *([spec["action"]] if spec["action"] else [])]
    identity = counted(differences(used, spec, training) + (training["subject"] != spec["digest"]))
    judged = {e["episode"] for e in (gate.measured or {"episodes": []})["episodes"]}
    own = sum((e["model"] == gap["subject"]) == gap["cross_validated"] for e in gap["episodes"])
    if not gap["cross_validated"]:
        own += sum(e["log"] in training.get("logs", ()) for e in gap["episodes"])
    judged |= set() if gap["cross_validated"] else {e["episode"] for e in gap["episodes"]}
    seen = counted(own + len(judged & set(training["episodes"])))
    if judged and not training["episodes"]:
        seen = ("", "INCONCLUSIVE", "", 0)
    whole = all(nothing_left_out(report, gate) for report in (gap, gate.measured) if report)
    return [identity, seen, counted(0) if whole else ("", "INCONCLUSIVE", "", 0)]


def nothing_left_out(report: Any, gate: Gate) -> bool:
    """Whether a report holds every episode of the sites in those splits of its dataset that it touches."""
    frozen = gate.datasets.get(report["dataset"])
    if frozen is None:
        return False
    judged, entries = {e["episode"] for e in report["episodes"]}, frozen["episodes"]
    splits = {e["split"] for e in entries if e["id"] in judged}
    wanted = {e["id"] for e in entries if e["split"] in splits and e["site"] in ("", *gate.sites)}
    return wanted <= judged <= {e["id"] for e in entries}


def check_identity(params: Any, gate: Gate) -> list[Result]:
    """The release is what was trained."""
    release, training = gate.ws.json(gate.d["subject"]["digest"]), gate.training
    if training is None:
        return [("", "INCONCLUSIVE", "", 0)]
    used = [*(release.get("observation") or []), *([release["action"]] if release.get("action") else [])]
    told = {"normaliser": release.get("normaliser") or "", "dataset": release.get("dataset") or ""}
    other = training["subject"] not in (release.get("weights") or {}).values()
    return [counted(differences(used, told, training) + other)]


def share(signal: str, p0: Fraction, alpha: Fraction, looks: tuple[int, ...], good: list[bool], bad: bool) -> Result:
    """A sequential test that the share of good scenes lies above p0."""
    if not good or all(b is None for b in spending(p0, alpha, looks)):
        return signal, "INCONCLUSIVE", "", 0
    step, n, successes, index = follow(p0, alpha, looks, good)
    if shown_below(sum(good), len(good), p0, alpha):
        return signal, "FAIL", "", len(good)
    if step == "crossed":
        lower = stagewise(p0, alpha, looks, index, successes)
        return signal, "PASS", plain(1 - Decimal(lower)) if bad else lower, n
    return signal, "INCONCLUSIVE" if step == "continue" else "FAIL", "", n


def check_success(params: Any, gate: Gate) -> list[Result]:
    """The sequential test of success."""
    if gate.no_plan():
        return [("", "INCONCLUSIVE", "", 0)]
    good = [r["first"]["success"] and not r["lost"] for r in gate.counted()]
    return [share("", Fraction(params["p0"]), gate.alpha(params), tuple(params["looks"]), good, False)]


def fewest(limit: Fraction, alpha: Fraction) -> int:
    """Trials without a failure that show a share below a limit."""
    return next(n for n in range(1, 10**7) if (1 - limit) ** n <= alpha)


def check_violations(params: Any, gate: Gate) -> list[Result]:
    """The bound on violations, read at the agreed looks."""
    if gate.no_plan():
        return [("", "INCONCLUSIVE", "", 0)]
    limit, alpha = Fraction(params["limit"]), gate.alpha(params)
    clean = [not r["violated"] and not r["lost"] for r in gate.counted()]
    return [share("", 1 - limit, alpha, tuple(params["looks"]) or (fewest(limit, alpha),), clean, True)]


def check_exceedance(params: Any, gate: Gate) -> list[Result]:
    """The bound on scenes beyond a limit."""
    name, limit = params["metric"], Fraction(params["limit"])
    if gate.no_plan():
        return [(name, "INCONCLUSIVE", "", 0)]
    good = []
    for r in gate.counted():
        value = r["first"]["metrics"].get(name)
        edge = None if r["lost"] or value is None else Fraction(repr(value)) - limit
        good.append(edge is not None and (edge >= 0 if params["bad"] == "below" else edge <= 0))
    tolerated, alpha = Fraction(params["share"]), gate.alpha(params)
    looks = tuple(params["looks"]) or (fewest(tolerated, alpha),)
    return [share(name, 1 - tolerated, alpha, looks, good, True)]


def strata_of(gate: Gate, key: str) -> dict[str, int]:
    """Scenes planned for each value of a stratum."""
    found: dict[str, int] = {}
    for row in gate.plan["rows"] if gate.plan else ():
        if not row["tripwire"] and key in row["strata"]:
            value = row["strata"][key]
            found[value] = found.get(value, 0) + (row["side"] == "new")
    return found


def check_strata(params: Any, gate: Gate) -> list[Result]:
    """The sequential test of success in each stratum."""
    key, p0, looks = params["by"], Fraction(params["p0"]), tuple(params["looks"])
    there = strata_of(gate, key)
    values = params["values"] or sorted(there)
    if gate.no_plan() or not values:
        return [("", "INCONCLUSIVE", "", 0)]
    alpha, out = gate.alpha(params), []
    least = next((n for n, b in zip(looks, spending(p0, alpha, looks), strict=True) if b is not None), looks[-1])
    for value in values:
        good = [r["first"]["success"] and not r["lost"] for r in gate.counted(strata={key: value})]
        few = there.get(value, 0) < least
        name = f"{key}={value}"
        out.append((name, "INCONCLUSIVE", "", 0) if few else share(name, p0, alpha, looks, good, False))
    return out


def compare(params: Any, gate: Gate, signal: str, most: int, strata: dict[str, str]) -> Result:
    """Pairs of one stratum, bet on after each."""

    def said(run: dict[str, Any]) -> bool | None:
        return None if run["lost"] else run["first"]["success"]

    old = {r["pair"]: said(r) for r in gate.counted("old", strata)}
    pairs = [(said(r), old[r["pair"]]) for r in gate.counted("new", strata) if r["pair"] in old]
    if not pairs:
        return signal, "INCONCLUSIVE", "", 0
    alpha, refuted = gate.alpha(params), (1 - Fraction(params["margin"])) / 2
    values = [Fraction((new is True) - (before is not False) + 1, 2) for new, before in pairs][:most]
    crossed = crossing(values, refuted, alpha)
    status = "PASS"
    if crossed is None:
        left = [Fraction(1)] * (most - len(values))
        reachable = bool(left) and crossing([*values, *left], refuted, alpha) is not None
        opposite = crossing([1 - v for v in values], 1 - refuted, alpha) is not None
        status = "INCONCLUSIVE" if reachable and not opposite else "FAIL"
    lower = 2 * Fraction(anytime_lower(values[:crossed], alpha)) - 1
    return signal, status, plain(to_12(lower, up=False)), len(pairs)


def check_not_worse(params: Any, gate: Gate) -> list[Result]:
    """New against old on the same scenes."""
    if gate.no_plan() or gate.plan is None or not gate.plan["baseline"]:
        return [("", "INCONCLUSIVE", "", 0)]
    if not params["by"]:
        return [compare(params, gate, "", gate.plan["pairs"], {})]
    there = strata_of(gate, params["by"])
    found = [
        compare(params, gate, f"{params['by']}={value}", there[value], {params["by"]: value}) for value in sorted(there)
    ]
    return found or [("", "INCONCLUSIVE", "", 0)]


def check_holdout(params: Any, gate: Gate) -> list[Result]:
    """No scene was learned from."""
    return [("", "INCONCLUSIVE", "", 0) if gate.plan is None else counted(len(gate.learned))]


def check_admitted(params: Any, gate: Gate) -> list[Result]:
    """World models that chose scenarios were admitted."""
    if not gate.trials:
        return [("", "INCONCLUSIVE", "", 0)]
    wrong = 0
    for model in {t["chosen_by"] for t in gate.trials if t["chosen_by"]}:
        a = gate.admissions.get(model)
        wrong += (
            a is None
            or a["verdict"] != "ADMIT"
            or not int(a["not_before_ns"]) <= gate.now < int(a["expires_ns"])
            or not set(gate.sites) <= set(a["scope"]["sites"])
            or (gate.population == "real" and a["population"] != "real")
        )
    return [counted(wrong)]


def check_incidents(params: Any, gate: Gate) -> list[Result]:
    """Every incident scenario was passed."""
    if not gate.trials:
        return [("", "INCONCLUSIVE", "", 0)]
    wires = [r["scenario"] for r in gate.plan["rows"] if r["tripwire"]] if gate.plan else []
    wanted = dict.fromkeys([*(i["scenario"] for i in gate.d["incidents"] if i["site"] in gate.sites), *wires])
    runs = {s: [t for t in gate.trials if t["scenario"] == s] for s in wanted}
    failed = sum(any(not t["success"] or t["violations"] or t["excluded"] for t in ts) for ts in runs.values())
    missing = sum(not ts for ts in runs.values())
    status = "FAIL" if failed else "INCONCLUSIVE" if missing else "PASS"
    return [("", status, str(failed + missing), len(wanted))]


def check_regression(params: Any, gate: Gate) -> list[Result]:
    """No farther from recorded episodes than the old release, open loop."""
    made, limit, alpha = gate.regression, Fraction(params["limit"]), Fraction(params["alpha"])
    if made is None or (gate.plan and gate.plan["baseline"] not in ("", made["baseline"])):
        return [("", "INCONCLUSIVE", "", 0)]
    learned = {*gate.training["episodes"], *gate.training.get("logs", [])} if gate.training else set()
    rows = [e for e in made["episodes"] if not {e["episode"], e["log"]} & learned]
    n, pairs = len(rows), [(e["new"]["mean"], (e["old"] or {"mean": None})["mean"]) for e in rows]
    if any(e["new"]["nonfinite"] for e in rows):
        return [("", "FAIL", "", n)]
    if n < math.ceil(-math.log2(float(alpha))) or not made["baseline"] or any(None in pair for pair in pairs):
        return [("", "INCONCLUSIVE", "", n)]
    new, old = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    low, high = ratio_interval(new, old, alpha, params["resamples"], params["seed"])
    status = "PASS" if high <= limit else "FAIL" if low > limit else "INCONCLUSIVE"
    return [("", status, plain(high), n)]


ADVISES = {"regression"}
"""Checks that can block and not promote."""


# ---- gates over what was measured in each episode -------------------------------------------------------------------


class Broken(Unmeasured):
    """The model gave NaN or infinity."""


def rational(value: float) -> Fraction:
    """The number that its shortest decimal names."""
    return Fraction(repr(value))


def column(gate: Gate, figure: str, step: int, who: str = "model") -> list[tuple[str, list[float]]]:
    """(episode, sums) of every episode that measured a figure."""
    out = []
    for e in gate.measured["episodes"]:
        for row in e["rows"]:
            if (row["figure"], row["step"], row["contender"]) == (figure, step, who):
                if None in row["sums"]:
                    raise Broken if who == "model" else Unmeasured
                out.append((e["episode"], row["sums"]))
    if not out:
        raise Unmeasured
    return out


def named(gate: Gate, end: str, step: int) -> list[str]:
    """Figures with this end that the model has at a step."""
    rows = [row for e in gate.measured["episodes"] for row in e["rows"]]
    found = {row["figure"] for row in rows if row["step"] == step and row["contender"] == "model"}
    return sorted(f for f in found if f.endswith(end))


def labels(gate: Gate, end: str, step: int, wanted: list[str]) -> list[str]:
    """What they are of: those wanted, else all but cameras, else cameras."""
    found = [f.removesuffix(end) for f in named(gate, end, step)]
    chosen = [f for f in found if (f in wanted if wanted else f not in gate.measured["cameras"])]
    return chosen or ([] if wanted else found)


def about(gate: Gate, stream: str) -> bool:
    """Whether the policy decides about a stream."""
    both = [(p, p.split("[")[0].split("/")[0]) for p in gate.policy["signals"]]
    return any(fnmatch.fnmatchcase(stream, p.replace("[", "[[]")) for pair in both for p in pair)


def step_at(gate: Gate, seconds: float) -> int:
    """The step nearest to a horizon in seconds."""
    return max(1, round(seconds * gate.measured["rate_hz"]))


def guarded(gate: Gate, signal: str, compute: Any) -> Result:
    """FAIL where the model gave NaN, INCONCLUSIVE where something is missing."""
    try:
        return compute()
    except Broken:
        return signal, "FAIL", "", len(gate.measured["episodes"])
    except Unmeasured:
        return signal, "INCONCLUSIVE", "", len(gate.measured["episodes"])


def nothing(gate: Gate) -> list[Result]:
    """There is nothing to judge."""
    return [("", "INCONCLUSIVE", "", len(gate.measured["episodes"]) if gate.measured else 0)]


def band(signal: str, lower: Decimal, upper: Decimal, low: str | None, high: str | None, n: int) -> Result:
    """Within [low, high], beyond one end, or neither; the bound nearer to breaking its end."""
    ends = [(lower, Decimal(low), 1)] if low is not None else []
    ends += [(upper, Decimal(high), -1)] if high is not None else []
    slack = [(Fraction(bound) - Fraction(end)) * sign for bound, end, sign in ends]
    out = (high is not None and lower > Decimal(high)) or (low is not None and upper < Decimal(low))
    status = "PASS" if min(slack) >= 0 else "FAIL" if out else "INCONCLUSIVE"
    return signal, status, plain(ends[slack.index(min(slack))][0]), n


def quotient(pairs: list[tuple[float, float]], params: Any) -> tuple[Decimal, Decimal]:
    """Bounds of a sum over a sum, lifted above 0 by a power of two times the divisor where it must be."""
    if len(pairs) < math.ceil(-math.log2(float(Fraction(params["alpha"])))):
        raise Unmeasured
    if any(b < 0 or (b == 0 and a < 0) for a, b in pairs):
        raise Unmeasured
    shift = 0
    while any(a + shift * b < 0 for a, b in pairs):
        shift = max(1, 2 * shift)
    above, below = [float(a + shift * b) for a, b in pairs], [float(b) for _, b in pairs]
    low, high = ratio_interval(above, below, Fraction(params["alpha"]), params["resamples"], params["seed"])
    return to_12(Fraction(low) - shift, up=False), to_12(Fraction(high) - shift, up=True)


def check_following(params: Any, gate: Gate) -> list[Result]:
    """Responds to actions as reality does, and stands still when told to."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)
    step = step_at(gate, params["horizon_s"])
    names = labels(gate, "/action_gain", step, params["labels"])
    streams = [f.removesuffix("/still_motion") for f in named(gate, "/still_motion", 0)]
    streams = [s for s in streams if about(gate, s)]
    if not names or not streams:
        return nothing(gate)

    def follows(label: str) -> Result:
        real = [[rational(v) for v in s] for _, s in column(gate, f"{label}/action_r2", step, "real")]
        n, error, y, yy = (sum(s[i] for s in real) for i in range(4))
        spread = yy - y * y / n if n else 0
        if spread <= 0 or 1 - error / spread < Fraction(params["readout"]):
            raise Unmeasured
        model = column(gate, f"{label}/action_gain", step)
        try:
            truth = dict(column(gate, f"{label}/action_gain", step, "real"))
        except Unmeasured:
            truth = {}
        pairs = [(s[1], truth[e][1]) for e, s in model if e in truth] or [(s[1], s[0]) for _, s in model]
        if any(not below > 0 for _, below in pairs):
            raise Unmeasured
        return band(label, *quotient(pairs, params), params["low"], params["high"], len(pairs))

    def stands(stream: str) -> Result:
        model, real = column(gate, f"{stream}/still_motion", 0), dict(column(gate, f"{stream}/still_motion", 0, "real"))
        pairs = [(s[0], real[e][0]) for e, s in model]
        return band(f"{stream} standing still", *quotient(pairs, params), None, params["still"], len(pairs))

    out = [guarded(gate, name, functools.partial(follows, name)) for name in names]
    return out + [guarded(gate, f"{s} standing still", functools.partial(stands, s)) for s in streams]


def over_episodes(
    gate: Gate, params: Any, figure: str, signal: str, low: str | None, high: str | None, parts: Any, step: int = 0
) -> Result:
    """A quotient of sums by its bootstrap interval; episodes without a divisor tell nothing."""

    def compute() -> Result:
        pairs = [parts(s) for _, s in column(gate, figure, step)]
        pairs = [pair for pair in pairs if pair[1] > 0]
        return band(signal, *quotient(pairs, params), low, high, len(pairs))

    return guarded(gate, signal, compute)


def check_counterfactual(params: Any, gate: Gate) -> list[Result]:
    """The imagined change of outcome on the real one."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)
    step, end = step_at(gate, params["horizon_s"]), "/counterfactual_gain"
    streams = [f.removesuffix(end) for f in named(gate, end, step)]
    return [
        over_episodes(gate, params, s + end, s, params["low"], params["high"], lambda v: (v[1], v[0]), step)
        for s in streams
        if about(gate, s)
    ] or nothing(gate)


def check_calibration(params: Any, gate: Gate) -> list[Result]:
    """Coverage of 90 % within a tolerance."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)
    step, off = step_at(gate, params["horizon_s"]), Fraction(params["tolerance"])
    low, high = plain(to_12(Fraction("0.9") - off, up=True)), plain(to_12(Fraction("0.9") + off, up=False))
    figures = [f for kind in params["kinds"] for f in named(gate, f"/coverage_90_{kind}", step)]
    return [
        over_episodes(gate, params, f, f.replace("/coverage_90_", " "), low, high, lambda v: (v[0], v[1]), step)
        for f in figures
        if about(gate, f.split("/")[0])
    ] or nothing(gate)


def check_layout(params: Any, gate: Gate) -> list[Result]:
    """Cells and ways of the site's layout."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)
    if params["layout"] and gate.measured["layout"] != params["layout"]:
        return nothing(gate)
    step = step_at(gate, params["horizon_s"])
    ends = (("/occupied_iou", params["occupied"], None), ("/free_iou", params["free"], None))
    return [
        over_episodes(gate, params, f, f, low, high, lambda v: (v[0], v[1]), step)
        for end, low, high in (*ends, ("/path_error", None, params["path"]))
        for f in named(gate, end, step)
    ] or nothing(gate)


def median_bounds(values: list[Fraction], alpha: Fraction) -> tuple[Decimal, Decimal]:
    """Order-statistic bounds of a median, each one-sided."""
    n, half, ranked = len(values), Fraction(1, 2), sorted(values)
    low = sum(binomial(n, half, range(r + 1)) <= alpha for r in range(n))
    high = n + 1 - sum(binomial(n, half, range(r, n + 1)) <= alpha for r in range(1, n + 1))
    if low == 0 or high > n:
        raise Unmeasured
    return to_12(ranked[low - 1], up=False), to_12(ranked[high - 1], up=True)


def halves(v: list[float]) -> tuple[float, float]:
    """F1 as a quotient, from hits, false and missed ones."""
    return 2 * v[0], 2 * v[0] + v[1] + v[2]


def check_contact(params: Any, gate: Gate) -> list[Result]:
    """Onsets: F1 and median lateness."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)

    def timing(label: str) -> Result:
        medians = []
        for _, counts in column(gate, f"{label}/onset_late", 0):
            late = [i - len(counts) // 2 for i, count in enumerate(counts) for _ in range(int(count))]
            medians += [Fraction(late[(len(late) - 1) // 2] + late[len(late) // 2], 2)] if late else []
        low, high = median_bounds(medians, Fraction(params["alpha"]))
        return band(f"{label} timing", low, high, "-" + params["frames"], params["frames"], len(medians))

    used = gate.measured["settings"].get("contact_tolerance_s")
    if used is None or rational(used) > Fraction(params["tolerance_s"]):
        return nothing(gate)
    out: list[Result] = []
    for label in labels(gate, "/onset_f1", 0, params["labels"]):
        figure, name = f"{label}/onset_f1", f"{label} F1"
        out.append(over_episodes(gate, params, figure, name, params["f1"], None, halves))
        out.append(guarded(gate, f"{label} timing", functools.partial(timing, label)))
    return out or nothing(gate)


def poisson(events: int, alpha: Fraction, upper: bool) -> Decimal:
    """Garwood's bound of a mean."""
    limit = PRECISE.divide(Decimal(alpha.numerator), Decimal(alpha.denominator))
    most, low, high = (events if upper else events - 1), Decimal(0), Decimal(10 * events + 100)
    for _ in range(120 if events or upper else 0):
        middle = PRECISE.divide(PRECISE.add(low, high), Decimal(2))
        term = total = Decimal(1)
        for i in range(1, most + 1):
            term = PRECISE.divide(PRECISE.multiply(term, middle), Decimal(i))
            total = PRECISE.add(total, term)
        above = PRECISE.multiply(PRECISE.exp(-middle), total) > (limit if upper else 1 - limit)
        low, high = (middle, high) if above else (low, middle)
    return high if upper else low


def check_plausibility(params: Any, gate: Gate) -> list[Result]:
    """Violations a minute: the wider of Garwood's bound and the bootstrap's."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)
    known = [f.removeprefix("violations/") for f in named(gate, "", 0) if f.startswith("violations/")]
    alpha, futures = Fraction(params["alpha"]), gate.measured["samples"]

    def one(kind: str) -> Result:
        pairs = [(s[0], s[1]) for _, s in column(gate, f"violations/{kind}", 0) if s[1] > 0]
        low, high = quotient(pairs, params)
        column(gate, f"violations/{kind}", 0, "real")
        minutes = sum((rational(t) for _, t in pairs), Fraction(0)) / futures
        few = sum((rational(e) for e, _ in pairs), Fraction(0)) / futures
        most = max(Fraction(poisson(math.ceil(few), alpha, upper=True)) / minutes, Fraction(high))
        least = min(Fraction(poisson(math.floor(few), alpha, upper=False)) / minutes, Fraction(low))
        struck, n = sum(e > 0 for e, _ in pairs), len(pairs)
        if struck:
            burst = (few / struck) / (minutes / n)
            most = max(most, (1 - Fraction(binomial_lower(n - struck, n, alpha))) * burst)
            least = min(least, Fraction(binomial_lower(struck, n, alpha)) * burst)
        return band(kind, to_12(least, up=False), to_12(most, up=True), None, params["limit"], len(pairs))

    return [guarded(gate, k, functools.partial(one, k)) for k in params["kinds"] or known] or nothing(gate)


def check_determinism(params: Any, gate: Gate) -> list[Result]:
    """The same seed gives the same bytes."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)

    def compute() -> Result:
        held = [s for _, s in column(gate, "same_seed", 0) if s[1] > 0]
        wrong = sum(s[0] < s[1] for s in held)
        few = len(held) < max(1, params["least"])
        return "", "FAIL" if wrong else "INCONCLUSIVE" if few else "PASS", str(wrong), len(held)

    return [guarded(gate, "", compute)]


def thinned(rows: list[Any]) -> list[Any]:
    """At most 128, evenly spread."""
    count = min(128, len(rows))
    return [rows[(i * (len(rows) - 1)) // max(count - 1, 1)] for i in range(count)]


def permutation_p(here: list[list[int]], there: list[list[int]], count: int, seed: int) -> Fraction:
    """The share of relabellings whose energy distance is as large, by the city-block distance of whole numbers."""
    points, m, n, mask = [*here, *there], len(here), len(there), (1 << 64) - 1
    apart = [[sum(abs(a - b) for a, b in zip(p, q, strict=True)) for q in points] for p in points]
    totals = [sum(row) for row in apart]

    def distance(chosen: list[int]) -> int:
        inside = sum(apart[i][j] for i in chosen for j in chosen)
        between = sum(totals[i] for i in chosen) - inside
        return 2 * between * m * n - inside * n * n - (sum(totals) - inside - 2 * between) * m * m

    def mixed(i: int) -> int:
        z = (seed + i * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    observed, larger = distance(list(range(m))), 0
    for b in range(count):
        keys = [mixed(b * (m + n) + i + 1) for i in range(m + n)]
        larger += distance(sorted(range(m + n), key=keys.__getitem__)[:m]) >= observed
    return Fraction(1 + larger, 1 + count)


def check_drift(params: Any, gate: Gate) -> list[Result]:
    """The drift alarm."""
    if not gate.measured or not gate.measured["episodes"]:
        return nothing(gate)
    report, alpha = gate.measured, Fraction(params["alpha"])
    here = thinned([e["features"] for e in report["episodes"]])
    there = thinned([c["features"] for c in report["calibration"]])
    few = not report["features"] or min(len(here), len(there)) < params["least"]
    if (
        few
        or max(Fraction(1, 1 + params["permutations"]), Fraction(1, math.comb(len(here + there), len(here)))) > alpha
    ):
        return nothing(gate)
    p = permutation_p(here, there, params["permutations"], params["seed"])
    return [("", "FAIL" if p <= alpha else "PASS", plain(to_12(p, up=False)), len(report["episodes"]))]


# ---- gates over pairs of trials -------------------------------------------------------------------------------------


class Pairs:
    """Trials of one release on one scenario with one seed at one site, for real and in the world model."""

    def __init__(self, gate: Gate, probability: str, alpha: str) -> None:
        reached = [self.horizon(gate, s, Fraction(probability), Fraction(alpha)) for s in gate.judged()]
        steps = min(reached, default=0)
        sides: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})
        for t in gate.both:
            imagined, site = t["executor"] == "imagined", t["slot"].split("/")[0]
            if site not in gate.sites or not (imagined or t["executor"] in gate.origins):
                continue
            cut = t["excluded"].startswith("beyond the valid horizon")
            fits = not imagined or (0 < t["metrics"].get("steps", 0) <= steps and not cut)
            key = (t["scenario"], t["release"], t["seed"], site)
            sides[imagined].setdefault(key, t if fits else None)
        ran, said = sides
        self.run = {key[0] for key in ran}
        self.rows = [(key[0], key[1], t, said[key]) for key, t in ran.items() if said.get(key) is not None]

    @staticmethod
    def horizon(gate: Gate, signal: Any, wanted: Fraction, alpha: Fraction) -> int:
        """H(epsilon) of a signal in steps; 0 without one."""
        rows = [e["signals"][signal["name"]] for e in gate.gap["episodes"] if signal["name"] in e["signals"]]
        rows = [r for r in rows if max(r["measured"], default=0) > 0 or r["nonfinite"]]
        for step in range(gate.gap["steps"] if rows and signal["epsilon"] is not None else 0):
            shares = [Fraction(r["within"][step], r["measured"][step]) for r in rows if r["measured"][step]]
            if Fraction(mean_lower(shares, alpha)) < wanted:
                return step
        return gate.gap["steps"] if rows and signal["epsilon"] is not None else 0

    def selective(self, share: str) -> bool:
        """Whether too few of the scenes that were run are paired."""
        return not self.run or Fraction(len({r[0] for r in self.rows}), len(self.run)) < Fraction(share)

    def scenes(self, counts: Any, event: Any, pick: Any) -> list[bool]:
        """One value a scene: of the pairs that count, the largest or least."""
        found: dict[str, list[bool]] = {}
        for scene, _, real, said in self.rows:
            if counts(real):
                found.setdefault(scene, []).append(event(real, said))
        return [pick(values) for values in found.values()]


def succeeded(t: Any) -> bool:
    """For real; an excluded run did not."""
    return t["success"] and not t["excluded"]


def said_so(t: Any) -> bool:
    """In the world model; an excluded run did."""
    return t["success"] or bool(t["excluded"])


def violated(t: Any) -> bool:
    """For real, or nobody knows."""
    return t["violations"] > 0 or bool(t["excluded"])


def foretold(t: Any) -> bool:
    """The world model said that a limit would be crossed."""
    return t["violations"] > 0 and not t["excluded"]


def shown_share(signal: str, events: list[bool], limit: str, alpha: Fraction, upper: bool) -> Result:
    """Clopper and Pearson's bound of a share against a limit."""
    k, n = sum(events), len(events)
    if not n:
        return signal, "INCONCLUSIVE", "", 0
    low, high = Fraction(binomial_lower(k, n, alpha)), 1 - Fraction(binomial_lower(n - k, n, alpha))
    bar = Fraction(limit)
    status = "PASS" if (high <= bar if upper else low >= bar) else "INCONCLUSIVE"
    status = "FAIL" if (low > bar if upper else high < bar) else status
    return signal, status, plain(to_12(high, up=True) if upper else to_12(low, up=False)), n


def mean_band(gate: Gate, params: Any, figure: str, signal: str, low: str | None, high: str | None) -> Result:
    """A mean of shares by Chernoff and Hoeffding."""

    def compute() -> Result:
        values = [rational(s[0]) / rational(s[1]) for _, s in column(gate, figure, 0) if s[1] > 0]
        if not values:
            raise Unmeasured
        alpha = Fraction(params["alpha"])
        least, most = mean_lower(values, alpha), 1 - Fraction(mean_lower([1 - v for v in values], alpha))
        return band(signal, Decimal(least), to_12(most, up=True), low, high, len(values))

    return guarded(gate, signal, compute)


def check_optimism(params: Any, gate: Gate) -> list[Result]:
    """Imagined success where reality fails, and known failures seen."""
    out: list[Result] = []
    if "episodes" in params["on"]:
        measured = gate.measured and gate.measured["episodes"]
        names = labels(gate, "/optimism", 0, params["labels"]) if measured else []
        for name in names:
            out.append(mean_band(gate, params, f"{name}/optimism", f"{name} optimism", None, params["limit"]))
            out.append(mean_band(gate, params, f"{name}/recall", f"{name} recall", params["recall"], None))
        out += [] if names else nothing(gate)
    if "trials" in params["on"]:
        pairs, alpha = Pairs(gate, params["probability"], params["alpha"]), Fraction(params["alpha"])
        if pairs.selective(params["share"]):
            n = len({r[0] for r in pairs.rows})
            return out + [(f"paired trials {kind}", "INCONCLUSIVE", "", n) for kind in ("optimism", "recall")]
        wrong = pairs.scenes(lambda t: True, lambda real, said: said_so(said) and not succeeded(real), any)
        caught = pairs.scenes(
            lambda t: not succeeded(t) or violated(t), lambda real, said: not said_so(said) or foretold(said), all
        )
        out.append(shown_share("paired trials optimism", wrong, params["limit"], alpha, upper=True))
        out.append(shown_share("paired trials recall", caught, params["recall"], alpha, upper=False))
    return out or [("", "INCONCLUSIVE", "", 0)]


def check_missed(params: Any, gate: Gate) -> list[Result]:
    """Limits crossed for real that the model did not see."""
    out: list[Result] = []
    alpha = Fraction(params["alpha"])
    if "episodes" in params["on"]:
        measured = gate.measured and gate.measured["episodes"]
        ends = ("/force_crossings", "/clearance_crossings")
        figures = [f for end in ends for f in named(gate, end, 0)] if measured else []

        def one(figure: str) -> Result:
            name = "force_limit_n" if figure.endswith(ends[0]) else "clearance_limit_m"
            used = gate.measured["settings"].get(name)
            if params[name] and (used is None or rational(used) != Fraction(params[name])):
                raise Unmeasured
            events = [s[2] > 0 for _, s in column(gate, figure, 0) if s[0] + s[2] > 0]
            return shown_share(figure, events, params["limit"], alpha, upper=True)

        out += [guarded(gate, f, functools.partial(one, f)) for f in figures] or nothing(gate)
    if "trials" in params["on"]:
        pairs = Pairs(gate, params["probability"], params["alpha"])
        if pairs.selective(params["share"]):
            out.append(("paired trials", "INCONCLUSIVE", "", len({r[0] for r in pairs.rows})))
        else:
            missed = pairs.scenes(violated, lambda real, said: not foretold(said), any)
            out.append(shown_share("paired trials", missed, params["limit"], alpha, upper=True))
    return out or [("", "INCONCLUSIVE", "", 0)]


def fisher_bounds(real: list[Fraction], said: list[Fraction], alpha: Fraction) -> tuple[Decimal, Decimal] | None:
    """Bounds of Pearson's correlation by Fisher's z."""
    n = len(real)
    a, b = [v - sum(real) / n for v in real], [v - sum(said) / n for v in said]
    below = sum(v * v for v in a) * sum(v * v for v in b)
    if below == 0:
        return None
    xy = sum(x * y for x, y in zip(a, b, strict=True))
    square = xy * xy / below
    r = PRECISE.sqrt(PRECISE.divide(Decimal(square.numerator), Decimal(square.denominator)))
    r = min(r, 1 - Decimal(10) ** -12) * (1 if xy >= 0 else -1)
    z = PRECISE.divide(PRECISE.ln(PRECISE.divide(1 + r, 1 - r)), Decimal(2))
    half = PRECISE.divide(Decimal(statistics.NormalDist().inv_cdf(float(1 - alpha))), PRECISE.sqrt(Decimal(n - 3)))
    low, high = (Fraction(PRECISE.divide(e - 1, e + 1)) for e in (PRECISE.exp(2 * v) for v in (z - half, z + half)))
    return to_12(low, up=False), to_12(high, up=True)


def check_rank(params: Any, gate: Gate) -> list[Result]:
    """The order of releases."""
    pairs = Pairs(gate, params["probability"], "0.05")
    by_release: dict[str, dict[str, list[tuple[bool, bool]]]] = {}
    for scene, release, real, said in pairs.rows:
        by_release.setdefault(release, {}).setdefault(scene, []).append((succeeded(real), said_so(said)))
    counted = [r for r in sorted(by_release) if len(by_release[r]) >= params["scenes"]]
    n = len(counted)
    if pairs.selective(params["share"]) or n < max(params["least"], 4):
        return [("", "INCONCLUSIVE", "", n)]

    def rate(release: str, side: int) -> Fraction:
        scenes = [Fraction(sum(p[side] for p in runs), len(runs)) for runs in by_release[release].values()]
        return sum(scenes, Fraction(0)) / len(scenes)

    real, said = ([rate(r, side) for r in counted] for side in (0, 1))
    bounds = fisher_bounds(real, said, Fraction(params["alpha"]))
    bar = Decimal(params["pearson"])
    wrong = [
        max((abs(x - y) for y, v in zip(real, said, strict=True) if (u > v) != (x > y)), default=Fraction(0))
        for x, u in zip(real, said, strict=True)
    ]
    violation = sum(wrong, Fraction(0)) / n
    second = (
        "rank violation",
        "PASS" if violation <= Fraction(params["mmrv"]) else "FAIL",
        plain(to_12(violation, up=True)),
        n,
    )
    if bounds is None:
        return [("", "INCONCLUSIVE", "", n)]
    status = "PASS" if bounds[0] >= bar else "FAIL" if bounds[1] < bar else "INCONCLUSIVE"
    return [("correlation", status, plain(bounds[0]), n), second]


CHECKS = {
    "action_following": check_following,
    "action_sensitivity": check_sensitivity,
    "admitted": check_admitted,
    "calibration": check_calibration,
    "contact": check_contact,
    "counterfactual": check_counterfactual,
    "determinism": check_determinism,
    "drift": check_drift,
    "exceedance": check_exceedance,
    "holdout": check_holdout,
    "horizon": check_horizon,
    "identity": check_identity,
    "incidents": check_incidents,
    "layout": check_layout,
    "missed_violations": check_missed,
    "not_worse": check_not_worse,
    "regression": check_regression,
    "optimism": check_optimism,
    "plausibility": check_plausibility,
    "rank": check_rank,
    "schema": check_schema,
    "skill": check_skill,
    "strata": check_strata,
    "success": check_success,
    "violations": check_violations,
}
"""Gate check, as policies name it, to what recomputes it: a list of results, in the order of the decision."""


# ---- persons: approvals and waivers ---------------------------------------------------------------------------------

STAGES = ["canary", "site", "fleet"]
NEVER_WAIVED = {"schema", "identity", "signatures", "holdout", "violations", "incidents"}
HOUR_NS = 3_600_000_000_000
COMMON = {"schema", "decision", "release", "sites", "slots", "stage", "ledger_head", "nonce"} | {
    "not_before_ns", "expires_ns"
}  # fmt: skip
FORMS = {
    "approval": COMMON | {"person"},
    "waiver": COMMON | {"policy", "check", "signal", "status", "reason", "control", "max_hours", "max_episodes"},
}


def covers(stage: str, wanted: str) -> bool:
    """Whether what was said for a stage holds for another."""
    return STAGES.index(wanted) <= STAGES.index(stage)


def in_toto(predicate: bytes, kind: str) -> bytes:
    """The in-toto Statement of a predicate: about the subject or release that it names, or about itself."""
    name, digest = "statement", sha256(predicate)
    try:
        tree = json.loads(predicate)
    except (ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict):
        subject, release = tree.get("subject"), tree.get("release")
        own = isinstance(subject, dict) and isinstance(subject.get("kind"), str) and is_digest(subject.get("digest"))
        if own:
            name, digest = subject["kind"], subject["digest"]
        elif is_digest(release):
            name, digest = "release", release
    about = canonical([{"name": name, "digest": {"sha256": digest}}])
    return BEFORE + predicate + f',"predicateType":{canonical(STATEMENT.format(kind))},"subject":{about}}}'.encode()


def is_digest(value: Any) -> bool:
    """Whether it is 64 hex digits."""
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def predicate_of(statement: bytes, kind: str) -> bytes:
    """What a statement of one kind says, to the byte."""
    predicate = statement[len(BEFORE) : max(len(BEFORE), statement.rfind(b',"predicateType":'))]
    if statement != in_toto(predicate, kind):
        raise Unreadable("its envelope is of another type or form")
    return predicate


def signed(ws: Workspace, r: Record, kind: str, key: Key) -> bytes:
    """What the envelope that a record names says: of this type, signed once, by this key, and nothing else."""
    envelope = ws.json(r.body["envelope"])
    if set(envelope) != {"payload", "payloadType", "signatures"} or envelope["payloadType"] != IN_TOTO:
        raise Unreadable("its envelope is of another type or form")
    (signature,) = envelope["signatures"]
    payload = base64.b64decode(envelope["payload"])
    own = set(signature) == {"keyid", "sig"} and signature["keyid"] == r.tree["actor"]
    if not own or not good_signature(key.public, IN_TOTO, payload, base64.b64decode(signature["sig"])):
        raise Unreadable("the signature of its envelope does not hold")
    return predicate_of(payload, kind)


def statement(ws: Workspace, r: Record, kind: str, upto: int) -> tuple[dict[str, Any], str]:
    """What a person stated, and who; its event must say the same."""
    key = ws.good(r, upto)
    if key is None or key.role != "person":
        raise Unreadable(f"the {kind} was not signed by a person whose key is good")
    data = signed(ws, r, kind, key)
    tree = parse(data)
    if not isinstance(tree, dict) or set(tree) != FORMS[kind] or not well_formed(tree, kind):
        raise Unreadable(f"not the form of this {kind}")
    body = {kind: sha256(data), "envelope": r.body["envelope"], "person": key.owner}
    said = ("decision", "release", "slots", "stage", "nonce", "not_before_ns", "expires_ns")
    if r.body != body | {name: tree[name] for name in said}:
        raise Unreadable(f"the event of this {kind} says something else than what was signed")
    return tree, key.owner


def well_formed(tree: dict[str, Any], kind: str) -> bool:
    """Whether every field of a statement is of its type."""
    head = tree["ledger_head"]
    lists = ("sites", "slots")
    texts = set(tree) - {"ledger_head", "max_hours", "max_episodes", *lists}
    limits = [tree[name] for name in ("max_hours", "max_episodes") if name in tree]
    return (
        tree["schema"] == f"worldgate/{kind}/1"
        and isinstance(head, dict)
        and set(head) == {"ledger", "seq", "hash"}
        and type(head["seq"]) is int
        and all(isinstance(text, str) for text in [head["ledger"], head["hash"], *(tree[name] for name in texts)])
        and all(isinstance(tree[name], list) and all(isinstance(s, str) for s in tree[name]) for name in lists)
        and tree["stage"] in STAGES
        and tree.get("status", "PASS") in {"PASS", "FAIL", "INCONCLUSIVE"}
        and all(limit is None or type(limit) is int for limit in limits)
        and all(re.fullmatch("0|-?[1-9][0-9]*", tree[name]) for name in ("not_before_ns", "expires_ns"))
    )


def decision_of(ws: Workspace, digest: str, upto: int) -> tuple[Record, dict[str, Any]]:
    """A recorded promotion decision and its record."""
    for r in ws.past(upto, "gate.decided"):
        if r.body.get("decision") == digest:
            key = ws.good(r, upto)
            if key is None or key.role == "robot":
                raise Unreadable("its decision was signed by a key that may not decide")
            data = signed(ws, r, "decision", key)
            d = parse(data)
            told = tuple(r.body.get(name) for name in ("decision", "subject", "verdict", "slots"))
            if told != (sha256(data), d["subject"]["digest"], d["verdict"], d["scope"]["slots"]):
                raise Unreadable("the event of its decision says something else than what was signed")
            if d["gate"] != "promotion" or not ruled(d):
                raise Unreadable("its decision has not the form of a promotion")
            return r, d
    raise Unreadable("its decision is not on this ledger")


def ruled(d: dict[str, Any]) -> bool:
    """Whether a promotion says what it is about and whom it asks for, each field of its type."""
    scope = d["scope"]
    lists = (scope["slots"], scope["sites"], d["approvers"], d["waivers"], list(scope["hardware"].values()))
    texts = [d["subject"]["digest"], d["policy"]["digest"], d["population"], *(i["digest"] for i in d["evidence"])]
    return (
        all(isinstance(items, list) for items in lists)
        and all(isinstance(text, str) for text in [*texts, *(item for items in lists for item in items)])
        and type(d["approvals_needed"]) is int
        and scope["stage"] in STAGES
        and all(re.fullmatch("0|-?[1-9][0-9]*", d[f"{name}_ns"]) for name in ("decided_at", "not_before", "expires"))
    )


def policy_of(ws: Workspace, d: dict[str, Any]) -> dict[str, Any]:
    """The policy of a decision, refused where no gate may decide by it, whatever it says."""
    policy: dict[str, Any] = ws.json(d["policy"]["digest"])
    checks, persons = policy["checks"], set(policy["approvers"])
    if any(c["waivable"] and c["check"] in NEVER_WAIVED for c in checks):
        raise Unreadable("its policy lets be waived what is never waived")
    if policy["approvals"] < 1 or policy["valid_for_days"] < 1 or (persons and len(persons) < policy["approvals"]):
        raise Unreadable("its policy asks for no person, holds for no day, or names too few persons")
    if any(c["min_n"] < 0 or c["max_age_days"] < 0 for c in checks):
        raise Unreadable("its policy asks for less than nothing")
    if len({canonical([c["check"], c["params"]]) for c in checks}) < len(checks):
        raise Unreadable("its policy asks the same twice")
    return policy


def bench(ws: Workspace, r: Record, d: dict[str, Any], upto: int) -> tuple[set[str | None], set[str | None]]:
    """(releasers, evaluators): the persons who do not count, and those who do not count alone."""
    release, evidence = d["subject"]["digest"], {item["digest"] for item in d["evidence"]}
    releasers = {
        ws.owner(o)
        for o in ws.past(upto, "release.registered", "gate.decided")
        if {ref["digest"] for ref in o.tree["outputs"]} & {release, r.body["decision"]}
    }
    evaluators = {
        ws.owner(o)
        for o in ws.past(upto, "trial.run", "evidence.made")
        if o.body.get("release") == release or o.body.get("evidence") in evidence
    }
    return releasers, evaluators


def misplaced(ws: Workspace, r: Record, tree: dict[str, Any], kind: str, decided: Record, upto: int) -> list[str]:
    """A nonce that was used before, or a head of another chain."""
    for other in ws.past(upto, "gate.approved", "gate.waived"):
        if other is r:
            break
        again = other.body.get(kind) != r.body[kind] or other.body.get("person") == r.body["person"]
        if other.body.get("nonce") == tree["nonce"] and again:
            return [f"the nonce of this {kind} was used before"]
    head = tree["ledger_head"]
    if r.ledger != ws.id:
        return [] if head["ledger"] == r.ledger else ["it was signed for another ledger"]
    if head["ledger"] != ws.id or ws.hashes.get(head["seq"]) != head["hash"]:
        return ["it was signed on another ledger or on a fork of this one"]
    return [] if decided.seq <= head["seq"] < r.seq else ["it was signed before its decision was recorded"]


def uncounted(who: str, releasers: set[str | None], d: dict[str, Any]) -> list[str]:
    """Why a person does not count."""
    if who in releasers:
        return [f"{who} does not decide about their own release or decision"]
    return [f"the policy does not name {who}"] if d["approvers"] and who not in d["approvers"] else []


def inside(tree: dict[str, Any], d: dict[str, Any]) -> bool:
    """Whether a statement stays within the slots, sites and stage of its decision."""
    sites = sorted({slot.split("/")[0] for slot in tree["slots"]})
    some = bool(tree["slots"]) and set(tree["slots"]) <= set(d["scope"]["slots"])
    return some and tree["sites"] == sites and covers(d["scope"]["stage"], tree["stage"])


def approval(ws: Workspace, r: Record) -> list[str]:
    """What is wrong with an approval, as the ledger stood then."""
    tree, who = statement(ws, r, "approval", r.seq)
    decided, d = decision_of(ws, tree["decision"], r.seq)
    if d["verdict"] != "PROMOTE" or d["subject"]["digest"] != tree["release"]:
        return ["an approval of what was not promoted"]
    if tree["person"] != who:
        return ["it was not signed by the person it names"]
    times = [int(d["not_before_ns"]), int(tree["not_before_ns"]), int(tree["expires_ns"]), int(d["expires_ns"])]
    if not inside(tree, d) or times != sorted(times) or times[1] == times[2]:
        return ["an approval beyond its decision"]
    releasers, _ = bench(ws, decided, d, r.seq)
    return uncounted(who, releasers, d) or misplaced(ws, r, tree, "approval", decided, r.seq)


def waiver(ws: Workspace, r: Record) -> list[str]:
    """What is wrong with a signature under a waiver, as the ledger stood then."""
    tree, who = statement(ws, r, "waiver", r.seq)
    decided, d = decision_of(ws, tree["decision"], r.seq)
    wrong = bad_terms(tree, d, policy_of(ws, d))
    releasers, _ = bench(ws, decided, d, r.seq)
    return wrong or uncounted(who, releasers, d) or misplaced(ws, r, tree, "waiver", decided, r.seq)


def waivable(policy: dict[str, Any], check: str) -> bool:
    """Whether a policy lets persons stand in for a check."""
    asked = [c["waivable"] for c in policy["checks"] if c["check"] == check]
    return check not in NEVER_WAIVED and bool(asked) and all(asked)


def excuses(terms: dict[str, Any], check: str, signal: str, status: str) -> bool:
    """Whether a waiver stands in for this result: one of a failure for what is inconclusive too, not the reverse."""
    enough = {"FAIL": {"FAIL"}, "INCONCLUSIVE": {"FAIL", "INCONCLUSIVE"}, "PASS": set()}[status]
    return (terms["check"], terms["signal"]) == (check, signal) and terms["status"] in enough


def bad_terms(tree: dict[str, Any], d: dict[str, Any], policy: dict[str, Any]) -> list[str]:
    """What is wrong with the terms of a waiver."""
    found = [c for c in d["checks"] if (c["check"], c["signal"]) == (tree["check"], tree["signal"])]
    limits = [n for n in (tree["max_hours"], tree["max_episodes"]) if n is not None]
    start, end = int(tree["not_before_ns"]), int(tree["expires_ns"])
    return [
        what
        for bad, what in (
            (d["verdict"] not in {"HOLD", "REJECT"}, "there is nothing to waive"),
            (
                len(found) != 1 or found[0]["status"] != tree["status"] or tree["status"] == "PASS",
                "a waiver of a result that the decision does not have",
            ),
            (not waivable(policy, tree["check"]), "a waiver of a check that is not waived"),
            (
                (tree["release"], tree["policy"]) != (d["subject"]["digest"], d["policy"]["digest"]),
                "a waiver of another release or policy than its decision",
            ),
            (not inside(tree, d), "a waiver beyond the slots, sites or stage of its decision"),
            (
                not int(d["decided_at_ns"]) <= start < end <= start + policy["valid_for_days"] * DAY_NS,
                "a waiver that begins before its decision or lasts longer than its policy allows",
            ),
            (not tree["reason"] or not tree["control"], "a waiver without a reason or a control"),
            (not limits or min(limits) < 1, "a waiver without a limit of hours or episodes"),
        )
        if bad
    ]


def standing(ws: Workspace, digest: str, now: int, upto: int) -> dict[str, Any]:
    """The terms of a waiver that holds at a time, as the ledger stood."""
    signatures = []
    for r in ws.past(upto, "gate.waived"):
        if r.body.get("waiver") == digest:
            try:
                signatures.append((r, *statement(ws, r, "waiver", upto)))
            except (Unreadable, KeyError, ValueError, TypeError):
                continue
    terms = signatures[0][1]
    decided, d = decision_of(ws, terms["decision"], upto)
    releasers, evaluators = bench(ws, decided, d, upto)
    counting = {
        who
        for r, tree, who in signatures
        if not uncounted(who, releasers, d) and not misplaced(ws, r, tree, "waiver", decided, upto)
    }
    gone = any(r.body.get("withdrawn") == digest for r in ws.past(upto, "gate.withdrawn"))
    if (
        bad_terms(terms, d, policy_of(ws, d))
        or len(counting) < max(1, d["approvals_needed"])
        or counting <= evaluators
        or gone
        or not int(terms["not_before_ns"]) <= now < int(terms["expires_ns"])
        or spent(ws, terms, now, upto)
    ):
        raise Unreadable("a waiver that does not hold")
    return terms


def spent(ws: Workspace, terms: dict[str, Any], now: int, upto: int) -> bool:
    """Whether the exposure of a waiver is used up, or not known."""
    since, running, episodes = int(terms["not_before_ns"]), 0, 0
    for slot in terms["slots"]:
        windows = []
        for r in ws.past(upto, "exposure.recorded"):
            told = window(r, terms["release"], slot)
            if told and told[0] < now and since < told[1]:
                windows.append(told[:2])
                running, episodes = running + told[2], episodes + told[3]
        for start, end in assigned(ws, terms["release"], slot, upto):
            at, end = max(start, since), min(end, now)
            for begins, ends in sorted(windows):
                at = max(at, ends) if begins <= at else at
            if at < end:
                return True
    hours, most = terms["max_hours"], terms["max_episodes"]
    return (hours is not None and running >= hours * HOUR_NS) or (most is not None and episodes >= most)


def window(r: Record, release: str, slot: str) -> tuple[int, int, int, int] | None:
    """(from, until, running, episodes) of an exposure of this release on this slot, where it can be."""
    body, ends = r.body, [r.tree["valid_from_ns"], r.tree["valid_to_ns"]]
    told = [*ends, str(body.get("running_ns"))]
    if (body.get("slot"), body.get("release")) != (slot, release) or type(body.get("episodes")) is not int:
        return None
    if not all(isinstance(text, str) and re.fullmatch("0|-?[1-9][0-9]*", text) for text in told):
        return None
    start, end, ran = map(int, told)
    return (start, end, ran, body["episodes"]) if 0 <= ran <= end - start and body["episodes"] >= 0 else None


def assigned(ws: Workspace, release: str, slot: str, upto: int) -> list[tuple[int, int]]:
    """When a release was assigned to a slot, or reported by it."""
    told = [
        (r, int(r.tree["valid_from_ns"]), int(r.tree["valid_to_ns"] or r.tree["valid_from_ns"]))
        for r in ws.past(upto, "deployment.desired", "deployment.reported")
        if r.body.get("slot") == slot and r.tree["valid_from_ns"] is not None
    ]
    starts = sorted(start for r, start, _ in told if r.kind == "deployment.desired")
    return [
        (start, min((s for s in starts if s > start), default=2**63) if r.kind == "deployment.desired" else end)
        for r, start, end in told
        if r.body.get("release") == release
    ]


def witness(ws: Workspace, path: Path) -> str:
    """The head that somebody outside the ledger signed, as SEQ:HASH."""
    envelope = parse(path.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    sight = parse(predicate_of(payload, "witness"))
    (signature,) = envelope["signatures"]
    public = bytes.fromhex(sight["public"])
    good = signature["keyid"] == sha256(public) and envelope["payloadType"] == IN_TOTO
    if not good or not good_signature(public, IN_TOTO, payload, base64.b64decode(signature["sig"])):
        raise Unreadable("the witness's signature does not hold")
    if sight["ledger"] != ws.id or (ws.id, signature["keyid"]) in ws.keys:
        raise Unreadable("a witness of another ledger, or a key of this one")
    print(f"witness: {sight['name']} saw record {sight['seq']}; key {signature['keyid']}")
    return f"{sight['seq']}:{sight['hash']}"


CLAIMS = {"gate.decided": imported, "gate.approved": approval, "gate.waived": waiver}
"""Kind of record, to what checks its claim."""


# ---- bundles --------------------------------------------------------------------------------------------------------

BUNDLE_SCHEMA = "worldgate/bundle/1"
OUTSIDE = {"bundle.json", "bundle.dsse.json", "done"}
MANIFEST = {"decision", "decision_seq", "files", "head", "keys", "ledger", "made_at_ns", "redacted", "schema"} | {
    "signer", "withheld", "witness"
}  # fmt: skip
LINE = {"digest", "hash", "kind", "ledger", "origin_seq", "payload", "seq", "signature", "why"}
GATES_READ = {"evidence.made", "exposure.recorded", "gate.decided", "gate.waived", "gate.withdrawn"} | {
    "gate_policy.registered", "plan.registered", "release.registered", "scenario.made", "slot.configured"
} | {"suite.made", "trial.run", "deployment.desired", "deployment.reported", "key.revoked"}  # fmt: skip


class Bundle(Workspace):
    """Plain files with part of a record. A withheld record keeps its links; what it says is nobody's to check."""

    def load(self) -> tuple[str, list[Record]]:
        """The manifest, and the lines of the ledger that can be read."""
        self.told = (self.root / "bundle.json").read_bytes()
        self.manifest = manifest_of(parse(self.told))
        self.hidden: dict[int, tuple[Record, str]] = {}
        self.covered: set[str] = set()
        self.left_out: set[str] = set()
        self.untold = False
        rows = []
        lines = (self.root / "ledger.jsonl").read_bytes().split(b"\n")[:-1]
        for number, line in enumerate(lines, 1):
            try:
                record, why = line_of(line)
            except (Unreadable, ValueError) as error:
                self.wrong(None, f"line {number} of ledger.jsonl is no record: {error}")
                break
            rows.append(record)
            if why:
                self.hidden[record.seq] = record, why
        return self.manifest["ledger"], rows

    def read(self, r: Record) -> None:
        """As for a workspace, where there is something to read."""
        if r.payload is not None:
            super().read(r)

    def chain(self) -> None:
        """Files, links, and that the chain ends where the manifest says and holds the head it says was kept."""
        for what in wrong_files(self.root, self.manifest["files"]):
            self.wrong(None, what)
        super().chain()
        self.records.sort(key=lambda r: r.seq)
        seq = max(self.hashes, default=0)
        if {"seq": seq, "hash": self.hashes.get(seq)} != self.manifest["head"]:
            self.wrong(None, "the chain does not end where the manifest says")
        kept = self.manifest["witness"]
        if kept is not None and self.hashes.get(kept["seq"]) != kept["hash"]:
            self.wrong(None, "the head that was kept, says the manifest, is not in the chain")

    def learn_keys(self, root: str | None) -> None:
        """Keys on the maker's word, where their records are withheld; then as for a workspace; then the signature."""
        places = {(r.ledger, r.origin_seq) for r, _ in self.hidden.values() if r.kind == "key.added"}
        for told in self.manifest["keys"]:
            try:
                if (told["ledger"], told["added"]) not in places:
                    raise KeyError("no withheld record adds it")
                key = Key({**told, "scheme": "ed25519"}, told["added"])
                key.known = 0
                self.keys.setdefault((told["ledger"], told["keyid"]), key)
            except (KeyError, ValueError) as error:
                self.wrong(None, f"a key on the maker's word, {told['keyid'][:12]}: {error}")
        super().learn_keys(root)
        try:
            self.sealed()
        except (Unreadable, OSError, KeyError, ValueError, TypeError) as error:
            self.wrong(None, f"the manifest's signature: {type(error).__name__} {error}")

    def sealed(self) -> None:
        """The manifest, signed by a key of the ledger that was good at its head."""
        m, envelope = self.manifest, parse((self.root / "bundle.dsse.json").read_bytes())
        key, (signature,) = self.keys.get((m["ledger"], m["signer"])), envelope["signatures"]
        if key is None or not key.added <= m["head"]["seq"] <= key.revoked or signature["keyid"] != m["signer"]:
            raise Unreadable("by a key that was not good at its head")
        payload = base64.b64decode(envelope["payload"], validate=True)
        if set(envelope) != {"payload", "payloadType", "signatures"} or envelope["payloadType"] != IN_TOTO:
            raise Unreadable("a statement of another type")
        held = good_signature(key.public, IN_TOTO, payload, base64.b64decode(signature["sig"]))
        if not held or predicate_of(payload, "bundle") != self.told:
            raise Unreadable("it does not hold")

    def withheld(self, digest: str) -> bool:
        """An object that the manifest names as withheld, and that is not here."""
        if digest not in self.manifest["withheld"] or (self.root / "objects" / digest[:2] / digest[2:]).is_file():
            return False
        self.left_out.add(digest)
        return True

    def decisions(self) -> None:
        """The decision it is about, what that one rests on, and their approvals."""
        seq, digest = self.manifest["decision_seq"], self.manifest["decision"]
        made = next((r for r in self.records if r.seq == seq), None)
        if seq in self.hidden:
            self.untold = True
            if self.hidden[seq][0].kind != "gate.decided":
                self.wrong(self.hidden[seq][0], "what is said to hold the decision is another kind of record")
        elif made is None or made.kind != "gate.decided" or [o["digest"] for o in made.tree["outputs"]] != [digest]:
            where = made or Record((seq, "", "", "", 0, "", None, b""))
            self.wrong(where, "the decision it is about is not where the manifest says")
        elif self.evidence_redacted(made):
            self.untold = True
        else:
            try:
                self.covered = {digest, *map(str, self.json(digest)["admissions"])}
            except (Unreadable, KeyError, TypeError) as error:
                self.wrong(made, f"the decision it is about cannot be read: {error}")
        super().decisions()

    def evidence_redacted(self, made: Record) -> bool:
        """Whether a record that gates read, or a document that the decision names, is redacted."""
        named = {*made.tree["objects"], *(ref["digest"] for ref in made.tree["inputs"] + made.tree["outputs"])}
        whys = [why for r, why in self.hidden.values() if r.kind in GATES_READ]
        whys += [why for digest, why in self.manifest["withheld"].items() if digest in named]
        return any(why.startswith("redacted") for why in whys)

    def wanted(self, r: Record) -> bool:
        """Of decisions and approvals, those that the bundle is about; waivers with them, since decisions read those."""
        if r.kind == "gate.waived":
            return not self.untold
        made = [o["digest"] for o in r.tree["outputs"]] if r.kind == "gate.decided" else [r.body.get("decision")]
        return any(digest in self.covered for digest in made if isinstance(digest, str))

    def counts(self) -> list[str]:
        """What was looked at, and what could not be."""
        objects = f"{len(self.seen) + len(self.left_out)} objects ({len(self.left_out)} withheld)"
        told = f"{len(self.rows)} records ({len(self.hidden)} withheld), {objects}"
        told = f"{told}, {self.decided} decisions, approvals and waivers"
        out = ["the decision could not be computed again: evidence of it is redacted"] if self.untold else []
        return [*out, f"{told}: {len(self.problems)} problems"]


def manifest_of(tree: Any) -> dict[str, Any]:
    """A manifest with the fields and types that it must have."""

    def head(value: Any) -> bool:
        return isinstance(value, dict) and set(value) == {"hash", "seq"} and typed(value, hash=str, seq=int)

    def key(value: Any) -> bool:
        texts = dict.fromkeys(("keyid", "ledger", "owner", "public", "role"), str)
        known = isinstance(value, dict) and set(value) == {*texts, "added"} and typed(value, added=int, **texts)
        return known and value["role"] in ("person", "robot", "service")

    def texts(value: dict[str, Any]) -> bool:
        return all(isinstance(item, str) for item in value.values())

    if not isinstance(tree, dict) or tree.get("schema") != BUNDLE_SCHEMA or set(tree) != MANIFEST:
        raise Unreadable("not a manifest that this verifier knows")
    good = typed(tree, decision=str, decision_seq=int, files=dict, keys=list, ledger=str, made_at_ns=str)
    good = good and typed(tree, redacted=list, signer=str)
    good = good and head(tree["head"]) and (tree["witness"] is None or head(tree["witness"]))
    good = good and typed(tree, withheld=dict) and texts(tree["files"]) and texts(tree["withheld"])
    good = good and all(map(key, tree["keys"])) and all(isinstance(what, str) for what in tree["redacted"])
    if not good or re.fullmatch("0|-?[1-9][0-9]*", tree["made_at_ns"]) is None:
        raise Unreadable("a manifest with a field of another type")
    return tree


def typed(tree: dict[str, Any], **types: type) -> bool:
    """Whether these fields are exactly of these types: True is no number."""
    return all(type(tree[name]) is kind for name, kind in types.items())


def line_of(line: bytes) -> tuple[Record, str]:
    """A line of ledger.jsonl: the record, and why it is withheld."""
    tree = parse(line)
    if not isinstance(tree, dict) or set(tree) != LINE:
        raise Unreadable("not the fields of a record")
    good = typed(tree, digest=str, hash=str, kind=str, ledger=str, origin_seq=int, seq=int, signature=str, why=str)
    held = isinstance(tree["payload"], str) and not tree["why"]
    if not good or not DIGEST.fullmatch(tree["digest"]) or not (held or (tree["payload"] is None and tree["why"])):
        raise Unreadable("not a record")
    payload = tree["payload"].encode() if held else None
    names = ("seq", "digest", "hash", "ledger", "origin_seq", "kind")
    return Record((*(tree[name] for name in names), payload, bytes.fromhex(tree["signature"]))), tree["why"]


def wrong_files(root: Path, files: dict[str, str]) -> list[str]:
    """Files that are missing, other than the manifest says, or not named by it."""
    out = [] if "ledger.jsonl" in files else ["the manifest does not name ledger.jsonl"]
    for name, digest in sorted(files.items()):
        path = root / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            out.append(f"file {name!a} is missing")
        elif sha256(path.read_bytes()) != digest:
            out.append(f"file {name!a} is not the one that was signed")
    for path in sorted(p for p in root.rglob("*") if not p.is_dir()):
        name = path.relative_to(root).as_posix()
        if name not in files and name not in OUTSIDE and not name.startswith("objects/"):
            out.append(f"file {name!a} is not part of it")
    return out


def main(argv: list[str] | None = None) -> int:
    """Check a folder; returns the exit code."""
    arguments = argparse.ArgumentParser(description="Check a Worldgate workspace or bundle without Worldgate.")
    arguments.add_argument("folder", type=Path, help="the workspace, or an evidence bundle")
    arguments.add_argument("--root", help="key id of the root of trust, learned from its people")
    arguments.add_argument("--head", help="SEQ:HASH that somebody else kept")
    arguments.add_argument("--witness", type=Path, help="a file in which somebody outside the ledger signed its head")
    told = arguments.parse_args(argv)
    try:
        ws = (Bundle if (told.folder / "bundle.json").is_file() else Workspace)(told.folder)
    except (Unreadable, OSError, KeyError, ValueError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    ws.chain()
    ws.learn_keys(told.root)
    heads = [told.head] if told.head else []
    if told.witness:
        try:
            heads.append(witness(ws, told.witness))
        except (Unreadable, OSError, KeyError, ValueError, TypeError) as error:
            ws.wrong(None, f"no witness: {error}")
    ws.seen_by(heads)
    ws.signatures()
    ws.objects()
    ws.decisions()
    for _, line in sorted(ws.problems, key=lambda problem: problem[0]):
        print(line)
    seq = max(ws.hashes, default=0)
    *before, last = ws.counts()
    for line in before:
        print(line)
    print(f"{last}; head {seq}:{ws.hashes.get(seq, '')}")
    if not heads:
        print("unwitnessed: no head kept elsewhere was given, so a cut tail or a re-issue would not show")
    return 1 if ws.problems else 0


if __name__ == "__main__":
    sys.exit(main())

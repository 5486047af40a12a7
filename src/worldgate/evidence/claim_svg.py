"""A safety case as a picture: the shapes of the Goal Structuring Notation, coloured by standing and lettered too.

Goals are rectangles, strategies parallelograms, solutions circles, contexts rounded, assumptions and justifications
ellipses marked A and J, and what is undeveloped has a diamond below it. Arrows with a filled head mean *supported by*,
hollow ones *in context of*. Every colour has its word beside it, so that the picture reads in black and white.

Layout: one row a depth; an element that supports several stands under the first of them, at the depth of the lowest.
Sizes are in px; text is wrapped by the width of its letters in Helvetica's metrics, rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from worldgate.core.times import format_ns
from worldgate.evidence.claim_queries import Standing
from worldgate.evidence.claim_status import Assessment, Claim, headline

_FONT = 12
_LINE = 15
_GAP_X, _GAP_Y, _SIDE, _MARGIN = 26, 46, 24, 24
_WIDTHS = {"goal": 216, "strategy": 216, "solution": 156, "context": 170, "assumption": 176, "justification": 176}
_COLOURS = {
    Standing.FRESH: ("#e4f4e8", "#1f6b3a"),
    Standing.STALE: ("#fdf1d3", "#8a5a00"),
    Standing.UNDEVELOPED: ("#eceff3", "#4d5866"),
    Standing.FAILED: ("#fbe3e1", "#a3231b"),
    None: ("#f7f8fa", "#66707d"),
}
_NARROW, _WIDE = frozenset("iljtf.,:;'|!()[] "), frozenset("mwMWQOG@%ABCDEHKNRUVXY")


@dataclass(slots=True)
class _Box:
    claim: Claim
    lines: list[str]
    w: float
    h: float
    x: float = 0.0
    """Centre."""
    y: float = 0.0
    """Top."""


def draw(assessment: Assessment) -> str:
    """SVG text of an assessed tree, on a light ground."""
    boxes = {name: _box(claim) for name, claim in assessment.claims.items()}
    children, depth = _places(assessment)
    root = assessment.tree.root
    width = _place(root, boxes, children, _MARGIN)
    top, floors = 92.0, {}
    for level in range(max(depth.values()) + 1):
        row = [name for name, d in depth.items() if d == level]
        height = max(max(boxes[name].h, _beside(name, boxes)[1]) for name in row)
        for name in row:
            floors[name] = top + height
            boxes[name].y = top + (height - boxes[name].h) / 2
            _stack(name, boxes)
        diamond = 22 if any(boxes[name].claim.element.undeveloped for name in row) else 0
        top += height + _GAP_Y + diamond
    width = max(width + _MARGIN, 560)
    parts = [_frame(assessment, width, top)]
    parts += [_support(boxes[a], boxes[b], floors[a]) for a in depth for b in boxes[a].claim.element.supported_by]
    parts += [_circumstance(boxes[a], boxes[b]) for a in depth for b in boxes[a].claim.element.in_context_of]
    parts += [_shape(box) for box in boxes.values()]
    return "\n".join([*parts, "</svg>", ""])


def _text_width(text: str) -> float:
    return sum(3.7 if c in _NARROW else 9.2 if c in _WIDE else 6.9 for c in text)


def _wrap(text: str, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        while _text_width(word) > width:
            cut = max(1, int(len(word) * width / _text_width(word)) - 1)
            lines.append(word[:cut])
            word = word[cut:]
        if lines and _text_width(f"{lines[-1]} {word}") <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines


def _label(claim: Claim) -> str:
    """Standing, level and age: FRESH · L6 · 3 d."""
    words = [claim.standing.value.upper() if claim.standing else ""]
    words.append(claim.element.level or (f"reaches {claim.level}" if claim.level else ""))
    words.append("" if claim.age_days is None else f"{claim.age_days} d old")
    return " · ".join(filter(None, words))


def _origin(claim: Claim) -> str:
    """What is not real says so in the picture."""
    marks = [mark for mark in ("simulated", "imagined") if mark in claim.population]
    return f"{' and '.join(marks)} data" if marks else ""


def _box(claim: Claim) -> _Box:
    kind, width = claim.element.kind, _WIDTHS[claim.element.kind]
    inner = width - (56 if kind in ("strategy", "assumption", "justification") else 20)
    lines = _wrap(claim.element.text, inner)
    why = claim.reason if claim.standing not in (None, Standing.FRESH) else ""
    if why and kind == "solution":
        lines += ["", *_wrap(why if len(why) < 90 else f"{why[:87]}...", inner)]
    lines += [mark.upper() for mark in [_origin(claim)] if mark]
    height = _LINE * (len(lines) + (2 if claim.standing else 1)) + 22
    if kind == "solution":
        side = max(132.0, 1.16 * (height**2 + 100**2) ** 0.5)
        return _Box(claim, lines, side, side)
    extra = 16 if kind in ("assumption", "justification") else 0
    return _Box(claim, lines, width, height + extra)


def _places(assessment: Assessment) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Children by the first element they support, and the depth of every element that is argued or supports."""
    tree = assessment.tree
    argued = [e for e in tree.elements.values() if e.kind in ("goal", "strategy", "solution")]
    depth = {e.id: 0 for e in argued}
    for _ in argued:
        for e in argued:
            for name in e.supported_by:
                depth[name] = max(depth[name], depth[e.id] + 1)
    children: dict[str, list[str]] = {e.id: [] for e in argued}
    placed: set[str] = set()
    for e in argued:
        for name in e.supported_by:
            if name not in placed:
                placed.add(name)
                children[e.id].append(name)
    return children, depth


def _beside(name: str, boxes: dict[str, _Box]) -> tuple[float, float]:
    """Width and height of the circumstances that stand to the right of an element."""
    around = [boxes[other] for other in boxes[name].claim.element.in_context_of]
    if not around:
        return 0.0, 0.0
    return max(b.w for b in around) + _SIDE, sum(b.h + 10 for b in around) - 10


def _place(name: str, boxes: dict[str, _Box], children: dict[str, list[str]], left: float) -> float:
    """Place a subtree from a left edge; returns its right edge."""
    box, side = boxes[name], _beside(name, boxes)[0]
    at = left
    for child in children[name]:
        at = _place(child, boxes, children, at) + _GAP_X
    below = max(at - _GAP_X, left)
    if below - left < box.w:
        _shift(children[name], boxes, children, (box.w - below + left) / 2)
        below = left + box.w
    box.x = (left + below) / 2
    return max(below, box.x + box.w / 2 + side)


def _shift(names: list[str], boxes: dict[str, _Box], children: dict[str, list[str]], by: float) -> None:
    for name in names:
        boxes[name].x += by
        _shift(children[name], boxes, children, by)


def _stack(name: str, boxes: dict[str, _Box]) -> None:
    box = boxes[name]
    height = _beside(name, boxes)[1]
    top = box.y + box.h / 2 - height / 2
    for other in box.claim.element.in_context_of:
        beside = boxes[other]
        beside.x, beside.y = box.x + box.w / 2 + _SIDE + beside.w / 2, top
        top += beside.h + 10


def _frame(assessment: Assessment, width: float, height: float) -> str:
    counts = [
        f"{sum(c.standing is s for c in assessment.claims.values() if c.element.kind == 'solution')} {s.value}"
        for s in Standing
    ]
    said = f"{headline(assessment)}. Evidence: {', '.join(counts)}."
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="{_FONT}" '
            f'role="img" aria-label="{escape(assessment.tree.title)}">',
            "<defs>",
            '<marker id="full" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" orient="auto">'
            '<path d="M0 0L10 5L0 10z" fill="#39424e"/></marker>',
            '<marker id="hollow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" '
            'orient="auto"><path d="M0 0L10 5L0 10z" fill="#ffffff" stroke="#39424e"/></marker>',
            "</defs>",
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
            f'<text x="{_MARGIN}" y="34" font-size="17" font-weight="bold" fill="#1c2430">'
            f"{escape(assessment.tree.title)}</text>",
            f'<text x="{_MARGIN}" y="56" fill="#39424e">{escape(said)}</text>',
            f'<text x="{_MARGIN}" y="74" fill="#66707d">asked {format_ns(assessment.now_ns)} of the ledger up to '
            f"record {assessment.ledger_seq}; levels L0 to L7 after arXiv:2606.15032</text>",
        ]
    )


def _support(above: _Box, below: _Box, floor: float) -> str:
    """Straight down to the foot of the row, so that no line runs behind what stands beside, then over."""
    x0, x1, y1 = above.x, below.x, below.y
    middle = (floor + y1) / 2
    down = f"M{x0:.1f} {above.y + above.h:.1f}V{floor:.1f}"
    path = f"{down}C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    return f'<path d="{path}" fill="none" stroke="#39424e" stroke-width="1.3" marker-end="url(#full)"/>'


def _circumstance(of: _Box, beside: _Box) -> str:
    x0, y0 = of.x + of.w / 2, of.y + of.h / 2
    x1, y1 = beside.x - beside.w / 2, beside.y + beside.h / 2
    path = f"M{x0:.1f} {y0:.1f}C{(x0 + x1) / 2:.1f} {y0:.1f} {(x0 + x1) / 2:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    return f'<path d="{path}" fill="none" stroke="#66707d" marker-end="url(#hollow)"/>'


def _shape(box: _Box) -> str:
    claim, kind = box.claim, box.claim.element.kind
    fill, line = _COLOURS[claim.standing]
    x, y, w, h = box.x - box.w / 2, box.y, box.w, box.h
    paint = f'fill="{fill}" stroke="{line}" stroke-width="1.6"'
    if kind == "goal":
        out = [f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" {paint}/>']
    elif kind == "strategy":
        corners = f"{x + 18:.1f},{y:.1f} {x + w + 9:.1f},{y:.1f} {x + w - 18:.1f},{y + h:.1f} {x - 9:.1f},{y + h:.1f}"
        out = [f'<polygon points="{corners}" {paint}/>']
    elif kind == "solution":
        out = [f'<circle cx="{box.x:.1f}" cy="{y + h / 2:.1f}" r="{w / 2:.1f}" {paint}/>']
    elif kind == "context":
        out = [f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{min(h, 36) / 2:.1f}" {paint}/>']
    else:
        out = [f'<ellipse cx="{box.x:.1f}" cy="{y + h / 2:.1f}" rx="{w / 2:.1f}" ry="{h / 2:.1f}" {paint}/>']
        mark = {"assumption": "A", "justification": "J"}[kind]
        out.append(_words(x + w - 4, y + h - 2, mark, line, bold=True))
    if claim.element.undeveloped:
        bottom = y + h
        corners = f"{box.x},{bottom} {box.x + 10},{bottom + 10} {box.x},{bottom + 20} {box.x - 10},{bottom + 10}"
        out.append(f'<polygon points="{corners}" fill="#ffffff" stroke="{line}" stroke-width="1.6"/>')
    return "\n".join([*out, *_lines(box, line)])


def _lines(box: _Box, colour: str) -> list[str]:
    label = _label(box.claim)
    texts = [(box.claim.element.id, "#1c2430", True)]
    texts += [(line, "#1c2430", False) for line in box.lines]
    texts += [(label, colour, True)] if label else []
    top = box.y + (box.h - _LINE * len(texts)) / 2 + _FONT
    return [_words(box.x, top + _LINE * i, text, ink, bold=bold) for i, (text, ink, bold) in enumerate(texts) if text]


def _words(x: float, y: float, text: str, colour: str, *, bold: bool) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}"{weight}>{escape(text)}</text>'

"""The table of video models: sums by episode become figures with intervals, paired differences and verdicts.

A difference is above 0 where ours is better; ``ahead`` and ``behind`` need the whole interval, ``open`` says that there
are too few episodes for one, or that neither more nor less is better. Models that have not converged are ``starved``: a
lead over one is no lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldgate.evidence.evaluation.sums import Estimate, advantage, estimate

OURS = ("flow", "masked", "conv")
STARVED = 0.05
LEAST_STEPS = 300
"""Of the last stage; with fewer, a flat curve says nothing."""
LEVEL, RESAMPLES = 0.05, 2000
FIGURES: Mapping[str, str] = {
    "energy": "mean", "object_error": "mean", "contact_f1": "f1", "moving_psnr": "decibel", "moving": "mean",
    "psnr": "mean", "action_following": "correlation", "action_gain": "slope", "optimism": "mean",
    "pessimism": "mean", "onset_f1": "f1",
}  # fmt: skip
"""Figures of the table, and how sums become them."""


def score(told: Mapping[str, Any]) -> float:
    """Energy score at the end of a training, mean over its short horizons."""
    return _score(told["curve"][-1])


def _score(point: Mapping[str, Any]) -> float:
    return float(np.mean([value for name, value in point.items() if name.startswith("energy@")]))


def starved(told: Mapping[str, Any]) -> bool:
    """Whether a model was still getting better in the last quarter of its training, or has hardly begun."""
    if len(told["curve"]) < 2 or told["stages"][-1]["steps"] < LEAST_STEPS:
        return True
    before, last = told["curve"][-2], told["curve"][-1]
    gains = [1 - _score(last) / _score(before)]
    if last["own_loss_held_out"] is not None and before["own_loss_held_out"] > 0:
        gains.append(1 - last["own_loss_held_out"] / before["own_loss_held_out"])
    return max(gains) > STARVED


def contenders(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Contender -> figure -> step -> episode -> sums; the baselines are those of the first model, alike for all."""
    out: dict[str, dict[str, Any]] = {}
    first = next(iter(found))
    pairs = [(name, name, "model") for name in found]
    pairs += [("copy-last", first, "hold"), ("velocity", first, "velocity"), ("real", first, "real")]
    pairs += [(f"{name} under other actions", name, "other") for name in found]
    for name, model, who in pairs:
        for figure, entry in found[model]["sums"].items():
            for step, by_who in entry["steps"].items():
                if who in by_who:
                    held = {int(e): np.array(v) for e, v in by_who[who].items()}
                    out.setdefault(name, {}).setdefault(figure, {})[step] = held
    return out


def rows_of(name: str, found: Mapping[str, Any], rate_hz: float) -> list[dict[str, Any]]:
    """Rows of the table: every figure of ours at every horizon, beside every other."""
    sums = contenders(found)
    out: list[dict[str, Any]] = []
    ours = [model for model in OURS if model in found]
    for model in ours:
        for figure, entry in found[model]["sums"].items():
            short = figure.rsplit("/", 1)[-1]
            if short not in FIGURES:
                continue
            for step in sorted(entry["steps"], key=int):
                if step in sums[model].get(figure, {}):
                    out.append(_row(name, model, figure, step, sums, found, rate_hz))
    return out


def _row(
    name: str, model: str, figure: str, step: str, sums: Mapping[str, Any], found: Mapping[str, Any], rate_hz: float
) -> dict[str, Any]:
    short = figure.rsplit("/", 1)[-1]
    entry = found[model]["sums"][figure]
    sign = {"lower": -1.0, "higher": 1.0, "target": 0.0}[entry["better"]]
    mine = sums[model][figure][step]
    others: dict[str, Any] = {}
    for rival, held in sums.items():
        if rival != model and rival != "real" and "other actions" not in rival and step in held.get(figure, {}):
            others[rival] = _against(mine, held[figure][step], FIGURES[short], sign)
            others[rival]["starved"] = bool(found.get(rival, {}).get("starved", False))
    valued = {rival: o for rival, o in others.items() if o["value"] is not None}
    best = max(valued, key=lambda rival: sign * valued[rival]["value"], default="") if sign else ""
    value = _told(_estimate(mine, FIGURES[short]))
    peer = valued[best]["value"] if best else None
    when = f"{step} frames ({int(step) / rate_hz:g} s)" if step != "0" else "whole windows"
    out = {
        "what": f"{name}, {when}: {short} of {model}", "value": value[0], "interval": value[1:], "unit": entry["unit"],
        "better": entry["better"], "peer": best, "peer_value": peer,
        "ratio": round(value[0] / peer, 4) if peer and value[0] is not None else None,
        "bar": peer, "ok": bool(best) and all(o["verdict"] == "ahead" for o in valued.values()),
        "starved": any(o["starved"] for o in others.values()), "others": others,
    }  # fmt: skip
    if step in sums.get("real", {}).get(figure, {}):
        out["real"] = _told(_estimate(sums["real"][figure][step], FIGURES[short]))[0]
    other = sums.get(f"{model} under other actions", {}).get(figure, {}).get(step)
    if other is not None and short in {"energy", "moving", "object_error"}:
        gain = advantage(mine, other, "mean", relative=True, level=LEVEL, resamples=RESAMPLES, seed=0)
        out["counterfactual"] = _told(gain)
    if short == "moving" and "copy-last" in others:
        still = sums["copy-last"][figure][step]
        gain = advantage(mine, still, "mean", relative=True, level=LEVEL, resamples=RESAMPLES, seed=0)
        out["skill_over_copy_last"] = _told(gain)
    return out


def _against(mine: Any, theirs: Any, reduction: str, sign: float) -> dict[str, Any]:
    """Another's figure, and the paired difference, above 0 where ours is better."""
    value = _told(_estimate(theirs, reduction))
    gain = advantage(mine, theirs, reduction, relative=False, level=LEVEL, resamples=RESAMPLES, seed=0)
    apart, low, high = _told(gain)
    if sign < 0 and apart is not None:
        apart, low, high = -apart, None if high is None else -high, None if low is None else -low
    if sign == 0:
        apart = low = high = None
    verdict = "open" if low is None or high is None else "ahead" if low > 0 else "behind" if high < 0 else "even"
    return {"value": value[0], "interval": value[1:], "difference": [apart, low, high], "verdict": verdict}


def _estimate(held: Any, reduction: str) -> Estimate:
    return estimate(held, reduction, level=LEVEL, resamples=RESAMPLES, seed=0)


def _told(found: Estimate) -> list[float | None]:
    return [None if v is None else round(float(v), 5) for v in (found.value, found.lower, found.upper)]


def speed_rows(name: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pictures that are learned from and imagined in a processor second, and memory, beside the best of the others."""
    ways = {
        "pictures learned from in the last stage": ("1/cpu s", lambda held: held["stages"][-1]["frames_per_cpu_s"], 1),
        "pictures imagined, one future": ("1/cpu s", lambda held: held["imagined_per_cpu_s"]["1"], 1),
        "pictures imagined, eight futures at once": ("1/cpu s", lambda held: held["imagined_per_cpu_s"]["8"], 1),
        "most memory in training": ("MB", lambda held: held["memory"]["peak_mb"], -1),
    }
    out = []
    for what, (unit, of, sign) in ways.items():
        for model in (m for m in OURS if m in found):
            others = {rival: of(held) for rival, held in found.items() if rival != model}
            best = max(others, key=lambda rival: sign * others[rival], default="")
            peer, value = others.get(best), of(found[model])
            ratio = round(value / peer, 3) if peer else None
            row = {"what": f"{name}: {what}, {model}", "value": value, "unit": unit, "peer": best, "peer_value": peer}
            out.append(row | {"ratio": ratio, "bar": None, "ok": None, "others": others})
    return out


def shown(name: str, result: Mapping[str, Any], *, quick: bool) -> list[str]:
    """A set's table for people: a line a model, and one a figure and horizon with all of them."""
    lines = [f"\n{result['told']}"]
    for model, held in result["models"].items():
        rate = ", ".join(f"{s['stage']} {s['frames_per_cpu_s']:g}" for s in held["stages"] if s["frames_per_cpu_s"])
        memory = "" if quick else f", {held['memory']['peak_mb']} MB (before training {held['memory']['before_mb']})"
        size = f"{held['parameters'] / 1e6:.2f} M"
        lines.append(
            f"  {model:7}{size}, configuration {held['configuration']}, best of {held['of']}; "
            f"{held['stages'][-1]['steps']} steps; trains {rate} pictures/s, imagines "
            f"{held['imagined_per_cpu_s']['8']:g}/s{memory}{'; starved' if held['starved'] else ''}"
        )
    grouped: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for row in result["rows"]:
        what, _, model = row["what"].removeprefix(f"{name}, ").rpartition(" of ")
        grouped.setdefault(what, []).append((model, row))
    for what, held in grouped.items():
        first, row = held[0]
        real = "" if row.get("real") is None else f"; read from real pictures {row['real']:.3g}"
        lines.append(f"  {what} [{row['unit']}], {row['better']}{real}")
        values = {first: row, **row["others"]}
        lines.append("    " + ", ".join(f"{who} {_number(v['value'], *v['interval'])}" for who, v in values.items()))
        for model, mine in held:
            told = [f"{o['verdict']} {who}{' (starved)' if o['starved'] else ''}" for who, o in mine["others"].items()]
            said = ", ".join(word for word in told if not word.startswith("open"))
            lines += [f"    {model}: {said}"] if said else []
    return lines


def _number(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if low is None or high is None else f"{value:.3g} [{low:.3g}, {high:.3g}]"

"""The table of commands: what the root page shows, in the order of work, and where each is imported from when called.

Each line equals the first line of the command's own docstring; ``tests/cli`` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

DATA, WORLDS, GATES, LOOK, NOUNS = "Data", "World models", "Gates and fleet", "Look and run", "More, by noun"
PANELS = (DATA, WORLDS, GATES, LOOK, NOUNS)


@dataclass(frozen=True, slots=True)
class Command:
    """One entry of the root page."""

    name: str
    panel: str
    target: str
    """``module:function``, or ``module:app`` for a verb or noun with commands below it."""
    line: str


GATE = "Decide by a policy whether a world model is admitted or a release promoted."
DEMO = "See the whole loop turn once, from logs to a signed decision that can say no."
QUERY = "Ask the record in SQL: logs, streams, facts, findings, labels, datasets."
PLAN = "Plan in a world model from held-out starts to held-out goals, in a simulated task."
POLICY = "Measure releases in simulators, world models and on recorded episodes."
REPLAY = "Replay an incident beside what happened, in the world models admitted there."
SUITE = "Say what releases are tried on, and what that does not cover."
TRIAL = "Run trials of releases, or take in those that somebody else ran."
INCIDENT = "Freeze what happened on an arm, and close it with a scenario."

COMMANDS = (
    Command("init", DATA, "worldgate.cli.init:init", "Make a workspace and its first keys."),
    Command("ingest", DATA, "worldgate.cli.ingest:ingest", "Read logs into the workspace."),
    Command("check", DATA, "worldgate.cli.check:check", "Check logs against a contract."),
    Command("snapshot", DATA, "worldgate.cli.snapshot:snapshot", "Freeze checked episodes as a dataset."),
    Command("train", WORLDS, "worldgate.cli.train:app", "Train a world model, a tokenizer or a policy on a dataset."),
    Command(
        "imagine", WORLDS, "worldgate.cli.imagine:imagine", "Roll a world model forward from a moment of an episode."
    ),
    Command("plan", WORLDS, "worldgate.cli.plan:plan", PLAN),
    Command("gap", WORLDS, "worldgate.cli.gap:app", "Measure what a world model imagines against held-out telemetry."),
    Command("gate", GATES, "worldgate.cli.gate:app", GATE),
    Command("fleet", GATES, "worldgate.cli.fleet:app", "Say which release runs, and ran, on which arm."),
    Command("incident", GATES, "worldgate.cli.incident:app", INCIDENT),
    Command("replay", GATES, "worldgate.cli.replay:app", REPLAY),
    Command("show", LOOK, "worldgate.cli.show:app", "Show what anything is, what made it and what it touched."),
    Command("query", LOOK, "worldgate.cli.query:query", QUERY),
    Command("run", LOOK, "worldgate.cli.run:run", "Run a recipe from start to report."),
    Command("demo", LOOK, "worldgate.cli.demo:demo", DEMO),
    Command("doctor", LOOK, "worldgate.cli.doctor:doctor", "Say what this machine has and lacks."),
    Command(
        "data",
        NOUNS,
        "worldgate.cli.data:app",
        "Label, search, deduplicate, align and export what was ingested.",
    ),
    Command("list", NOUNS, "worldgate.cli.list:list_", "List what can be named at a seam."),
    Command("policy", NOUNS, "worldgate.cli.policy:app", POLICY),
    Command("record", NOUNS, "worldgate.cli.record:app", "Verify the record and keep its keys."),
    Command("sim", NOUNS, "worldgate.cli.sim:app", "Record simulated runs of the embedded cell."),
    Command("suite", NOUNS, "worldgate.cli.suite:app", SUITE),
    Command("trial", NOUNS, "worldgate.cli.trial:app", TRIAL),
    Command("world", NOUNS, "worldgate.cli.world:app", "Measure trained models and tokenizers, and export tokens."),
)

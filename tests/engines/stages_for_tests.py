"""Stages that tests run in workers: found by import path, as a worker finds them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from worldgate.core.errors import LogUnreadable
from worldgate.engines import Made, Place


def _tally(config: Any, word: str) -> None:
    """One line in the file that the test named: which call ran, and in which process."""
    if config.get("tally"):
        with Path(config["tally"]).open("a") as file:
            file.write(f"{word} {config.get('n', '')} {os.getpid()}\n")


def answer(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """A number doubled, after a while."""
    time.sleep(config.get("wait_s", 0.0))
    _tally(config, "done")
    return Made(value={"n": 2 * config["n"], "inputs": list(inputs)})


def refuse(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """One of our errors, or somebody else's."""
    if config["ours"]:
        raise LogUnreadable("holds nothing", got="0 bytes", hint="record again")
    raise ValueError("a defect\udcff")


def files(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """A value with a file of the cache."""
    _tally(config, "done")
    return Made(value="made", files={"things/a.bin": b"\x00\x01" * 1000})


def die_once(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Kills its own worker the first time: nothing is caught, nothing is cleaned up."""
    mark = Path(config["mark"])
    _tally(config, "start")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    _tally(config, "done")
    return Made(value=config["n"])


def die(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Kills every worker it is given to."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Made(value=None)


def touch_and_wait(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Say that it began, and take long."""
    _tally(config, "start")
    time.sleep(config["wait_s"])
    _tally(config, "done")
    return Made(value=config["n"])


def node(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Which Ray node this is."""
    import ray

    time.sleep(config["wait_s"])
    return Made(value=ray.get_runtime_context().get_node_id())

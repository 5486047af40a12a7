"""``worldgate world``: what is done with trained worlds and tokenizers beside training and imagining.

Each topic stands in ``_world_<topic>.py``, which imports what it needs when it is called, and is registered here in one
line.
"""

from __future__ import annotations

from cyclopts import App

from worldgate.cli._world_evaluate import evaluate
from worldgate.cli._world_prompts import prompts
from worldgate.cli._world_samples import samples
from worldgate.cli._world_tokens import tokens

app = App(name="world", help="Measure trained models and tokenizers, and export tokens.")
app.command(evaluate)
app.command(prompts)
app.command(samples)
app.command(tokens)

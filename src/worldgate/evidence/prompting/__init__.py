"""What prompts are worth: samples under each kind of prompt against samples under the empty one, on held-out episodes.

A prompt that is read brings samples nearer to what happened than the empty prompt does, and nearer than the same kind
of prompt taken from another episode: the second is what a model that ignores its prompt, or only gains by any prompt at
all, cannot show. Differences are paired by window, and every interval is over episodes.
"""

from worldgate.evidence.prompting.kinds import KINDS, PromptKind
from worldgate.evidence.prompting.report import PromptRow, Prompts
from worldgate.evidence.prompting.run import PromptsConfig, measure

__all__ = ["KINDS", "PromptKind", "PromptRow", "Prompts", "PromptsConfig", "measure"]

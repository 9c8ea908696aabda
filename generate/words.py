"""The catalogue's words, for `rotctl`, which is a client and has none of the product's code."""

from __future__ import annotations

from generate.text import document
from rotation.model.catalogue import (
    Outcome,
    Progress,
    Stage,
    StepName,
    ending,
    progress_words,
    stage_words,
    step_words,
)


def made() -> str:
    outcomes = {outcome: ending(outcome) for outcome in Outcome}
    stages = {stage: stage_words(stage) for stage in Stage}
    steps = {step: step_words(step) for step in StepName}
    return document(
        {
            "outcomes": {
                str(name): {"headline": one.headline, "tone": one.tone, "toDo": one.to_do}
                for name, one in outcomes.items()
            },
            "stages": {
                str(name): {"headline": one.headline, "asks": one.asks}
                for name, one in stages.items()
            },
            "steps": {
                str(name): {"name": one.name, "what": one.what, "about": one.about}
                for name, one in steps.items()
            },
            "progress": {str(name): progress_words(name) for name in Progress},
        }
    )

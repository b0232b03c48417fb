"""Two processes that run a command at once: into one output, or with one cache into two outputs."""

from __future__ import annotations

import random
import time

from children import Child, Outcome
from outputs import content
from trial import Fault, Trial


def play_same_output(trial: Trial, chance: random.Random) -> None:
    """Let two processes write the same output: one good result, and the other ends well or with one line."""
    arguments = trial.command.arguments
    outcomes = _run_both(arguments, arguments, _delay(trial, chance))
    best = min(outcomes, key=lambda outcome: outcome.code or 0)
    for outcome in outcomes:
        errors = [line for line in outcome.output.splitlines() if line.startswith("wordllama-st ")]
        if outcome.code and (outcome.code != 1 or len(errors) != 1 or str(trial.place.folder) not in errors[0]):
            raise Fault(f"exit code {outcome.code}, not one line that names a file: {outcome.output}")
    trial.check_end(arguments, best)
    trial.tally.at_once += 1


def play_same_cache(trial: Trial, chance: random.Random) -> None:
    """Let two processes fill one cache, of a teacher or of the Hub, for an output each; both end well."""
    out = trial.place.out
    first, second = (
        trial.command.arguments,
        tuple(
            argument.replace(str(out / "model"), str(out / "other")).replace(
                str(out / "checkpoints"), str(out / "more")
            )
            for argument in trial.command.arguments
        ),
    )
    if "model-teacher" in trial.command.state:
        second = (*second, "--cache", str(out / "model-teacher"))
    outcomes = _run_both(first, second, _delay(trial, chance))
    for outcome in outcomes:
        if outcome.code:
            raise Fault(f"exit code {outcome.code}: {outcome.output}")
    trial.check_end(first, outcomes[0])
    for name in trial.command.outputs:
        one, other = (content(out / place) for place in (name, name.replace("model", "other")))
        different = {file for file in one.keys() | other.keys() if one.get(file) != other.get(file)}
        if different - {"README.md"}:  # which has the name
            raise Fault(f"{', '.join(different)} of the two outputs differ")
    trial.tally.at_once += 1


def _run_both(first: tuple[str, ...], second: tuple[str, ...], delay: float) -> list[Outcome]:
    one = Child(first)
    time.sleep(delay)
    other = Child(second)
    return [one.finish(), other.finish()]


def _delay(trial: Trial, chance: random.Random) -> float:
    """None, or up to the time of an undisturbed run."""
    return chance.choice([0.0, chance.uniform(0, trial.undisturbed.seconds)])

"""Rounds of kills: a command is killed once or several times, and then run to its end."""

from __future__ import annotations

import random

import children
from children import Outcome
from outputs import leftovers
from trial import Fault, Trial

#: Chances that a round has older outputs to overwrite, and that the run after a kill is killed, too.
OVERWRITES, KILLED_AGAIN = 0.4, 0.5


def play_kills(trial: Trial, chance: random.Random) -> None:
    """Kill a command at random points, check what is there after each, and run it to its end."""
    arguments = trial.command.arguments
    overwrites = not trial.command.in_parts and chance.random() < OVERWRITES
    if overwrites:
        arguments = (*arguments, "--overwrite")
        trial.lay_old()
    points: list[str] = []
    try:
        outcome = _killed_and_ended(trial, arguments, chance, points, overwrites)
        trial.check_end(arguments, outcome)
    except Fault as fault:
        raise Fault(f"{', '.join(points)}: {fault}") from fault
    trial.tally.rounds += 1


def _killed_and_ended(
    trial: Trial, arguments: tuple[str, ...], chance: random.Random, points: list[str], overwrites: bool
) -> Outcome:
    """Kill a command at points that are noted, and return the outcome of the run that was not killed."""
    while True:
        work = trial.outputs.finished_work()
        outcome, point = _run_to_point(trial, arguments, chance, to_end=bool(points) and chance.random() > KILLED_AGAIN)
        if not outcome.was_killed:
            trial.tally.resumed += bool(points) and _has_resumed(trial, outcome, work)
            return outcome
        points.append(point)
        trial.tally.kills += 1
        trial.tally.leftovers += len(leftovers(trial.place.out))
        if trial.outputs.are_new():
            trial.tally.after += 1
        else:
            trial.tally.before += 1
        if faults := trial.outputs.faults_of_kill(trial.place.old if overwrites else None):
            raise Fault("; ".join(faults))


def _run_to_point(
    trial: Trial, arguments: tuple[str, ...], chance: random.Random, *, to_end: bool
) -> tuple[Outcome, str]:
    """Run a command up to a random time of its run or a random change of the file system, or to its end."""
    if to_end:
        return children.run(arguments), "not killed"
    if chance.random() < 0.5:
        after = chance.uniform(0, trial.undisturbed.seconds)
        outcome = children.run(arguments, kill_after=after)
        trial.tally.by_time += outcome.was_killed
        return outcome, f"killed after {after:.3f} s"
    at = chance.randint(1, trial.undisturbed.changes)
    outcome = children.run(arguments, kill_at=at)
    trial.tally.by_change += outcome.was_killed
    return outcome, f"killed at change {at} of {trial.undisturbed.changes}"


def _has_resumed(trial: Trial, outcome: Outcome, work: set[tuple[str, int, int]]) -> bool:
    """Whether a run began with a later step, kept a finished file, or says that it found parts."""
    if outcome.first_step or "from an earlier run" in outcome.output:
        return True
    return bool(work & trial.outputs.finished_work())

"""Contests: who measures what beside whom, by turns.

A row is one line of the table; the entrants of a contest fill one or more rows each time they run.
An entrant is one of the two trees, a peer, or a limit of the machine."""
import json
import sys
import time

from side_by_side import machine
from side_by_side.programs import Failed


class Contest:
    def __init__(self, suite, rows, turns=1, warm_up=False):
        """`rows`: (name, unit), or (name, unit, "p95"), which takes the values of all rounds
        together. Less is better in each. `warm_up`: what is timed are programs from their start,
        and a round before the first leaves no trace but its failures."""
        self.suite = suite
        self.rows = [(row + ("median",))[:3] for row in rows]
        self.turns, self.warm_up = turns, warm_up
        self.entrants = []
        self.lacks = None  # why nobody enters

    def enter(self, name, role, measure):
        """`measure()` yields (row name, place or "", value); it may raise Failed."""
        self.entrants.append((name, role, measure))


class Recorder:
    """What was measured, as lines of a record, which table.py reads."""

    def __init__(self, path, head):
        self.file = open(path, "w", encoding="utf-8")
        self.write(head)

    def write(self, line):
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def rows(self, contest):
        for name, unit, figure in contest.rows:
            self.write({"suite": contest.suite, "row": name, "unit": unit, "figure": figure,
                        "lacks": contest.lacks})

    def value(self, contest, number, load, entrant, told):
        row, place, value = told
        self.write({"suite": contest.suite, "row": row, "round": number, "who": entrant[0],
                    "role": entrant[1], "place": place, "value": value, "load": round(load, 2)})

    def failure(self, contest, number, entrant, why):
        print(f"against: {contest.suite}: {entrant[0]}: {why}", file=sys.stderr)
        self.write({"suite": contest.suite, "round": number, "who": entrant[0], "role": entrant[1],
                    "failed": str(why)})


def run_round(contest, number, recorder):
    """Round 0 warms up. Who is first changes; who fails is out of this round, as its time limit is
    everybody's time."""
    out = set()
    for turn in range(contest.turns):
        at = (number + turn) % len(contest.entrants)
        for entrant in contest.entrants[at:] + contest.entrants[:at]:
            if entrant[0] in out:
                continue
            load = machine.load()
            try:
                for told in entrant[2]():
                    if number:
                        recorder.value(contest, number, max(load, machine.load()), entrant, told)
            except (Failed, OSError, ValueError) as why:
                out.add(entrant[0])
                recorder.failure(contest, number, entrant, why)


def run_all(contests, rounds, recorder):
    for contest in contests:
        recorder.rows(contest)
    for number in range(rounds + 1):
        for contest in contests:
            if contest.lacks or not (number or contest.warm_up):
                continue
            began = time.perf_counter()
            run_round(contest, number, recorder)
            took = time.perf_counter() - began
            names = ", ".join(name for name, _, _ in contest.rows)
            print(f"round {number} of {rounds}, {took:5.1f} s: {contest.suite}: {names}"[:100],
                  file=sys.stderr)

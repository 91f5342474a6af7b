"""Contests: who measures what beside whom, by turns.

A row is one line of the table; the entrants of a contest fill one or more rows each time they run.
An entrant is one of the two trees, a peer, or a limit of the machine."""
import collections
import json
import sys
import time

from side_by_side import machine
from side_by_side.programs import Failed

# `figure` "p95" takes the values of all rounds together. `main`: a table for a page has the row.
Row = collections.namedtuple("Row", "name unit figure main", defaults=("median", False))

# `place` is where the cores were while it was taken, `exchange_ns` how far before and after it.
Sample = collections.namedtuple("Sample", "row value place exchange_ns", defaults=("", ()))


class Contest:
    def __init__(self, suite, rows, turns=1, warm_up=False):
        """Less is better in each row. `warm_up`: what is timed are programs from their start, and a
        round before the first leaves no trace but its failures."""
        self.suite, self.rows = suite, rows
        self.turns, self.warm_up = turns, warm_up
        self.entrants = []
        self.lacks = None  # why nobody enters

    def enter(self, name, role, measure):
        """`measure()` yields samples; it may raise Failed."""
        self.entrants.append((name, role, measure))

    def names(self):
        return ", ".join(row.name for row in self.rows)


class Recorder:
    """What was measured, as lines of a record, which table.py reads."""

    def __init__(self, path, head):
        self.file = open(path, "w", encoding="utf-8")
        self.rounds_of = collections.defaultdict(set)  # by row, place, who
        self.write(head)

    def write(self, line):
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def rows(self, contest):
        for row in contest.rows:
            self.write({"suite": contest.suite, "row": row.name, "unit": row.unit,
                        "figure": row.figure, "main": row.main, "lacks": contest.lacks})

    def sample(self, contest, number, load, entrant, sample):
        who, role, _ = entrant
        self.rounds_of[sample.row, sample.place, who].add(number)
        self.write({"suite": contest.suite, "round": number, "who": who, "role": role,
                    "load": round(load, 2), **sample._asdict()})

    def failure(self, contest, number, entrant, why):
        print(f"against: {contest.suite}: {entrant[0]}: {why}", file=sys.stderr)
        self.write({"suite": contest.suite, "round": number, "who": entrant[0], "role": entrant[1],
                    "failed": str(why)})

    def wants(self, contest, rounds):
        """Whether the cores were near or far in some rounds, but in too few of both trees."""
        met = ([self.rounds_of[row.name, place, tree] for tree in ("this", "rev")]
               for row in contest.rows for place in ("near", "far"))
        return any(this | rev and len(this & rev) < rounds for this, rev in met)


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
                for sample in entrant[2]():
                    if number:
                        recorder.sample(contest, number, max(load, machine.load()), entrant, sample)
            except (Failed, OSError, ValueError) as why:
                out.add(entrant[0])
                recorder.failure(contest, number, entrant, why)


def run_all(contests, rounds, recorder):
    """As many rounds again, at most, for contests that met near and far: both shall have enough."""
    for contest in contests:
        recorder.rows(contest)
    for number in range(2 * rounds + 1):
        due = [contest for contest in contests if not contest.lacks
               and (number or contest.warm_up)
               and (number <= rounds or recorder.wants(contest, rounds))]
        began = time.monotonic()
        for contest in due:
            contest_began = time.monotonic()
            run_round(contest, number, recorder)
            took = time.monotonic() - contest_began
            which = f"round {number}" + (f" of {rounds}" if number <= rounds else ", a further one")
            print(f"{which}, {took:5.1f} s: {contest.suite}: {contest.names()}"[:100],
                  file=sys.stderr)
        if 0 < number < rounds:
            left = (time.monotonic() - began) * (rounds - number)
            print(f"round {number} of {rounds} is done: some {left / 60:.1f} minutes to go",
                  file=sys.stderr)

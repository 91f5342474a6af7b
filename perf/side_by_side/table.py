"""The table: what a record of measurements says, as text, Markdown or lines of JSON.

A record is lines of JSON: what was run; every row, in the order of the table; every value, with the
round and who it is of; every failure."""
import collections
import json
import re
import statistics

PLACES = ("", "near", "far", "moved", "one")
ROUNDS = 7  # fewer prove little
SAME = ("this", "commit", "machine", "cores", "far_ns")  # in records that make one table
LEAST = 1e-6  # a time of nothing divides nothing


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


FIGURES = {"median": statistics.median, "p95": lambda values: percentile(values, 0.95)}


class Times:
    """What one entrant needed for a row, round by round."""

    def __init__(self, figure):
        self.of, self.pooled = FIGURES[figure], figure != "median"
        self.rounds = collections.defaultdict(list)

    def by_round(self):
        return {number: self.of(values) for number, values in self.rounds.items()}

    def figure(self):
        if self.pooled:
            return self.of([value for values in self.rounds.values() for value in values])
        return statistics.median(self.by_round().values())

    def ratios_to(self, ours):
        """Their time over ours, of the rounds that both have."""
        mine, other = ours.by_round(), self.by_round()
        return [max(other[number], LEAST) / max(mine[number], LEAST)
                for number in sorted(mine.keys() & other.keys())]

    def ratio_to(self, ours):
        ratios = self.ratios_to(ours)
        if ratios and not self.pooled:
            return statistics.median(ratios)
        return max(self.figure(), LEAST) / max(ours.figure(), LEAST)


def side(times, ours=None):
    told = {"value": round(times.figure(), 5),
            "rounds": [round(value, 5) for _, value in sorted(times.by_round().items())]}
    if ours:
        told["ratio"] = round(times.ratio_to(ours), 4)
    return told


class Line:
    """A row, and where the cores were."""

    def __init__(self, row, place):
        self.row, self.place, self.load = row, place, 0.0
        self.times, self.roles, self.exchanges = {}, {}, []

    def add(self, sample):
        who = sample["who"]
        self.times.setdefault(who, Times(self.row["figure"])).rounds[sample["round"]].append(
            sample["value"])
        self.roles[who] = sample["role"]
        self.load = max(self.load, sample["load"])
        self.exchanges += sample["exchange_ns"] if self.place in ("near", "far") else ()

    def best(self, role):
        found = [who for who in self.times if self.roles[who] == role]
        return min(found, key=lambda who: self.times[who].figure(), default=None)

    def told(self):
        ours, theirs = self.times.get("this"), self.times.get("rev")
        ratios = theirs.ratios_to(ours) if ours and theirs else []
        told = {**{name: self.row[name] for name in ("suite", "row", "unit", "figure", "main")},
                "cores": self.place,
                "exchange_ns": statistics.median(self.exchanges) if self.exchanges else None,
                "rounds": len(ratios), "load": self.load, "this": side(ours) if ours else None,
                "rev": side(theirs) if theirs else None, "ratio": None, "peers": {}, "limits": {}}
        if ours and theirs:
            told["ratio"] = round(theirs.ratio_to(ours), 4)
            told["ratio_min"] = round(min(ratios, default=told["ratio"]), 4)
            told["ratio_max"] = round(max(ratios, default=told["ratio"]), 4)
        for who, times in self.times.items():
            if self.roles[who] in ("peer", "limit"):
                told[self.roles[who] + "s"][who] = side(times, ours)
        told["best_peer"], told["best_limit"] = self.best("peer"), self.best("limit")
        return told


class Different(Exception):
    """Records that make no table together."""


class Table:
    def __init__(self, records):
        """`records`: of each its lines, decoded. Those of the same trees make one table."""
        self.heads = [lines[0] for lines in records]
        self.head = self.heads[0]
        for head in self.heads:
            for name in SAME:
                if head[name] != self.head[name]:
                    raise Different(f"{name} is {self.head[name]} in one, {head[name]} in another")
        row_of, self.samples, self.failures = {}, [], []
        for number, (_, *lines) in enumerate(records):
            for line in lines:
                if "figure" in line:
                    row_of.setdefault((line["suite"], line["row"]), line)
                elif "failed" in line:
                    self.failures.append(line)
                else:
                    self.samples.append({**line, "round": (number, line["round"])})
        self.lacking = {row["row"]: row["lacks"] for row in row_of.values() if row["lacks"]}
        found = {key: {} for key in row_of}
        for sample in self.samples:
            key, place = (sample["suite"], sample["row"]), sample["place"]
            found[key].setdefault(place, Line(row_of[key], place)).add(sample)
        self.lines = []
        for key, places in found.items():
            known = [places[place].told() for place in PLACES if place in places]
            whole = [line for line in known if line["this"] and line["rev"]]
            still = [line for line in whole if line["cores"] != "moved"]
            self.lines += still or whole or known or [Line(row_of[key], "").told()]

    def for_page(self):
        """The lines of main rows, but for places that were met in too few rounds, where another of
        the row was not."""
        rows = collections.defaultdict(list)
        for line in self.lines:
            if line["main"]:
                rows[line["suite"], line["row"]].append(line)
        for lines in rows.values():
            most = max(line["rounds"] for line in lines)
            yield from (line for line in lines if line["rounds"] >= min(ROUNDS, most))

    def failed(self):
        """Whether a tree failed or lacks a row, or who else is in a suite never came through."""
        sides = collections.defaultdict(set)
        for line in self.lines:
            sides[line["row"]] |= {side for side in ("this", "rev") if line[side]}
        came = {(sample["suite"], sample["who"]) for sample in self.samples}
        return (any(len(both) < 2 and row not in self.lacking for row, both in sides.items())
                or any(fail["role"] in ("this", "rev") or (fail["suite"], fail["who"]) not in came
                       for fail in self.failures))

    def notes(self):
        head, rounds = self.head, max((line["rounds"] for line in self.lines), default=0)
        yield f"this tree is {head['this']}; {head['this_programs']}"
        yield f"REV is {head['against']} = {head['commit'][:10]}; {head['programs']}"
        yield f"{head['machine']}; cores {head['cores']}"
        yield " and ".join(f"{head['date']} at load {head['load']:.1f}" for head in self.heads)
        yield ("medians of n rounds" if rounds >= ROUNDS else
               f"{rounds} of the {ROUNDS} rounds that a figure takes, medians of them")
        yield (f"ratio = another's time over this tree's: above 1, this tree is faster; "
               f"far: an exchange between the cores takes more than {head['far_ns']} ns")
        yield from self.notes_on_places()
        if head["peers"]:
            yield f"versions: {', '.join(map(' '.join, head['peers'].items()))}"
        if head["absent"]:
            yield f"not installed, so that their place has a -: {', '.join(head['absent'])}"
        for row, why in self.lacking.items():
            yield f"not measured: {row}: {without_folders(why)}"
        told = collections.Counter((fail["suite"], fail["who"], fail["failed"].splitlines()[0])
                                   for fail in self.failures)
        for (suite, who, why), count in told.items():
            yield f"FAILED {count} times: {suite}: {who}: {without_folders(why)}"

    def notes_on_places(self):
        count = collections.Counter(sample["place"] for sample in self.samples if sample["place"])
        if count["moved"]:
            yield (f"of {count.total()} samples of comm, {count['moved']} are in no row that has "
                   "others: the cores were near at one end of them and far at the other")


def without_folders(text):
    """What a program said, for readers who are elsewhere."""
    return re.sub(r"(?<![\w.:/])/(?:[^/\s]+/)+", "", text)


def short(number):
    if number is None:
        return "-"
    return f"{number:.{2 if number < 100 else 1 if number < 1000 else 0}f}"


def where(line):
    if line["exchange_ns"] is None:
        return line["cores"] or "-"
    return f"{line['cores']} {line['exchange_ns']:.0f} ns"


def cells(line):
    """The columns of a line: all that is shown of it but suite, row and unit."""
    ours, theirs = line["this"], line["rev"]
    yield where(line)
    yield str(line["rounds"])
    yield short(ours and ours["value"])
    yield short(theirs and theirs["value"])
    yield short(line["ratio"])
    yield f"{short(line['ratio_min'])}..{short(line['ratio_max'])}" if line["ratio"] else "-"
    for kind in ("peer", "limit"):
        best = line[f"best_{kind}"]
        told = line[f"{kind}s"][best] if best else {"value": None}
        ratio = told.get("ratio")
        yield f"{best} {short(told['value'])}" if best else "-"
        yield short(ratio) + (", no limit" if kind == "limit" and ratio and ratio > 1 else "")
    yield f"{line['load']:.1f}"


HEADINGS = ("cores", "n", "this", "REV", "ratio", "min..max", "best peer", "its ratio", "limit",
            "its ratio", "load")
LEFT = ("suite", "row", "unit", "cores", "best peer", "limit")


def text(table):
    rows = [("suite", "row", "unit", *HEADINGS)]
    rows += [(line["suite"], line["row"], line["unit"], *cells(line)) for line in table.lines]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for note in table.notes():
        yield f"# {note}"
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" if name in LEFT else f"{cell:>{width}}"
                        for name, cell, width in zip(rows[0], row, widths)).rstrip()


def markdown(table):
    headings = ["work", *HEADINGS]
    headings[headings.index("REV")] = table.head["commit"][:7]
    yield f"| {' | '.join(headings)} |"
    yield "|---" * len(headings) + "|"
    for line in table.for_page():
        yield f"| {line['row']}, {line['unit']} | {' | '.join(cells(line))} |"
    yield ""
    for note in table.notes():
        yield f"- {note}"


def as_json(table):
    yield json.dumps(table.head, ensure_ascii=False)
    for line in table.lines:
        yield json.dumps(line, ensure_ascii=False)


FORMS = {"text": text, "markdown": markdown, "json": as_json}


def read(paths):
    """The table of records; OSError or Different where there is none."""
    records = []
    for path in paths:
        with open(path, encoding="utf-8") as record:
            lines = record.readlines()
        try:
            records.append([json.loads(line) for line in lines])
            Table(records[-1:])
        except (ValueError, KeyError, IndexError, TypeError) as why:
            raise Different(f"{path} is no record of this version of perf/against: {why!r}") \
                from None
    return Table(records)

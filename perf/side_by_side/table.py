"""The table: what a record of measurements says, as text, Markdown or lines of JSON.

A record is lines of JSON: what was run; every row, in the order of the table; every value, with the
round and who it is of; every failure."""
import collections
import json
import statistics

PLACES = ("", "near", "far", "moved", "one")
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
    told = {"median": round(times.figure(), 5),
            "rounds": [round(value, 5) for _, value in sorted(times.by_round().items())]}
    if ours:
        told["ratio"] = round(times.ratio_to(ours), 4)
    return told


class Line:
    """A row, and where the cores were."""

    def __init__(self, row, place):
        self.row, self.place, self.load = row, place, 0.0
        self.times, self.roles = {}, {}

    def add(self, sample):
        who = sample["who"]
        self.times.setdefault(who, Times(self.row["figure"])).rounds[sample["round"]].append(
            sample["value"])
        self.roles[who] = sample["role"]
        self.load = max(self.load, sample["load"])

    def best(self, role):
        found = [who for who in self.times if self.roles[who] == role]
        return min(found, key=lambda who: self.times[who].figure(), default=None)

    def told(self):
        ours, theirs = self.times.get("this"), self.times.get("rev")
        told = {"suite": self.row["suite"], "row": self.row["row"], "unit": self.row["unit"],
                "cores": self.place, "load": self.load, "this": side(ours) if ours else None,
                "rev": side(theirs) if theirs else None, "ratio": None, "peers": {}, "limits": {}}
        if ours and theirs:
            ratios = theirs.ratios_to(ours)
            told["ratio"] = round(theirs.ratio_to(ours), 4)
            told["ratio_min"] = round(min(ratios, default=told["ratio"]), 4)
            told["ratio_max"] = round(max(ratios, default=told["ratio"]), 4)
        for who, times in self.times.items():
            if self.roles[who] in ("peer", "limit"):
                told[self.roles[who] + "s"][who] = side(times, ours)
        told["best_peer"], told["best_limit"] = self.best("peer"), self.best("limit")
        return told


class Table:
    def __init__(self, lines):
        """`lines` of a record, decoded."""
        self.head, *rest = lines
        rows = [line for line in rest if "figure" in line]
        found = {(row["suite"], row["row"]): {} for row in rows}
        row_of = {(row["suite"], row["row"]): row for row in rows}
        self.lacking = {row["row"]: row["lacks"] for row in rows if row["lacks"]}
        self.failures = [line for line in rest if "failed" in line]
        for sample in rest:
            if "value" in sample:
                places = found[sample["suite"], sample["row"]]
                place = sample["place"]
                places.setdefault(place, Line(row_of[sample["suite"], sample["row"]], place)).add(
                    sample)
        self.lines = []
        for key, places in found.items():
            known = [places[place].told() for place in PLACES if place in places]
            whole = [line for line in known if line["this"] and line["rev"]]
            still = [line for line in whole if line["cores"] != "moved"]
            self.lines += still or whole or known or [Line(row_of[key], "").told()]

    def failed(self):
        """Whether a row lacks one of the two sides everywhere, or an entrant never came through."""
        rows = collections.defaultdict(set)
        for line in self.lines:
            rows[line["suite"], line["row"]] |= {side for side in ("this", "rev") if line[side]}
        came = {who for line in self.lines for who in (*line["peers"], *line["limits"])}
        return (any(len(sides) < 2 and row not in self.lacking for (_, row), sides in rows.items())
                or any(fail["role"] in ("this", "rev") or fail["who"] not in came
                       for fail in self.failures))

    def notes(self):
        yield f"this tree is {self.head['this']}; {self.head['this_programs']}"
        yield f"REV is {self.head['against']} = {self.head['commit'][:10]}; {self.head['programs']}"
        yield (f"{self.head['machine']}; cores {self.head['cores']}; "
               f"{self.head['rounds']} of the 7 rounds that a figure takes, medians of them"
               if self.head["rounds"] < 7 else
               f"{self.head['machine']}; cores {self.head['cores']}; "
               f"medians of {self.head['rounds']} rounds")
        yield (f"ratio = another's time over this tree's: above 1, this tree is faster; "
               f"far: an exchange between the cores takes more than {self.head['far_ns']} ns")
        if self.head["absent"]:
            yield f"not installed, so that their place has a -: {', '.join(self.head['absent'])}"
        for row, why in self.lacking.items():
            yield f"not measured: {row}: {why}"
        told = collections.Counter((fail["suite"], fail["who"], fail["failed"].splitlines()[0])
                                   for fail in self.failures)
        for (suite, who, why), count in told.items():
            yield f"FAILED {count} times: {suite}: {who}: {why}"


def short(number):
    if number is None:
        return "-"
    return f"{number:.{2 if number < 100 else 1 if number < 1000 else 0}f}"


def cells(line):
    """The columns of a line: all that is shown of it but suite, row, unit and place."""
    ours, theirs = line["this"], line["rev"]
    yield str(len(ours["rounds"]) if ours else 0)
    yield short(ours and ours["median"])
    yield short(theirs and theirs["median"])
    yield short(line["ratio"])
    yield f"{short(line['ratio_min'])}..{short(line['ratio_max'])}" if line["ratio"] else "-"
    for kind in ("peer", "limit"):
        best = line[f"best_{kind}"]
        told = line[f"{kind}s"][best] if best else {"median": None}
        yield f"{best} {short(told['median'])}" if best else "-"
        yield short(told.get("ratio"))


HEADINGS = ("n", "this", "REV", "ratio", "min..max", "best peer", "its ratio", "limit", "its ratio")


def text(table):
    rows = [("suite", "row", "unit", "cores", *HEADINGS, "load")]
    rows += [(line["suite"], line["row"], line["unit"], line["cores"] or "any", *cells(line),
              f"{line['load']:.1f}") for line in table.lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = {0, 1, 2, 3, 9, 11}
    for note in table.notes():
        yield f"# {note}"
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" if i in left else f"{cell:>{width}}"
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip()


def markdown(table):
    rev = table.head["commit"][:7]
    headings = ["work", "cores", *HEADINGS]
    headings[headings.index("REV")] = rev
    yield f"| {' | '.join(headings)} |"
    yield "|---" * len(headings) + "|"
    for line in table.lines:
        yield (f"| {line['row']}, {line['unit']} | {line['cores'] or '-'} | "
               f"{' | '.join(cells(line))} |")
    yield ""
    for note in table.notes():
        yield f"- {note}"


def as_json(table):
    yield json.dumps(table.head)
    for line in table.lines:
        yield json.dumps(line, ensure_ascii=False)


FORMS = {"text": text, "markdown": markdown, "json": as_json}


def read(path):
    with open(path, encoding="utf-8") as record:
        return Table([json.loads(line) for line in record])

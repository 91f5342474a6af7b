#!/usr/bin/python3
"""What pages tell people to type.

  documented.py commands PAGE…   "PAGE<tab>COMMAND": each line of a block of shell, `.Dl` of a man
                                 page, and for a block of anything else "block NAME", where NAME is
                                 its language, or its number among the literal ones of a man page
  documented.py block PAGE NAME  that block's text
  documented.py inline PAGE…     "PAGE<tab>TEXT": `text` in a sentence or table of Markdown
  documented.py options PAGE     "WHAT --option" and "WHAT -o" of a man page; WHAT is list, or the
                                 subcommand whose synopsis has it, or "-" without subcommands
"""
import pathlib
import re
import sys


def parts(page):
    """(language, lines) of each block; None for the text between blocks."""
    language, lines = None, []
    for line in pathlib.Path(page).read_text().splitlines():
        if line.startswith("```"):
            yield language, lines
            language, lines = (line[3:] if language is None else None), []
        else:
            lines.append(line)
    yield language, lines


def shell(lines):
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s\s+)#\s.*", "", line)
        if command.strip():
            yield " ".join(command.split())


def literals(page):
    return re.findall(r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", pathlib.Path(page).read_text(), re.M)


def commands(page):
    if page.endswith(".md"):
        for language, lines in parts(page):
            if language == "":
                yield from shell(lines)
            elif language not in (None, "text"):
                yield f"block {language}"
        return
    for line in pathlib.Path(page).read_text().splitlines():
        if line.startswith(".Dl "):
            yield line[4:].removeprefix("$ ")
    for number in range(len(literals(page))):
        yield f"block {number + 1}"


def block(page, name):
    if not page.endswith(".md"):
        return literals(page)[int(name) - 1]
    return next("\n".join(lines) + "\n" for language, lines in parts(page) if language == name)


def inline(page):
    for language, lines in parts(page):
        if language is None:
            for span in re.findall(r"`([^`]+)`", "\n".join(lines)):
                yield " ".join(span.replace("\\|", "|").split())


def flags(line):
    """Options of one line of mdoc: `Fl` puts a dash before each word up to the next macro."""
    dashed = False
    for word in line.split():
        if re.fullmatch(r"[A-Z][a-z]", word):
            dashed = word == "Fl"
        elif dashed and word not in ",|":
            yield "-" + word


def options(page):
    section, command = "", "-"
    for line in pathlib.Path(page).read_text().splitlines():
        if line.startswith(".Sh "):
            section, command = line[4:], "-"
        elif section == "SYNOPSIS" and line.startswith(".Nm"):
            command = "-"
        elif section == "SYNOPSIS" and line.startswith(".Cm "):
            command = line[4:].split()[0]
        if section == "SYNOPSIS":
            yield from (f"{command} {flag}" for flag in flags(line))
        elif section == "DESCRIPTION" and line.startswith(".It "):
            yield from (f"list {flag}" for flag in flags(line))


what, *rest = sys.argv[1:]
if what == "block":
    sys.stdout.write(block(*rest))
else:
    prefix = (lambda page: "") if what == "options" else (lambda page: page + "\t")
    for page in rest:
        for item in {"commands": commands, "inline": inline, "options": options}[what](page):
            print(prefix(page) + item)

#!/usr/bin/env python3
"""Traces requirements to tests: spec_trace.py [ROOT].

specs/*.md define ids as **CP-ADD-7**; tests cite them in comments "Spec: CP-ADD-7, CP-ADD-8".
Fails on an id without a test, on an unknown or malformed id in a test, and on an id defined twice.
"""
import pathlib
import re
import sys

DEFINITION = re.compile(r"\*\*([A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*-[0-9]+)\*\*")
IDENTIFIER = re.compile(r"[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*-[0-9]+")
CITATION = re.compile(r"^\s*(?://|#|/?\*)\s*Spec:\s*(.*?)\s*(?:\*/)?$")
CONTINUATION = re.compile(r"^\s*(?://|#|\*)\s*(.*?)\s*(?:\*/)?$")
CITING_FOLDERS = ("tests", "perf", "bindings")
# The checkers' own tests speak of ids that do not exist.
NOT_CITING = ("tests/check/",)


def definitions(root):
    """Yields (id, place) for every definition."""
    for path in sorted((root / "specs").glob("*.md")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for name in DEFINITION.findall(line):
                yield name, f"{path.relative_to(root)}:{number}"


def citing_files(root):
    for folder in CITING_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            relative = path.relative_to(root).as_posix()
            if path.is_file() and not relative.startswith(NOT_CITING):
                yield path, relative


def citations(root):
    """Yields (word, place) for every word of a citation; a list that ends in a comma goes on."""
    for path, relative in citing_files(root):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        goes_on = False
        for number, line in enumerate(lines, 1):
            match = CITATION.match(line) or (goes_on and CONTINUATION.match(line))
            goes_on = bool(match) and match.group(1).endswith(",")
            if match:
                for word in filter(None, re.split(r"[,\s]+", match.group(1).rstrip("."))):
                    yield word, f"{relative}:{number}"


def problems(root):
    defined = {}
    found = []
    for name, place in definitions(root):
        if name in defined:
            found.append(f"{place}: {name} is defined already at {defined[name]}")
        defined.setdefault(name, place)
    cited = set()
    for word, place in citations(root):
        if not IDENTIFIER.fullmatch(word):
            found.append(f"{place}: '{word}' is not an id")
        elif word not in defined:
            found.append(f"{place}: {word} is not defined in specs")
        cited.add(word)
    found += [f"{place}: {name} has no test" for name, place in defined.items() if name not in cited]
    if not defined:
        found.append("specs: no ids at all")
    return found


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = problems(root)
    print("\n".join(found) if found else "every requirement has a test")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compares what is exported with what is declared: exported_names.py BUILD_TREE [LIBRARY].

The table of specs/abi.md, the symbol map, the public headers, the dynamic symbols of the shared library
and the mock library's definitions must all name the same functions.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = "COMPLETIONPORT_0"
# Names that belong to another library have their own row there.
LIBRARY = "libcompletionport"


def abi_table():
    text = (ROOT / "specs/abi.md").read_text(encoding="utf-8")
    return set(re.findall(rf"^\|\s*{LIBRARY}\s*\|\s*(\w+)\s*\|", text, re.MULTILINE))


def symbol_map():
    text = (ROOT / f"api/{LIBRARY}.map").read_text(encoding="utf-8")
    match = re.fullmatch(rf"{VERSION} \{{\s*global:(.*)local:\s*\*;\s*\}};\s*", text, re.DOTALL)
    if match is None:
        sys.exit(f"api/{LIBRARY}.map: not one version {VERSION} that ends in local: *")
    return set(re.findall(r"(\w+);", match.group(1)))


def declared():
    """The names that the public headers declare, enum name functions included."""
    names = set()
    for header in sorted((ROOT / "api/completionport").glob("*.h")):
        if header.name == "mockable.h":
            continue
        text = header.read_text(encoding="utf-8")
        names |= set(re.findall(r"^MOCKABLE_FUNCTION\([^,]*,[^,]*,\s*(\w+)", text, re.MULTILINE))
        names |= {f"MU_{name}_ToString"
                  for name in re.findall(r"^MU_DEFINE_ENUM\((\w+)", text, re.MULTILINE)}
    return names


def nm(*arguments):
    return subprocess.run(["nm", *arguments], check=True, capture_output=True, text=True).stdout


def dynamic_symbols(library):
    """Exported names; a name without our version is kept with what it has, so that it differs."""
    names = set()
    for line in nm("-D", "--defined-only", library).splitlines():
        name = line.split()[-1]
        if name != VERSION:
            names.add(name.removesuffix(f"@@{VERSION}"))
    return names


def mock_definitions(library):
    return set(re.findall(r" T (\w+)$", nm("--defined-only", "--extern-only", library), re.MULTILINE))


def compare(what, names, expected):
    lines = [f"{what}: lacks {name}" for name in sorted(expected - names)]
    return lines + [f"{what}: has {name} besides" for name in sorted(names - expected)]


def main():
    tree = pathlib.Path(sys.argv[1])
    library = sys.argv[2] if len(sys.argv) > 2 else str(tree / f"lib/{LIBRARY}.so")
    expected = declared()
    if not expected:
        sys.exit("the public headers declare nothing")
    problems = compare("specs/abi.md", abi_table(), expected)
    problems += compare("the symbol map", symbol_map(), expected)
    problems += compare(library, dynamic_symbols(library), expected)
    mock = tree / f"lib/{LIBRARY}_mock.a"
    if mock.exists():
        defined = mock_definitions(str(mock))
        problems += [f"{mock}: does not define {name}" for name in sorted(expected - defined)]
    else:
        problems.append(f"{mock}: is not there")
    print("\n".join(problems) if problems else f"{len(expected)} names agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Counts a ctest run: prints "passed failed skipped".

Reads the JUnit file that ctest wrote. A GoogleTest program counts as many times as it has cases, by
the summary in its own output; any other test, and a program that died, counts once.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree

SUMMARY = re.compile(r"^\[  (PASSED |FAILED |SKIPPED)\s*\] (\d+) tests?[.,]", re.MULTILINE)


def counts_of(testcase):
    """One ctest entry as [passed, failed, skipped]."""
    status = testcase.get("status")
    if status in ("notrun", "disabled") or testcase.find("skipped") is not None:
        return [0, 0, 1]
    output = testcase.findtext("system-out") or ""
    found = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    for word, number in SUMMARY.findall(output):
        found[word.strip()] = int(number)
    if status == "fail":
        return [found["PASSED"], max(found["FAILED"], 1), found["SKIPPED"]]
    if not any(found.values()):
        return [1, 0, 0]
    return [found["PASSED"], found["FAILED"], found["SKIPPED"]]


def main():
    total = [0, 0, 0]
    try:
        root = ElementTree.parse(sys.argv[1]).getroot()
    except (OSError, ElementTree.ParseError) as error:
        print(f"count_results: {error}", file=sys.stderr)
        print("0 1 0")
        return
    for testcase in root.iter("testcase"):
        total = [sum(pair) for pair in zip(total, counts_of(testcase))]
    print(*total)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The C program of README.md must be the example that is built and run."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    blocks = re.findall(r"^```c\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"),
                        re.MULTILINE | re.DOTALL)
    example = (ROOT / "bindings/c/read_once.c").read_text(encoding="utf-8")
    if example in blocks:
        print("README.md shows bindings/c/read_once.c")
        return 0
    print("README.md: no C block equals bindings/c/read_once.c")
    return 1


if __name__ == "__main__":
    sys.exit(main())

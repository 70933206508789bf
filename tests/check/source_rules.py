#!/usr/bin/env python3
"""Rules that a compiler does not know: source_rules.py [ROOT].

Layering (who may include whom), system headers in the core, lengths of files, functions and lines, and
words that must not land.
"""
import pathlib
import re
import sys

FOLDERS = ("api", "runtime", "platform", "bindings", "tests", "perf", "specs", "pkgconfig")
CODE = (".h", ".cc", ".c")
FILE_LINES_MAX = 500
PUBLIC_HEADER_LINES_MAX = 300
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

CORE = "runtime/(?:abi|port|engine|operation|timer|file|buffer|verbs)/"
# The first row whose path matches rules a file: its quoted includes must match the second pattern.
LAYERS = (
    (r"api/completionport/testing/", r"completionport/"),
    (r"api/completionport/mockable\.h", r"macro_utils/|umock_c/"),
    (r"api/", r"completionport/(?!testing/)"),
    (r"platform/", r"platform/"),
    (r"runtime/abi/", rf"completionport/(?!testing/)|platform/|{CORE}|runtime/\w+\.h$"),
    (rf"{CORE}", rf"completionport/(?!testing/)|platform/(?!linux/)|{CORE}|runtime/\w+\.h$"),
    (r"runtime/\w+\.h$", r"platform/(?!linux/)|runtime/\w+\.h$"),
    (r"runtime/services/", r"completionport/(?!testing/)|runtime/services/"),
    (r"runtime/programs/", r"completionport/(?!testing/)|runtime/(?:services|programs)/"),
    (r"bindings/", r"completionport/|[\w.]+$"),
)
LIBRARY_HEADER = r"(?:completionport|runtime|platform|tests|perf)/"
# The constants of epoll, sockets and protocols are no calls; the check system_calls looks at those.
SYSTEM_HEADERS_OF_THE_MACHINE = re.compile(
    r"sys/(?!epoll\.h$|socket\.h$)|netinet/(?!in\.h$)|(?:linux|arpa|net|asm)/|"
    r"(?:unistd|fcntl|poll|sched|signal|netdb|dlfcn|spawn|aio|mqueue|semaphore|syscall)\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

# Assembled from pieces so that this file does not break its own rules.
FORBIDDEN_WORDS = (
    (re.compile(r"(?<![\w.$}\-])/(?:home|root|work|Users)/\w"), "a path of some machine"),
    (re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b"), "put off"),
    (re.compile(r"NO" r"LINT|no_" r"sanitize|clang-format " r"off"), "a check switched off"),
)
SLEEP = re.compile(r"\b(?:sleep_" r"for|sleep_" r"until|u" r"sleep|nano" r"sleep|sl" r"eep)\s*\(")


def check_includes(relative, lines):
    allowed = next((pattern for path, pattern in LAYERS if re.match(path, relative)), None)
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, header = match.group(1) == '"', match.group(2)
        ours = quoted or re.match(LIBRARY_HEADER, header)
        if allowed and ours and not re.match(allowed, header):
            yield f"{relative}:{number}: may not include {header}"
        if re.match(CORE, relative) and not quoted and SYSTEM_HEADERS_OF_THE_MACHINE.match(header):
            yield f"{relative}:{number}: <{header}> belongs in platform/linux"


def without_comments_and_strings(text):
    """The same text with comments and literals blanked; lines keep their numbers."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'R"(\w*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'
                  r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", blank, text, flags=re.DOTALL)


def functions(text):
    """Yields (first line, last line) of each outermost function body with its signature."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  without_comments_and_strings(text), flags=re.MULTILINE)
    stack = []
    head_start = 0
    for position, character in enumerate(code):
        if character == "{":
            head = code[head_start:position]
            container = not any(kind == "function" for kind, _ in stack) and (
                re.search(r"\b(?:namespace|class|struct|union|enum)\b(?![^(]*\()",
                          re.sub(r"\balignas\([^)]*\)", "", head))
                or re.search(r"\bextern\s*$", head) or "(" not in head)
            start = head_start + len(head) - len(head.lstrip())
            stack.append(("container" if container else "function", start))
            head_start = position + 1
        elif character == "}":
            if stack:
                kind, start = stack.pop()
                if kind == "function" and not any(k == "function" for k, _ in stack):
                    yield code.count("\n", 0, start) + 1, code.count("\n", 0, position) + 1
            head_start = position + 1
        elif character == ";":
            head_start = position + 1


def check_lengths(relative, text, lines):
    public = re.match(r"api/completionport/.*\.h$", relative)
    lines_max = PUBLIC_HEADER_LINES_MAX if public else FILE_LINES_MAX
    if len(lines) > lines_max:
        yield f"{relative}: {len(lines)} lines, at most {lines_max}"
    for first, last in functions(text):
        if last - first + 1 > FUNCTION_LINES_MAX:
            yield f"{relative}:{first}: a function of {last - first + 1} lines"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            yield f"{relative}:{number}: {len(line)} columns"


def check_words(relative, lines):
    for number, line in enumerate(lines, 1):
        for pattern, what in FORBIDDEN_WORDS:
            if pattern.search(line):
                yield f"{relative}:{number}: {what}: {line.strip()}"
        if relative.startswith("tests/") and SLEEP.search(line):
            yield f"{relative}:{number}: a test waits for the thing, not for a time: {line.strip()}"


def files(root):
    for path in sorted(root.iterdir()):
        if path.is_file():
            yield path
    for folder in (*FOLDERS, ".ci"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def problems(root):
    for path in files(root):
        relative = path.relative_to(root).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            yield f"{relative}: not text"
            continue
        lines = text.splitlines()
        yield from check_words(relative, lines)
        if path.suffix in CODE:
            yield from check_includes(relative, lines)
            yield from check_lengths(relative, text, lines)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(problems(root))
    print("\n".join(found) if found else "the rules hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

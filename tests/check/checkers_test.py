"""Shows that each checker fails on what it is there to find."""
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import count_results  # noqa: E402
import source_rules  # noqa: E402
import spec_trace  # noqa: E402


class Tree(unittest.TestCase):
    """A small project in a temporary folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


class SpecTrace(Tree):
    def expect(self, *expected):
        self.assertEqual(list(expected), spec_trace.problems(self.root))

    def test_every_id_with_a_test_passes(self):
        self.write("specs/a.md", "- **CP-ADD-1** x\n- **CP-ADD-2** y\n- **MODEL-MAIL-3** z\n")
        self.write("tests/unit/a.cc", "// Spec: CP-ADD-1,\n//       CP-ADD-2\nTEST(A, B) {}\n")
        self.write("tests/models/run.sh", "# Spec: MODEL-MAIL-3\n")
        self.expect()

    def test_an_id_without_test_fails(self):
        self.write("specs/a.md", "- **CP-ADD-1** x\n")
        self.write("tests/unit/a.cc", "// CP-ADD-1 is only mentioned\n")
        self.expect("specs/a.md:1: CP-ADD-1 has no test")

    def test_an_unknown_id_fails(self):
        self.write("specs/a.md", "- **CP-ADD-1** x\n")
        self.write("tests/unit/a.cc", "// Spec: CP-ADD-1, CP-ADD-9\n")
        self.expect("tests/unit/a.cc:1: CP-ADD-9 is not defined in specs")

    def test_a_malformed_id_fails(self):
        self.write("specs/a.md", "- **CP-ADD-1** x\n")
        self.write("perf/a.cc", "// Spec: CP-ADD-1 CP-ADD\n")
        self.expect("perf/a.cc:1: 'CP-ADD' is not an id")

    def test_a_duplicate_fails(self):
        self.write("specs/a.md", "- **CP-ADD-1** x\n")
        self.write("specs/b.md", "\n- **CP-ADD-1** y\n")
        self.write("tests/unit/a.cc", "// Spec: CP-ADD-1\n")
        self.expect("specs/b.md:2: CP-ADD-1 is defined already at specs/a.md:1")

    def test_no_specs_fail(self):
        self.expect("specs: no ids at all")


class SourceRules(Tree):
    def expect(self, *expected):
        self.assertEqual(list(expected), list(source_rules.problems(self.root)))

    def test_what_is_allowed_passes(self):
        self.write("runtime/port/a.cc", '#include <sys/epoll.h>\n#include "platform/kernel.h"\n')
        self.write("runtime/abi/a.cc", '#include "platform/linux/linux_platform.h"\n')
        self.write("runtime/services/echo/a.cc", "#include <unistd.h>\n"
                   "#include <completionport/completion_port.h>\n")
        self.expect()

    def test_layering(self):
        self.write("api/completionport/a.h", '#include "runtime/port/port.h"\n')
        self.write("platform/linux/a.cc", '#include "runtime/port/port.h"\n')
        self.write("runtime/port/a.cc", '#include "platform/linux/linux_platform.h"\n')
        self.write("runtime/services/echo/a.cc", '#include "runtime/port/port.h"\n')
        self.write("bindings/c/a.c", "#include <runtime/port/port.h>\n")
        self.expect(
            "api/completionport/a.h:1: may not include runtime/port/port.h",
            "runtime/port/a.cc:1: may not include platform/linux/linux_platform.h",
            "runtime/services/echo/a.cc:1: may not include runtime/port/port.h",
            "platform/linux/a.cc:1: may not include runtime/port/port.h",
            "bindings/c/a.c:1: may not include runtime/port/port.h")

    def test_system_headers_in_the_core(self):
        self.write("runtime/engine/a.cc", "#include <unistd.h>\n#include <sys/uio.h>\n")
        self.expect("runtime/engine/a.cc:1: <unistd.h> belongs in platform/linux",
                    "runtime/engine/a.cc:2: <sys/uio.h> belongs in platform/linux")

    def test_lengths(self):
        body = "    f();\n" * 69
        self.write("runtime/port/a.cc",
                   "namespace n {\nclass C {\n    void g() {\n" + body + "    }\n};\n}\n")
        self.write("runtime/port/b.cc", "int i;\n" * 501)
        self.write("api/completionport/c.h", "int i;\n" * 301)
        self.write("tests/d.cc", "int " + "i" * 100 + ";\n")
        self.expect("api/completionport/c.h: 301 lines, at most 300",
                    "runtime/port/a.cc:3: a function of 71 lines",
                    "runtime/port/b.cc: 501 lines, at most 500",
                    "tests/d.cc:1: 105 columns")

    def test_words(self):
        put_off = "TO" "DO"
        self.write("README.md", "see /ho" "me/me/x\n")
        self.write("tests/a.cc", f"// {put_off}: later\nsl" "eep(1);\n")
        self.assertEqual(3, len(list(source_rules.problems(self.root))))


class CountResults(unittest.TestCase):
    def expect(self, expected, status, output):
        testcase = ElementTree.Element("testcase", status=status)
        ElementTree.SubElement(testcase, "system-out").text = output
        self.assertEqual(expected, count_results.counts_of(testcase))

    def test_cases_of_a_program_count(self):
        self.expect([12, 0, 0], "run", "[==========] 12 tests ran.\n[  PASSED  ] 12 tests.\n")
        self.expect([1, 0, 2], "run",
                    "[  PASSED  ] 1 test.\n[  SKIPPED ] 2 tests, listed below:\n")
        self.expect([3, 2, 0], "fail",
                    "[  PASSED  ] 3 tests.\n[  FAILED  ] 2 tests, listed below:\n")

    def test_a_script_counts_once(self):
        self.expect([1, 0, 0], "run", "done\n")
        self.expect([0, 1, 0], "fail", "oops\n")

    def test_a_program_that_died_is_a_failure(self):
        self.expect([0, 1, 0], "fail", "[ RUN      ] A.B\n")


if __name__ == "__main__":
    unittest.main()

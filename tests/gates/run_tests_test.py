#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The test driver's verdict: nothing that failed, crashed or did not run is counted as passed."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tools"))
import run_tests  # noqa: E402

PASSED = '<testcase name="A" status="run" result="completed" classname="S"/>'
FAILED = '<testcase name="B" status="run" result="completed" classname="S"><failure message="no"/></testcase>'
SKIPPED = '<testcase name="C" status="run" result="skipped" classname="S"><skipped message="f.cc:3&#x0A;no data"/></testcase>'
DISABLED = '<testcase name="D" status="notrun" result="suppressed" classname="S"/>'


class CountProgram(unittest.TestCase):
    def count(self, ctest_status, cases):
        """(passed, failed, skipped), and the notes; `cases` None: the program wrote no XML."""
        step = run_tests.Step("unit")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x_test.xml"
            if cases is not None:
                path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
            entry = ElementTree.fromstring(f'<testcase name="x_test" status="{ctest_status}"/>')
            run_tests.count_program(step, entry, path)
        return (step.passed, step.failed, step.skipped), step.notes

    def test_cases(self):
        counts, notes = self.count("run", PASSED + SKIPPED + DISABLED)
        self.assertEqual(counts, (1, 0, 1))
        self.assertEqual(notes, ["skipped x_test: S.C: no data"])
        counts, notes = self.count("fail", PASSED + FAILED)
        self.assertEqual(counts, (1, 1, 0))
        self.assertEqual(notes, ["FAILED  x_test: S.B"])

    def test_crash_before_the_xml(self):
        self.assertEqual(self.count("fail", None)[0], (0, 1, 0))
        self.assertEqual(self.count("notrun", None)[0], (0, 1, 0))

    def test_failure_after_the_last_case_passed(self):
        """A leak or a data race found at exit."""
        self.assertEqual(self.count("fail", PASSED)[0], (1, 1, 0))

    def test_cut_off_xml(self):
        step = run_tests.Step("unit")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x_test.xml"
            path.write_text("<testsuites><testsuite>" + PASSED)
            run_tests.count_program(step, ElementTree.fromstring('<testcase name="x" status="fail"/>'), path)
        self.assertEqual((step.passed, step.failed), (0, 1))


class CountScript(unittest.TestCase):
    def count(self, code, output):
        step = run_tests.Step("peers")
        run_tests.Runner.count_script(step, "x.py", code, output)
        return step.passed, step.failed, step.skipped

    def test_script(self):
        self.assertEqual(self.count(0, "fine\n"), (1, 0, 0))
        self.assertEqual(self.count(1, "bad\n"), (0, 1, 0))
        self.assertEqual(self.count(0, "40 passed, 0 failed, 2 skipped\n"), (40, 0, 2))
        self.assertEqual(self.count(0, "40 passed, 0 failed\n"), (40, 0, 0))
        self.assertEqual(self.count(1, "40 passed, 2 failed\n"), (40, 2, 0))
        self.assertEqual(self.count(1, "40 passed, 0 failed\n"), (40, 1, 0))
        self.assertEqual(self.count(0, "40 passed, 2 failed\n"), (40, 2, 0))


class Verdict(unittest.TestCase):
    def verdict(self, *steps):
        runner = run_tests.Runner(1)
        runner.steps = list(steps)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = runner.report()
        return code, out.getvalue().splitlines()[-1]

    def test_verdict(self):
        self.assertEqual(self.verdict(run_tests.Step("a", passed=2), run_tests.Step("b", passed=1, skipped=4)),
                         (0, "3 passed, 0 failed, 4 skipped"))
        self.assertEqual(self.verdict(run_tests.Step("a", passed=2), run_tests.Step("b", failed=1)),
                         (1, "2 passed, 1 failed, 0 skipped"))
        self.assertEqual(self.verdict(run_tests.Step("a", skipped=2)), (1, "0 passed, 0 failed, 2 skipped"))
        self.assertEqual(self.verdict(), (1, "0 passed, 0 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()

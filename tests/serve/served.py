# SPDX-License-Identifier: Apache-2.0
"""A server under test, and counting of cases: what the scripts of this folder share."""

import os
import re
import subprocess
import sys
import threading
import traceback

START_SECONDS = 60


class Server:
    """`program` serve on a free port of loopback, with the embedded model, until the with-block ends."""

    def __init__(self, program, *options, env=None):
        command = [program, "serve", "--port", "0", "--log", "off", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.output = []
        self.started = threading.Event()
        self.url = None
        threading.Thread(target=self.read, daemon=True).start()
        if not self.started.wait(START_SECONDS) or not self.url:
            self.process.kill()
            raise RuntimeError("the server did not start: " + " | ".join(self.output))

    def read(self):
        for line in self.process.stderr:
            self.output.append(line.rstrip())
            found = re.search(r"is served at (https?://\S+)", line)
            if found:
                self.url = found.group(1)
                self.started.set()
        self.started.set()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "none: it had to be killed"
        if code != 0 and exception[0] is None:
            raise RuntimeError(f"the server ended with exit code {code}: " + " | ".join(self.output[-5:]))


class Cases:
    """Runs functions and closes with `N passed, N failed, N skipped`."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def run(self, name, function, *arguments):
        try:
            function(*arguments)
        except Exception:
            self.failed += 1
            print(f"FAILED {name}")
            traceback.print_exc(limit=4, file=sys.stdout)
        else:
            self.passed += 1
            print(f"ok {name}")
        sys.stdout.flush()

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}")

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed else 0


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(part)[:600] for part in what) or "not so")


def equal(found, expected, what=""):
    check(found == expected, what, "expected", repr(expected), "found", repr(found))

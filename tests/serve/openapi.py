#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is right: Schemathesis makes requests from it and compares what the server answers.

openapi.py --tool build/release/bin/deepshock [--seconds 30]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from served import Cases, Server, check

CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "negative_data_rejection", "unsupported_method"]


PROGRAM = pathlib.Path(sys.executable).with_name("schemathesis")


def schemathesis(url, seconds):
    command = [PROGRAM, "run", url + "/openapi.json", "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
               "--max-examples", "30", "--seed", "1", "--max-time", str(seconds), "--request-timeout", "20",
               "--exclude-path", "/v1/admin/models", "--no-color"]
    with tempfile.TemporaryDirectory() as folder:  # it remembers failures in the folder where it runs
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 4 + 60, cwd=folder)
    print("\n".join(line[:400] for line in done.stdout.splitlines()[-80:]))
    check(done.returncode == 0, f"exit code {done.returncode}", done.stderr[-500:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages")  # as the other scripts of tools/run_tests.py
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    cases = Cases()
    if not PROGRAM.exists():
        cases.skip("schemathesis", "needs Python 3.11 or newer")
        return cases.close()
    # Short answers: what is checked is their form. Room in the queue for the 2048 inputs that a request may have.
    with Server(options.tool, "--context", "256", "--max_waiting", "4096") as server:
        cases.run("schemathesis", schemathesis, server.url, options.seconds)
    return cases.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is right: Schemathesis makes requests from it and compares what the server answers.

openapi.py --tool build/release/bin/deepshock [--seconds 30]
"""

import argparse
import pathlib
import subprocess
import sys

from served import Cases, Server, check

CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "negative_data_rejection", "unsupported_method"]


def schemathesis(url, seconds):
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    command = [program, "run", url + "/openapi.json", "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
               "--max-examples", "30", "--seed", "1", "--max-time", str(seconds), "--request-timeout", "20",
               "--exclude-path", "/v1/admin/models", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 4 + 60)
    print(done.stdout[-6000:])
    check(done.returncode == 0, f"exit code {done.returncode}", done.stderr[-500:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages")  # as the other scripts of tools/run_tests.py
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    cases = Cases()
    # Short answers: what is checked is their form.
    with Server(options.tool, "--context", "256") as server:
        cases.run("schemathesis", schemathesis, server.url, options.seconds)
    return cases.close()


if __name__ == "__main__":
    sys.exit(main())

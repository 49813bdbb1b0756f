# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the tests; called by ./test, which see.

Every step leaves a log in build/test-logs and its counts in the closing table. The exit code comes from the counts:
a build that fails counts as a failed test, and so does a program that dies after its last test passed.
"""

import argparse
import concurrent.futures
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build/test-logs"
JOBS = len(os.sched_getaffinity(0))
RELEASE_LABELS = ["unit", "gates", "golden", "e2e"]
DEFAULT_STEPS = ["source", *RELEASE_LABELS, "asan", "tsan", "fuzz", "peers"]
# By name only: five minutes under emulation.
STEPS = [*DEFAULT_STEPS, "aarch64"]
AARCH64_TESTS = ["tensor_test", "kernels_test", "kernels_without_dotprod"]
# What has threads of its own.
TSAN_TESTS = ["base_test", "kernels_test", "experts_test", "runtime_test", "serve_test"]
# Long loops on one thread: nothing for ThreadSanitizer to see, and minutes of its time; or counts of the process's
# pages, most of which are ThreadSanitizer's own.
ONE_THREAD = "*InterleavedKernels*:*WeightKernels*:*VectorKernels*:*AttentionTest.Is*:*AttentionTest.Storing*:" \
             "*AttentionTest.Groups*:*AttentionTest.Products*:KvLayout.*:Utf8.*:Sampler.*:OutputFile.*:" \
             "BenchmarkTest.*:SynthTest.EveryType*:ServingTest.RequestsThatArePutBack*:ServingTest.AnswersAreTheSame*:" \
             "KvCache.ALongContextCostsNothing*"
# Numbers over whole test sets: a quarter of an hour under a sanitizer, through code that other cases run too.
RELEASE_ONLY = "TinyMoe.Likelihoods*:TinyMoe.MtpDrafts*:TinyMoe.ExpertProfiles*:RoutingOnTinyMoe.TheRecommended*:" \
               "WarmUpOnText.*:ExpertMemory.ReplayPredicts*:SpeculationOnTinyMoe.*:" \
               "StructuredOutput.EveryFinished*"
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:check_initialization_order=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    "GTEST_FILTER": f"-{RELEASE_ONLY}",
}
EXIT_OUT_OF_REACH = 75  # tools/peers
# Scripts below tests/, and the program that each drives.
PEER_TESTS = [("golden/tokenizers", "tokenize"), ("golden/chat_templates", "render_template"),
              ("golden/structured_output", "deepseek-infer"), ("serve/clients", "deepshock"),
              ("serve/page", "deepshock"), ("serve/openapi", "deepshock")]
TAIL_LINES = 60


@dataclass
class Step:
    name: str
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list = field(default_factory=list)  # printed below the table

    def fail(self, note):
        self.failed += 1
        self.notes.append(f"FAILED  {note}")

    def skip(self, note):
        self.skipped += 1
        self.notes.append(f"skipped {note}")


class Runner:
    def __init__(self, fuzz_seconds):
        self.fuzz_seconds = fuzz_seconds
        self.steps = []
        self.built = {}  # (preset, targets) -> whether it built

    # -- running commands ---------------------------------------------------------------------------------------

    def command(self, log, command, env=None):
        """Runs `command` with its output in the log file; on a terminal its last line shows as progress."""
        show = sys.stdout.isatty()
        with open(log, "a", encoding="utf-8", errors="replace") as out:
            out.write("$ " + " ".join(map(str, command)) + "\n")
            out.flush()
            process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(env or {})}, text=True,
                                       errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT)
            for line in process.stdout:
                out.write(line)
                if show:
                    width = shutil.get_terminal_size().columns - 1
                    print(f"\r\033[K{line.rstrip()[:width]}", end="", flush=True)
            code = process.wait()
        if show:
            print("\r\033[K", end="", flush=True)
        return code

    def step(self, name):
        step = Step(name)
        self.steps.append(step)
        log = LOGS / f"{name.replace(' ', '-')}.log"
        log.unlink(missing_ok=True)
        print(f"-- {name}", flush=True)
        step.seconds = -time.monotonic()
        return step, log

    def finish(self, step, log, show_log=None):
        step.seconds += time.monotonic()
        if step.failed and (show_log or show_log is None):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            print(f"   the end of {log.relative_to(ROOT)}:")
            print("\n".join("   | " + line for line in lines[-TAIL_LINES:]))
        print(f"   {step.passed} ok, {step.failed} failed, {step.skipped} skipped, {step.seconds:.1f} s", flush=True)

    def dependencies(self, *sets):
        step, log = self.step("dependencies")
        if subprocess.run([ROOT / "tools/install-dependencies", *sets], stdin=subprocess.DEVNULL).returncode != 0:
            log.write_text("see the message above\n")
            step.fail("tools/install-dependencies " + " ".join(sets))
        self.finish(step, log, show_log=False)
        return not step.failed

    def build(self, preset, *targets):
        key = (preset, targets)
        if key not in self.built:
            step, log = self.step(f"build {preset}")
            if self.command(log, ["tools/build", "--tests", preset, *targets]) != 0:
                step.fail(f"building {preset}: see {log.relative_to(ROOT)}")
            self.built[key] = not step.failed
            self.finish(step, log)
        return self.built[key]

    # -- test programs ------------------------------------------------------------------------------------------

    def ctest(self, name, preset, selection, sanitized=False, without=""):
        step, log = self.step(name)
        results = LOGS / f"{name.replace(' ', '-')}-results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(parents=True)
        junit = results / "ctest.junit"
        command = ["ctest", "--test-dir", f"build/{preset}", *selection, "--parallel", str(JOBS),
                   "--output-on-failure", "--no-tests=ignore", "--output-junit", junit]
        code = self.command(log, without_address_randomisation() + command if sanitized else command,
                            {"GTEST_OUTPUT": f"xml:{results}/", **(SANITIZER_ENV if sanitized else {}),
                             **({"GTEST_FILTER": f"-{RELEASE_ONLY}:{without}"} if without else {})})
        if not junit.exists():
            step.fail(f"{name}: ctest itself failed with exit code {code}")
        else:
            for entry in ElementTree.parse(junit).getroot().iter("testcase"):
                count_program(step, entry, results / f"{entry.get('name')}.xml")
        if code != 0 and not step.failed:
            step.fail(f"{name}: ctest ended with exit code {code}")
        self.finish(step, log)

    def release(self, label):
        if self.build("release"):
            self.ctest(label, "release", ["--label-regex", f"^{label}$"])

    def one(self, name):
        targets, pattern = find_tests(name)
        if self.build("release", *targets):
            self.ctest(name, "release", ["--tests-regex", pattern])

    def asan(self):
        if self.build("asan"):
            self.ctest("asan", "asan", [], sanitized=True)
            self.steps[-1].notes.append(f"asan: left to the release build: {RELEASE_ONLY}")

    def tsan(self):
        if self.build("tsan", *TSAN_TESTS):
            self.ctest("tsan", "tsan", ["--tests-regex", f"^({'|'.join(TSAN_TESTS)})$"], sanitized=True,
                       without=ONE_THREAD)
            self.steps[-1].notes.append(f"tsan: one thread only, left out: {ONE_THREAD}")

    def aarch64(self):
        if self.build("aarch64", "tensor_test", "kernels_test"):
            self.ctest("aarch64", "aarch64", ["--tests-regex", f"^({'|'.join(AARCH64_TESTS)})$"])

    # -- the other steps ----------------------------------------------------------------------------------------

    def source(self):
        step, log = self.step("source")
        for test in ["tests/gates/check_source_test.py", "tests/gates/run_tests_test.py"]:
            if self.command(log, [sys.executable, test]) == 0:
                step.passed += int(re.findall(r"^Ran (\d+) test", log.read_text(), re.MULTILINE)[-1])
            else:
                step.fail(test)
        if self.command(log, [sys.executable, "tests/gates/check_source.py"]) == 0:
            step.passed += 1
        else:
            step.fail("tests/gates/check_source.py")
        self.finish(step, log)

    def fuzz(self):
        if not self.build("asan"):
            return
        step, log = self.step("fuzz")
        targets = sorted(path.stem for path in (ROOT / "tests/fuzz").glob("*_fuzz.cc"))
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            for target, problem, text in pool.map(self.fuzz_one, targets):
                with open(log, "a", encoding="utf-8") as out:
                    out.write(f"== {target}\n{text}\n")
                if problem:
                    step.fail(f"{target}: {problem}")
                else:
                    step.passed += 1
        if not targets:
            step.fail("no fuzz targets found in tests/fuzz")
        self.finish(step, log)

    def fuzz_one(self, target):
        thing = target.removesuffix("_fuzz")
        work = ROOT / "build/fuzz" / thing
        (work / "corpus").mkdir(parents=True, exist_ok=True)
        command = [ROOT / "build/asan/bin" / target, f"-max_total_time={self.fuzz_seconds}", "-timeout=20",
                   "-rss_limit_mb=3072", "-print_final_stats=1", f"-artifact_prefix={work}/", work / "corpus"]
        if (ROOT / f"tests/fuzz/{thing}.dict").exists():
            command.append(f"-dict=tests/fuzz/{thing}.dict")
        if (ROOT / f"tests/fuzz/corpus/{thing}").is_dir():
            command.append(f"tests/fuzz/corpus/{thing}")
        try:
            done = subprocess.run(without_address_randomisation() + command, cwd=ROOT, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                  env={**os.environ, **SANITIZER_ENV}, timeout=self.fuzz_seconds + 300)
        except subprocess.TimeoutExpired as late:
            return target, "did not end in time", str(late.output or "")
        text = "\n".join(done.stdout.splitlines()[-200:])
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stdout)
        if done.returncode != 0:
            return target, f"exit code {done.returncode}; the input is in {work.relative_to(ROOT)}", text
        if not runs or int(runs.group(1)) < 100:
            return target, "ran fewer than 100 inputs", text
        return target, "", text

    def peers(self):
        if not self.build("release"):
            return
        step, log = self.step("peers")
        code = self.command(log, ["tools/peers"])
        for script, tool in PEER_TESTS:
            path = f"tests/{script}.py"
            if code == EXIT_OUT_OF_REACH:
                step.skip(f"{path}: {last_line(log)}")
            elif code != 0:
                step.fail(f"{path}: tools/peers failed")
            else:
                before = log.stat().st_size
                run = self.command(log, ["build/peers/venv/bin/python", path, "--tool", f"build/release/bin/{tool}",
                                         "--packages", "build/peers/node_modules"])
                self.count_script(step, path, run, log.read_bytes()[before:].decode(errors="replace"))
        self.finish(step, log)

    @staticmethod
    def count_script(step, path, code, output):
        """A script may close with a counting line of its own; its exit code decides all the same."""
        counts = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", output, re.MULTILINE)
        if counts:
            step.passed += int(counts[-1][0])
            step.failed += int(counts[-1][1])
            step.skipped += int(counts[-1][2] or 0)
        if code != 0 and not (counts and int(counts[-1][1])):
            step.fail(f"{path}: exit code {code}")
        elif code == 0 and not counts:
            step.passed += 1

    def report(self):
        print("\nstep               time   passed  failed  skipped")
        for step in self.steps:
            minutes, seconds = divmod(round(step.seconds), 60)
            print(f"{step.name:16s} {minutes:3d}:{seconds:02d}   {step.passed:6d}  {step.failed:6d}  {step.skipped:7d}")
        minutes, seconds = divmod(round(sum(step.seconds for step in self.steps)), 60)
        print(f"{'all':16s} {minutes:3d}:{seconds:02d}   logs: {LOGS.relative_to(ROOT)}\n")
        for note in dict.fromkeys(note for step in self.steps for note in step.notes):
            print(note)
        passed, failed, skipped = (sum(getattr(s, what) for s in self.steps) for what in ("passed", "failed", "skipped"))
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
        return 0 if passed and not failed else 1


def count_program(step, entry, gtest_xml):
    """One ctest entry: by its gtest cases where it wrote them, and failed whenever ctest says so."""
    name, failed_before = entry.get("name"), step.failed
    try:
        cases = list(ElementTree.parse(gtest_xml).getroot().iter("testcase"))
    except (FileNotFoundError, ElementTree.ParseError):
        cases = []
    for case in cases:
        full_name = f"{name}: {case.get('classname')}.{case.get('name')}"
        reason = case.find("skipped")
        if case.find("failure") is not None:
            step.fail(full_name)
        elif reason is not None or case.get("result") == "skipped":
            message = (reason.get("message") or "").strip().splitlines() if reason is not None else []
            step.skip(f"{full_name}: {message[-1] if message else 'no reason given'}")
        elif case.get("status") == "run":
            step.passed += 1
    if entry.get("status") not in ("run", "disabled") and step.failed == failed_before:
        step.fail(f"{name}: crashed, ran out of time or did not run")
    elif not cases and entry.get("status") == "run":
        step.passed += 1


def without_address_randomisation():
    """The sanitizers of clang 14 and gcc 11 fail at random where the kernel randomises more address bits than they
    expect (vm.mmap_rnd_bits above 28)."""
    command = ["setarch", platform.machine(), "-R"]
    try:
        works = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    return command if works else []


def folders():
    return sorted(path.name for path in (ROOT / "src").iterdir() if any(path.rglob("*_test.cc")))


def find_tests(name):
    """Build targets and the ctest pattern for a folder of src, for apps, or for a file below tests; else None."""
    if name in folders():
        return [f"{name}_test"], f"^{name}_test$"
    if name == "apps":
        return ["apps/all"], "^apps_.*_test$"
    for kind in RELEASE_LABELS[1:]:
        for stem in (name, f"{name}_test"):
            if stem.endswith("_test") and (ROOT / f"tests/{kind}/{stem}.cc").exists():
                return [stem], f"^{stem}$"
    return None


def last_line(log):
    return (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1]


def main():
    parser = argparse.ArgumentParser(
        prog="./test", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Builds and runs the tests (without arguments all but aarch64), installing missing packages first.",
        epilog="steps: " + ", ".join(STEPS) + "\n"
               "folders: " + ", ".join([*folders(), "apps"]) + ": that folder's unit tests\n"
               "tests: the name of a file below tests/gates, tests/golden or tests/e2e\n\n"
               "examples:\n  ./test                    everything\n"
               "  ./test unit               all unit tests\n"
               "  ./test text               unit tests of src/text\n"
               "  ./test fuzz --seconds 60  a minute for each fuzz target")
    parser.add_argument("what", nargs="*", metavar="STEP|FOLDER|TEST", help="what to run (default: all but aarch64)")
    parser.add_argument("--seconds", type=int, default=10, help="time for each fuzz target (default: 10)")
    options = parser.parse_args()
    what = options.what or DEFAULT_STEPS
    for name in what:
        if name not in STEPS and find_tests(name) is None:
            parser.error(f"unknown '{name}': expected a step, a folder or a test (see ./test --help)")

    LOGS.mkdir(parents=True, exist_ok=True)
    runner = Runner(options.seconds)
    sets = ["test"] + (["fuzz"] if {"asan", "fuzz"} & set(what) else []) + (["aarch64"] if "aarch64" in what else [])
    if runner.dependencies(*sets):
        for name in what:
            if name in RELEASE_LABELS:
                runner.release(name)
            elif name in STEPS:
                getattr(runner, name)()
            else:
                runner.one(name)
    return runner.report()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)

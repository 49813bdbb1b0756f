#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the source tree to the rules that a compiler does not check (CONTRIBUTING.md, "Hard rules").

Prints one line a problem, `file:line: what`, and exits non-zero when there is any. check_source_test.py shows that
each rule can fail. Called by ./test; takes the project's root as an optional argument.
"""

import pathlib
import re
import subprocess
import sys

# Rows of docs/architecture.md, top to bottom: a folder includes itself and the rows below its own.
LAYERS = [
    ["serve"],
    ["runtime", "train"],
    ["model", "cluster"],
    ["experts", "data", "grammar"],
    ["kernels", "formats", "text"],
    ["tensor"],
    ["base"],
]
ROW = {folder: len(LAYERS) - index for index, row in enumerate(LAYERS) for folder in row}

MAX_LINES = 600
LONG_FILES = "tests/gates/long_files.txt"  # "path reason" a line: files that may be longer
CODE_SUFFIXES = {".h", ".cc"}
LICENSED_SUFFIXES = CODE_SUFFIXES | {".cmake", ".py", ".sh", ".js", ".css", ".clang-format"}
SPDX = "SPDX-License-Identifier: Apache-2.0"

# What a library must not do; programs (apps, tests) may. The pattern is matched against code without comments and
# strings. Files that are the exception stand beside it.
LIBRARY_BANS = [
    (r"\b(std::)?(secure_)?getenv\s*\(", "reads the environment: only apps may", set()),
    (r"\b(std::)?(exit|_exit|quick_exit)\s*\(", "ends the process: return a Status", set()),
    (r"\b(std::)?abort\s*\(", "aborts: use DS_CHECK, and only for bugs", {"src/base/check.cc"}),
    (r"\bstd::(cout|cerr|clog)\b|\b(std::)?(printf|puts|putchar)\s*\(|\bfmt::print\s*\(|\bstderr\b|\bstdout\b",
     "prints: return a Status, or take a callback", {"src/base/check.cc"}),
    # json.cc throws out of a callback of the parser, which nothing else ends, and catches it itself.
    (r"(?<![:\w])throw\b", "throws: return a Status", {"src/base/json.cc"}),
]
# Headers that are expensive to compile stay out of the libraries' headers, but for those that exist to bring them
# and those that only tests include (test_x.h).
HEAVY_INCLUDES = re.compile(r"nlohmann/json\.hpp|CLI/CLI\.hpp|^base/json\.h$|gtest/gtest\.h")
HEAVY_ALLOWED = {"src/base/json.h"}
# Folders of one machine or user. System folders (/proc, /tmp, /usr) are fine.
MACHINE_PATH = re.compile(r"(?<![\w.~}*$-])/(home|root|Users|mnt|media|srv)/\w")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def blank(match):
    """Keeps line numbers right. A digit separator (1'000) is no string."""
    return re.sub(r"[^\n]", " ", match.group(0))


def tracked_files(root):
    """What git tracks or would track; outside a repository everything but the build folder."""
    try:
        listing = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                 capture_output=True, text=True, check=True)
        names = listing.stdout.split("\0")
    except (FileNotFoundError, subprocess.CalledProcessError):
        names = [str(path.relative_to(root)) for path in root.rglob("*")]
        names = [name for name in names if not name.startswith(("build/", ".git/"))]
    return sorted(name for name in set(names) if name and (root / name).is_file())


def check_include(name, target, root):
    """Why file `name` may not include "target", or None."""
    parts = target.split("/")
    own = name.split("/")
    if len(parts) < 2 or ".." in parts:
        return f'"{target}": expected "folder/file.h" relative to src/'
    row = ROW.get(own[1], 0) if own[0] == "src" else len(LAYERS) + 1
    if own[0] == "include" and parts[0] not in ("deepshock", "base"):
        return f'"{target}": the public API may include only itself and base'
    if parts[0] == "apps":
        allowed = own[0] in ("apps", "bindings")
        exists = (root / target).is_file()
    elif parts[0] == "tests":
        allowed = own[0] == "tests" or name.endswith("_test.cc")
        exists = (root / target).is_file()
    elif parts[0] == "deepshock":
        # The public API is what the runtime offers: layers below it do not know it.
        allowed, exists = row >= ROW["runtime"], (root / "include" / target).is_file()
    elif parts[0] in ROW:
        allowed = own[1] == parts[0] or row > ROW[parts[0]]
        exists = (root / "src" / target).is_file()
    else:
        return f'"{target}": {parts[0]} is no folder of src/, apps/ or tests/'
    if not exists:
        return f'"{target}" does not exist'
    if not allowed:
        return f'"{target}": {"/".join(own[:2])} may include only itself and the layers below it'
    return None


def check_code(name, text, root):
    for number, line in enumerate(text.splitlines(), 1):
        include = INCLUDE.match(line)
        if not include:
            continue
        kind, target = include.groups()
        problem = check_include(name, target, root) if kind == '"' else None
        if problem:
            yield number, problem
        if re.fullmatch(r"(src|include)/(.*/)?(?!test_)[^/]*\.h", name) and HEAVY_INCLUDES.search(target) \
                and name not in HEAVY_ALLOWED:
            yield number, f"{target} is slow to compile: include it in .cc files only"
    if name.startswith("src/"):
        folder = name.split("/")[1]
        if folder not in ROW:
            yield 1, f"src/{folder} is in no layer: add it to docs/architecture.md, CMakeLists.txt and this check"
        if name.endswith(".h") and "#pragma once" not in text:
            yield 1, "a header needs #pragma once"
        if not name.endswith("_test.cc"):
            yield from check_library(name, text)


def check_library(name, text):
    code = COMMENT_OR_STRING.sub(blank, re.sub(r"(?<=\w)'(?=\w)", " ", text))
    for pattern, what, exceptions in LIBRARY_BANS:
        if name not in exceptions:
            for line in sorted({code.count("\n", 0, match.start()) + 1 for match in re.finditer(pattern, code)}):
                yield line, what


def check_paths(text, root):
    own = [str(root)]
    # The folder that the checkout lies in, unless it is one that anything could be in.
    if len(root.parent.parts) > 1 and root.parent.name not in ("tmp", "home", "src"):
        own.append(str(root.parent))
    for number, line in enumerate(text.splitlines(), 1):
        match = MACHINE_PATH.search(line)
        found = match.group(0) if match else next((p for p in own if re.search(re.escape(p) + r"(/|\b)", line)), None)
        if found:
            yield number, f"names a folder of one machine ({found}...)"


def check_file(name, root, long_files):
    path = root / name
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        if path.suffix in LICENSED_SUFFIXES:
            yield 1, "is not UTF-8"
        return
    lines = text.splitlines()
    is_script = bool(lines) and lines[0].startswith("#!")
    licensed = path.suffix in LICENSED_SUFFIXES or path.name == "CMakeLists.txt" or is_script
    if licensed and SPDX not in "\n".join(lines[is_script : is_script + 1]):
        yield 1, f"its first line (after #!) must say {SPDX}"
    if licensed:
        limit_applies = name not in long_files
        if limit_applies and len(lines) > MAX_LINES:
            yield MAX_LINES, f"has {len(lines)} lines, more than {MAX_LINES}: split it, or name it in {LONG_FILES}"
        if name not in ("tests/gates/check_source.py", "tests/gates/check_source_test.py"):
            yield from check_paths(text, root)
    elif path.suffix == ".md":
        yield from check_paths(text, root)
    if path.suffix in CODE_SUFFIXES:
        yield from check_code(name, text, root)


def read_long_files(root):
    """Paths and problems of the exceptions file."""
    path = root / LONG_FILES
    names, problems = set(), []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = line.partition(" ")
        if not reason.strip():
            problems.append(f"{LONG_FILES}:{number}: {name} needs a reason")
        elif not (root / name).is_file() or len((root / name).read_text().splitlines()) <= MAX_LINES:
            problems.append(f"{LONG_FILES}:{number}: {name} is not longer than {MAX_LINES} lines: remove it here")
        names.add(name)
    return names, problems


def check_tree(root):
    """All problems, and how many files were looked at."""
    root = pathlib.Path(root).resolve()
    long_files, problems = read_long_files(root)
    files = tracked_files(root)
    for name in files:
        problems += [f"{name}:{number}: {what}" for number, what in check_file(name, root, long_files)]
    return problems, len(files)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent.parent
    problems, num_files = check_tree(root)
    for problem in problems:
        print(problem)
    print(f"{num_files} files checked, {len(problems)} problems")
    return 1 if problems or not num_files else 0


if __name__ == "__main__":
    sys.exit(main())

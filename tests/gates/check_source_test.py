#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_source.py finds what it is there to find, and nothing in a tree that keeps the rules."""

import pathlib
import tempfile
import unittest

import check_source

LICENSE = f"// {check_source.SPDX}\n"
GOOD = {
    "src/base/result.h": LICENSE + "#pragma once\n",
    "src/base/json.h": LICENSE + "#pragma once\n#include <nlohmann/json.hpp>\n",
    "src/tensor/matrix.h": LICENSE + '#pragma once\n#include "base/result.h"\n',
    "src/kernels/ops.cc": LICENSE + '#include "tensor/matrix.h"\n#include <vector>\nint x = 1\'000;\n',
    "src/text/bpe.cc": LICENSE + '// printf("x") and getenv("y") in a comment, "throw" in a string\n'
                                 'const char* k = "exit(1) stderr throw";\n#include "base/json.h"\n',
    "src/text/bpe.h": LICENSE + "#pragma once\n",
    "src/text/test_strings.h": LICENSE + "#pragma once\n#include <gtest/gtest.h>\n",
    "src/text/bpe_test.cc": LICENSE + '#include "text/bpe.h"\n#include "tests/support/random.h"\n',
    "src/model/model.cc": LICENSE + '#include "kernels/ops.h"\n',
    "src/kernels/ops.h": LICENSE + "#pragma once\n",
    "include/deepshock/engine.h": LICENSE + '#pragma once\n#include "base/result.h"\n',
    "src/runtime/engine.cc": LICENSE + '#include "deepshock/engine.h"\n#include "model/model.h"\n',
    "src/model/model.h": LICENSE + "#pragma once\n",
    "apps/common/options.h": LICENSE + "#pragma once\n",
    "apps/deepshock/main.cc": LICENSE + '#include "apps/common/options.h"\n#include "text/bpe.h"\nint y = getenv("A");',
    "tests/support/random.h": LICENSE + "#pragma once\n",
    "tools/build": f"#!/bin/sh\n# {check_source.SPDX}\n",
    "docs/notation.md": "T tokens; see /proc/cpuinfo and ../shared\n",
    "models/tiny.bin": "\0\1\2",
}


class CheckSource(unittest.TestCase):
    def problems(self, changes):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder) / "tree"
            for name, text in {**GOOD, **changes}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return check_source.check_tree(root)[0]

    def expect(self, changes, *words):
        """Exactly one problem, in the first changed file, and it says `words`."""
        problems = self.problems(changes)
        self.assertEqual(len(problems), 1, problems)
        for word in (next(iter(changes)), *words):
            self.assertIn(word, problems[0])

    def test_good_tree(self):
        self.assertEqual(self.problems({}), [])

    def test_include_up(self):
        self.expect({"src/base/x.cc": LICENSE + '\n#include "tensor/matrix.h"\n'}, ":3:", "layers below")

    def test_include_sideways(self):
        self.expect({"src/text/x.cc": LICENSE + '#include "kernels/ops.h"\n'}, "layers below")

    def test_include_of_apps_from_below(self):
        self.expect({"src/model/x.cc": LICENSE + '#include "apps/common/options.h"\n'}, "layers below")

    def test_include_of_tests_from_a_library(self):
        self.expect({"src/model/x.cc": LICENSE + '#include "tests/support/random.h"\n'}, "layers below")

    def test_public_api(self):
        self.expect({"src/model/x.cc": LICENSE + '#include "deepshock/engine.h"\n'}, "layers below")
        self.expect({"include/deepshock/x.h": LICENSE + '#pragma once\n#include "tensor/matrix.h"\n'}, "public API")

    def test_include_without_folder(self):
        self.expect({"src/text/x.cc": LICENSE + '#include "bpe.h"\n'}, "folder/file.h")

    def test_include_relative(self):
        self.expect({"src/text/x.cc": LICENSE + '#include "../base/result.h"\n'}, "folder/file.h")

    def test_include_of_nothing(self):
        self.expect({"src/text/x.cc": LICENSE + '#include "base/missing.h"\n'}, "does not exist")

    def test_unknown_folder(self):
        self.expect({"src/stuff/x.cc": LICENSE}, "no layer")

    def test_heavy_include_in_a_header(self):
        self.expect({"src/text/x.h": LICENSE + "#pragma once\n#include <nlohmann/json.hpp>\n"}, "slow to compile")
        self.expect({"src/text/x.h": LICENSE + '#pragma once\n#include "base/json.h"\n'}, "slow to compile")

    def test_licence(self):
        self.expect({"src/text/x.cc": "int x;\n"}, "SPDX")
        self.expect({"tools/run": "#!/bin/sh\necho\n"}, "SPDX")
        self.expect({"apps/CMakeLists.txt": "project(x)\n"}, "SPDX")

    def test_pragma_once(self):
        self.expect({"src/text/x.h": LICENSE}, "#pragma once")

    def test_long_file(self):
        long = LICENSE + "\n" * check_source.MAX_LINES
        self.expect({"src/text/x.cc": long}, "601 lines")
        self.assertEqual(self.problems({"src/text/x.cc": long, check_source.LONG_FILES: "src/text/x.cc a table\n"}), [])

    def test_exceptions_file(self):
        self.expect({check_source.LONG_FILES: "src/text/bpe.cc a table\n"}, "remove it here")
        self.expect({check_source.LONG_FILES: "src/text/bpe.cc\n"}, "needs a reason")

    def test_library_bans(self):
        for code in ['std::getenv("A");', "exit(1);", "std::abort();", 'printf("x");', "std::cerr << 1;", "throw 1;",
                     "fmt::print(stderr, 1);"]:
            with self.subTest(code):
                self.assertEqual(len(self.problems({"src/text/x.cc": LICENSE + code + "\n"})), 1)
                self.assertEqual(self.problems({"apps/deepshock/x.cc": LICENSE + code + "\n"}), [])

    def test_machine_paths(self):
        self.expect({"docs/a.md": "see /home/someone/file\n"}, "one machine")
        self.expect({"src/text/x.cc": LICENSE + 'auto p = "/root/x";\n'}, ":2:", "one machine")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder).resolve() / "a.md"
            path.write_text(f"in {path.parent}/x\n")
            self.assertEqual(len(check_source.check_tree(path.parent)[0]), 1)


if __name__ == "__main__":
    unittest.main()

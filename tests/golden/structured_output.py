#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Validates structured output with Python's `jsonschema` (PyPI), formats included.

    structured_output.py --tool build/release/bin/deepseek-infer

Asks the embedded model for 500 values of 500 schemas, greedy and sampled, and validates every answer that finishes.
Needs `jsonschema` and `rfc3339-validator`; installs nothing. Prints a line; exits 1 when an answer is not valid, or
too few finish.
"""
import argparse
import json
import os
import random
import subprocess
import sys

# This script's folder must not be searched: it would be found as the package that it looks for.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != HERE]

from jsonschema import Draft202012Validator, FormatChecker  # noqa: E402

NUM_SCHEMAS = 500
MODEL = os.path.join(HERE, "..", "..", "models", "tiny-moe.gguf")
TREE = {"type": "object",
        "properties": {"v": {"type": "integer"},
                       "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
        "required": ["v"], "additionalProperties": False}
PARTS = {
    "date": {"type": "string", "format": "date"},
    "moment": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "ipv4": {"type": "string", "format": "ipv4"},
    "ipv6": {"type": "string", "format": "ipv6"},
    "email": {"type": "string", "format": "email"},
    "text": {"type": "string", "minLength": 2, "maxLength": 12},
    "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{3,5}$"},
    "count": {"type": "integer", "minimum": -5, "maximum": 1200, "multipleOf": 3},
    "price": {"type": "number", "exclusiveMinimum": 0.5, "maximum": 99.75},
    "colour": {"enum": ["red", "green", 3, None]},
    "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
    "pair": {"type": "array", "prefixItems": [{"type": "string", "maxLength": 5}, {"type": "number"}], "minItems": 2,
             "items": False},
    "choice": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"k": {"const": "v"}}, "required": ["k"],
                                            "additionalProperties": False}]},
    "flag": {"type": "boolean"},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3,
            "propertyNames": {"pattern": "^[a-z]{1,8}$"}},
    "both": {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 60}]},
    "tree": {"$ref": "#/$defs/tree"},
}


def make_schemas():
    rng = random.Random(3)
    schemas = []
    for i in range(NUM_SCHEMAS):
        names = rng.sample(sorted(PARTS), rng.randint(1, 6))
        schema = {"type": "object", "properties": {name: PARTS[name] for name in names},
                  "required": [name for name in names if rng.random() < 0.6], "additionalProperties": False}
        if i % 7 == 0:
            schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": 3}
        schemas.append({**schema, "$defs": {"tree": TREE}})
    return schemas


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages", help="not needed")
    options = parser.parse_args()
    schemas = make_schemas()
    records = [{"prompt": "JSON:\n", "max_tokens": 300, "temperature": i % 3 * 0.5, "seed": i,
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
               for i, schema in enumerate(schemas)]
    run = subprocess.run([options.tool, "--model", MODEL, "-q", "--batch_size", "32"], capture_output=True, text=True,
                         input="".join(json.dumps(record) + "\n" for record in records), check=False)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode != 0 or len(answers) != NUM_SCHEMAS:
        print(f"{options.tool}: exit code {run.returncode}, {len(answers)} answers: {run.stderr}")
        return 2
    finished = wrong = 0
    for schema, answer in zip(schemas, answers):
        problem = answer.get("error")
        if not problem and answer["finish_reason"] == "stop":
            finished += 1
            try:
                validator = Draft202012Validator(schema, format_checker=FormatChecker())
                problem = next(validator.iter_errors(json.loads(answer["text"])), None)
            except json.JSONDecodeError as error:
                problem = error
        if problem:
            wrong += 1
            print(f"{json.dumps(schema)}\n{answer.get('text')}\n{problem}")
    print(f"{NUM_SCHEMAS} schemas, {finished} answers finished, {wrong} not valid")
    return 1 if wrong or finished < NUM_SCHEMAS * 8 // 10 else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Official clients against the server, unchanged: `openai` and `anthropic` for Python, LiteLLM, curl, and, through
clients.mjs, `openai` for Node.

clients.py --tool build/release/bin/deepshock [--packages NODE_MODULES_DIR]

Greedy answers of the embedded model make the checks exact: what streams is what comes whole, each API says the same text.
"""

import argparse
import base64
import json
import os
import pathlib
import struct
import subprocess
import sys

import anthropic
import openai

from served import Cases, Server, check, equal

MODEL = "tiny-moe"
KEY = "sk-clients-test"
HELLO = [{"role": "user", "content": "Tell me about the sea."}]
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Weather of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}}, "required": ["city"],
    "additionalProperties": False}}}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0,
          "maximum": 150}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2}},
          "required": ["name", "age", "tags"], "additionalProperties": False}


def refused(kind, status, call, param=None, code=None):
    try:
        call()
    except kind as error:
        equal(error.status_code, status, error.message)
        if param is not None:
            equal(error.body["param"], param)
        if code is not None:
            equal(error.body["code"], code)
        return error
    raise AssertionError(f"expected status {status}, found an answer")


# -- openai ---------------------------------------------------------------------------------------------------------


def chat_whole(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=12)
    choice = answer.choices[0]
    check(choice.message.content, answer)
    equal(choice.finish_reason, "length")
    equal(answer.usage.completion_tokens, 12)
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 12)
    return choice.message.content


def chat_streams_the_same(client):
    whole = chat_whole(client)
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=12, stream=True,
                                            stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    equal(text, whole)
    equal(chunks[-1].usage.completion_tokens, 12)
    equal([c.choices[0].finish_reason for c in chunks if c.choices][-1], "length")
    # This helper takes an answer at the limit for an error.
    word = whole.split()[2]
    with client.chat.completions.stream(model=MODEL, messages=HELLO, temperature=0, max_tokens=12, stop=word) as helper:
        equal(helper.get_final_completion().choices[0].message.content, whole[:whole.index(word)])


def chat_choices_and_seed(client):
    def texts():
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, n=3, seed=7, temperature=1, max_tokens=8)
        equal([choice.index for choice in answer.choices], [0, 1, 2])
        return [choice.message.content for choice in answer.choices]
    first = texts()
    equal(texts(), first, "the same seed")
    check(len(set(first)) > 1, "choices differ", first)


def chat_stop(client):
    whole = chat_whole(client)
    word = whole.split()[2]
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=12, stop=[word])
    equal(answer.choices[0].finish_reason, "stop")
    equal(answer.choices[0].message.content, whole[:whole.index(word)])


def chat_logprobs(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=5, logprobs=True,
                                            top_logprobs=3)
    content = answer.choices[0].logprobs.content
    equal(len(content), 5)
    for entry in content:
        equal(len(entry.top_logprobs), 3)
        equal(entry.token, entry.top_logprobs[0].token, "greedy takes the likeliest")
        check(entry.logprob <= 0)
    text = b"".join(bytes(entry.bytes) for entry in content).decode(errors="replace")
    equal(text.strip(), answer.choices[0].message.content.strip())


def chat_tools(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER], tool_choice="required",
                                            temperature=0, max_tokens=200)
    choice = answer.choices[0]
    equal(choice.finish_reason, "tool_calls", choice)
    call = choice.message.tool_calls[0]
    equal(call.function.name, "weather")
    check(json.loads(call.function.arguments)["city"] in ("Oslo", "Rome"), call)
    more = [*HELLO, choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    after = client.chat.completions.create(model=MODEL, messages=more, tools=[WEATHER], max_tokens=4)
    equal(after.choices[0].message.role, "assistant")
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER], temperature=0, max_tokens=200,
                                            tool_choice={"type": "function", "function": {"name": "weather"}}, stream=True)
    name, arguments = "", ""
    for chunk in stream:
        for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            name += part.function.name or ""
            arguments += part.function.arguments or ""
    equal(name, "weather")
    check("city" in json.loads(arguments), arguments)


def chat_schema(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=300, response_format={
        "type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}})
    equal(answer.choices[0].finish_reason, "stop", answer.choices[0])
    person = json.loads(answer.choices[0].message.content)
    check(isinstance(person["name"], str) and 0 <= person["age"] <= 150 and set(person["tags"]) <= {"a", "b"}, person)


def chat_experts(client):
    extra = {"experts": {"explain": True, "experts_per_token": 2, "pin": "5:1"}, "expert_type": "text_expert"}
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=6, extra_body=extra)
    facts = answer.model_extra["deepshock"][0]
    check(facts["experts"]["groups"], facts)
    check(facts["routing"]["selections"] > 0, facts)


def completions(client):
    answer = client.completions.create(model=MODEL, prompt=["The sea", [5, 6, 7]], temperature=0, max_tokens=5, logprobs=2)
    equal(len(answer.choices), 2)
    equal(len(answer.choices[0].logprobs.tokens), 5)
    text = "".join(c.choices[0].text for c in client.completions.create(model=MODEL, prompt="The sea", temperature=0,
                                                                          max_tokens=5, stream=True) if c.choices)
    equal(text, answer.choices[0].text)
    echoed = client.completions.create(model=MODEL, prompt="The sea", temperature=0, max_tokens=5, echo=True)
    equal(echoed.choices[0].text, "The sea" + text)


def embeddings(client):
    answer = client.embeddings.create(model=MODEL, input=["the sea", "the ocean", "int main() {}"])
    vectors = [entry.embedding for entry in answer.data]
    for vector in vectors:
        check(abs(sum(x * x for x in vector) - 1) < 1e-3, "length 1")
    floats = client.embeddings.create(model=MODEL, input="the sea", encoding_format="float").data[0].embedding
    check(max(abs(a - b) for a, b in zip(floats, vectors[0])) < 1e-5, "both encodings say the same")


def models(client):
    names = [model.id for model in client.models.list()]
    check(MODEL in names, names)
    equal(client.models.retrieve(MODEL).id, MODEL)


def errors(client):
    bad = openai.BadRequestError
    create = client.chat.completions.create
    refused(bad, 400, lambda: create(model=MODEL, messages=HELLO, temperature=-1), "temperature")
    refused(bad, 400, lambda: create(model=MODEL, messages=HELLO, extra_body={"colour": 1}), "colour", "unknown_parameter")
    refused(bad, 400, lambda: create(model=MODEL, messages=[]), "messages")
    refused(bad, 400, lambda: create(model=MODEL, messages=HELLO, extra_body={"experts": {"ban": ["nobody"]}}))
    refused(bad, 400, lambda: create(model=MODEL, messages=[{"role": "user", "content": "sea " * 20000}]), "messages",
            "context_length_exceeded")
    error = refused(openai.NotFoundError, 404, lambda: create(model="gpt-9", messages=HELLO), "model")
    check(MODEL in error.message, "known models are told", error.message)
    other = openai.OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, 401, lambda: other.models.list())


def responses(client):
    answer = client.responses.create(model=MODEL, input=HELLO[0]["content"], temperature=0, max_output_tokens=12)
    equal(answer.output_text, chat_whole(client), "the same text as /v1/chat/completions")
    equal(answer.status, "incomplete")
    equal(answer.usage.output_tokens, 12)
    events = list(client.responses.create(model=MODEL, input=HELLO, temperature=0, max_output_tokens=12, stream=True))
    equal([event.sequence_number for event in events], list(range(len(events))))
    equal(events[0].type, "response.created")
    equal(events[-1].type, "response.incomplete")
    equal("".join(event.delta for event in events if event.type == "response.output_text.delta"), answer.output_text)
    with client.responses.stream(model=MODEL, input=HELLO, temperature=0, max_output_tokens=12) as stream:
        for _ in stream:
            pass
    error = refused(openai.BadRequestError, 400, lambda: client.responses.create(
        model=MODEL, input="x", previous_response_id="resp_1"), "previous_response_id")
    check("stored" in error.message)


def responses_tools(client):
    tool = {"type": "function", **WEATHER["function"], "strict": True}
    answer = client.responses.create(model=MODEL, input=HELLO, tools=[tool], tool_choice="required", temperature=0,
                                     max_output_tokens=200)
    call = answer.output[0]
    equal((call.type, call.name), ("function_call", "weather"))
    json.loads(call.arguments)
    items = [*HELLO, call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    after = client.responses.create(model=MODEL, input=items, tools=[tool], max_output_tokens=4)
    equal(after.output[0].type, "message")


GREEDY = {"temperature": 0}  # anthropic 2 has no parameter for it

# -- anthropic --------------------------------------------------------------------------------------------------------


def messages(client, expected):
    answer = client.messages.create(model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=12)
    equal(answer.content[0].text, expected, "the same text as /v1/chat/completions")
    equal(answer.stop_reason, "max_tokens")
    equal(answer.usage.output_tokens, 12)
    with client.messages.stream(model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=12) as stream:
        equal("".join(stream.text_stream), expected)
        equal(stream.get_final_message().stop_reason, "max_tokens")
    word = expected.split()[2]
    stopped = client.messages.create(model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=12, stop_sequences=[word])
    equal((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", word))
    counted = client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens
    used = answer.usage
    equal(counted, used.input_tokens + used.cache_read_input_tokens)
    check(client.messages.count_tokens(model=MODEL, messages=HELLO, system="Be brief.").input_tokens > counted)


def messages_tools(client):
    tool = {"name": "weather", "description": "Weather of a city", "input_schema": WEATHER["function"]["parameters"]}
    answer = client.messages.create(model=MODEL, messages=HELLO, tools=[tool], tool_choice={"type": "any"}, extra_body=GREEDY,
                                    max_tokens=200)
    equal(answer.stop_reason, "tool_use", answer)
    block = answer.content[-1]
    check(block.input["city"] in ("Oslo", "Rome"), block)
    with client.messages.stream(model=MODEL, messages=HELLO, tools=[tool], tool_choice={"type": "tool", "name": "weather"},
                                extra_body=GREEDY, max_tokens=200) as stream:
        equal(stream.get_final_message().content[-1].input, block.input)
    more = [*HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "rain"}]}]
    equal(client.messages.create(model=MODEL, messages=more, tools=[tool], max_tokens=4).role, "assistant")


def messages_errors(client):
    def kind(error):
        return error.body["error"]["type"]
    error = refused(anthropic.BadRequestError, 400, lambda: client.messages.create(
        model=MODEL, messages=HELLO, max_tokens=5, extra_body={"colour": 1}))
    equal(kind(error), "invalid_request_error")
    error = refused(anthropic.NotFoundError, 404, lambda: client.messages.create(model="x", messages=HELLO, max_tokens=5))
    equal(kind(error), "not_found_error")
    other = anthropic.Anthropic(base_url=client.base_url, api_key="wrong", max_retries=0)
    error = refused(anthropic.AuthenticationError, 401,
                    lambda: other.messages.create(model=MODEL, messages=HELLO, max_tokens=5))
    equal(kind(error), "authentication_error")


# -- others -----------------------------------------------------------------------------------------------------------


def litellm_client(url, expected):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # asks nobody else for prices
    import litellm
    base = {"model": f"openai/{MODEL}", "api_base": url + "/v1", "api_key": KEY, "messages": HELLO, "temperature": 0,
            "max_tokens": 12}
    equal(litellm.completion(**base).choices[0].message.content, expected)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**base, stream=True))
    equal(text, expected)
    vector = litellm.embedding(model=f"openai/{MODEL}", api_base=url + "/v1", api_key=KEY, input=["the sea"],
                               encoding_format="float").data[0]["embedding"]
    check(len(vector) > 16)


def curl(url, expected):
    def run(*arguments):
        return subprocess.run(["curl", "--silent", "--show-error", "-H", f"Authorization: Bearer {KEY}", *arguments],
                              capture_output=True, text=True, check=True, timeout=60).stdout
    body = {"messages": HELLO, "temperature": 0, "max_tokens": 12}
    head = ["-H", "Content-Type: application/json"]
    whole = json.loads(run(*head, "-d", json.dumps(body), url + "/v1/chat/completions"))
    equal(whole["choices"][0]["message"]["content"], expected)
    lines = run("--no-buffer", *head, "-d", json.dumps({**body, "stream": True}), url + "/v1/chat/completions").split("\n\n")
    equal(lines[-2:], ["data: [DONE]", ""])
    tokens = json.loads(run(*head, "-d", '{"prompt": "the sea"}', url + "/tokenize"))
    back = json.loads(run(*head, "-d", json.dumps({"tokens": tokens["tokens"]}), url + "/detokenize"))
    check(back["prompt"].endswith("the sea"), back)
    equal(json.loads(run(url + "/health"))["status"], "ok")
    check("<title>Deepshock</title>" in run(url + "/"))
    encoded = json.loads(run(*head, "-d", '{"input": "the sea", "encoding_format": "base64"}', url + "/v1/embeddings"))
    data = base64.b64decode(encoded["data"][0]["embedding"])
    check(len(struct.unpack(f"<{len(data) // 4}f", data)) > 16)


def node(url, packages, expected):
    script = pathlib.Path(__file__).with_name("clients.mjs")
    done = subprocess.run(["node", script, url, KEY, MODEL, packages, expected], capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, done.stdout[-600:], done.stderr[-1500:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages")
    options = parser.parse_args()
    cases = Cases()
    with Server(options.tool, env={"DEEPSHOCK_API_KEY": KEY}) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0, timeout=120)
        expected = chat_whole(client)
        for case in [chat_streams_the_same, chat_choices_and_seed, chat_stop, chat_logprobs, chat_tools, chat_schema,
                     chat_experts, completions, embeddings, models, errors, responses, responses_tools]:
            cases.run(f"openai {case.__name__}", case, client)
        claude = anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0, timeout=120)
        cases.run("anthropic messages", messages, claude, expected)
        cases.run("anthropic tools", messages_tools, claude)
        cases.run("anthropic errors", messages_errors, claude)
        cases.run("litellm", litellm_client, server.url, expected)
        cases.run("curl", curl, server.url, expected)
        if options.packages and os.path.isdir(os.path.join(options.packages, "openai")):
            cases.run("openai for node", node, server.url, options.packages, expected)
        else:
            cases.skip("openai for node", "no npm package openai")
    return cases.close()


if __name__ == "__main__":
    sys.exit(main())

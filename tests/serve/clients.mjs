// SPDX-License-Identifier: Apache-2.0
// The official `openai` package for Node against a server: node clients.mjs URL KEY MODEL NODE_MODULES EXPECTED, where
// EXPECTED is the greedy answer of 12 tokens to clients.py's question. Called by clients.py.
import assert from "node:assert/strict";
import {createRequire} from "node:module";
import path from "node:path";

const [url, apiKey, model, packages, expected] = process.argv.slice(2);
const OpenAI = createRequire(path.resolve(packages, "x.js"))("openai");
const client = new OpenAI({baseURL: `${url}/v1`, apiKey, maxRetries: 0});
const messages = [{role: "user", content: "Tell me about the sea."}];
const asked = {model, messages, temperature: 0, max_tokens: 12};

const whole = await client.chat.completions.create(asked);
assert.equal(whole.choices[0].message.content, expected);

let text = "";
for await (const chunk of await client.chat.completions.create({...asked, stream: true})) {
  text += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(text, expected);

const helper = client.chat.completions.stream(asked);
assert.equal((await helper.finalChatCompletion()).choices[0].message.content, expected);

const response = await client.responses.create({model, input: messages, temperature: 0, max_output_tokens: 12});
assert.equal(response.output_text, expected);
text = "";
for await (const event of await client.responses.create({model, input: messages, temperature: 0, max_output_tokens: 12,
                                                         stream: true})) {
  if (event.type === "response.output_text.delta") text += event.delta;
}
assert.equal(text, expected);

const vectors = await client.embeddings.create({model, input: ["the sea", "the ocean"]});
assert.equal(vectors.data.length, 2);

await assert.rejects(client.chat.completions.create({...asked, temperature: -1}),
                     (error) => error.status === 400 && error.param === "temperature");

// A client that leaves in the middle leaves the server well.
const controller = new AbortController();
const left = await client.chat.completions.create({...asked, max_tokens: 400, stream: true}, {signal: controller.signal});
for await (const _ of left) {
  controller.abort();
  break;
}
assert.equal((await client.models.list()).data[0].id, model);

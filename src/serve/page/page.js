// SPDX-License-Identifier: Apache-2.0
// The chat page. What the model writes reaches the document as text nodes only: markdown becomes elements made here,
// never HTML. One conversation, kept in this tab.
"use strict";

const MAX_INLINE = 5000;  // characters of a line in which emphasis is looked for: the search is quadratic
const MAX_DEPTH = 12;     // of lists and quotations within each other

const $ = (id) => document.getElementById(id);
const conversation = [];  // {role, content}, as the API takes them
let running = null;       // AbortController of the answer under way

// -- elements ---------------------------------------------------------------------------------------------------

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

// Text with `code`, **bold**, *italic*, ~~struck~~ and [links](https://...), as nodes.
function inline(text) {
  if (text.length > MAX_INLINE) return [text];
  const nodes = [];
  const pattern = /(`+)(.+?)\1(?!`)|\*\*(.+?)\*\*|__(.+?)__|(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?![\w*])|~~(.+?)~~|\[([^\]]*)\]\((https?:\/\/[^\s)]+)\)/s;
  while (text) {
    const found = pattern.exec(text);
    if (!found) break;
    if (found.index) nodes.push(text.slice(0, found.index));
    const [whole, , code, bold, bold2, italic, struck, label, link] = found;
    if (code !== undefined) nodes.push(element("code", "", code.trim() || code));
    else if (bold || bold2) nodes.push(element("strong", "", ...inline(bold || bold2)));
    else if (italic) nodes.push(element("em", "", ...inline(italic)));
    else if (struck) nodes.push(element("del", "", ...inline(struck)));
    else {
      const anchor = element("a", "", label || link);
      anchor.href = link;  // http or https by the pattern
      anchor.target = "_blank";
      anchor.rel = "noopener noreferrer nofollow";
      nodes.push(anchor);
    }
    text = text.slice(found.index + whole.length);
  }
  if (text) nodes.push(text);
  return nodes;
}

const BULLET = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;

// A list from lines[at]; deeper indentation makes a list within. Returns the list and the next line.
function list(lines, at, depth = 0) {
  const [, indent, number] = BULLET.exec(lines[at]);
  const node = element(number ? "ol" : "ul");
  if (number && number !== "1") node.start = Number(number);
  while (at < lines.length) {
    const item = BULLET.exec(lines[at]);
    if (!item) {
      // An indented line goes on with the item before.
      if (!/^\s{2,}\S/.test(lines[at]) || !node.lastChild) break;
      node.lastChild.append(" ", ...inline(lines[at].trim()));
      ++at;
    } else if (item[1].length > indent.length && node.lastChild && depth < MAX_DEPTH) {
      const [inner, next] = list(lines, at, depth + 1);
      node.lastChild.append(inner);
      at = next;
    } else if (item[1].length < indent.length || Boolean(item[2]) !== Boolean(number)) {
      break;
    } else {
      node.append(element("li", "", ...inline(item[3])));
      ++at;
    }
  }
  return [node, at];
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function table(lines, at) {
  const row = (line, name) => element("tr", "", ...cells(line).map((cell) => element(name, "", ...inline(cell))));
  const node = element("table", "", element("thead", "", row(lines[at], "th")));
  const body = element("tbody");
  for (at += 2; at < lines.length && lines[at].includes("|"); ++at) body.append(row(lines[at], "td"));
  node.append(body);
  return [node, at];
}

// The blocks of markdown that models write. What is none of them is a paragraph.
function markdown(text, depth = 0) {
  const nodes = [];
  const lines = text.split("\n");
  let paragraph = [];
  const flush = () => {
    if (!paragraph.length) return;
    const node = element("p");
    paragraph.forEach((line, i) => node.append(...(i ? [document.createElement("br")] : []), ...inline(line)));
    nodes.push(node);
    paragraph = [];
  };
  for (let at = 0; at < lines.length;) {
    const line = lines[at];
    const fence = /^\s*(```+|~~~+)\s*([\w+#.-]*)/.exec(line);
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (fence) {
      flush();
      const code = [];
      for (++at; at < lines.length && !lines[at].trim().startsWith(fence[1]); ++at) code.push(lines[at]);
      ++at;
      nodes.push(element("pre", "", element("code", "", code.join("\n"))));
    } else if (heading) {
      flush();
      nodes.push(element("h" + Math.min(4, heading[1].length + 1), "", ...inline(heading[2])));
      ++at;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      flush();
      nodes.push(element("hr"));
      ++at;
    } else if (/^\s*>/.test(line)) {
      flush();
      const quoted = [];
      for (; at < lines.length && /^\s*>/.test(lines[at]); ++at) quoted.push(lines[at].replace(/^\s*> ?/, ""));
      const inner = quoted.join("\n");
      nodes.push(element("blockquote", "", ...(depth < MAX_DEPTH ? markdown(inner, depth + 1) : [inner])));
    } else if (BULLET.test(line)) {
      flush();
      const [node, next] = list(lines, at);
      nodes.push(node);
      at = next;
    } else if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[at + 1] || "") &&
               cells(line).length === cells(lines[at + 1]).length) {
      flush();
      const [node, next] = table(lines, at);
      nodes.push(node);
      at = next;
    } else {
      if (line.trim()) paragraph.push(line);
      else flush();
      ++at;
    }
  }
  flush();
  return nodes;
}

// -- one answer -------------------------------------------------------------------------------------------------

// Makes a change, and stays at the end of the conversation when that is what is seen.
function following(change) {
  const main = $("conversation");
  const follows = main.scrollHeight - main.scrollTop - main.clientHeight < 80;
  change();
  if (follows) main.scrollTop = main.scrollHeight;
}

class AnswerView {
  constructor() {
    this.body = element("div", "cursor");
    this.facts = element("p", "facts");
    this.facts.setAttribute("role", "status");
    this.node = element("article", "answer", this.body, this.facts);
    this.node.setAttribute("aria-label", "Answer");
    this.node.setAttribute("aria-busy", "true");
    this.text = this.thought = "";
    this.tokens = 0;
    this.begun = performance.now();
    this.calls = [];
  }

  reason(text) {
    if (!this.details) {
      this.thoughts = element("div");
      this.summary = element("summary", "", "Thinking…");
      this.details = element("details", "reasoning", this.summary, this.thoughts);
      this.node.prepend(this.details);
    }
    this.thought += text;
    this.thoughts.append(text);
  }

  write(text) {
    if (this.summary) this.summary.textContent = "Thought";
    this.text += text;
    // Once a frame: the text so far is rendered anew.
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.drawing = 0;
    following(() => this.body.replaceChildren(...markdown(this.text)));
  }

  call(delta) {
    const call = this.calls[delta.index] ??= {name: "", arguments: ""};
    call.name += delta.function?.name ?? "";
    call.arguments += delta.function?.arguments ?? "";
    if (!call.node) this.node.insertBefore(call.node = element("p", "call"), this.facts);
    call.node.textContent = `${call.name}(${call.arguments})`;
  }

  rate(final) {
    const seconds = (performance.now() - (this.first ?? this.begun)) / 1000;
    const rate = (final && this.measured) || (seconds > 0 ? (this.tokens - 1) / seconds : 0);
    const speed = this.tokens > 1 && rate ? `, ${rate.toFixed(1)} tokens/s` : "";
    const wait = this.first && final ? `, first after ${Math.round(this.first - this.begun)} ms` : "";
    this.facts.textContent = `${this.tokens} tokens${speed}${wait}`;
  }

  count(tokens) {
    if (!this.first) this.first = performance.now();
    this.tokens = tokens ?? this.tokens + 1;
    if (performance.now() - (this.shown ?? 0) > 200) {
      this.shown = performance.now();
      this.rate(false);
    }
  }

  experts(found) {
    const shares = Object.entries(found.groups ?? {});
    if (!shares.length && !(found.experts ?? []).length) return;
    const bars = element("div", "bars");
    for (const [name, share] of [...shares.sort((a, b) => b[1] - a[1]), ["no group", found.ungrouped ?? 0]]) {
      const meter = element("meter");
      meter.value = share;
      meter.setAttribute("aria-label", name);
      bars.append(element("span", "", name), meter, element("span", "", `${(100 * share).toFixed(1)} %`));
    }
    const strongest = (found.experts ?? []).slice(0, 8)
      .map((expert) => `${expert.expert} ${(100 * expert.share).toFixed(1)} %`).join(", ");
    const details = element("details", "experts", element("summary", "", "Experts of this answer"), bars);
    if (strongest) details.append(element("p", "facts", `strongest (layer:expert): ${strongest}`));
    details.open = shares.length > 0;
    following(() => this.node.append(details));
  }

  fail(message) {
    this.node.append(element("p", "error", message));
  }

  end(note) {
    if (this.drawing) cancelAnimationFrame(this.drawing);
    this.draw();
    this.body.classList.remove("cursor");
    if (this.summary) this.summary.textContent = "Thought";
    this.node.setAttribute("aria-busy", "false");
    this.rate(true);
    if (note) this.facts.textContent += `, ${note}`;
  }
}

// -- talking to the server ----------------------------------------------------------------------------------------

function headers() {
  const key = $("key").value.trim();
  return {"Content-Type": "application/json", ...(key && {Authorization: `Bearer ${key}`})};
}

function request() {
  const messages = [...conversation];
  const system = $("system").value.trim();
  if (system) messages.unshift({role: "system", content: system});
  const body = {messages, stream: true, stream_options: {include_usage: true}};
  if ($("temperature").value !== "") body.temperature = Number($("temperature").value);
  if ($("max-tokens").value !== "") body.max_tokens = Number($("max-tokens").value);
  if ($("explain").checked) body.experts = {explain: true};
  return body;
}

// Calls `take` with each event of a stream of server-sent events.
async function events(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split(/\r?\n\r?\n/);
    held = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (!data.length) continue;
      if (data[0] === "[DONE]") return;
      take(JSON.parse(data.join("\n")));
    }
  }
}

function takeChunk(view, chunk) {
  if (chunk.error) throw new Error(chunk.error.message);
  const choice = chunk.choices?.[0];
  const delta = choice?.delta ?? {};
  if (delta.reasoning_content) view.reason(delta.reasoning_content);
  if (delta.content) view.write(delta.content);
  for (const call of delta.tool_calls ?? []) view.call(call);
  if (delta.reasoning_content || delta.content || delta.tool_calls) view.count();
  if (choice?.finish_reason) view.finish = choice.finish_reason;
  if (chunk.usage) view.tokens = chunk.usage.completion_tokens;
  for (const facts of chunk.deepshock ?? []) {
    view.measured = facts.tokens_per_second;
    if (facts.experts) view.experts(facts.experts);
  }
}

async function answer(view, signal) {
  const asked = {method: "POST", headers: headers(), body: JSON.stringify(request()), signal};
  let response = await fetch("v1/chat/completions", asked);
  if (response.status === 400 && $("explain").checked) {
    // A dense model has no experts to show.
    const {experts, ...rest} = JSON.parse(asked.body);
    response = await fetch("v1/chat/completions", {...asked, body: JSON.stringify(rest)});
  }
  if (!response.ok) {
    const found = await response.json().catch(() => null);
    throw new Error(found?.error?.message ?? `the server says ${response.status}`);
  }
  await events(response, (chunk) => takeChunk(view, chunk));
}

async function send() {
  const prompt = $("prompt");
  const text = prompt.value.trim();
  if (!text || running) return;
  $("welcome").hidden = true;
  conversation.push({role: "user", content: text});
  const view = new AnswerView();
  const asked = element("div", "user", text);
  $("conversation").append(asked, view.node);
  asked.scrollIntoView({block: "start"});
  prompt.value = "";
  grow();
  const control = running = new AbortController();
  busy(true);
  let note = "";
  try {
    await answer(view, control.signal);
    if (view.finish === "length") note = "cut off at the limit";
  } catch (error) {
    if (error.name === "AbortError") note = "stopped";
    else view.fail(error.message);
  }
  view.end(note);
  if (control !== running) return;  // a new conversation has begun
  if (view.text) {
    conversation.push({role: "assistant", content: view.text});
  } else {
    // Nothing came: the question may be asked again.
    conversation.pop();
    if (!prompt.value) prompt.value = text;
  }
  running = null;
  busy(false);
  prompt.focus();
}

// -- the page -----------------------------------------------------------------------------------------------------

function busy(is) {
  $("send").hidden = is;
  $("stop").hidden = !is;
}

function grow() {
  const prompt = $("prompt");
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight + 2}px`;
}

async function showModel() {
  try {
    const found = await (await fetch("v1/models", {headers: headers()})).json();
    $("model").textContent = found.data?.[0]?.id ?? found.error?.message ?? "no model";
  } catch {
    $("model").textContent = "the server does not answer";
  }
}

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
$("prompt").addEventListener("input", grow);
$("stop").addEventListener("click", () => running?.abort());
$("settings").addEventListener("submit", (event) => event.preventDefault());
$("key").addEventListener("change", showModel);
$("toggle-settings").addEventListener("click", () => {
  const hidden = $("settings").hidden = !$("settings").hidden;
  $("toggle-settings").setAttribute("aria-expanded", String(!hidden));
});
$("new").addEventListener("click", () => {
  running?.abort();
  running = null;
  busy(false);
  conversation.length = 0;
  for (const node of [...$("conversation").children]) if (node.id !== "welcome") node.remove();
  $("welcome").hidden = false;
  $("prompt").focus();
});
showModel();

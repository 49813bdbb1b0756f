#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The chat page in a real Chromium, against the server with the embedded model.

page.py --tool build/release/bin/deepshock [--screenshots FOLDER]

Needs `playwright` for Python and a Chromium in the path (Debian's package); without one all cases are skipped.
"""

import argparse
import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

from served import Cases, Server, check, equal

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
# As a model could write it, to try what the page makes of markdown and of markup.
TEXT = """# Title

**bold** *italic* `code <b>` [link](https://example.com/) [bad](javascript:alert(1)) 2*3*4 snake_case_name

1. one
2. two
   - inner

> quoted

| a | b |
| --- | --- |
| 1 | 2 |

```c
if (a < b) { }
```

<img src=x onerror=alert(1)><script>alert(2)</script>
"""


class Page:
    def __init__(self, browser, url, **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.problems = []
        self.page.on("console", lambda message: self.problems.append(message.text)
                     if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.problems.append("a dialog opened"), dialog.dismiss()))
        self.foreign = []
        self.page.on("request", lambda request: self.foreign.append(request.url)
                     if not request.url.startswith((url, "data:")) else None)
        self.page.goto(url)
        self.page.wait_for_function("document.getElementById('model').textContent !== '…'")

    def ask(self, text, wait=True):
        self.page.fill("#prompt", text)
        self.page.keyboard.press("Enter")
        if wait:
            self.page.wait_for_selector("article:last-of-type[aria-busy=false]", timeout=60000)

    def close(self):
        self.context.close()
        equal(self.problems, [], "the console")
        equal(self.foreign, [], "requests to elsewhere")


def answers(browser, url, screenshots):
    page = Page(browser, url, viewport={"width": 1000, "height": 800})
    equal(page.page.inner_text("#model"), "tiny-moe")
    page.page.click("#toggle-settings")
    page.page.fill("#max-tokens", "40")
    page.page.fill("#temperature", "0")
    page.page.click("#toggle-settings")
    page.ask("Tell me about the sea.")
    check(len(page.page.inner_text("article .facts")) > 0)
    check("tokens/s" in page.page.inner_text("article [role=status]"))
    check(page.page.locator("article .bars meter").count() >= 5, "bars of the groups")
    check(page.page.inner_text("article > div").strip(), "an answer")
    page.ask("And the sky?")
    equal(page.page.locator("article").count(), 2)
    if screenshots:
        page.page.screenshot(path=screenshots / "page.png")
    page.page.click("#new")
    equal(page.page.locator("article").count(), 0)
    page.close()


def keyboard_and_stop(browser, url, screenshots):
    page = Page(browser, url, color_scheme="dark", viewport={"width": 390, "height": 800})
    page.page.fill("#prompt", "one")
    page.page.focus("#prompt")
    page.page.keyboard.press("End")
    page.page.keyboard.press("Shift+Enter")
    page.page.keyboard.type("two")
    equal(page.page.input_value("#prompt"), "one\ntwo")
    # An answer that would go on for long: the server's is slowed down on its way.
    page.page.evaluate("""() => {
      const whole = window.fetch;
      window.fetch = async (url, options) => {
        if (!String(url).includes("chat/completions")) return whole(url, options);
        const stream = new ReadableStream({async start(out) {
          options.signal.addEventListener("abort", () => { try { out.error(new DOMException("", "AbortError")); } catch {} });
          for (let i = 0; i < 1000 && !options.signal.aborted; ++i) {
            out.enqueue(new TextEncoder().encode('data: {"choices": [{"delta": {"content": "word "}}]}\\n\\n'));
            await new Promise((done) => setTimeout(done, 20));
          }
        }});
        return new Response(stream, {headers: {"Content-Type": "text/event-stream"}});
      };
    }""")
    page.page.keyboard.press("Enter")
    page.page.wait_for_function("document.querySelector('article > div')?.textContent.includes('word')")
    check(page.page.is_visible("#stop") and not page.page.is_visible("#send"))
    if screenshots:
        page.page.screenshot(path=screenshots / "phone.png")
    page.page.keyboard.press("Escape")
    page.page.wait_for_selector("article[aria-busy=false]")
    check("stopped" in page.page.inner_text("article [role=status]"))
    check(page.page.is_visible("#send"))
    page.ask("again", wait=False)
    page.page.wait_for_selector("article:last-of-type[aria-busy=true]")
    page.page.click("#stop")
    page.page.wait_for_selector("article:last-of-type[aria-busy=false]")
    width = page.page.evaluate("document.documentElement.scrollWidth")
    check(width <= 390, "the page is as wide as the phone, found", width)
    page.close()


def markdown_is_text(browser, url, _):
    page = Page(browser, url)
    page.page.evaluate("""(text) => {
      const view = new AnswerView();
      document.getElementById("conversation").append(view.node);
      view.reason("<b>thought</b>");
      view.write(text);
      view.end("");
    }""", TEXT)
    def count(selector):
        return page.page.locator(f"article {selector}").count()
    equal([count(name) for name in ["h2", "strong", "em", "code", "ol > li", "ol ul > li", "blockquote", "td", "pre"]],
          [1, 1, 1, 2, 2, 1, 1, 2, 1])
    equal([count(name) for name in ["img", "script", "b", "a"]], [0, 0, 0, 1])
    equal(page.page.get_attribute("article a", "rel"), "noopener noreferrer nofollow")
    check("snake_case_name" in page.page.inner_text("article > div") and "2*3*4" in page.page.inner_text("article > div"))
    # Deep and long text costs neither the stack nor much time.
    page.page.evaluate("""() => {
      const begun = performance.now();
      for (const text of [">".repeat(50000), "*".repeat(100000), "[".repeat(100000), "`a".repeat(50000),
                          Array.from({length: 3000}, (_, i) => " ".repeat(i) + "- x").join("\\n")]) markdown(text);
      if (performance.now() - begun > 5000) throw new Error("slow");
    }""")
    page.close()


def errors_are_shown(browser, url, _):
    page = Page(browser, url)
    page.page.click("#toggle-settings")
    page.page.fill("#temperature", "-1")
    page.page.click("#toggle-settings")
    page.ask("Hello")
    check("temperature" in page.page.inner_text("article .error"))
    equal(page.page.input_value("#prompt"), "Hello", "the question may be asked again")
    page.problems = [problem for problem in page.problems if "status of 400" not in problem]
    page.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages")  # as the other scripts of tools/run_tests.py
    parser.add_argument("--screenshots", type=pathlib.Path)
    options = parser.parse_args()
    cases = Cases()
    tests = [answers, keyboard_and_stop, markdown_is_text, errors_are_shown]
    browser = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if browser is None:
        for test in tests:
            cases.skip(test.__name__, "no Chromium: apt-get install chromium")
        return cases.close()
    with Server(options.tool) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for test in tests:
            cases.run(test.__name__, test, chromium, server.url, options.screenshots)
        chromium.close()
    return cases.close()


if __name__ == "__main__":
    sys.exit(main())

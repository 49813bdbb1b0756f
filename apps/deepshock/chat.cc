// SPDX-License-Identifier: Apache-2.0
#include "apps/deepshock/chat.h"

#include <unistd.h>

#include <cstdio>

#include "apps/common/program.h"
#include "apps/common/routing_report.h"
#include "apps/common/terminal.h"
#include "apps/deepshock/line_editor.h"

namespace deepshock {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kHelp =
    "  /help          this list\n"
    "  /reset         forget the conversation\n"
    "  /system TEXT   set the system prompt and forget the conversation\n"
    "  /stats         speed of the last answer, totals\n"
    "  /exit          leave (also Ctrl-D)\n"
    "A line that ends with \\ goes on in the next one. Ctrl-C stops an answer.\n";

bool OnlySpace(const std::string& text) { return text.find_first_not_of(" \t\n") == std::string::npos; }

}  // namespace

Chat::Chat(Engine& engine, bool raw, std::string system, GenerationRequest defaults)
    : engine_(engine), raw_(raw), system_(std::move(system)), defaults_(std::move(defaults)) {
  session_ = engine_.NewSession();
}

Result<std::vector<int32_t>> Chat::Encode(const std::string& text) const {
  if (raw_) {
    if (text.empty()) return Fail("prompt: expected some text, found an empty string");
    return engine_.EncodePrompt(text);
  }
  OrderedJson messages = OrderedJson::array();
  if (!system_.empty()) messages.push_back({{"role", "system"}, {"content", system_}});
  messages.insert(messages.end(), messages_.begin(), messages_.end());
  messages.push_back({{"role", "user"}, {"content", text}});
  return engine_.EncodeChat(messages, OrderedJson());
}

Result<GenerationResult> Chat::Answer(const std::string& text, bool stream) {
  GenerationRequest request = defaults_;
  DS_ASSIGN(request.prompt, Encode(text));
  if (schema_) {
    DS_ASSIGN(request.constraint, engine_.ConstrainToJsonSchema(*schema_));
  }
  request.session = session_.get();
  const bool safe = ::isatty(STDOUT_FILENO) == 1;
  bool ends_line = false;
  Status output_status;
  request.on_token = [&](const StreamedToken& token) {
    if (Interrupted()) return false;
    if (!stream || token.text.empty()) return true;
    output_status = WriteStdout(safe ? SafeForTerminal(token.text) : std::string(token.text));
    ends_line = token.text.ends_with('\n');
    return output_status.ok();
  };
  GenerationResult result;
  bool done = false;
  request.on_done = [&](GenerationResult finished) {
    result = std::move(finished);
    done = true;
  };
  const uint64_t id = engine_.Submit(std::move(request));
  while (!done) {
    if (Interrupted()) engine_.Cancel(id);  // a long prompt has no token yet that could say so
    engine_.Step();
  }
  DS_RETURN_IF_ERROR(output_status);
  DS_RETURN_IF_ERROR(result.status);
  if (stream && !ends_line) DS_RETURN_IF_ERROR(WriteStdout("\n"));
  if (!raw_) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    messages_.push_back({{"role", "assistant"}, {"content", result.text}});
  }
  ++num_answers_;
  num_output_tokens_ += static_cast<int64_t>(result.tokens.size());
  decode_ms_ += result.decode_ms;
  last_ = result;
  return result;
}

void Chat::Reset() {
  messages_ = OrderedJson::array();
  session_->Clear();
}

void Chat::SetSystem(std::string system) {
  system_ = std::move(system);
  Reset();
}

std::string Chat::LastStatistics() const {
  if (num_answers_ == 0) return "";
  std::string text = fmt::format(
      "{} tokens, {:.1f} tokens/s, first token after {:.2f} s, prompt {} tokens ({} of them kept)",
      last_.tokens.size(), last_.TokensPerSecond(), last_.first_token_ms / 1000, last_.prompt_tokens,
      last_.cached_prompt_tokens);
  if (last_.drafted_tokens > 0) {
    text += fmt::format(", {} of {} drafts right", last_.accepted_tokens, last_.drafted_tokens);
  }
  return text;
}

std::string Chat::Totals() const {
  return fmt::format("{} answers, {} tokens, {:.1f} s generating; {} tokens in the model's state",
                     num_answers_, num_output_tokens_, decode_ms_ / 1000, session_->num_tokens());
}

std::string Chat::LastExperts() const {
  std::string text;
  if (last_.routing) text += "[" + DescribeAudit(*last_.routing) + "]\n";
  if (last_.experts) text += DescribeAnswerExperts(*last_.experts);
  return text;
}

namespace {

// A line that begins with '/'. False when the user wants to leave.
bool RunSlashCommand(Chat& chat, const std::string& line) {
  const std::string command = line.substr(0, line.find(' '));
  const std::string rest = line.size() > command.size() ? line.substr(command.size() + 1) : "";
  if (command == "/exit" || command == "/quit" || command == "/bye") return false;
  if (command == "/help" || command == "/?") {
    std::fputs(kHelp, stderr);
  } else if (command == "/reset" || command == "/clear") {
    chat.Reset();
    std::fputs("The conversation is forgotten.\n", stderr);
  } else if (command == "/system") {
    chat.SetSystem(rest);
    std::fputs(rest.empty() ? "No system prompt.\n" : "The system prompt is set.\n", stderr);
  } else if (command == "/stats") {
    const std::string last = chat.LastStatistics();
    std::fprintf(stderr, "%s\n",
                 last.empty() ? "Nothing was generated yet." : (last + "\n" + chat.Totals()).c_str());
  } else {
    std::fprintf(stderr, "%s is no command; /help lists them.\n", SafeForTerminal(command).c_str());
  }
  return true;
}

// One line, or several joined where they end with a backslash.
std::optional<std::string> ReadPrompt(LineEditor& editor) {
  std::string text;
  for (;;) {
    std::optional<std::string> line = editor.Read(text.empty() ? "> " : ". ");
    if (!line) return std::nullopt;
    text += *line;
    if (text.empty() || text.back() != '\\') return text;
    text.back() = '\n';
  }
}

}  // namespace

Result<int> RunInteractive(Chat& chat, bool quiet) {
  LineEditor editor;
  if (!quiet) std::fputs("/help lists the commands, Ctrl-D leaves.\n", stderr);
  for (;;) {
    const std::optional<std::string> text = ReadPrompt(editor);
    if (!text) break;
    if (OnlySpace(*text)) continue;
    if (text->front() == '/') {
      if (!RunSlashCommand(chat, *text)) return 0;
      continue;
    }
    CatchInterrupts();
    const Result<GenerationResult> result = chat.Answer(*text, true);
    ReleaseInterrupts();
    if (!result.ok()) {
      if (result.message().rfind("stdout:", 0) == 0) return result.status();
      std::fprintf(stderr, "error: %s\n", result.message().c_str());
    } else {
      std::fputs(chat.LastExperts().c_str(), stderr);
      if (!quiet) std::fprintf(stderr, "[%s]\n", chat.LastStatistics().c_str());
    }
  }
  std::fputc('\n', stderr);
  return 0;
}

}  // namespace deepshock

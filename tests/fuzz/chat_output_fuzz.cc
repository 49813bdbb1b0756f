// SPDX-License-Identifier: Apache-2.0
// An answer's text through ChatOutput: the first bytes choose the family and how the text is cut into pieces.
// However it is cut, the events say the same; calls are well formed; without a format nothing is changed.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "serve/chat_output.h"

namespace deepshock {
namespace {

// Text of each kind and the calls, in order.
std::vector<std::string> Joined(const ChatOutputOptions& options, std::string_view text, size_t piece) {
  std::vector<OutputEvent> events;
  const auto output = ChatOutput::Create(options);
  while (!text.empty()) {
    output->Push(text.substr(0, piece), &events);
    text.remove_prefix(std::min(piece, text.size()));
  }
  output->Finish(&events);
  std::vector<std::string> joined;
  OutputEvent::Kind last = OutputEvent::Kind::kCallEnd;
  for (const OutputEvent& event : events) {
    if (event.kind == OutputEvent::Kind::kCallArguments) {
      DS_CHECK(ParseJson(event.text).ok(), "arguments are JSON");
    }
    const bool is_text =
        event.kind == OutputEvent::Kind::kContent || event.kind == OutputEvent::Kind::kReasoning;
    if (!joined.empty() && is_text && event.kind == last) {
      joined.back() += event.text;
    } else {
      joined.push_back(std::to_string(static_cast<int>(event.kind)) + event.id + event.name + event.text);
    }
    last = event.kind;
  }
  return joined;
}

}  // namespace
}  // namespace deepshock

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepshock;
  if (size < 3) return 0;
  constexpr CallSyntax kCalls[] = {CallSyntax::kNone,    CallSyntax::kDeepSeek, CallSyntax::kDsml,
                                   CallSyntax::kKimi,    CallSyntax::kHermes,   CallSyntax::kQwenXml,
                                   CallSyntax::kGlm,     CallSyntax::kHarmony,  CallSyntax::kLlama,
                                   CallSyntax::kMistral, CallSyntax::kForced};
  constexpr ReasoningSyntax kReasoning[] = {ReasoningSyntax::kNone, ReasoningSyntax::kThink,
                                            ReasoningSyntax::kMistralThink, ReasoningSyntax::kHarmony};
  static const SharedJson tools = std::make_shared<
      const nlohmann::ordered_json>(nlohmann::ordered_json::parse(
      R"([{"function":{"name":"f","parameters":{"properties":{"n":{"type":"integer"},"s":{"type":"string"}}}}}])"));
  ChatOutputOptions options;
  options.format.calls = kCalls[data[0] % std::size(kCalls)];
  options.format.reasoning = kReasoning[data[1] % std::size(kReasoning)];
  if (options.format.calls == CallSyntax::kHarmony) options.format.reasoning = ReasoningSyntax::kHarmony;
  options.starts_in_reasoning = (data[1] & 0x10) != 0;
  options.parallel_calls = (data[1] & 0x20) == 0;
  if ((data[1] & 0x40) == 0) options.tools = tools;
  const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
  const std::vector<std::string> whole = Joined(options, text, text.size() + 1);
  DS_CHECK(Joined(options, text, 1) == whole, "byte by byte the events differ");
  DS_CHECK(Joined(options, text, 2 + data[2] % 30) == whole, "in pieces the events differ");
  if (options.format.calls == CallSyntax::kNone && options.format.reasoning == ReasoningSyntax::kNone) {
    DS_CHECK(text.empty() ? whole.empty() : whole == std::vector<std::string>{"1" + std::string(text)},
             "without a format the text is the content");
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The engine on a folder made of a miniature checkpoint and a small tokenizer.
#include "deepshock/engine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/model_text.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

// Byte-level BPE without merges: a token for each printable ASCII character, and a few special ones.
OrderedJson SmallTokenizer() {
  OrderedJson vocab = OrderedJson::object();
  int id = 0;
  for (char c = '!'; c <= '~'; ++c) vocab[std::string(1, c)] = id++;
  vocab["\u0120"] = id++;  // the space, as byte-level vocabularies spell it
  OrderedJson added = OrderedJson::array();
  for (const char* content : {"<s>", "</s>", "<|end|>"}) {
    added.push_back({{"id", id++},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  return {{"version", "1.0"},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", OrderedJson::array()}}}};
}
constexpr int32_t kBos = 95, kEos = 96, kEnd = 97;

class EngineTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("deepshock_engine_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    Write("tokenizer.json", SmallTokenizer().dump());
  }
  void TearDown() override { fs::remove_all(folder_); }
  void Write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  ModelText Load() {
    Result<ModelText> text = LoadModelText(folder_.string());
    EXPECT_TRUE(text.ok()) << text.message();
    return text.ok() ? std::move(text).value() : ModelText();
  }
  std::string LoadError() { return LoadModelText(folder_.string()).message(); }

  fs::path folder_;
};

const OrderedJson kHello = OrderedJson::array({{{"role", "user"}, {"content", "Hi"}}});

TEST_F(EngineTest, TextOfAFolder) {
  Write("tokenizer_config.json",
        R"({"add_bos_token":true,"bos_token":{"content":"<s>"},"eos_token":"</s>",
            "chat_template":"{{bos_token}}{% for m in messages %}{{m['content']}}<|end|>{% endfor %}"})");
  Write("generation_config.json", R"({"eos_token_id":[97,96],"temperature":0.5,"top_k":20})");
  const ModelText text = Load();
  EXPECT_EQ(text.eos_tokens, (std::vector<int32_t>{kEos, kEnd}));
  ASSERT_TRUE(text.recommended_sampling.has_value());
  EXPECT_EQ(text.recommended_sampling->temperature, 0.5);
  EXPECT_EQ(text.recommended_sampling->top_k, 20);
  const std::vector<int32_t> hi = {'H' - '!', 'i' - '!'};
  EXPECT_EQ(text.EncodePrompt("Hi"), (std::vector<int32_t>{kBos, hi[0], hi[1]}));
  EXPECT_EQ(text.EncodePrompt("<s>Hi"), (std::vector<int32_t>{kBos, hi[0], hi[1]}));  // not twice
  const auto chat = text.EncodeChat(kHello, OrderedJson());
  ASSERT_TRUE(chat.ok()) << chat.message();
  EXPECT_EQ(*chat, (std::vector<int32_t>{kBos, hi[0], hi[1], kEnd}));
}

TEST_F(EngineTest, NamedTemplatesAndTheFileThatCountsAboveThem) {
  Write("tokenizer_config.json",
        R"({"chat_template":[{"name":"default","template":"d"},{"name":"tool_use","template":"t"}]})");
  const OrderedJson tools = OrderedJson::array({{{"type", "function"}}});
  {
    const ModelText text = Load();
    EXPECT_EQ(text.tokenizer->Decode(*text.EncodeChat(kHello, OrderedJson())), "d");
    EXPECT_EQ(text.tokenizer->Decode(*text.EncodeChat(kHello, tools)), "t");
  }
  Write("chat_template.jinja", "f");
  EXPECT_EQ(Load().tokenizer->Decode(*Load().EncodeChat(kHello, OrderedJson())), "f");
}

TEST_F(EngineTest, NoTemplateOrABrokenOneLeavesTheTokenizerUsable) {
  const ModelText none = Load();
  EXPECT_EQ(none.EncodePrompt("!").size(), 1u);
  EXPECT_NE(none.EncodeChat(kHello, OrderedJson()).message().find("no chat template"), std::string::npos);
  Write("chat_template.jinja", "{% if %}");
  const ModelText broken = Load();
  EXPECT_EQ(broken.EncodePrompt("!").size(), 1u);
  EXPECT_FALSE(broken.EncodeChat(kHello, OrderedJson()).ok());
}

TEST_F(EngineTest, BadConversationsAreErrors) {
  Write("chat_template.jinja", "x");
  const ModelText text = Load();
  EXPECT_FALSE(text.EncodeChat(OrderedJson::array(), OrderedJson()).ok());
  EXPECT_FALSE(text.EncodeChat(OrderedJson(), OrderedJson()).ok());
  EXPECT_EQ(text.EncodeChat(OrderedJson::array({"x"}), OrderedJson()).message(),
            "messages[0]: expected an object with a \"role\"");
}

TEST_F(EngineTest, BadConfigurationNamesFileAndKey) {
  Write("generation_config.json", R"({"temperature":"hot"})");
  EXPECT_NE(LoadError().find("generation_config.json: temperature: expected a number, found string"),
            std::string::npos);
  Write("generation_config.json", R"({"top_k":1e300})");
  EXPECT_NE(LoadError().find("top_k: expected a number"), std::string::npos);
  Write("generation_config.json", R"({"top_p":7})");
  EXPECT_NE(LoadError().find("generation_config.json: top_p"), std::string::npos);
  Write("generation_config.json", R"({"eos_token_id":[-4]})");
  EXPECT_NE(LoadError().find("eos_token_id: expected a token id or a list of them, found -4"),
            std::string::npos);
  Write("generation_config.json", "[]");
  EXPECT_NE(LoadError().find("expected a JSON object, found array"), std::string::npos);
  fs::remove(folder_ / "generation_config.json");
  Write("tokenizer_config.json", R"({"chat_template":[{"name":"x"}]})");
  EXPECT_NE(LoadError().find("chat_template: expected entries"), std::string::npos);
  fs::remove(folder_ / "tokenizer.json");
  EXPECT_NE(LoadError().find("expected the tokenizer in tokenizer.json, found no such file"),
            std::string::npos);
}

TEST_F(EngineTest, GeneratesChatsAndRefuses) {
  const fs::path checkpoint = fs::path(DEEPSHOCK_SHARED_DATA) / "conformance/qwen3_moe";
  if (!fs::exists(checkpoint)) GTEST_SKIP() << checkpoint << " is absent";
  for (const char* name : {"config.json", "model.safetensors"}) fs::copy(checkpoint / name, folder_ / name);
  Write("chat_template.jinja", "{% for m in messages %}{{m['content']}}{% endfor %}");
  EngineOptions options;
  options.num_threads = 2;
  options.batch_size = 3;
  options.context_length = 40;
  Result<std::unique_ptr<Engine>> loaded = Engine::Load(folder_.string(), options);
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  Engine& engine = **loaded;
  EXPECT_EQ(engine.info().architecture, "qwen3_moe");
  EXPECT_EQ(engine.info().context_length, 40);
  EXPECT_TRUE(engine.ChatTemplateStatus().ok());

  GenerationRequest request;
  request.prompt = engine.EncodePrompt("Hello");
  request.max_tokens = 12;
  request.sampling.seed = 4;
  request.ignore_eos = true;
  std::string streamed;
  request.on_token = [&](const StreamedToken& token) {
    streamed += token.text;
    return true;
  };
  const GenerationResult alone = engine.Generate(request);
  ASSERT_TRUE(alone.status.ok()) << alone.status.message();
  EXPECT_EQ(alone.tokens.size(), 12u);
  EXPECT_EQ(streamed, alone.text);
  EXPECT_EQ(alone.seed, 4u);

  // The same seed with company, in a session, and after the session has grown.
  request.on_token = nullptr;
  GenerationRequest other = request;
  other.prompt = engine.EncodePrompt("Something else");
  other.sampling.seed = std::nullopt;
  engine.Submit(other);
  engine.Submit(other);
  const std::unique_ptr<Session> session = engine.NewSession();
  request.session = session.get();
  EXPECT_EQ(engine.Generate(request).tokens, alone.tokens);
  EXPECT_EQ(session->num_tokens(), 5 + 12 - 1);
  EXPECT_EQ(engine.Generate(request).tokens, alone.tokens);
  while (engine.Step()) {
  }

  options.context_length = 1 << 30;
  EXPECT_NE(Engine::Load(folder_.string(), options).message().find("context: expected 2 to"),
            std::string::npos);
  options.context_length = 0;
  options.batch_size = 0;
  EXPECT_EQ(Engine::Load(folder_.string(), options).message(), "batch_size: expected 1 to 4096, found 0");
  options.batch_size = 1;
  options.speculation = Speculation::kMtp;
  EXPECT_EQ(Engine::Load(folder_.string(), options).message(),
            "speculation mtp: the model has no multi-token-prediction layer; use ngram");
  options.draft_tokens = kMaxDraftTokens + 1;
  EXPECT_EQ(Engine::Load(folder_.string(), options).message(), "draft_tokens: expected 1 to 7, found 8");
  options.draft_tokens = 1;
  options.speculation = Speculation::kAuto;
  options.kernels = "abacus";
  EXPECT_NE(Engine::Load(folder_.string(), options).message().find("abacus"), std::string::npos);
}

}  // namespace
}  // namespace deepshock

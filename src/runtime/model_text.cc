// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_text.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <type_traits>

#include "base/json.h"
#include "base/mapped_file.h"
#include "formats/gguf.h"
#include "runtime/sampler.h"

namespace deepshock {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr size_t kMaxTokenizerBytes = 256u << 20;
constexpr size_t kMaxConfigBytes = 16u << 20;  // tokenizer_config.json lists every added token

void AddToken(int32_t token, std::vector<int32_t>* tokens) {
  if (std::find(tokens->begin(), tokens->end(), token) == tokens->end()) tokens->push_back(token);
}

// Published under the names "default" and "tool_use", or as one template without a name.
void CompileTemplates(std::map<std::string, std::string> sources, const std::string& path, ModelText* text) {
  text->template_sources = std::move(sources);
  const auto compile = [&](const std::string& name) -> Result<std::unique_ptr<ChatTemplate>> {
    const auto source = text->template_sources.find(name);
    if (source == text->template_sources.end()) return Fail("{}: the model has no chat template", path);
    return ChatTemplate::Compile(source->second, path + ": chat template");
  };
  Result<std::unique_ptr<ChatTemplate>> general = compile("default");
  if (general.ok()) {
    text->chat_template = std::move(general).value();
  } else {
    text->template_status = general.status();
  }
  Result<std::unique_ptr<ChatTemplate>> tools = compile("tool_use");
  if (tools.ok()) text->tool_template = std::move(tools).value();
}

// A file that may be absent: null then.
Result<Json> ReadOptionalJson(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return Json();
  DS_ASSIGN(Json json, ReadJsonFile(path.string(), kMaxConfigBytes));
  if (!json.is_object()) return Fail("{}: expected a JSON object, found {}", path.string(), json.type_name());
  return json;
}

// A token is written as its text, or as an object that holds its text.
std::optional<std::string> TokenContent(const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string()) {
    return token["content"].get<std::string>();
  }
  return std::nullopt;
}

void ReadSpecialTokens(const Json& config, ModelText* text) {
  if (!config.is_object()) return;
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
    if (!config.contains(name)) continue;
    const std::optional<std::string> content = TokenContent(config[name]);
    const bool known = std::any_of(text->special_tokens.begin(), text->special_tokens.end(),
                                   [&](const auto& token) { return token.first == name; });
    if (content && !known) text->special_tokens.emplace_back(name, *content);
  }
}

// "chat_template": "..." or [{"name": "default", "template": "..."}, ...]
Status ReadTemplates(const Json& config, const std::string& path,
                     std::map<std::string, std::string>* sources) {
  if (!config.is_object() || !config.contains("chat_template")) return {};
  const Json& entry = config["chat_template"];
  if (entry.is_null()) return {};
  if (entry.is_string()) {
    (*sources)["default"] = entry.get<std::string>();
    return {};
  }
  if (!entry.is_array())
    return Fail("{}: chat_template: expected a string or a list, found {}", path, entry.type_name());
  for (const Json& named : entry) {
    if (!named.is_object() || !named.contains("name") || !named["name"].is_string() ||
        !named.contains("template") || !named["template"].is_string()) {
      return Fail("{}: chat_template: expected entries with the strings \"name\" and \"template\"", path);
    }
    (*sources)[named["name"].get<std::string>()] = named["template"].get<std::string>();
  }
  return {};
}

Result<int32_t> TokenIdFrom(const Json& value, const std::string& path) {
  if (value.is_number_integer()) {
    const int64_t id = value.get<int64_t>();
    if (id >= 0 && id <= INT32_MAX) return static_cast<int32_t>(id);
  }
  return Fail("{}: eos_token_id: expected a token id or a list of them, found {}", path,
              value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// https://huggingface.co/docs/transformers/main_classes/text_generation
Status ReadGenerationConfig(const Json& config, const std::string& path, ModelText* text) {
  if (!config.is_object()) return {};
  if (config.contains("eos_token_id") && !config["eos_token_id"].is_null()) {
    const Json& eos = config["eos_token_id"];
    for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
      DS_ASSIGN(const int32_t token, TokenIdFrom(id, path));
      AddToken(token, &text->eos_tokens);
    }
  }
  SamplingOptions sampling;
  bool found = false;
  Status status;
  const auto read = [&](const char* name, auto* value) {
    if (!config.contains(name) || config[name].is_null()) return;
    using Number = std::remove_pointer_t<decltype(value)>;
    const Json& entry = config[name];
    if (std::is_integral_v<Number> ? !entry.is_number_integer() : !entry.is_number()) {
      status = Fail("{}: {}: expected a number, found {}", path, name, entry.type_name());
      return;
    }
    *value = entry.get<Number>();
    found = true;
  };
  read("temperature", &sampling.temperature);
  read("top_k", &sampling.top_k);
  read("top_p", &sampling.top_p);
  read("min_p", &sampling.min_p);
  read("repetition_penalty", &sampling.repetition_penalty);
  DS_RETURN_IF_ERROR(status);
  if (config.contains("do_sample") && config["do_sample"] == false) {
    found = true;
    sampling.temperature = 0;
  }
  if (!found) return {};
  DS_RETURN_IF_ERROR(ValidateSamplingRanges(sampling).WithContext(path));
  text->recommended_sampling = sampling;
  return {};
}

Result<ModelText> LoadFromFolder(const fs::path& folder) {
  ModelText text;
  std::error_code error;
  const std::string tokenizer_path = (folder / "tokenizer.json").string();
  if (!fs::exists(tokenizer_path, error)) {
    const bool sentencepiece = fs::exists(folder / "tokenizer.model", error);
    return Fail("{}: expected the tokenizer in tokenizer.json, found {}", folder.string(),
                sentencepiece ? "only tokenizer.model; save it again with the Hugging Face tokenizers library"
                              : "no such file");
  }
  DS_ASSIGN(const std::string json, ReadFile(tokenizer_path, kMaxTokenizerBytes));
  DS_ASSIGN(text.tokenizer, TokenizerFromJson(json, tokenizer_path));

  const fs::path config_path = folder / "tokenizer_config.json";
  DS_ASSIGN(const Json config, ReadOptionalJson(config_path));
  ReadSpecialTokens(config, &text);
  DS_ASSIGN(const Json map, ReadOptionalJson(folder / "special_tokens_map.json"));
  ReadSpecialTokens(map, &text);
  for (const auto& [name, content] : text.special_tokens) {
    const std::optional<int32_t> id = text.tokenizer->TokenId(content);
    if (name == "bos_token") text.bos_token = id;
    if (name == "eos_token" && id) AddToken(*id, &text.eos_tokens);
  }
  if (config.is_object() && config.contains("add_bos_token") && config["add_bos_token"].is_boolean()) {
    text.add_bos = config["add_bos_token"].get<bool>();
  }

  // Newer checkpoints keep the template in a file of its own, which counts above the one in the
  // configuration.
  std::map<std::string, std::string> templates;
  DS_RETURN_IF_ERROR(ReadTemplates(config, config_path.string(), &templates));
  DS_ASSIGN(const Json template_config, ReadOptionalJson(folder / "chat_template.json"));
  DS_RETURN_IF_ERROR(ReadTemplates(template_config, (folder / "chat_template.json").string(), &templates));
  const fs::path template_path = folder / "chat_template.jinja";
  if (fs::exists(template_path, error)) {
    DS_ASSIGN(templates["default"], ReadFile(template_path.string(), kMaxConfigBytes));
  }
  CompileTemplates(std::move(templates), folder.string(), &text);

  const fs::path generation_path = folder / "generation_config.json";
  DS_ASSIGN(const Json generation, ReadOptionalJson(generation_path));
  DS_RETURN_IF_ERROR(ReadGenerationConfig(generation, generation_path.string(), &text));
  return text;
}

// Tokens that end a turn in published chat formats. A GGUF names one or two end tokens where the Hugging Face
// checkpoint lists several.
constexpr const char* kTurnEnds[] = {"<|im_end|>",      "<|eot_id|>",    "<|eom_id|>",
                                     "<|end_of_text|>", "<|endoftext|>", "<|return|>",
                                     "<|call|>",        "<|user|>",      "<|observation|>",
                                     "<end_of_turn>",   "<|EOT|>",       "<｜end▁of▁sentence｜>"};

Result<GgufVocabulary> ReadVocabulary(const GgufFile& file) {
  GgufVocabulary v;
  DS_ASSIGN(v.model, file.GetString("tokenizer.ggml.model"));
  if (file.Has("tokenizer.ggml.pre")) {
    DS_ASSIGN(v.pre, file.GetString("tokenizer.ggml.pre"));
  }
  DS_ASSIGN(v.tokens, file.GetStrings("tokenizer.ggml.tokens"));
  if (file.Has("tokenizer.ggml.token_type")) {
    DS_ASSIGN(v.types, file.GetInts("tokenizer.ggml.token_type"));
  }
  if (file.Has("tokenizer.ggml.merges")) {
    DS_ASSIGN(v.merges, file.GetStrings("tokenizer.ggml.merges"));
  }
  if (file.Has("tokenizer.ggml.scores")) {
    DS_ASSIGN(v.scores, file.GetFloats("tokenizer.ggml.scores"));
  }
  const std::pair<const char*, int32_t*> ids[] = {{"tokenizer.ggml.bos_token_id", &v.bos},
                                                  {"tokenizer.ggml.eos_token_id", &v.eos},
                                                  {"tokenizer.ggml.unknown_token_id", &v.unknown},
                                                  {"tokenizer.ggml.padding_token_id", &v.padding}};
  for (const auto& [key, id] : ids) {
    if (!file.Has(key)) continue;
    DS_ASSIGN(const int64_t value, file.GetInt(key));
    if (value < 0 || static_cast<uint64_t>(value) >= v.tokens.size())
      continue;  // converters write 2^32 - 1 for none
    *id = static_cast<int32_t>(value);
  }
  // Where the key is absent: llama.cpp's rule.
  v.add_bos = v.model == "llama" || v.pre == "llama-bpe";
  const std::pair<const char*, bool*> flags[] = {{"tokenizer.ggml.add_bos_token", &v.add_bos},
                                                 {"tokenizer.ggml.add_eos_token", &v.add_eos},
                                                 {"tokenizer.ggml.add_space_prefix", &v.add_space_prefix}};
  for (const auto& [key, flag] : flags) {
    if (!file.Has(key)) continue;
    DS_ASSIGN(*flag, file.GetBool(key));
  }
  return v;
}

// The sampling that the checkpoint's generation_config.json recommends, under llama.cpp's keys.
Status ReadSampling(const GgufFile& file, ModelText* text) {
  SamplingOptions sampling;
  const std::pair<const char*, double*> keys[] = {
      {"general.sampling.temp", &sampling.temperature},
      {"general.sampling.top_p", &sampling.top_p},
      {"general.sampling.min_p", &sampling.min_p},
      {"general.sampling.penalty_repeat", &sampling.repetition_penalty}};
  bool found = file.Has("general.sampling.top_k");
  if (found) {
    DS_ASSIGN(sampling.top_k, file.GetInt("general.sampling.top_k"));
  }
  for (const auto& [key, value] : keys) {
    if (!file.Has(key)) continue;
    DS_ASSIGN(*value, file.GetFloat(key));
    found = true;
  }
  if (!found) return {};
  DS_RETURN_IF_ERROR(ValidateSamplingRanges(sampling).WithContext(file.path()));
  text->recommended_sampling = sampling;
  return {};
}

Result<ModelText> LoadFromGguf(const std::string& path) {
  DS_ASSIGN(const std::unique_ptr<GgufFile> file, GgufFile::Open(path));
  if (!file->Has("tokenizer.ggml.model"))
    return Fail("{}: expected a tokenizer (tokenizer.ggml.*), found none", path);
  DS_ASSIGN(const GgufVocabulary v, ReadVocabulary(*file));
  ModelText text;
  DS_ASSIGN(text.tokenizer, TokenizerFromGguf(v, path));
  const std::pair<const char*, int32_t> specials[] = {
      {"bos_token", v.bos}, {"eos_token", v.eos}, {"unk_token", v.unknown}, {"pad_token", v.padding}};
  for (const auto& [name, id] : specials) {
    if (id >= 0) text.special_tokens.emplace_back(name, std::string(v.tokens[static_cast<size_t>(id)]));
  }
  if (v.bos >= 0) text.bos_token = v.bos;
  if (v.eos >= 0) AddToken(v.eos, &text.eos_tokens);
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (!file->Has(key)) continue;
    DS_ASSIGN(const int64_t id, file->GetInt(key));
    if (id >= 0 && static_cast<uint64_t>(id) < v.tokens.size())
      AddToken(static_cast<int32_t>(id), &text.eos_tokens);
  }
  for (const char* content : kTurnEnds) {
    const std::optional<int32_t> id = text.tokenizer->TokenId(content);
    if (id && text.tokenizer->IsSpecial(*id)) AddToken(*id, &text.eos_tokens);
  }

  std::map<std::string, std::string> templates;
  const std::pair<const char*, const char*> keys[] = {{"tokenizer.chat_template", "default"},
                                                      {"tokenizer.chat_template.tool_use", "tool_use"}};
  for (const auto& [key, name] : keys) {
    if (!file->Has(key)) continue;
    DS_ASSIGN(templates[name], file->GetString(key));
  }
  CompileTemplates(std::move(templates), path, &text);
  DS_RETURN_IF_ERROR(ReadSampling(*file, &text));
  return text;
}

Status CheckMessages(const OrderedJson& messages) {
  if (!messages.is_array() || messages.empty())
    return Fail("messages: expected a list of messages, found none");
  for (size_t i = 0; i < messages.size(); ++i) {
    const OrderedJson& message = messages[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return Fail("messages[{}]: expected an object with a \"role\"", i);
    }
  }
  return {};
}

}  // namespace

std::vector<int32_t> ModelText::EncodePrompt(std::string_view text) const {
  EncodeOptions options;
  options.add_special_tokens = add_bos.value_or(true);
  std::vector<int32_t> tokens = tokenizer->Encode(text, options);
  const bool missing = add_bos.value_or(false) && bos_token && (tokens.empty() || tokens[0] != *bos_token);
  if (missing) tokens.insert(tokens.begin(), *bos_token);
  return tokens;
}

Result<std::vector<int32_t>> ModelText::EncodeChat(const OrderedJson& messages,
                                                   const OrderedJson& tools,
                                                   const OrderedJson* more) const {
  DS_RETURN_IF_ERROR(CheckMessages(messages));
  const bool has_tools = tools.is_array() && !tools.empty();
  const ChatTemplate* used =
      has_tools && tool_template != nullptr ? tool_template.get() : chat_template.get();
  if (used == nullptr) return template_status;
  // The variables that transformers' apply_chat_template passes.
  OrderedJson variables = OrderedJson::object();
  if (more != nullptr && more->is_object()) variables = *more;
  for (const auto& [name, content] : special_tokens) variables[name] = content;
  variables["messages"] = messages;
  variables["tools"] = has_tools ? tools : OrderedJson();
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = true;
  DS_ASSIGN(const std::string text, used->Render(variables));
  return tokenizer->Encode(text);
}

Result<ModelText> LoadModelText(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return LoadFromFolder(path);
  return LoadFromGguf(path);
}

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
#include "experts/esft.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <system_error>

#include "base/mapped_file.h"

namespace deepshock {
namespace {

constexpr std::string_view kPrefix = "expert_weights_", kSuffix = ".txt";
constexpr int32_t kMaxLayer = 1 << 16;

// Takes the field before the next tab off the text.
std::string_view NextField(std::string_view* text) {
  const size_t tab = text->find('\t');
  const std::string_view field = text->substr(0, tab);
  text->remove_prefix(tab == std::string_view::npos ? text->size() : tab + 1);
  return field;
}

template <typename T>
bool ParseWhole(std::string_view text, T* value) {
  const auto end = std::from_chars(text.data(), text.data() + text.size(), *value);
  return end.ec == std::errc() && end.ptr == text.data() + text.size();
}

// What a message may quote.
std::string_view Start(std::string_view text) { return text.substr(0, 40); }

// The layer of "expert_weights_7.txt"; -1 for another name.
int32_t LayerOfName(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) ||
      name.size() <= kPrefix.size() + kSuffix.size()) {
    return -1;
  }
  const std::string_view digits = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  int32_t layer = -1;
  return ParseWhole(digits, &layer) && layer >= 0 && layer <= kMaxLayer && std::to_string(layer) == digits
             ? layer
             : -1;
}

struct ScoreFile {
  int32_t layer = 0;
  std::string path;
};

Result<std::vector<ScoreFile>> FindScoreFiles(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<ScoreFile> files;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const int32_t layer = LayerOfName(it->path().filename().string());
    if (layer >= 0) files.push_back({layer, it->path().string()});
  }
  if (error) return Fail("{}: cannot list: {}", folder, error.message());
  if (files.empty()) return Fail("{}: expected files {}<layer>{}, found none", folder, kPrefix, kSuffix);
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.layer < b.layer; });
  return files;
}

// Python's repr() of a number with up to 4 decimals: "0.0101", "0.008", "0.0", "1.0", "5e-05" cannot occur.
std::string PythonNumber(double value) {
  std::string text = fmt::format("{}", RoundDecimals(value, kScoreDecimals));
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// {"1": ..., "10": ..., "2": ...}: the layers' texts by their keys.
std::string LayersJson(const std::map<std::string, std::string>& layers) {
  std::string json;
  for (const auto& [key, text] : layers)
    json += fmt::format("{}\"{}\": {}", json.empty() ? "" : ", ", key, text);
  return "{" + json + "}";
}

std::string ScoresJson(const ExpertProfile& profile, std::vector<double> LayerProfile::* scores) {
  std::map<std::string, std::string> layers;
  for (const LayerProfile& layer : profile.layers) {
    std::string text;
    for (size_t e = 0; e < (layer.*scores).size(); ++e) {
      text += fmt::format("{}\"{}\": {}", e == 0 ? "" : ", ", e, PythonNumber((layer.*scores)[e]));
    }
    layers[std::to_string(layer.layer)] = "{" + text + "}";
  }
  return LayersJson(layers);
}

}  // namespace

Status AddScoreLine(std::string_view line, int32_t layer, RoutingCounts* counts) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  const size_t middle = line.find("\t\t");
  if (middle == std::string_view::npos) {
    return Fail("expected ids, two tabs and weights, found \"{}\" and no two tabs", Start(line));
  }
  std::string_view ids = line.substr(0, middle), weights = line.substr(middle + 2);
  if (weights.ends_with('\t')) weights.remove_suffix(1);
  const auto top_k = static_cast<size_t>(counts->top_k());
  std::vector<int32_t> token;  // ids of the present token
  while (!ids.empty() && !weights.empty()) {
    const std::string_view id_text = NextField(&ids), weight_text = NextField(&weights);
    int32_t id = -1;
    if (!ParseWhole(id_text, &id) || id < 0 || id >= counts->num_experts()) {
      return Fail("expected an expert from 0 to {}, found \"{}\"", counts->num_experts() - 1, Start(id_text));
    }
    double weight = -1;
    if (!ParseWhole(weight_text, &weight) || !(weight >= 0 && weight <= 1e6)) {
      return Fail("expected a gate weight, found \"{}\"", Start(weight_text));
    }
    if (token.size() == top_k) token.clear();
    if (std::find(token.begin(), token.end(), id) != token.end()) {
      return Fail("expected {} different experts a token, found {} twice", top_k, id);
    }
    token.push_back(id);
    counts->AddPair(layer, id, weight);
  }
  if (!ids.empty() || !weights.empty()) {
    return Fail("expected as many weights as ids, found more {}", ids.empty() ? "weights" : "ids");
  }
  if (token.size() != top_k)
    return Fail("expected {} pairs a token, found {} in the last", top_k, token.size());
  return {};
}

Status AddScoreFile(const std::string& path, int32_t layer, RoutingHalves* counts) {
  DS_ASSIGN(const auto file, MappedFile::Open(path));
  std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  int64_t record = 0;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    RoutingCounts& half = counts->Half(HalfOf(record++));
    DS_RETURN_IF_ERROR(
        AddScoreLine(line, layer, &half).WithContext(fmt::format("{}: line {}", path, number)));
  }
  return {};
}

Result<ScoreFolder> ReadScoreFolder(const std::string& folder, int num_experts, int top_k, ThreadPool& pool) {
  DS_ASSIGN(const std::vector<ScoreFile> files, FindScoreFiles(folder));
  std::vector<RoutingHalves> counts(files.size(), RoutingHalves(num_experts, top_k));
  std::vector<Status> statuses(files.size());
  std::vector<int64_t> bytes(files.size());
  pool.ParallelFor(static_cast<int64_t>(files.size()), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      statuses[at] = AddScoreFile(files[at].path, files[at].layer, &counts[at]);
      std::error_code ignored;
      bytes[at] = static_cast<int64_t>(std::filesystem::file_size(files[at].path, ignored));
    }
  });
  ScoreFolder result{RoutingHalves(num_experts, top_k), static_cast<int>(files.size()), 0};
  const int64_t num_tokens = counts[0].Both().num_tokens();
  for (size_t i = 0; i < files.size(); ++i) {
    DS_RETURN_IF_ERROR(statuses[i]);
    const int64_t tokens = counts[i].Both().num_tokens();
    if (tokens != num_tokens || tokens == 0) {
      return Fail("{}: expected {} as in {}, found {}", files[i].path,
                  num_tokens == 0 ? "tokens" : fmt::format("{} tokens", num_tokens), files[0].path, tokens);
    }
    result.counts.first.Merge(counts[i].first);
    result.counts.second.Merge(counts[i].second);
    result.bytes += bytes[i];
  }
  return result;
}

std::string EsftSummaryJson(const ExpertProfile& profile) {
  return fmt::format("{{\"token_scores\": {}, \"gate_scores\": {}}}",
                     ScoresJson(profile, &LayerProfile::token), ScoresJson(profile, &LayerProfile::gate));
}

std::string EsftConfigJson(const ExpertSelection& selection) {
  std::map<std::string, std::string> layers;
  for (const LayerSelection& layer : selection.layers) {
    layers[std::to_string(layer.layer)] = fmt::format("[{}]", fmt::join(layer.experts, ", "));
  }
  return fmt::format("{{\"experts\": {}, \"shared_experts\": false, \"non_expert_modules\": false}}",
                     LayersJson(layers));
}

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
#include "formats/safetensors.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/json.h"
#include "base/output_file.h"
#include "base/utf8.h"
#include "formats/safetensors_parse.h"

namespace deepshock {
namespace {

constexpr size_t kMaxIndexBytes = 256 << 20;

bool Exists(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

// tensor name -> shard name
Result<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  DS_ASSIGN(const Json index, ReadJsonFile(path, kMaxIndexBytes));
  const auto weights = index.find("weight_map");
  if (!index.is_object() || weights == index.end() || !weights->is_object()) {
    return Fail("{}: expected an object \"weight_map\", found none", path);
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, shard] : weights->items()) {
    const std::string file = shard.is_string() ? shard.get<std::string>() : std::string();
    // An index may name files of its own folder only.
    if (file.empty() || file == "." || file == ".." ||
        file.find_first_of(std::string_view("/\0", 2)) < file.size()) {
      return Fail("{}: tensor {}: expected a shard's file name, found {}", path, Quoted(name),
                  Quoted(shard.dump()));
    }
    shard_of.emplace(name, file);
  }
  return shard_of;
}

}  // namespace

Result<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  DS_ASSIGN(auto mapped, MappedFile::Open(path));
  Result<ParsedSafetensors> parsed = ParseSafetensors(mapped->bytes());
  if (!parsed.ok()) return parsed.status().WithContext(path);
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->path_ = path;
  file->files_.push_back(std::move(mapped));
  file->tensors_ = std::move(parsed->tensors);
  file->metadata_ = std::move(parsed->metadata);
  return file;
}

Result<std::unique_ptr<SafetensorsFile>> SafetensorsFile::OpenFolder(const std::string& folder) {
  const std::string single = folder + "/model.safetensors";
  if (Exists(single)) return Open(single);
  const std::string index = single + ".index.json";
  if (!Exists(index)) {
    return Fail("{}: expected model.safetensors or model.safetensors.index.json, found neither", folder);
  }
  DS_ASSIGN(const auto shard_of, ReadIndex(index));
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);

  std::unique_ptr<SafetensorsFile> whole(new SafetensorsFile);
  whole->path_ = index;
  std::map<std::string, std::string> found_in;  // tensor name -> shard name
  for (const std::string& shard : shards) {
    DS_ASSIGN(auto part, Open(folder + "/" + shard));
    for (StoredTensor& tensor : part->tensors_) {
      const auto [it, inserted] = found_in.emplace(tensor.name, shard);
      if (!inserted) {
        return Fail("{}: tensor {}: expected in one shard, found in {} and {}", index, Quoted(tensor.name),
                    Quoted(it->second), Quoted(shard));
      }
      whole->tensors_.push_back(std::move(tensor));
    }
    whole->files_.push_back(part->files_.front());
    whole->metadata_.merge(part->metadata_);
  }
  for (const auto& [name, shard] : shard_of) {
    const auto it = found_in.find(name);
    if (it != found_in.end() && it->second == shard) continue;
    return Fail("{}: tensor {}: expected in shard {}, found in {}", index, Quoted(name), Quoted(shard),
                it == found_in.end() ? "none" : Quoted(it->second));
  }
  std::sort(whole->tensors_.begin(), whole->tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
  return whole;
}

const StoredTensor* SafetensorsFile::Find(std::string_view name) const {
  const auto it =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const StoredTensor& tensor, std::string_view n) { return tensor.name < n; });
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

// ---- Writing ----

namespace {

// The header's text, padded so that the data begins at a multiple of 8.
Result<std::string> MakeHeader(std::span<const TensorToWrite* const> order,
                               const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  for (const auto& [key, value] : metadata) {
    DS_RETURN_IF_ERROR(CheckName("metadata key", key));
    if (FindInvalidUtf8(value) != std::string::npos)
      return Fail("metadata key {}: expected UTF-8", Quoted(key));
    header[std::string(kSafetensorsMetadata)][key] = value;
  }
  uint64_t offset = 0;
  for (const TensorToWrite* tensor : order) {
    DS_RETURN_IF_ERROR(CheckName("tensor", tensor->name));
    const std::string context = "tensor " + Quoted(tensor->name);
    const std::optional<std::string_view> type = SafetensorsTypeName(tensor->dtype);
    if (!type) {
      return Fail("{}: expected a type that safetensors has, found {}", context, Name(tensor->dtype));
    }
    DS_ASSIGN(const int64_t bytes, StoredBytes(tensor->dtype, tensor->dims).WithContext(context));
    if (static_cast<uint64_t>(bytes) != tensor->data.size()) {
      return Fail("{}: expected {} bytes, found {}", context, bytes, tensor->data.size());
    }
    if (tensor->name == kSafetensorsMetadata || header.contains(tensor->name)) {
      return Fail("{}: expected a name that is not taken, found it twice", context);
    }
    header[tensor->name] = {{"dtype", std::string(*type)},
                            {"shape", tensor->dims},
                            {"data_offsets", {offset, offset + tensor->data.size()}}};
    offset += tensor->data.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

Status WriteSafetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                        const std::map<std::string, std::string>& metadata) {
  // Widest elements first, as the reference implementation orders them: then every tensor is aligned to its
  // own.
  std::vector<const TensorToWrite*> order;
  for (const TensorToWrite& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const TensorToWrite* a, const TensorToWrite* b) {
    return Info(a->dtype).block_bytes > Info(b->dtype).block_bytes;
  });
  Result<std::string> header = MakeHeader(order, metadata);
  if (!header.ok()) return header.status().WithContext(path);
  DS_ASSIGN(OutputFile file, OutputFile::Create(path));
  const uint64_t header_bytes = header->size();
  DS_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(&header_bytes, 1))));
  DS_RETURN_IF_ERROR(file.Write(*header));
  for (const TensorToWrite* tensor : order) DS_RETURN_IF_ERROR(file.Write(tensor->data));
  return file.Commit();
}

}  // namespace deepshock

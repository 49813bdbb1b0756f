// SPDX-License-Identifier: Apache-2.0
// safetensors: u64 header length, JSON header, data; one file, or the shards that
// model.safetensors.index.json names. Memory-mapped; every offset, shape and overlap is checked against the
// file before use. Refused: element types that DType has not, bytes that no tensor owns, and an index that
// names files outside its folder. Format: https://github.com/huggingface/safetensors. A SafetensorsFile does
// not change once open: any thread.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "formats/stored_tensor.h"

namespace deepshock {

class SafetensorsFile {
 public:
  // A .safetensors file.
  static Result<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  // A folder with model.safetensors, or with model.safetensors.index.json and its shards. Fails when a shard
  // or a tensor that the index names is missing, or a tensor occurs in two shards. A shard's tensors that the
  // index does not name are kept.
  static Result<std::unique_ptr<SafetensorsFile>> OpenFolder(const std::string& folder);

  const std::string& path() const { return path_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }             // by name
  const StoredTensor* Find(std::string_view name) const;                            // null when absent
  const std::map<std::string, std::string>& metadata() const { return metadata_; }  // __metadata__
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }

 private:
  SafetensorsFile() = default;
  std::string path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct TensorToWrite {
  std::string name;
  DType dtype;
  std::vector<int64_t> dims;
  std::span<const std::byte> data;
};
// Writes beside and renames; tensors of wider elements come first, whatever the order given. `metadata` goes
// into __metadata__.
Status WriteSafetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                        const std::map<std::string, std::string>& metadata);

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
// Repacked files: a model with its quantised weights in the kernels' layout (tensor/interleaved.h), mapped
// and used as they are, and the form that experts are streamed from. The container is GGUF v3 with 4096-byte
// alignment, as O_DIRECT wants it, and all metadata of the file it was made from, and
//   deepshock.repacked.version  u32       kInterleavedVersion
//   deepshock.repacked.types    string[]  "NAME=TYPE" for each interleaved weight, by its GGUF name
// An interleaved weight outside of routed experts is an I8 tensor of its GGUF name that holds its groups. A
// routed expert's three matrices are one I8 tensor, the record "blk.N.expert.E": gate, up, down, each from a
// multiple of 64 bytes on, so that one contiguous read brings an expert. All else is stored as usual. MLA's
// expansions are there in both directions.
#pragma once

#include <memory>
#include <string>

#include "model/source.h"

namespace deepshock {

inline constexpr char kRepackedVersionKey[] = "deepshock.repacked.version";
inline constexpr char kRepackedTypesKey[] = "deepshock.repacked.types";
inline constexpr uint32_t kRepackedAlignment = 4096;

inline bool IsRepacked(const GgufFile& file) { return file.Has(kRepackedVersionKey); }

std::string ExpertRecordName(int layer, int expert);

// Where an expert's matrices lie in its record; their types and shapes are given, their data may be null.
struct ExpertRecord {
  int64_t gate = 0, up = 0, down = 0;  // byte offsets
  int64_t bytes = 0;
};
ExpertRecord LayOutExpert(const ExpertWeights& interleaved);

// Fails when the file is of another version of the layout.
Result<std::unique_ptr<WeightSource>> MakeRepackedSource(std::shared_ptr<const GgufFile> file,
                                                         const Architecture& architecture,
                                                         const ModelSpec& spec);

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
#include "model/placement.h"

#include <algorithm>
#include <set>

#include "base/byte_size.h"
#include "model/attention.h"
#include "model/repacked.h"
#include "tensor/interleaved.h"

namespace deepshock {
namespace {

constexpr uint64_t kAlignment = FileReader::kAlignment;

// A part of a file that moves to memory.
struct Range {
  int file = 0;
  uint64_t begin = 0, end = 0;  // in the file, whole blocks (of the last one, what the file has)
  uint64_t to = 0;              // in the memory
};

struct Place {
  int file;
  uint64_t offset;
};

// Where mapped bytes are on disk.
std::optional<Place> Locate(const WeightSource& source, const std::byte* data) {
  int number = 0;
  for (const auto& file : source.Files()) {
    const std::span<const std::byte> bytes = file->bytes();
    if (data >= bytes.data() && data < bytes.data() + bytes.size()) {
      return Place{number, static_cast<uint64_t>(data - bytes.data())};
    }
    ++number;
  }
  return std::nullopt;
}

uint64_t SizeOf(const Matrix& m) {
  if (m.interleaved) return static_cast<uint64_t>(InterleavedBytes(m));
  return static_cast<uint64_t>((m.rows - 1) * m.row_stride + RowBytes(m.dtype, m.cols));
}

std::vector<LayerWeights*> AllLayers(ModelWeights* weights) {
  std::vector<LayerWeights*> layers;
  for (LayerWeights& layer : weights->layers) layers.push_back(&layer);
  for (MtpWeights& mtp : weights->mtp) layers.push_back(&mtp.layer);
  return layers;
}

bool IsRecord(const ExpertWeights& w) { return w.gate.interleaved && w.up.interleaved && w.down.interleaved; }

class Placer {
 public:
  Placer(const ModelSpec& spec, const WeightSource& source, ModelWeights* weights)
      : spec_(spec), source_(source), weights_(weights) {}

  // Which matrices move, and which experts stay.
  Status Plan() {
    std::set<const Matrix*> streamed;
    const std::vector<LayerWeights*> layers = AllLayers(weights_);
    for (size_t l = 0; l < layers.size(); ++l) {
      for (size_t e = 0; e < layers[l]->experts.size(); ++e) {
        ExpertWeights& w = layers[l]->experts[e];
        if (!IsRecord(w)) continue;  // stored as usual, with all of its layer: at hand
        streamed.insert({&w.gate, &w.up, &w.down});
        DS_RETURN_IF_ERROR(AddExpert({static_cast<int32_t>(l), static_cast<int32_t>(e)}, w));
      }
    }
    std::vector<Range> ranges;
    DS_RETURN_IF_ERROR(VisitWeights(spec_, *weights_, [&](const WeightDecl&, Matrix& m) -> Status {
      if (!m || streamed.contains(&m)) return {};
      const std::optional<Place> place = Locate(source_, m.data);
      if (!place) {
        derived_bytes_ += static_cast<int64_t>(SizeOf(m));
        return {};
      }
      const uint64_t file_bytes = source_.Files()[static_cast<size_t>(place->file)]->bytes().size();
      const uint64_t end = (place->offset + SizeOf(m) + kAlignment - 1) / kAlignment * kAlignment;
      ranges.push_back({place->file, place->offset / kAlignment * kAlignment, std::min(end, file_bytes), 0});
      moved_.push_back(&m);
      return {};
    }));
    Merge(std::move(ranges));
    return {};
  }

  int64_t resident_bytes() const { return memory_bytes_ + derived_bytes_; }
  std::vector<StoredExpert>& experts() { return experts_; }

  Status Move(FileReader& reader) {
    DS_ASSIGN(const std::shared_ptr<HugeMemory> memory,
              HugeMemory::Allocate(static_cast<size_t>(memory_bytes_)));
    for (size_t i = 0; i < ranges_.size(); ++i) {
      const Range& r = ranges_[i];
      reader.Start({i, r.file, static_cast<int64_t>(r.begin), static_cast<int64_t>(r.end - r.begin),
                    memory->data() + r.to});
    }
    Status status;
    for (size_t i = 0; i < ranges_.size(); ++i) {
      FileReadResult result = reader.Wait();
      if (!result.status.ok()) status = std::move(result.status);
    }
    DS_RETURN_IF_ERROR(status);
    for (Matrix* m : moved_) {
      const Place place = *Locate(source_, m->data);
      const Range& range = RangeOf(place);
      m->data = memory->data() + range.to + (place.offset - range.begin);
    }
    weights_->storage.push_back(memory);
    for (StoredExpert& expert : experts_) expert.weights = WeightsOf(expert.id);  // with biases that moved
    // What parsing has touched.
    for (const auto& file : source_.Files()) file->WillNotRead(file->bytes());
    return {};
  }

 private:
  ExpertWeights& WeightsOf(ExpertId id) {
    return AllLayers(weights_)[static_cast<size_t>(id.layer)]->experts[static_cast<size_t>(id.expert)];
  }

  Status AddExpert(ExpertId id, const ExpertWeights& w) {
    const ExpertRecord record = LayOutExpert(w);
    const std::optional<Place> place = Locate(source_, w.gate.data);
    DS_CHECK(place.has_value() && w.up.data == w.gate.data + record.up - record.gate &&
                 w.down.data == w.gate.data + record.down - record.gate,
             "a record lies in the file");
    if (place->offset % kAlignment != 0) {
      return Fail("tensor {}: expected at a multiple of {} bytes, found at {}; repack the model again",
                  ExpertRecordName(id.layer, id.expert), kAlignment, place->offset);
    }
    experts_.push_back({id, place->file, static_cast<int64_t>(place->offset), record.bytes, record.gate,
                        record.up, record.down, w});
    return {};
  }

  void Merge(std::vector<Range> ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
      return std::pair(a.file, a.begin) < std::pair(b.file, b.begin);
    });
    for (const Range& range : ranges) {
      if (!ranges_.empty() && ranges_.back().file == range.file && range.begin <= ranges_.back().end) {
        ranges_.back().end = std::max(ranges_.back().end, range.end);
      } else {
        ranges_.push_back(range);
      }
    }
    uint64_t at = 0;
    for (Range& range : ranges_) {
      range.to = at;
      at += (range.end - range.begin + kAlignment - 1) / kAlignment * kAlignment;
    }
    memory_bytes_ = static_cast<int64_t>(at);
  }

  const Range& RangeOf(const Place& place) const {
    const auto after =
        std::upper_bound(ranges_.begin(), ranges_.end(), place, [](const Place& p, const Range& r) {
          return std::pair(p.file, p.offset) < std::pair(r.file, r.begin);
        });
    return *(after - 1);
  }

  const ModelSpec& spec_;
  const WeightSource& source_;
  ModelWeights* weights_;
  std::vector<StoredExpert> experts_;
  std::vector<Matrix*> moved_;
  std::vector<Range> ranges_;
  int64_t memory_bytes_ = 0, derived_bytes_ = 0;
};

int64_t LeastStateBytes(const ModelSpec& spec, const ModelWeights& weights, const MemoryLimit& limit) {
  const auto layers = static_cast<int64_t>(weights.layers.size() + weights.mtp.size());
  const KvLayout layout = StateLayout(spec.attention, limit.kv_type);
  return layers * layout.group_bytes() * ((limit.least_tokens + kKvGroup - 1) / kKvGroup);
}

}  // namespace

Result<ModelMemory> PlaceRepacked(const ModelSpec& spec, const WeightSource& source, const MemoryLimit& limit,
                                  ModelWeights* weights) {
  Placer placer(spec, source, weights);
  DS_RETURN_IF_ERROR(placer.Plan());
  const int64_t state_bytes = LeastStateBytes(spec, *weights, limit), resident = placer.resident_bytes();
  const int64_t slot_bytes = DiskStore::SlotBytes(placer.experts());
  const auto num_experts = static_cast<int64_t>(placer.experts().size());
  const int64_t min_slots = std::min<int64_t>(spec.router.top_k, num_experts);
  const int64_t least = resident + min_slots * slot_bytes + state_bytes;
  if (limit.bytes < least) {
    return Fail(
        "memory: expected at least {} for this model ({} that is always in memory, {} experts of {}, {} for "
        "a "
        "state of {} tokens), found {}",
        FormatByteSize(least), FormatByteSize(resident), min_slots, FormatByteSize(slot_bytes),
        FormatByteSize(state_bytes), limit.least_tokens, FormatByteSize(limit.bytes));
  }
  std::vector<FileReader::File> files;
  for (const auto& file : source.Files()) {
    files.push_back({file->path(), static_cast<int64_t>(file->bytes().size())});
  }
  DS_ASSIGN(std::unique_ptr<FileReader> reader, FileReader::Open(files));
  DS_RETURN_IF_ERROR(placer.Move(*reader));
  ModelMemory memory;
  memory.resident_bytes = resident;
  const int64_t left = limit.bytes - resident;
  if (num_experts == 0) {
    memory.budget = std::make_shared<FixedBudget>(left);
    return memory;
  }
  DS_ASSIGN(std::shared_ptr<DiskStore> store,
            DiskStore::Create(spec.router.top_k, std::move(placer.experts()), std::move(reader),
                              {left, min_slots, limit.policy}));
  memory.store = store;
  memory.budget = store;
  return memory;
}

Result<ModelMemory> PlaceWhole(const std::string& path, const ModelSpec& spec, const MemoryLimit& limit,
                               const ModelWeights& weights) {
  const int64_t bytes = CountWeights(spec, weights).bytes;
  const int64_t state_bytes = LeastStateBytes(spec, weights, limit);
  if (bytes + state_bytes > limit.bytes) {
    const std::string name = path.substr(0, path.ends_with(".gguf") ? path.size() - 5 : path.size());
    return Fail(
        "memory: expected at least {} for all weights and a state of {} tokens, found {}; experts can stay "
        "on "
        "disk in a repacked file: deepshock repack {}.gguf {}.repacked.gguf",
        FormatByteSize(bytes + state_bytes), limit.least_tokens, FormatByteSize(limit.bytes), name, name);
  }
  ModelMemory memory;
  memory.resident_bytes = bytes;
  memory.budget = std::make_shared<FixedBudget>(limit.bytes - bytes);
  return memory;
}

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace deepshock {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Memory that kernels read in vectors: begins on a 64-byte line inside what `compute` keeps for a thread.
class ThreadBuffers {
 public:
  ThreadBuffers(Compute& compute, int thread, int64_t bytes) : at_(compute.Scratch(thread, bytes / 4 + 16)) {
    at_ += (64 - reinterpret_cast<uintptr_t>(at_) % 64) % 64 / 4;
  }
  float* Floats(int64_t count) {
    float* begin = at_;
    at_ += CeilDiv(count, 16) * 16;
    return begin;
  }
  std::byte* Bytes(int64_t count) { return reinterpret_cast<std::byte*>(Floats(CeilDiv(count, 4))); }

 private:
  float* at_;
};

// Queries [first, first + count) of one key-value head and sequence, where query i is head i % group of row
// i / group.
struct Unit {
  const AttentionRows* rows;
  int64_t kv_head;
  int64_t first;
  int64_t count;
  int64_t first_span, end_span;
  int64_t results_at;  // where its spans' results begin, in floats, where spans are computed apart
};

class Attention {
 public:
  Attention(Compute& compute, const AttentionParams& params, std::span<const AttentionRows> sequences,
            const HeadRows<const float>& queries, const HeadRows<float>& out)
      : compute_(compute),
        kernels_(compute.attention != nullptr ? *compute.attention : AttentionFor(*compute.kernels)),
        params_(params),
        queries_(queries),
        out_(out),
        group_(params.num_heads / params.layout.num_heads),
        value_pad_(params.layout.value_pad()),
        query_bytes_(QueryBytes(params.layout)) {
    for (const AttentionRows& rows : sequences) AddUnits(rows);
    // The longest first, so that the last to finish is a short one.
    std::stable_sort(units_.begin(), units_.end(), [](const Unit& a, const Unit& b) {
      return a.count * (a.end_span - a.first_span) > b.count * (b.end_span - b.first_span);
    });
  }

  void Run() {
    const auto num_units = static_cast<int64_t>(units_.size());
    const int num_threads = compute_.pool->num_threads();
    if (num_threads > 1 && num_units < kUnitsPerThread * num_threads && num_spans_ > num_units) {
      RunSpansApart();
    } else {
      compute_.pool->ParallelFor(num_units, 1, [&](int64_t unit, int64_t, int thread) {
        RunUnit(units_[static_cast<size_t>(unit)], thread);
      });
    }
  }

 private:
  // So many are work enough for every thread without splitting them.
  static constexpr int64_t kUnitsPerThread = 4;

  static int64_t Aligned(int64_t count) { return CeilDiv(count, 16) * 16; }
  int64_t ResultFloats(int64_t count) const { return Aligned(count) * (value_pad_ + 2); }
  static AttentionResult ResultAt(float* at, int64_t count) {
    return {at, at + Aligned(count), at + 2 * Aligned(count)};
  }

  int64_t Begin(int64_t position) const {
    return params_.window > 0 ? std::max<int64_t>(0, position - params_.window + 1) : 0;
  }

  void AddUnits(const AttentionRows& rows) {
    const int64_t total = rows.num_rows * group_;
    for (int64_t head = 0; head < params_.layout.num_heads; ++head) {
      for (int64_t first = 0; first < total; first += kQueryTile) {
        Unit unit{&rows, head, first, std::min(kQueryTile, total - first), 0, 0, result_floats_};
        const int64_t last = rows.first_position + (first + unit.count - 1) / group_;
        unit.first_span = Begin(rows.first_position + first / group_) / kKvSpan;
        unit.end_span = last / kKvSpan + 1;
        num_spans_ += unit.end_span - unit.first_span;
        result_floats_ += (unit.end_span - unit.first_span) * ResultFloats(unit.count);
        units_.push_back(unit);
      }
    }
  }

  void PackQueries(const Unit& unit, std::byte* packed) const {
    for (int64_t i = 0; i < unit.count; ++i) {
      const int64_t row = unit.rows->first_row + (unit.first + i) / group_;
      const int64_t head = unit.kv_head * group_ + (unit.first + i) % group_;
      kernels_.pack_query(params_.layout,
                          queries_.data + row * queries_.row_stride + head * queries_.head_stride,
                          params_.scale, packed + i * query_bytes_);
    }
  }

  void AttendSpan(const Unit& unit, int64_t span, const std::byte* packed, const AttentionResult& result,
                  std::byte* scratch) const {
    int64_t begin[kQueryTile], end[kQueryTile];
    for (int64_t i = 0; i < unit.count; ++i) {
      const int64_t position = unit.rows->first_position + (unit.first + i) / group_;
      begin[i] = Begin(position);
      end[i] = position + 1;
    }
    const KvLayout& layout = params_.layout;
    const int64_t group_bytes = layout.group_bytes();
    kernels_.attend(
        {&layout,
         unit.rows->state + span * (kKvSpan / kKvGroup) * group_bytes + unit.kv_head * layout.head_bytes(),
         group_bytes, span * kKvSpan, packed, unit.count, begin, end},
        result, scratch);
  }

  void JoinAll(const Unit& unit, const AttentionResult& from, const AttentionResult& to) const {
    for (int64_t i = 0; i < unit.count; ++i) JoinOne(from, to, i);
  }
  void JoinOne(const AttentionResult& from, const AttentionResult& to, int64_t i) const {
    kernels_.join(from.max[i], from.sum[i], from.values + i * value_pad_, value_pad_,
                  {to.max + i, to.sum + i, to.values + i * value_pad_});
  }

  // Divides by the sum of weights, the sink's included.
  void Finish(const Unit& unit, const AttentionResult& result, int64_t i) const {
    const int64_t row = unit.rows->first_row + (unit.first + i) / group_;
    const int64_t head = unit.kv_head * group_ + (unit.first + i) % group_;
    float factor = 1 / result.sum[i];
    if (params_.sinks != nullptr) {
      const float sink = params_.sinks[head], max = std::max(result.max[i], sink);
      const float kept = std::exp(result.max[i] - max);
      factor = kept / (result.sum[i] * kept + std::exp(sink - max));
    }
    float* to = out_.data + row * out_.row_stride + head * out_.head_stride;
    const float* from = result.values + i * value_pad_;
    for (int64_t c = 0; c < params_.layout.value_dim; ++c) to[c] = from[c] * factor;
  }

  void RunUnit(const Unit& unit, int thread) const {
    const int64_t scratch_bytes = AttentionScratch(params_.layout);
    ThreadBuffers buffers(compute_, thread,
                          scratch_bytes + unit.count * query_bytes_ + 2 * ResultFloats(unit.count) * 4 + 256);
    std::byte* scratch = buffers.Bytes(scratch_bytes);
    std::byte* packed = buffers.Bytes(unit.count * query_bytes_);
    const AttentionResult all = ResultAt(buffers.Floats(ResultFloats(unit.count)), unit.count);
    const AttentionResult part = ResultAt(buffers.Floats(ResultFloats(unit.count)), unit.count);
    PackQueries(unit, packed);
    AttendSpan(unit, unit.first_span, packed, all, scratch);
    for (int64_t span = unit.first_span + 1; span < unit.end_span; ++span) {
      AttendSpan(unit, span, packed, part, scratch);
      JoinAll(unit, part, all);
    }
    for (int64_t i = 0; i < unit.count; ++i) Finish(unit, all, i);
  }

  void RunSpansApart() {
    const auto num_units = static_cast<int64_t>(units_.size());
    const int64_t packed_bytes = kQueryTile * query_bytes_, scratch_bytes = AttentionScratch(params_.layout);
    auto packed_buffer = compute_.buffers.Borrow<std::byte>(num_units * packed_bytes);
    auto results = compute_.buffers.Borrow<float>(result_floats_);
    std::byte* packed = packed_buffer.data();
    struct Task {
      const Unit* unit;
      int64_t index, span;
    };
    std::vector<Task> tasks;
    for (int64_t u = 0; u < num_units; ++u) {
      const Unit& unit = units_[static_cast<size_t>(u)];
      for (int64_t span = unit.first_span; span < unit.end_span; ++span) tasks.push_back({&unit, u, span});
    }
    compute_.pool->ParallelFor(num_units, 1, [&](int64_t u, int64_t, int) {
      PackQueries(units_[static_cast<size_t>(u)], packed + u * packed_bytes);
    });
    const auto result_of = [&](const Unit& unit, int64_t span) {
      const int64_t at = unit.results_at + (span - unit.first_span) * ResultFloats(unit.count);
      return ResultAt(results.data() + at, unit.count);
    };
    compute_.pool->ParallelFor(static_cast<int64_t>(tasks.size()), 1, [&](int64_t at, int64_t, int thread) {
      const Task& task = tasks[static_cast<size_t>(at)];
      ThreadBuffers buffers(compute_, thread, scratch_bytes);
      AttendSpan(*task.unit, task.span, packed + task.index * packed_bytes, result_of(*task.unit, task.span),
                 buffers.Bytes(scratch_bytes));
    });
    const int64_t tile = std::max_element(units_.begin(), units_.end(), [](const Unit& a, const Unit& b) {
                           return a.count < b.count;
                         })->count;
    compute_.pool->ParallelFor(num_units * tile, 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t at = begin; at < end; ++at) {
        const Unit& unit = units_[static_cast<size_t>(at / tile)];
        const int64_t i = at % tile;
        if (i >= unit.count) continue;
        const AttentionResult all = result_of(unit, unit.first_span);
        for (int64_t span = unit.first_span + 1; span < unit.end_span; ++span) {
          JoinOne(result_of(unit, span), all, i);
        }
        Finish(unit, all, i);
      }
    });
  }

  Compute& compute_;
  const AttentionKernels& kernels_;
  const AttentionParams& params_;
  const HeadRows<const float>& queries_;
  const HeadRows<float>& out_;
  int64_t group_;
  int64_t value_pad_;
  int64_t query_bytes_;
  int64_t num_spans_ = 0;
  int64_t result_floats_ = 0;  // of all spans apart
  std::vector<Unit> units_;
};

}  // namespace

void StoreRows(Compute& compute, const KvLayout& layout, std::span<const AttentionRows> sequences,
               const HeadRows<const float>& keys, const HeadRows<const float>& values) {
  struct Task {
    const AttentionRows* rows;
    int64_t group;
  };
  std::vector<Task> tasks;
  for (const AttentionRows& rows : sequences) {
    const int64_t last = rows.first_position + rows.num_rows - 1;
    for (int64_t g = rows.first_position / kKvGroup; g <= last / kKvGroup; ++g) tasks.push_back({&rows, g});
  }
  compute.pool->ParallelFor(static_cast<int64_t>(tasks.size()), 1, [&](int64_t at, int64_t, int) {
    const AttentionRows& rows = *tasks[static_cast<size_t>(at)].rows;
    const int64_t group_first = tasks[static_cast<size_t>(at)].group * kKvGroup;
    std::byte* group = rows.state + group_first / kKvGroup * layout.group_bytes();
    if (rows.first_position <= group_first) {
      std::memset(group, 0, static_cast<size_t>(layout.group_bytes()));
    }
    const int64_t begin = std::max(group_first, rows.first_position);
    const int64_t end = std::min(group_first + kKvGroup, rows.first_position + rows.num_rows);
    for (int64_t position = begin; position < end; ++position) {
      const int64_t row = rows.first_row + position - rows.first_position;
      for (int64_t h = 0; h < layout.num_heads; ++h) {
        StoreKv(
            layout, keys.data + row * keys.row_stride + h * keys.head_stride,
            layout.shared_values ? nullptr : values.data + row * values.row_stride + h * values.head_stride,
            position - group_first, group + h * layout.head_bytes());
      }
    }
  });
}

void Attend(Compute& compute, const AttentionParams& params, std::span<const AttentionRows> sequences,
            const HeadRows<const float>& queries, const HeadRows<float>& out) {
  DS_CHECK(params.num_heads % params.layout.num_heads == 0, "every key-value head serves as many queries");
  Attention(compute, params, sequences, queries, out).Run();
}

}  // namespace deepshock

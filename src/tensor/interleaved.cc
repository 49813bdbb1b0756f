// SPDX-License-Identifier: Apache-2.0
#include "tensor/interleaved.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "tensor/codec_kquant.h"
#include "tensor/codec_legacy.h"
#include "tensor/codec_mxfp4.h"

namespace deepshock {
namespace {

enum class Unit { kByte, kHalf, kWord, kHighBits };

struct Field {
  Unit unit;
  int count;
};

int UnitBytes(Unit unit) { return unit == Unit::kByte ? 1 : unit == Unit::kHalf ? 2 : 4; }

// The block's fields in stored order; they cover the block.
std::span<const Field> FieldsOf(DType dtype) {
  static constexpr Field kQ4_0[] = {{Unit::kHalf, 1}, {Unit::kWord, 4}};
  static constexpr Field kQ4_1[] = {{Unit::kWord, 5}};
  static constexpr Field kQ5_0[] = {{Unit::kHalf, 1}, {Unit::kHighBits, 1}, {Unit::kWord, 4}};
  static constexpr Field kQ5_1[] = {{Unit::kWord, 1}, {Unit::kHighBits, 1}, {Unit::kWord, 4}};
  static constexpr Field kQ8_0[] = {{Unit::kHalf, 1}, {Unit::kWord, 8}};
  static constexpr Field kMxfp4[] = {{Unit::kByte, 1}, {Unit::kWord, 4}};
  static constexpr Field kQ2_K[] = {{Unit::kWord, 21}};
  static constexpr Field kQ3_K[] = {{Unit::kWord, 27}, {Unit::kHalf, 1}};
  static constexpr Field kQ4_K[] = {{Unit::kWord, 36}};
  static constexpr Field kQ5_K[] = {{Unit::kWord, 44}};
  static constexpr Field kQ6_K[] = {{Unit::kWord, 52}, {Unit::kHalf, 1}};
  switch (dtype) {
    case DType::kQ4_0:
      return kQ4_0;
    case DType::kQ4_1:
      return kQ4_1;
    case DType::kQ5_0:
      return kQ5_0;
    case DType::kQ5_1:
      return kQ5_1;
    case DType::kQ8_0:
      return kQ8_0;
    case DType::kMxfp4:
      return kMxfp4;
    case DType::kQ2_K:
      return kQ2_K;
    case DType::kQ3_K:
      return kQ3_K;
    case DType::kQ4_K:
      return kQ4_K;
    case DType::kQ5_K:
      return kQ5_K;
    case DType::kQ6_K:
      return kQ6_K;
    default:
      return {};
  }
}

// Bit 4 j + k of `stored` goes to bit 8 k + j.
uint32_t SpreadHighBits(uint32_t stored) {
  uint32_t out = 0;
  for (int j = 0; j < 8; ++j) {
    const uint32_t four = stored >> (4 * j) & 0xF;
    out |= (four * 0x00204081u & 0x01010101u) << j;  // bit k of `four` to bit 8 k
  }
  return out;
}
uint32_t GatherHighBits(uint32_t spread) {
  uint32_t out = 0;
  for (int j = 0; j < 8; ++j) {
    for (int k = 0; k < 4; ++k) out |= (spread >> (8 * k + j) & 1u) << (4 * j + k);
  }
  return out;
}

template <typename T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
template <typename T>
void Store(std::byte* p, T value) {
  std::memcpy(p, &value, sizeof(value));
}

using Rows = std::array<const std::byte*, kInterleavedRows>;  // null: a row of zeros

// One field's `count` units at `offset` in the rows' blocks.
template <typename T>
void InterleaveField(const Rows& rows, int64_t offset, int count, std::byte* out) {
  for (int r = 0; r < kInterleavedRows; ++r) {
    const std::byte* from = rows[static_cast<size_t>(r)] + offset;
    std::byte* to = out + r * static_cast<int>(sizeof(T));
    for (int u = 0; u < count; ++u) {
      Store(to, Load<T>(from));
      from += sizeof(T);
      to += kInterleavedRows * sizeof(T);
    }
  }
}

void InterleaveHighBits(const Rows& rows, int64_t offset, std::byte* out) {
  for (int r = 0; r < kInterleavedRows; ++r) {
    Store(out + r * 4, SpreadHighBits(Load<uint32_t>(rows[static_cast<size_t>(r)] + offset)));
  }
}

void InterleaveRecord(std::span<const Field> fields, const Rows& rows, int64_t offset, std::byte* out) {
  for (const Field& field : fields) {
    switch (field.unit) {
      case Unit::kByte:
        InterleaveField<uint8_t>(rows, offset, field.count, out);
        break;
      case Unit::kHalf:
        InterleaveField<uint16_t>(rows, offset, field.count, out);
        break;
      case Unit::kWord:
        InterleaveField<uint32_t>(rows, offset, field.count, out);
        break;
      case Unit::kHighBits:
        InterleaveHighBits(rows, offset, out);
        break;
    }
    const int bytes = UnitBytes(field.unit) * field.count;
    offset += bytes;
    out += kInterleavedRows * bytes;
  }
}

// gpt-oss's split row as GGUF blocks.
void JoinSplitRow(const Matrix& m, int64_t row, std::byte* out) {
  const auto* nibbles = reinterpret_cast<const uint8_t*>(m.Row(row));
  const std::byte* scales = m.scales + row * m.scale_row_stride;
  for (int64_t b = 0; b < m.cols / 32; ++b) {
    BlockMxfp4 block;
    block.e = static_cast<uint8_t>(scales[b]);
    for (int i = 0; i < 16; ++i) {
      const auto element = [&](int e) {
        const int byte = nibbles[b * 16 + e / 2];
        return e % 2 == 0 ? byte & 0xF : byte >> 4;
      };
      block.qs[i] = static_cast<uint8_t>(element(i) | element(i + 16) << 4);
    }
    std::memcpy(out + b * static_cast<int64_t>(sizeof(block)), &block, sizeof(block));
  }
}

}  // namespace

bool CanInterleave(const Matrix& m) {
  if (!m || m.interleaved) return false;
  if (m.dtype == DType::kMxfp4Split) return m.cols % 32 == 0;
  return !FieldsOf(m.dtype).empty() && m.cols % Info(m.dtype).block_elements == 0;
}

Matrix InterleavedShape(const Matrix& m) {
  Matrix out;
  out.dtype = m.dtype == DType::kMxfp4Split ? DType::kMxfp4 : m.dtype;
  out.rows = m.rows;
  out.cols = m.cols;
  out.row_stride = RowBytes(out.dtype, m.cols);
  out.interleaved = true;
  return out;
}

int64_t InterleavedBytes(const Matrix& m) {
  return (m.rows + kInterleavedRows - 1) / kInterleavedRows * kInterleavedRows * m.row_stride;
}

void InterleaveRows(const Matrix& m, int64_t row_begin, int64_t row_end, std::byte* out) {
  DS_CHECK(CanInterleave(m), "a type that the kernels' layout has");
  DS_CHECK(row_begin % kInterleavedRows == 0, "groups begin at multiples of 16 rows");
  const Matrix target = InterleavedShape(m);
  const std::span<const Field> fields = FieldsOf(target.dtype);
  const int64_t block_bytes = Info(target.dtype).block_bytes, row_bytes = target.row_stride;
  const bool split = m.dtype == DType::kMxfp4Split;
  std::vector<std::byte> joined(split ? static_cast<size_t>(kInterleavedRows * row_bytes) : 0);
  const std::vector<std::byte> zeros(row_end % kInterleavedRows != 0 ? static_cast<size_t>(row_bytes) : 0);
  for (int64_t row = row_begin; row < row_end; row += kInterleavedRows) {
    Rows rows;
    for (int64_t r = 0; r < kInterleavedRows; ++r) {
      const std::byte* from = zeros.data();
      if (row + r < m.rows) {
        from = m.Row(row + r);
        if (split) {
          JoinSplitRow(m, row + r, joined.data() + r * row_bytes);
          from = joined.data() + r * row_bytes;
        }
      }
      rows[static_cast<size_t>(r)] = from;
    }
    for (int64_t at = 0; at < row_bytes; at += block_bytes) {
      InterleaveRecord(fields, rows, at, out + kInterleavedRows * at);
    }
    out += kInterleavedRows * row_bytes;
  }
}

void GatherInterleavedRow(const Matrix& m, int64_t row, std::byte* out) {
  DS_CHECK(m.interleaved && row >= 0 && row < m.rows, "a row of an interleaved matrix");
  const std::span<const Field> fields = FieldsOf(m.dtype);
  const int64_t block_bytes = Info(m.dtype).block_bytes, lane = row % kInterleavedRows;
  const std::byte* group = m.data + (row - lane) * m.row_stride;
  for (int64_t at = 0; at < m.row_stride; at += block_bytes) {
    const std::byte* from = group + kInterleavedRows * at;
    for (const Field& field : fields) {
      const int unit = UnitBytes(field.unit);
      for (int u = 0; u < field.count; ++u, out += unit) {
        std::memcpy(out, from + (u * kInterleavedRows + lane) * unit, static_cast<size_t>(unit));
        if (field.unit == Unit::kHighBits) Store(out, GatherHighBits(Load<uint32_t>(out)));
      }
      from += kInterleavedRows * unit * field.count;
    }
  }
}

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
// Every attention table against float64 over the stored numbers, within bounds derived from the formats; and
// the promise of attention.h: what a row gets depends on its own keys only, bit for bit.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "kernels/attention_ops.h"
#include "kernels/test_matrix.h"

namespace deepshock {
namespace {

constexpr double kUnit = 0x1p-24;         // float32
constexpr double kHalfQ16 = 0.5 / 32767;  // of the largest magnitude
constexpr double kHalfQ8 = 0.5 / 127;

struct Shape {
  const char* name;
  int64_t heads, kv_heads, key_dim, value_dim, key_split;
  bool shared;
  int64_t window;
  bool sinks;
};
constexpr Shape kShapes[] = {
    {"mla", 16, 1, 576, 512, 512, true, 0, false},
    {"small_mla", 6, 1, 160, 128, 128, true, 0, false},
    {"odd_mla", 5, 1, 70, 50, 50, true, 0, false},
    {"grouped", 32, 4, 128, 128, 0, false, 0, false},
    {"sinks_window", 16, 2, 64, 64, 0, false, 100, true},
    {"expanded_mla", 3, 3, 192, 128, 0, false, 0, false},
    {"odd", 7, 1, 20, 36, 0, false, 0, true},
    {"tiny_window", 2, 2, 16, 16, 0, false, 3, false},
    {"wide", 4, 1, 256, 256, 0, false, 0, false},
};

// A sequence's state of one layer.
class State {
 public:
  State(const KvLayout& layout, int64_t capacity) {
    const int64_t groups = (capacity + kKvGroup - 1) / kKvGroup;
    const auto bytes = static_cast<size_t>(groups * layout.group_bytes());
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
    std::memset(memory_.get(), 0xFF, bytes);  // NaN everywhere: nothing unwritten may count
  }
  std::byte* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
};

struct Problem {
  Problem(const Shape& s, KvType type, int64_t num_stored, int64_t rows, uint32_t seed)
      : shape(s), num_rows(rows), first_position(num_stored - rows) {
    layout = {type, s.kv_heads, s.key_dim, s.value_dim, s.key_split, s.shared};
    keys = RandomFloats(num_stored * s.kv_heads * s.key_dim, seed);
    values = RandomFloats(num_stored * s.kv_heads * s.value_dim, seed + 1);
    // Scores of up to some units, so that weights differ.
    queries = RandomFloats(rows * s.heads * s.key_dim, seed + 2, -3, 3);
    sinks = RandomFloats(s.heads, seed + 3, -1, 3);
    state = std::make_unique<State>(layout, num_stored + 5);
  }
  AttentionParams Params() const {
    AttentionParams p;
    p.layout = layout;
    p.num_heads = shape.heads;
    p.scale = 1 / std::sqrt(static_cast<float>(shape.key_dim));
    p.window = shape.window;
    p.sinks = shape.sinks ? sinks.data() : nullptr;
    return p;
  }
  // Tokens [first, first + count) into the state.
  void Store(Compute& compute, int64_t first, int64_t count) {
    const AttentionRows rows{state->data(), first, 0, count};
    const int64_t k = shape.kv_heads * shape.key_dim, v = shape.kv_heads * shape.value_dim;
    StoreRows(compute, layout, {&rows, 1}, {keys.data() + first * k, k, shape.key_dim},
              {values.data() + first * v, v, shape.value_dim});
  }
  AttentionRows Rows(int64_t first, int64_t count) const {
    return {state->data(), first_position + first, first, count};
  }
  std::vector<float> Run(Compute& compute, std::span<const AttentionRows> rows) const {
    std::vector<float> out(static_cast<size_t>(num_rows * shape.heads * shape.value_dim), -99.0f);
    Attend(compute, Params(), rows, {queries.data(), shape.heads * shape.key_dim, shape.key_dim},
           {out.data(), shape.heads * shape.value_dim, shape.value_dim});
    return out;
  }

  const Shape& shape;
  int64_t num_rows, first_position;
  KvLayout layout;
  std::vector<float> keys, values, queries, sinks;
  std::unique_ptr<State> state;
};

// The stored numbers of one token and head, without padding.
std::vector<float> StoredKey(const Problem& p, int64_t token, int64_t head) {
  std::vector<float> padded(static_cast<size_t>(p.layout.key_pad())), key;
  const std::byte* part =
      p.state->data() + token / kKvGroup * p.layout.group_bytes() + head * p.layout.head_bytes();
  LoadKey(p.layout, part, token % kKvGroup, padded.data());
  key.assign(padded.begin(), padded.begin() + p.layout.first_section());
  const auto second = padded.begin() + p.layout.first_pad();
  key.insert(key.end(), second, second + p.layout.key_dim - p.layout.first_section());
  return key;
}
std::vector<float> StoredValue(const Problem& p, int64_t token, int64_t head) {
  std::vector<float> value(static_cast<size_t>(p.layout.value_pad()));
  const std::byte* part =
      p.state->data() + token / kKvGroup * p.layout.group_bytes() + head * p.layout.head_bytes();
  LoadValue(p.layout, part, token % kKvGroup, value.data());
  value.resize(static_cast<size_t>(p.layout.value_dim));
  return value;
}

// Roundings that a table does beside float32's. Queries have one unit a section, weights one a block.
struct Roundings {
  double query_unit[2] = {0, 0};
  double half_weight = 0;  // half a unit, in parts of the largest weight
};
// The unit in which 16-bit queries (weights) are rounded: their magnitudes and what adds up in a lane count.
double UnitOfWords(double largest, double in_lane, double most_in_lane) {
  return std::max(largest / 32767, in_lane / most_in_lane);
}
Roundings RoundingsOf(std::string_view table, const KvLayout& layout, const float* query) {
  Roundings r;
  if (layout.type == KvType::kF32 || table == "reference" || table == "neon") return r;
  const bool is_vnni = table == "avx512vnni", is_q16 = layout.type == KvType::kQ16;
  const auto lanes = static_cast<size_t>(is_vnni ? 16 : 8);  // plain avx512 takes the kernels of avx2
  for (int64_t s = 0; s < layout.num_sections(); ++s) {
    const int64_t first = s == 0 ? 0 : layout.first_section();
    const int64_t end = s == 0 ? layout.first_section() : layout.key_dim;
    double largest = 0;
    std::vector<double> sums(lanes);
    for (int64_t k = first; k < end; ++k) {
      const double magnitude = std::fabs(double{query[k]});
      largest = std::max(largest, magnitude);
      sums[static_cast<size_t>(k - first) % lanes] += magnitude;
    }
    const double rounding = static_cast<double>(end - first + 15) / static_cast<double>(lanes);
    const double most = is_q16 ? 65400 : 65400.0 * 258 / 4;
    r.query_unit[s] = is_vnni && !is_q16
                          ? largest / 127
                          : UnitOfWords(largest, 2 * *std::ranges::max_element(sums), most - rounding);
    r.query_unit[s] *= 1 + 100 * kUnit;
  }
  r.half_weight = is_vnni && !is_q16 ? 0.5 / 255 : 0.5 * UnitOfWords(1, 128, (is_q16 ? 1 : 258) * 65400 - 64);
  return r;
}

struct Expected {
  std::vector<double> value, tolerance;  // [value_dim]
};

// One row's head in float64, and how far a table may be off:
//  - a score is off by e = (half a unit of the query) . |key| + n u |query| . |key|, and so a normalised
//    weight by a factor of e^(2 e);
//  - weights times value scales are rounded by half a unit of their block, which is in proportion to the
//    largest of them, at most the largest in the query's reach;
//  - the sums of n terms in float32, in any order, are within n u of the terms' magnitudes; joining blocks
//    and exponentials add some more.
Expected Exact(const Problem& p, std::string_view table, int64_t row, int64_t head) {
  const Shape& s = p.shape;
  const int64_t position = p.first_position + row, kv_head = head / (s.heads / s.kv_heads);
  const int64_t first = s.window > 0 ? std::max<int64_t>(0, position - s.window + 1) : 0;
  const float* query = p.queries.data() + (row * s.heads + head) * s.key_dim;
  const double scale = p.Params().scale;
  const Roundings roundings = RoundingsOf(table, p.layout, query);
  std::vector<double> scores;
  double score_error = 0;
  for (int64_t t = first; t <= position; ++t) {
    const std::vector<float> key = StoredKey(p, t, kv_head);
    double score = 0, error = 0;
    for (int64_t k = 0; k < s.key_dim; ++k) {
      const double q = query[k], x = key[static_cast<size_t>(k)];
      score += q * x;
      const double rounding = static_cast<double>(s.key_dim + 4) * kUnit * std::fabs(q) +
                              0.5 * roundings.query_unit[k < p.layout.first_section() ? 0 : 1];
      error += rounding * std::fabs(x);
    }
    scores.push_back(score * scale);
    score_error = std::max(score_error, error * scale);
  }
  double max = s.sinks ? double{p.sinks[static_cast<size_t>(head)]} : -1e30, sum = 0;
  for (const double x : scores) max = std::max(max, x);
  if (s.sinks) sum += std::exp(p.sinks[static_cast<size_t>(head)] - max);
  for (const double x : scores) sum += std::exp(x - max);
  Expected e{std::vector<double>(static_cast<size_t>(s.value_dim)),
             std::vector<double>(static_cast<size_t>(s.value_dim))};
  std::vector<double> magnitude(e.value.size()), stored(e.value.size());
  double largest_scaled = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const std::vector<float> value = StoredValue(p, first + static_cast<int64_t>(i), kv_head);
    const double weight = std::exp(scores[i] - max) / sum;
    double value_max = 0;
    for (size_t c = 0; c < value.size(); ++c) {
      e.value[c] += weight * value[c];
      magnitude[c] += weight * std::fabs(value[c]);
      value_max = std::max(value_max, std::fabs(double{value[c]}));
    }
    largest_scaled = std::max(largest_scaled, weight * value_max);
  }
  const double n = static_cast<double>(scores.size());
  const double relative = std::expm1(2 * score_error) + (n + 100) * kUnit;
  for (size_t c = 0; c < e.value.size(); ++c) {
    e.tolerance[c] = relative * magnitude[c] + 1e-30;
    // Every token's weight by half a unit, times a value of as many steps as its scale allows.
    e.tolerance[c] += (1 + relative) * n * roundings.half_weight * largest_scaled;
  }
  return e;
}

class AttentionTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const Result<const AttentionKernels*> found = AttentionByName(GetParam());
    if (!found.ok()) GTEST_SKIP() << found.message();
    table_ = *found;
    ASSERT_EQ(table_->name, GetParam());
  }
  Compute MakeCompute(ThreadPool& pool) const {
    Compute compute(BestKernels(), pool);
    compute.attention = table_;
    return compute;
  }
  const AttentionKernels* table_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(All, AttentionTest,
                         testing::ValuesIn(TestedTables({"reference", "avx2", "avx512", "avx512vnni"})),
                         [](const auto& test) { return std::string(test.param); });

constexpr KvType kTypes[] = {KvType::kF32, KvType::kQ16, KvType::kQ8};

TEST_P(AttentionTest, IsWithinItsErrorBound) {
  ThreadPool pool(2);
  Compute compute = MakeCompute(pool);
  double worst = 0;
  for (const Shape& shape : kShapes) {
    for (const KvType type : kTypes) {
      // Below and across groups, blocks and spans.
      for (const auto& [stored, rows] : {std::pair<int64_t, int64_t>{1, 1},
                                         {2, 2},
                                         {31, 3},
                                         {33, 1},
                                         {128, 1},
                                         {129, 4},
                                         {256, 2},
                                         {300, 20},
                                         {530, 1}}) {
        Problem p(shape, type, stored, rows, static_cast<uint32_t>(stored));
        p.Store(compute, 0, stored);
        const AttentionRows all = p.Rows(0, rows);
        const std::vector<float> out = p.Run(compute, {&all, 1});
        for (const int64_t row : {int64_t{0}, rows / 2, rows - 1}) {
          for (const int64_t head : {int64_t{0}, shape.heads - 1}) {
            const Expected e = Exact(p, table_->name, row, head);
            for (int64_t c = 0; c < shape.value_dim; ++c) {
              const double found = out[static_cast<size_t>((row * shape.heads + head) * shape.value_dim + c)];
              const double expected = e.value[static_cast<size_t>(c)];
              const double tolerance = e.tolerance[static_cast<size_t>(c)];
              worst = std::max(worst, std::fabs(found - expected) / tolerance);
              ASSERT_NEAR(found, expected, tolerance)
                  << shape.name << " " << Name(type) << ", " << stored << " stored, row " << row << " head "
                  << head << " dim " << c;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(worst, 0);
  RecordProperty("worst_share_of_the_bound", std::to_string(worst));
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

TEST_P(AttentionTest, ARowIsTheSameAloneInABatchAndOnAnyNumberOfThreads) {
  ThreadPool one(1), two(2), four(4);
  Compute compute = MakeCompute(one), on_two = MakeCompute(two), on_four = MakeCompute(four);
  for (const Shape& shape : kShapes) {
    for (const KvType type : kTypes) {
      // The plain table computes one query after the other: less will do.
      if (table_ == &ReferenceAttention() && shape.heads * shape.key_dim > 1024) continue;
      const int64_t stored = table_ == &ReferenceAttention() ? 300 : 600, first = stored - 50;
      Problem p(shape, type, stored, 50, 9), other(shape, type, 90, 5, 10);
      p.Store(compute, 0, stored);
      other.Store(compute, 0, 90);
      const AttentionRows all = p.Rows(0, 50);
      const std::vector<float> together = p.Run(compute, {&all, 1});
      EXPECT_TRUE(SameBits(together, p.Run(on_two, {&all, 1}))) << shape.name << " " << Name(type);
      EXPECT_TRUE(SameBits(together, p.Run(on_four, {&all, 1}))) << shape.name << " " << Name(type);
      const auto width = static_cast<size_t>(shape.heads * shape.value_dim);
      for (const int64_t row : {0, 1, 25, 49}) {
        const AttentionRows alone = p.Rows(row, 1);
        // Alone its spans of keys are computed apart; on one thread one after the other.
        for (Compute* c : {&compute, &on_two, &on_four}) {
          const std::vector<float> out = p.Run(*c, {&alone, 1});
          EXPECT_TRUE(SameBits(std::span(together).subspan(static_cast<size_t>(row) * width, width),
                               std::span(out).subspan(static_cast<size_t>(row) * width, width)))
              << shape.name << " " << Name(type) << " row " << row;
        }
      }
      // With another sequence, whose rows read p's queries.
      const AttentionRows both[] = {{other.state->data(), 85, 0, 5}, {p.state->data(), first + 25, 25, 8}};
      const std::vector<float> batch = p.Run(on_two, both);
      EXPECT_TRUE(SameBits(std::span(together).subspan(25 * width, 8 * width),
                           std::span(batch).subspan(25 * width, 8 * width)))
          << shape.name << " " << Name(type);
    }
  }
}

TEST_P(AttentionTest, StoringTokenByTokenOrAfterACutIsTheSame) {
  ThreadPool pool(2);
  Compute compute = MakeCompute(pool);
  for (const Shape& shape : kShapes) {
    for (const KvType type : kTypes) {
      Problem at_once(shape, type, 70, 70, 3), one_by_one(shape, type, 70, 70, 3);
      at_once.Store(compute, 0, 70);
      one_by_one.Store(compute, 0, 69);
      for (int64_t t = 20; t < 70; ++t) one_by_one.Store(compute, t, 1);  // as after Truncate(20)
      const AttentionRows a = at_once.Rows(0, 70), b = one_by_one.Rows(0, 70);
      EXPECT_TRUE(SameBits(at_once.Run(compute, {&a, 1}), one_by_one.Run(compute, {&b, 1})))
          << shape.name << " " << Name(type);
    }
  }
}

TEST_P(AttentionTest, GroupsAreStoredAsTokensAre) {
  for (const KvType type : kTypes) {
    for (const KvLayout& layout : {KvLayout{type, 1, 192, 128, 0, false}, KvLayout{type, 1, 20, 36, 0, false},
                                   KvLayout{type, 1, 70, 50, 50, true}, KvLayout{type, 1, 100, 0, 0, true}}) {
      for (const int64_t count : {1, 31, 32}) {
        const std::vector<float> keys = RandomFloats(count * (layout.key_dim + 3), 1);
        const std::vector<float> values = RandomFloats(count * (layout.value_dim + 1), 2);
        const auto bytes = static_cast<size_t>(layout.head_bytes());
        std::vector<std::byte> expected(bytes), found(bytes, std::byte{0xFF});
        for (int64_t t = 0; t < count; ++t) {
          StoreKv(layout, keys.data() + t * (layout.key_dim + 3),
                  layout.shared_values ? nullptr : values.data() + t * (layout.value_dim + 1), t,
                  expected.data());
        }
        table_->store_group(layout, keys.data(), layout.key_dim + 3,
                            layout.shared_values ? nullptr : values.data(), layout.value_dim + 1, count,
                            found.data());
        EXPECT_EQ(std::memcmp(expected.data(), found.data(), bytes), 0) << Name(type) << " " << count;
      }
    }
  }
}

TEST_P(AttentionTest, ProductsAreWithinTheirErrorBound) {
  for (const KvType type : {KvType::kF32, table_->fast_type}) {
    for (const int64_t dims : {16, 50, 512}) {
      const KvLayout layout{type, 1, dims, 0, 0, true};
      constexpr int64_t kKeys = 112, kQueries = 33, kGroups = 4;
      const std::vector<float> keys = RandomFloats(kKeys * dims, 1),
                               queries = RandomFloats(kQueries * dims, 2);
      std::vector<std::byte> part(static_cast<size_t>(kGroups * layout.head_bytes()));
      for (int64_t g = 0; g < kGroups; ++g) {
        table_->store_group(layout, keys.data() + g * kKvGroup * dims, dims, nullptr, 0,
                            std::min(kKvGroup, kKeys - g * kKvGroup), part.data() + g * layout.head_bytes());
      }
      std::vector<std::byte> packed(static_cast<size_t>(kQueries * QueryBytes(layout)));
      for (int64_t q = 0; q < kQueries; ++q) {
        table_->pack_query(layout, queries.data() + q * dims, 2, packed.data() + q * QueryBytes(layout));
      }
      std::vector<float> out(static_cast<size_t>(kQueries * kKvBlock), -99.0f);
      table_->products(layout, part.data(), layout.head_bytes(), kKeys, packed.data(), kQueries, out.data());
      for (int64_t q = 0; q < kQueries; ++q) {
        for (int64_t t = 0; t < kKeys; ++t) {
          double sum = 0, magnitude = 0;
          for (int64_t k = 0; k < dims; ++k) {
            const double p =
                2.0 * queries[static_cast<size_t>(q * dims + k)] * keys[static_cast<size_t>(t * dims + k)];
            sum += p;
            magnitude += std::fabs(p);
          }
          // Keys are within 1, queries (times 2) within 2; both are rounded.
          const Roundings r = RoundingsOf(table_->name, layout, queries.data() + q * dims);
          const double rounding = type == KvType::kF32
                                      ? 0
                                      : 2.01 * static_cast<double>(dims) * (0.5 * r.query_unit[0] + kHalfQ16);
          ASSERT_NEAR(out[static_cast<size_t>(q * kKvBlock + t)], sum,
                      rounding + static_cast<double>(dims + 4) * kUnit * magnitude)
              << Name(type) << " " << dims;
        }
        EXPECT_EQ(out[static_cast<size_t>(q * kKvBlock + kKeys)], -99.0f);
      }
    }
  }
}

// Sums of 16-bit products are near 2^31 where all dims and all tokens have the largest magnitude.
TEST_P(AttentionTest, SumsOfLargestNumbersDoNotOverflow) {
  ThreadPool pool(1);
  Compute compute = MakeCompute(pool);
  for (const Shape& shape : kShapes) {
    for (const KvType type : kTypes) {
      Problem p(shape, type, 128, 1, 5);
      std::ranges::fill(p.keys, -1.0f);
      std::ranges::fill(p.values, 1.0f);
      std::ranges::fill(p.queries, 3.0f);
      p.Store(compute, 0, 128);
      const AttentionRows all = p.Rows(0, 1);
      const std::vector<float> out = p.Run(compute, {&all, 1});
      // Shared values are the keys. What a sink takes of the weight.
      const double score = -3 * std::sqrt(static_cast<double>(shape.key_dim));
      const double tokens = static_cast<double>(shape.window > 0 ? shape.window : 128) * std::exp(score);
      const double sink = shape.sinks ? std::exp(p.sinks[0]) : 0;
      ASSERT_NEAR(out[0], (shape.shared ? -1 : 1) * tokens / (tokens + sink),
                  0.005 * tokens / (tokens + sink))
          << shape.name << " " << Name(type);
    }
  }
}

// Numbers whose reciprocals are infinite count as zeros.
TEST_P(AttentionTest, TinyNumbersAreZeros) {
  ThreadPool pool(1);
  Compute compute = MakeCompute(pool);
  for (const KvType type : kTypes) {
    Problem p(kShapes[3], type, 40, 1, 5);
    for (std::vector<float>* numbers : {&p.keys, &p.values, &p.queries}) {
      for (float& x : *numbers) x *= 0x1p-130f;
    }
    p.Store(compute, 0, 40);
    const AttentionRows all = p.Rows(0, 1);
    for (const float x : p.Run(compute, {&all, 1})) ASSERT_LE(std::fabs(x), 0x1p-128f) << Name(type);
  }
}

TEST_P(AttentionTest, NanIsNotHidden) {
  ThreadPool pool(1);
  Compute compute = MakeCompute(pool);
  for (const KvType type : kTypes) {
    Problem p(kShapes[3], type, 40, 1, 5);
    p.queries[7] = std::nanf("");
    p.Store(compute, 0, 40);
    const AttentionRows all = p.Rows(0, 1);
    EXPECT_TRUE(std::isnan(p.Run(compute, {&all, 1})[3])) << Name(type);
    for (const float poison : {std::nanf(""), INFINITY}) {
      if (type == KvType::kF32 && std::isinf(poison)) continue;  // a weight of 1, and a finite result
      Problem stored(kShapes[3], type, 40, 1, 5);
      stored.keys[7] = poison;
      stored.Store(compute, 0, 40);
      const AttentionRows rows = stored.Rows(0, 1);
      EXPECT_TRUE(std::isnan(stored.Run(compute, {&rows, 1})[3])) << Name(type) << " " << poison;
    }
  }
}

// What storing loses, against the numbers themselves.
TEST(KvLayout, StoresWithinHalfAStep) {
  for (const Shape& shape : kShapes) {
    for (const KvType type : kTypes) {
      ThreadPool pool(1);
      Compute compute(BestKernels(), pool);
      Problem p(shape, type, 35, 1, 6);
      // The largest magnitude is at most 1.
      const double step = type == KvType::kF32   ? 0
                          : type == KvType::kQ16 ? kHalfQ16 + 4 * kUnit
                                                 : kHalfQ8 + 4 * kUnit;
      p.Store(compute, 0, 35);
      for (int64_t t = 0; t < 35; ++t) {
        for (int64_t h = 0; h < shape.kv_heads; ++h) {
          const std::vector<float> key = StoredKey(p, t, h);
          for (int64_t k = 0; k < shape.key_dim; ++k) {
            const float x = p.keys[static_cast<size_t>((t * shape.kv_heads + h) * shape.key_dim + k)];
            ASSERT_NEAR(key[static_cast<size_t>(k)], x, step) << shape.name << " " << Name(type);
          }
          if (shape.shared) continue;
          const std::vector<float> value = StoredValue(p, t, h);
          for (int64_t c = 0; c < shape.value_dim; ++c) {
            const float x = p.values[static_cast<size_t>((t * shape.kv_heads + h) * shape.value_dim + c)];
            ASSERT_NEAR(value[static_cast<size_t>(c)], x, step) << shape.name << " " << Name(type);
          }
        }
      }
    }
  }
}

TEST(AttentionTables, Names) {
  EXPECT_EQ(AvailableAttention().front(), &ReferenceAttention());
  EXPECT_EQ(&AttentionFor(ReferenceKernels()), &ReferenceAttention());
  EXPECT_EQ(&AttentionFor(BestKernels()), AvailableAttention().back());
  for (const Kernels* kernels : AvailableKernels()) {
    if (kernels != &BestKernels()) {
      EXPECT_EQ(AttentionFor(*kernels).name, kernels->name);
    }
  }
  EXPECT_NE(AttentionByName("sse9").message().find("\"sse9\""), std::string::npos);
  EXPECT_EQ(*KvTypeByName("q8"), KvType::kQ8);
  EXPECT_EQ(KvTypeByName("q9").message(), "kv_type: expected f32, q16 or q8, found \"q9\"");
}

}  // namespace
}  // namespace deepshock

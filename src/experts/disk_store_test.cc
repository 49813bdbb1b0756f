// SPDX-License-Identifier: Apache-2.0
#include "experts/disk_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <set>

#include "base/file_test_dir.h"

namespace deepshock {
namespace {

constexpr int64_t kRecord = 9000;  // three blocks
constexpr int64_t kSlot = 12288;
constexpr int kExperts = 16;  // a layer

// Reads end when the test, or a Wait, says so; what is read tells where it came from.
class FakeReader final : public FileReader {
 public:
  void Start(const FileRead& read) override { (read.urgent ? urgent : patient).push_back(read); }
  void Hurry(uint64_t tag) override {
    for (size_t i = 0; i < patient.size(); ++i) {
      if (patient[i].tag != tag) continue;
      urgent.push_back(patient[i]);
      patient.erase(patient.begin() + static_cast<std::ptrdiff_t>(i));
      return;
    }
  }
  FileReadResult Wait() override {
    ++num_waits;
    if (done.empty()) End();
    FileReadResult result = done.front();
    done.pop_front();
    return result;
  }
  std::optional<FileReadResult> Poll() override {
    if (done.empty()) return std::nullopt;
    FileReadResult result = done.front();
    done.pop_front();
    return result;
  }
  const std::string& description() const override { return name; }

  // The last urgent read ends first: completion is not in the order of starting.
  void End() {
    std::deque<FileRead>& queue = urgent.empty() ? patient : urgent;
    ASSERT_FALSE(queue.empty()) << "waits for nothing";
    const FileRead read = queue.back();
    queue.pop_back();
    ++reads[read.offset];
    if (failing.contains(read.offset)) {
      done.push_back({read.tag, Fail("the disk is on fire at {}", read.offset)});
      return;
    }
    std::memset(read.to, static_cast<int>(read.offset / kSlot % 251), static_cast<size_t>(read.bytes));
    done.push_back({read.tag, {}});
  }
  size_t num_started() const { return urgent.size() + patient.size(); }

  std::deque<FileRead> urgent, patient;
  std::deque<FileReadResult> done;
  std::set<int64_t> failing;     // offsets
  std::map<int64_t, int> reads;  // by offset
  int num_waits = 0;
  std::string name = "fake";
};

std::vector<ExpertUse> Uses(const std::vector<int32_t>& experts) {
  std::vector<ExpertUse> uses;
  for (const int32_t e : experts) uses.push_back({e, 1});
  return uses;
}

int64_t OffsetOf(ExpertId id) { return (id.layer * kExperts + id.expert) * kSlot; }

class DiskStoreTest : public testing::Test {
 protected:
  void Make(int64_t memory_bytes, int64_t min_slots = 2) {
    std::vector<StoredExpert> experts;
    for (int32_t layer = 0; layer < 3; ++layer) {
      for (int32_t e = 0; e < kExperts; ++e) {
        StoredExpert expert;
        expert.id = {layer, e};
        expert.offset = OffsetOf(expert.id);
        expert.bytes = kRecord;
        expert.up = 64;
        expert.down = 8192;
        experts.push_back(expert);
      }
    }
    auto reader = std::make_unique<FakeReader>();
    reader_ = reader.get();
    auto store =
        DiskStore::Create(2, std::move(experts), std::move(reader), {memory_bytes, min_slots, "lru"});
    ASSERT_TRUE(store.ok()) << store.message();
    store_ = std::move(*store);
  }
  // One turn; checks that each expert comes once with its own bytes. What came in each call.
  std::vector<std::vector<int32_t>> Use(int layer, std::vector<int32_t> experts, Status* status = nullptr) {
    std::vector<std::vector<int32_t>> calls;
    std::multiset<int32_t> seen;
    const Status used = store_->Use(layer, 4, Uses(experts), [&](std::span<const LeasedExpert> leased) {
      calls.emplace_back();
      for (const LeasedExpert& lease : leased) {
        calls.back().push_back(lease.expert);
        seen.insert(lease.expert);
        const auto wanted = static_cast<std::byte>(OffsetOf({layer, lease.expert}) / kSlot % 251);
        EXPECT_EQ(lease.weights->gate.data[0], wanted);
        EXPECT_EQ(lease.weights->up.data, lease.weights->gate.data + 64);
        EXPECT_EQ(lease.weights->down.data[kRecord - 8192 - 1], wanted);
      }
    });
    if (status != nullptr) {
      *status = used;
    } else {
      EXPECT_TRUE(used.ok()) << used.message();
      EXPECT_EQ(seen, std::multiset<int32_t>(experts.begin(), experts.end()));
    }
    return calls;
  }

  std::unique_ptr<DiskStore> store_;
  FakeReader* reader_ = nullptr;
};

TEST_F(DiskStoreTest, ComputesWhatIsThereWhileTheRestIsRead) {
  Make(8 * kSlot);
  EXPECT_EQ(Use(0, {1, 2, 3}).front(), std::vector<int32_t>{});  // at once, with nothing
  EXPECT_EQ(store_->stats().misses, 3);
  size_t under_way = 99;
  const std::vector<int32_t> experts = {2, 3, 5, 7};
  std::vector<size_t> sizes;
  ASSERT_TRUE(store_
                  ->Use(0, 4, Uses(experts),
                        [&](std::span<const LeasedExpert> leased) {
                          if (sizes.empty()) under_way = reader_->num_started();
                          sizes.push_back(leased.size());
                        })
                  .ok());
  EXPECT_EQ(under_way, 2u) << "both missing ones were being read during the first call";
  EXPECT_EQ(sizes, (std::vector<size_t>{2, 1, 1}));
  const ExpertStoreStats stats = store_->stats();
  EXPECT_EQ(stats.hits, 2);
  EXPECT_EQ(stats.misses, 5);
  EXPECT_EQ(stats.loads, 5);
  EXPECT_EQ(stats.bytes_read, 5 * kRecord);
  EXPECT_EQ(stats.num_resident, 5);
  EXPECT_EQ(stats.resident_bytes, 5 * kRecord);
  EXPECT_EQ(stats.evictions, 0);
}

TEST_F(DiskStoreTest, WhenAllFitNothingIsReadTwice) {
  Make(3 * kExperts * kSlot + 5000);
  std::vector<int32_t> all;
  for (int32_t e = 0; e < kExperts; ++e) all.push_back(e);
  for (int round = 0; round < 3; ++round) {
    for (int layer = 0; layer < 3; ++layer) Use(layer, all);
  }
  EXPECT_EQ(store_->stats().loads, 3 * kExperts);
  EXPECT_EQ(store_->stats().evictions, 0);
  EXPECT_EQ(store_->stats().num_resident, store_->stats().num_experts);
}

TEST_F(DiskStoreTest, EvictsTheLeastRecentlyUsedAndNeverWhatTheLayerNeeds) {
  Make(4 * kSlot);
  Use(0, {0, 1});
  Use(1, {0, 1});
  Use(0, {0});  // now 0/1 is the oldest
  Use(1, {5});
  reader_->reads.clear();
  Use(0, {0});
  Use(1, {0, 1, 5});
  EXPECT_TRUE(reader_->reads.empty());
  Use(0, {1, 2, 3});  // evicts 0/0 first, but of layer 1 only what it must
  EXPECT_EQ(store_->stats().num_resident, 4);
}

TEST_F(DiskStoreTest, ALayerLargerThanMemoryGoesInWavesAndLoadsEachOnce) {
  for (const int64_t slots : {1, 2, 3, 5}) {
    Make(slots * kSlot, 1);
    Use(0, {3, 9});
    reader_->reads.clear();
    std::vector<int32_t> all;
    for (int32_t e = 0; e < kExperts; ++e) all.push_back(e);
    Use(0, all);
    // What was there is used before it goes.
    const auto resident = static_cast<size_t>(std::min<int64_t>(slots, 2));
    EXPECT_EQ(reader_->reads.size(), kExperts - resident) << slots;
    for (const auto& [offset, count] : reader_->reads) EXPECT_EQ(count, 1) << offset;
    EXPECT_EQ(store_->stats().num_resident, slots);
  }
}

TEST_F(DiskStoreTest, PrefetchIsAHintThatGivesWay) {
  Make(4 * kSlot);
  const std::vector<int32_t> hint = {4, 5};
  store_->Prefetch(1, hint);
  store_->Prefetch(1, hint);  // under way already
  EXPECT_EQ(reader_->patient.size(), 2u);
  Use(0, {0});  // before the hints
  EXPECT_EQ(reader_->patient.size(), 2u);
  EXPECT_EQ(Use(1, {5, 6}).size(), 3u);  // hurried
  const ExpertStoreStats stats = store_->stats();
  EXPECT_EQ(stats.prefetches, 2);
  EXPECT_EQ(stats.prefetch_hits, 1);
  EXPECT_EQ(stats.late_hits, 1);
  EXPECT_EQ(stats.hits, 1);
  // With all slots in use nothing is taken away from the layer.
  reader_->End();  // what was hinted at and not asked for
  const std::vector<int32_t> current = {0, 1, 2, 3}, other = {8, 9};
  Use(2, current);
  ASSERT_TRUE(
      store_->Use(2, 4, Uses(current), [&](std::span<const LeasedExpert>) { store_->Prefetch(0, other); })
          .ok());
  EXPECT_EQ(store_->stats().prefetches, 2);
  EXPECT_EQ(store_->stats().misses, 2 + 4);
}

TEST_F(DiskStoreTest, AFailedReadFailsThatTurnOnly) {
  Make(6 * kSlot);
  Use(0, {0, 1});
  reader_->failing = {OffsetOf({0, 3})};
  Status status;
  Use(0, {0, 2, 3, 4}, &status);
  EXPECT_NE(status.message().find("on fire"), std::string::npos);
  EXPECT_EQ(store_->stats().failed_loads, 1);
  Use(0, {0, 1, 2, 4});  // others work
  Use(0, {3}, &status);
  EXPECT_FALSE(status.ok());
  reader_->failing.clear();
  Use(0, {0, 1, 2, 3, 4});
  // All six slots are still there.
  Use(1, {0, 1, 2, 3, 4, 5});
  EXPECT_EQ(store_->stats().num_resident, 6);
  // A hint that fails is forgotten, and asked for again when it is needed.
  Make(6 * kSlot);
  reader_->failing = {OffsetOf({2, 7})};
  const std::vector<int32_t> hint = {7};
  store_->Prefetch(2, hint);
  reader_->End();
  reader_->failing.clear();
  Use(2, {7});
}

TEST_F(DiskStoreTest, StatesTakeSlotsAndGiveThemBack) {
  Make(10 * kSlot + 100, 2);
  Use(0, {0, 1, 2, 3});
  EXPECT_TRUE(store_->Take(100).ok());
  EXPECT_EQ(store_->stats().capacity, 10);
  EXPECT_TRUE(store_->Take(6 * kSlot).ok());  // slots that nobody has used yet go first
  EXPECT_EQ(store_->stats().num_resident, 4);
  EXPECT_EQ(store_->stats().capacity, 4);
  EXPECT_TRUE(store_->Take(1).ok());
  EXPECT_EQ(store_->stats().capacity, 3);
  EXPECT_EQ(store_->stats().num_resident, 3);
  const Status too_much = store_->Take(2 * kSlot);
  EXPECT_NE(too_much.message().find("for states beside the 2 experts"), std::string::npos);
  EXPECT_EQ(store_->stats().capacity, 3) << "nothing has changed";
  EXPECT_TRUE(store_->Take(kSlot - 1 + kSlot).ok());
  EXPECT_EQ(store_->stats().capacity, 2);
  Use(1, {0, 1, 2, 3, 4, 5});  // still works, in waves
  EXPECT_EQ(store_->stats().num_resident, 2);
  store_->Return(100 + 6 * kSlot + 1 + kSlot - 1 + kSlot);
  EXPECT_EQ(store_->stats().capacity, 10);
  reader_->reads.clear();
  Use(1, {0, 1, 2, 3, 4, 5});
  Use(0, {0, 1, 2, 3});
  Use(1, {0, 1, 2, 3, 4, 5});
  for (const auto& [offset, count] : reader_->reads) EXPECT_EQ(count, 1) << offset;
}

TEST_F(DiskStoreTest, TooLittleMemoryNamesTheLeast) {
  std::vector<StoredExpert> experts(4);
  for (int32_t e = 0; e < 4; ++e) {
    experts[static_cast<size_t>(e)].id = {0, e};
    experts[static_cast<size_t>(e)].bytes = kRecord;
  }
  const auto store = DiskStore::Create(2, experts, std::make_unique<FakeReader>(), {2 * kSlot - 1, 2, "lru"});
  EXPECT_NE(store.message().find("expected at least 24.0 KiB, 2 experts of 12.0 KiB"), std::string::npos)
      << store.message();
}

// The real reader under the store, with more wishes than slots: what is computed is what the file holds.
TEST(DiskStoreOnFiles, RandomTurnsBringTheRightBytes) {
  FileTestDir dir;
  std::string content(static_cast<size_t>(kExperts * kSlot), '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i / kSlot + 1);
  dir.Put("experts", content);
  for (const bool uring : {true, false}) {
    auto reader = FileReader::Open({{dir.File("experts"), static_cast<int64_t>(content.size())}},
                                   {4096, 3, uring, true});
    ASSERT_TRUE(reader.ok()) << reader.message();
    std::vector<StoredExpert> experts;
    for (int32_t e = 0; e < kExperts; ++e) {
      StoredExpert expert;
      expert.id = {0, e};
      expert.offset = e * kSlot;
      expert.bytes = kRecord;
      expert.down = kRecord - 1;
      experts.push_back(expert);
    }
    auto store = DiskStore::Create(2, experts, std::move(*reader), {5 * kSlot, 2, "lru"});
    ASSERT_TRUE(store.ok());
    uint32_t random = 1;
    for (int turn = 0; turn < 200; ++turn) {
      std::set<int32_t> wanted;
      for (int i = 0; i < turn % 9; ++i) {
        random = random * 1664525 + 1013904223;
        wanted.insert(static_cast<int32_t>(random >> 16) % kExperts);
      }
      const std::vector<int32_t> list(wanted.begin(), wanted.end());
      const std::vector<int32_t> hint = {static_cast<int32_t>(random >> 20) % kExperts};
      size_t count = 0;
      ASSERT_TRUE((*store)
                      ->Use(0, 4, Uses(list),
                            [&](std::span<const LeasedExpert> leased) {
                              for (const LeasedExpert& lease : leased) {
                                ++count;
                                const auto value = static_cast<std::byte>(lease.expert + 1);
                                EXPECT_EQ(lease.weights->gate.data[0], value);
                                EXPECT_EQ(lease.weights->down.data[0], value);
                              }
                              (*store)->Prefetch(0, hint);
                            })
                      .ok());
      EXPECT_EQ(count, list.size());
    }
    EXPECT_GT((*store)->stats().evictions, 100);
  }
}

}  // namespace
}  // namespace deepshock

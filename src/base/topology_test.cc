// SPDX-License-Identifier: Apache-2.0
#include "base/topology.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <thread>

#include "base/thread_pool.h"

namespace deepshock {
namespace {

TEST(Topology, FindsCoresThatThisProcessMayUse) {
  const Topology found = FindTopology();
  ASSERT_GE(found.num_cores(), 1);
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  EXPECT_LE(found.num_cores(), CPU_COUNT(&allowed));
  for (const std::vector<int>& node : found.nodes) {
    EXPECT_FALSE(node.empty());
    for (const int cpu : node) EXPECT_TRUE(CPU_ISSET(cpu, &allowed)) << cpu;
  }
  EXPECT_EQ(DefaultNumThreads(), found.num_cores());
}

TEST(Topology, AThreadBoundToOneCpuSeesOneCore) {
  std::thread([] {
    const int cpu = FindTopology().nodes[0][0];
    PinThread(cpu);
    EXPECT_EQ(sched_getcpu(), cpu);
  }).join();
}

TEST(Topology, CountsCoresNotHyperThreads) {
  const Topology two = SyntheticTopology("node:2 core:4 pu:2");
  if (two.nodes.empty()) GTEST_SKIP() << "built without hwloc";
  ASSERT_EQ(two.nodes.size(), 2u);
  EXPECT_EQ(two.nodes[0], (std::vector<int>{0, 2, 4, 6}));
  EXPECT_EQ(two.nodes[1], (std::vector<int>{8, 10, 12, 14}));
  EXPECT_EQ(two.num_cores(), 8);
  EXPECT_TRUE(SyntheticTopology("nonsense").nodes.empty());
}

TEST(Topology, ThreadsGoEquallyToTheNodes) {
  const Topology two{{{0, 1, 2, 3}, {4, 5, 6, 7}}};
  EXPECT_EQ(PlaceThreads(two, 4), (std::vector<int>{0, 1, 4, 5}));
  EXPECT_EQ(PlaceThreads(two, 3), (std::vector<int>{0, 1, 4}));
  EXPECT_EQ(PlaceThreads(two, 8), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_TRUE(PlaceThreads(two, 9).empty());
  EXPECT_EQ(PlaceThreads({{{0}, {4, 5, 6, 7}}}, 4), (std::vector<int>{0, 4, 5, 6}));
  EXPECT_TRUE(PlaceThreads({{{0, 1, 2, 3}}}, 2).empty()) << "one node: the system places threads";
}

TEST(Topology, APinnedPoolRunsOnItsCpus) {
  const int cpu = FindTopology().nodes[0].back();
  ThreadPool pool(2, {cpu, cpu});
  std::atomic<int> elsewhere{0}, ran{0};
  pool.ParallelFor(1000, 1, [&](int64_t, int64_t, int thread) {
    if (thread != 1) return;
    ++ran;
    if (sched_getcpu() != cpu) ++elsewhere;
  });
  EXPECT_EQ(elsewhere, 0);
}

}  // namespace
}  // namespace deepshock

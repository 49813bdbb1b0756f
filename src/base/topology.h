// SPDX-License-Identifier: Apache-2.0
// The machine's processors and memory nodes, as far as this process may use them, through hwloc. Asked for
// when a program starts; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace deepshock {

struct Topology {
  // One CPU number for each physical core that may be used, by memory node; nodes without such a core are
  // left out. Hyper-threads beyond a core's first are not listed.
  std::vector<std::vector<int>> nodes;

  int num_cores() const;
};

// Never empty: where the system tells nothing, one node with CPU 0.
Topology FindTopology();
// Of a machine described in hwloc's synthetic form, "node:2 core:4 pu:2", for tests. Empty when it is not
// valid.
Topology SyntheticTopology(const std::string& description);

// The CPU for each of `num_threads` threads: nodes get equal shares, neighbours share a node. Empty where
// there is one node only, or more threads than cores: then the system places threads better.
std::vector<int> PlaceThreads(const Topology& topology, int num_threads);

// Pins the calling thread to one CPU. A wish: the system may refuse.
void PinThread(int cpu);

// Spreads memory that is not in use yet over all nodes, page by page, so that all of them are read together.
// Does nothing on a machine of one node.
void SpreadOverNodes(void* memory, size_t bytes);

}  // namespace deepshock

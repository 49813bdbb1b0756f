// SPDX-License-Identifier: Apache-2.0
#include "base/topology.h"

#include <sched.h>

#if DEEPSHOCK_HWLOC
#include <hwloc.h>
#endif

namespace deepshock {
namespace {

#if DEEPSHOCK_HWLOC

// An hwloc topology, loaded; null where that failed.
class Loaded {
 public:
  explicit Loaded(const char* synthetic) {
    if (hwloc_topology_init(&topology_) != 0) return;
    // Packages and groups stay where they carry memory nodes; caches and devices, which take time to find, do
    // not.
    hwloc_topology_set_all_types_filter(topology_, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
    hwloc_topology_set_cache_types_filter(topology_, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_io_types_filter(topology_, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(topology_, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    valid_ = (synthetic == nullptr || hwloc_topology_set_synthetic(topology_, synthetic) == 0) &&
             hwloc_topology_load(topology_) == 0;
  }
  ~Loaded() {
    if (topology_ != nullptr) hwloc_topology_destroy(topology_);
  }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  hwloc_topology_t get() const { return valid_ ? topology_ : nullptr; }

 private:
  hwloc_topology_t topology_ = nullptr;
  bool valid_ = false;
};

Topology Read(hwloc_topology_t topology, bool restrict_to_process) {
  Topology found;
  if (topology == nullptr) return found;
  hwloc_bitmap_t allowed = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology));
  hwloc_bitmap_t bound = hwloc_bitmap_alloc();
  if (restrict_to_process && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0) {
    hwloc_bitmap_and(allowed, allowed, bound);
  }
  const int num_nodes = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
  for (int n = 0; n < num_nodes; ++n) {
    const hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, static_cast<unsigned>(n));
    std::vector<int> cpus;
    const int num_cores = hwloc_get_nbobjs_inside_cpuset_by_type(topology, node->cpuset, HWLOC_OBJ_CORE);
    for (int c = 0; c < num_cores; ++c) {
      const hwloc_obj_t core = hwloc_get_obj_inside_cpuset_by_type(topology, node->cpuset, HWLOC_OBJ_CORE,
                                                                   static_cast<unsigned>(c));
      hwloc_bitmap_t usable = hwloc_bitmap_dup(core->cpuset);
      hwloc_bitmap_and(usable, usable, allowed);
      const int cpu = hwloc_bitmap_first(usable);
      if (cpu >= 0) cpus.push_back(cpu);
      hwloc_bitmap_free(usable);
    }
    if (!cpus.empty()) found.nodes.push_back(std::move(cpus));
  }
  hwloc_bitmap_free(bound);
  hwloc_bitmap_free(allowed);
  return found;
}

#endif

// Without hwloc, or where it finds nothing: every CPU that the process may use is a core of one node.
Topology AllowedCpus() {
  Topology found;
  found.nodes.emplace_back();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) found.nodes[0].push_back(cpu);
    }
  }
  if (found.nodes[0].empty()) found.nodes[0].push_back(0);
  return found;
}

}  // namespace

int Topology::num_cores() const {
  size_t cores = 0;
  for (const std::vector<int>& node : nodes) cores += node.size();
  return static_cast<int>(cores);
}

Topology FindTopology() {
#if DEEPSHOCK_HWLOC
  Topology found = Read(Loaded(nullptr).get(), true);
  if (!found.nodes.empty()) return found;
#endif
  return AllowedCpus();
}

Topology SyntheticTopology(const std::string& description) {
#if DEEPSHOCK_HWLOC
  return Read(Loaded(description.c_str()).get(), false);
#else
  (void)description;
  return {};
#endif
}

std::vector<int> PlaceThreads(const Topology& topology, int num_threads) {
  const auto num_nodes = static_cast<int>(topology.nodes.size());
  if (num_nodes < 2 || num_threads > topology.num_cores()) return {};
  // Nodes may have unlike numbers of cores: what one cannot take goes to the next.
  std::vector<int> shares(topology.nodes.size(), 0);
  for (int left = num_threads; left > 0;) {
    for (size_t n = 0; n < shares.size() && left > 0; ++n) {
      if (shares[n] == static_cast<int>(topology.nodes[n].size())) continue;
      ++shares[n];
      --left;
    }
  }
  std::vector<int> cpus;
  for (size_t n = 0; n < shares.size(); ++n) {
    cpus.insert(cpus.end(), topology.nodes[n].begin(), topology.nodes[n].begin() + shares[n]);
  }
  return cpus;
}

void PinThread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

void SpreadOverNodes(void* memory, size_t bytes) {
#if DEEPSHOCK_HWLOC
  const Loaded loaded(nullptr);
  if (loaded.get() == nullptr || hwloc_get_nbobjs_by_type(loaded.get(), HWLOC_OBJ_NUMANODE) < 2) return;
  hwloc_set_area_membind(loaded.get(), memory, bytes, hwloc_topology_get_allowed_nodeset(loaded.get()),
                         HWLOC_MEMBIND_INTERLEAVE, HWLOC_MEMBIND_BYNODESET);
#else
  (void)memory, (void)bytes;
#endif
}

}  // namespace deepshock

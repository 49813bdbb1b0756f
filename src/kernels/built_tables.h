// SPDX-License-Identifier: Apache-2.0
// The tables of one kind that this program has, and whether this CPU runs them: what kernels.cc and
// attention.cc share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace deepshock {

template <typename Table>
struct BuiltTable {
  const Table* table;
  bool runs_here;
};

template <typename Table>
std::vector<const Table*> TablesThatRun(const std::vector<BuiltTable<Table>>& built) {
  std::vector<const Table*> available;
  for (const BuiltTable<Table>& b : built) {
    if (b.runs_here) available.push_back(b.table);
  }
  return available;
}

// `kind` is how errors call such tables: "kernels".
template <typename Table>
Result<const Table*> TableByName(const std::vector<BuiltTable<Table>>& built, std::string_view kind,
                                 std::string_view name) {
  std::string names;
  for (const BuiltTable<Table>& b : built) {
    if (b.table->name == name) {
      if (b.runs_here) return b.table;
      return Fail("{} \"{}\": this CPU lacks the instruction set", kind, name);
    }
    names += names.empty() ? "" : ", ";
    names += b.table->name;
  }
  return Fail("{}: expected one of {}, found \"{}\"", kind, names, name);
}

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
// The `loop` variable. Fetches elements through the loop's filter, looking ahead only when asked what comes.
// Owned by the running loop, or by the engine where the template says `loop`, since it may then be stored.
#pragma once

#include <deque>

#include "text/jinja_engine.h"

namespace deepshock::jinja {

class LoopObject : public Object {
 public:
  LoopObject(Engine* engine, const Stmt& statement, Scope* outer, std::vector<Value> items, int depth)
      : engine_(engine), statement_(statement), outer_(outer), items_(std::move(items)), depth_(depth) {}

  // The next element that the filter lets through.
  Result<std::optional<Value>> Next();
  // Lets go of the elements.
  void End();

  std::string Describe() const override { return "<LoopContext>"; }
  bool callable() const override { return true; }
  Result<Value> Call(Engine& engine, const Arguments& arguments) override;
  Result<std::optional<Value>> Attribute(Engine& engine, std::string_view name) override;
  // loop.changed(...): whether the arguments differ from the last call's.
  Result<Value> Changed(const Arguments& arguments);
  Result<Value> Cycle(const Arguments& arguments) const;

 private:
  Result<bool> LookAhead();  // whether an element follows
  Result<int64_t> CountAll();
  Result<std::optional<Value>> Fetch();

  Engine* engine_;
  const Stmt& statement_;
  Scope* outer_;
  std::vector<Value> items_;
  size_t fetched_ = 0;       // of items_
  std::deque<Value> ahead_;  // fetched, not yet handed out
  int64_t index0_ = -1;
  int depth_;
  Value previous_, current_;
  std::optional<Value> last_changed_;
};

}  // namespace deepshock::jinja

// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_loop.h"

#include "text/jinja_operators.h"

namespace deepshock::jinja {
namespace {

class LoopMethod : public Object {
 public:
  LoopMethod(Value loop, bool cycle) : loop_(std::move(loop)), cycle_(cycle) {}
  std::string Describe() const override { return "<bound method of LoopContext>"; }
  bool callable() const override { return true; }
  Result<Value> Call(Engine&, const Arguments& arguments) override {
    auto& loop = static_cast<LoopObject&>(loop_.object());
    return cycle_ ? loop.Cycle(arguments) : loop.Changed(arguments);
  }

 private:
  Value loop_;
  bool cycle_;
};

}  // namespace

Result<std::optional<Value>> LoopObject::Fetch() {
  const ExprPtr& filter = statement_.expressions[1];
  while (fetched_ < items_.size()) {
    Value item = std::move(items_[fetched_++]);
    if (filter == nullptr) return std::optional(std::move(item));
    Scope* current = engine_->scope_;
    engine_->scope_ = engine_->Push(outer_);
    Status status = engine_->Assign(statement_.target, item);
    Result<Value> keep = status.ok() ? engine_->Eval(*filter) : Result<Value>(status);
    engine_->Pop(engine_->scope_);
    engine_->scope_ = current;
    if (!keep.ok()) return keep.status();
    if (Truth(*keep)) return std::optional(std::move(item));
  }
  return std::optional<Value>();
}

Result<std::optional<Value>> LoopObject::Next() {
  DS_ASSIGN(const bool more, LookAhead());
  if (!more) return std::optional<Value>();
  previous_ = std::move(current_);
  current_ = std::move(ahead_.front());
  ahead_.pop_front();
  ++index0_;
  return std::optional(current_);
}

void LoopObject::End() {
  items_.clear();
  ahead_.clear();
  previous_ = Value();
  current_ = Value();
  last_changed_.reset();
}

Result<bool> LoopObject::LookAhead() {
  if (!ahead_.empty()) return true;
  DS_ASSIGN(auto item, Fetch());
  if (!item) return false;
  ahead_.push_back(std::move(*item));
  return true;
}

Result<int64_t> LoopObject::CountAll() {
  while (true) {
    DS_ASSIGN(auto item, Fetch());
    if (!item) return index0_ + 1 + static_cast<int64_t>(ahead_.size());
    ahead_.push_back(std::move(*item));
  }
}

Result<Value> LoopObject::Call(Engine& engine, const Arguments& arguments) {
  if (!statement_.recursive) return Fail("the loop must have the 'recursive' marker to be called");
  if (arguments.positional.size() != 1 || !arguments.named.empty()) return Fail("loop() takes one argument");
  std::string text;
  std::string* outer = engine.output_;
  engine.output_ = &text;
  engine.level_ += 4;
  Scope* scope = engine.scope_;
  engine.scope_ = outer_;
  const Status status = engine.RunFor(statement_, arguments.positional[0], depth_ + 1);
  engine.scope_ = scope;
  engine.level_ -= 4;
  engine.output_ = outer;
  DS_RETURN_IF_ERROR(status);
  return Value::String(std::move(text));
}

Result<Value> LoopObject::Cycle(const Arguments& arguments) const {
  if (arguments.positional.empty()) return Fail("no items for cycling given");
  return arguments.positional[static_cast<size_t>(index0_) % arguments.positional.size()];
}

Result<Value> LoopObject::Changed(const Arguments& arguments) {
  DS_ASSIGN(Value now, Value::Tuple(arguments.positional, engine_->budget()));
  if (last_changed_ && Equal(*last_changed_, now, engine_->budget())) return Value::Bool(false);
  last_changed_ = std::move(now);
  return Value::Bool(true);
}

Result<std::optional<Value>> LoopObject::Attribute(Engine&, std::string_view name) {
  using Found = std::optional<Value>;
  if (name == "index") return Found(Value::Int(index0_ + 1));
  if (name == "index0") return Found(Value::Int(index0_));
  if (name == "first") return Found(Value::Bool(index0_ == 0));
  if (name == "depth") return Found(Value::Int(depth_));
  if (name == "depth0") return Found(Value::Int(depth_ - 1));
  if (name == "last" || name == "nextitem") {
    DS_ASSIGN(const bool more, LookAhead());
    if (name == "last") return Found(Value::Bool(!more));
    return Found(more ? ahead_.front() : Value::Undefined("there is no next item"));
  }
  if (name == "previtem")
    return Found(index0_ == 0 ? Value::Undefined("there is no previous item") : previous_);
  if (name == "length" || name == "revindex" || name == "revindex0") {
    DS_ASSIGN(const int64_t length, CountAll());
    return Found(Value::Int(name == "length" ? length : length - index0_ - (name == "revindex0" ? 1 : 0)));
  }
  if (name == "cycle" || name == "changed") {
    return Found(Value::Of(std::make_shared<LoopMethod>(Value::Borrow(this), name == "cycle")));
  }
  return Found();
}

}  // namespace deepshock::jinja

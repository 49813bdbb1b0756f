// SPDX-License-Identifier: Apache-2.0
// Methods of dictionaries, lists and tuples; those of texts are in jinja_methods_text.cc.
#include <algorithm>
#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"

namespace deepshock::jinja {
namespace {

class BoundMethod : public Object {
 public:
  BoundMethod(Value self, std::string_view name, FilterFunction method)
      : self_(std::move(self)), name_(name), method_(method) {}
  std::string Describe() const override { return "<built-in method " + name_ + ">"; }
  bool callable() const override { return true; }
  Result<Value> Call(Engine& engine, const Arguments& arguments) override {
    if (!engine.budget()->Spend(1)) return engine.budget()->status();
    return method_(engine, self_, arguments);
  }

 private:
  Value self_;
  std::string name_;
  FilterFunction method_;
};

Result<Value> View(Engine& engine, const char* kind, std::vector<Value> items) {
  Value::Sequence view;
  view.items = std::move(items);
  view.view = kind;
  return Value::Make(Kind::kView, std::move(view), engine.budget());
}

Result<Value> DictKeys(Engine& engine, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("keys", a, {}, 0).status());
  DS_ASSIGN(std::vector<Value> keys, Iterate(self, engine.budget()));
  return View(engine, "dict_keys", std::move(keys));
}

Result<Value> DictValues(Engine& engine, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("values", a, {}, 0).status());
  std::vector<Value> values;
  for (const Dict::Entry& entry : self.dict().entries()) values.push_back(entry.second);
  return View(engine, "dict_values", std::move(values));
}

Result<Value> DictItems(Engine& engine, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("items", a, {}, 0).status());
  std::vector<Value> pairs;
  for (const auto& [key, value] : self.dict().entries()) {
    DS_ASSIGN(Value pair, Value::Tuple({key, value}, engine.budget()));
    pairs.push_back(std::move(pair));
  }
  return View(engine, "dict_items", std::move(pairs));
}

Result<Value> DictGet(Engine& engine, const Value& self, const Arguments& a) {
  if (!a.named.empty()) return Fail("get() takes no keyword arguments");
  DS_ASSIGN(const auto b, Bind("get", a, {"key", "default"}, 1));
  DS_RETURN_IF_ERROR(Hash(*b[0]).status());
  const Value* found = self.dict().Find(*b[0], engine.budget());
  return found != nullptr ? *found : b[1] != nullptr ? *b[1] : Value::None();
}

Result<Value> Copy(Engine&, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("copy", a, {}, 0).status());
  return self;  // values never change
}

Result<Value> SequenceCount(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("count", a, {"value"}, 1));
  if (!engine.budget()->Spend(self.items().size())) return engine.budget()->status();
  int64_t count = 0;
  for (const Value& item : self.items()) count += Equal(item, *b[0], engine.budget()) ? 1 : 0;
  return Value::Int(count);
}

Result<Value> SequenceIndex(Engine& engine, const Value& self, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("index", a, {"value", "start", "stop"}, 1));
  const auto size = static_cast<int64_t>(self.items().size());
  if (!engine.budget()->Spend(self.items().size())) return engine.budget()->status();
  DS_ASSIGN(int64_t start, IntegerOr(b[1], 0, "index"));
  DS_ASSIGN(int64_t stop, IntegerOr(b[2], size, "index"));
  start = std::clamp<int64_t>(start < 0 ? std::max<int64_t>(start, -size) + size : start, 0, size);
  stop = std::clamp<int64_t>(stop < 0 ? std::max<int64_t>(stop, -size) + size : stop, 0, size);
  for (int64_t i = start; i < stop; ++i) {
    if (Equal(self.items()[static_cast<size_t>(i)], *b[0], engine.budget())) return Value::Int(i);
  }
  return Fail("index(): the value is not in the sequence");
}

// fromkeys(iterable, value=None)
Result<Value> FromKeys(Engine& engine, const Value&, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("fromkeys", a, {"iterable", "value"}, 1));
  DS_ASSIGN(std::vector<Value> keys, Iterate(*b[0], engine.budget()));
  Dict dict;
  for (Value& key : keys) {
    DS_RETURN_IF_ERROR(Hash(key).status());
    dict.Set(std::move(key), b[1] != nullptr ? *b[1] : Value::None(), engine.budget());
  }
  return Value::FromDict(std::move(dict), engine.budget());
}

Result<Value> IsInteger(Engine&, const Value& self, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("is_integer", a, {}, 0).status());
  const double real = self.real();
  return Value::Bool(std::isfinite(real) && std::floor(real) == real);
}

FilterFunction FindDictMethod(std::string_view name) {
  if (name == "get") return DictGet;
  if (name == "items") return DictItems;
  if (name == "keys") return DictKeys;
  if (name == "values") return DictValues;
  if (name == "copy") return Copy;
  return name == "fromkeys" ? FromKeys : nullptr;
}

FilterFunction FindSequenceMethod(std::string_view name, bool list) {
  if (name == "count") return SequenceCount;
  if (name == "index") return SequenceIndex;
  return name == "copy" && list ? Copy : nullptr;
}

}  // namespace

std::optional<Value> FindMethod(const Value& self, std::string_view name) {
  FilterFunction method = nullptr;
  switch (self.kind()) {
    case Kind::kString: method = FindTextMethod(name); break;
    case Kind::kDict: method = FindDictMethod(name); break;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange: method = FindSequenceMethod(name, self.Is(Kind::kList)); break;
    case Kind::kFloat: method = name == "is_integer" ? IsInteger : nullptr; break;
    default: break;
  }
  if (method == nullptr) return std::nullopt;
  return Value::Of(std::make_shared<BoundMethod>(self, name, method));
}

}  // namespace deepshock::jinja

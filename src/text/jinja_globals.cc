// SPDX-License-Identifier: Apache-2.0
// Global functions, and what the filters and methods share: binding arguments, attribute paths, sorting.
#include <algorithm>
#include <array>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

using GlobalFunction = Result<Value> (*)(Engine& engine, const Arguments& arguments);

class Function : public Object {
 public:
  Function(std::string_view name, GlobalFunction function) : name_(name), function_(function) {}
  std::string Describe() const override { return "<function " + name_ + ">"; }
  bool callable() const override { return true; }
  Result<Value> Call(Engine& engine, const Arguments& arguments) override {
    return function_(engine, arguments);
  }

 private:
  std::string name_;
  GlobalFunction function_;
};

// The sandbox's own limit on range().
constexpr int64_t kMaxRange = 100000;

Result<Value> Range(Engine& engine, const Arguments& arguments) {
  if (!arguments.named.empty()) return Fail("range() takes no keyword arguments");
  if (arguments.positional.empty() || arguments.positional.size() > 3)
    return Fail("range() takes 1 to 3 arguments");
  std::array<int64_t, 3> numbers = {0, 0, 1};
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    DS_ASSIGN(numbers[i], IntegerOr(&arguments.positional[i], 0, "range()"));
  }
  if (arguments.positional.size() == 1) std::swap(numbers[0], numbers[1]);
  Value::Sequence range;
  range.start = numbers[0];
  range.stop = numbers[1];
  range.step = numbers[2];
  if (range.step == 0) return Fail("range() step must not be zero");
  int64_t at = range.start;
  while (range.step > 0 ? at < range.stop : at > range.stop) {
    if (static_cast<int64_t>(range.items.size()) >= kMaxRange)
      return Fail("range() is longer than {}", kMaxRange);
    range.items.push_back(Value::Int(at));
    if (__builtin_add_overflow(at, range.step, &at)) break;
  }
  return Value::Make(Kind::kRange, std::move(range), engine.budget());
}

// dict(mapping or pairs, name=value, ...)
Result<Dict> MakeDict(Engine& engine, const Arguments& arguments) {
  if (arguments.positional.size() > 1) return Fail("dict() takes at most 1 positional argument");
  Dict dict;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.Is(Kind::kDict)) {
      if (!engine.budget()->Spend(source.dict().size())) return engine.budget()->status();
      dict = source.dict();
    } else {
      DS_ASSIGN(const std::vector<Value> pairs, Iterate(source, engine.budget()));
      for (const Value& pair : pairs) {
        DS_ASSIGN(std::vector<Value> parts, Iterate(pair, engine.budget()));
        if (parts.size() != 2) return Fail("dict(): expected pairs, found {} elements", parts.size());
        DS_RETURN_IF_ERROR(Hash(parts[0]).status());
        dict.Set(std::move(parts[0]), std::move(parts[1]), engine.budget());
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.Set(Value::String(name), value, engine.budget());
  return dict;
}

Result<Value> DictFunction(Engine& engine, const Arguments& arguments) {
  DS_ASSIGN(Dict dict, MakeDict(engine, arguments));
  return Value::FromDict(std::move(dict), engine.budget());
}

Result<Value> NamespaceFunction(Engine& engine, const Arguments& arguments) {
  DS_ASSIGN(Dict dict, MakeDict(engine, arguments));
  auto space = std::make_unique<Namespace>();
  *space->attributes() = std::move(dict);
  return engine.Keep(std::move(space));
}

class Cycler : public Object {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
  std::string Describe() const override { return "<Cycler>"; }
  Result<std::optional<Value>> Attribute(Engine& engine, std::string_view name) override;
  Value Next() {
    const Value now = items_[at_];
    at_ = (at_ + 1) % items_.size();
    return now;
  }
  void Reset() { at_ = 0; }

 private:
  std::vector<Value> items_;
  size_t at_ = 0;
};

class CyclerMethod : public Object {
 public:
  CyclerMethod(Cycler* cycler, bool next) : cycler_(cycler), next_(next) {}
  std::string Describe() const override { return "<bound method of Cycler>"; }
  bool callable() const override { return true; }
  Result<Value> Call(Engine&, const Arguments& arguments) override {
    if (!arguments.positional.empty() || !arguments.named.empty())
      return Fail("a cycler's methods take no arguments");
    if (next_) return cycler_->Next();
    cycler_->Reset();
    return Value::None();
  }

 private:
  Cycler* cycler_;
  bool next_;
};

Result<std::optional<Value>> Cycler::Attribute(Engine&, std::string_view name) {
  using Found = std::optional<Value>;
  if (name == "current") return Found(items_[at_]);
  if (name != "next" && name != "reset") return Found();
  return Found(Value::Of(std::make_shared<CyclerMethod>(this, name == "next")));
}

Result<Value> CyclerFunction(Engine& engine, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.named.empty())
    return Fail("cycler() takes at least one item");
  return engine.Keep(std::make_unique<Cycler>(arguments.positional));
}

// Nothing at the first call, the separator ever after.
class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}
  std::string Describe() const override { return "<Joiner>"; }
  bool callable() const override { return true; }
  Result<Value> Call(Engine&, const Arguments& arguments) override {
    if (!arguments.positional.empty() || !arguments.named.empty()) return Fail("a joiner takes no arguments");
    if (used_) return separator_;
    used_ = true;
    return Value::String("");
  }

 private:
  Value separator_;
  bool used_ = false;
};

Result<Value> JoinerFunction(Engine& engine, const Arguments& arguments) {
  DS_ASSIGN(const auto a, Bind("joiner", arguments, {"sep"}, 0));
  return engine.Keep(std::make_unique<Joiner>(a[0] != nullptr ? *a[0] : Value::String(", ")));
}

Result<Value> RaiseException(Engine& engine, const Arguments& arguments) {
  DS_ASSIGN(const auto a, Bind("raise_exception", arguments, {"message"}, 1));
  return Status::Error(engine.Str(*a[0]));
}

// Python fills in %f itself, and %z and %Z as nothing for a time without a zone; the rest is the C library's.
Result<Value> StrftimeNow(Engine& engine, const Arguments& arguments) {
  DS_ASSIGN(const auto a, Bind("strftime_now", arguments, {"format"}, 1));
  if (!a[0]->Is(Kind::kString)) return Fail("strftime_now: expected a format, found '{}'", TypeName(*a[0]));
  constexpr size_t kMaxFormat = 1000;
  const std::string& format = a[0]->text();
  if (format.size() > kMaxFormat)
    return Fail("strftime_now: expected a format of at most {} bytes", kMaxFormat);
  const std::tm now = engine.now();
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out.push_back(format[i]);
      continue;
    }
    const char letter = format[++i];
    if (letter == 'f') {
      out += "000000";
    } else if (letter != 'z' && letter != 'Z') {
      const bool modified =
          (letter == '-' || letter == 'E' || letter == 'O' || letter == '_' || letter == '^') &&
          i + 1 < format.size();
      std::string directive = {'%', letter};
      if (modified) directive.push_back(format[++i]);
      char buffer[256];
      out.append(buffer, std::strftime(buffer, sizeof(buffer), directive.c_str(), &now));
    }
  }
  return NewText(std::move(out), engine.budget());
}

struct GlobalEntry {
  std::string_view name;
  GlobalFunction function;
};

constexpr std::array<GlobalEntry, 7> kGlobals = {{
    {"range", Range},
    {"dict", DictFunction},
    {"namespace", NamespaceFunction},
    {"cycler", CyclerFunction},
    {"joiner", JoinerFunction},
    {"raise_exception", RaiseException},
    {"strftime_now", StrftimeNow},
}};

}  // namespace

Result<std::optional<Value>> Namespace::Attribute(Engine&, std::string_view name) {
  const Value* found = attributes_.Find(name);
  return found == nullptr ? std::optional<Value>() : std::optional<Value>(*found);
}

std::optional<Value> FindGlobal(std::string_view name) {
  for (const GlobalEntry& entry : kGlobals) {
    if (entry.name == name) return Value::Of(std::make_shared<Function>(entry.name, entry.function));
  }
  return std::nullopt;
}

Result<std::vector<const Value*>> Bind(std::string_view function, const Arguments& arguments,
                                       std::initializer_list<std::string_view> parameters, size_t required) {
  if (arguments.positional.size() > parameters.size()) {
    return Fail("{}: expected at most {} arguments, found {}", function, parameters.size(),
                arguments.positional.size());
  }
  std::vector<const Value*> out(parameters.size(), nullptr);
  for (size_t i = 0; i < arguments.positional.size(); ++i) out[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at =
        static_cast<size_t>(std::find(parameters.begin(), parameters.end(), name) - parameters.begin());
    if (at == parameters.size()) return Fail("{}: unknown argument '{}'", function, name);
    if (out[at] != nullptr) return Fail("{}: argument '{}' is given twice", function, name);
    out[at] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (out[i] == nullptr) return Fail("{}: argument '{}' is missing", function, *(parameters.begin() + i));
  }
  return out;
}

Result<int64_t> IntegerOr(const Value* argument, int64_t fallback, std::string_view name) {
  if (argument == nullptr) return fallback;
  if (argument->Is(Kind::kUndefined)) return UndefinedError(*argument);
  if (!argument->IsInteger()) return Fail("{}: expected an integer, found '{}'", name, TypeName(*argument));
  return argument->integer();
}

bool TruthOr(const Value* argument, bool fallback) {
  return argument == nullptr ? fallback : Truth(*argument);
}

Result<Value> AttributePath(Engine& engine, const Value& item, const Value& path, const Value* fallback) {
  Value at = item;
  const auto step = [&](const Value& key) -> Status {
    DS_ASSIGN(at, engine.Item(at, key));
    if (fallback != nullptr && !fallback->Is(Kind::kNone) && at.Is(Kind::kUndefined)) at = *fallback;
    return Status();
  };
  if (path.Is(Kind::kNone)) return at;
  if (!path.Is(Kind::kString)) {
    DS_RETURN_IF_ERROR(step(path));
    return at;
  }
  if (!engine.budget()->Spend(path.text().size())) return engine.budget()->status();
  for (const std::string_view part : SplitOn(path.text(), ".", -1, false)) {
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    const auto index = digits ? ParseInt(part, 10) : std::nullopt;
    DS_RETURN_IF_ERROR(step(index ? Value::Int(*index) : Value::String(std::string(part))));
  }
  return at;
}

Value IgnoreCase(const Value& value) {
  return value.Is(Kind::kString) ? Value::String(Lower(value.text())) : value;
}

Result<std::vector<Value>> SortByKey(Engine& engine, std::vector<Value> items, std::vector<Value> keys,
                                     bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  Status problem;
  const auto less = [&](size_t a, size_t b) {
    if (!problem.ok()) return false;
    const Result<bool> result = Compare(CompareOp::kLt, keys[a], keys[b], engine.budget());
    if (!result.ok()) problem = result.status();
    return result.ok() && *result;
  };
  // Equal elements keep their order, also in reverse.
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return reverse ? less(b, a) : less(a, b); });
  DS_RETURN_IF_ERROR(problem);
  std::vector<Value> out;
  out.reserve(items.size());
  for (const size_t i : order) out.push_back(std::move(items[i]));
  return out;
}

}  // namespace deepshock::jinja

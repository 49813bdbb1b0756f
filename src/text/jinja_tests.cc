// SPDX-License-Identifier: Apache-2.0
// Tests: what stands after `is`.
#include <algorithm>
#include <array>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

template <typename Predicate>
Result<bool> Without(std::string_view name, const Arguments& arguments, Predicate predicate) {
  DS_RETURN_IF_ERROR(Bind(name, arguments, {}, 0).status());
  return predicate();
}

Result<bool> Defined(Engine&, const Value& v, const Arguments& a) {
  return Without("defined", a, [&] { return !v.Is(Kind::kUndefined); });
}
Result<bool> Undefined(Engine&, const Value& v, const Arguments& a) {
  return Without("undefined", a, [&] { return v.Is(Kind::kUndefined); });
}
Result<bool> None(Engine&, const Value& v, const Arguments& a) {
  return Without("none", a, [&] { return v.Is(Kind::kNone); });
}
Result<bool> Boolean(Engine&, const Value& v, const Arguments& a) {
  return Without("boolean", a, [&] { return v.Is(Kind::kBool); });
}
Result<bool> True(Engine&, const Value& v, const Arguments& a) {
  return Without("true", a, [&] { return v.Is(Kind::kBool) && v.boolean(); });
}
Result<bool> False(Engine&, const Value& v, const Arguments& a) {
  return Without("false", a, [&] { return v.Is(Kind::kBool) && !v.boolean(); });
}
Result<bool> Integer(Engine&, const Value& v, const Arguments& a) {
  return Without("integer", a, [&] { return v.Is(Kind::kInt); });
}
Result<bool> Float(Engine&, const Value& v, const Arguments& a) {
  return Without("float", a, [&] { return v.Is(Kind::kFloat); });
}
Result<bool> Number(Engine&, const Value& v, const Arguments& a) {
  return Without("number", a, [&] { return v.IsNumber(); });
}
Result<bool> String(Engine&, const Value& v, const Arguments& a) {
  return Without("string", a, [&] { return v.Is(Kind::kString); });
}
Result<bool> Mapping(Engine&, const Value& v, const Arguments& a) {
  return Without("mapping", a, [&] { return v.Is(Kind::kDict); });
}
Result<bool> Iterable(Engine&, const Value& v, const Arguments& a) {
  return Without("iterable", a, [&] { return IsIterable(v); });
}
// Has a length and subscripts. An undefined value has both, even if the latter only fail.
Result<bool> SequenceTest(Engine&, const Value& v, const Arguments& a) {
  return Without("sequence", a, [&] { return HasLength(v) && !v.Is(Kind::kView); });
}
Result<bool> Callable(Engine&, const Value& v, const Arguments& a) {
  return Without("callable", a,
                 [&] { return v.Is(Kind::kUndefined) || (v.Is(Kind::kObject) && v.object().callable()); });
}
Result<bool> Escaped(Engine&, const Value& v, const Arguments& a) {
  return Without("escaped", a, [&] { return v.Is(Kind::kString) && v.markup(); });
}

Result<bool> HasCase(Engine& engine, const Value& v, const Arguments& a, bool upper) {
  DS_RETURN_IF_ERROR(Bind(upper ? "upper" : "lower", a, {}, 0).status());
  const std::string text = engine.Str(v);
  if (!engine.budget()->Spend(text.size() / 16)) return engine.budget()->status();
  bool cased = false;
  for (const uint32_t c : CodePoints(text)) {
    if (upper ? IsLower(c) : IsUpper(c)) return false;
    cased |= upper ? IsUpper(c) : IsLower(c);
  }
  return cased;
}
Result<bool> LowerTest(Engine& engine, const Value& v, const Arguments& a) {
  return HasCase(engine, v, a, false);
}
Result<bool> UpperTest(Engine& engine, const Value& v, const Arguments& a) {
  return HasCase(engine, v, a, true);
}

Result<bool> RemainderIs(Engine& engine, const Value& v, const Value& divisor, int64_t rest) {
  DS_ASSIGN(const Value remainder, Binary(BinaryOp::kMod, v, divisor, engine.budget()));
  return Equal(remainder, Value::Int(rest), engine.budget());
}
Result<bool> Even(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("even", a, {}, 0).status());
  return RemainderIs(engine, v, Value::Int(2), 0);
}
Result<bool> Odd(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("odd", a, {}, 0).status());
  return RemainderIs(engine, v, Value::Int(2), 1);
}
Result<bool> DivisibleBy(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("divisibleby", a, {"num"}, 1));
  return RemainderIs(engine, v, *b[0], 0);
}

template <CompareOp op>
Result<bool> Comparison(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("comparison", a, {"other"}, 1));
  return Compare(op, v, *b[0], engine.budget());
}

// Python's `is`: constants and small integers are one object each; other numbers and texts need not be.
Result<bool> SameAs(Engine&, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("sameas", a, {"other"}, 1));
  const Value& w = *b[0];
  if (v.kind() != w.kind()) return false;
  switch (v.kind()) {
    case Kind::kNone: return true;
    case Kind::kBool:
    case Kind::kInt: return v.integer() == w.integer();
    case Kind::kFloat: return v.real() == w.real();
    case Kind::kString: return v.text() == w.text();
    case Kind::kUndefined: return false;
    default: return v.identity() == w.identity();
  }
}

Result<bool> FilterTest(Engine&, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("filter", a, {}, 0).status());
  DS_RETURN_IF_ERROR(Hash(v).status());
  return v.Is(Kind::kString) && FindFilter(v.text()) != nullptr;
}
Result<bool> TestTest(Engine&, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("test", a, {}, 0).status());
  DS_RETURN_IF_ERROR(Hash(v).status());
  return v.Is(Kind::kString) && FindTest(v.text()) != nullptr;
}

struct Entry {
  std::string_view name;
  TestFunction function;
};

constexpr Entry kTests[] = {
    {"defined", Defined},
    {"undefined", Undefined},
    {"none", None},
    {"boolean", Boolean},
    {"true", True},
    {"false", False},
    {"integer", Integer},
    {"float", Float},
    {"number", Number},
    {"string", String},
    {"mapping", Mapping},
    {"iterable", Iterable},
    {"sequence", SequenceTest},
    {"callable", Callable},
    {"escaped", Escaped},
    {"lower", LowerTest},
    {"upper", UpperTest},
    {"even", Even},
    {"odd", Odd},
    {"divisibleby", DivisibleBy},
    {"sameas", SameAs},
    {"filter", FilterTest},
    {"test", TestTest},
    {"==", Comparison<CompareOp::kEq>},
    {"eq", Comparison<CompareOp::kEq>},
    {"equalto", Comparison<CompareOp::kEq>},
    {"!=", Comparison<CompareOp::kNe>},
    {"ne", Comparison<CompareOp::kNe>},
    {">", Comparison<CompareOp::kGt>},
    {"gt", Comparison<CompareOp::kGt>},
    {"greaterthan", Comparison<CompareOp::kGt>},
    {">=", Comparison<CompareOp::kGe>},
    {"ge", Comparison<CompareOp::kGe>},
    {"<", Comparison<CompareOp::kLt>},
    {"lt", Comparison<CompareOp::kLt>},
    {"lessthan", Comparison<CompareOp::kLt>},
    {"<=", Comparison<CompareOp::kLe>},
    {"le", Comparison<CompareOp::kLe>},
    {"in", Comparison<CompareOp::kIn>},
};

}  // namespace

TestFunction FindTest(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kTests), std::end(kTests), [&](const Entry& e) { return e.name == name; });
  return found == std::end(kTests) ? nullptr : found->function;
}

}  // namespace deepshock::jinja

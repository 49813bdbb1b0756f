// SPDX-License-Identifier: Apache-2.0
// Arithmetic and ordering.
#include "text/jinja_operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

const char* Symbol(BinaryOp op) {
  constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  return kSymbols[static_cast<size_t>(op)];
}

const char* Symbol(CompareOp op) {
  constexpr const char* kSymbols[] = {"==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kSymbols[static_cast<size_t>(op)];
}

Status BadOperands(const char* symbol, const Value& a, const Value& b) {
  if (a.Is(Kind::kUndefined)) return UndefinedError(a);
  if (b.Is(Kind::kUndefined)) return UndefinedError(b);
  return Fail("operator {}: cannot combine '{}' and '{}'", symbol, TypeName(a), TypeName(b));
}

Status TooLarge() { return Fail("an integer result does not fit 64 bits"); }
Status ZeroDivision() { return Fail("division by zero"); }

// Python rounds towards minus infinity, C++ towards zero.
Result<Value> FloorDivide(int64_t a, int64_t b, bool remainder) {
  if (b == 0) return ZeroDivision();
  if (b == -1) {
    if (remainder) return Value::Int(0);
    return a == std::numeric_limits<int64_t>::min() ? Result<Value>(TooLarge()) : Value::Int(-a);
  }
  const int64_t rest = a % b;
  const bool adjust = rest != 0 && (rest < 0) != (b < 0);
  return Value::Int(remainder ? rest + (adjust ? b : 0) : a / b - (adjust ? 1 : 0));
}

Result<Value> FloorDivide(double a, double b, bool remainder) {
  if (b == 0) return ZeroDivision();
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) {
    rest += b;
    quotient -= 1;
  } else if (rest == 0) {
    rest = std::copysign(0.0, b);
  }
  if (remainder) return Value::Float(rest);
  if (quotient == 0) return Value::Float(std::copysign(0.0, a / b));
  const double floored = std::floor(quotient);
  return Value::Float(quotient - floored > 0.5 ? floored + 1 : floored);
}

Result<Value> IntegerPower(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return TooLarge();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return TooLarge();
  }
  return Value::Int(result);
}

Result<Value> FloatPower(double base, double exponent) {
  if (base == 0 && exponent < 0) return ZeroDivision();
  if (base < 0 && std::floor(exponent) != exponent && std::isfinite(exponent)) {
    return Fail("operator **: complex results are not supported");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    return Fail("a float result is too large");
  return Value::Float(result);
}

Result<Value> IntegerArithmetic(BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::kAdd: overflow = __builtin_add_overflow(a, b, &result); break;
    case BinaryOp::kSub: overflow = __builtin_sub_overflow(a, b, &result); break;
    case BinaryOp::kMul: overflow = __builtin_mul_overflow(a, b, &result); break;
    case BinaryOp::kDiv:
      if (b == 0) return ZeroDivision();
      return Value::Float(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOp::kFloorDiv: return FloorDivide(a, b, false);
    case BinaryOp::kMod: return FloorDivide(a, b, true);
    case BinaryOp::kPow:
      if (b < 0) return FloatPower(static_cast<double>(a), static_cast<double>(b));
      return IntegerPower(a, b);
  }
  if (overflow) return TooLarge();
  return Value::Int(result);
}

Result<Value> FloatArithmetic(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd: return Value::Float(a + b);
    case BinaryOp::kSub: return Value::Float(a - b);
    case BinaryOp::kMul: return Value::Float(a * b);
    case BinaryOp::kDiv:
      if (b == 0) return ZeroDivision();
      return Value::Float(a / b);
    case BinaryOp::kFloorDiv: return FloorDivide(a, b, false);
    case BinaryOp::kMod: return FloorDivide(a, b, true);
    case BinaryOp::kPow: return FloatPower(a, b);
  }
  return Status::Error("unknown operator");
}

// Joining texts: if one of them is marked as HTML, the other is escaped into it.
Result<Value> AddTexts(const Value& a, const Value& b, Budget* budget) {
  const bool markup = a.markup() || b.markup();
  if (!budget->SpendText(a.text().size() + b.text().size())) return budget->status();
  std::string text = markup && !a.markup() ? EscapeHtml(a.text()) : a.text();
  text += markup && !b.markup() ? EscapeHtml(b.text()) : b.text();
  return Value::String(std::move(text), markup);
}

Result<Value> Repeat(const Value& value, int64_t times, Budget* budget) {
  const auto count = static_cast<uint64_t>(std::max<int64_t>(times, 0));
  const uint64_t size = value.Is(Kind::kString) ? value.text().size() : value.items().size();
  uint64_t total = 0;
  if (__builtin_mul_overflow(count, size, &total)) total = std::numeric_limits<uint64_t>::max();
  if (value.Is(Kind::kString)) {
    if (!budget->SpendText(total)) return budget->status();
    std::string text;
    text.reserve(total);
    for (uint64_t i = 0; size > 0 && i < count; ++i) text += value.text();
    return Value::String(std::move(text), value.markup());
  }
  if (!budget->Spend(total)) return budget->status();
  std::vector<Value> items;
  items.reserve(total);
  for (uint64_t i = 0; size > 0 && i < count; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.Is(Kind::kList) ? Value::List(std::move(items), budget)
                               : Value::Tuple(std::move(items), budget);
}

bool Repeats(const Value& value) {
  return value.Is(Kind::kString) || value.Is(Kind::kList) || value.Is(Kind::kTuple);
}

template <typename T>
bool Ordered(CompareOp op, const T& a, const T& b) {
  switch (op) {
    case CompareOp::kLt: return a < b;
    case CompareOp::kLe: return a <= b;
    case CompareOp::kGt: return a > b;
    default: return a >= b;
  }
}

Result<bool> Order(CompareOp op, const Value& a, const Value& b, Budget* budget) {
  if (!budget->Spend(1)) return budget->status();
  if (a.IsInteger() && b.IsInteger()) return Ordered(op, a.integer(), b.integer());
  if (a.IsNumber() && b.IsNumber()) return Ordered(op, a.real(), b.real());
  // UTF-8 sorts as its code points do.
  if (a.Is(Kind::kString) && b.Is(Kind::kString)) return Ordered(op, a.text(), b.text());
  const bool sequences = a.kind() == b.kind() && (a.Is(Kind::kList) || a.Is(Kind::kTuple));
  if (!sequences) return BadOperands(Symbol(op), a, b);
  const size_t common = std::min(a.items().size(), b.items().size());
  for (size_t i = 0; i < common; ++i) {
    if (!Equal(a.items()[i], b.items()[i], budget)) return Order(op, a.items()[i], b.items()[i], budget);
  }
  return Ordered(op, a.items().size(), b.items().size());
}

}  // namespace

Result<Value> NewText(std::string text, Budget* budget, bool markup) {
  if (!budget->SpendText(text.size())) return budget->status();
  return Value::String(std::move(text), markup);
}

Result<Value> Binary(BinaryOp op, const Value& a, const Value& b, Budget* budget) {
  if (a.IsInteger() && b.IsInteger()) return IntegerArithmetic(op, a.integer(), b.integer());
  if (a.IsNumber() && b.IsNumber()) return FloatArithmetic(op, a.real(), b.real());
  if (op == BinaryOp::kMod && a.Is(Kind::kString)) return PercentFormat(a, b, budget);
  if (op == BinaryOp::kAdd && a.kind() == b.kind()) {
    if (a.Is(Kind::kString)) return AddTexts(a, b, budget);
    if (a.Is(Kind::kList) || a.Is(Kind::kTuple)) {
      if (!budget->Spend(a.items().size() + b.items().size())) return budget->status();
      std::vector<Value> items = a.items();
      items.insert(items.end(), b.items().begin(), b.items().end());
      return a.Is(Kind::kList) ? Value::List(std::move(items), budget)
                               : Value::Tuple(std::move(items), budget);
    }
  }
  if (op == BinaryOp::kMul) {
    if (Repeats(a) && b.IsInteger()) return Repeat(a, b.integer(), budget);
    if (Repeats(b) && a.IsInteger()) return Repeat(b, a.integer(), budget);
  }
  return BadOperands(Symbol(op), a, b);
}

Result<bool> Compare(CompareOp op, const Value& a, const Value& b, Budget* budget) {
  switch (op) {
    case CompareOp::kEq: return Equal(a, b, budget);
    case CompareOp::kNe: return !Equal(a, b, budget);
    case CompareOp::kIn: return Contains(b, a, budget);
    case CompareOp::kNotIn: {
      DS_ASSIGN(const bool contains, Contains(b, a, budget));
      return !contains;
    }
    default: return Order(op, a, b, budget);
  }
}

Result<bool> Contains(const Value& container, const Value& item, Budget* budget) {
  if (container.Is(Kind::kString)) {
    if (!item.Is(Kind::kString)) {
      return Fail("'in <string>' requires string as left operand, not {}", TypeName(item));
    }
    if (!budget->Spend(container.text().size() / 256)) return budget->status();
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.Is(Kind::kDict)) {
    DS_RETURN_IF_ERROR(Hash(item).status());
    return container.dict().Find(item, budget) != nullptr;
  }
  DS_ASSIGN(const std::vector<Value> items, Iterate(container, budget));
  for (const Value& candidate : items) {
    if (Equal(candidate, item, budget)) return true;
  }
  return false;
}

Result<Value> Negate(const Value& value) {
  if (value.IsInteger()) {
    if (value.integer() == std::numeric_limits<int64_t>::min()) return TooLarge();
    return Value::Int(-value.integer());
  }
  if (value.Is(Kind::kFloat)) return Value::Float(-value.real());
  if (value.Is(Kind::kUndefined)) return UndefinedError(value);
  return Fail("operator -: cannot negate '{}'", TypeName(value));
}

Result<Value> Posit(const Value& value) {
  if (value.IsInteger()) return Value::Int(value.integer());
  if (value.Is(Kind::kFloat)) return value;
  if (value.Is(Kind::kUndefined)) return UndefinedError(value);
  return Fail("operator +: expected a number, found '{}'", TypeName(value));
}

}  // namespace deepshock::jinja

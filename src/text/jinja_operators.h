// SPDX-License-Identifier: Apache-2.0
// Python's operators on template values: arithmetic, ordering, membership, subscripts, slices, iteration,
// len. Pure but for the budget, and for iterators, which reading consumes. Errors say the types, as Python's
// TypeError.
#pragma once

#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace deepshock::jinja {

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
enum class CompareOp : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

Result<Value> Binary(BinaryOp op, const Value& a, const Value& b, Budget* budget);
Result<bool> Compare(CompareOp op, const Value& a, const Value& b, Budget* budget);
Result<bool> Contains(const Value& container, const Value& item, Budget* budget);
Result<Value> Negate(const Value& value);
Result<Value> Posit(const Value& value);

bool HasLength(const Value& value);
Result<int64_t> Length(const Value& value);
bool IsIterable(const Value& value);
// The elements that a loop sees: characters of a text, keys of a dictionary, what is left of an iterator.
Result<std::vector<Value>> Iterate(const Value& value, Budget* budget);

// a[key] for what Python can subscript; nothing where it raises TypeError or LookupError.
Result<std::optional<Value>> Subscript(const Value& value, const Value& key, Budget* budget);
// a[start:stop:step]; none stands for a missing part.
Result<Value> Slice(const Value& value, const Value& start, const Value& stop, const Value& step,
                    Budget* budget);

// str % value, in jinja_format.cc.
Result<Value> PercentFormat(const Value& format, const Value& value, Budget* budget);

// A text result, paid for.
Result<Value> NewText(std::string text, Budget* budget, bool markup = false);

}  // namespace deepshock::jinja

// SPDX-License-Identifier: Apache-2.0
// Length, iteration, subscripts and slices.
#include <algorithm>
#include <limits>

#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

// Python's indices may count from the end. Nothing when outside.
std::optional<size_t> Place(int64_t index, size_t size) {
  const auto length = static_cast<int64_t>(size);
  if (index < -length || index >= length) return std::nullopt;
  return static_cast<size_t>(index < 0 ? index + length : index);
}

std::optional<std::string> CharacterAt(const Value& value, int64_t index) {
  const std::string& text = value.text();
  if (value.ascii()) {
    const auto at = Place(index, text.size());
    return at ? std::optional(text.substr(*at, 1)) : std::nullopt;
  }
  const std::vector<size_t> offsets = CharacterOffsets(text);
  const auto at = Place(index, offsets.size() - 1);
  return at ? std::optional(text.substr(offsets[*at], offsets[*at + 1] - offsets[*at])) : std::nullopt;
}

struct SliceBounds {
  int64_t start, stop, step;
  // How many elements the slice picks.
  int64_t count() const {
    if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
    return start > stop ? (start - stop - 1) / -step + 1 : 0;
  }
};

// One bound of a slice, as Python clips it into [low, high].
Result<int64_t> Bound(const Value& value, int64_t missing, int64_t size, int64_t low, int64_t high) {
  if (value.Is(Kind::kNone)) return missing;
  if (!value.IsInteger()) return Fail("slice bounds must be integers or none, found '{}'", TypeName(value));
  int64_t bound = value.integer();
  if (bound < 0) bound = std::max<int64_t>(bound, -size - 1) + size;
  return std::clamp(bound, low, high);
}

Result<SliceBounds> Bounds(const Value& start, const Value& stop, const Value& step, size_t length) {
  const auto size = static_cast<int64_t>(length);
  int64_t stride = 1;
  if (!step.Is(Kind::kNone)) {
    if (!step.IsInteger()) return Fail("slice steps must be integers or none, found '{}'", TypeName(step));
    // A step longer than any sequence behaves as the longest one.
    constexpr int64_t kLongest = std::numeric_limits<int64_t>::max() / 2;
    stride = std::clamp(step.integer(), -kLongest, kLongest);
  }
  if (stride == 0) return Fail("slice step cannot be zero");
  const int64_t low = stride > 0 ? 0 : -1;
  const int64_t high = stride > 0 ? size : size - 1;
  DS_ASSIGN(const int64_t first, Bound(start, stride > 0 ? low : high, size, low, high));
  DS_ASSIGN(const int64_t last, Bound(stop, stride > 0 ? high : low, size, low, high));
  return SliceBounds{first, last, stride};
}

Result<Value> SliceText(const Value& value, const Value& start, const Value& stop, const Value& step,
                        Budget* budget) {
  const std::string& text = value.text();
  if (!budget->SpendText(text.size())) return budget->status();
  const std::vector<size_t> offsets = value.ascii() ? std::vector<size_t>() : CharacterOffsets(text);
  const size_t length = value.ascii() ? text.size() : offsets.size() - 1;
  const auto offset = [&](int64_t i) {
    return value.ascii() ? static_cast<size_t>(i) : offsets[static_cast<size_t>(i)];
  };
  DS_ASSIGN(const SliceBounds bounds, Bounds(start, stop, step, length));
  const int64_t count = bounds.count();
  if (bounds.step == 1 && count > 0) {
    const size_t begin = offset(bounds.start);
    return Value::String(text.substr(begin, offset(bounds.start + count) - begin), value.markup());
  }
  std::string out;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = bounds.start + i * bounds.step;
    out.append(text, offset(at), offset(at + 1) - offset(at));
  }
  return Value::String(std::move(out), value.markup());
}

}  // namespace

bool HasLength(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kDict: return true;
    default: return false;
  }
}

Result<int64_t> Length(const Value& value) {
  if (!HasLength(value)) return Fail("object of type '{}' has no length", TypeName(value));
  if (value.Is(Kind::kUndefined)) return int64_t{0};
  if (value.Is(Kind::kDict)) return static_cast<int64_t>(value.dict().size());
  if (value.Is(Kind::kString)) {
    return static_cast<int64_t>(value.ascii() ? value.text().size() : CountCharacters(value.text()));
  }
  return static_cast<int64_t>(value.items().size());
}

bool IsIterable(const Value& value) { return HasLength(value) || value.Is(Kind::kIterator); }

Result<std::vector<Value>> Iterate(const Value& value, Budget* budget) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::kUndefined: return items;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      if (!budget->Spend(value.items().size())) return budget->status();
      return value.items();
    case Kind::kIterator: {
      Value::Sequence& rest = value.iterator();
      if (!budget->Spend(rest.items.size() - rest.next)) return budget->status();
      items.assign(rest.items.begin() + static_cast<std::ptrdiff_t>(rest.next), rest.items.end());
      rest.next = rest.items.size();
      return items;
    }
    case Kind::kDict:
      if (!budget->Spend(value.dict().size())) return budget->status();
      for (const Dict::Entry& entry : value.dict().entries()) items.push_back(entry.first);
      return items;
    case Kind::kString: {
      const std::vector<size_t> offsets = CharacterOffsets(value.text());
      if (!budget->Spend(2 * offsets.size())) return budget->status();
      for (size_t i = 0; i + 1 < offsets.size(); ++i) {
        items.push_back(
            Value::String(value.text().substr(offsets[i], offsets[i + 1] - offsets[i]), value.markup()));
      }
      return items;
    }
    default: return Fail("'{}' object is not iterable", TypeName(value));
  }
}

Result<std::optional<Value>> Subscript(const Value& value, const Value& key, Budget* budget) {
  using Found = std::optional<Value>;
  switch (value.kind()) {
    case Kind::kUndefined: return UndefinedError(value);
    case Kind::kDict: {
      const Value* found = value.dict().Find(key, budget);
      return found == nullptr ? Found() : Found(*found);
    }
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange: {
      if (!key.IsInteger()) return Found();
      const auto at = Place(key.integer(), value.items().size());
      return at ? Found(value.items()[*at]) : Found();
    }
    case Kind::kString: {
      if (!key.IsInteger()) return Found();
      if (!budget->Spend(value.ascii() ? 1 : 1 + value.text().size() / 64)) return budget->status();
      auto character = CharacterAt(value, key.integer());
      return character ? Found(Value::String(std::move(*character), value.markup())) : Found();
    }
    default: return Found();
  }
}

Result<Value> Slice(const Value& value, const Value& start, const Value& stop, const Value& step,
                    Budget* budget) {
  if (value.Is(Kind::kUndefined)) return UndefinedError(value);
  if (value.Is(Kind::kString)) return SliceText(value, start, stop, step, budget);
  if (!value.Is(Kind::kList) && !value.Is(Kind::kTuple) && !value.Is(Kind::kRange)) {
    return Fail("'{}' object cannot be sliced", TypeName(value));
  }
  DS_ASSIGN(const SliceBounds bounds, Bounds(start, stop, step, value.items().size()));
  const int64_t count = bounds.count();
  if (!budget->Spend(static_cast<uint64_t>(count))) return budget->status();
  Value::Sequence out;
  for (int64_t i = 0; i < count; ++i) {
    out.items.push_back(value.items()[static_cast<size_t>(bounds.start + i * bounds.step)]);
  }
  if (value.Is(Kind::kRange)) {
    const Value::Sequence& range = value.sequence();
    out.step = range.step * bounds.step;
    out.start = range.start + bounds.start * range.step;
    out.stop = range.start + bounds.stop * range.step;
  }
  return Value::Make(value.kind(), std::move(out), budget);
}

}  // namespace deepshock::jinja

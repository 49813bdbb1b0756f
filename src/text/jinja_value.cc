// SPDX-License-Identifier: Apache-2.0
// Making, hashing and comparing values for equality.
#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace deepshock::jinja {
namespace {

const std::string kNoReason = "value is undefined";

// An integral float hashes as the integer, since 1.0 and 1 are one key.
size_t HashNumber(const Value& value) {
  if (value.IsInteger()) return std::hash<int64_t>()(value.integer());
  const double real = value.real();
  const bool integral = std::nearbyint(real) == real && std::fabs(real) < 9.2e18;
  return integral ? std::hash<int64_t>()(static_cast<int64_t>(real)) : std::hash<double>()(real);
}

bool EqualItems(const Value& a, const Value& b, Budget* budget) {
  if (a.items().size() != b.items().size()) return false;
  for (size_t i = 0; i < a.items().size(); ++i) {
    if (!Equal(a.items()[i], b.items()[i], budget)) return false;
  }
  return true;
}

bool EqualDicts(const Dict& a, const Dict& b, Budget* budget) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.entries()) {
    const Value* other = b.Find(key, budget);
    if (other == nullptr || !Equal(value, *other, budget)) return false;
  }
  return true;
}

}  // namespace

Result<std::optional<Value>> Object::Attribute(Engine&, std::string_view) { return std::optional<Value>(); }

Result<Value> Object::Call(Engine&, const Arguments&) { return Fail("{} is not callable", Describe()); }

Value Value::Undefined(std::string reason) {
  Value v;
  v.data_ = std::make_shared<Text>(Text{std::move(reason), true});
  return v;
}

Value Value::Bool(bool b) {
  Value v(Kind::kBool);
  v.integer_ = b ? 1 : 0;
  return v;
}

Value Value::Int(int64_t i) {
  Value v(Kind::kInt);
  v.integer_ = i;
  return v;
}

Value Value::Float(double d) {
  Value v(Kind::kFloat);
  v.real_ = d;
  return v;
}

Value Value::String(std::string text, bool markup) {
  Value v(Kind::kString);
  v.markup_ = markup;
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
  v.data_ = std::make_shared<Text>(Text{std::move(text), ascii});
  return v;
}

Result<Value> Value::Make(Kind kind, Sequence sequence, Budget* budget) {
  if (!budget->Spend(sequence.items.size())) return budget->status();
  int depth = 0;
  for (const Value& item : sequence.items) depth = std::max(depth, item.depth());
  if (depth >= kMaxValueDepth) return Fail("a value is nested more than {} levels deep", kMaxValueDepth);
  sequence.depth = depth + 1;
  Value v(kind);
  v.data_ = std::make_shared<Sequence>(std::move(sequence));
  return v;
}

Result<Value> Value::List(std::vector<Value> items, Budget* budget) {
  Sequence sequence;
  sequence.items = std::move(items);
  return Make(Kind::kList, std::move(sequence), budget);
}

Result<Value> Value::Tuple(std::vector<Value> items, Budget* budget) {
  Sequence sequence;
  sequence.items = std::move(items);
  return Make(Kind::kTuple, std::move(sequence), budget);
}

Result<Value> Value::Iterator(std::vector<Value> items, Budget* budget) {
  Sequence sequence;
  sequence.items = std::move(items);
  return Make(Kind::kIterator, std::move(sequence), budget);
}

Result<Value> Value::FromDict(Dict dict, Budget* budget) {
  if (!budget->Spend(dict.size())) return budget->status();
  if (dict.depth() > kMaxValueDepth)
    return Fail("a value is nested more than {} levels deep", kMaxValueDepth);
  Value v(Kind::kDict);
  v.data_ = std::make_shared<Dict>(std::move(dict));
  return v;
}

Value Value::Of(std::shared_ptr<Object> object) {
  Value v(Kind::kObject);
  v.data_ = std::move(object);
  return v;
}

const std::string& Value::reason() const {
  return data_ == nullptr ? kNoReason : static_cast<const Text*>(data_.get())->text;
}

const Dict& Value::dict() const { return *static_cast<const Dict*>(data_.get()); }

int Value::depth() const {
  if (IsSequence()) return sequence().depth;
  return kind_ == Kind::kDict ? dict().depth() : 0;
}

const Value* Dict::Find(std::string_view key) const {
  const auto [begin, end] = index_.equal_range(std::hash<std::string_view>()(key));
  for (auto it = begin; it != end; ++it) {
    const Entry& entry = entries_[it->second];
    if (entry.first.Is(Kind::kString) && entry.first.text() == key) return &entry.second;
  }
  return nullptr;
}

size_t Dict::Position(const Value& key, size_t hash, Budget* budget) const {
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (Equal(entries_[it->second].first, key, budget)) return it->second;
  }
  return entries_.size();
}

const Value* Dict::Find(const Value& key, Budget* budget) const {
  const Result<size_t> hash = Hash(key);
  if (!hash.ok()) return nullptr;
  const size_t at = Position(key, *hash, budget);
  return at < entries_.size() ? &entries_[at].second : nullptr;
}

void Dict::Set(Value key, Value value, Budget* budget) {
  const size_t hash = Hash(key).value();
  const size_t at = Position(key, hash, budget);
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  if (at < entries_.size()) {
    entries_[at].second = std::move(value);
    return;
  }
  index_.emplace(hash, static_cast<uint32_t>(entries_.size()));
  entries_.emplace_back(std::move(key), std::move(value));
}

std::string TypeName(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kRange: return "range";
    case Kind::kView: return value.sequence().view;
    case Kind::kIterator: return "generator";
    case Kind::kDict: return "dict";
    case Kind::kObject: return value.object().Describe();
  }
  return "object";
}

Result<size_t> Hash(const Value& value) {
  switch (value.kind()) {
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat: return HashNumber(value);
    case Kind::kString: return std::hash<std::string_view>()(value.text());
    case Kind::kNone: return size_t{0x6e6f6e65};
    case Kind::kUndefined: return size_t{0x756e6465};
    case Kind::kTuple: {
      size_t hash = value.items().size();
      for (const Value& item : value.items()) {
        DS_ASSIGN(const size_t part, Hash(item));
        hash = hash * 1000003 ^ part;
      }
      return hash;
    }
    case Kind::kList:
    case Kind::kDict:
    case Kind::kView: return Fail("unhashable type: '{}'", TypeName(value));
    default: return std::hash<const void*>()(value.identity());
  }
}

bool Equal(const Value& a, const Value& b, Budget* budget) {
  if (!budget->Spend(1)) return false;
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsInteger() && b.IsInteger() ? a.integer() == b.integer() : a.real() == b.real();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kString: return budget->Spend(a.text().size() / 256) && a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange: return a.identity() == b.identity() || EqualItems(a, b, budget);
    case Kind::kDict: return a.identity() == b.identity() || EqualDicts(a.dict(), b.dict(), budget);
    default: return a.identity() == b.identity();
  }
}

bool Truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool:
    case Kind::kInt: return value.integer() != 0;
    case Kind::kFloat: return value.real() != 0.0;
    case Kind::kString: return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView: return !value.items().empty();
    case Kind::kDict: return value.dict().size() != 0;
    case Kind::kIterator:
    case Kind::kObject: return true;
  }
  return false;
}

Status UndefinedError(const Value& value) { return Status::Error(value.reason()); }

}  // namespace deepshock::jinja

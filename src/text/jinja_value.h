// SPDX-License-Identifier: Apache-2.0
// Values of the template language, with Python's meaning: numbers, text, lists, dictionaries, undefined,
// objects. Owns the representation and the budget that bounds what one rendering may cost. Containers never
// change once made, so no value can contain itself; namespaces can, and live in the engine instead. Called by
// every jinja_* file; a value belongs to one rendering, hence to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace deepshock::jinja {

class Engine;

// What a rendering may still spend. Once a limit is hit the budget stays refused: loops stop at ok() == false
// and the engine reports status() at its next step, so that comparing and printing need no Result of their
// own.
class Budget {
 public:
  Budget(uint64_t steps, uint64_t text_bytes) : steps_(steps), text_bytes_(text_bytes) {}

  bool ok() const { return !refusal_.has_value(); }
  Status status() const { return ok() ? Status() : Status::Error(*refusal_); }
  void Refuse(std::string why) {
    if (ok()) refusal_ = std::move(why);
  }
  // One step is about one node evaluated or one element touched.
  bool Spend(uint64_t steps) {
    if (steps > steps_) Refuse("the template takes too many steps");
    steps_ -= ok() ? steps : 0;
    return ok();
  }
  // Bytes of text made, summed over the rendering: call before allocating.
  bool SpendText(uint64_t bytes) {
    if (bytes > text_bytes_) Refuse("the template makes too much text");
    text_bytes_ -= ok() ? bytes : 0;
    return ok();
  }

 private:
  uint64_t steps_;
  uint64_t text_bytes_;
  std::optional<std::string> refusal_;
};

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kRange,
  kView,      // dict.keys(), .values(), .items()
  kIterator,  // what a generator or an iterator is in Python: consumed by being read, has no length
  kDict,
  kObject,  // macros, functions, methods, namespaces, loop, cyclers, joiners
};

constexpr int kMaxValueDepth = 150;            // lists in lists; deeper than any JSON that the program reads
constexpr uint64_t kMaxPaddedWidth = 1 << 20;  // characters that a width, an indent or a fill may ask for

class Value;
class Dict;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Anything with attributes or that can be called.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string Describe() const = 0;  // as printed, unless it has contents to print
  virtual const Dict* contents() const { return nullptr; }
  virtual Result<std::optional<Value>> Attribute(Engine& engine, std::string_view name);
  virtual bool callable() const { return false; }
  virtual Result<Value> Call(Engine& engine, const Arguments& arguments);
};

class Value {
 public:
  struct Text {
    std::string text;
    bool ascii;
  };
  struct Sequence {
    std::vector<Value> items;
    int depth = 1;
    const char* view = "";                  // kView: "dict_keys", ...
    int64_t start = 0, stop = 0, step = 1;  // kRange
    size_t next = 0;                        // kIterator: the first element not yet read
    bool group = false;                     // kTuple made by groupby: has .grouper and .list
  };

  Value() = default;  // undefined, without a reason
  static Value Undefined(std::string reason);
  static Value None() { return Value(Kind::kNone); }
  static Value Bool(bool b);
  static Value Int(int64_t i);
  static Value Float(double d);
  // The caller has paid for the text (Budget::SpendText) unless it is short.
  static Value String(std::string text, bool markup = false);
  // A sequence kind. Fails when nested too deeply; spends a step an element.
  static Result<Value> Make(Kind kind, Sequence sequence, Budget* budget);
  static Result<Value> List(std::vector<Value> items, Budget* budget);
  static Result<Value> Tuple(std::vector<Value> items, Budget* budget);
  static Result<Value> Iterator(std::vector<Value> items, Budget* budget);
  static Result<Value> FromDict(Dict dict, Budget* budget);
  static Value Of(std::shared_ptr<Object> object);
  // An object that the engine owns until the rendering ends.
  static Value Borrow(Object* object) {
    return Of(std::shared_ptr<Object>(std::shared_ptr<Object>(), object));
  }

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  bool IsInteger() const {
    return kind_ == Kind::kInt || kind_ == Kind::kBool;
  }  // as Python's isinstance(x, int)
  bool IsNumber() const { return IsInteger() || kind_ == Kind::kFloat; }
  bool IsSequence() const { return kind_ >= Kind::kList && kind_ <= Kind::kIterator; }
  bool markup() const { return markup_; }  // text that `safe` or `escape` marked as HTML

  bool boolean() const { return integer_ != 0; }  // kBool
  int64_t integer() const { return integer_; }    // kInt, kBool
  double real() const { return kind_ == Kind::kFloat ? real_ : static_cast<double>(integer_); }  // any number
  const std::string& text() const { return static_cast<const Text*>(data_.get())->text; }        // kString
  bool ascii() const { return static_cast<const Text*>(data_.get())->ascii; }                    // kString
  const std::string& reason() const;                                                             // kUndefined
  const Sequence& sequence() const { return *static_cast<const Sequence*>(data_.get()); }  // sequence kinds
  Sequence& iterator() const { return *static_cast<Sequence*>(data_.get()); }              // kIterator
  const std::vector<Value>& items() const { return sequence().items; }                     // sequence kinds
  const Dict& dict() const;                                                                // kDict
  Object& object() const { return *static_cast<Object*>(data_.get()); }                    // kObject
  const void* identity() const { return data_.get(); }
  int depth() const;  // containers: 1 + the deepest element's; otherwise 0

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kUndefined;
  bool markup_ = false;
  union {
    int64_t integer_ = 0;
    double real_;
  };
  std::shared_ptr<void> data_;
};

// A dictionary in insertion order, keyed as Python does: 1, 1.0 and True are one key.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  const Value* Find(std::string_view key) const;
  const Value* Find(const Value& key, Budget* budget) const;
  void Set(Value key, Value value, Budget* budget);  // `key` is hashable
  int depth() const { return depth_; }

 private:
  size_t Position(const Value& key, size_t hash, Budget* budget) const;

  std::vector<Entry> entries_;
  std::unordered_multimap<size_t, uint32_t> index_;  // hash of a key -> place in entries_
  int depth_ = 1;
};

// "int", "str", "NoneType", ... as Python names the type.
std::string TypeName(const Value& value);

// Hash consistent with Equal. Fails for what Python cannot hash: lists and dictionaries.
Result<size_t> Hash(const Value& value);
bool Equal(const Value& a, const Value& b, Budget* budget);
bool Truth(const Value& value);
// The error for using an undefined value, or a plain type error.
Status UndefinedError(const Value& value);

}  // namespace deepshock::jinja

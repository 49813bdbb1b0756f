// SPDX-License-Identifier: Apache-2.0
// Filters over sequences and dictionaries.
#include <algorithm>
#include <unordered_map>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

using Items = std::vector<Value>;

const Value kNone = Value::None();

const Value& OrNone(const Value* argument) { return argument != nullptr ? *argument : kNone; }

Result<Value> LengthFilter(Engine&, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("length", a, {}, 0).status());
  DS_ASSIGN(const int64_t length, Length(v));
  return Value::Int(length);
}

Result<Value> Default(Engine&, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("default", a, {"default_value", "boolean"}, 0));
  if (!v.Is(Kind::kUndefined) && !(TruthOr(b[1], false) && !Truth(v))) return v;
  return b[0] != nullptr ? *b[0] : Value::String("");
}

Result<Value> First(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("first", a, {}, 0).status());
  if (v.Is(Kind::kIterator)) {  // takes one element, no more
    Value::Sequence& rest = v.iterator();
    return rest.next < rest.items.size() ? rest.items[rest.next++]
                                         : Value::Undefined("No first item, sequence was empty.");
  }
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  return items.empty() ? Value::Undefined("No first item, sequence was empty.") : std::move(items.front());
}

Result<Value> Last(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("last", a, {}, 0).status());
  if (!HasLength(v)) return Fail("last: '{}' object is not reversible", TypeName(v));
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  return items.empty() ? Value::Undefined("No last item, sequence was empty.") : std::move(items.back());
}

Result<Value> ListFilter(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("list", a, {}, 0).status());
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  return Value::List(std::move(items), engine.budget());
}

Result<Value> Reverse(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("reverse", a, {}, 0).status());
  if (v.Is(Kind::kString)) return Slice(v, kNone, kNone, Value::Int(-1), engine.budget());
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  std::reverse(items.begin(), items.end());
  return v.Is(Kind::kIterator) ? Value::List(std::move(items), engine.budget())
                               : Value::Iterator(std::move(items), engine.budget());
}

Result<Value> Join(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("join", a, {"d", "attribute"}, 0));
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  const std::string separator = b[0] != nullptr ? engine.Str(*b[0]) : "";
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = std::move(items[i]);
    if (b[1] != nullptr && !b[1]->Is(Kind::kNone)) {
      DS_ASSIGN(item, AttributePath(engine, item, *b[1]));
    }
    const std::string text = engine.Str(item);
    if (!engine.budget()->SpendText(separator.size() + text.size())) return engine.budget()->status();
    if (i > 0) out += separator;
    out += text;
  }
  return Value::String(std::move(out));
}

Result<Value> ItemsFilter(Engine& engine, const Value& v, const Arguments& a) {
  DS_RETURN_IF_ERROR(Bind("items", a, {}, 0).status());
  Items pairs;
  if (!v.Is(Kind::kUndefined)) {
    if (!v.Is(Kind::kDict)) return Fail("items: expected a mapping, found '{}'", TypeName(v));
    for (const auto& [key, value] : v.dict().entries()) {
      DS_ASSIGN(Value pair, Value::Tuple({key, value}, engine.budget()));
      pairs.push_back(std::move(pair));
    }
  }
  return Value::Iterator(std::move(pairs), engine.budget());
}

Result<Value> DictSort(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("dictsort", a, {"case_sensitive", "by", "reverse"}, 0));
  const std::string by = b[1] != nullptr ? engine.Str(*b[1]) : "key";
  if (by != "key" && by != "value") return Fail("dictsort: can only sort by 'key' or 'value'");
  if (!v.Is(Kind::kDict)) return Fail("dictsort: expected a mapping, found '{}'", TypeName(v));
  Items pairs, keys;
  for (const auto& [key, value] : v.dict().entries()) {
    DS_ASSIGN(Value pair, Value::Tuple({key, value}, engine.budget()));
    pairs.push_back(std::move(pair));
    const Value& sorted = by == "key" ? key : value;
    keys.push_back(TruthOr(b[0], false) ? sorted : IgnoreCase(sorted));
  }
  DS_ASSIGN(pairs, SortByKey(engine, std::move(pairs), std::move(keys), TruthOr(b[2], false)));
  return Value::List(std::move(pairs), engine.budget());
}

// The value that an element is sorted, compared or grouped by.
Result<Value> KeyOf(Engine& engine, const Value& item, const Value* attribute, bool case_sensitive) {
  DS_ASSIGN(Value key, AttributePath(engine, item, OrNone(attribute)));
  return case_sensitive ? key : IgnoreCase(key);
}

// `attribute` of `sort` may name several attributes: "a,b.c".
Result<Value> SortKey(Engine& engine, const Value& item, const Value* attribute, bool case_sensitive) {
  Items keys;
  if (attribute == nullptr || !attribute->Is(Kind::kString))
    return KeyOf(engine, item, attribute, case_sensitive);
  for (const std::string_view part : SplitOn(attribute->text(), ",", -1, false)) {
    const Value path = Value::String(std::string(part));
    DS_ASSIGN(Value key, KeyOf(engine, item, &path, case_sensitive));
    keys.push_back(std::move(key));
  }
  return Value::List(std::move(keys), engine.budget());
}

Result<Value> Sort(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("sort", a, {"reverse", "case_sensitive", "attribute"}, 0));
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  Items keys;
  for (const Value& item : items) {
    DS_ASSIGN(Value key, SortKey(engine, item, b[2], TruthOr(b[1], false)));
    keys.push_back(std::move(key));
  }
  DS_ASSIGN(items, SortByKey(engine, std::move(items), std::move(keys), TruthOr(b[0], false)));
  return Value::List(std::move(items), engine.budget());
}

template <CompareOp better>
Result<Value> Extreme(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("min/max", a, {"case_sensitive", "attribute"}, 0));
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  if (items.empty()) return Value::Undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    DS_ASSIGN(Value key, KeyOf(engine, items[i], b[1], TruthOr(b[0], false)));
    if (i > 0) {
      DS_ASSIGN(const bool wins, Compare(better, key, best_key, engine.budget()));
      if (!wins) continue;
    }
    best = i;
    best_key = std::move(key);
  }
  return std::move(items[best]);
}

Result<Value> Sum(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("sum", a, {"attribute", "start"}, 0));
  DS_ASSIGN(const Items items, Iterate(v, engine.budget()));
  Value sum = b[1] != nullptr ? *b[1] : Value::Int(0);
  if (sum.Is(Kind::kString)) return Fail("sum: cannot sum strings");
  for (const Value& item : items) {
    DS_ASSIGN(const Value part, AttributePath(engine, item, OrNone(b[0])));
    DS_ASSIGN(sum, Binary(BinaryOp::kAdd, sum, part, engine.budget()));
  }
  return sum;
}

Result<Value> Unique(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("unique", a, {"case_sensitive", "attribute"}, 0));
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  Dict seen;
  Items out;
  for (Value& item : items) {
    DS_ASSIGN(Value key, KeyOf(engine, item, b[1], TruthOr(b[0], false)));
    DS_RETURN_IF_ERROR(Hash(key).status());
    if (seen.Find(key, engine.budget()) != nullptr) continue;
    seen.Set(std::move(key), kNone, engine.budget());
    out.push_back(std::move(item));
  }
  return Value::Iterator(std::move(out), engine.budget());
}

Result<Value> GroupBy(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("groupby", a, {"attribute", "default", "case_sensitive"}, 1));
  const bool case_sensitive = TruthOr(b[2], false);
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  Items keys;
  for (const Value& item : items) {
    DS_ASSIGN(Value key, AttributePath(engine, item, *b[0], b[1]));
    keys.push_back(case_sensitive ? std::move(key) : IgnoreCase(key));
  }
  DS_ASSIGN(items, SortByKey(engine, std::move(items), std::move(keys), false));
  Items groups;
  for (size_t i = 0; i < items.size();) {
    DS_ASSIGN(const Value name, AttributePath(engine, items[i], *b[0], b[1]));
    const Value key = case_sensitive ? name : IgnoreCase(name);
    Items members;
    for (; i < items.size(); ++i) {
      DS_ASSIGN(const Value other, AttributePath(engine, items[i], *b[0], b[1]));
      if (!Equal(case_sensitive ? other : IgnoreCase(other), key, engine.budget())) break;
      members.push_back(items[i]);
    }
    if (!engine.budget()->ok()) return engine.budget()->status();
    Value::Sequence group;
    group.group = true;
    DS_ASSIGN(Value list, Value::List(std::move(members), engine.budget()));
    group.items = {name, std::move(list)};
    DS_ASSIGN(Value tuple, Value::Make(Kind::kTuple, std::move(group), engine.budget()));
    groups.push_back(std::move(tuple));
  }
  return Value::List(std::move(groups), engine.budget());
}

Result<Value> Batch(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("batch", a, {"linecount", "fill_with"}, 1));
  DS_ASSIGN(const int64_t size, IntegerOr(b[0], 0, "batch"));
  DS_ASSIGN(Items items, Iterate(v, engine.budget()));
  Items batches, batch;
  const auto flush = [&]() -> Status {
    DS_ASSIGN(Value list, Value::List(std::move(batch), engine.budget()));
    batches.push_back(std::move(list));
    batch.clear();
    return Status();
  };
  for (Value& item : items) {
    if (static_cast<int64_t>(batch.size()) == size) DS_RETURN_IF_ERROR(flush());
    batch.push_back(std::move(item));
  }
  if (!batch.empty()) {
    const bool fill = b[1] != nullptr && !b[1]->Is(Kind::kNone);
    const int64_t missing = fill ? std::max<int64_t>(size - static_cast<int64_t>(batch.size()), 0) : 0;
    if (!engine.budget()->Spend(static_cast<uint64_t>(missing))) return engine.budget()->status();
    for (int64_t i = 0; i < missing; ++i) batch.push_back(*b[1]);
    DS_RETURN_IF_ERROR(flush());
  }
  return Value::Iterator(std::move(batches), engine.budget());
}

Result<Value> SliceFilter(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("slice", a, {"slices", "fill_with"}, 1));
  DS_ASSIGN(const int64_t slices, IntegerOr(b[0], 0, "slice"));
  DS_ASSIGN(const Items items, Iterate(v, engine.budget()));
  if (slices == 0) return Fail("slice: division by zero");
  if (!engine.budget()->Spend(static_cast<uint64_t>(std::max<int64_t>(slices, 0)) * 4))
    return engine.budget()->status();
  Items out;
  const auto count = static_cast<int64_t>(items.size());
  const int64_t each = slices > 0 ? count / slices : 0;
  const int64_t longer = slices > 0 ? count % slices : 0;
  auto next = items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    const auto end = next + static_cast<std::ptrdiff_t>(each + (i < longer ? 1 : 0));
    Items part(next, end);
    next = end;
    if (i >= longer && b[1] != nullptr && !b[1]->Is(Kind::kNone)) part.push_back(*b[1]);
    DS_ASSIGN(Value list, Value::List(std::move(part), engine.budget()));
    out.push_back(std::move(list));
  }
  return Value::Iterator(std::move(out), engine.budget());
}

Result<Value> Attr(Engine& engine, const Value& v, const Arguments& a) {
  DS_ASSIGN(const auto b, Bind("attr", a, {"name"}, 1));
  if (!b[0]->Is(Kind::kString)) return Fail("attr: expected a name, found '{}'", TypeName(*b[0]));
  if (v.Is(Kind::kDict)) {  // attributes only, no keys
    if (auto method = FindMethod(v, b[0]->text())) return std::move(*method);
    return Value::Undefined("'dict object' has no such attribute");
  }
  return engine.Attribute(v, b[0]->text());
}

// The arguments from `first` on, for the filter or test that map, select and the like apply.
Arguments Rest(const Arguments& a, size_t first) {
  Arguments out;
  out.positional.assign(a.positional.begin() + static_cast<std::ptrdiff_t>(first), a.positional.end());
  out.named = a.named;
  return out;
}

Result<Value> Map(Engine& engine, const Value& v, const Arguments& a) {
  Items out;
  if (!Truth(v)) return Value::Iterator(std::move(out), engine.budget());
  DS_ASSIGN(const Items items, Iterate(v, engine.budget()));
  if (a.positional.empty() && !a.named.empty()) {
    DS_ASSIGN(const auto b, Bind("map", a, {"attribute", "default"}, 1));
    for (const Value& item : items) {
      DS_ASSIGN(Value mapped, AttributePath(engine, item, *b[0], b[1]));
      out.push_back(std::move(mapped));
    }
    return Value::Iterator(std::move(out), engine.budget());
  }
  if (a.positional.empty()) return Fail("map: expected a filter's name");
  const Arguments rest = Rest(a, 1);
  const std::string name = engine.Str(a.positional[0]);
  for (const Value& item : items) {
    DS_ASSIGN(Value mapped, engine.ApplyFilter(name, item, rest));
    out.push_back(std::move(mapped));
  }
  return Value::Iterator(std::move(out), engine.budget());
}

template <bool keep, bool by_attribute>
Result<Value> Select(Engine& engine, const Value& v, const Arguments& a) {
  Items out;
  if (!Truth(v)) return Value::Iterator(std::move(out), engine.budget());
  constexpr size_t kTest = by_attribute ? 1 : 0;  // where the test's name stands
  if (a.positional.size() < kTest) return Fail("expected an attribute to select by");
  const bool tested = a.positional.size() > kTest;
  const std::string name = tested ? engine.Str(a.positional[kTest]) : "";
  const Arguments rest = Rest(a, std::min(a.positional.size(), kTest + 1));
  DS_ASSIGN(const Items items, Iterate(v, engine.budget()));
  for (const Value& item : items) {
    Value subject = item;
    if (by_attribute) {
      DS_ASSIGN(subject, AttributePath(engine, item, a.positional[0]));
    }
    bool holds = Truth(subject);
    if (tested) {
      DS_ASSIGN(holds, engine.ApplyTest(name, subject, rest));
    }
    if (holds == keep) out.push_back(item);
  }
  return Value::Iterator(std::move(out), engine.budget());
}

struct Entry {
  std::string_view name;
  FilterFunction function;
};

constexpr Entry kFilters[] = {
    {"length", LengthFilter},
    {"count", LengthFilter},
    {"default", Default},
    {"d", Default},
    {"first", First},
    {"last", Last},
    {"list", ListFilter},
    {"reverse", Reverse},
    {"join", Join},
    {"items", ItemsFilter},
    {"dictsort", DictSort},
    {"sort", Sort},
    {"min", Extreme<CompareOp::kLt>},
    {"max", Extreme<CompareOp::kGt>},
    {"sum", Sum},
    {"unique", Unique},
    {"groupby", GroupBy},
    {"batch", Batch},
    {"slice", SliceFilter},
    {"attr", Attr},
    {"map", Map},
    {"select", Select<true, false>},
    {"reject", Select<false, false>},
    {"selectattr", Select<true, true>},
    {"rejectattr", Select<false, true>},
};

}  // namespace

FilterFunction FindSequenceFilter(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const Entry& e) { return e.name == name; });
  return found == std::end(kFilters) ? nullptr : found->function;
}

}  // namespace deepshock::jinja

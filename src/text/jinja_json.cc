// SPDX-License-Identifier: Apache-2.0
// json.dumps as Python writes it, and values from parsed JSON.
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

std::string JsonFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return FloatRepr(value);
}

void AppendEscape(uint32_t c, std::string* out) {
  if (c >= 0x10000) {
    *out +=
        fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF));
  } else {
    *out += fmt::format("\\u{:04x}", c);
  }
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget* budget) : style_(style), budget_(budget) {}

  Status Write(const Value& value, int depth) {
    if (!budget_->Spend(1)) return budget_->status();
    switch (value.kind()) {
      case Kind::kNone: return Append("null");
      case Kind::kBool: return Append(value.boolean() ? "true" : "false");
      case Kind::kInt: return Append(fmt::format("{}", value.integer()));
      case Kind::kFloat: return Append(JsonFloat(value.real()));
      case Kind::kString: return Text(value.text());
      case Kind::kList:
      case Kind::kTuple: return Items(value.items(), depth);
      case Kind::kDict: return Entries(value.dict(), depth);
      default: return Fail("tojson: object of type {} is not JSON serializable", TypeName(value));
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  Status Append(std::string_view text) {
    if (!budget_->SpendText(text.size())) return budget_->status();
    out_ += text;
    return Status();
  }

  Status Text(std::string_view text) {
    std::string quoted = "\"";
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = DecodeUtf8(text.substr(i));
      const auto length = static_cast<size_t>(c.length);
      switch (c.code_point) {
        case '"': quoted += "\\\""; break;
        case '\\': quoted += "\\\\"; break;
        case '\n': quoted += "\\n"; break;
        case '\r': quoted += "\\r"; break;
        case '\t': quoted += "\\t"; break;
        case '\b': quoted += "\\b"; break;
        case '\f': quoted += "\\f"; break;
        default:
          if (c.code_point < 0x20 || (style_.ensure_ascii && c.code_point > 0x7E)) {
            AppendEscape(c.code_point, &quoted);
          } else {
            quoted.append(text.substr(i, length));
          }
      }
      i += length;
    }
    return Append(quoted + '"');
  }

  Status NewLine(int depth) {
    if (!style_.indent) return Status();
    DS_RETURN_IF_ERROR(Append("\n"));
    for (int i = 0; i < depth; ++i) DS_RETURN_IF_ERROR(Append(*style_.indent));
    return Status();
  }

  Status Items(const std::vector<Value>& items, int depth) {
    if (items.empty()) return Append("[]");
    DS_RETURN_IF_ERROR(Append("["));
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) DS_RETURN_IF_ERROR(Append(style_.item_separator));
      DS_RETURN_IF_ERROR(NewLine(depth + 1));
      DS_RETURN_IF_ERROR(Write(items[i], depth + 1));
    }
    DS_RETURN_IF_ERROR(NewLine(depth));
    return Append("]");
  }

  Status Key(const Value& key) {
    switch (key.kind()) {
      case Kind::kString: return Text(key.text());
      case Kind::kNone: return Text("null");
      case Kind::kBool: return Text(key.boolean() ? "true" : "false");
      case Kind::kInt: return Text(fmt::format("{}", key.integer()));
      case Kind::kFloat: return Text(JsonFloat(key.real()));
      default: return Fail("tojson: keys must be str, int, float, bool or None, not {}", TypeName(key));
    }
  }

  Status Entries(const Dict& dict, int depth) {
    if (dict.size() == 0) return Append("{}");
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) DS_RETURN_IF_ERROR(Sort(&entries));
    DS_RETURN_IF_ERROR(Append("{"));
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) DS_RETURN_IF_ERROR(Append(style_.item_separator));
      DS_RETURN_IF_ERROR(NewLine(depth + 1));
      DS_RETURN_IF_ERROR(Key(entries[i]->first));
      DS_RETURN_IF_ERROR(Append(style_.key_separator));
      DS_RETURN_IF_ERROR(Write(entries[i]->second, depth + 1));
    }
    DS_RETURN_IF_ERROR(NewLine(depth));
    return Append("}");
  }

  Status Sort(std::vector<const Dict::Entry*>* entries) {
    Status problem;
    std::stable_sort(entries->begin(), entries->end(), [&](const Dict::Entry* a, const Dict::Entry* b) {
      const Result<bool> less = Compare(CompareOp::kLt, a->first, b->first, budget_);
      if (!less.ok()) problem = less.status();
      return less.ok() && *less;
    });
    return problem;
  }

  const JsonStyle& style_;
  Budget* budget_;
  std::string out_;
};

Result<Value> FromJsonAt(const nlohmann::ordered_json& json, int depth, Budget* budget) {
  using Type = nlohmann::ordered_json::value_t;
  if (!budget->Spend(1)) return budget->status();
  if (depth > kMaxValueDepth) return Fail("variables are nested more than {} levels deep", kMaxValueDepth);
  switch (json.type()) {
    case Type::null: return Value::None();
    case Type::boolean: return Value::Bool(json.get<bool>());
    case Type::number_integer: return Value::Int(json.get<int64_t>());
    case Type::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Fail("variables: integer {} does not fit 64 bits with sign", json.get<uint64_t>());
      }
      return Value::Int(json.get<int64_t>());
    case Type::number_float: return Value::Float(json.get<double>());
    case Type::string: {
      const auto& text = json.get_ref<const std::string&>();
      if (FindInvalidUtf8(text) != std::string::npos)
        return Fail("variables: expected UTF-8 text, found other bytes");
      return NewText(text, budget);
    }
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& element : json) {
        DS_ASSIGN(Value item, FromJsonAt(element, depth + 1, budget));
        items.push_back(std::move(item));
      }
      return Value::List(std::move(items), budget);
    }
    case Type::object: {
      Dict dict;
      for (const auto& [key, element] : json.items()) {
        if (FindInvalidUtf8(key) != std::string::npos)
          return Fail("variables: expected UTF-8 keys, found other bytes");
        DS_ASSIGN(Value item, FromJsonAt(element, depth + 1, budget));
        dict.Set(Value::String(key), std::move(item), budget);
      }
      return Value::FromDict(std::move(dict), budget);
    }
    default: return Fail("variables: expected JSON, found binary data");
  }
}

}  // namespace

Result<std::string> ToJson(const Value& value, const JsonStyle& style, Budget* budget) {
  JsonWriter writer(style, budget);
  DS_RETURN_IF_ERROR(writer.Write(value, 0));
  return writer.Take();
}

Result<Value> FromJson(const nlohmann::ordered_json& json, Budget* budget) {
  return FromJsonAt(json, 0, budget);
}

}  // namespace deepshock::jinja

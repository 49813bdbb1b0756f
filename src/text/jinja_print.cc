// SPDX-License-Identifier: Apache-2.0
// str() and repr().
#include "text/jinja_print.h"

#include "text/jinja_text.h"

namespace deepshock::jinja {
namespace {

// Only namespaces can make printing recurse further than values nest.
constexpr int kMaxPrintDepth = 2 * kMaxValueDepth;

class Printer {
 public:
  explicit Printer(Budget* budget) : budget_(budget) {}

  void Print(const Value& value, int depth) {
    if (!budget_->Spend(1) || !Enter(depth)) return;
    switch (value.kind()) {
      case Kind::kUndefined: return Append("Undefined");
      case Kind::kNone: return Append("None");
      case Kind::kBool: return Append(value.boolean() ? "True" : "False");
      case Kind::kInt: return Append(fmt::format("{}", value.integer()));
      case Kind::kFloat: return Append(FloatRepr(value.real()));
      case Kind::kString:
        return Append(value.markup() ? "Markup(" + TextRepr(value.text()) + ")" : TextRepr(value.text()));
      case Kind::kList: return Items(value.items(), "[", "]", depth);
      case Kind::kTuple: return Items(value.items(), "(", value.items().size() == 1 ? ",)" : ")", depth);
      case Kind::kRange: return Range(value.sequence());
      case Kind::kView: Append(value.sequence().view); return Items(value.items(), "([", "])", depth);
      case Kind::kIterator: return Append("<generator object>");
      case Kind::kDict: return Entries(value.dict().entries(), depth);
      case Kind::kObject: return PrintObject(value.object(), depth);
    }
  }

  void Entries(const std::vector<Dict::Entry>& entries, int depth) {
    Append("{");
    for (size_t i = 0; i < entries.size() && budget_->ok(); ++i) {
      if (i > 0) Append(", ");
      Print(entries[i].first, depth + 1);
      Append(": ");
      Print(entries[i].second, depth + 1);
    }
    Append("}");
  }

  std::string Take() { return std::move(out_); }

 private:
  void PrintObject(const Object& object, int depth) {
    if (object.contents() == nullptr) return Append(object.Describe());
    Append("<Namespace ");
    Entries(object.contents()->entries(), depth);
    Append(">");
  }

  bool Enter(int depth) {
    if (depth > kMaxPrintDepth) budget_->Refuse("a value is nested too deeply to print");
    return budget_->ok();
  }

  void Append(std::string_view text) {
    if (budget_->SpendText(text.size())) out_ += text;
  }

  void Items(const std::vector<Value>& items, std::string_view open, std::string_view close, int depth) {
    Append(open);
    for (size_t i = 0; i < items.size() && budget_->ok(); ++i) {
      if (i > 0) Append(", ");
      Print(items[i], depth + 1);
    }
    Append(close);
  }

  void Range(const Value::Sequence& range) {
    Append(range.step == 1 ? fmt::format("range({}, {})", range.start, range.stop)
                           : fmt::format("range({}, {}, {})", range.start, range.stop, range.step));
  }

  Budget* budget_;
  std::string out_;
};

}  // namespace

std::string Str(const Value& value, Budget* budget) {
  if (value.Is(Kind::kString)) return value.text();
  if (value.Is(Kind::kUndefined)) return "";
  return Repr(value, budget);
}

std::string Repr(const Value& value, Budget* budget) {
  Printer printer(budget);
  printer.Print(value, 0);
  return printer.Take();
}

}  // namespace deepshock::jinja

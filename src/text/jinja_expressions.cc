// SPDX-License-Identifier: Apache-2.0
// Evaluating expressions. Each kind has its own small function, so that recursion uses little stack.
#include "text/jinja_builtins.h"
#include "text/jinja_engine.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace deepshock::jinja {

// Nested evaluations: recursive macros are what gets there. A level takes about half a KiB of stack, several
// times that under sanitizers.
constexpr int kMaxLevels = 1500;

Result<Value> Engine::Eval(const Expr& expr) {
  if (!budget_.Spend(1)) return budget_.status();
  if (level_ >= kMaxLevels) return Fail("the template recurses too deeply");
  ++level_;
  line_ = expr.line;
  Result<Value> result = EvalNode(expr);
  --level_;
  if (result.ok() && !budget_.ok()) return budget_.status();
  return result;
}

Result<Value> Engine::EvalNode(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConstant: return expr.constant;
    case ExprKind::kName: return EvalName(expr);
    case ExprKind::kList:
    case ExprKind::kTuple: return EvalList(expr);
    case ExprKind::kDict: return EvalDict(expr);
    case ExprKind::kBinary: return EvalBinary(expr);
    case ExprKind::kAnd:
    case ExprKind::kOr:
    case ExprKind::kNot: return EvalLogic(expr);
    case ExprKind::kNegate:
    case ExprKind::kPosit: return EvalSign(expr);
    case ExprKind::kConcat: return EvalConcat(expr);
    case ExprKind::kCompare: return EvalCompare(expr);
    case ExprKind::kConditional: return EvalConditional(expr);
    case ExprKind::kAttribute: {
      DS_ASSIGN(const Value object, Eval(*expr.children[0]));
      return Attribute(object, expr.text);
    }
    case ExprKind::kSubscript: return EvalSubscript(expr);
    case ExprKind::kSlice: return EvalSlice(expr);
    case ExprKind::kCall: return EvalCall(expr, nullptr);
    case ExprKind::kFilter: return EvalFilter(expr);
    case ExprKind::kTest: return EvalTest(expr);
  }
  return Status::Error("unknown expression");
}

Result<Value> Engine::EvalName(const Expr& expr) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (const Value* value = scope->Find(expr.symbol)) return *value;
  }
  if (auto global = FindGlobal(expr.text)) return std::move(*global);
  return Value::Undefined("'" + expr.text + "' is undefined");
}

Result<Value> Engine::EvalList(const Expr& expr) {
  std::vector<Value> items;
  items.reserve(expr.children.size());
  for (const ExprPtr& child : expr.children) {
    DS_ASSIGN(Value item, Eval(*child));
    items.push_back(std::move(item));
  }
  const bool list = expr.kind == ExprKind::kList;
  return list ? Value::List(std::move(items), &budget_) : Value::Tuple(std::move(items), &budget_);
}

Result<Value> Engine::EvalDict(const Expr& expr) {
  Dict dict;
  for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
    DS_ASSIGN(Value key, Eval(*expr.children[i]));
    DS_ASSIGN(Value value, Eval(*expr.children[i + 1]));
    DS_RETURN_IF_ERROR(Hash(key).status());
    dict.Set(std::move(key), std::move(value), &budget_);
  }
  return Value::FromDict(std::move(dict), &budget_);
}

Result<Value> Engine::EvalLogic(const Expr& expr) {
  DS_ASSIGN(Value left, Eval(*expr.children[0]));
  const bool truth = Truth(left);
  if (expr.kind == ExprKind::kNot) return Value::Bool(!truth);
  if (truth == (expr.kind == ExprKind::kOr)) return left;
  return Eval(*expr.children[1]);
}

Result<Value> Engine::EvalBinary(const Expr& expr) {
  DS_ASSIGN(const Value left, Eval(*expr.children[0]));
  DS_ASSIGN(const Value right, Eval(*expr.children[1]));
  return Binary(expr.binary, left, right, &budget_);
}

Result<Value> Engine::EvalSign(const Expr& expr) {
  DS_ASSIGN(const Value operand, Eval(*expr.children[0]));
  return expr.kind == ExprKind::kNegate ? Negate(operand) : Posit(operand);
}

Result<Value> Engine::EvalConcat(const Expr& expr) {
  std::string text;
  for (const ExprPtr& child : expr.children) {
    DS_ASSIGN(const Value part, Eval(*child));
    text += Str(part);
  }
  return NewText(std::move(text), &budget_);
}

Result<Value> Engine::EvalCompare(const Expr& expr) {
  DS_ASSIGN(Value left, Eval(*expr.children[0]));
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    DS_ASSIGN(Value right, Eval(*expr.children[i + 1]));
    DS_ASSIGN(const bool holds, Compare(expr.comparisons[i], left, right, &budget_));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Result<Value> Engine::EvalConditional(const Expr& expr) {
  DS_ASSIGN(const Value test, Eval(*expr.children[0]));
  if (Truth(test)) return Eval(*expr.children[1]);
  if (expr.children[2] != nullptr) return Eval(*expr.children[2]);
  return Value::Undefined("the inline if-expression was false and has no else");
}

Result<Value> Engine::EvalSubscript(const Expr& expr) {
  DS_ASSIGN(const Value object, Eval(*expr.children[0]));
  DS_ASSIGN(const Value key, Eval(*expr.children[1]));
  return Item(object, key);
}

Result<Value> Engine::EvalSlice(const Expr& expr) {
  DS_ASSIGN(const Value object, Eval(*expr.children[0]));
  Value bounds[3] = {Value::None(), Value::None(), Value::None()};
  for (size_t i = 0; i < 3; ++i) {
    if (expr.children[i + 1] == nullptr) continue;
    DS_ASSIGN(bounds[i], Eval(*expr.children[i + 1]));
  }
  return Slice(object, bounds[0], bounds[1], bounds[2], &budget_);
}

Status Engine::EvalArguments(const CallArguments& in, Arguments* out) {
  for (const ExprPtr& argument : in.positional) {
    DS_ASSIGN(Value value, Eval(*argument));
    out->positional.push_back(std::move(value));
  }
  if (in.star != nullptr) {
    DS_ASSIGN(const Value list, Eval(*in.star));
    DS_ASSIGN(std::vector<Value> items, Iterate(list, &budget_));
    for (Value& item : items) out->positional.push_back(std::move(item));
  }
  for (const auto& [name, argument] : in.named) {
    DS_ASSIGN(Value value, Eval(*argument));
    out->named.emplace_back(name, std::move(value));
  }
  if (in.double_star == nullptr) return Status();
  DS_ASSIGN(const Value dict, Eval(*in.double_star));
  if (!dict.Is(Kind::kDict)) return Fail("argument after ** must be a mapping, not {}", TypeName(dict));
  if (!budget_.Spend(dict.dict().size() * (out->named.size() + 1))) return budget_.status();
  for (const auto& [key, value] : dict.dict().entries()) {
    if (!key.Is(Kind::kString)) return Fail("keywords must be strings, not {}", TypeName(key));
    for (size_t i = 0; i < in.named.size(); ++i) {
      if (in.named[i].first == key.text()) return Fail("keyword argument '{}' is given twice", key.text());
    }
    out->named.emplace_back(key.text(), value);
  }
  return Status();
}

Result<Value> Engine::EvalCall(const Expr& expr, const Value* caller) {
  DS_ASSIGN(const Value callee, Eval(*expr.children[0]));
  Arguments arguments;
  DS_RETURN_IF_ERROR(EvalArguments(expr.arguments, &arguments));
  if (caller != nullptr) {
    for (const auto& named : arguments.named) {
      if (named.first == "caller") return Fail("keyword argument 'caller' is given twice");
    }
    arguments.named.emplace_back("caller", *caller);
  }
  line_ = expr.line;
  DS_ASSIGN(Value result, Call(callee, arguments));
  line_ = expr.line;
  return result;
}

Result<Value> Engine::EvalFilter(const Expr& expr) {
  Value input = filter_block_;
  if (expr.children[0] != nullptr) {
    DS_ASSIGN(input, Eval(*expr.children[0]));
  }
  Arguments arguments;
  DS_RETURN_IF_ERROR(EvalArguments(expr.arguments, &arguments));
  line_ = expr.line;
  return ApplyFilter(expr.text, input, arguments);
}

Result<Value> Engine::EvalTest(const Expr& expr) {
  DS_ASSIGN(const Value input, Eval(*expr.children[0]));
  Arguments arguments;
  DS_RETURN_IF_ERROR(EvalArguments(expr.arguments, &arguments));
  line_ = expr.line;
  DS_ASSIGN(const bool holds, ApplyTest(expr.text, input, arguments));
  return Value::Bool(holds);
}

Result<Value> Engine::ApplyFilter(const std::string& name, const Value& input, const Arguments& arguments) {
  const FilterFunction filter = FindFilter(name);
  if (filter == nullptr) return Fail("no filter is named '{}'", name);
  if (!budget_.Spend(1)) return budget_.status();
  return filter(*this, input, arguments);
}

Result<bool> Engine::ApplyTest(const std::string& name, const Value& input, const Arguments& arguments) {
  const TestFunction test = FindTest(name);
  if (test == nullptr) return Fail("no test is named '{}'", name);
  if (!budget_.Spend(1)) return budget_.status();
  return test(*this, input, arguments);
}

Result<Value> Engine::Call(const Value& callee, const Arguments& arguments) {
  if (callee.Is(Kind::kUndefined)) return UndefinedError(callee);
  if (!callee.Is(Kind::kObject)) return Fail("'{}' object is not callable", TypeName(callee));
  if (level_ >= kMaxLevels) return Fail("the template recurses too deeply");
  return callee.object().Call(*this, arguments);
}

namespace {

Value NoSuch(const Value& object, std::string_view what, std::string_view name) {
  constexpr size_t kShown = 60;  // of a name that may be any text
  return Value::Undefined(
      fmt::format("'{} object' has no {} {}", TypeName(object), what, name.substr(0, kShown)));
}

}  // namespace

Result<Value> Engine::Attribute(const Value& object, const std::string& name) {
  if (object.Is(Kind::kUndefined)) return UndefinedError(object);
  if (object.Is(Kind::kObject)) {
    DS_ASSIGN(auto found, object.object().Attribute(*this, name));
    return found ? std::move(*found) : NoSuch(object, "attribute", name);
  }
  if (auto method = FindMethod(object, name)) return std::move(*method);
  if (object.Is(Kind::kTuple) && object.sequence().group) {
    if (name == "grouper") return object.items()[0];
    if (name == "list") return object.items()[1];
  }
  if (object.Is(Kind::kDict)) {
    if (const Value* found = object.dict().Find(name)) return *found;
  }
  return NoSuch(object, "attribute", name);
}

Result<Value> Engine::Item(const Value& object, const Value& key) {
  DS_ASSIGN(auto found, Subscript(object, key, &budget_));
  if (found) return std::move(*found);
  if (!key.Is(Kind::kString)) return NoSuch(object, "element", Repr(key, &budget_));
  if (object.Is(Kind::kDict)) {  // the key is not there; a method may be
    if (auto method = FindMethod(object, key.text())) return std::move(*method);
    return NoSuch(object, "attribute", key.text());
  }
  return Attribute(object, key.text());
}

std::string Engine::Str(const Value& value) { return jinja::Str(value, &budget_); }

}  // namespace deepshock::jinja

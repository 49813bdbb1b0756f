// SPDX-License-Identifier: Apache-2.0
// Running statements: scopes, loops, macros, output.
#include "text/jinja_engine.h"

#include <nlohmann/json.hpp>

#include "text/jinja_builtins.h"
#include "text/jinja_loop.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace deepshock::jinja {

// A macro, or the body of a call block, with the scope it was defined in.
class MacroObject : public Object {
 public:
  MacroObject(const MacroNode& node, Scope* closure) : node_(node), closure_(closure) {}

  std::string Describe() const override {
    return node_.name.empty() ? "<Macro anonymous>" : "<Macro '" + node_.name + "'>";
  }
  bool callable() const override { return true; }
  Result<Value> Call(Engine& engine, const Arguments& arguments) override {
    return engine.CallMacro(node_, closure_, arguments);
  }
  Result<std::optional<Value>> Attribute(Engine& engine, std::string_view name) override {
    if (name == "name") return std::optional(node_.name.empty() ? Value::None() : Value::String(node_.name));
    if (name == "caller") return std::optional(Value::Bool(node_.uses_caller));
    if (name == "catch_kwargs") return std::optional(Value::Bool(node_.uses_kwargs));
    if (name == "catch_varargs") return std::optional(Value::Bool(node_.uses_varargs));
    if (name != "arguments") return std::optional<Value>();
    std::vector<Value> names;
    for (const Parameter& parameter : node_.parameters) names.push_back(Value::String(parameter.name));
    DS_ASSIGN(Value tuple, Value::Tuple(std::move(names), engine.budget()));
    return std::optional(std::move(tuple));
  }

 private:
  const MacroNode& node_;
  Scope* closure_;
};

// Makes `parent`'s new inner scope the current one for as long as it lives.
class Engine::Inner {
 public:
  Inner(Engine* engine, Scope* parent)
      : engine_(engine), outer_(engine->scope_), scope_(engine->Push(parent)) {
    engine_->scope_ = scope_;
  }
  ~Inner() {
    engine_->scope_ = outer_;
    engine_->Pop(scope_);
  }
  Inner(const Inner&) = delete;
  Inner& operator=(const Inner&) = delete;

 private:
  Engine* engine_;
  Scope* outer_;
  Scope* scope_;
};

Scope* Engine::Push(Scope* parent) {
  if (free_scopes_.empty()) {
    scopes_.emplace_back();
    free_scopes_.push_back(&scopes_.back());
  }
  Scope* scope = free_scopes_.back();
  free_scopes_.pop_back();
  scope->parent = parent;
  return scope;
}

void Engine::Pop(Scope* scope) {
  if (scope->captured) {
    (void)budget_.Spend(32);  // it stays: what it costs is memory
    return;
  }
  scope->variables.clear();
  free_scopes_.push_back(scope);
}

Value Engine::Keep(std::unique_ptr<Object> object) {
  (void)budget_.Spend(32);
  kept_.push_back(std::move(object));
  return Value::Borrow(kept_.back().get());
}

Status Engine::Emit(std::string_view text) {
  if (!budget_.SpendText(text.size())) return budget_.status();
  if (output_->size() + text.size() > limits_.output_bytes) {
    return Fail("the output is longer than {} bytes", limits_.output_bytes);
  }
  *output_ += text;
  return Status();
}

Status Engine::DefineVariables(const nlohmann::ordered_json& variables) {
  if (!variables.is_object())
    return Fail("expected variables as a JSON object, found {}", variables.type_name());
  for (const auto& [name, json] : variables.items()) {
    const int symbol = program_.symbols.Find(name);
    if (symbol < 0) continue;
    DS_ASSIGN(Value value, FromJson(json, &budget_).WithContext("variable '" + name + "'"));
    globals_.Set(symbol, std::move(value));
  }
  return budget_.status();
}

Result<std::string> Engine::Render(const nlohmann::ordered_json& variables) {
  DS_RETURN_IF_ERROR(DefineVariables(variables));
  std::string output;
  output_ = &output;
  Status status;
  {
    const Inner root(this, &globals_);
    status = Run(program_.body).status();
  }
  if (status.ok()) status = budget_.status();
  if (!status.ok()) return Fail("line {}: {}", line_, status.message());
  return output;
}

Result<Engine::Flow> Engine::Run(const Block& block) {
  for (const auto& statement : block) {
    if (!budget_.Spend(1)) return budget_.status();
    line_ = statement->line;
    DS_ASSIGN(const Flow flow, Execute(*statement));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Engine::Flow> Engine::Execute(const Stmt& statement) {
  Status status;
  switch (statement.kind) {
    case StmtKind::kData: status = Emit(statement.text); break;
    case StmtKind::kPrint: status = PrintAll(statement); break;
    case StmtKind::kIf: return RunIf(statement);
    case StmtKind::kFor: {
      DS_ASSIGN(const Value iterable, Eval(*statement.expressions[0]));
      status = RunFor(statement, iterable, 1);
      break;
    }
    case StmtKind::kSet: status = RunSet(statement); break;
    case StmtKind::kSetBlock:
    case StmtKind::kFilterBlock: return RunBlock(statement);
    case StmtKind::kWith: return RunWith(statement);
    case StmtKind::kMacro: scope_->Set(statement.macro->symbol, MakeMacro(*statement.macro)); break;
    case StmtKind::kCallBlock: status = RunCallBlock(statement); break;
    case StmtKind::kGeneration: {
      const Inner inner(this, scope_);
      return Run(statement.macro->body);
    }
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  DS_RETURN_IF_ERROR(status);
  return Flow::kNext;
}

Status Engine::PrintAll(const Stmt& statement) {
  for (const ExprPtr& expr : statement.expressions) {
    DS_ASSIGN(const Value value, Eval(*expr));
    if (value.Is(Kind::kString)) {
      DS_RETURN_IF_ERROR(Emit(value.text()));
    } else {
      DS_RETURN_IF_ERROR(Emit(Str(value)));
    }
  }
  return Status();
}

Result<Engine::Flow> Engine::RunIf(const Stmt& statement) {
  for (size_t i = 0; i < statement.bodies.size(); ++i) {
    DS_ASSIGN(const Value test, Eval(*statement.expressions[i]));
    if (Truth(test)) return Run(statement.bodies[i]);
  }
  return Run(statement.otherwise);
}

Result<Engine::Flow> Engine::RunWith(const Stmt& statement) {
  std::vector<Value> values;  // seen from outside the block
  for (const ExprPtr& expr : statement.expressions) {
    DS_ASSIGN(Value value, Eval(*expr));
    values.push_back(std::move(value));
  }
  const Inner inner(this, scope_);
  for (size_t i = 0; i < values.size(); ++i) DS_RETURN_IF_ERROR(Assign(statement.targets[i], values[i]));
  return Run(statement.bodies[0]);
}

Status Engine::RunSet(const Stmt& statement) {
  DS_ASSIGN(const Value value, Eval(*statement.expressions[0]));
  return Assign(statement.target, value);
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}.
Result<Engine::Flow> Engine::RunBlock(const Stmt& statement) {
  Flow flow = Flow::kNext;
  DS_ASSIGN(Value text, Capture(statement.bodies[0], &flow));
  if (flow != Flow::kNext) return flow;
  if (statement.expressions[0] != nullptr) {
    std::swap(filter_block_, text);
    Result<Value> filtered = Eval(*statement.expressions[0]);
    std::swap(filter_block_, text);
    if (!filtered.ok()) return filtered.status();
    text = std::move(filtered).value();
  }
  if (statement.kind == StmtKind::kSetBlock) {
    DS_RETURN_IF_ERROR(Assign(statement.target, text));
  } else {
    DS_RETURN_IF_ERROR(Emit(Str(text)));
  }
  return Flow::kNext;
}

Result<Value> Engine::Capture(const Block& block, Flow* flow) {
  std::string text;
  std::string* outer = output_;
  output_ = &text;
  const Result<Flow> result = [&] {
    const Inner inner(this, scope_);
    return Run(block);
  }();
  output_ = outer;
  if (!result.ok()) return result.status();
  *flow = *result;
  return Value::String(std::move(text));
}

Status Engine::Assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    DS_ASSIGN(const std::vector<Value> items, Iterate(value, &budget_));
    if (items.size() != target.parts.size()) {
      return Fail("expected {} values to unpack, found {}", target.parts.size(), items.size());
    }
    for (size_t i = 0; i < items.size(); ++i) DS_RETURN_IF_ERROR(Assign(target.parts[i], items[i]));
    return Status();
  }
  if (target.attribute.empty()) {
    scope_->Set(target.symbol, value);
    return Status();
  }
  Value* owner = nullptr;
  for (Scope* scope = scope_; scope != nullptr && owner == nullptr; scope = scope->parent) {
    owner = scope->Find(target.symbol);
  }
  auto* space =
      owner != nullptr && owner->Is(Kind::kObject) ? dynamic_cast<Namespace*>(&owner->object()) : nullptr;
  if (space == nullptr) return Fail("cannot assign attribute on non-namespace object");
  space->attributes()->Set(Value::String(target.attribute), value, &budget_);
  return Status();
}

Status Engine::RunFor(const Stmt& statement, const Value& iterable, int depth) {
  DS_ASSIGN(std::vector<Value> items, Iterate(iterable, &budget_));
  auto own = std::make_unique<LoopObject>(this, statement, scope_, std::move(items), depth);
  LoopObject* const loop = own.get();
  Scope* const outer = scope_;
  const int loop_symbol = program_.symbols.Find("loop");
  Value loop_value;
  if (loop_symbol >= 0) loop_value = Keep(std::move(own));
  if (statement.recursive) CaptureScopes();
  Status status;
  bool completed = false;  // a round came to its end: jinja2 runs `else` unless one did
  while (status.ok()) {
    if (!budget_.Spend(4)) {
      status = budget_.status();
      break;
    }
    Result<std::optional<Value>> item = loop->Next();
    if (!item.ok()) status = item.status();
    if (!item.ok() || !*item) break;
    const Inner inner(this, outer);
    if (loop_symbol >= 0) scope_->Set(loop_symbol, loop_value);
    status = Assign(statement.target, **item);
    if (!status.ok()) break;
    const Result<Flow> flow = Run(statement.bodies[0]);
    if (!flow.ok()) status = flow.status();
    if (!flow.ok() || *flow == Flow::kBreak) break;
    completed |= *flow == Flow::kNext;
  }
  loop->End();
  DS_RETURN_IF_ERROR(status);
  if (completed) return Status();
  const Inner inner(this, outer);
  return Run(statement.otherwise).status();
}

void Engine::CaptureScopes() {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent)
    scope->captured = true;
}

Value Engine::MakeMacro(const MacroNode& macro) {
  CaptureScopes();
  return Value::Of(std::make_shared<MacroObject>(macro, scope_));
}

Status Engine::RunCallBlock(const Stmt& statement) {
  const Value caller = MakeMacro(*statement.macro);
  DS_ASSIGN(const Value result, EvalCall(*statement.expressions[0], &caller));
  return Emit(Str(result));
}

Result<Value> Engine::CallMacro(const MacroNode& macro, Scope* closure, const Arguments& arguments) {
  std::string text;
  std::string* outer_output = output_;
  const int outer_line = line_;
  output_ = &text;
  level_ += 4;  // a call takes as much stack as several expressions
  Status status;
  {
    const Inner inner(this, closure);
    status = BindMacro(macro, arguments);
    if (status.ok()) status = Run(macro.body).status();
  }
  level_ -= 4;
  output_ = outer_output;
  DS_RETURN_IF_ERROR(status);
  line_ = outer_line;
  return Value::String(std::move(text));
}

Status Engine::BindMacro(const MacroNode& macro, const Arguments& arguments) {
  const std::vector<Parameter>& parameters = macro.parameters;
  const size_t given = arguments.positional.size();
  std::vector<bool> used(arguments.named.size(), false);
  bool caller_is_parameter = false;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    caller_is_parameter |= parameter.name == "caller";
    const Value* value = i < given ? &arguments.positional[i] : nullptr;
    for (size_t n = 0; value == nullptr && n < used.size(); ++n) {
      if (used[n] || arguments.named[n].first != parameter.name) continue;
      used[n] = true;
      value = &arguments.named[n].second;
    }
    if (value != nullptr) {
      scope_->Set(parameter.symbol, *value);
    } else if (parameter.fallback != nullptr) {
      DS_ASSIGN(Value fallback, Eval(*parameter.fallback));
      scope_->Set(parameter.symbol, std::move(fallback));
    } else {
      scope_->Set(parameter.symbol, Value::Undefined("parameter '" + parameter.name + "' was not provided"));
    }
  }
  if (macro.uses_caller && !caller_is_parameter) {
    Value caller = Value::Undefined("No caller defined");
    for (size_t n = 0; n < used.size(); ++n) {
      if (used[n] || arguments.named[n].first != "caller") continue;
      used[n] = true;
      if (!arguments.named[n].second.Is(Kind::kNone)) caller = arguments.named[n].second;
    }
    scope_->Set(program_.symbols.Find("caller"), std::move(caller));
  }
  Dict rest;
  for (size_t n = 0; n < used.size(); ++n) {
    if (used[n]) continue;
    const auto& [name, value] = arguments.named[n];
    if (!macro.uses_kwargs) return Fail("macro '{}' takes no keyword argument '{}'", macro.name, name);
    rest.Set(Value::String(name), value, &budget_);
  }
  if (macro.uses_kwargs) {
    DS_ASSIGN(Value kwargs, Value::FromDict(std::move(rest), &budget_));
    scope_->Set(program_.symbols.Find("kwargs"), std::move(kwargs));
  }
  if (!macro.uses_varargs) {
    if (given <= parameters.size()) return Status();
    return Fail("macro '{}' takes not more than {} arguments, found {}", macro.name, parameters.size(),
                given);
  }
  const size_t first = std::min(given, parameters.size());
  std::vector<Value> surplus(arguments.positional.begin() + static_cast<std::ptrdiff_t>(first),
                             arguments.positional.end());
  DS_ASSIGN(Value varargs, Value::Tuple(std::move(surplus), &budget_));
  scope_->Set(program_.symbols.Find("varargs"), std::move(varargs));
  return Status();
}

}  // namespace deepshock::jinja

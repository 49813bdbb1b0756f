// SPDX-License-Identifier: Apache-2.0
// Runs a parsed template over variables. Owns everything one rendering makes: scopes, namespaces, output,
// budget. Made and used by ChatTemplate::Render on one thread; the template is only read. Refuses to go on
// past the limits: steps, text made, output size, nesting of calls.
#pragma once

#include <ctime>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace deepshock::jinja {

struct Limits {
  uint64_t steps;
  uint64_t text_bytes;
  uint64_t output_bytes;
};

// Variables of one block. The engine owns scopes, since macros may outlive the block that they were defined
// in.
struct Scope {
  Scope* parent = nullptr;
  bool captured = false;                         // a macro refers to it: keep it until the rendering ends
  std::vector<std::pair<int, Value>> variables;  // by symbol

  Value* Find(int symbol) {
    for (auto& [name, value] : variables) {
      if (name == symbol) return &value;
    }
    return nullptr;
  }
  void Set(int symbol, Value value) {
    if (Value* known = Find(symbol)) {
      *known = std::move(value);
    } else {
      variables.emplace_back(symbol, std::move(value));
    }
  }
};

class Engine {
 public:
  Engine(const Template& program, const Limits& limits, std::function<std::tm()> clock)
      : program_(program),
        limits_(limits),
        clock_(std::move(clock)),
        budget_(limits.steps, limits.text_bytes) {}

  // `variables` is an object. The error begins with "line N: ".
  Result<std::string> Render(const nlohmann::ordered_json& variables);

  Budget* budget() { return &budget_; }
  std::tm now() const { return clock_(); }

  Result<Value> Call(const Value& callee, const Arguments& arguments);
  Result<Value> ApplyFilter(const std::string& name, const Value& input, const Arguments& arguments);
  Result<bool> ApplyTest(const std::string& name, const Value& input, const Arguments& arguments);
  Result<Value> Attribute(const Value& object, const std::string& name);  // object.name
  Result<Value> Item(const Value& object, const Value& key);              // object[key]
  std::string Str(const Value& value);
  // Keeps an object, which may come to refer to itself, until the rendering ends.
  Value Keep(std::unique_ptr<Object> object);

 private:
  friend class LoopObject;
  friend class MacroObject;
  enum class Flow : uint8_t { kNext, kBreak, kContinue };
  class Level;
  class Inner;

  // Expressions (jinja_expressions.cc)
  Result<Value> Eval(const Expr& expr);
  Result<Value> EvalNode(const Expr& expr);
  Result<Value> EvalName(const Expr& expr);
  Result<Value> EvalList(const Expr& expr);
  Result<Value> EvalDict(const Expr& expr);
  Result<Value> EvalLogic(const Expr& expr);
  Result<Value> EvalConcat(const Expr& expr);
  Result<Value> EvalCompare(const Expr& expr);
  Result<Value> EvalConditional(const Expr& expr);
  Result<Value> EvalBinary(const Expr& expr);
  Result<Value> EvalSign(const Expr& expr);
  Result<Value> EvalSubscript(const Expr& expr);
  Result<Value> EvalSlice(const Expr& expr);
  Result<Value> EvalCall(const Expr& expr, const Value* caller);
  Result<Value> EvalFilter(const Expr& expr);
  Result<Value> EvalTest(const Expr& expr);
  Status EvalArguments(const CallArguments& in, Arguments* out);

  // Statements (jinja_engine.cc)
  Status DefineVariables(const nlohmann::ordered_json& variables);
  Result<Flow> Run(const Block& block);
  Result<Flow> Execute(const Stmt& statement);
  Result<Flow> RunIf(const Stmt& statement);
  Result<Flow> RunWith(const Stmt& statement);
  Result<Flow> RunBlock(const Stmt& statement);
  Status RunFor(const Stmt& statement, const Value& iterable, int depth);
  Status RunSet(const Stmt& statement);
  Status RunCapture(const Stmt& statement);
  Status RunCallBlock(const Stmt& statement);
  Status PrintAll(const Stmt& statement);
  Status Assign(const Target& target, const Value& value);
  // The output of `block`, run in a scope inside the current one. A loop may be left from within.
  Result<Value> Capture(const Block& block, Flow* flow);
  Result<Value> CallMacro(const MacroNode& macro, Scope* closure, const Arguments& arguments);
  Status BindMacro(const MacroNode& macro, const Arguments& arguments);
  Value MakeMacro(const MacroNode& macro);
  Status Emit(std::string_view text);
  void CaptureScopes();
  Scope* Push(Scope* parent);
  void Pop(Scope* scope);

  const Template& program_;
  const Limits limits_;
  std::function<std::tm()> clock_;
  Budget budget_;
  int line_ = 1;   // of what is being evaluated, for errors
  int level_ = 0;  // nested evaluations, hence stack in use
  Scope globals_;
  Scope* scope_ = &globals_;
  std::string* output_ = nullptr;
  Value filter_block_;  // what a filter block has put out, while its filters run
  std::deque<Scope> scopes_;
  std::vector<Scope*> free_scopes_;
  std::vector<std::unique_ptr<Object>> kept_;
};

// {{ namespace() }}: the one thing that `set` can change from an inner scope. The engine keeps it.
class Namespace : public Object {
 public:
  std::string Describe() const override { return "<Namespace>"; }
  const Dict* contents() const override { return &attributes_; }
  Result<std::optional<Value>> Attribute(Engine& engine, std::string_view name) override;
  Dict* attributes() { return &attributes_; }

 private:
  Dict attributes_;
};

}  // namespace deepshock::jinja

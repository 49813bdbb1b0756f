// SPDX-License-Identifier: Apache-2.0
// The syntax tree of a template: made by the parser, read by the engine, never changed after.
// Nesting is bounded by kMaxTreeDepth, so recursion over the tree is safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_operators.h"

namespace deepshock::jinja {

constexpr int kMaxTreeDepth = 200;  // Python gives up at 100 indented blocks or 200 parentheses

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

// How a macro, a call block or a `call` tag declares parameters.
struct Parameter {
  int symbol;
  std::string name;
  ExprPtr fallback;  // none: required
};

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         // *list
  ExprPtr double_star;  // **dict
};

enum class ExprKind : uint8_t {
  kConstant,     // constant
  kName,         // symbol, text
  kList,         // children
  kTuple,        // children
  kDict,         // children: key, value, key, value, ...
  kBinary,       // binary; children: left, right
  kAnd,          // children: left, right
  kOr,           // children: left, right
  kNot,          // children: operand
  kNegate,       // children: operand
  kPosit,        // children: operand
  kConcat,       // children: what `~` joins
  kCompare,      // comparisons; children: operands, one more than comparisons
  kConditional,  // children: test, then, else; else may be null
  kAttribute,    // text; children: object
  kSubscript,    // children: object, key
  kSlice,        // children: object, start, stop, step; the last three may be null
  kCall,         // arguments; children: callee
  kFilter,       // text, arguments; children: input, null inside a filter block
  kTest,         // text, arguments; children: input
};

struct Expr {
  ExprKind kind;
  int line;
  int depth = 1;  // levels of nodes from here down
  int symbol = -1;
  BinaryOp binary = BinaryOp::kAdd;
  Value constant;
  std::string text;
  std::vector<ExprPtr> children;
  std::vector<CompareOp> comparisons;
  CallArguments arguments;
};

// Where `set`, `for` and `with` put a value: a name, a namespace's attribute, or several of those.
struct Target {
  int symbol = -1;
  std::string attribute;  // set ns.attribute
  bool is_tuple = false;
  std::vector<Target> parts;  // of a tuple
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

enum class StmtKind : uint8_t {
  kData,         // text
  kPrint,        // expressions
  kIf,           // expressions: a test for each of bodies; otherwise
  kFor,          // target; expressions: iterable, filter or null; bodies[0]; otherwise; recursive
  kSet,          // target; expressions: value
  kSetBlock,     // target; bodies[0]; expressions: filter chain or null
  kWith,         // targets; expressions: their values; bodies[0]
  kMacro,        // macro
  kCallBlock,    // macro; expressions: the call
  kFilterBlock,  // bodies[0]; expressions: filter chain
  kGeneration,   // macro without parameters: runs in place, in a scope of its own
  kBreak,
  kContinue,
};

struct MacroNode {
  std::string name;
  int symbol = -1;
  std::vector<Parameter> parameters;
  Block body;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Stmt {
  StmtKind kind;
  int line;
  std::string text;
  Target target;
  std::vector<Target> targets;
  std::vector<ExprPtr> expressions;
  std::vector<Block> bodies;
  Block otherwise;
  bool recursive = false;
  std::unique_ptr<MacroNode> macro;
};

// Names of the template, numbered.
class Symbols {
 public:
  int Number(std::string_view name) {
    const auto [it, added] = numbers_.try_emplace(std::string(name), static_cast<int>(names_.size()));
    if (added) names_.push_back(it->first);
    return it->second;
  }
  // -1 when the template never says the name.
  int Find(std::string_view name) const {
    const auto it = numbers_.find(std::string(name));
    return it == numbers_.end() ? -1 : it->second;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::unordered_map<std::string, int> numbers_;
  std::vector<std::string> names_;
};

struct Template {
  Block body;
  Symbols symbols;
};

}  // namespace deepshock::jinja

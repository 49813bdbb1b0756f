// SPDX-License-Identifier: Apache-2.0
// Tokens to syntax tree. Pure; refuses what the language does not have, what a chat template cannot have
// (other templates: extends, include, import, block) and nesting past kMaxTreeDepth. Errors begin with "line
// N: ".
#pragma once

#include <string_view>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace deepshock::jinja {

Result<Template> ParseTemplate(std::string_view source);

// The expression half of the parser (jinja_parser_expressions.cc); statements build on it.
class ExpressionParser {
 protected:
  ExpressionParser(std::vector<Token> tokens, Symbols* symbols)
      : tokens_(std::move(tokens)), symbols_(symbols) {}

  enum class Conditional : bool { kNo, kYes };

  const Token& current() const { return tokens_[at_]; }
  size_t position() const { return at_; }
  const Token& token(size_t i) const { return tokens_[i]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  void Advance() { at_ += at_ + 1 < tokens_.size() ? 1 : 0; }
  bool SkipOperator(std::string_view op);
  bool SkipName(std::string_view name);
  Status ExpectOperator(std::string_view op);
  Result<std::string> ExpectName();
  std::string Found() const;  // the current token, for messages

  template <typename... Args>
  Status Error(fmt::format_string<Args...> format, Args&&... args) const {
    return Fail("line {}: {}", current().line, fmt::format(format, std::forward<Args>(args)...));
  }

  Result<ExprPtr> ParseExpression(Conditional conditional = Conditional::kYes);
  // One expression, or several with commas between them, which make a tuple. `stop` is a name that ends it.
  Result<ExprPtr> ParseTuple(Conditional conditional, bool parenthesized, std::string_view stop = "");
  // A chain of filters; `input` null: inside a filter block.
  Result<ExprPtr> ParseFilterChain(ExprPtr input, bool name_first);
  Result<Target> ParseTarget(std::string_view stop, bool attributes);
  Result<std::vector<Parameter>> ParseParameters();

  Symbols* symbols() { return symbols_; }

 private:
  class Nesting;

  Result<ExprPtr> ParseOr();
  Result<ExprPtr> ParseAnd();
  Result<ExprPtr> ParseNot();
  Result<ExprPtr> ParseCompare();
  Result<ExprPtr> ParseSum();
  Result<ExprPtr> ParseConcat();
  Result<ExprPtr> ParseProduct();
  Result<ExprPtr> ParsePower();
  Result<ExprPtr> ParseUnary(bool with_filters);
  Result<ExprPtr> ParsePrimary();
  Result<ExprPtr> ParseNumber();
  Result<ExprPtr> ParseList();
  Result<ExprPtr> ParseDict();
  Result<ExprPtr> ParsePostfix(ExprPtr expr);
  Result<ExprPtr> ParseAttribute(ExprPtr object);
  Result<ExprPtr> ParseSubscript(ExprPtr object);
  Result<ExprPtr> ParseSubscriptPart(const ExprPtr& object, bool* is_slice, std::vector<ExprPtr>* slice);
  Result<ExprPtr> ParseFiltersAndTests(ExprPtr expr);
  Result<ExprPtr> ParseTest(ExprPtr input);
  Result<ExprPtr> ParseCall(ExprPtr callee);
  Result<CallArguments> ParseArguments();
  Result<std::string> ParseDottedName();
  Result<Target> ParseTargetPart(bool attributes);

  ExprPtr New(ExprKind kind) const;
  // Sets the node's depth from its parts; refuses what nests too deeply.
  Result<ExprPtr> Finish(ExprPtr expr) const;
  Result<ExprPtr> Pair(ExprKind kind, int line, ExprPtr left, ExprPtr right) const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  Symbols* symbols_;
};

}  // namespace deepshock::jinja

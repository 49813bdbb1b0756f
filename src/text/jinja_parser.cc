// SPDX-License-Identifier: Apache-2.0
// Statements.
#include "text/jinja_parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "text/jinja_builtins.h"

namespace deepshock::jinja {
namespace {

class Parser : public ExpressionParser {
 public:
  Parser(std::vector<Token> tokens, Symbols* symbols) : ExpressionParser(std::move(tokens), symbols) {}

  Result<Block> Parse() {
    DS_ASSIGN(Block body, ParseBody({}));
    if (current().kind != TokenKind::kEnd) return Error("expected template text, found {}", Found());
    return body;
  }

 private:
  using Ends = std::initializer_list<std::string_view>;

  bool AtTag(Ends names) const {
    return current().kind == TokenKind::kBlockBegin &&
           std::any_of(names.begin(), names.end(),
                       [&](std::string_view name) { return ahead().IsName(name); });
  }

  // Statements up to a tag named in `ends`, or to the end of the template when there are none.
  Result<Block> ParseBody(Ends ends) {
    const bool too_deep = ++depth_ > kMaxBlockDepth;
    if (too_deep) return Error("statements are nested more than {} levels deep", kMaxBlockDepth);
    Block body;
    while (!AtTag(ends)) {
      if (current().kind == TokenKind::kEnd) {
        if (ends.size() == 0) break;
        return Error("expected '{}', found the end of the template", *(ends.end() - 1));
      }
      DS_ASSIGN(auto statement, ParseStatement());
      if (statement != nullptr) body.push_back(std::move(statement));
    }
    --depth_;
    return body;
  }

  // "{% name %}" at the end of a block; `name` is known to be there.
  Status ParseEnd() {
    Advance();
    Advance();
    return ExpectBlockEnd();
  }

  Status ExpectBlockEnd() {
    if (current().kind != TokenKind::kBlockEnd)
      return Error("expected end of statement block, found {}", Found());
    Advance();
    return Status();
  }

  Result<Block> ParseBodyAndEnd(std::string_view end) {
    DS_ASSIGN(Block body, ParseBody({end}));
    DS_RETURN_IF_ERROR(ParseEnd());
    return body;
  }

  std::unique_ptr<Stmt> New(StmtKind kind) const {
    auto statement = std::make_unique<Stmt>();
    statement->kind = kind;
    statement->line = current().line;
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParseStatement() {
    if (current().kind == TokenKind::kData) {
      auto statement = New(StmtKind::kData);
      statement->text = current().text;
      Advance();
      return statement;
    }
    if (current().kind == TokenKind::kPrintBegin) {
      auto statement = New(StmtKind::kPrint);
      Advance();
      DS_ASSIGN(ExprPtr expr, ParseTuple(Conditional::kYes, false));
      statement->expressions.push_back(std::move(expr));
      if (current().kind != TokenKind::kPrintEnd)
        return Error("expected end of print statement, found {}", Found());
      Advance();
      return statement;
    }
    if (current().kind != TokenKind::kBlockBegin) return Error("expected a tag, found {}", Found());
    Advance();
    return ParseTag();
  }

  Result<std::unique_ptr<Stmt>> ParseTag() {
    if (current().kind != TokenKind::kName) return Error("expected a tag name, found {}", Found());
    const std::string tag = current().text;
    if (tag == "if") return ParseIf();
    if (tag == "for") return ParseFor();
    if (tag == "set") return ParseSet();
    if (tag == "with") return ParseWith();
    if (tag == "macro") return ParseMacro();
    if (tag == "call") return ParseCallBlock();
    if (tag == "filter") return ParseFilterBlock();
    if (tag == "generation") return ParseGeneration();
    if (tag == "print") return ParsePrint();
    if (tag == "break" || tag == "continue") return ParseLoopControl();
    for (const std::string_view other : {"extends", "include", "import", "from", "block"}) {
      if (tag == other) return Error("'{}' is not supported: a chat template stands alone", tag);
    }
    return Error("unknown tag '{}'", tag);
  }

  Result<std::unique_ptr<Stmt>> ParseIf() {
    auto statement = New(StmtKind::kIf);
    while (true) {
      Advance();  // if, elif
      DS_ASSIGN(ExprPtr test, ParseTuple(Conditional::kNo, false));
      DS_RETURN_IF_ERROR(ExpectBlockEnd());
      DS_ASSIGN(Block body, ParseBody({"elif", "else", "endif"}));
      statement->expressions.push_back(std::move(test));
      statement->bodies.push_back(std::move(body));
      Advance();  // {%
      if (!current().IsName("elif")) break;
    }
    if (SkipName("else")) {
      DS_RETURN_IF_ERROR(ExpectBlockEnd());
      DS_ASSIGN(statement->otherwise, ParseBody({"endif"}));
      Advance();
    }
    Advance();  // endif
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParseFor() {
    auto statement = New(StmtKind::kFor);
    Advance();
    DS_ASSIGN(statement->target, ParseTarget("in", false));
    if (!SkipName("in")) return Error("expected 'in', found {}", Found());
    DS_ASSIGN(ExprPtr iterable, ParseTuple(Conditional::kNo, false, "recursive"));
    ExprPtr filter;
    if (SkipName("if")) {
      DS_ASSIGN(filter, ParseExpression());
    }
    statement->recursive = SkipName("recursive");
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    statement->expressions.push_back(std::move(iterable));
    statement->expressions.push_back(std::move(filter));
    ++loops_;
    DS_ASSIGN(Block body, ParseBody({"else", "endfor"}));
    --loops_;
    statement->bodies.push_back(std::move(body));
    Advance();  // {%
    if (SkipName("else")) {
      DS_RETURN_IF_ERROR(ExpectBlockEnd());
      DS_ASSIGN(statement->otherwise, ParseBody({"endfor"}));
      Advance();
    }
    Advance();  // endfor
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParseSet() {
    auto statement = New(StmtKind::kSet);
    Advance();
    DS_ASSIGN(statement->target, ParseTarget("", true));
    if (SkipOperator("=")) {
      DS_ASSIGN(ExprPtr value, ParseTuple(Conditional::kYes, false));
      statement->expressions.push_back(std::move(value));
      DS_RETURN_IF_ERROR(ExpectBlockEnd());
      return statement;
    }
    statement->kind = StmtKind::kSetBlock;
    DS_ASSIGN(ExprPtr filter, ParseFilterChain(nullptr, false));
    statement->expressions.push_back(std::move(filter));
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    DS_ASSIGN(Block body, ParseBodyAndEnd("endset"));
    statement->bodies.push_back(std::move(body));
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParseWith() {
    auto statement = New(StmtKind::kWith);
    Advance();
    while (current().kind != TokenKind::kBlockEnd) {
      if (!statement->targets.empty()) DS_RETURN_IF_ERROR(ExpectOperator(","));
      DS_ASSIGN(Target target, ParseTarget("", false));
      DS_RETURN_IF_ERROR(ExpectOperator("="));
      DS_ASSIGN(ExprPtr value, ParseExpression());
      statement->targets.push_back(std::move(target));
      statement->expressions.push_back(std::move(value));
    }
    Advance();
    DS_ASSIGN(Block body, ParseBodyAndEnd("endwith"));
    statement->bodies.push_back(std::move(body));
    return statement;
  }

  // The body of a macro, up to `end`. Which of the special names it uses decides what a call may pass.
  Status ParseMacroBody(std::string_view end, MacroNode* macro) {
    const size_t begin = position();
    const int outer_loops = loops_;
    loops_ = 0;  // a loop outside cannot be left from inside
    DS_ASSIGN(macro->body, ParseBody({end}));
    loops_ = outer_loops;
    macro->uses_caller = Mentions("caller", begin);
    macro->uses_varargs = Mentions("varargs", begin);
    macro->uses_kwargs = Mentions("kwargs", begin);
    for (const Parameter& parameter : macro->parameters) {
      if (parameter.name == "caller" && parameter.fallback == nullptr && macro->uses_caller) {
        return Error("a macro with a parameter 'caller' must give it a default");
      }
      if (parameter.name == "varargs") macro->uses_varargs = false;
      if (parameter.name == "kwargs") macro->uses_kwargs = false;
    }
    return ParseEnd();
  }

  bool Mentions(std::string_view name, size_t begin) const {
    for (size_t i = begin; i < position(); ++i) {
      const bool attribute = i > 0 && token(i - 1).IsOperator(".");
      const bool keyword = token(i + 1).IsOperator("=");
      if (token(i).IsName(name) && !attribute && !keyword) return true;
    }
    return false;
  }

  Result<std::unique_ptr<Stmt>> ParseMacro() {
    auto statement = New(StmtKind::kMacro);
    Advance();
    statement->macro = std::make_unique<MacroNode>();
    DS_ASSIGN(statement->macro->name, ExpectName());
    statement->macro->symbol = symbols()->Number(statement->macro->name);
    DS_ASSIGN(statement->macro->parameters, ParseParameters());
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    DS_RETURN_IF_ERROR(ParseMacroBody("endmacro", statement->macro.get()));
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParseCallBlock() {
    auto statement = New(StmtKind::kCallBlock);
    Advance();
    statement->macro = std::make_unique<MacroNode>();
    if (current().IsOperator("(")) {
      DS_ASSIGN(statement->macro->parameters, ParseParameters());
    }
    DS_ASSIGN(ExprPtr call, ParseExpression());
    if (call->kind != ExprKind::kCall) return Error("expected a call in a call block");
    statement->expressions.push_back(std::move(call));
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    DS_RETURN_IF_ERROR(ParseMacroBody("endcall", statement->macro.get()));
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParseFilterBlock() {
    auto statement = New(StmtKind::kFilterBlock);
    Advance();
    DS_ASSIGN(ExprPtr filter, ParseFilterChain(nullptr, true));
    statement->expressions.push_back(std::move(filter));
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    DS_ASSIGN(Block body, ParseBodyAndEnd("endfilter"));
    statement->bodies.push_back(std::move(body));
    return statement;
  }

  // Marks what the assistant said, for training masks; in the text it changes nothing.
  Result<std::unique_ptr<Stmt>> ParseGeneration() {
    auto statement = New(StmtKind::kGeneration);
    Advance();
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    statement->macro = std::make_unique<MacroNode>();
    DS_RETURN_IF_ERROR(ParseMacroBody("endgeneration", statement->macro.get()));
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParsePrint() {
    auto statement = New(StmtKind::kPrint);
    Advance();
    while (current().kind != TokenKind::kBlockEnd) {
      if (!statement->expressions.empty()) DS_RETURN_IF_ERROR(ExpectOperator(","));
      DS_ASSIGN(ExprPtr expr, ParseExpression());
      statement->expressions.push_back(std::move(expr));
    }
    Advance();
    return statement;
  }

  Result<std::unique_ptr<Stmt>> ParseLoopControl() {
    auto statement = New(current().IsName("break") ? StmtKind::kBreak : StmtKind::kContinue);
    if (loops_ == 0) return Error("'{}' outside of a loop", current().text);
    Advance();
    DS_RETURN_IF_ERROR(ExpectBlockEnd());
    return statement;
  }

  static constexpr int kMaxBlockDepth = 60;
  int depth_ = 0;
  int loops_ = 0;
};

// A filter or test that does not exist is an error of the template, except where jinja2 looks it up only when
// it gets there: directly inside an `if` statement, and inside an if-else expression.
class NameCheck {
 public:
  Status Check(const Block& block, bool soft) {
    for (const auto& statement : block) DS_RETURN_IF_ERROR(Check(*statement, soft));
    return Status();
  }

 private:
  Status Check(const Stmt& statement, bool soft) {
    const bool is_if = statement.kind == StmtKind::kIf;
    for (const ExprPtr& expr : statement.expressions) DS_RETURN_IF_ERROR(Check(expr.get(), soft || is_if));
    for (const Block& body : statement.bodies) DS_RETURN_IF_ERROR(Check(body, is_if));
    DS_RETURN_IF_ERROR(Check(statement.otherwise, is_if));
    if (statement.macro == nullptr) return Status();
    for (const Parameter& parameter : statement.macro->parameters) {
      DS_RETURN_IF_ERROR(Check(parameter.fallback.get(), false));
    }
    return Check(statement.macro->body, false);
  }

  Status Check(const Expr* expr, bool soft) {
    if (expr == nullptr) return Status();
    soft = soft || expr->kind == ExprKind::kConditional;
    if (!soft && expr->kind == ExprKind::kFilter && FindFilter(expr->text) == nullptr) {
      return Fail("line {}: no filter is named '{}'", expr->line, expr->text);
    }
    if (!soft && expr->kind == ExprKind::kTest && FindTest(expr->text) == nullptr) {
      return Fail("line {}: no test is named '{}'", expr->line, expr->text);
    }
    for (const ExprPtr& child : expr->children) DS_RETURN_IF_ERROR(Check(child.get(), soft));
    for (const ExprPtr& argument : expr->arguments.positional)
      DS_RETURN_IF_ERROR(Check(argument.get(), soft));
    for (const auto& named : expr->arguments.named) DS_RETURN_IF_ERROR(Check(named.second.get(), soft));
    DS_RETURN_IF_ERROR(Check(expr->arguments.star.get(), soft));
    return Check(expr->arguments.double_star.get(), soft);
  }
};

}  // namespace

Result<Template> ParseTemplate(std::string_view source) {
  DS_ASSIGN(std::vector<Token> tokens, Tokenize(source));
  Template out;
  Parser parser(std::move(tokens), &out.symbols);
  DS_ASSIGN(out.body, parser.Parse());
  DS_RETURN_IF_ERROR(NameCheck().Check(out.body, false));
  return out;
}

}  // namespace deepshock::jinja

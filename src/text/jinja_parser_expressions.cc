// SPDX-License-Identifier: Apache-2.0
// Expressions, by precedence: if-else, or, and, not, comparisons, + -, ~, * / // %, **, unary signs, then
// postfix (attributes, subscripts, calls), filters and tests. Note what differs from Python: ~ binds closer
// than +, a sign closer than **, and ** groups from the left.
#include <algorithm>
#include <charconv>

#include "text/jinja_parser.h"
#include "text/jinja_text.h"

namespace deepshock::jinja {

// Counts the levels of recursive descent; one level of source costs a dozen stack frames.
class ExpressionParser::Nesting {
 public:
  explicit Nesting(int* level) : level_(level) { ++*level_; }
  ~Nesting() { --*level_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  bool TooDeep() const { return *level_ > kMaxTreeDepth; }

 private:
  int* level_;
};

bool ExpressionParser::SkipOperator(std::string_view op) {
  if (!current().IsOperator(op)) return false;
  Advance();
  return true;
}

bool ExpressionParser::SkipName(std::string_view name) {
  if (!current().IsName(name)) return false;
  Advance();
  return true;
}

std::string ExpressionParser::Found() const {
  switch (current().kind) {
    case TokenKind::kData: return "template text";
    case TokenKind::kBlockBegin: return "'{%'";
    case TokenKind::kBlockEnd: return "end of statement block";
    case TokenKind::kPrintBegin: return "'{{'";
    case TokenKind::kPrintEnd: return "end of print statement";
    case TokenKind::kString: return "a string";
    case TokenKind::kEnd: return "the end of the template";
    default: return "'" + current().text + "'";
  }
}

Status ExpressionParser::ExpectOperator(std::string_view op) {
  if (SkipOperator(op)) return Status();
  return Error("expected '{}', found {}", op, Found());
}

Result<std::string> ExpressionParser::ExpectName() {
  if (current().kind != TokenKind::kName) return Error("expected a name, found {}", Found());
  const uint32_t first = CodePoints(current().text)[0];
  if (IsNumeric(first)) return Error("expected a name, found '{}'", current().text);
  std::string name = current().text;
  Advance();
  return name;
}

ExprPtr ExpressionParser::New(ExprKind kind) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = current().line;
  return expr;
}

Result<ExprPtr> ExpressionParser::Finish(ExprPtr expr) const {
  int depth = 0;
  const auto see = [&](const ExprPtr& part) { depth = std::max(depth, part == nullptr ? 0 : part->depth); };
  for (const ExprPtr& child : expr->children) see(child);
  for (const ExprPtr& argument : expr->arguments.positional) see(argument);
  for (const auto& [name, argument] : expr->arguments.named) see(argument);
  see(expr->arguments.star);
  see(expr->arguments.double_star);
  expr->depth = depth + 1;
  if (expr->depth > kMaxTreeDepth) {
    return Fail("line {}: an expression is nested more than {} levels deep", expr->line, kMaxTreeDepth);
  }
  return expr;
}

Result<ExprPtr> ExpressionParser::Pair(ExprKind kind, int line, ExprPtr left, ExprPtr right) const {
  ExprPtr expr = New(kind);
  expr->line = line;
  expr->children.push_back(std::move(left));
  expr->children.push_back(std::move(right));
  return Finish(std::move(expr));
}

Result<ExprPtr> ExpressionParser::ParseExpression(Conditional conditional) {
  const Nesting nesting(&nesting_);
  if (nesting.TooDeep()) return Error("an expression is nested more than {} levels deep", kMaxTreeDepth);
  if (conditional == Conditional::kNo) return ParseOr();
  const int line = current().line;
  DS_ASSIGN(ExprPtr then, ParseOr());
  while (SkipName("if")) {
    ExprPtr expr = New(ExprKind::kConditional);
    expr->line = line;
    DS_ASSIGN(ExprPtr test, ParseOr());
    ExprPtr otherwise;
    if (SkipName("else")) {
      DS_ASSIGN(otherwise, ParseExpression());
    }
    expr->children.push_back(std::move(test));
    expr->children.push_back(std::move(then));
    expr->children.push_back(std::move(otherwise));
    DS_ASSIGN(then, Finish(std::move(expr)));
  }
  return then;
}

Result<ExprPtr> ExpressionParser::ParseOr() {
  const int line = current().line;
  DS_ASSIGN(ExprPtr left, ParseAnd());
  while (SkipName("or")) {
    DS_ASSIGN(ExprPtr right, ParseAnd());
    DS_ASSIGN(left, Pair(ExprKind::kOr, line, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::ParseAnd() {
  const int line = current().line;
  DS_ASSIGN(ExprPtr left, ParseNot());
  while (SkipName("and")) {
    DS_ASSIGN(ExprPtr right, ParseNot());
    DS_ASSIGN(left, Pair(ExprKind::kAnd, line, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::ParseNot() {
  if (!current().IsName("not")) return ParseCompare();
  const Nesting nesting(&nesting_);
  if (nesting.TooDeep()) return Error("an expression is nested more than {} levels deep", kMaxTreeDepth);
  ExprPtr expr = New(ExprKind::kNot);
  Advance();
  DS_ASSIGN(ExprPtr operand, ParseNot());
  expr->children.push_back(std::move(operand));
  return Finish(std::move(expr));
}

Result<ExprPtr> ExpressionParser::ParseCompare() {
  constexpr std::pair<std::string_view, CompareOp> kComparisons[] = {
      {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
      {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  ExprPtr expr = New(ExprKind::kCompare);
  DS_ASSIGN(ExprPtr first, ParseSum());
  expr->children.push_back(std::move(first));
  while (true) {
    const auto found = std::find_if(std::begin(kComparisons), std::end(kComparisons),
                                    [&](const auto& c) { return current().IsOperator(c.first); });
    if (found != std::end(kComparisons)) {
      expr->comparisons.push_back(found->second);
      Advance();
    } else if (SkipName("in")) {
      expr->comparisons.push_back(CompareOp::kIn);
    } else if (current().IsName("not") && ahead().IsName("in")) {
      Advance();
      Advance();
      expr->comparisons.push_back(CompareOp::kNotIn);
    } else {
      break;
    }
    DS_ASSIGN(ExprPtr operand, ParseSum());
    expr->children.push_back(std::move(operand));
  }
  if (expr->comparisons.empty()) return std::move(expr->children[0]);
  return Finish(std::move(expr));
}

Result<ExprPtr> ExpressionParser::ParseSum() {
  const int line = current().line;
  DS_ASSIGN(ExprPtr left, ParseConcat());
  while (current().IsOperator("+") || current().IsOperator("-")) {
    const BinaryOp op = current().text == "+" ? BinaryOp::kAdd : BinaryOp::kSub;
    Advance();
    DS_ASSIGN(ExprPtr right, ParseConcat());
    DS_ASSIGN(left, Pair(ExprKind::kBinary, line, std::move(left), std::move(right)));
    left->binary = op;
  }
  return left;
}

Result<ExprPtr> ExpressionParser::ParseConcat() {
  ExprPtr expr = New(ExprKind::kConcat);
  do {
    DS_ASSIGN(ExprPtr part, ParseProduct());
    expr->children.push_back(std::move(part));
  } while (SkipOperator("~"));
  if (expr->children.size() == 1) return std::move(expr->children[0]);
  return Finish(std::move(expr));
}

Result<ExprPtr> ExpressionParser::ParseProduct() {
  constexpr std::pair<std::string_view, BinaryOp> kProducts[] = {
      {"*", BinaryOp::kMul}, {"/", BinaryOp::kDiv}, {"//", BinaryOp::kFloorDiv}, {"%", BinaryOp::kMod}};
  const int line = current().line;
  DS_ASSIGN(ExprPtr left, ParsePower());
  while (true) {
    const auto found = std::find_if(std::begin(kProducts), std::end(kProducts),
                                    [&](const auto& p) { return current().IsOperator(p.first); });
    if (found == std::end(kProducts)) return left;
    Advance();
    DS_ASSIGN(ExprPtr right, ParsePower());
    DS_ASSIGN(left, Pair(ExprKind::kBinary, line, std::move(left), std::move(right)));
    left->binary = found->second;
  }
}

Result<ExprPtr> ExpressionParser::ParsePower() {
  const int line = current().line;
  DS_ASSIGN(ExprPtr left, ParseUnary(true));
  while (SkipOperator("**")) {
    DS_ASSIGN(ExprPtr right, ParseUnary(true));
    DS_ASSIGN(left, Pair(ExprKind::kBinary, line, std::move(left), std::move(right)));
    left->binary = BinaryOp::kPow;
  }
  return left;
}

Result<ExprPtr> ExpressionParser::ParseUnary(bool with_filters) {
  const Nesting nesting(&nesting_);
  if (nesting.TooDeep()) return Error("an expression is nested more than {} levels deep", kMaxTreeDepth);
  ExprPtr expr;
  if (current().IsOperator("-") || current().IsOperator("+")) {
    ExprPtr sign = New(current().text == "-" ? ExprKind::kNegate : ExprKind::kPosit);
    Advance();
    DS_ASSIGN(ExprPtr operand, ParseUnary(false));
    sign->children.push_back(std::move(operand));
    DS_ASSIGN(expr, Finish(std::move(sign)));
  } else {
    DS_ASSIGN(expr, ParsePrimary());
  }
  DS_ASSIGN(expr, ParsePostfix(std::move(expr)));
  if (with_filters) return ParseFiltersAndTests(std::move(expr));
  return expr;
}

Result<ExprPtr> ExpressionParser::ParsePrimary() {
  ExprPtr expr = New(ExprKind::kConstant);
  switch (current().kind) {
    case TokenKind::kName: {
      DS_ASSIGN(const std::string name, ExpectName());
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        expr->constant = Value::Bool(name[0] == 't' || name[0] == 'T');
      } else if (name == "none" || name == "None") {
        expr->constant = Value::None();
      } else {
        expr->kind = ExprKind::kName;
        expr->symbol = symbols_->Number(name);
        expr->text = name;
      }
      return expr;
    }
    case TokenKind::kString: {
      std::string text;
      for (; current().kind == TokenKind::kString; Advance()) text += current().text;
      expr->constant = Value::String(std::move(text));
      return expr;
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat: return ParseNumber();
    case TokenKind::kOperator:
      if (SkipOperator("(")) {
        DS_ASSIGN(expr, ParseTuple(Conditional::kYes, true));
        DS_RETURN_IF_ERROR(ExpectOperator(")"));
        return expr;
      }
      if (current().text == "[") return ParseList();
      if (current().text == "{") return ParseDict();
      break;
    default: break;
  }
  return Error("expected an expression, found {}", Found());
}

Result<ExprPtr> ExpressionParser::ParseNumber() {
  ExprPtr expr = New(ExprKind::kConstant);
  if (current().kind == TokenKind::kInteger) {
    const auto value = ParseInt(current().text, 0);
    if (!value) return Error("integer {} does not fit 64 bits", current().text);
    expr->constant = Value::Int(*value);
  } else {
    const auto value = ParseFloat(current().text);
    if (!value) return Error("expected a number, found {}", current().text);
    expr->constant = Value::Float(*value);
  }
  Advance();
  return expr;
}

Result<ExprPtr> ExpressionParser::ParseList() {
  ExprPtr expr = New(ExprKind::kList);
  DS_RETURN_IF_ERROR(ExpectOperator("["));
  while (!current().IsOperator("]")) {
    if (!expr->children.empty()) DS_RETURN_IF_ERROR(ExpectOperator(","));
    if (current().IsOperator("]")) break;
    DS_ASSIGN(ExprPtr item, ParseExpression());
    expr->children.push_back(std::move(item));
  }
  DS_RETURN_IF_ERROR(ExpectOperator("]"));
  return Finish(std::move(expr));
}

Result<ExprPtr> ExpressionParser::ParseDict() {
  ExprPtr expr = New(ExprKind::kDict);
  DS_RETURN_IF_ERROR(ExpectOperator("{"));
  while (!current().IsOperator("}")) {
    if (!expr->children.empty()) DS_RETURN_IF_ERROR(ExpectOperator(","));
    if (current().IsOperator("}")) break;
    DS_ASSIGN(ExprPtr key, ParseExpression());
    DS_RETURN_IF_ERROR(ExpectOperator(":"));
    DS_ASSIGN(ExprPtr value, ParseExpression());
    expr->children.push_back(std::move(key));
    expr->children.push_back(std::move(value));
  }
  DS_RETURN_IF_ERROR(ExpectOperator("}"));
  return Finish(std::move(expr));
}

Result<ExprPtr> ExpressionParser::ParseTuple(Conditional conditional, bool parenthesized,
                                             std::string_view stop) {
  ExprPtr tuple = New(ExprKind::kTuple);
  bool comma = false;
  while (true) {
    if (!tuple->children.empty()) {
      if (!SkipOperator(",")) break;
      comma = true;
    }
    const bool ends = current().kind == TokenKind::kPrintEnd || current().kind == TokenKind::kBlockEnd ||
                      current().IsOperator(")") || (!stop.empty() && current().IsName(stop));
    if (ends) break;
    DS_ASSIGN(ExprPtr item, ParseExpression(conditional));
    tuple->children.push_back(std::move(item));
  }
  if (!comma && tuple->children.size() == 1) return std::move(tuple->children[0]);
  if (tuple->children.empty() && !parenthesized) return Error("expected an expression, found {}", Found());
  return Finish(std::move(tuple));
}

Result<ExprPtr> ExpressionParser::ParsePostfix(ExprPtr expr) {
  while (true) {
    if (current().IsOperator(".")) {
      DS_ASSIGN(expr, ParseAttribute(std::move(expr)));
    } else if (current().IsOperator("[")) {
      DS_ASSIGN(expr, ParseSubscript(std::move(expr)));
    } else if (current().IsOperator("(")) {
      DS_ASSIGN(expr, ParseCall(std::move(expr)));
    } else {
      return expr;
    }
  }
}

Result<ExprPtr> ExpressionParser::ParseAttribute(ExprPtr object) {
  ExprPtr expr = New(ExprKind::kAttribute);
  Advance();
  if (current().kind == TokenKind::kInteger) {
    expr->kind = ExprKind::kSubscript;
    expr->children.push_back(std::move(object));
    DS_ASSIGN(ExprPtr key, ParseNumber());
    expr->children.push_back(std::move(key));
    return Finish(std::move(expr));
  }
  DS_ASSIGN(expr->text, ExpectName());
  expr->children.push_back(std::move(object));
  return Finish(std::move(expr));
}

// One index, or start:stop:step.
Result<ExprPtr> ExpressionParser::ParseSubscriptPart(const ExprPtr& object, bool* is_slice,
                                                     std::vector<ExprPtr>* slice) {
  slice->resize(3);
  for (size_t part = 0; part < 3; ++part) {
    const bool absent = current().IsOperator(":") || current().IsOperator("]") || current().IsOperator(",");
    if (!absent) {
      DS_ASSIGN((*slice)[part], ParseExpression());
    }
    if (part == 2 || !SkipOperator(":")) break;
    *is_slice = true;
  }
  if (*is_slice) return ExprPtr();
  if ((*slice)[0] == nullptr) return Error("expected a subscript, found {}", Found());
  DS_CHECK(object != nullptr, "a subscript has an object");
  return std::move((*slice)[0]);
}

Result<ExprPtr> ExpressionParser::ParseSubscript(ExprPtr object) {
  ExprPtr expr = New(ExprKind::kSubscript);
  Advance();
  ExprPtr tuple = New(ExprKind::kTuple);
  bool is_slice = false;
  bool comma = false;
  std::vector<ExprPtr> slice;
  while (true) {
    DS_ASSIGN(ExprPtr key, ParseSubscriptPart(object, &is_slice, &slice));
    if (is_slice) break;
    tuple->children.push_back(std::move(key));
    if (!SkipOperator(",")) break;
    comma = true;
    if (current().IsOperator("]")) break;
  }
  if (is_slice && comma) return Error("slices of several dimensions are not supported");
  DS_RETURN_IF_ERROR(ExpectOperator("]"));
  expr->children.push_back(std::move(object));
  if (is_slice) {
    expr->kind = ExprKind::kSlice;
    for (ExprPtr& part : slice) expr->children.push_back(std::move(part));
  } else if (comma) {
    DS_ASSIGN(ExprPtr key, Finish(std::move(tuple)));
    expr->children.push_back(std::move(key));
  } else {
    expr->children.push_back(std::move(tuple->children[0]));
  }
  return Finish(std::move(expr));
}

Result<ExprPtr> ExpressionParser::ParseCall(ExprPtr callee) {
  ExprPtr expr = New(ExprKind::kCall);
  DS_ASSIGN(expr->arguments, ParseArguments());
  expr->children.push_back(std::move(callee));
  return Finish(std::move(expr));
}

Result<CallArguments> ExpressionParser::ParseArguments() {
  CallArguments out;
  DS_RETURN_IF_ERROR(ExpectOperator("("));
  bool comma = true;
  while (!current().IsOperator(")")) {
    if (!comma) return Error("expected ',' or ')', found {}", Found());
    if (SkipOperator("*")) {
      if (out.star != nullptr || out.double_star != nullptr) return Error("invalid syntax for function call");
      DS_ASSIGN(out.star, ParseExpression());
    } else if (SkipOperator("**")) {
      if (out.double_star != nullptr) return Error("invalid syntax for function call");
      DS_ASSIGN(out.double_star, ParseExpression());
    } else if (current().kind == TokenKind::kName && ahead().IsOperator("=")) {
      if (out.double_star != nullptr) return Error("invalid syntax for function call");
      DS_ASSIGN(std::string name, ExpectName());
      Advance();
      for (const auto& named : out.named) {
        if (named.first == name) return Error("keyword argument '{}' is given twice", name);
      }
      DS_ASSIGN(ExprPtr value, ParseExpression());
      out.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (out.star != nullptr || out.double_star != nullptr || !out.named.empty()) {
        return Error("invalid syntax for function call");
      }
      DS_ASSIGN(ExprPtr value, ParseExpression());
      out.positional.push_back(std::move(value));
    }
    comma = SkipOperator(",");
  }
  DS_RETURN_IF_ERROR(ExpectOperator(")"));
  return out;
}

Result<std::string> ExpressionParser::ParseDottedName() {
  DS_ASSIGN(std::string name, ExpectName());
  while (SkipOperator(".")) {
    DS_ASSIGN(const std::string part, ExpectName());
    name += "." + part;
  }
  return name;
}

Result<ExprPtr> ExpressionParser::ParseFilterChain(ExprPtr input, bool name_first) {
  while (name_first || SkipOperator("|")) {
    name_first = false;
    ExprPtr expr = New(ExprKind::kFilter);
    DS_ASSIGN(expr->text, ParseDottedName());
    if (current().IsOperator("(")) {
      DS_ASSIGN(expr->arguments, ParseArguments());
    }
    expr->children.push_back(std::move(input));
    DS_ASSIGN(input, Finish(std::move(expr)));
  }
  return input;
}

Result<ExprPtr> ExpressionParser::ParseFiltersAndTests(ExprPtr expr) {
  while (true) {
    if (current().IsOperator("|")) {
      DS_ASSIGN(expr, ParseFilterChain(std::move(expr), false));
    } else if (SkipName("is")) {
      DS_ASSIGN(expr, ParseTest(std::move(expr)));
    } else if (current().IsOperator("(")) {
      DS_ASSIGN(expr, ParseCall(std::move(expr)));
    } else {
      return expr;
    }
  }
}

Result<ExprPtr> ExpressionParser::ParseTest(ExprPtr input) {
  ExprPtr expr = New(ExprKind::kTest);
  const bool negated = SkipName("not");
  DS_ASSIGN(expr->text, ParseDottedName());
  const TokenKind kind = current().kind;
  if (current().IsOperator("(")) {
    DS_ASSIGN(expr->arguments, ParseArguments());
  } else if (kind == TokenKind::kName || kind == TokenKind::kString || kind == TokenKind::kInteger ||
             kind == TokenKind::kFloat || current().IsOperator("[") || current().IsOperator("{")) {
    if (current().IsName("is")) return Error("tests cannot be chained with 'is'");
    const bool ends = current().IsName("else") || current().IsName("or") || current().IsName("and");
    if (!ends) {
      DS_ASSIGN(ExprPtr argument, ParsePrimary());
      DS_ASSIGN(argument, ParsePostfix(std::move(argument)));
      expr->arguments.positional.push_back(std::move(argument));
    }
  }
  expr->children.push_back(std::move(input));
  DS_ASSIGN(expr, Finish(std::move(expr)));
  if (!negated) return expr;
  ExprPtr inverse = New(ExprKind::kNot);
  inverse->children.push_back(std::move(expr));
  return Finish(std::move(inverse));
}

Result<Target> ExpressionParser::ParseTargetPart(bool attributes) {
  const Nesting nesting(&nesting_);
  if (nesting.TooDeep()) return Error("a target is nested more than {} levels deep", kMaxTreeDepth);
  if (SkipOperator("(")) {
    DS_ASSIGN(Target target, ParseTarget("", attributes));
    DS_RETURN_IF_ERROR(ExpectOperator(")"));
    return target;
  }
  Target target;
  DS_ASSIGN(const std::string name, ExpectName());
  const std::string_view lower = name;
  const bool constant = lower == "true" || lower == "false" || lower == "none" || lower == "True" ||
                        lower == "False" || lower == "None";
  if (constant) return Error("cannot assign to '{}'", name);
  target.symbol = symbols_->Number(name);
  if (attributes && SkipOperator(".")) {
    DS_ASSIGN(target.attribute, ExpectName());
  }
  return target;
}

Result<Target> ExpressionParser::ParseTarget(std::string_view stop, bool attributes) {
  Target tuple;
  tuple.is_tuple = true;
  bool comma = false;
  while (true) {
    if (!tuple.parts.empty()) {
      if (!SkipOperator(",")) break;
      comma = true;
    }
    const bool ends = current().kind == TokenKind::kBlockEnd || current().IsOperator(")") ||
                      current().IsOperator("=") || (!stop.empty() && current().IsName(stop));
    if (ends) break;
    DS_ASSIGN(Target part, ParseTargetPart(attributes));
    tuple.parts.push_back(std::move(part));
  }
  if (tuple.parts.empty()) return Error("expected a name to assign to, found {}", Found());
  if (!comma && tuple.parts.size() == 1) {
    Target only = std::move(tuple.parts[0]);
    return only;
  }
  return tuple;
}

Result<std::vector<Parameter>> ExpressionParser::ParseParameters() {
  std::vector<Parameter> out;
  DS_RETURN_IF_ERROR(ExpectOperator("("));
  while (!current().IsOperator(")")) {
    if (!out.empty()) DS_RETURN_IF_ERROR(ExpectOperator(","));
    DS_ASSIGN(std::string name, ExpectName());
    Parameter parameter;
    parameter.symbol = symbols_->Number(name);
    parameter.name = std::move(name);
    if (SkipOperator("=")) {
      DS_ASSIGN(parameter.fallback, ParseExpression());
    } else if (!out.empty() && out.back().fallback != nullptr) {
      return Error("parameter '{}' needs a default, since the one before has one", parameter.name);
    }
    for (const Parameter& other : out) {
      if (other.symbol == parameter.symbol) return Error("parameter '{}' is declared twice", parameter.name);
    }
    out.push_back(std::move(parameter));
  }
  DS_RETURN_IF_ERROR(ExpectOperator(")"));
  return out;
}

}  // namespace deepshock::jinja

// SPDX-License-Identifier: Apache-2.0
// What every template can use without defining it: filters, tests, methods of values, global functions.
// Tables of plain functions; each checks its own arguments. Called by the engine.
#pragma once

#include <initializer_list>
#include <string_view>

#include "text/jinja_engine.h"

namespace deepshock::jinja {

using FilterFunction = Result<Value> (*)(Engine& engine, const Value& input, const Arguments& arguments);
using TestFunction = Result<bool> (*)(Engine& engine, const Value& input, const Arguments& arguments);

// Null when there is none of that name.
FilterFunction FindFilter(std::string_view name);
TestFunction FindTest(std::string_view name);
FilterFunction FindTextFilter(std::string_view name);      // jinja_filters_text.cc
FilterFunction FindSequenceFilter(std::string_view name);  // jinja_filters_sequence.cc

// "abc".upper and the like, bound to the value. Methods that would change their value do not exist here, as
// in jinja2's immutable sandbox.
std::optional<Value> FindMethod(const Value& self, std::string_view name);
FilterFunction FindTextMethod(std::string_view name);  // jinja_methods_text.cc

// range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
std::optional<Value> FindGlobal(std::string_view name);

// Arguments by parameter name: a pointer for each, null when it was not given. Fails on surplus, unknown or
// doubled arguments and when fewer than `required` are there. The pointers live as long as `arguments`.
Result<std::vector<const Value*>> Bind(std::string_view function, const Arguments& arguments,
                                       std::initializer_list<std::string_view> parameters, size_t required);

// An argument that must be an integer, or its default when absent.
Result<int64_t> IntegerOr(const Value* argument, int64_t fallback, std::string_view name);
bool TruthOr(const Value* argument, bool fallback);

// "a.b.0" looked up step by step, as filters with an attribute argument do.
Result<Value> AttributePath(Engine& engine, const Value& item, const Value& path,
                            const Value* fallback = nullptr);
// sorted(): by key, stable.
Result<std::vector<Value>> SortByKey(Engine& engine, std::vector<Value> items, std::vector<Value> keys,
                                     bool reverse);
// Text in lower case, anything else as it is.
Value IgnoreCase(const Value& value);

// str.format (jinja_format.cc).
Result<Value> BraceFormat(Engine& engine, const Value& format, const Arguments& arguments);

}  // namespace deepshock::jinja

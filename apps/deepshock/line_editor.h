// SPDX-License-Identifier: Apache-2.0
// Reads lines that a person types, with editing and history (libedit). Main thread only; stdin is a terminal.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace deepshock {

class LineEditor {
 public:
  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // The next line without its newline; none at the end of the input (Ctrl-D). Ctrl-C ends the program, with
  // the terminal put back in order.
  std::optional<std::string> Read(const std::string& prompt);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
#include "apps/deepshock/line_editor.h"

#include <histedit.h>

#include <clocale>
#include <cstdio>
#include <cstring>

namespace deepshock {
namespace {
constexpr int kHistoryLines = 500;
}

struct LineEditor::Impl {
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string prompt;

  static const char* Prompt(EditLine* editor) {
    void* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self)->prompt.c_str();
  }
};

LineEditor::LineEditor() : impl_(std::make_unique<Impl>()) {
  // libedit reads characters as the locale says; a "C" locale would break everything beyond ASCII.
  const char* locale = std::setlocale(LC_CTYPE, "");
  if (locale == nullptr || std::strcmp(locale, "C") == 0 || std::strcmp(locale, "POSIX") == 0) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  impl_->editor = el_init("deepshock", stdin, stderr, stderr);
  impl_->history = history_init();
  HistEvent event;
  history(impl_->history, &event, H_SETSIZE, kHistoryLines);
  history(impl_->history, &event, H_SETUNIQUE, 1);
  el_set(impl_->editor, EL_CLIENTDATA, impl_.get());
  el_set(impl_->editor, EL_PROMPT, &Impl::Prompt);
  el_set(impl_->editor, EL_EDITOR, "emacs");
  el_set(impl_->editor, EL_SIGNAL, 1);
  el_set(impl_->editor, EL_HIST, history, impl_->history);
  el_source(impl_->editor, nullptr);  // the user's own key bindings
}

LineEditor::~LineEditor() {
  history_end(impl_->history);
  el_end(impl_->editor);
}

std::optional<std::string> LineEditor::Read(const std::string& prompt) {
  impl_->prompt = prompt;
  int num_bytes = 0;
  const char* text = el_gets(impl_->editor, &num_bytes);
  if (text == nullptr || num_bytes <= 0) return std::nullopt;
  std::string line(text, static_cast<size_t>(num_bytes));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  if (line.find_first_not_of(" \t") != std::string::npos) {
    HistEvent event;
    history(impl_->history, &event, H_ENTER, line.c_str());
  }
  return line;
}

}  // namespace deepshock

// SPDX-License-Identifier: Apache-2.0
// See regex.h. The subject was checked on the way in (utf8.h), so PCRE2 need not check it again for
// every match: that check covers the rest of the subject and would make a search quadratic.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/tokenizer/regex.h"

#include <pcre2.h>

#include <array>

#include "ops/message.h"
#include "runtime/tokenizer/json_reader.h"
#include "runtime/tokenizer/regex_translation.h"
#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {
namespace {

std::string error_text(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

template <class T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const { release(object); }
};
using MatchData =
    std::unique_ptr<pcre2_match_data, Release<pcre2_match_data, pcre2_match_data_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context,
                                       Release<pcre2_compile_context, pcre2_compile_context_free>>;

pcre2_code* compile(const std::string& shown, const std::string& pattern, uint32_t options) {
  CompileContext context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   options | PCRE2_UTF, &error, &at, context.get());
  if (code == nullptr) {
    refuse_unsupported("the regex '", shown, "' does not compile: ", error_text(error));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without JIT the interpreter does the same, slower
  return code;
}

}  // namespace

struct Regex::Code {
  Code(const std::string& shown, const std::string& pattern, uint32_t options)
      : handle(compile(shown, pattern, options)) {}
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(handle); }

  pcre2_code* handle;
};

Regex::Regex(const std::string& pattern)
    : code_(
          std::make_shared<Code>(pattern, translate_regex(pattern), PCRE2_UCP | PCRE2_MULTILINE)) {}

Regex Regex::literal(const std::string& text) {
  return Regex(std::make_shared<const Code>(text, text, PCRE2_LITERAL));
}

Status Regex::find_all(std::string_view text, std::vector<ByteRange>& matches) const {
  MatchData data(pcre2_match_data_create_from_pattern(code_->handle, nullptr));
  if (data == nullptr) return resource_exhausted("tokenizer: no memory for a regex match");
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
  size_t from = 0;
  bool matched_before = false;
  size_t last_end = 0;
  while (from <= text.size()) {
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int found =
        pcre2_match(code_->handle, subject, text.size(), from, options, data.get(), nullptr);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
      options |= PCRE2_NO_JIT;
      found = pcre2_match(code_->handle, subject, text.size(), from, options, data.get(), nullptr);
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return resource_exhausted("tokenizer: the pre-tokenizer's regex gave up on a text of ",
                                text.size(), " bytes: ", error_text(found));
    }
    const ByteRange match{ends[0], ends[1]};
    if (match.begin == match.end && matched_before && match.begin == last_end) {
      if (from == text.size()) break;
      next_code_point(text, from);
      continue;
    }
    matches.push_back(match);
    matched_before = true;
    last_end = from = match.end;
  }
  return Status::success();
}

}  // namespace dovetail::tokenizer

// SPDX-License-Identifier: Apache-2.0
// See normalizer.h. ASCII text is the same in every form, which is the common case of a prompt.
#include "runtime/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace dovetail::tokenizer {
namespace {

void read_forms(const Json& json, const std::string& where, int depth,
                std::vector<UnicodeForm>& forms) {
  if (depth > kMaxNesting) refuse_corrupt(where, " is nested too deep");
  const std::string type = type_of(json, where);
  if (type == "Sequence") {
    for (const Json& step : require_array(json, "normalizers", where)) {
      read_forms(step, where + ".normalizers", depth + 1, forms);
    }
  } else if (type == "NFC") {
    forms.push_back(UnicodeForm::kNfc);
  } else if (type == "NFD") {
    forms.push_back(UnicodeForm::kNfd);
  } else if (type == "NFKC") {
    forms.push_back(UnicodeForm::kNfkc);
  } else if (type == "NFKD") {
    forms.push_back(UnicodeForm::kNfkd);
  } else {
    refuse_unsupported(where, " is a ", type, ", supported are NFC, NFD, NFKC, NFKD and Sequence");
  }
}

int options_of(UnicodeForm form) {
  switch (form) {
    case UnicodeForm::kNfc:
      return UTF8PROC_COMPOSE;
    case UnicodeForm::kNfd:
      return UTF8PROC_DECOMPOSE;
    case UnicodeForm::kNfkc:
      return UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case UnicodeForm::kNfkd:
      return UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  }
  return 0;
}

std::string convert(const std::string& text, UnicodeForm form) {
  utf8proc_uint8_t* converted = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &converted,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options_of(form)));
  if (length < 0) throw std::bad_alloc();  // the only failure left for valid UTF-8
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(converted, &std::free);
  return {reinterpret_cast<const char*>(converted), static_cast<size_t>(length)};
}

}  // namespace

Normalizer::Normalizer(const Json& json) {
  read_forms(json, "normalizer", 0, forms_);
}

std::string Normalizer::apply(std::string_view text) const {
  std::string result(text);
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char byte) { return static_cast<uint8_t>(byte) < 0x80; });
  if (ascii) return result;
  for (const UnicodeForm form : forms_) result = convert(result, form);
  return result;
}

}  // namespace dovetail::tokenizer

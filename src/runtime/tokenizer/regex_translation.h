// SPDX-License-Identifier: Apache-2.0
// tokenizer.json holds regular expressions in Oniguruma's dialect; we match with PCRE2. On the
// subset that tokenizers use, the two agree except in a few escapes, which are rewritten here:
//   \s \S \w \W   PCRE2 adds U+180E to \s, leaves marks out of \w and takes more numbers for \w:
//                 written as explicit sets
//   \b \B         word boundaries over that \w
//   \h \H \v \uH  hex digit, vertical tab, code point: another meaning or none in PCRE2
//   \p{Han}       a script: PCRE2 >= 10.40 would take Script_Extensions, so it becomes \p{sc:Han}
// What the dialects define differently and no known tokenizer needs (nested sets, set intersection,
// "{,n}", possessive intervals, "$", options inside groups, back references ...) is refused, never
// approximated.
#pragma once

#include <string>

namespace dovetail::tokenizer {

// The PCRE2 form of `pattern`. Throws Refusal (json_reader.h).
std::string translate_regex(const std::string& pattern);

}  // namespace dovetail::tokenizer

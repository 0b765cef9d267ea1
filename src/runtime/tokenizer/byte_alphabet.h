// SPDX-License-Identifier: Apache-2.0
// The alphabet of byte-level BPE (GPT-2): every byte is written as one printable character, so that
// a vocabulary of ordinary strings can hold any byte sequence.
//   bytes 21..7E, A1..AC, AE..FF stand for the character of the same number;
//   the other 68 bytes, in order, stand for U+0100, U+0101, ... U+0143 (space, 20, becomes U+0120).
#pragma once

#include <array>
#include <cstdint>

namespace dovetail::tokenizer {

inline constexpr char32_t kByteAlphabetEnd = 0x144;  // one more than its largest code point

constexpr bool byte_stands_for_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct ByteAlphabet {
  std::array<char16_t, 256> character{};            // of a byte
  std::array<int16_t, kByteAlphabetEnd> byte_of{};  // of a character, -1: none
};

constexpr ByteAlphabet make_byte_alphabet() {
  ByteAlphabet alphabet;
  for (int16_t& byte : alphabet.byte_of) byte = -1;
  char16_t next_free = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const char16_t character =
        byte_stands_for_itself(byte) ? static_cast<char16_t>(byte) : next_free++;
    alphabet.character[byte] = character;
    alphabet.byte_of[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

inline constexpr ByteAlphabet kByteAlphabet = make_byte_alphabet();
static_assert(kByteAlphabet.character[' '] == 0x120 && kByteAlphabet.byte_of[0x143] == 0xAD);

// The byte that `character` stands for, or -1.
constexpr int byte_of_character(char32_t character) {
  return character < kByteAlphabetEnd ? kByteAlphabet.byte_of[character] : -1;
}

}  // namespace dovetail::tokenizer

# SPDX-License-Identifier: Apache-2.0
"""Texts for the tokenizer tests, from a fixed seed.

Many scripts, combining marks, emoji, numbers, white space, contractions, embedded special tokens,
broken UTF-8. Random characters come from Unicode 3.2: later versions assign characters that the
tables of the two sides (Oniguruma and unicode-normalization there, PCRE2 and utf8proc here) may not
know yet.
"""

import random
import unicodedata

OLD_UNICODE = unicodedata.ucd_3_2_0
WORDS = (
    "the of and in begin earth heaven was without form void darkness upon face deep spirit moved "
    "waters said let there light saw that it divided called day night evening morning first "
    "I'm you're they've it'll he'd don't IT'S We'LL O'Reilly 'tis rock'n'roll naïve café Ärger "
    "groß camelCaseWord HTTPServer snake_case x86_64 3.14159 1,000,000 2024-05-17 #include "
    "<vector> foo(bar) != [] {}; // :-) ... --- 100% $5 a@b.org"
).split()
SCRIPTS = {
    "latin": (0x00C0, 0x024F), "greek": (0x0370, 0x03FF), "cyrillic": (0x0400, 0x04FF),
    "hebrew": (0x05D0, 0x05EA), "arabic": (0x0621, 0x06D3), "devanagari": (0x0901, 0x0970),
    "thai": (0x0E01, 0x0E5B), "tibetan": (0x0F00, 0x0FBC), "georgian": (0x10D0, 0x10F6),
    "jamo": (0x1100, 0x11F9), "ethiopic": (0x1200, 0x137C), "symbols": (0x2010, 0x27BE),
    "kana": (0x3041, 0x30FE), "han": (0x4E00, 0x9FA5), "hangul": (0xAC00, 0xD7A3),
    "compatibility": (0xF900, 0xFFEE), "mathematical": (0x1D400, 0x1D7FF),
}
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u2003", "\u3000",
          "\u0085", "\u180e", "\u200b", "\u2028", "\x0b", "\x0c", "\x1f", "          "]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀"]
SPECIAL = ["<|endoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>",
           "<tool_call>", "[MASK]", "[PAD]", "[PADDING]", "word", "ﬁx", "fix", "É", "<|im_",
           "<|end", "  two  "]
COMPATIBILITY = "ﬁ ﬀ ﬅ ① ½ ² Å Ⅷ ㎏ ﷺ ｆｕｌｌ ﾊﾝｶｸ ſ ŉ ΐ ΰ İ ı ß ẞ K Å 각 각 é é q̣̇ q̣̇ ̈".split()
BROKEN = [b"\x80", b"\xff", b"\xc0\xaf", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80",
          b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3",
          b"\xf0\x80\x80\x80", b"\xe2\x28\xa1", b"\xfe\xfe"]


def _assigned(low: int, high: int) -> list[str]:
    characters = map(chr, range(low, high + 1))
    return [c for c in characters if OLD_UNICODE.category(c) not in ("Cn", "Cs", "Co")]


POOLS = {name: _assigned(*span) for name, span in SCRIPTS.items()}
MARKS = [chr(c) for c in range(0x0300, 0x0363) if OLD_UNICODE.combining(chr(c))]
ANYTHING = _assigned(0x0000, 0xFFFF) + _assigned(0x10000, 0x1D7FF)


def _words(rng: random.Random) -> str:
    return "".join(rng.choice(WORDS) + rng.choice([" ", " ", " ", rng.choice(SPACES)])
                   for _ in range(rng.randint(1, 25)))


def _script(rng: random.Random) -> str:
    pool = POOLS[rng.choice(list(POOLS))]
    return "".join(rng.choice(pool) if rng.random() < 0.85 else rng.choice(SPACES)
                   for _ in range(rng.randint(1, 40)))


def _marks(rng: random.Random) -> str:
    def marked() -> str:
        return rng.choice("aeiouAEIOUnNsS가각한ক ") + "".join(rng.choices(MARKS, k=rng.randint(0, 4)))

    return "".join(marked() for _ in range(rng.randint(1, 15)))


def _numbers(rng: random.Random) -> str:
    digits = "0123456789" + "٠١٢٣" + "०१२" + "²³¼Ⅷ①"
    return "".join(rng.choice(digits) if rng.random() < 0.8 else rng.choice(" .,-+xe")
                   for _ in range(rng.randint(1, 40)))


def _special(rng: random.Random) -> str:
    return "".join(rng.choice([rng.choice(SPECIAL), rng.choice(SPACES), rng.choice(WORDS), ""])
                   for _ in range(rng.randint(1, 12)))


def _anything(rng: random.Random) -> str:
    return "".join(rng.choices(ANYTHING, k=rng.randint(0, 40)))


def _mixture(rng: random.Random) -> str:
    makers = [_words, _script, _marks, _numbers, _special, _anything]
    other = EMOJI + COMPATIBILITY + SPACES
    return "".join(rng.choice(makers)(rng) if rng.random() < 0.6 else rng.choice(other)
                   for _ in range(rng.randint(1, 5)))


def _run(rng: random.Random) -> str:
    unit = rng.choice(["a", "A", " ", "\n", "é", "漢", "ab", " x", "!?", "0", "'s"])
    return unit * rng.randint(1, 300)


MAKERS = [_words, _script, _marks, _numbers, _special, _anything, _mixture, _mixture, _run]


def make_texts(count: int, seed: int) -> list[bytes]:
    """`count` byte strings; about one in six is not UTF-8."""
    rng = random.Random(seed)
    texts = [b"", b" ", b"\n", b"a", "é".encode(), "e\u0301".encode(), b"\x00", b"a\x00b",
             b"\xf0\x9f", b"<s>"]
    while len(texts) < count:
        text = rng.choice(MAKERS)(rng).encode()
        if rng.random() < 1 / 6:
            at = rng.randint(0, len(text))
            text = text[:at] + rng.choice(BROKEN) + text[at + rng.randint(0, 2):]
        texts.append(text)
    return texts[:count]

# SPDX-License-Identifier: Apache-2.0
"""The text the bundled model is trained on, as plain prose, and the tokenizer trained on it.

The King James Version comes from the Debian packages bible-kjv and bible-kjv-text; the `bible`
program prints one line a verse, "Ge1:1 In the beginning ...". Verse numbers are dropped and the
verses of a chapter are joined by one space, so a chapter is one paragraph; the chapters of a book
are joined by a blank line, so a book is one document.

Every 97th chapter is held out (published as held_out.txt, never trained on) and another every
97th is the validation set that settings were chosen on. The tokenizer sees the training text only.
"""

import hashlib
import re
import subprocess
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BOS = "<|begin_of_text|>"
EOS = "<|end_of_text|>"
CHAPTER_STRIDE = 97
HELD_OUT_OFFSET = 48
VALIDATION_OFFSET = 12
DUMP_MD5 = "347edc0f3658f7bfc979db479f2a3dcb"  # bible-kjv-text 4.38

# The split pattern of the Llama-3 tokenizer: a word takes the one character before it along.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Corpus:
    """Three disjoint parts; every string in `train` is a document (a book)."""

    train: list[str]
    validation: str
    held_out: str
    held_out_names: list[str]


def dump_verses() -> str:
    """All verses, one a line, as the `bible` program prints them."""
    command = ["bible", "-f", "gen1:1-rev22:21"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    md5 = hashlib.md5(text.encode()).hexdigest()
    if md5 != DUMP_MD5:
        raise SystemExit(f"the dump's md5 is {md5}, expected {DUMP_MD5}: another edition")
    return text


def chapters(verses: str) -> dict[tuple[str, int], str]:
    """(book, chapter number) -> the chapter as one paragraph, in the order of the text."""
    parts: dict[tuple[str, int], list[str]] = {}
    for line in verses.splitlines():
        match = re.fullmatch(r"(\w+?)(\d+):(\d+) (.*)", line)
        if match is None:
            raise ValueError(f"not a verse: {line!r}")
        book, chapter, _, text = match.groups()
        parts.setdefault((book, int(chapter)), []).append(" ".join(text.split()))
    return {key: " ".join(texts) for key, texts in parts.items()}


def load() -> Corpus:
    train: dict[str, list[str]] = {}
    validation: list[str] = []
    held_out: list[str] = []
    names: list[str] = []
    for index, ((book, number), text) in enumerate(chapters(dump_verses()).items()):
        if index % CHAPTER_STRIDE == HELD_OUT_OFFSET:
            held_out.append(text)
            names.append(f"{book} {number}")
        elif index % CHAPTER_STRIDE == VALIDATION_OFFSET:
            validation.append(text)
        else:
            train.setdefault(book, []).append(text)
    documents = ["\n\n".join(texts) for texts in train.values()]
    return Corpus(documents, "\n\n".join(validation), "\n\n".join(held_out), names)


def train_tokenizer(documents: list[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE set up as Llama-3's: ids are bytes, merges, then the two special tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(
        add_prefix_space=True, trim_offsets=True, use_regex=True
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.add_special_tokens([BOS, EOS])
    if tokenizer.get_vocab_size() != vocab_size:
        raise ValueError(f"the vocabulary has {tokenizer.get_vocab_size()}, not {vocab_size}")
    bos_id = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, bos_id)]
            ),
        ]
    )
    return tokenizer

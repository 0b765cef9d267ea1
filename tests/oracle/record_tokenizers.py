# SPDX-License-Identifier: Apache-2.0
"""Makes three small tokenizer.json files, set up exactly as those of GPT-2, Llama-3 and Qwen2.

They are input for tests, not expectations: a test encodes and decodes with the PyPI package
`tokenizers` and with our tokenizer and compares. Each is a byte-level BPE of about a thousand
tokens trained on the King James text plus lines in other scripts, so that some merges join bytes
of one character. Each kind also carries something that real files of it carry:

  gpt2_like    merges in the older spelling, "a b" in one string; a special token that is matched
               after normalization
  llama3_like  words in the vocabulary that no merge makes: only ignore_merges finds them
  qwen2_like   NFC; an added token with letters that NFC changes; ordinary (not special) tokens

and added tokens with lstrip, rstrip, single_word, and one that is the beginning of another.

Run from the repository root:  python tests/oracle/record_tokenizers.py
"""

import json
import sys
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

GOLDENS = Path(__file__).resolve().parent / "goldens" / "tokenizers"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "tiny"))

import corpus  # noqa: E402

VOCAB_SIZE = 1000
ENGLISH_CHARACTERS = 600_000
UNREACHABLE_WORDS = 24
OTHER_SCRIPTS = [
    "Où est passé l'été ? Le garçon naïf rêve près du château, à côté de la forêt.",
    "Der Bär läuft über die Brücke; größere Füße trägt niemand außer König Jörg.",
    "¿Dónde está el niño? Mañana será otro día, señor, y también el año próximo.",
    "Η θάλασσα είναι ήσυχη και ο ουρανός είναι γαλάζιος πάνω από το νησί.",
    "Море спокойно, и небо синее над островом; завтра будет новый день.",
    "海は静かで、空は青い。明日は新しい日です。今日は町へ行きます。",
    "大海很平静，天空是蓝色的。明天是新的一天，我们去城里。",
    "바다는 고요하고 하늘은 파랗다. 내일은 새로운 날이다.",
    "البحر هادئ والسماء زرقاء فوق الجزيرة، وغدا يوم جديد.",
    "समुद्र शांत है और आकाश नीला है। कल एक नया दिन होगा।",
    "🙂🙂 👍🏽 👩‍🚀 🎉🎉 🇫🇷 ❤️ — “quoted” … ½ ² №7 ﬁne Ａ１",
]
EMPTY_AFFIXES = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
QWEN2_SPLIT = corpus.LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")


def training_text() -> list[str]:
    chapters, size = [], 0
    for text in corpus.chapters(corpus.dump_verses()).values():
        chapters.append(text)
        size += len(text)
        if size > ENGLISH_CHARACTERS:
            break
    return chapters + OTHER_SCRIPTS * 40


def train(tokenizer: Tokenizer) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_text(), trainer)


def split_then_bytes(pattern: str, trim_offsets: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(
                add_prefix_space=False, trim_offsets=trim_offsets, use_regex=False
            ),
        ]
    )


def gpt2_like() -> dict:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    train(tokenizer)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])
    tokenizer.add_tokens([AddedToken("<mask>", lstrip=True), AddedToken("Selah", single_word=True)])
    content = json.loads(tokenizer.to_str())
    model = content["model"] | EMPTY_AFFIXES
    del model["ignore_merges"], model["byte_fallback"]  # younger than GPT-2's file
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    return content | {"model": model}


def llama3_like() -> dict:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = split_then_bytes(corpus.LLAMA3_SPLIT, trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer)
    tokenizer.add_special_tokens(
        [
            AddedToken("<|begin_of_text|>", normalized=False),
            AddedToken("<|end_of_text|>", normalized=False),
            AddedToken("<|eot_id|>", normalized=False, rstrip=True),
        ]
    )
    tokenizer.add_tokens(
        [AddedToken("<br>", normalized=False), AddedToken("<br><br>", normalized=False)]
    )
    bos_id = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|> $B:1",
                special_tokens=[("<|begin_of_text|>", bos_id)],
            ),
        ]
    )
    content = json.loads(tokenizer.to_str())
    content["model"]["merges"] = without_last_words(content["model"]["merges"])
    return content


def without_last_words(merges: list[list[str]]) -> list[list[str]]:
    """Drops the last merges that make a word which no other merge uses: the words stay tokens."""
    parts = {part for pair in merges for part in pair}
    words = [pair for pair in merges if len("".join(pair)) > 4 and "".join(pair) not in parts]
    dropped = words[-UNREACHABLE_WORDS:]
    return [pair for pair in merges if pair not in dropped]


def qwen2_like() -> dict:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split_then_bytes(QWEN2_SPLIT, trim_offsets=False)
    byte_level = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(**byte_level)
    train(tokenizer)
    tokenizer.add_special_tokens(
        [
            AddedToken("<|endoftext|>", normalized=False),
            AddedToken("<|im_start|>", normalized=False),
            AddedToken("<|im_end|>", normalized=False, lstrip=True, rstrip=True),
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken("<tool_call>", normalized=False),
            AddedToken("</tool_call>", normalized=False),
            AddedToken("Noe\u0308l", normalized=True),  # decomposed; NFC makes it one letter
            AddedToken("ark", normalized=True, single_word=True),
        ]
    )
    content = json.loads(tokenizer.to_str())
    content["model"] |= EMPTY_AFFIXES
    content["decoder"] |= byte_level
    return content


def main() -> None:
    GOLDENS.mkdir(parents=True, exist_ok=True)
    for make in (gpt2_like, llama3_like, qwen2_like):
        text = json.dumps(make(), ensure_ascii=False, indent=1) + "\n"
        Tokenizer.from_str(text)
        (GOLDENS / f"{make.__name__}.json").write_text(text)


if __name__ == "__main__":
    main()

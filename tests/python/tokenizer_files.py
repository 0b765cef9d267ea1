# SPDX-License-Identifier: Apache-2.0
"""tokenizer.json files for the tokenizer tests.

Small byte-level BPEs trained here, dressed as the tokenizers of the families we serve, and variants
that reach the rest of the format (added-token flags, every Split behavior, every normalizer).
"""

import copy
import functools
import itertools
import json

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizer_texts import make_texts

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def byte_level(prefix_space: bool = False, use_regex: bool = True) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": True,
            "use_regex": use_regex}


def split(pattern: str, behavior: str = "Isolated", invert: bool = False,
          kind: str = "Regex") -> dict:
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(field: str, *steps: dict) -> dict:
    return {"type": "Sequence", field: list(steps)}


def splits_and_bytes(*splits: dict) -> dict:
    return sequence("pretokenizers", *splits, byte_level(use_regex=False))


def template(*parts: str, ids: dict[str, int]) -> dict:
    def piece(name: str) -> dict:
        if name == "$A":
            return {"Sequence": {"id": "A", "type_id": 0}}
        return {"SpecialToken": {"id": name, "type_id": 0}}

    tokens = {name: {"id": name, "ids": [ids[name]], "tokens": [name]}
              for name in parts if name != "$A"}
    return {"type": "TemplateProcessing", "single": [piece(part) for part in parts],
            "pair": [piece(part) for part in parts] + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": tokens}


@functools.cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=1500, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    texts = [text.decode("utf-8", "replace") for text in make_texts(3000, seed=20240517)]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def make_file(added: list[dict | str] = (), **fields: object) -> dict:
    """A tokenizer.json: the trained vocabulary, `added` tokens, the given top-level fields."""
    data = json.loads(_trained())
    vocabulary = data["model"]["vocab"]
    next_free = itertools.count(len(vocabulary))
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    tokens = [{"content": token} if isinstance(token, str) else token for token in added]
    data["added_tokens"] = [
        {"id": vocabulary.get(token["content"]) or next(next_free), **plain, **token}
        for token in tokens]
    data["pre_tokenizer"] = byte_level()
    data["decoder"] = byte_level(prefix_space=True)
    data["post_processor"] = byte_level()
    data["model"].update(fields.pop("model", {}))
    data.update(fields)
    return data


def _ids(data: dict) -> dict[str, int]:
    return {token["content"]: token["id"] for token in data["added_tokens"]}


def family_files() -> dict[str, dict]:
    files = {}
    gpt2 = make_file(["<|endoftext|>"], model={"unk_token": "<|endoftext|>"})
    gpt2["model"]["merges"] = [" ".join(merge) for merge in gpt2["model"]["merges"]]
    files["gpt2"] = gpt2

    llama = make_file(["<|begin_of_text|>", "<|end_of_text|>"],
                      pre_tokenizer=splits_and_bytes(split(LLAMA3)))
    llama["model"]["ignore_merges"] = True
    llama["post_processor"] = sequence("processors", byte_level(),
                                       template("<|begin_of_text|>", "$A", ids=_ids(llama)))
    files["llama3"] = llama

    files["qwen2"] = make_file(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>",
         {"content": "<tool_call>", "special": False}],
        normalizer={"type": "NFC"}, pre_tokenizer=splits_and_bytes(split(QWEN2)))

    tekken = make_file(["<unk>", "<s>", "</s>"], pre_tokenizer=splits_and_bytes(split(TEKKEN)))
    tekken["post_processor"] = template("<s>", "$A", "</s>", ids=_ids(tekken))
    files["tekken"] = tekken

    files["deepseek"] = make_file(
        ["<s>"], normalizer=sequence("normalizers"),
        pre_tokenizer=splits_and_bytes(*map(split, DEEPSEEK)))
    return files


def format_files() -> dict[str, dict]:
    """Corners of the format that no family above reaches."""
    files = {
        "prefix_space": make_file(["<s>"], pre_tokenizer=byte_level(prefix_space=True)),
        "flags": make_file(
            [{"content": "<s>", "lstrip": True}, {"content": "</s>", "rstrip": True},
             {"content": "[MASK]", "lstrip": True, "rstrip": True},
             {"content": "word", "single_word": True, "special": False}, "[PAD]", "[PADDING]",
             {"content": "<|im_", "special": False}, "<|im_start|>",
             {"content": "  two", "special": False},
             {"content": "É", "normalized": True, "special": False}]),
        "normalized_tokens": make_file(
            [{"content": "ﬁx", "normalized": True, "special": False},
             {"content": "word", "normalized": True, "single_word": True, "lstrip": True},
             {"content": "É", "normalized": True}, {"content": "<s>", "rstrip": True}],
            normalizer={"type": "NFKC"}),
        "digits": make_file(pre_tokenizer=sequence(
            "pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level())),
        "digit_runs": make_file(pre_tokenizer=sequence(
            "pretokenizers", {"type": "Digits", "individual_digits": False}, byte_level())),
        "no_alphabet": make_file(pre_tokenizer=None, model={"unk_token": "a", "fuse_unk": False}),
        "fused_unknown": make_file(pre_tokenizer=split(r"\s+"),
                                   model={"unk_token": "a", "fuse_unk": True}),
        "no_unknown": make_file(pre_tokenizer=split(" ", "MergedWithNext", kind="String")),
        "decoder_sequence": make_file(
            ["<s>"], decoder=sequence("decoders", byte_level(), {"type": "Fuse"})),
    }
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        files[form.lower()] = make_file(normalizer={"type": form})
    files["nfkd_nfc"] = make_file(
        normalizer=sequence("normalizers", {"type": "NFKD"}, {"type": "NFC"}))
    patterns = {
        "spaces": (r"\s+", "Regex"), "maybe_empty": (r"a*", "Regex"),
        "word": (r"\w+|\b", "Regex"), "literal": ("the", "String"), "dotted": (".", "String"),
        "caseless": (r"(?i)[k-s]+|ß", "Regex"), "script": (r"\p{Han}+|\p{^L}", "Regex"),
        "hex": (r"\h+|[^\h\S]", "Regex"), "line": (r"^ *.+", "Regex"),
        "not_word": (r"\W\B|\S\x41?+", "Regex"),
    }
    for index, (name, (pattern, kind)) in enumerate(patterns.items()):
        behaviors = BEHAVIORS if name in ("spaces", "maybe_empty") else [BEHAVIORS[index % 5]]
        for invert in (False, True):
            for behavior in behaviors:
                step = split(pattern, behavior, invert, kind)
                key = f"split_{name}_{behavior}{'_inverted' if invert else ''}"
                files[key] = make_file(pre_tokenizer=splits_and_bytes(step))
    return files


def unsupported_files() -> dict[str, tuple[dict, str]]:
    """Files that must be refused, with a word that the message must contain."""
    def changed(path: str, value: object) -> dict:
        data = copy.deepcopy(make_file(["<s>"]))
        *parents, last = path.split(".")
        target = functools.reduce(lambda at, key: at[key], parents, data)
        target[last] = value
        return data

    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "wordpiece": (changed("model.type", "WordPiece"), "WordPiece"),
        "unigram": (changed("model.type", "Unigram"), "Unigram"),
        "word_level": (changed("model.type", "WordLevel"), "WordLevel"),
        "metaspace": (changed("pre_tokenizer", metaspace), "Metaspace"),
        "metaspace_in_sequence": (
            changed("pre_tokenizer", sequence("pretokenizers", metaspace)), "Metaspace"),
        "lowercase": (changed("normalizer", {"type": "Lowercase"}), "Lowercase"),
        "bert": (changed("post_processor",
                         {"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 2]}),
                 "BertProcessing"),
        "metaspace_decoder": (changed("decoder", metaspace), "Metaspace"),
        "no_decoder": (changed("decoder", None), "decoder"),
        "byte_fallback": (changed("model.byte_fallback", True), "byte_fallback"),
        "dropout": (changed("model.dropout", 0.1), "dropout"),
        "word_suffix": (changed("model.end_of_word_suffix", "</w>"), "end_of_word_suffix"),
        "word_prefix": (changed("model.continuing_subword_prefix", "##"),
                        "continuing_subword_prefix"),
        "version": (changed("version", "2.0"), "version"),
        "nested_set": (changed("pre_tokenizer", split(r"[a[bc]]")), "set"),
        "back_reference": (changed("pre_tokenizer", split(r"(a)\1")), r"\1"),
    }

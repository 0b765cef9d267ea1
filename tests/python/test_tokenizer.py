# SPDX-License-Identifier: Apache-2.0
"""The C++ tokenizer beside the `tokenizers` package on the same files and texts: equal results.

The C++ side is driven through the program tokenizer_probe, found in $DOVETAIL_BUILD_DIR (default
build/cpu).
"""

import base64
import json
import os
import pathlib
import random
import subprocess

import pytest
from tokenizers import Tokenizer

from tokenizer_files import family_files, format_files, unsupported_files
from tokenizer_texts import make_texts

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DOVETAIL_BUILD_DIR", REPOSITORY / "build" / "cpu"))
PROBE = BUILD / "tests" / "runtime" / "tokenizer_probe"
SEED = 7

FAMILIES = family_files()
FORMATS = format_files()
UNSUPPORTED = unsupported_files()
BUNDLED = sorted([*REPOSITORY.glob("models/*/checkpoint/tokenizer.json"),
                  *REPOSITORY.glob("tests/oracle/goldens/tokenizers/*.json")])


def run_probe(path: pathlib.Path, lines: str) -> subprocess.CompletedProcess[str]:
    assert PROBE.exists(), f"{PROBE} is missing: build tokenizer_probe, or set DOVETAIL_BUILD_DIR"
    return subprocess.run([PROBE, path], input=lines, capture_output=True, text=True, timeout=300)


def probe(path: pathlib.Path, requests: list[dict]) -> list[dict]:
    done = run_probe(path, "".join(json.dumps(request) + "\n" for request in requests))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _text(answer: str) -> str:
    return base64.b64decode(answer).decode("utf-8", "strict")


def check_encode(path: pathlib.Path, oracle: Tokenizer, texts: list[bytes]) -> list[list[int]]:
    requests = [{"op": "encode", "text": _encoded(text), "special": special}
                for text in texts for special in (False, True)]
    answers = probe(path, requests)
    assert len(answers) == len(requests)
    every = []
    for i, text in enumerate(texts):
        for special in (False, True):
            known = text.decode("utf-8", "replace")
            expected = oracle.encode(known, add_special_tokens=special).ids
            got = answers[2 * i + special].get("ids", answers[2 * i + special])
            assert got == expected, f"encode({text!r}, add_special_tokens={special})"
            every.append(expected)
    return every


def check_decode(path: pathlib.Path, oracle: Tokenizer, sequences: list[list[int]]) -> None:
    requests = [{"op": "decode", "ids": ids, "skip": skip}
                for ids in sequences for skip in (False, True)]
    answers = probe(path, requests)
    assert len(answers) == len(requests)
    for request, answer in zip(requests, answers):
        expected = oracle.decode(request["ids"], skip_special_tokens=request["skip"])
        assert _text(answer["text"]) == expected, request
        assert "".join(_text(piece) for piece in answer["pieces"]) == expected, request


def random_sequences(size: int, count: int) -> list[list[int]]:
    """Ids in any order: half-written characters everywhere, and some ids that no token has."""
    rng = random.Random(SEED)
    return [[rng.randrange(size + 5) if rng.random() < 0.5 else rng.randrange(min(size, 256))
             for _ in range(rng.randint(0, 30))] for _ in range(count)]


def check(path: pathlib.Path, text_count: int) -> None:
    oracle = Tokenizer.from_file(str(path))
    oracle.no_truncation()
    oracle.no_padding()
    size = oracle.get_vocab_size()
    assert probe(path, [{"op": "describe"}]) == [{"vocabulary_size": size}]
    sequences = check_encode(path, oracle, make_texts(text_count, SEED))
    check_decode(path, oracle, sequences + random_sequences(size, text_count // 4))


def written(folder: pathlib.Path, data: dict) -> pathlib.Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str, tmp_path: pathlib.Path) -> None:
    check(written(tmp_path, FAMILIES[name]), text_count=2000)


@pytest.mark.parametrize("name", FORMATS)
def test_format(name: str, tmp_path: pathlib.Path) -> None:
    check(written(tmp_path, FORMATS[name]), text_count=600)


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_bundled_file(path: pathlib.Path) -> None:
    check(path, text_count=2000)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_refused_by_name(name: str, tmp_path: pathlib.Path) -> None:
    data, word = UNSUPPORTED[name]
    done = run_probe(written(tmp_path, data), "")
    assert done.returncode == 1, f"exit {done.returncode}, expected 1: {done.stderr}"
    assert word in done.stderr and "support" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr

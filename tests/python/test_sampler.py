# SPDX-License-Identifier: Apache-2.0
"""The sampler's filters beside the definitions of transformers' logits processors, in float64.

RepetitionPenalty, Temperature, TopK, TopP, MinP, in this order; a removed token gets -inf.
The C++ side is driven through the program sampler_probe, found in $DOVETAIL_BUILD_DIR.
"""

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DOVETAIL_BUILD_DIR", REPOSITORY / "build" / "cpu"))
PROBE = BUILD / "tests" / "runtime" / "sampler_probe"

DEFAULTS = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
OPTIONS = {
    "plain": {},
    "cold": {"temperature": 0.25},
    "hot": {"temperature": 4.0},
    "top_k": {"top_k": 5},
    "top_k_of_one": {"top_k": 1},
    "top_k_beyond_the_vocabulary": {"top_k": 100000},
    "top_p": {"top_p": 0.9},
    "top_p_of_zero": {"top_p": 0.0},
    "narrow_top_p": {"top_p": 0.01},
    "wide_top_p": {"top_p": 0.9999},
    "min_p": {"min_p": 0.05},
    "min_p_of_one": {"min_p": 1.0},
    "penalty": {"repetition_penalty": 1.25},
    "reward": {"repetition_penalty": 0.75},
    "everything": {"temperature": 0.75, "top_k": 40, "top_p": 0.9, "min_p": 0.02,
                   "repetition_penalty": 1.125},
    "hot_everything": {"temperature": 2.0, "top_k": 20, "top_p": 0.8, "min_p": 0.1},
}


def logit_cases() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    masked = rng.normal(0, 3, 300)
    masked[rng.random(300) < 0.7] = -np.inf
    cases = {
        "normal": rng.normal(0, 3, 1000),
        "flat": rng.normal(0, 0.01, 500),
        "peaked": np.append(rng.normal(0, 1, 200), 40.0),
        "ties": rng.integers(-4, 5, 400) / 2.0,
        "all_equal": np.full(64, 0.5),
        "masked": masked,
        "one": np.array([3.0]),
        "wide": rng.normal(0, 100, 300),
        "large": rng.normal(0, 2.5, 32000),
    }
    return {name: logits.astype(np.float32) for name, logits in cases.items()}


LOGITS = logit_cases()


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def expected(logits: np.ndarray, history: list[int], options: dict) -> np.ndarray:
    """The probability of every token; 0 where a filter removed it."""
    o = {name: np.float32(value) for name, value in options.items()}
    scores = logits.copy()
    for token in set(history):  # in the logits' own precision, as transformers does
        penalty = o["repetition_penalty"]
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    scores = scores.astype(np.float64) / np.float64(o["temperature"])
    if options["top_k"] > 0:
        kth = np.sort(scores)[::-1][min(options["top_k"], scores.size) - 1]
        scores[scores < kth] = -np.inf
    if o["top_p"] < 1:
        # Likeliest last; of equal tokens the lowest id counts as the likeliest.
        order = np.lexsort((-np.arange(scores.size), scores))
        cumulative = np.cumsum(softmax(scores)[order])
        removed = cumulative <= 1 - np.float64(o["top_p"])
        removed[-1] = False
        scores[order[removed]] = -np.inf
    if o["min_p"] > 0:
        probabilities = softmax(scores)
        keep_best = scores.max()
        removed = probabilities < np.float64(o["min_p"]) * probabilities.max()
        scores[removed & (scores < keep_best)] = -np.inf
    return softmax(scores)


def ask(requests: list[dict]) -> list[dict]:
    assert PROBE.exists(), f"{PROBE} is missing: build sampler_probe, or set DOVETAIL_BUILD_DIR"
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([PROBE], input=lines, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("options", OPTIONS)
def test_filtered_distribution(options: str) -> None:
    settings = {**DEFAULTS, **OPTIONS[options]}
    rng = np.random.default_rng(2)
    requests = []
    for logits in LOGITS.values():
        history = rng.integers(0, logits.size, 20).tolist() + [int(np.argmax(logits))]
        values = [None if np.isinf(logit) else float(logit) for logit in logits]
        requests.append({"logits": values, "history": history, **settings})
    for name, request, answer in zip(LOGITS, requests, ask(requests), strict=True):
        probabilities = expected(LOGITS[name], request["history"], settings)
        kept = np.flatnonzero(probabilities).tolist()
        assert answer.get("ids") == kept, (name, answer.get("error"))
        np.testing.assert_allclose(answer["probabilities"], probabilities[kept],
                                   rtol=1e-11, atol=0, err_msg=name)

# SPDX-License-Identifier: Apache-2.0
"""AttentionPlugin inside ONNX Runtime, beside fp64 numpy and ONNX Runtime's own
GroupQueryAttention."""

import dataclasses

import numpy as np
import pytest

from onnxruntime_attention import CHUNKED, DECODE, PREFILL, TREE, Attention
from onnxruntime_session import BF16, F16, FP8, ONNX_TYPE, node_model, open_session, run

PADDED_IDS = np.array([[6, 7, 7, 8, -1], [3, 4, 5, 4, 5]], np.int32)
NORM = {"enable_qk_norm": 1, "rms_norm_eps": 1e-5}

CASES = {
    "guide node, prefill, fp16": Attention(PREFILL, [0, 0], [5, 5], 5, dtype=F16, kv_dtype=F16),
    "prefill, ragged": Attention(PREFILL, [0, 0, 0], [7, 1, 4], 7),
    "prefill, an empty lane": Attention(PREFILL, [0, 0], [0, 4], 4),
    "prefill, one token": Attention(PREFILL, [0, 0], [1, 1], 1),
    "prefill, bf16": Attention(PREFILL, [0, 0], [6, 3], 6, dtype=BF16, kv_dtype=BF16),
    "prefill, fp32 over fp16": Attention(PREFILL, [0], [20], 20, kv_dtype=F16),
    "prefill fills the cache": Attention(PREFILL, [0], [32], 32),
    "chunked, ragged": Attention(CHUNKED, [9, 0], [3, 6], 6, kv_dtype=F16),
    "chunked, fp16": Attention(CHUNKED, [20, 3], [8, 8], 8, dtype=F16, kv_dtype=F16),
    "chunked, tree enabled": Attention(CHUNKED, [4, 9], [3, 2], 3, tree=True),
    "one-token rest of a chunked prefill": Attention(DECODE, [8, 5], [1, 1], 1, remainder=True),
    "decode": Attention(DECODE, [10, 31], [1, 1], 1),
    "decode, fp32 over fp16": Attention(
        DECODE, [100, 300], [1, 1], 1, 8, 2, 128, 320, kv_dtype=F16
    ),
    "decode, fp16": Attention(DECODE, [17, 2], [1, 1], 1, dtype=F16, kv_dtype=F16),
    "decode, bf16 over bf16": Attention(DECODE, [17], [1], 1, dtype=BF16, kv_dtype=BF16),
    "decode, MHA, D 80": Attention(DECODE, [12], [1], 1, 3, 3, 80),
    "decode, MQA, D 96": Attention(DECODE, [30, 7], [1, 1], 1, 8, 1, 96),
    "decode, ratio 7, D 256": Attention(DECODE, [6], [1], 1, 7, 1, 256),
    "decode, tree enabled": Attention(DECODE, [6, 9], [1, 1], 1, tree=True),
    "tree": Attention(TREE, [6, 11], [5, 5], 5, kv_dtype=F16),
    "tree, padding at position -1": Attention(TREE, [6, 3], [5, 5], 5, ids=PADDED_IDS),
    "tree, two mask words, fp16": Attention(TREE, [20], [40], 40, 4, 1, 64, 64, F16, F16),
    "partial rotary": Attention(CHUNKED, [5], [4], 4, rotary_width=32),
    "a RoPE table per lane": Attention(DECODE, [5, 9], [1, 1], 1, table_per_lane=True),
    "fp8, prefill": Attention(PREFILL, [0, 0], [6, 4], 6, dtype=F16, kv_dtype=FP8),
    "fp8, decode": Attention(DECODE, [18, 30], [1, 1], 1, kv_dtype=FP8),
    "fp8, tree": Attention(TREE, [9], [6], 6, dtype=BF16, kv_dtype=FP8),
    "Q/K norm": Attention(CHUNKED, [3, 8], [5, 2], 5, attributes=NORM),
    "Q/K norm, fp8, fp16": Attention(DECODE, [8], [1], 1, dtype=F16, kv_dtype=FP8, attributes=NORM),
    "sliding window": Attention(CHUNKED, [9, 2], [6, 6], 6, attributes={"sliding_window_size": 4}),
    "scale and softcap": Attention(
        CHUNKED, [9], [6], 6, attributes={"attention_scale": 0.2, "logit_softcap": 3.0}
    ),
}


def call(attention: Attention, in_place: bool, threads: int = 2) -> tuple[np.ndarray, np.ndarray]:
    feeds = attention.feeds()
    feeds["past"] = past = attention.cache.copy()
    present = past if in_place else np.zeros_like(past)
    y = attention.empty_output()
    run(open_session(attention.model(), threads), feeds, {"y": y, "present": present})
    if not in_place:
        np.testing.assert_array_equal(past.view(np.uint8), attention.cache.view(np.uint8))
    return y, present


@pytest.mark.parametrize("attention", CASES.values(), ids=CASES.keys())
def test_result(attention):
    y, present = call(attention, in_place=True)
    attention.check_cache(present)
    attention.check_output(y, present)
    # A past that is another buffer is copied as far as it is filled: the same result, to the bit.
    other_y, other_present = call(attention, in_place=False)
    np.testing.assert_array_equal(other_y.view(np.uint8), y.view(np.uint8))
    for lane, history in enumerate(attention.history):
        np.testing.assert_array_equal(
            other_present[lane, :, :, :history].view(np.uint8),
            attention.cache[lane, :, :, :history].view(np.uint8),
        )
    for lane, part, head, slot, _ in attention.expected_rows():
        np.testing.assert_array_equal(
            other_present[lane, part, head, slot].view(np.uint8),
            present[lane, part, head, slot].view(np.uint8),
        )


@pytest.mark.parametrize("damage", ["query", "cache"])
def test_the_check_would_show(damage):
    attention = dataclasses.replace(CASES["chunked, ragged"])
    if damage == "cache":
        y, present = call(attention, True)
        present[0, 1, 1, 2, 7] += np.float16(0.01)  # a slot of the past
        with pytest.raises(AssertionError):
            attention.check_cache(present)
    else:
        attention.qkv[0, 1, 64 + 3] *= 1.01
        y, present = call(attention, True)
        attention.qkv[0, 1, 64 + 3] /= 1.01
        with pytest.raises(AssertionError):
            attention.check_output(y, present)


def test_a_sequence_of_calls_equals_one_prefill():
    """12 tokens at once, and as 5 + 4 + 1 + 1 + 1 through chunked prefill and decode on one
    cache."""
    whole = Attention(PREFILL, [0], [12], 12)
    y, _ = call(whole, True)
    session = open_session(whole.model())
    cache = np.zeros_like(whole.cache)
    rows = []
    for begin, end, mode in [
        (0, 5, PREFILL),
        (5, 9, CHUNKED),
        (9, 10, DECODE),
        (10, 11, DECODE),
        (11, 12, DECODE),
    ]:
        part = Attention(mode, [begin], [end - begin], end - begin)
        part.qkv, part.rope = np.ascontiguousarray(whole.qkv[:, begin:end]), whole.rope
        out = part.empty_output()
        run(session, part.feeds() | {"past": cache}, {"y": out, "present": cache})
        rows.append(out)
    allowed = 2.0**-20 * np.abs(whole.cache).max()  # fp32 sums in another order
    np.testing.assert_allclose(np.concatenate(rows, 1), y, rtol=0, atol=allowed)


def group_query_attention(attention: Attention) -> tuple[np.ndarray, np.ndarray]:
    """The same call by ONNX Runtime's own operator: packed QKV, in-place cache, RoPE inside."""
    batch, half = len(attention.history), attention.rotary_width // 2
    total = np.array(attention.history) + np.array(attention.fresh)
    cache_shape = ["B", attention.kv_heads, "C", attention.head_size]
    kind = ONNX_TYPE[attention.dtype]
    inputs = {
        "qkv": (kind, ["B", "S", attention.qkv.shape[2]]),
        "no key": None,
        "no value": None,
        "past_key": (kind, cache_shape),
        "past_value": (kind, cache_shape),
        "seqlens_k": (ONNX_TYPE[np.dtype(np.int32)], ["B"]),
        "total": (ONNX_TYPE[np.dtype(np.int32)], []),
        "cos": (kind, ["P", half]),
        "sin": (kind, ["P", half]),
    }
    attributes = {
        "num_heads": attention.q_heads,
        "kv_num_heads": attention.kv_heads,
        "do_rotary": 1,
    }
    model = node_model(
        "GroupQueryAttention",
        inputs,
        {"y": kind, "present_key": kind, "present_value": kind},
        attributes,
        domain="com.microsoft",
    )
    key, value = (np.ascontiguousarray(attention.cache[:, part]) for part in range(2))
    table = attention.rope[0].astype(attention.dtype)
    y = np.empty(
        (batch, attention.tokens, attention.q_heads * attention.head_size), attention.dtype
    )
    feeds = {
        "qkv": attention.qkv,
        "past_key": key,
        "past_value": value,
        "seqlens_k": (total - 1).astype(np.int32),
        "total": np.array(total.max(), np.int32),
        "cos": np.ascontiguousarray(table[:, :half]),
        "sin": np.ascontiguousarray(table[:, half:]),
    }
    run(open_session(model), feeds, {"y": y, "present_key": key, "present_value": value})
    return y.reshape(attention.empty_output().shape), np.stack([key, value], 1)


@pytest.mark.parametrize(
    "attention",
    [
        Attention(PREFILL, [0], [9], 9, 8, 2, 64, 16),
        Attention(DECODE, [40, 13], [1, 1], 1, 8, 2, 128, 64),
        Attention(CHUNKED, [7], [5], 5, 4, 4, 64, 32),
    ],
    ids=["prefill", "decode", "chunked"],
)
def test_agrees_with_group_query_attention(attention):
    theirs, their_cache = group_query_attention(attention)
    attention.check_cache(their_cache)
    attention.check_output(theirs, their_cache)
    y, present = call(attention, True)
    bound = 4 * 2.0**-22 * np.abs(present).max()
    np.testing.assert_allclose(y, theirs, rtol=0, atol=bound)


def test_session_knows_output_shapes():
    attention = Attention(DECODE, [3], [1], 1, dtype=BF16, kv_dtype=F16)
    output, present = open_session(attention.model()).get_outputs()
    assert (output.type, output.shape) == ("tensor(bfloat16)", ["B", "S", 4, 64])
    assert (present.type, present.shape) == ("tensor(float16)", ["B", 2, 2, "C", 64])
    fp8 = Attention(DECODE, [3], [1], 1, kv_dtype=FP8)
    assert open_session(fp8.model()).get_outputs()[1].type == "tensor(float8e4m3fn)"


def test_no_tokens_and_no_lanes():
    attention = Attention(CHUNKED, [4, 2], [0, 0], 3)
    y, present = call(attention, True)
    attention.check_cache(present)
    assert not y.any()

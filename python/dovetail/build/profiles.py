# SPDX-License-Identifier: Apache-2.0
"""The two optimisation profiles of an engine, as TensorRT Edge-LLM 0.5 builds them.

Profile 0 ("context") takes prompts, whole or in chunks; profile 1 ("generation") takes one token
per lane, or with tree decoding up to `max_tree` draft tokens.
"""

from __future__ import annotations

from typing import Any

Dims = list[int]
Profile = dict[str, tuple[Dims, Dims, Dims]]  # input -> min, opt, max


def _words(tokens: int) -> int:
    return (tokens + 31) // 32


def profiles(manifest: dict[str, Any], max_input: int, max_tree: int) -> list[Profile]:
    """Context, then generation. `max_tree` is ignored unless the package has the tree inputs."""
    model = manifest["model"]
    batch, capacity = manifest["max_batch"], manifest["capacity"]
    hidden, width = model["hidden_size"], model["rotary_width"]
    heads, size = model["num_kv_heads"], model["head_size"]
    full = [batch, 2, heads, capacity, size]
    shared: Profile = {
        "context_lengths": ([1], [batch], [batch]),
        "rope_rotary_cos_sin": (
            [1, capacity, width],
            [batch, capacity, width],
            [batch, capacity, width],
        ),
    }
    for i in range(model["layers"]):
        shared[f"past_key_values_{i}"] = ([1, 2, heads, 0, size], full, full)

    half = max(max_input // 2, 1)
    context: Profile = shared | {
        "inputs_embeds": ([1, 1, hidden], [batch, half, hidden], [batch, max_input, hidden]),
        "last_token_ids": ([1, 1], [batch, 1], [batch, 1]),
        "kvcache_start_index": ([0], [batch], [batch]),  # [0]: all lanes are empty
    }
    tree = max_tree if manifest["tree"] else 1
    some = max(tree // 2, 1)
    generation: Profile = shared | {
        "inputs_embeds": ([1, 1, hidden], [batch, some, hidden], [batch, tree, hidden]),
        "last_token_ids": ([1, 1], [batch, some], [batch, tree]),
        "kvcache_start_index": ([1], [batch], [batch]),
    }
    if manifest["tree"]:
        context["attention_mask"] = ([1, 1, 1], [batch, 1, 1], [batch, 1, 1])
        context["attention_pos_id"] = ([1, 1], [batch, 1], [batch, 1])
        generation["attention_mask"] = (
            [1, 1, 1],
            [batch, some, _words(some)],
            [batch, tree, _words(tree)],
        )
        generation["attention_pos_id"] = ([1, 1], [batch, some], [batch, tree])
    return [context, generation]

# SPDX-License-Identifier: Apache-2.0
"""A model = a family plus the numbers of one config.json, checked."""

from __future__ import annotations

from dataclasses import dataclass

from ..checkpoint import Config
from ..errors import DovetailError
from .family import Family
from .rope import Rope, read_rope


@dataclass(frozen=True)
class Model:
    family: Family
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    q_heads: int
    kv_heads: int
    head_size: int
    norm_eps: float
    tied_head: bool  # the head is the embedding
    rope: Rope
    windows: tuple[int, ...]  # per layer: sliding window, -1 for none
    context_length: int | None  # max_position_embeddings

    def quantizable(self) -> list[tuple[str, int, int]]:
        """(module, N, K) of every linear weight, layer by layer, the head last."""
        t = self.family.tensors
        q, kv = self.q_heads * self.head_size, self.kv_heads * self.head_size
        shapes = (
            (t.q, q, self.hidden),
            (t.k, kv, self.hidden),
            (t.v, kv, self.hidden),
            (t.o, self.hidden, q),
            (t.gate, self.intermediate, self.hidden),
            (t.up, self.intermediate, self.hidden),
            (t.down, self.hidden, self.intermediate),
        )
        modules = [(m.format(i=i), n, k) for i in range(self.layers) for m, n, k in shapes]
        if not self.tied_head:
            modules.append((t.head, self.vocabulary, self.hidden))
        return modules


def read_model(config: Config, family: Family) -> Model:
    for flag, meaning in family.refused_flags.items():
        if config.flag(flag, False):
            raise DovetailError(
                f"{config.where}: {flag} ({meaning}) is not supported for {family.name}"
            )
    activation = config.text("hidden_act", family.defaults["hidden_act"])
    if activation not in ("silu", "swish"):
        raise DovetailError(
            f"{config.where}: hidden_act {activation} is not supported; supported is silu"
        )
    hidden = config.integer("hidden_size")
    layers = config.integer("num_hidden_layers")
    q_heads = config.integer("num_attention_heads")
    kv_heads = config.integer("num_key_value_heads", None) or q_heads
    if q_heads % kv_heads:
        raise DovetailError(
            f"{config.where}: num_attention_heads is {q_heads}, expected a multiple of "
            f"num_key_value_heads = {kv_heads}"
        )
    head_size = config.integer("head_dim", None) or family.defaults.get("head_dim")
    if head_size is None:
        if hidden % q_heads:
            raise DovetailError(
                f"{config.where}: hidden_size is {hidden}, expected a multiple of "
                f"num_attention_heads = {q_heads}, as there is no head_dim"
            )
        head_size = hidden // q_heads
    return Model(
        family=family,
        layers=layers,
        hidden=hidden,
        intermediate=config.integer("intermediate_size"),
        vocabulary=config.integer("vocab_size"),
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_size=head_size,
        norm_eps=config.number("rms_norm_eps", family.defaults["rms_norm_eps"]),
        tied_head=config.flag("tie_word_embeddings", False),
        rope=read_rope(config, head_size, family.defaults["rope_theta"]),
        windows=_windows(config, family, layers),
        context_length=config.integer("max_position_embeddings", None),
    )


def _windows(config: Config, family: Family, layers: int) -> tuple[int, ...]:
    if family.sliding_window == "none":
        return (-1,) * layers
    window = config.integer("sliding_window", None)
    first = 0
    if family.sliding_window == "switched":
        if not config.flag("use_sliding_window", False):
            window = None
        elif window is not None:
            first = config.integer("max_window_layers", minimum=0)
    if window is None:
        return (-1,) * layers
    types = config.strings("layer_types")
    if not types:
        types = ["full_attention"] * min(first, layers)
        types += ["sliding_attention"] * (layers - len(types))
    known = {"full_attention": -1, "sliding_attention": window}
    unknown = sorted(set(types) - known.keys())
    if unknown or len(types) != layers:
        what = unknown[0] if unknown else f"a list of {len(types)} for {layers} layers"
        raise DovetailError(
            f"{config.where}: layer_types has {what}, expected one of "
            f"{', '.join(known)} for each layer"
        )
    return tuple(known[kind] for kind in types)

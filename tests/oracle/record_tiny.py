# SPDX-License-Identifier: Apache-2.0
"""Goldens of the bundled model (models/tiny): logits, perplexity and a greedy continuation.

Perplexity, exactly: held_out.txt is read as it is and encoded without special tokens. Its tokens
are cut into pieces of 255, side by side; the last piece is what is left. Each piece is run alone
as <|begin_of_text|> + piece (256 positions at most, from position 0), and every token of the piece
counts, the first one predicted from <|begin_of_text|> alone. Perplexity is exp of the mean
negative log-likelihood over the tokens that count.
"""

import json
import math
from pathlib import Path

import torch
from int4_packing import Scheme
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel
from versions import versions

ROOM = Path(__file__).resolve().parents[2] / "models" / "tiny"
WINDOW = 256
SLICE_PIECES = 8
PIECE_FIRST_TOKEN, PIECE_TOKENS = 2000, 127
ROW_STRIDE = 8
PROMPT = "And it came to pass in those days, that"
CONTINUATION_TOKENS = 64


@torch.no_grad()
def logits_of(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def piece_losses(model: PreTrainedModel, tokens: list[int], bos_id: int) -> torch.Tensor:
    """Summed negative log-likelihood of every piece, in nats."""
    sums = []
    for start in range(0, len(tokens), WINDOW - 1):
        piece = tokens[start : start + WINDOW - 1]
        logits = logits_of(model, [bos_id, *piece])[:-1]
        target = torch.tensor(piece)
        sums.append(functional.cross_entropy(logits.double(), target, reduction="sum"))
    return torch.stack(sums)


@torch.no_grad()
def continuation(model: PreTrainedModel, prompt: list[int]) -> tuple[list[int], float]:
    """Greedy tokens through the KV cache and the smallest lead of a chosen token."""
    generated, lead, past, step = [], math.inf, None, prompt
    for _ in range(CONTINUATION_TOKENS):
        out = model(input_ids=torch.tensor([step]), past_key_values=past, use_cache=True)
        best = out.logits[0, -1].topk(2)
        lead = min(lead, float(best.values[0] - best.values[1]))
        generated.append(int(best.indices[0]))
        past, step = out.past_key_values, generated[-1:]
    return generated, lead


def quantized_perplexity(tokens: list[int], bos_id: int, group_size: int) -> float:
    """With the linear layers of the blocks rounded to nearest, for the card and for orientation."""
    model = load()
    with torch.no_grad():
        for module in model.model.layers.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.copy_(Scheme(group_size, True).quantize(module.weight)[1])
    return math.exp(float(piece_losses(model, tokens, bos_id).sum()) / len(tokens))


def load() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(
        ROOM / "checkpoint", dtype=torch.float32, attn_implementation="eager"
    ).eval()


def record(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = load()
    tokenizer = Tokenizer.from_file(str(ROOM / "checkpoint" / "tokenizer.json"))
    bos_id = tokenizer.token_to_id("<|begin_of_text|>")
    tokens = tokenizer.encode((ROOM / "held_out.txt").read_text(), add_special_tokens=False).ids

    losses = piece_losses(model, tokens, bos_id)
    slice_tokens = SLICE_PIECES * (WINDOW - 1)
    perplexities = {
        "perplexity": math.exp(float(losses.sum()) / len(tokens)),
        "slice_perplexity": math.exp(float(losses[:SLICE_PIECES].sum()) / slice_tokens),
    }
    for group_size in (32, 64, 128):
        perplexities[f"perplexity_round_to_nearest_g{group_size}"] = quantized_perplexity(
            tokens, bos_id, group_size
        )

    piece = [bos_id, *tokens[PIECE_FIRST_TOKEN : PIECE_FIRST_TOKEN + PIECE_TOKENS]]
    logits = logits_of(model, piece)
    prompt = tokenizer.encode(PROMPT).ids
    generated, lead = continuation(model, prompt)
    save_file(
        {
            "held_out_tokens": torch.tensor(tokens, dtype=torch.int32),
            "piece_losses": losses.float(),
            "piece": torch.tensor(piece),
            "piece_logits": logits[ROW_STRIDE - 1 :: ROW_STRIDE].contiguous(),
            "piece_log_sum_exp": logits.double().logsumexp(-1).float(),
            "piece_best": logits.argmax(-1),
            "prompt": torch.tensor(prompt),
            "generated": torch.tensor(generated),
        },
        folder / "golden.safetensors",
    )
    facts = {
        "prompt_text": PROMPT,
        "generated_text": tokenizer.decode(generated),
        "smallest_lead": round(lead, 4),
        **{key: round(value, 6) for key, value in perplexities.items()},
        **versions(),
    }
    (folder / "golden.json").write_text(json.dumps(facts, indent=2) + "\n")
    print("tiny:", perplexities, f"smallest lead {lead:.3f}")
    print("tiny:", facts["generated_text"])

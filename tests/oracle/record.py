# SPDX-License-Identifier: Apache-2.0
"""Records what transformers computes, for tests that must not need torch. README.md says what
each file holds.

For every family of families.py: a random checkpoint, its int4 forms, and for each of them the
logits of a prompt and of 32 greedy steps. For the bundled model: logits on held-out text,
perplexity, a greedy continuation. Everything runs in fp32 with eager attention on one thread, so
recording twice on one machine gives the same bytes.

Run from the repository root:  python tests/oracle/record.py [NAME ...]
"""

import json
import shutil
import sys
from pathlib import Path

import awq_gptq_packing
import record_tiny
import torch
from families import BOS_ID, EOS_ID, FAMILIES, Family, randomize
from int4_packing import SCHEMES
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, PreTrainedModel
from versions import versions

GOLDENS = Path(__file__).resolve().parent / "goldens"
PROMPT = "The quick brown fox jumps over it all."
STEPS = 32
# Greedy tokens are only a fair expectation when no near-tie decides them.
SMALLEST_LEAD = 0.02


def byte_tokenizer() -> Tokenizer:
    """One token a byte, BOS before every text: the family's text and ids are the same thing."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<bos>", "<eos>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", BOS_ID)]
    )
    return tokenizer


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def start_checkpoint(folder: Path, config: dict) -> None:
    """A new folder with everything but the weights."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    write_json(
        folder / "generation_config.json", {"bos_token_id": BOS_ID, "eos_token_id": [EOS_ID]}
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "clean_up_tokenization_spaces": False,
        },
    )
    byte_tokenizer().save(str(folder / "tokenizer.json"))


def stored_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """bf16 by name; a tied output projection is not stored twice."""
    weights = {name: value.bfloat16() for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    return weights


@torch.no_grad()
def greedy(model: PreTrainedModel, prompt: list[int]) -> dict[str, torch.Tensor]:
    """Prefill and STEPS decode steps through the KV cache; see README.md for the shapes."""
    out = model(input_ids=torch.tensor([prompt]), use_cache=True)
    prefill = out.logits[0]
    generated, rows = [int(prefill[-1].argmax())], []
    for _ in range(STEPS):
        out = model(
            input_ids=torch.tensor([[generated[-1]]]),
            past_key_values=out.past_key_values,
            use_cache=True,
        )
        rows.append(out.logits[0, 0])
        generated.append(int(rows[-1].argmax()))
    return {
        "prompt": torch.tensor(prompt),
        "prefill_logits": prefill.contiguous(),
        "generated": torch.tensor(generated),
        "decode_logits": torch.stack(rows),
    }


@torch.no_grad()
def check(model: PreTrainedModel, golden: dict[str, torch.Tensor], label: str) -> float:
    """The cache changed nothing (against one fp64 pass) and no greedy choice was a near-tie."""
    tokens = torch.cat([golden["prompt"], golden["generated"][:-1]])
    whole = model.double()(input_ids=tokens[None], use_cache=False).logits[0]
    model.float()
    logits = torch.cat([golden["prefill_logits"], golden["decode_logits"]])
    error = float((logits - whole).abs().max() / whole.abs().max())
    choices = logits[len(golden["prompt"]) - 1 :].topk(2).values
    lead = float((choices[:, 0] - choices[:, 1]).min())
    kinds = len(set(golden["generated"].tolist()))
    print(f"{label}: fp64 error {error:.1e}, smallest lead {lead:.3f}, {kinds} different tokens")
    if error > 1e-5 or lead < SMALLEST_LEAD or kinds < 12 or EOS_ID in golden["generated"]:
        raise SystemExit(f"{label}: not a good golden, choose another seed")
    return lead


def record(folder: Path, model: PreTrainedModel, family: Family, what: str) -> None:
    """Runs the model whose checkpoint is in the folder and writes the golden beside it."""
    prompt = byte_tokenizer().encode(PROMPT).ids
    golden = greedy(model, prompt)
    lead = check(model, golden, f"{family.name}/{what}")
    save_file(golden, folder / "golden.safetensors")
    facts = {"family": family.name, "seed": family.seed, "prompt_text": PROMPT}
    write_json(folder / "golden.json", facts | {"smallest_lead": round(lead, 4)} | versions())


def record_family(family: Family) -> None:
    folder = GOLDENS / family.name
    start_checkpoint(folder / "plain", family.config())
    config = family.config_class(**family.config())
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.float().eval()
    randomize(model, family.seed)
    model.tie_weights()
    weights = stored_weights(model)
    save_file(weights, folder / "plain" / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(
        folder / "plain", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    record(folder / "plain", model, family, "plain")

    for what in family.quantized:
        scheme = (SCHEMES | awq_gptq_packing.SCHEMES)[what]
        start_checkpoint(
            folder / what, family.config() | {"quantization_config": scheme.quantization_config()}
        )
        tensors = dict(weights)
        with torch.no_grad():
            for name, module in model.model.layers.named_modules(prefix="model.layers"):
                if isinstance(module, torch.nn.Linear):
                    packed, decoded = scheme.quantize(tensors.pop(f"{name}.weight"))
                    tensors |= {f"{name}.{suffix}": value for suffix, value in packed.items()}
                    module.weight.copy_(decoded)
        save_file(tensors, folder / what / "model.safetensors", metadata={"format": "pt"})
        record(folder / what, model, family, what)


def main() -> None:
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [family.name for family in FAMILIES] + ["tiny"]
    for family in FAMILIES:
        if family.name in wanted:
            record_family(family)
    if "tiny" in wanted:
        record_tiny.record(GOLDENS / "tiny")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Trains the bundled model; needs torch, transformers and tokenizers, none of them at run time.

Three steps, each reading what the one before wrote under --work, so that the text can be prepared
on a machine with the `bible` program and the model trained on one with a GPU:

  python train.py prepare   tokenizer.json, held_out.txt and token streams
  python train.py train     NAME.pt and NAME.json (the log)
  python train.py publish   writes models/tiny/checkpoint and held_out.txt

One training sample is <|begin_of_text|> and the next C - 1 tokens of the stream from any place in
it, so that text cut out of the middle of a chapter is nothing unusual to the model. A document
(a book) ends with <|end_of_text|>. With about a million tokens of text and five million weights
the model sees every token dozens of times: dropout on the embeddings and on what every block adds
to the residual stream is what keeps it from learning the text by heart.
"""

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

ROOM = Path(__file__).resolve().parent


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=["prepare", "train", "publish"])
    parser.add_argument("--work", type=Path, default=Path("build/tiny"))
    parser.add_argument("--name", default="model", help="name of this run under --work")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--intermediate", type=int, default=640)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32, help="samples a step")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.5)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=20261)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def model_config(options: argparse.Namespace, bos_id: int, eos_id: int) -> dict:
    """config.json, in the spelling that every version of transformers reads."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": bos_id,
        "eos_token_id": eos_id,
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": options.hidden,
        "initializer_range": 0.02,
        "intermediate_size": options.intermediate,
        "max_position_embeddings": 1024,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": options.heads,
        "num_hidden_layers": options.layers,
        "num_key_value_heads": options.kv_heads,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": options.vocab,
    }


def prepare(options: argparse.Namespace) -> None:
    import corpus

    parts = corpus.load()
    tokenizer = corpus.train_tokenizer(parts.train, options.vocab)
    options.work.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.work / "tokenizer.json"))
    (options.work / "held_out.txt").write_text(parts.held_out)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    bos_id, eos_id = tokenizer.token_to_id(corpus.BOS), tokenizer.token_to_id(corpus.EOS)
    stream: list[int] = []
    for document in parts.train:
        stream += [bos_id, *encode(document), eos_id]
    np.savez(
        options.work / "tokens.npz",
        train=np.array(stream, np.uint16),
        validation=np.array(encode(parts.validation), np.uint16),
        held_out=np.array(encode(parts.held_out), np.uint16),
        validation_bytes=len(parts.validation.encode()),
        held_out_bytes=len(parts.held_out.encode()),
        special=np.array([bos_id, eos_id], np.uint16),
    )
    print(f"{len(stream)} training tokens, held out: {', '.join(parts.held_out_names)}")


def samples(stream: torch.Tensor, context: int, bos_id: int, batch: int, shift: int):
    """Batches [B, C + 1] that cover the stream once, in random order, cut at a random phase."""
    rows = torch.arange(shift, len(stream) - context, context)
    rows = rows[torch.randperm(len(rows))]
    for start in range(0, len(rows) - batch + 1, batch):
        cut = rows[start : start + batch, None] + torch.arange(context)
        yield functional.pad(stream[cut], (1, 0), value=bos_id)


@torch.no_grad()
def mean_loss(model: LlamaForCausalLM, ids: np.ndarray, bos_id: int, window: int = 256) -> float:
    """Nats a token; windows of BOS + 255 tokens side by side, every token but BOS counted."""
    model.eval()
    total = 0.0
    for start in range(0, len(ids), window - 1):
        piece = torch.from_numpy(ids[start : start + window - 1].astype(np.int64))
        row = functional.pad(piece, (1, 0), value=bos_id)[None].to(model.device)
        logits = model(input_ids=row).logits[0, :-1].float()
        total += functional.cross_entropy(logits, row[0, 1:], reduction="sum").item()
    model.train()
    return total / len(ids)


def add_dropout(model: LlamaForCausalLM, probability: float) -> None:
    """Dropout where the Llama architecture has none: hooks, so the saved model is untouched."""

    def hook(module, _inputs, output):
        return functional.dropout(output, probability, module.training)

    model.model.embed_tokens.register_forward_hook(hook)
    for layer in model.model.layers:
        layer.self_attn.o_proj.register_forward_hook(hook)
        layer.mlp.down_proj.register_forward_hook(hook)


def make_optimizer(model: LlamaForCausalLM, options: argparse.Namespace) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors}],
        lr=options.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=0.0,
        fused=True,
    )


def save(model: LlamaForCausalLM, path: Path) -> None:
    """Weights as bf16, without the output projection, which is the embedding."""
    state = {name: value.bfloat16() for name, value in model.state_dict().items()}
    del state["lm_head.weight"]
    torch.save(state, path)


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    tokens = np.load(options.work / "tokens.npz")
    bos_id, eos_id = (int(i) for i in tokens["special"])
    stream = torch.from_numpy(tokens["train"].astype(np.int64))

    config = model_config(options, bos_id, eos_id)
    model = LlamaForCausalLM(LlamaConfig(**{**config, "torch_dtype": "float32"}))
    model.float().to(options.device).train()
    add_dropout(model, options.dropout)
    weights = sum(p.numel() for p in model.parameters())
    optimizer = make_optimizer(model, options)
    steps_an_epoch = (len(stream) - 2 * options.context) // options.context // options.batch
    total_steps = options.epochs * steps_an_epoch
    warmup = min(200, total_steps // 10)

    log = {"weights": weights, "options": {k: str(v) for k, v in vars(options).items()}}
    log["epochs"] = []
    step, began = 0, time.time()
    for epoch in range(options.epochs):
        losses = []
        shift = int(torch.randint(options.context, ()))
        batches = samples(stream, options.context, bos_id, options.batch, shift)
        for _, batch in zip(range(steps_an_epoch), batches):
            progress = (step - warmup) / max(1, total_steps - warmup)
            cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, progress)))
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * min((step + 1) / warmup, cosine)
            batch = batch.to(options.device, non_blocking=True)
            with torch.autocast(options.device, torch.bfloat16):
                logits = model(input_ids=batch[:, :-1]).logits
            loss = functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
            step += 1
        row = {"epoch": epoch + 1, "train": torch.stack(losses).mean().item()}
        row["validation"] = mean_loss(model, tokens["validation"], bos_id)
        row["bits_a_byte"] = (
            row["validation"] * len(tokens["validation"])
            / int(tokens["validation_bytes"]) / math.log(2)
        )
        row["seconds"] = round(time.time() - began)
        log["epochs"].append(row)
        print(options.name, weights, json.dumps(row), flush=True)
        if (epoch + 1) % 5 == 0 or epoch + 1 == options.epochs:
            save(model, options.work / f"{options.name}.pt")
            (options.work / f"{options.name}.json").write_text(json.dumps(log, indent=1) + "\n")


def publish(options: argparse.Namespace) -> None:
    tokens = np.load(options.work / "tokens.npz")
    bos_id, eos_id = (int(i) for i in tokens["special"])
    config = model_config(options, bos_id, eos_id)
    folder = ROOM / "checkpoint"
    folder.mkdir(exist_ok=True)
    model = LlamaForCausalLM(LlamaConfig(**config))
    state = torch.load(options.work / f"{options.name}.pt", map_location="cpu", weights_only=True)
    left = model.load_state_dict(state, strict=False)
    if left.missing_keys != ["lm_head.weight"] or left.unexpected_keys:
        raise SystemExit(f"the trained weights do not fit the configuration: {left}")
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)

    def write(name: str, content: dict) -> None:
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")

    write("config.json", config)
    write(
        "generation_config.json",
        {"bos_token_id": bos_id, "eos_token_id": [eos_id], "do_sample": False},
    )
    write(
        "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|end_of_text|>",
            "model_max_length": config["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,
        },
    )
    shutil.copy(options.work / "tokenizer.json", folder)
    shutil.copy(options.work / "held_out.txt", ROOM)
    loaded = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for part in ("validation", "held_out"):
        loss = mean_loss(loaded, tokens[part], bos_id)
        bits = loss * len(tokens[part]) / int(tokens[f"{part}_bytes"]) / math.log(2)
        print(f"{part}: perplexity {math.exp(loss):.3f}, {bits:.4f} bits a byte, bf16 weights")


if __name__ == "__main__":
    chosen = parse_arguments()
    {"prepare": prepare, "train": train, "publish": publish}[chosen.step](chosen)

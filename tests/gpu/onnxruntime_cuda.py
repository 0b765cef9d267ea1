# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's CUDA provider with Dovetail's operators, on a GPU, against the CPU provider.

    python tests/gpu/onnxruntime_cuda.py PACKAGES LIBRARY DOVETAIL_RUN THREADS_PROBE ONNXRUNTIME

PACKAGES is what make_packages.py wrote, LIBRARY a libdovetail_onnxruntime.so with CUDA kernels,
ONNXRUNTIME the libonnxruntime.so of onnxruntime-gpu, whose Python package runs this program. Needs
numpy and nothing else. Prints one line a check and fails when one fails.
"""

import collections
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

PACKAGES, LIBRARY, RUN, PROBE, ONNXRUNTIME = map(Path, sys.argv[1:6])
HELD_OUT = Path(__file__).resolve().parents[2] / "models" / "tiny" / "held_out.txt"
REFERENCE = np.load(PACKAGES / "reference.npz")
PROMPT = REFERENCE["prompt"].tolist()
TOKENS = REFERENCE["tokens"].tolist()
FLOAT16, BFLOAT16 = 10, 16


def read_tensor(path: Path) -> np.ndarray:
    """The only tensor of a safetensors file; bf16 as its bits."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    entry = next(v for k, v in header.items() if k != "__metadata__")
    dtype = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}[entry["dtype"]]
    begin, end = entry["data_offsets"]
    return np.frombuffer(data[8 + size + begin : 8 + size + end], dtype).reshape(entry["shape"])


class Decoder:
    """A package on one provider: one lane, each layer's cache one value on the device, bound as
    past and as present (`in_place`), or as two values that change places."""

    def __init__(self, name: str, cuda: bool, in_place: bool = True, session=None, profile=None):
        folder = PACKAGES / name
        manifest = json.loads((folder / "manifest.json").read_text())
        self.session = session or self.open(folder, cuda, profile)
        self.device, self.in_place = ("cuda" if cuda else "cpu"), in_place
        self.type = BFLOAT16 if manifest["dtype"] == "bf16" else FLOAT16
        self.embedding = read_tensor(folder / "embedding.safetensors")
        self.rope = read_tensor(folder / "rope.safetensors")
        model = manifest["model"]
        shape = [1, 2, model["num_kv_heads"], manifest["capacity"], model["head_size"]]
        self.caches = [
            [self.new_cache(shape) for _ in range(1 if in_place else 2)]
            for _ in range(model["layers"])
        ]
        self.length = 0

    @staticmethod
    def open(folder: Path, cuda: bool, profile: str | None):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.register_custom_ops_library(str(LIBRARY))
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        providers = [("CUDAExecutionProvider", {"use_tf32": "0"})] if cuda else []
        providers.append("CPUExecutionProvider")
        return onnxruntime.InferenceSession(folder / "model.onnx", options, providers=providers)

    def new_cache(self, shape: list[int]) -> OrtValue:
        """NaN everywhere: a slot that is read before it is written shows in the logits. numpy has
        no bf16, whose cache holds what the memory held."""
        if self.type == BFLOAT16:
            return OrtValue.ortvalue_from_shape_and_type(shape, BFLOAT16, self.device, 0)
        return OrtValue.ortvalue_from_numpy(np.full(shape, np.nan, np.float16), self.device, 0)

    def feed(self, ids: list[int]) -> np.ndarray:
        """Logits of the last of these tokens."""
        binding = self.session.io_binding()
        binding.bind_output("logits", "cpu")
        rows = self.embedding[ids][None]
        rows = rows if rows.dtype == np.uint16 else rows.astype(np.float16).view(np.uint16)
        count = len(ids)
        context = self.length + 1 if self.length and count == 1 else count
        for name, values, kind in (
            ("inputs_embeds", rows, self.type),
            ("rope_rotary_cos_sin", self.rope, 1),
            ("context_lengths", np.array([context], np.int32), 6),
            ("last_token_ids", np.array([[count - 1]], np.int64), 7),
            ("kvcache_start_index", np.array([self.length] if self.length else [], np.int32), 6),
        ):
            value = OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(values), kind)
            binding.bind_ortvalue_input(name, value)
        for layer, cache in enumerate(self.caches):
            binding.bind_ortvalue_input(f"past_key_values_{layer}", cache[0])
            binding.bind_ortvalue_output(f"present_key_values_{layer}", cache[-1])
            cache.reverse()
        self.session.run_with_iobinding(binding)
        self.length += count
        return binding.get_outputs()[0].numpy()[0, 0]

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Behind the prompt, then behind each of these tokens but the last: [len(tokens), V]."""
        rows = [self.feed(PROMPT)]
        return np.stack(rows + [self.feed([token]) for token in tokens[:-1]])


def dovetail_run(*arguments, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [RUN, *map(str, arguments), "--onnxruntime", ONNXRUNTIME],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"DOVETAIL_OPERATOR_LIBRARY": str(LIBRARY)} | environment,
    )


def report(*arguments, **environment: str) -> dict:
    done = dovetail_run(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(*arguments, **environment: str) -> str:
    done = dovetail_run(*arguments, **environment)
    assert done.returncode == 1 and done.stdout == "", (done.returncode, done.stdout)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("dovetail-run: ").rstrip("\n")


def worst(a: np.ndarray, b: np.ndarray) -> float:
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return float(np.abs(a.astype(np.float64) - b).max())


def check_logits_within_the_fp16_budget(name: str) -> str:
    """Twice the error that the CPU makes in the same types against fp32 with the same weights."""
    cpu, gpu = (Decoder(name, cuda).logits(TOKENS) for cuda in (False, True))
    budget = 2 * worst(cpu, REFERENCE[name])
    error = worst(gpu, REFERENCE[name])
    assert error <= budget, (error, budget)
    apart = worst(gpu, cpu)
    same = int((gpu.argmax(axis=1) == cpu.argmax(axis=1)).sum())
    return (
        f"{len(TOKENS)} steps, largest error {error:.2e}, budget {budget:.2e}; "
        f"{apart:.2e} from the cpu, {same} tokens equal"
    )


def check_two_buffers_give_what_one_gives(name: str) -> str:
    one, two = (Decoder(name, True, in_place).logits(TOKENS[:9]) for in_place in (True, False))
    assert np.array_equal(one, two)
    return "9 steps bit for bit"


def check_every_node_runs_on_the_gpu(name: str) -> str:
    decoder = Decoder(name, True, profile="/tmp/dovetail_profile")
    decoder.logits(TOKENS[:2])
    events = json.loads(Path(decoder.session.end_profiling()).read_text())
    placed = collections.Counter(
        (event["args"]["provider"], event["args"]["op_name"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    )
    elsewhere = {op: n for (where, op), n in placed.items() if not where.startswith("CUDA")}
    assert not {"AttentionPlugin", "Int4GroupwiseGemmPlugin", "MatMul"} & set(elsewhere), elsewhere
    return f"{placed.total()} kernels of two steps, on the CPU: {elsewhere or 'none'}"


def check_runs_at_once_do_not_mix(name: str) -> str:
    """Four threads on one session: workspaces come from one arena, each on its Run's stream."""
    alone = Decoder(name, True)
    expected = alone.logits(TOKENS[:24])
    results: list = [None] * 4

    def work(i: int) -> None:
        results[i] = Decoder(name, True, session=alone.session).logits(TOKENS[:24])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result is not None and np.array_equal(result, expected) for result in results)
    return "4 threads x 24 steps bit for bit"


def check_greedy_tokens_are_those_of_the_cpu(name: str) -> str:
    arguments = ("generate", PACKAGES / name, "In the beginning God created", "--max-tokens", 64)
    tokens = [
        report(*arguments, "--device", device, *more)["completions"][0]["tokens"]
        for device, more in (("cpu", ()), ("cuda", ()), ("cuda", ("--prefill-chunk", 4)))
    ]
    assert tokens[0] == tokens[1] == tokens[2] and len(tokens[0]) == 64
    return "64 tokens, prompt whole and in chunks"


def check_a_batch_gives_what_each_prompt_gives_alone(name: str) -> str:
    prompts = ["And", "The LORD is my", "Thus saith the king: go up and", "Go"]
    file = Path("/tmp/dovetail_prompts.txt")
    file.write_text("\n".join(prompts) + "\n")
    options = ("--max-tokens", 40, "--device", "cuda")
    batch = report("generate", PACKAGES / name, "--prompt-file", file, *options)["completions"]
    for done in batch:
        alone = report("generate", PACKAGES / name, done["prompt"], *options)["completions"][0]
        assert done["tokens"] == alone["tokens"], done["prompt"]
    return "4 prompts x 40 tokens"


def check_generations_at_once_do_not_mix(name: str) -> str:
    """Six threads on one session of the C++ runtime, each with a cache and a CUDA graph of its
    own, in turn on the memory that ONNX Runtime's arena has for all."""
    prompts = ["And", "The LORD is my", "Thus saith the king:", "Go", "In the beginning", "And"]
    variables = {
        "DOVETAIL_OPERATOR_LIBRARY": str(LIBRARY),
        "DOVETAIL_ONNXRUNTIME_LIBRARY": str(ONNXRUNTIME),
    }
    done = subprocess.run(
        [PROBE, PACKAGES / name, "cuda", *prompts],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    options = ("--max-tokens", 24, "--device", "cuda")
    alone = [
        report("generate", PACKAGES / name, prompt, *options)["completions"][0]["text"]
        for prompt in prompts
    ]
    assert done.stdout == "".join(text + "\n" for text in alone)
    return "6 threads x 24 tokens"


def check_perplexity(name: str, on_cpu: str) -> str:
    arguments = ("perplexity", PACKAGES / name, HELD_OUT, "--batch", 4)
    gpu = report(*arguments, "--device", "cuda")["perplexity"]
    cpu = report("perplexity", PACKAGES / on_cpu, *arguments[2:])["perplexity"]
    limit = 1e-3 if name == on_cpu else 1e-2
    assert abs(gpu / cpu - 1) < limit, (cpu, gpu)
    return f"cuda {gpu:.4f}, {on_cpu} on the cpu {cpu:.4f}"


def check_refusals() -> str:
    """What a user meets, in one sentence each."""
    prompt = ("A prompt", "--device", "cuda")
    weights = refusal("generate", PACKAGES / "int4_cpu", *prompt)
    assert re.search("expected .* on CUDA", weights) and "--device cuda" in weights
    no_gpu = refusal("generate", PACKAGES / "int4", *prompt, CUDA_VISIBLE_DEVICES="")
    assert "no CUDA-capable device is detected" in no_gpu
    return "\n       ".join(["", weights, no_gpu])


def bench(name: str, *options) -> str:
    rows = report("bench", PACKAGES / name, "--prompt-tokens", "128,384", *options)["rows"]
    return "; ".join(
        f"prompt {row['prompt_tokens']}: prefill {row['prefill_tokens_per_second']:.0f} tokens/s, "
        f"decode {row['decode_tokens_per_second']:.0f} tokens/s"
        for row in rows
    )


CHECKS = [
    (check_greedy_tokens_are_those_of_the_cpu, "fp16"),
    (check_logits_within_the_fp16_budget, "fp16"),
    (check_logits_within_the_fp16_budget, "int4"),
    (check_perplexity, "fp16", "fp16"),
    (check_perplexity, "int4", "int4"),
    (check_perplexity, "int4_bf16", "int4"),
    (check_refusals,),
    (check_every_node_runs_on_the_gpu, "int4"),
    (check_two_buffers_give_what_one_gives, "int4"),
    # fp32 between our nodes: in fp16 two almost equal tokens may change places with the batch size
    (check_a_batch_gives_what_each_prompt_gives_alone, "fp16"),
    (check_runs_at_once_do_not_mix, "int4"),
    (check_generations_at_once_do_not_mix, "int4"),
    (bench, "int4", "--device", "cuda"),
    (bench, "int4"),
]


def main() -> None:
    print(f"onnxruntime {onnxruntime.__version__}, {onnxruntime.get_available_providers()}")
    failures = 0
    for check, *arguments in CHECKS:
        title = " ".join([check.__name__.removeprefix("check_"), *map(str, arguments)])
        try:
            print(f"ok     {title}: {check(*arguments)}", flush=True)
        except Exception as error:  # the next check may still tell something
            failures += 1
            print(f"FAILED {title}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(CHECKS) - failures} of {len(CHECKS)} passed")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()

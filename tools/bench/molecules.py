"""Molecules per second of headway's generation beside that of transformers, with the same weights.

One thread, process CPU time, the contestants in turn in one process; before they are timed, their logits
are compared. All sample from the whole softmax until the end token, at most ``max_length`` tokens.

    python tools/bench/molecules.py --checkpoint RUN [--count 1024] [--batch-size 256] [--rounds 5]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import torch
import transformers
from torch import Tensor

from headway.core.language import Llama
from headway.core.weights import from_pretrained


def as_transformers(model: Llama) -> Any:
    """Returns the same model as one of transformers."""
    blocks = cast(Any, model.decoder.blocks)
    block = blocks[0]
    mixer, feedforward = block.mixer.function, block.feedforward.function
    config = transformers.LlamaConfig(
        vocab_size=len(model.vocabulary),
        hidden_size=model.embedding.weight.shape[1],
        intermediate_size=feedforward.fc2.in_features,
        num_hidden_layers=len(blocks),
        num_attention_heads=mixer.heads,
        num_key_value_heads=mixer.kv_heads,
        max_position_embeddings=model.max_length,
        tie_word_embeddings=model.tied,
        pad_token_id=model.tokenizer.padding,
        bos_token_id=model.tokenizer.start,
        eos_token_id=model.tokenizer.end,
    )
    other: Any = transformers.LlamaForCausalLM(config).eval()
    state: dict[str, Tensor] = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": cast(Any, model.decoder.norm).weight,
        "lm_head.weight": model.head.weight,
    }
    for place, ours in enumerate(blocks):
        stem = f"model.layers.{place}"
        attention, gated = ours.mixer.function, ours.feedforward.function
        parts = attention.qkv.weight.split(attention.section_widths)
        for name, part in zip("qkv", parts, strict=True):
            state[f"{stem}.self_attn.{name}_proj.weight"] = part
        state[f"{stem}.self_attn.o_proj.weight"] = attention.projection.weight
        gate, value = gated.fc1.weight.chunk(2)
        state |= {
            f"{stem}.mlp.gate_proj.weight": gate,
            f"{stem}.mlp.up_proj.weight": value,
            f"{stem}.mlp.down_proj.weight": gated.fc2.weight,
            f"{stem}.input_layernorm.weight": ours.mixer.norm.weight,
            f"{stem}.post_attention_layernorm.weight": ours.feedforward.norm.weight,
        }
    other.load_state_dict(state)
    tokens = torch.randint(len(model.vocabulary), (4, 20))
    with torch.no_grad():
        apart = (other(tokens).logits - model(tokens)).abs().max().item()
    assert apart < 1e-4, f"the models differ by {apart:.2g}"
    return other


def contestants(model: Llama, count: int, batch_size: int) -> dict[str, Callable[[], float]]:
    """Returns what generates ``count`` molecules and says how long they are on average."""
    other, begin = as_transformers(model), model.tokenizer.start
    assert begin is not None

    def headway() -> float:
        found = model.generate([model.tokenizer.prompt("")] * count, batch_size=batch_size)
        return found.lengths.float().mean().item()

    def peer(**options: Any) -> Callable[[], float]:
        def generate() -> float:
            total = 0
            for first in range(0, count, batch_size):
                start = torch.full((min(batch_size, count - first), 1), begin)
                found = other.generate(
                    start,
                    attention_mask=torch.ones_like(start),
                    do_sample=True,
                    top_k=0,
                    max_length=model.max_length,
                    **options,
                )
                total += int((found != model.tokenizer.padding).sum())
            return total / count

        return generate

    return {
        "headway": headway,
        "transformers": peer(),
        "transformers, static cache": peer(cache_implementation="static", disable_compile=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", "-m", required=True)
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = from_pretrained(args.checkpoint)
    assert isinstance(model, Llama)
    racers = contestants(model.eval(), args.count, args.batch_size)
    seconds: dict[str, list[float]] = {name: [] for name in racers}
    lengths: dict[str, float] = {}
    torch.manual_seed(0)
    for number in range(args.rounds + 1):
        for name, race in racers.items():
            start = time.process_time()
            lengths[name] = race()
            if number:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    best = min(statistics.median(seconds[name]) for name in seconds if name != "headway")
    said = {
        name: {
            "molecules_per_cpu_second": round(args.count / statistics.median(times), 1),
            "mean_tokens": round(lengths[name], 1),
        }
        for name, times in seconds.items()
    }
    print(json.dumps(said, indent=2))
    print(f"ratio to the faster peer: {best / statistics.median(seconds['headway']):.2f}")


if __name__ == "__main__":
    main()

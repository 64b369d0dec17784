"""Decoders of transformers with copied weights: logits, gradients, greedy generation, and files both ways."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from headway.core.errors import UserError
from headway.core.generation import Sampling
from headway.core.language import (
    GPT2,
    DecoderLanguageModel,
    GPTNeoX,
    Llama,
    Mistral,
    Qwen2,
    SubwordTokenizer,
)
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained, save_published

SIZES: dict[str, Any] = {
    "vocab_size": 19,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.15,
}
OF_GPT2: dict[str, Any] = {
    "vocab_size": 19,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.15,
}
CLASSES: dict[str, tuple[Any, Any, type[DecoderLanguageModel]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, Llama),
    "mistral": (MistralConfig, MistralForCausalLM, Mistral),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, Qwen2),
    "gpt2": (GPT2Config, GPT2LMHeadModel, GPT2),
    "gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM, GPTNeoX),
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama grouped": ("llama", {"num_key_value_heads": 2}),
    "llama tied": (
        "llama",
        {"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True},
    ),
    "llama biases": ("llama", {"attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-3}),
    "llama theta": (
        "llama",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    ),
    "mistral": ("mistral", {"num_key_value_heads": 2, "sliding_window": 4}),
    "mistral no window": ("mistral", {"num_key_value_heads": 1, "sliding_window": None}),
    "qwen2": ("qwen2", {"num_key_value_heads": 2}),
    "qwen2 windows": (
        "qwen2",
        {
            "num_key_value_heads": 2,
            "use_sliding_window": True,
            "sliding_window": 3,
            "max_window_layers": 1,
        },
    ),
    "gpt2": ("gpt2", {}),
    "gpt2 untied": ("gpt2", {"tie_word_embeddings": False, "activation_function": "relu"}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt_neox in turn": (
        "gpt_neox",
        {
            "use_parallel_residual": False,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 300.0,
                "partial_rotary_factor": 0.5,
            },
        },
    ),
}


def theirs(folder: Path, kind: str = "llama", seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    config, model, _ = CLASSES[kind]
    if kind in ("mistral", "qwen2"):
        options.setdefault("num_key_value_heads", 4)
    made = model(config(**{**(OF_GPT2 if kind == "gpt2" else SIZES), **options})).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # no bias at zero, no norm at one
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize("name", KINDS)
def test_logits_gradients_and_greedy_texts_equal_transformers(name: str, tmp_path: Path) -> None:
    kind, options = KINDS[name]
    other = theirs(tmp_path, kind, **options)
    check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path)
    assert type(ours) is CLASSES[kind][2]
    ours.eval()
    tokens = torch.randint(3, 19, (3, 11), generator=torch.Generator().manual_seed(1))
    want, got = other(tokens).logits, ours(tokens)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    F.cross_entropy(got[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    F.cross_entropy(want[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    embedding = other.get_input_embeddings().weight
    torch.testing.assert_close(ours.embedding.weight.grad, embedding.grad, atol=1e-4, rtol=1e-4)
    prompts = torch.tensor([[1, 5, 7], [1, 7, 9]])
    ours.set_max_length(20)
    found = ours.generate(prompts.tolist(), sampling=Sampling(temperature=0))
    greedy = other.generate(
        prompts, attention_mask=torch.ones_like(prompts), max_length=20, do_sample=False
    )
    assert found.tokens[:, : greedy.shape[1]].tolist() == greedy.tolist()


@pytest.mark.parametrize("kind", CLASSES)
def test_scores_are_those_of_the_logits_and_differentiable(kind: str, tmp_path: Path) -> None:
    other = theirs(tmp_path, kind)
    ours = from_pretrained(tmp_path).eval()
    assert isinstance(ours, DecoderLanguageModel)
    tokens = torch.randint(3, 19, (2, 9), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([9, 5])
    score = ours.score(tokens, lengths=lengths)
    want = other(tokens).logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    torch.testing.assert_close(score[0], want[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(score[1, :4], want[1, :4], atol=1e-5, rtol=1e-5)
    assert not score[1, 4:].any()
    score.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in ours.parameters())


@pytest.mark.learns
def test_two_hundred_steps_equal_transformers(tmp_path: Path, seed: int, measured) -> None:
    """In float64, on random tokens, of which only the frequency can be learned.

    Worst of seeds 0 to 4: losses 1e-6 apart, 0.89 of the first losses left.
    """
    other = theirs(tmp_path, seed=seed, num_key_value_heads=2).double().train()
    ours = from_pretrained(tmp_path).double().train()
    generator = torch.Generator().manual_seed(seed + 2)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-3) for m in (ours, other)]
    losses = []
    for _ in range(200):
        tokens = torch.randint(3, 19, (4, 9), generator=generator)
        row = []
        for model, optimizer in zip((ours, other), optimizers, strict=True):
            out = model(tokens)
            logits = out if isinstance(out, torch.Tensor) else out.logits
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            row.append(loss.item())
        losses.append(row)
    mine, peer = torch.tensor(losses).T
    measured("apart", (mine - peer).abs().max(), below=1e-4)
    measured("left", mine[-20:].mean() / mine[:5].mean(), below=0.96)


def test_learned_positions_are_a_hard_limit(tmp_path: Path) -> None:
    theirs(tmp_path, "gpt2", n_positions=12)
    ours = from_pretrained(tmp_path).eval()
    assert isinstance(ours, GPT2)
    with pytest.raises(UserError, match="max_length 13 is more than the 12 learned positions"):
        ours.set_max_length(13)
    with pytest.raises(UserError, match="a text of 13 tokens is longer than the 12 learned"):
        ours(torch.zeros(1, 13, dtype=torch.int64))
    assert ours.generate([[1, 4]], sampling=Sampling(temperature=0)).tokens.shape[1] <= 12
    tokens = torch.randint(3, 19, (2, 8))
    before = ours(tokens)
    ours.set_max_length(8)
    assert torch.equal(ours(tokens), before)
    save_pretrained(ours, tmp_path / "own")
    again = from_pretrained(tmp_path / "own").eval()
    assert again.max_length == 8
    assert torch.equal(again(tokens), before)


def test_scaled_rotations_are_refused_by_name(tmp_path: Path) -> None:
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    theirs(tmp_path, rope_parameters=scaled)
    with pytest.raises(UserError, match="'linear'"):
        from_pretrained(tmp_path)


def test_a_model_that_learned_new_tokens_loads_in_transformers(tmp_path: Path) -> None:
    theirs(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs").eval()
    assert isinstance(ours, Llama)
    ours.set_vocabulary([*ours.vocabulary, "[Xe]"])
    written = save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    tokens = torch.randint(3, len(ours.vocabulary), (3, 11))
    back = LlamaForCausalLM.from_pretrained(written).eval()
    torch.testing.assert_close(ours(tokens), back(tokens).logits, atol=1e-6, rtol=1e-5)
    assert from_pretrained(written).vocabulary == ours.vocabulary


def subwords(folder: Path, size: int = 40) -> Any:
    """Trains a small byte-pair encoding, as transformers saves it, and returns the library's own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<pad>", "<s>", "</s>", "<mask>"]
    )
    texts = ["CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1CCN", "ClCCBr", "CCO", "CC(=O)N"] * 5
    made.train_from_iterator(texts, trainer)
    made.save(str(folder / "tokenizer.json"))
    return made


def test_a_tokenizer_json_belongs_to_the_model(tmp_path: Path) -> None:
    theirs(tmp_path / "theirs", "gpt2", vocab_size=43)
    library = subwords(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs").eval()
    assert isinstance(ours, GPT2)
    tokenizer = ours.tokenizer
    assert isinstance(tokenizer, SubwordTokenizer)
    assert len(tokenizer) == 43
    assert (tokenizer.padding, tokenizer.start, tokenizer.end, tokenizer.mask) == (0, 1, 2, 3)
    text = "CC(=O)Oc1ccccc1N"
    numbers = tokenizer.encode(text)
    assert numbers == [1, *library.encode(text).ids, 2]
    assert len(numbers) < len(text)
    assert tokenizer.decode(numbers) == text
    with pytest.raises(UserError, match=r"a\.smi, row 3: .*the model does not know: I\["):
        tokenizer.encode("CC[I]", "a.smi, row 3")
    save_pretrained(ours, tmp_path / "own")
    again = from_pretrained(tmp_path / "own").eval()
    assert again.tokenizer.encode(text) == numbers


def test_a_vocabulary_of_pieces_grows_at_its_end_and_is_written_back(tmp_path: Path) -> None:
    theirs(tmp_path / "theirs", "gpt2", vocab_size=40)
    subwords(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs").eval()
    assert isinstance(ours, GPT2)
    before = ours.embedding.weight.detach().clone()
    ours.set_vocabulary((*ours.vocabulary, "[I]"))
    assert ours.tokenizer.encode("CC[I]")[-2] == 40
    assert ours.tokenizer.decode(ours.tokenizer.encode("CC[I]C")) == "CC[I]C"
    assert torch.equal(ours.embedding.weight[:40], before)
    with pytest.raises(UserError, match="can grow, and loses or moves no token"):
        ours.set_vocabulary(ours.vocabulary[5:])
    written = save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    assert from_pretrained(written).vocabulary == ours.vocabulary
    from transformers import PreTrainedTokenizerFast

    peer = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "out" / "tokenizer.json"))
    assert peer("CC[I]C").input_ids == ours.tokenizer.encode("CC[I]C")[1:-1]


@pytest.mark.parametrize("content", ["[]", "{}", '{"model": 3}', '{"model": {"vocab": 3}}', "{"])
def test_a_damaged_tokenizer_json_is_named(content: str, tmp_path: Path) -> None:
    theirs(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        from_pretrained(tmp_path)


def test_names_without_a_way_to_cut_texts(tmp_path: Path) -> None:
    theirs(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"C": 5, "N": 6}))
    ours = from_pretrained(tmp_path)
    assert isinstance(ours, Llama)
    assert ours.vocabulary[5:8] == ("C", "N", "<7>")
    with pytest.raises(UserError, match="without a tokenizer"):
        ours.tokenizer.encode("CN")
    assert ours.tokenizer.prompt("") == [1]

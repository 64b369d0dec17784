"""The decoder as a language model: its context, its memory in generation, its grown vocabulary."""

from functools import partial
from pathlib import Path

import pytest
import torch

from headway.core.errors import UserError
from headway.core.generation import Sampling, beam_search
from headway.core.language import (
    GPT2,
    SPECIALS,
    DecoderLanguageModel,
    GPTNeoX,
    Llama,
    Mistral,
    NumberedTokens,
    Qwen2,
)
from headway.core.mixers import CrossAttention, LinearAttention, SelfAttention
from headway.core.positions import PositionTable, Rotary
from headway.core.testing.models import Case, check_copies
from headway.core.weights import from_pretrained, save_pretrained

VOCABULARY = (*SPECIALS, *"abcdefghij")
MIXERS = {
    "full": partial(SelfAttention, causal=True, position=Rotary),
    "window": partial(SelfAttention, causal=True, window=3, position=Rotary),
    "linear": partial(LinearAttention, causal=True),
}


def build(**options) -> DecoderLanguageModel:
    torch.manual_seed(0)
    model = DecoderLanguageModel(
        tokenizer=NumberedTokens(vocabulary=VOCABULARY),
        dim=16,
        depth=2,
        heads=2,
        max_length=16,
        **options,
    )
    with torch.no_grad():
        model.embedding.weight.normal_(std=0.5)
    return model.eval()


def greedy(model: DecoderLanguageModel, prompt: list[int], **told: torch.Tensor) -> list[int]:
    """Returns what is most likely, by whole passes without a cache."""
    row = list(prompt)
    while len(row) < model.max_length and (row[-1] != 2 or len(row) == len(prompt)):
        row.append(int(model(torch.tensor([row]), **told)[0, -1].argmax()))
    return row


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("learned", [False, True])
def test_prompts_of_any_length_in_rows_used_again_equal_whole_passes(
    mixer: str, learned: bool
) -> None:
    model = build(mixer=MIXERS[mixer], position=PositionTable if learned else None)
    prompts = [[1, *[3 + (k * j) % 10 for j in range(k % 9)]] for k in range(23)]
    found = model.generate(prompts, sampling=Sampling(temperature=0), batch_size=4)
    for row, prompt in enumerate(prompts):
        want = greedy(model, prompt)
        assert found.tokens[row, : found.lengths[row]].tolist() == want
        score = model.score(torch.tensor([want]))[0, len(prompt) - 1 :].sum()
        torch.testing.assert_close(found.log_likelihoods[row], score, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("longest", [1, 4])
def test_memories_of_cross_attention_go_along_with_the_rows(longest: int) -> None:
    model = build(cross=CrossAttention)
    count = 15
    generator = torch.Generator().manual_seed(1)
    context = 3 * torch.randn(count, 5, 16, generator=generator)
    lengths = 1 + torch.arange(count) % 5
    prompts = [[1, *([4, 6, 8] * (k % 2))][:longest] for k in range(count)]
    for size in (4, count):
        found = model.generate(
            prompts,
            sampling=Sampling(temperature=0),
            batch_size=size,
            context=context,
            context_lengths=lengths,
        )
        texts = set()
        for row, prompt in enumerate(prompts):
            told = {"context": context[row : row + 1, : lengths[row]]}
            want = greedy(model, prompt, **told)
            assert found.tokens[row, : found.lengths[row]].tolist() == want
            texts.add(tuple(want))
        assert len(texts) > 5  # the memories matter
    best = beam_search(
        model,
        prompts,
        end=2,
        max_length=16,
        beams=1,
        batch_size=4,
        conditions={"context": context, "context_lengths": lengths},
    )
    assert torch.equal(best.lengths[:, 0], found.lengths)


class WithPrefix(DecoderLanguageModel):
    """Puts an embedding in front of each text: what a row is told once, when it begins."""

    def read(self, tokens, *, lengths, cache, prefix) -> None:
        x = torch.cat([prefix, self.embedding(tokens)], dim=1)
        layout = None
        if lengths is not None:
            from headway.core.layout import Layout

            layout = Layout(lengths=lengths + prefix.shape[1])
        self.decoder(x, layout, cache=cache)

    def forward(self, tokens, *, lengths=None, cache=None, prefix=None):
        x = self.embedding(tokens)
        if cache is None:
            x = torch.cat([prefix, x], dim=1)
        return self.head(self.decoder(x, cache=cache)[0][:, -tokens.shape[1] :])

    def init_cache(self, batch: int, max_length: int | None = None):
        return super().init_cache(batch, (max_length or self.max_length) + 3)


@pytest.mark.parametrize("even", [True, False])
def test_embeddings_in_front_are_read_when_a_row_begins(even: bool) -> None:
    torch.manual_seed(0)
    model = WithPrefix(
        tokenizer=NumberedTokens(vocabulary=VOCABULARY),
        dim=16,
        depth=2,
        heads=2,
        max_length=12,
        mixer=MIXERS["full"],
    ).eval()
    with torch.no_grad():
        model.embedding.weight.normal_(std=0.5)
    prefix = 2 * torch.randn(11, 3, 16)
    prompts = [[1] if even else [1, 5, 6][: 1 + k % 3] for k in range(11)]
    found = model.generate(prompts, sampling=Sampling(temperature=0), batch_size=3, prefix=prefix)
    for row, prompt in enumerate(prompts):
        want = greedy(model, prompt, prefix=prefix[row : row + 1])
        assert found.tokens[row, : found.lengths[row]].tolist() == want


def test_a_prompt_makes_no_logits() -> None:
    model, widths = build(), []
    model.head.register_forward_hook(lambda head, given, out: widths.append(out.shape[1]))
    model.generate([[1, *[4] * 10]] * 5)
    assert set(widths) == {1}


def test_a_window_ends_where_it_should() -> None:
    model = Mistral(
        tokenizer=NumberedTokens(vocabulary=VOCABULARY),
        dim=16,
        depth=1,
        heads=2,
        mixer=MIXERS["window"],
    ).eval()
    tokens = torch.randint(3, 13, (1, 9))
    changed = tokens.clone()
    changed[0, 4] = 3 + (tokens[0, 4] - 2) % 10
    differs = (model(tokens) - model(changed)).abs().amax(dim=-1)[0] > 1e-6
    assert differs.tolist() == [False] * 4 + [True] * 4 + [False]


def test_mixer_and_feedforward_of_neox_have_norms_of_their_own() -> None:
    model = GPTNeoX(dim=16, depth=1, heads=2)
    names = {name for name, _ in model.decoder.blocks[0].named_parameters()}
    assert {"norm.weight", "feedforward_norm.weight"} <= names


def test_a_vocabulary_grows_and_the_model_comes_back(tmp_path) -> None:
    model = build()
    before = model.embedding.weight.detach().clone()
    tokens = torch.randint(3, 13, (2, 5))
    logits = model(tokens)
    model.set_vocabulary((*VOCABULARY[:5], "new", *VOCABULARY[5:]))
    assert torch.equal(model.embedding.weight[6:], before[5:])
    moved = torch.where(tokens >= 5, tokens + 1, tokens)
    kept = [place for place in range(14) if place != 5]
    torch.testing.assert_close(model(moved)[..., kept], logits)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    assert again.vocabulary == model.vocabulary
    assert torch.equal(again(moved), model(moved))
    with pytest.raises(UserError, match="are not the 14 of the model"):
        model.set_tokenizer(NumberedTokens(vocabulary=VOCABULARY))


def test_bad_lengths() -> None:
    with pytest.raises(UserError, match="max_length is 1"):
        Llama(max_length=1)


PRESETS = {"Llama": Llama, "Mistral": Mistral, "Qwen2": Qwen2, "GPT2": GPT2, "GPTNeoX": GPTNeoX}


@pytest.mark.parametrize("name", PRESETS)
def test_copies_of_a_preset_answer_as_it_does(name: str, tmp_path: Path) -> None:
    def make() -> DecoderLanguageModel:
        tokenizer = NumberedTokens(vocabulary=VOCABULARY)
        return PRESETS[name](tokenizer=tokenizer, dim=32, depth=2, heads=2, max_length=24)

    def tokens(batch: int, length: int) -> tuple[torch.Tensor]:
        generator = torch.Generator().manual_seed(length)
        return (torch.randint(0, 13, (batch, length), generator=generator),)

    check_copies(Case(make=make, inputs=tokens, sizes=(9,)), tmp_path)

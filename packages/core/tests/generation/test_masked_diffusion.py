"""Masked diffusion: the bound against its expectation, the sampler against exact conditionals, and what it learns."""

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor

from headway.core.cache import Cache, CacheGroup
from headway.core.errors import UserError
from headway.core.generation import Processor, Sampling
from headway.core.generation.diffusion import Unmasking, hide, masked_bound, masking_times
from headway.core.generation.draws import row_keys
from headway.core.language import MaskedDiffusion, SymbolTokenizer
from headway.core.mixers import SelfAttention
from headway.core.weights import from_pretrained, save_pretrained

LETTERS = "abcdefgh"
TOKENIZER = SymbolTokenizer(
    pattern=".", joint="", vocabulary=("<pad>", "<bos>", "<eos>", "<mask>", *LETTERS), mask=3
)
HALF = 4


def doubled(count: int, seed: int) -> Tensor:
    """Returns words of four letters written twice, (count, 10)."""
    generator = torch.Generator().manual_seed(seed)
    word = 4 + torch.randint(0, len(LETTERS), (count, HALF), generator=generator)
    edge = torch.ones(count, 1, dtype=torch.int64)
    return torch.cat([edge, word, word, 2 * edge], dim=1)


def build(**options) -> MaskedDiffusion:
    return MaskedDiffusion(
        tokenizer=TOKENIZER, dim=32, depth=2, heads=2, max_length=2 * HALF + 2, **options
    )


def trained(seed: int, *, causal: bool = False, steps: int = 160) -> MaskedDiffusion:
    torch.manual_seed(seed)
    model = build(mixer=partial(SelfAttention, causal=True)) if causal else build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for step in range(steps):
        loss = model.bound(doubled(64, 1000 * seed + step)).mean() / (2 * HALF)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.fit_lengths([2 * HALF + 2])
    return model.eval()


def share_doubled(model: MaskedDiffusion, order: str, seed: int = 0) -> float:
    """Returns how many of 300 texts are a word twice."""
    found = model.generate(
        [[1]] * 300,
        unmasking=Unmasking(order=order, randomness=0.0),  # pyright: ignore[reportArgumentType]
        generator=torch.Generator().manual_seed(seed),
    )
    words = found.tokens[:, 1:-1]
    return float((words[:, :HALF] == words[:, HALF:]).all(1).float().mean())


def share_restored(model: MaskedDiffusion) -> float:
    """Returns how many letters of the first word are right where the second is given."""
    tokens = doubled(200, 7)
    hidden = torch.zeros_like(tokens, dtype=torch.bool)
    hidden[:, 1 : HALF + 1] = True
    found = model.fill(tokens, hidden, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.tokens[:, HALF + 1 :], tokens[:, HALF + 1 :])
    return float((found.tokens == tokens)[:, 1 : HALF + 1].float().mean())


@pytest.mark.parametrize("seed", [0])
def test_gaps_are_filled_by_what_stands_behind_and_sure_tokens_first_fit_better(seed: int) -> None:
    """Over five seeds 0.71 to 0.99 of the letters are restored, 0.13 where a mixer sees what came before alone.

    Texts that fit are 0.11 to 0.20 more than in a chance order, after 160 steps; after 350 both orders are at
    0.98 or more. Sure tokens first write fewer different texts: 163 to 260 of 300, against 288 to 300.
    """
    model, causal = trained(seed), trained(seed, causal=True)
    assert share_restored(model) > share_restored(causal) + 0.4
    assert share_doubled(model, "confidence") > share_doubled(model, "random") + 0.05


class Known:
    """Says what stands in each place from a list of all texts, exactly."""

    def __init__(self, texts: Tensor, shares: Tensor, size: int, mask: int) -> None:
        self.texts, self.shares, self.size, self.mask = texts, shares, size, mask

    def __call__(self, tokens: Tensor, rows: Tensor) -> Tensor:
        fits = (tokens[:, None] == self.texts) | (tokens[:, None] == self.mask)
        weights = fits.all(-1).float() * self.shares
        one_hot = torch.nn.functional.one_hot(self.texts, self.size).float()
        return torch.einsum("rn,ntv->rtv", weights, one_hot).log()


class Remembers(Processor):
    """A processor with a state."""

    def init_state(self, rows: int, device: torch.device | None = None) -> Cache:
        return CacheGroup({})


def known() -> Known:
    texts = torch.tensor(list(itertools.product(range(2), repeat=3)))
    generator = torch.Generator().manual_seed(3)
    shares = torch.rand(len(texts), generator=generator) ** 2
    return Known(texts, shares / shares.sum(), 3, 2)


def test_a_chance_order_with_exact_conditionals_draws_what_is_known() -> None:
    model, count = known(), 20_000
    tokens = torch.full((count, 3), 2)
    found = Unmasking(order="random")(
        model,
        tokens,
        tokens == 2,
        mask=2,
        keys=row_keys(count, torch.Generator().manual_seed(0)),
        forbidden=torch.tensor([False, False, True]),
    )
    numbers = found.tokens @ torch.tensor([4, 2, 1])
    shares = torch.bincount(numbers, minlength=8) / count
    torch.testing.assert_close(shares, model.shares, atol=0.012, rtol=0)
    # The chain rule holds in any order.
    torch.testing.assert_close(
        found.log_probabilities.sum(1), model.shares.log()[numbers], atol=1e-4, rtol=1e-4
    )


def test_the_bound_of_known_shares_is_their_entropy() -> None:
    """Letters that do not depend on each other: the bound is tight, whatever is hidden."""
    shares = torch.tensor([0.5, 0.3, 0.2])
    generator = torch.Generator().manual_seed(0)
    tokens = torch.multinomial(shares, 40_000 * 5, True, generator=generator).view(40_000, 5)
    time = masking_times(len(tokens), least=0.05, generator=generator)
    free = torch.ones_like(tokens, dtype=torch.bool)
    hidden = hide(time, free, generator)
    torch.testing.assert_close(hidden.float().mean(), time.mean(), atol=5e-3, rtol=0)
    found = masked_bound(shares.log().expand(*tokens.shape, 3), tokens, hidden, time).mean()
    entropy = -(shares * shares.log()).sum() * 5
    torch.testing.assert_close(found, entropy, atol=0.03, rtol=0)
    assert not bool(hide(time, ~free, generator).any())
    assert float(masking_times(1000).min()) >= 1e-3


def test_what_is_given_stands_and_rows_draw_for_themselves(tmp_path) -> None:
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.fit_lengths([5, 7, 7, 9, 99])
    ways = [
        model.generate(
            [[1, 4, 5]] * 7,
            batch_size=size,
            generator=torch.Generator().manual_seed(1),
            unmasking=Unmasking(guidance=2.0),
        )
        for size in (7, 2)
    ]
    assert torch.equal(ways[0].tokens, ways[1].tokens)
    found = ways[0]
    assert set(found.lengths.tolist()) <= {5, 7, 9}
    assert bool(found.finished.all())
    assert bool((found.tokens[:, :3] == torch.tensor([1, 4, 5])).all())
    for row, length in zip(found.tokens.tolist(), found.lengths.tolist(), strict=True):
        assert row[length - 1] == 2
        assert set(row[length:]) <= {0}
        assert not {0, 1, 2, 3} & set(row[1 : length - 1])
    assert len(model.generate([[1]], new=3).tokens[0]) == 5
    sure = [Unmasking(randomness=0.0), Sampling(temperature=0)]
    one, two = (
        model.generate([[1]], new=4, unmasking=sure[0], sampling=sure[1]).tokens for _ in range(2)
    )
    assert torch.equal(one, two)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert torch.equal(again.length_counts, model.length_counts)


def test_the_score_is_that_of_lifting_from_left_to_right() -> None:
    model = build().eval()
    tokens = doubled(3, 1)
    said = model.score(tokens)
    assert said.shape == (3, 2 * HALF + 1)
    assert not bool(said[:, -1].any())
    seen = tokens.clone()
    seen[:, 3:-1] = 3
    logits = model(seen)[:, 3].clone()
    logits[:, :4] = -torch.inf
    expected = logits.log_softmax(-1).gather(1, tokens[:, 3:4])[:, 0]
    torch.testing.assert_close(said[:, 2], expected)
    padded = torch.cat([tokens, torch.zeros(3, 1, dtype=torch.int64)], dim=1)[:, : 2 * HALF + 2]
    torch.testing.assert_close(model.score(padded, lengths=torch.full((3,), 2 * HALF + 2)), said)


def test_wrong_use_is_said() -> None:
    with pytest.raises(UserError, match="no mask; masked diffusion lifts masks"):
        MaskedDiffusion(tokenizer=SymbolTokenizer(), dim=8, depth=1, heads=1)
    with pytest.raises(UserError, match="order is 'left'"):
        Unmasking(order="left")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="at_once 0"):
        Unmasking(at_once=0)
    with pytest.raises(UserError, match="hidden_context is 2"):
        Unmasking(hidden_context=2)
    model = build()
    with pytest.raises(UserError, match="remembers what was written"):
        model.generate([[1]], new=2, sampling=Sampling(processors=[Remembers()]))
    with pytest.raises(UserError, match="no text of training is longer"):
        model.generate([[1]])
    with pytest.raises(UserError, match="room for 10"):
        model.generate([[1]], new=30)
    with pytest.raises(UserError, match="must be as tokens"):
        model.fill(torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.bool))

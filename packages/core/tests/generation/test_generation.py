import math

import pytest
import torch

from headway.core.cache import RecurrentCache
from headway.core.errors import UserError
from headway.core.generation import Sampling, generate

END = 2


class Chain:
    """A Markov chain of the last two tokens; the state holds the token before the last."""

    def __init__(self, tokens: int = 5) -> None:
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(tokens, tokens, tokens, generator=generator)
        self.table[..., :2] = -math.inf  # padding and start are never drawn
        self.table[1, 1, END] = -math.inf
        self.batches: list[int] = []

    def init_cache(self, batch: int, max_length: int) -> RecurrentCache:
        return RecurrentCache(torch.ones(batch, dtype=torch.int64))

    def __call__(self, tokens: torch.Tensor, *, cache: RecurrentCache) -> torch.Tensor:
        self.batches.append(len(tokens))
        before = torch.where(cache.lengths == 0, 1, cache.state)
        logits = self.table[before, tokens[:, 0]]
        cache.state, cache.lengths = tokens[:, 0].clone(), cache.lengths + 1
        return logits[:, None]

    def log_likelihood(self, tokens: list[int], given: int) -> float:
        total, before = 0.0, 1
        for place in range(len(tokens) - 1):
            step = self.table[before, tokens[place]].log_softmax(-1)
            if place + 1 >= given:
                total += float(step[tokens[place + 1]])
            before = tokens[place]
        return total


def test_the_exact_distribution_of_whole_sequences() -> None:
    chain = Chain()
    count = 20000
    generator = torch.Generator().manual_seed(0)
    found = generate(
        chain, [[1]] * count, end=END, max_length=3, batch_size=97, generator=generator
    )
    first = chain.table[1, 1].softmax(-1)
    for a in range(3, 5):
        second = chain.table[1, a].softmax(-1)
        for b in range(2, 5):
            seen = ((found.tokens[:, 1] == a) & (found.tokens[:, 2] == b)).sum().item()
            expected = count * float(first[a] * second[b])
            assert abs(seen - expected) < 4.5 * math.sqrt(expected + 1)


def test_rows_are_used_again_and_no_sequence_is_preferred_or_lost() -> None:
    chain = Chain()
    prompts = [[1], [1, 3], [1, 4, 3, 4], [1, 3, 3]] * 25
    generator = torch.Generator().manual_seed(1)
    ended: list[int] = []
    found = generate(
        chain,
        prompts,
        end=END,
        max_length=40,
        batch_size=8,
        generator=generator,
        progress=ended.append,
    )
    assert sum(ended) == len(prompts)
    assert bool(found.finished.all())
    for row, prompt in enumerate(prompts):
        tokens = found.tokens[row, : found.lengths[row]].tolist()
        assert tokens[: len(prompt)] == prompt
        assert tokens[-1] == END
        assert END not in tokens[:-1]
        assert bool((found.tokens[row, found.lengths[row] :] == 0).all())
        # A row that began in a used place forgot what was there before.
        want = chain.log_likelihood(tokens, len(prompt))
        assert found.log_likelihoods[row].item() == pytest.approx(want, abs=1e-4)
    assert chain.batches[0] == 8
    assert sum(chain.batches) < 1.02 * (found.lengths.sum().item() - len(prompts)) + 8
    full = sum(size == 8 for size in chain.batches)
    assert full > 0.8 * len(chain.batches)


def test_greedy_takes_the_most_likely_and_max_length_stops() -> None:
    chain = Chain()
    chain.table[..., END] = -math.inf
    found = generate(chain, [[1]], end=END, max_length=6, sampling=Sampling(temperature=0))
    assert found.lengths.tolist() == [6]
    assert not bool(found.finished[0])
    want, before = [1], 1
    for _ in range(5):
        following = int(chain.table[before, want[-1]].argmax())
        before = want[-1]
        want.append(following)
    assert found.tokens[0].tolist() == want


def test_heads_of_the_distribution() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert Sampling(top_k=2).probabilities(logits)[0].tolist() == pytest.approx(
        [0.625, 0.375, 0, 0]
    )
    kept = Sampling(top_p=0.7).probabilities(logits)[0]
    assert (kept > 0).tolist() == [True, True, False, False]
    assert (Sampling(top_p=0.81).probabilities(logits)[0] > 0).tolist() == [True] * 3 + [False]
    sharp = Sampling(temperature=0.5).probabilities(logits)[0]
    squares = torch.tensor([0.25, 0.09, 0.0225, 0.0025])
    torch.testing.assert_close(sharp, squares / squares.sum())
    draws = Sampling(top_p=0.7)(logits.expand(4000, -1), torch.Generator().manual_seed(0))
    share = (draws == 0).float().mean().item()
    assert abs(share - 0.625) < 0.04


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
    ],
)
def test_bad_options(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sampling(**options)


def test_bad_prompts() -> None:
    with pytest.raises(UserError, match="at least one token"):
        generate(Chain(), [[1], []], end=END, max_length=5)
    with pytest.raises(UserError, match="leaves no room"):
        generate(Chain(), [[1, 3, 3, 3, 3]], end=END, max_length=5)


@pytest.mark.parametrize("temperature", [1e-40, 1e-300, 1e-7, 1e-3])
def test_a_small_temperature_is_greedy_and_never_nan(temperature):
    logits = torch.tensor([[-3.0, 2.0, 50.0, 1.0], [1e4, -1e4, 0.0, 9e3]])
    sampling = Sampling(temperature=temperature, top_p=0.9)
    assert sampling.probabilities(logits).isfinite().all()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert sampling(logits, generator).tolist() == [2, 0]


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -1.0])
def test_no_temperature(temperature):
    with pytest.raises(UserError, match="temperature is"):
        Sampling(temperature=temperature)

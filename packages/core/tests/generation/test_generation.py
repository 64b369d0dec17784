import math
from itertools import pairwise

import pytest
import torch

from headway.core.cache import Cache, RecurrentCache
from headway.core.errors import UserError
from headway.core.generation import Processor, Sampling, Written, beam_search, generate
from headway.core.generation.draws import row_keys, uniform

END = 2


class Chain:
    """A Markov chain of the last two tokens; the state holds the token before the last."""

    def __init__(self, tokens: int = 5) -> None:
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(tokens, tokens, tokens, generator=generator)
        self.table[..., :2] = -math.inf  # padding and start are never drawn
        self.table[1, 1, END] = -math.inf
        self.batches: list[int] = []
        self.passes: list[int] = []

    def init_cache(self, batch: int, max_length: int) -> RecurrentCache:
        return RecurrentCache(torch.ones(batch, dtype=torch.int64))

    def __call__(
        self,
        tokens: torch.Tensor,
        *,
        lengths: torch.Tensor | None = None,
        cache: RecurrentCache,
        shift: torch.Tensor | None = None,
    ) -> torch.Tensor:
        self.batches.append(len(tokens))
        self.passes.append(tokens.shape[1])
        steps = []
        for place in range(tokens.shape[1]):
            before = torch.where(cache.lengths == 0, 1, cache.state)
            steps.append(self.table[before, tokens[:, place]])
            real = torch.full((len(tokens),), True) if lengths is None else place < lengths
            cache.state = torch.where(real, tokens[:, place], cache.state)
            cache.lengths = cache.lengths + real
        logits = torch.stack(steps, dim=1)
        return logits if shift is None else logits + shift[:, None]

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
    steps = [size for size, tokens in zip(chain.batches, chain.passes, strict=True) if tokens == 1]
    written = found.lengths.sum().item() - sum(map(len, prompts))
    assert sum(steps) < 1.1 * written + 16
    assert sum(size == 8 for size in steps) > 0.6 * len(steps)


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
    numbers = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = Sampling(top_p=0.7)(logits.expand(4000, -1), numbers)
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
    for number in torch.linspace(0, 1 - 2**-53, 20, dtype=torch.float64):
        assert sampling(logits, number.expand(2)).tolist() == [2, 0]


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -1.0])
def test_no_temperature(temperature):
    with pytest.raises(UserError, match="temperature is"):
        Sampling(temperature=temperature)


def test_a_prompt_costs_one_pass() -> None:
    chain = Chain()
    chain.table[..., END] = -math.inf
    prompt = [1, 3, 4, 3, 3, 4]
    found = generate(chain, [prompt] * 9, end=END, max_length=10, batch_size=3)
    # Three times three rows: the prompt but its last token, then four steps.
    assert chain.passes == [5, 1, 1, 1, 1] * 3
    assert bool((found.tokens[:, :6] == torch.tensor(prompt)).all())


def test_one_seed_gives_one_result_at_any_batch_size() -> None:
    prompts = [[1], [1, 3], [1, 4, 3]] * 20
    runs = [
        generate(
            Chain(),
            prompts,
            end=END,
            max_length=20,
            batch_size=size,
            generator=torch.Generator().manual_seed(5),
        )
        for size in (60, 7, 1)
    ]
    for other in runs[1:]:
        assert torch.equal(runs[0].tokens, other.tokens)
        torch.testing.assert_close(runs[0].log_probabilities, other.log_probabilities)
    alone = generate(
        Chain(), prompts[:5], end=END, max_length=20, generator=torch.Generator().manual_seed(5)
    )
    longest = alone.tokens.shape[1]
    assert torch.equal(runs[0].tokens[:5, :longest], alone.tokens)
    other = generate(
        Chain(), prompts, end=END, max_length=20, generator=torch.Generator().manual_seed(6)
    )
    assert other.tokens.tolist() != runs[0].tokens.tolist()
    # A generator for each prompt: what a row draws depends on its own alone.
    own = [torch.Generator().manual_seed(place) for place in range(60)]
    first = generate(Chain(), prompts, end=END, max_length=20, generator=own)
    own = [torch.Generator().manual_seed(place) for place in (7, 0)]
    again = generate(Chain(), [prompts[7], prompts[0]], end=END, max_length=20, generator=own)
    for row, place in enumerate((7, 0)):
        length = int(again.lengths[row])
        assert again.tokens[row, :length].tolist() == first.tokens[place, :length].tolist()


def test_numbers_of_a_row_are_uniform_and_no_two_rows_meet() -> None:
    keys = row_keys(2000, torch.Generator().manual_seed(0))
    assert len(keys.unique()) == 2000
    drawn = uniform(keys[:, None], torch.arange(50))
    assert drawn.dtype == torch.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = torch.histc(drawn.float(), bins=20, min=0, max=1)
    # Chi-square with 19 degrees of freedom: 43.8 is passed once in a thousand times.
    assert float(((counts - 5000) ** 2 / 5000).sum()) < 43.8
    correlated = torch.corrcoef(torch.stack([drawn[:, :-1].flatten(), drawn[:, 1:].flatten()]))
    assert abs(correlated[0, 1]) < 0.02
    across = torch.corrcoef(torch.stack([drawn[:-1].flatten(), drawn[1:].flatten()]))
    assert abs(across[0, 1]) < 0.02


def test_log_probabilities_are_those_of_the_model_token_by_token() -> None:
    chain = Chain()
    found = generate(
        chain,
        [[1, 3]] * 12,
        end=END,
        max_length=15,
        batch_size=5,
        sampling=Sampling(temperature=0.7, top_k=2),
        generator=torch.Generator().manual_seed(0),
    )
    assert found.log_probabilities.shape == found.tokens.shape
    assert not found.log_probabilities[:, :2].any()
    for row, length in enumerate(found.lengths.tolist()):
        tokens = found.tokens[row, :length].tolist()
        for place in range(2, length):
            gained = chain.log_likelihood(tokens[: place + 1], place)
            assert found.log_probabilities[row, place].item() == pytest.approx(gained, abs=1e-5)
        assert not found.log_probabilities[row, length:].any()


class NoRepeats(Processor):
    """Forbids the token before; counts its calls row by row to show that its state goes with the rows."""

    def init_state(self, rows: int, device: torch.device | None = None) -> RecurrentCache:
        return RecurrentCache(torch.zeros(rows, dtype=torch.int64))

    def forward(
        self,
        logits: torch.Tensor,
        written: Written | None = None,
        state: Cache | None = None,
    ) -> torch.Tensor:
        assert written is not None
        assert isinstance(state, RecurrentCache)
        rows = torch.arange(len(logits))
        last = written.tokens[rows, written.lengths - 1]
        self.seen = (state.state + 1, written.lengths)
        state.state = state.state + 1
        return logits.scatter(1, last[:, None], -math.inf)


def test_processors_know_what_was_written_and_their_state_goes_with_the_rows() -> None:
    processor = NoRepeats()
    sampling = Sampling(processors=[processor], temperature=0.9)
    counts = []
    found = generate(
        Chain(),
        [[1]] * 50,
        end=END,
        max_length=30,
        batch_size=8,
        sampling=sampling,
        generator=torch.Generator().manual_seed(0),
        progress=lambda ended: counts.append(processor.seen),
    )
    for row, length in enumerate(found.lengths.tolist()):
        tokens = found.tokens[row, :length].tolist()
        assert all(one != other for one, other in pairwise(tokens))
    # One call for each token that the row has, the start token included, whichever row it was before.
    assert len(counts) > 15
    assert all(bool((calls == lengths).all()) for calls, lengths in counts[:10])


def test_conditions_go_along_with_the_rows() -> None:
    shift = torch.zeros(40, 5)
    shift[0::2, 3], shift[1::2, 4] = 50.0, 50.0
    found = generate(
        Chain(), [[1]] * 40, end=END, max_length=6, batch_size=7, conditions={"shift": shift}
    )
    for row, tokens in enumerate(found.tokens[:, 1:].tolist()):
        assert set(tokens) == {3 + row % 2}
    with pytest.raises(UserError, match="shift has 39 rows for 40 prompts"):
        generate(Chain(), [[1]] * 40, end=END, max_length=6, conditions={"shift": shift[:39]})


def every_sequence(chain: Chain, prompt: list[int], longest: int) -> dict[tuple[int, ...], float]:
    found = {}
    rows = [prompt]
    while rows:
        row = rows.pop()
        if len(row) == longest or (row[-1] == END and len(row) > len(prompt)):
            found[tuple(row)] = chain.log_likelihood(row, len(prompt))
        else:
            rows += [[*row, token] for token in range(2, 5)]
    return found


def test_beams_find_the_most_likely_sequences() -> None:
    chain = Chain()
    prompts = [[1], [1, 3], [1, 4, 3]]
    found = beam_search(chain, prompts, end=END, max_length=6, beams=400)
    assert found.tokens.shape[0] == 3
    for row, prompt in enumerate(prompts):
        best = sorted(every_sequence(chain, prompt, 6).items(), key=lambda pair: -pair[1])
        for place, (tokens, gained) in enumerate(best[:20]):
            length = int(found.lengths[row, place])
            assert tuple(found.tokens[row, place, :length].tolist()) == tokens
            assert found.log_likelihoods[row, place].item() == pytest.approx(gained, abs=1e-4)
            assert bool(found.finished[row, place]) == (tokens[-1] == END)
    one = beam_search(chain, prompts, end=END, max_length=6, beams=1)
    greedy = generate(chain, prompts, end=END, max_length=6, sampling=Sampling(temperature=0))
    assert one.tokens[:, 0].tolist() == greedy.tokens.tolist()
    torch.testing.assert_close(one.log_likelihoods[:, 0], greedy.log_likelihoods)
    few = beam_search(chain, prompts, end=END, max_length=6, beams=4, batch_size=4)
    assert bool((few.log_likelihoods.diff(dim=1) <= 1e-6).all())
    with pytest.raises(UserError, match="beams is 0"):
        beam_search(chain, prompts, end=END, max_length=6, beams=0)

"""Graphs of vertices: sums over all paths by brute force, and what paths are for."""

from collections.abc import Iterator
from functools import partial
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.errors import UserError
from headway.core.mixers import SelfAttention
from headway.core.positions import Rotary
from headway.speech.batch import SpeechBatch, padded
from headway.speech.front_ends import KaldiFbank
from headway.speech.layers import ProjectedFeatures
from headway.speech.layers.alignment import NEVER
from headway.speech.layers.graph import best_places, graph_log_likelihood, graph_places
from headway.speech.layers.graph_links import GraphLinks, forward_links
from headway.speech.models import Conformer, DATransformer, ParallelDecoder
from headway.speech.models.da_transformer import emitted, framed_text
from headway.speech.models.fast_speech import framed
from headway.speech.search import Search

TOKENS, VERTICES = torch.tensor([3, 4, 1]), torch.tensor([6, 5, 2])


def scores(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns log-probabilities of tokens at vertices, and of transitions."""
    generator = torch.Generator().manual_seed(seed)
    said = torch.randn(3, 4, 6, generator=generator).double()
    links = torch.randn(3, 6, 6, generator=generator).double()
    allowed = forward_links(VERTICES, 6)
    links = links.masked_fill(~allowed, NEVER).log_softmax(2).masked_fill(~allowed, NEVER)
    return said.requires_grad_(), links.requires_grad_()


def paths(item: int) -> Iterator[tuple[int, ...]]:
    """Yields every way to say the tokens of an item, one vertex for each."""
    count, last = int(TOKENS[item]), int(VERTICES[item]) - 1
    if count == 1:
        return
    for between in combinations(range(1, last), count - 2):
        yield (0, *between, last)


def by_hand(said: Tensor, links: Tensor, item: int) -> Tensor:
    """Returns the log-probability of each path of an item."""
    found = []
    for path in paths(item):
        score = said[item, 0, 0]
        for token in range(1, len(path)):
            score = (
                score + links[item, path[token - 1], path[token]] + said[item, token, path[token]]
            )
        found.append(score)
    return torch.stack(found)


def test_the_sum_is_that_of_all_paths_with_its_gradients() -> None:
    said, links = scores()
    found = graph_log_likelihood(said, links, TOKENS, VERTICES)
    wanted = torch.stack([by_hand(said, links, item).logsumexp(0) for item in range(2)])
    torch.testing.assert_close(found[:2], wanted)
    # One token cannot be said at the first and at the last of two vertices.
    assert found[2] < NEVER / 2
    for one, other in zip(
        torch.autograd.grad(found[:2].sum(), [said, links]),
        torch.autograd.grad(wanted.sum(), [said, links]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    assert torch.autograd.gradcheck(
        lambda x: graph_log_likelihood(x, links.detach(), TOKENS, VERTICES)[:2],
        said.detach().requires_grad_(),
    )


def test_where_tokens_are_said_is_the_share_of_the_paths_through_each_vertex() -> None:
    said, links = scores(1)
    found = graph_places(said, links, TOKENS, VERTICES)
    wanted = torch.zeros_like(found)
    for item in range(2):
        shares = by_hand(said, links, item).softmax(0)
        for path, share in zip(paths(item), shares, strict=True):
            for token, vertex in enumerate(path):
                wanted[item, token, vertex] = wanted[item, token, vertex] + share
    torch.testing.assert_close(found[:2], wanted[:2])
    # It is the gradient of the sum, too, and has one of its own.
    total = graph_log_likelihood(said, links, TOKENS, VERTICES)[:2].sum()
    torch.testing.assert_close(torch.autograd.grad(total, said)[0][:2], found[:2].detach())
    weight = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad((found * weight)[:2].sum(), [said, links]),
        torch.autograd.grad((wanted * weight)[:2].sum(), [said, links]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_best_path_is_the_best_of_all() -> None:
    said, links = scores(2)
    found = best_places(said, links, TOKENS, VERTICES)
    for item in range(2):
        best = int(by_hand(said, links, item).argmax())
        wanted = list(paths(item))[best]
        assert found[item, : len(wanted)].tolist() == list(wanted)
        assert (found[item, len(wanted) :] == -1).all()


def test_transitions_go_forward_to_vertices_that_there_are_and_sum_to_one() -> None:
    torch.manual_seed(0)
    links = GraphLinks(8, heads=2)(torch.randn(2, 5, 8), torch.randn(2, 5, 8), torch.tensor([5, 3]))
    shares = links.exp()
    torch.testing.assert_close(shares[0, :4].sum(1), torch.ones(4))
    torch.testing.assert_close(shares[1, :2].sum(1), torch.ones(2))
    assert not shares.masked_select(~forward_links(torch.tensor([5, 3]), 5)).any()


def recogniser(links=GraphLinks, scale: float = 1.0, **options) -> DATransformer:
    mixer = partial(SelfAttention, position=Rotary)
    encoder = Conformer(
        dim=32,
        depth=1,
        heads=2,
        stem=partial(ProjectedFeatures, features=8),
        mixer=mixer,
        block=PreNormBlock,
    )
    return DATransformer(
        **options,
        encoder=encoder,
        tokenizer=framed_text().extended("abcdefgh."),
        front_end=KaldiFbank(mels=8, normalise="none"),
        decoder=partial(ParallelDecoder, depth=1, heads=2, mixer=mixer),
        links=links,
        scale=scale,
    )


def test_alone_and_in_a_batch_a_graph_is_the_same_and_texts_are_too() -> None:
    torch.manual_seed(0)
    model = recogniser(scale=0.7).eval()
    inputs, lengths = torch.randn(2, 12, 8), torch.tensor([12, 7])
    inputs[1, 7:] = torch.nan
    graph = model(inputs, lengths)
    assert graph.lengths.tolist() == [9, 5]
    alone = model(inputs[1:, :7])
    torch.testing.assert_close(graph.log_probs[1, :5], alone.log_probs[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(graph.links[1, :5, :5], alone.links[0], rtol=1e-5, atol=1e-5)
    [_, both], [one] = model.paths(graph), model.paths(alone)
    assert both == one
    heard = model.transcribe(model.encode(inputs, lengths))
    [again] = model.transcribe(model.encode(inputs[1:, :7]))
    assert heard[1].text == again.text
    assert model.needed([3, 4, 5]) == 8


def test_wrong_use_says_so() -> None:
    model = recogniser()
    with pytest.raises(UserError, match="leave beam at 1"):
        model.transcribe(model.encode(torch.randn(1, 6, 8)), search=Search(beam=2))
    with pytest.raises(UserError, match="above 0, in 0 to 1"):
        recogniser(scale=0.0)
    model.begin_vocabulary("words")
    assert model.tokenizer.vocabulary == ("<pad>", "<start>", "<end>")


def test_glancing_shows_some_of_what_is_wrong_on_the_best_path() -> None:
    torch.manual_seed(0)
    model = recogniser(glance=1.0)
    encoded = model.encode(torch.randn(2, 12, 8))
    tokens, lengths = framed(
        model.tokenizer, torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([3, 2])
    )
    graph = model.graph(encoded)
    shown = model._shown(graph, tokens, lengths)
    places = best_places(emitted(graph, tokens), graph.links, lengths, graph.lengths)
    for row in range(2):
        here = (shown[row] >= 0).nonzero()[:, 0].tolist()
        assert here
        pairs = zip(places[row].tolist(), tokens[row].tolist(), strict=True)
        on_path = dict(pairs)
        assert all(on_path[place] == shown[row, place] for place in here)
    model.glance = 0.0
    assert (model._shown(graph, tokens, lengths) == -1).all()


class Chain(GraphLinks):
    """Each vertex goes on to the next: every place is written by itself, as parallel decoders do."""

    def forward(self, x: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
        """Returns the transitions."""
        width = x.shape[1]
        following = torch.ones(width, width, dtype=torch.bool).triu(1).tril(1)
        return torch.where(following & forward_links(lengths, width), 0.0, NEVER)


# Of each sound two texts are right, a short and a long one.
RIGHT = (
    *(("ab", "fghde"), ("ba", "hgfed"), ("cd", "abfgh")),
    *(("dc", "bahgf"), ("ef", "cdghb"), ("fe", "hgcda")),
)
LONGEST = 5


def sounds(
    model: DATransformer, count: int, generator: torch.Generator, filler: str = ""
) -> tuple[SpeechBatch, list[tuple[str, str]]]:
    """Returns sounds of six kinds, each with one of its two texts; a filler makes all as long as each other."""
    kinds = torch.randint(len(RIGHT), (count,), generator=generator)
    chosen = torch.randint(2, (count,), generator=generator)
    inputs = 0.1 * torch.randn(count, 6, 8, generator=generator)
    inputs[torch.arange(count), :, kinds] += 1
    said = [RIGHT[kind][one] for kind, one in zip(kinds.tolist(), chosen.tolist(), strict=True)]
    filled = [text + filler * (LONGEST - len(text)) for text in said]
    numbers = model.tokenizer.numbers
    texts = [torch.tensor([numbers[letter] for letter in text]) for text in filled]
    batch = SpeechBatch(inputs, torch.full((count,), 6), *padded(texts))
    return batch, [RIGHT[kind] for kind in kinds.tolist()]


def whole(
    model: DATransformer, seed: int, filler: str = "", steps: int = 180
) -> tuple[float, float]:
    """Returns how many texts that a trained model writes are one of the two, and the surprise of a right one."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=steps)
    for _ in range(steps):
        loss = model.loss(sounds(model, 32, generator, filler)[0])["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    batch, right = sounds(model, 128, generator, filler)
    graph = model(batch.inputs, batch.lengths)
    tokens, lengths = framed(model.tokenizer, batch.targets, batch.target_lengths)
    found = graph_log_likelihood(emitted(graph, tokens), graph.links, lengths, graph.lengths)
    heard = model.transcribe(model.encode(batch.inputs, batch.lengths))
    count = sum(one.text.strip(".") in texts for one, texts in zip(heard, right, strict=True))
    return count / len(right), -found.mean().item()


@pytest.mark.learns
def test_paths_write_one_of_several_right_texts_where_places_by_themselves_mix_them(
    seed: int, measured
) -> None:
    """Without glancing, which on so few kinds teaches a parallel decoder to keep to one text, too."""
    torch.manual_seed(seed)
    graph, surprise = whole(recogniser(scale=4.0, glance=0.0), seed)
    torch.manual_seed(seed)
    # As many vertices as tokens, one after the other.
    plain = recogniser(Chain, scale=(LONGEST + 2) / 6, glance=0.0)
    mixed, wondered = whole(plain, seed, filler=".")
    measured("texts that are whole", graph, above=0.5)
    measured("more than of a parallel decoder", graph - mixed, above=0.1)
    measured("surprise of right texts beside a parallel decoder's", surprise / wondered, below=0.75)

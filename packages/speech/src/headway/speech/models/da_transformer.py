"""DA-Transformer: a graph of vertices written in one pass, through which each way to say it is a path."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.positions.sinusoidal import sinusoids
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.decoding import Reading
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers.graph import best_places, graph_log_likelihood
from headway.speech.layers.graph_links import GraphLinks
from headway.speech.models.fast_speech import FRAME, framed
from headway.speech.models.paraformer import ParallelDecoder
from headway.speech.recogniser import Recogniser
from headway.speech.search import GREEDY, Search
from headway.speech.tokenizers import TextTokenizer, Unit

# What a product of a scale and a length may be too large by.
ROUNDING = 1e-4


class Graph(NamedTuple):
    """What is written in one pass.

    Args:
        vectors: Of each vertex, (B, V, dim).
        log_probs: Log-probabilities of its token, (B, V, vocabulary).
        links: Log-probability of going on from each vertex to each other, (B, V, V).
        lengths: Vertices of each graph, (B,).
    """

    vectors: Tensor
    log_probs: Tensor
    links: Tensor
    lengths: Tensor


def framed_text(unit: Unit = "characters") -> TextTokenizer:
    """Returns characters or words with tokens for start and end."""
    return TextTokenizer(unit=unit, vocabulary=FRAME, padding=0, start=1, end=2, blank=None)


@system(
    id=None,
    name="DA-Transformer",
    paper="https://arxiv.org/abs/2205.07459",
    claim="a path through a graph writes one of several right texts, where places by themselves mix them",
    test="packages/speech/tests/models/test_da_transformer.py",
)
class DATransformer(Recogniser):
    """A recogniser that writes a graph in one pass; a text is a path from its first vertex to the last.

    There are more vertices than tokens, and each says one token and which vertex comes next. Training sums
    over all paths that say the text, so texts that differ may lie on paths of their own. In training the
    decoder runs twice: of what it gets wrong on the best path it is shown a share the second time.

    Args:
        encoder: The encoder.
        tokenizer: What the tokens mean; characters between start and end if None.
        front_end: What recordings go through; Kaldi's log-mel features, as many as the encoder hears, if
            None.
        decoder: Builds what sees all vertices and all that was heard, ``(dim)``.
        links: Builds the transitions, ``(dim)``.
        scale: Vertices for each token of the encoder.
        glance: Share of the wrong tokens that is shown; 0 leaves the first pass out.
        lookahead: How much the token of the next vertex counts beside the transition to it when a path is
            looked for; 0 goes by transitions alone.

    Shape:
        inputs: (B, T, F) features or (B, T) samples. lengths: (B,), all T if None. Output: ``Graph``.

    Raises:
        UserError: If the tokenizer lacks start or end, or a number is outside its range.

    Source:
        Huang et al. 2022, https://arxiv.org/abs/2205.07459; glancing without its schedule, and a token that
        follows itself on the best path is kept.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
        decoder: Callable[[int], ParallelDecoder] = ParallelDecoder,
        links: Callable[[int], GraphLinks] = GraphLinks,
        scale: float = 0.5,
        glance: float = 0.5,
        lookahead: float = 1.0,
    ) -> None:
        tokenizer = framed_text() if tokenizer is None else tokenizer
        if tokenizer.start is None or tokenizer.end is None:
            raise UserError("a path begins and ends; give the tokenizer both tokens")
        if scale <= 0 or not 0 <= glance <= 1 or lookahead < 0:
            raise UserError(
                f"scale is {scale}, glance {glance} and lookahead {lookahead}; they are above 0, in 0 to 1, "
                "and 0 or more"
            )
        super().__init__(encoder=encoder, tokenizer=tokenizer, front_end=front_end)
        self.scale, self.glance, self.lookahead = scale, glance, lookahead
        dim = encoder.dim
        self.vertex = nn.Parameter(torch.empty(dim))
        self.embedding = nn.Embedding(len(self.tokenizer), dim)
        for weight in (self.vertex, self.embedding.weight):
            truncated_normal_(weight, std=1.0)
        self.decoder, self.links = decoder(dim), links(dim)
        self.head = nn.Linear(dim, len(self.tokenizer))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Graph:
        """Returns the graph of what is heard."""
        return self.graph(self.encode(inputs, lengths))

    def graph(self, encoded: Encoded, shown: Tensor | None = None) -> Graph:
        """Returns the graph.

        Args:
            encoded: What ``encode`` returned.
            shown: Token that each vertex is shown, (B, V); -1 of those that are shown none.
        """
        heard, steps, *_ = encoded
        lengths = self.vertices(steps)
        width = max(2, math.ceil(heard.shape[1] * self.scale - ROUNDING))
        place = torch.arange(width, device=heard.device)[:, None]
        places = sinusoids(place, self.vertex.shape[0]).to(heard).expand(len(heard), -1, -1)
        x = self.vertex.expand_as(places)
        if shown is not None:
            told = self.embedding(shown.clamp_min(0)).to(x.dtype)
            x = torch.where((shown >= 0)[..., None], told, x)
        vectors = self.decoder(x + places, lengths, heard, steps)
        log_probs = self.head(vectors).float().log_softmax(dim=2)
        return Graph(vectors, log_probs, self.links(vectors, places, lengths), lengths)

    def vertices(self, lengths: Tensor) -> Tensor:
        """Returns how many vertices the graphs of so many tokens of the encoder have, (B,)."""
        return (lengths * self.scale - ROUNDING).ceil().long().clamp_min(2)

    def needed(self, targets: Sequence[int]) -> int:
        """Returns tokens of the encoder for a vertex of each token, start and end among them."""
        return math.ceil((len(targets) + 2) / self.scale)

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the negative log-probability of the texts for each token, over all paths."""
        _, losses = self.taught(batch, self.encoded(batch, encoded))
        return losses

    def taught(self, batch: SpeechBatch, encoded: Encoded) -> tuple[Graph, dict[str, Tensor]]:
        """Returns the graph that is learned from, and the losses."""
        tokens, lengths = framed(self.tokenizer, batch.targets, batch.target_lengths)
        shown = None
        if self.training and self.glance:
            with torch.no_grad():
                shown = self._shown(self.graph(encoded), tokens, lengths)
        graph = self.graph(encoded, shown)
        found = graph_log_likelihood(emitted(graph, tokens), graph.links, lengths, graph.lengths)
        # No path says more tokens than there are vertices.
        each = (found / lengths).masked_fill(lengths > graph.lengths, 0.0)
        return graph, {"loss": -each.mean()}

    @torch.no_grad()
    def _shown(self, graph: Graph, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Returns the token that each vertex is shown in the second pass, -1 for none."""
        said = emitted(graph, tokens)
        places = best_places(said, graph.links, lengths, graph.lengths)
        real = places >= 0
        guessed = graph.log_probs.argmax(2).gather(1, places.clamp_min(0))
        number = (self.glance * (real & (guessed != tokens)).sum(1)).round()
        order = torch.rand(places.shape, device=places.device).masked_fill(~real, 2.0)
        chosen = real & (order.argsort(1).argsort(1) < number[:, None])
        shown = torch.full(graph.log_probs.shape[:2], -1, device=tokens.device)
        for row, column in chosen.nonzero().tolist():
            shown[row, places[row, column]] = tokens[row, column]
        return shown

    @torch.no_grad()
    def paths(self, graph: Graph) -> list[list[int]]:
        """Returns the vertices of the path through each graph, the first and the last among them."""
        sure = graph.log_probs.amax(dim=2)
        follows = (graph.links + self.lookahead * sure[:, None]).argmax(dim=2).tolist()
        found = []
        for row, last in enumerate((graph.lengths - 1).tolist()):
            path = [0]
            while path[-1] != last:
                path.append(follows[row][path[-1]])
            found.append(path)
        return found

    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns what the path through each graph says.

        Raises:
            UserError: If more than one reading is to be followed.
        """
        if search.beam > 1:
            raise UserError("this recogniser follows one path through its graph; leave beam at 1")
        graph = self.graph(encoded)
        return self.hypotheses([[one] for one in self.readings(graph)], encoded)

    def readings(self, graph: Graph) -> list[Reading]:
        """Returns what the path through each graph says; where in the recording nobody knows."""
        sure, best = (x.tolist() for x in graph.log_probs.max(dim=2))
        frame = (self.tokenizer.start, self.tokenizer.end, self.tokenizer.padding)
        found = []
        for row, path in enumerate(self.paths(graph)):
            said = [vertex for vertex in path[1:-1] if best[row][vertex] not in frame]
            score = sum(sure[row][vertex] for vertex in path)
            tokens, each = ([of[row][vertex] for vertex in said] for of in (best, sure))
            found.append(Reading(tokens, (), (), each, score))
        return found

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        self._take(self.tokenizer.with_vocabulary(vocabulary))

    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary of characters or words."""
        self._take(framed_text(unit))

    def get_classifier(self) -> Any:
        """Returns the layer that computes the scores."""
        return self.head

    def _take(self, new: Tokenizer) -> None:
        for layer in (self.embedding, self.head):
            renumber(layer, self.tokenizer, new)
        self.take_tokenizer(new)


def emitted(graph: Graph, tokens: Tensor) -> Tensor:
    """Returns the log-probability of each token of a text at each vertex, (B, U, V)."""
    index = tokens[:, None].expand(-1, graph.log_probs.shape[1], -1)
    return graph.log_probs.gather(2, index).transpose(1, 2)

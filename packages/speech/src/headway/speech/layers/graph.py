"""All paths through a graph of vertices that say a text: their sum, the best one, and where each token is."""

import torch
from torch import Tensor

from headway.speech.layers.alignment import NEVER


def graph_log_likelihood(
    emitted: Tensor, links: Tensor, tokens: Tensor, vertices: Tensor
) -> Tensor:
    """Returns the log-probability that a path from the first to the last vertex says the text, (B,).

    Args:
        emitted: Log-probability of each token of the text at each vertex.
        links: Log-probability of going on from each vertex (rows) to each later one.
        tokens: Tokens of each text.
        vertices: Vertices of each graph, not fewer than its tokens.

    Shape:
        emitted: (B, U, V). links: (B, V, V). tokens, vertices: (B,).

    Source:
        Huang et al. 2022 (DA-Transformer), https://arxiv.org/abs/2205.07459, section 3.2.
    """
    ahead = torch.stack(_ahead(emitted, links), dim=1)
    item = torch.arange(len(tokens), device=tokens.device)
    return ahead[item, tokens - 1, vertices - 1]


def graph_places(emitted: Tensor, links: Tensor, tokens: Tensor, vertices: Tensor) -> Tensor:
    """Returns the probability that each token of a text is said at each vertex, by all paths that say it.

    Rows behind a text are zero.

    Args:
        emitted: As of ``graph_log_likelihood``.
        links: As of ``graph_log_likelihood``.
        tokens: Tokens of each text.
        vertices: Vertices of each graph.

    Shape:
        emitted, output: (B, U, V). links: (B, V, V). tokens, vertices: (B,).

    Source:
        Fang et al. 2023 (DASpeech), https://arxiv.org/abs/2310.07403, section 3.3.
    """
    longest, width = emitted.shape[1:]
    place = torch.arange(width, device=emitted.device)
    last = torch.where(place == vertices[:, None] - 1, 0.0, NEVER).to(emitted)
    behind: list[Tensor] = [last] * longest
    after = last
    for token in range(longest - 2, -1, -1):
        step = (links + (emitted[:, token + 1] + after)[:, None]).logsumexp(dim=2).clamp_min(NEVER)
        after = torch.where((token < tokens - 1)[:, None], step, last)
        behind[token] = after
    found = torch.stack(_ahead(emitted, links), dim=1) + torch.stack(behind, dim=1)
    real = torch.arange(longest, device=tokens.device) < tokens[:, None]
    return found.softmax(dim=2).masked_fill(~real[..., None], 0.0)


@torch.no_grad()
def best_places(emitted: Tensor, links: Tensor, tokens: Tensor, vertices: Tensor) -> Tensor:
    """Returns the vertex of each token on the likeliest path that says the text, -1 behind the text.

    Args:
        emitted: As of ``graph_log_likelihood``.
        links: As of ``graph_log_likelihood``.
        tokens: Tokens of each text.
        vertices: Vertices of each graph.

    Shape:
        emitted: (B, U, V). links: (B, V, V). tokens, vertices: (B,). Output: (B, U) int64.
    """
    batch, longest, _ = emitted.shape
    best = _first(emitted)
    came: list[Tensor] = []
    for token in range(1, longest):
        score, source = (best[:, :, None] + links).max(dim=1)
        came.append(source)
        best = score + emitted[:, token]
    item = torch.arange(batch, device=tokens.device)
    at = vertices - 1
    places = torch.full((batch, longest), -1, dtype=torch.int64, device=tokens.device)
    for token in range(longest - 1, -1, -1):
        real = token < tokens
        places[:, token] = torch.where(real, at, -1)
        if token:
            at = torch.where(real, came[token - 1][item, at], at)
    return places


def _first(emitted: Tensor) -> Tensor:
    """Returns the scores of the first token: a path begins at the first vertex."""
    place = torch.arange(emitted.shape[2], device=emitted.device)
    return emitted[:, 0].masked_fill(place > 0, NEVER)


def _ahead(emitted: Tensor, links: Tensor) -> list[Tensor]:
    """Returns the log-probability of having said each token at each vertex, by all ways, U of (B, V)."""
    found = [_first(emitted)]
    for token in range(1, emitted.shape[1]):
        step = (found[-1][:, :, None] + links).logsumexp(dim=1)
        found.append((step + emitted[:, token]).clamp_min(NEVER))
    return found

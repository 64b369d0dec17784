"""Linear probes of the residual stream."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.explain.recording import run_listening
from headway.core.systems import system


class Probe(NamedTuple):
    """What a linear map reads out of the stream at one depth.

    Args:
        layer: ``input``, or the name of the block behind which it reads.
        accuracy: Share of the answers about held-out items that are right.
        chance: The same of the commoner answer to each question in the training part, whatever the item.
        answers: What it says about the held-out items, (held out, K) bool.
        held_out: Their numbers, (held out,).
    """

    layer: str
    accuracy: float
    chance: float
    answers: Tensor
    held_out: Tensor


@torch.no_grad()
def residual_stream(
    model: nn.Module,
    *inputs: Any,
    token: int | Tensor = -1,
    keywords: Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """Returns one token of the stream: what enters the first stack, and what each block returns.

    Args:
        model: A model with a stack of blocks.
        *inputs: What it is called with.
        token: Which token, one for all items or one for each, (B,); counted from the end below 0.
        keywords: What it is called with by name.

    Returns:
        The token (B, C) by ``input`` and the names of the blocks, in the order of computation.

    Raises:
        UserError: If the model has no blocks, or no such token.
    """
    found: dict[str, Tensor] = {}

    def keep(module: str, tap: str, value: Tensor) -> None:
        name = "input" if tap == "input" else module
        # Of several stacks the first one's input is that of the model.
        if tap == "input" and "input" in found:
            return
        rows = torch.arange(len(value), device=value.device)
        place = torch.as_tensor(token, device=value.device).expand(len(value))
        place = torch.where(place < 0, place + value.shape[1], place)
        if bool(((place < 0) | (place >= value.shape[1])).any()):
            raise UserError(f"{name} has {value.shape[1]} tokens; got token {token}")
        found[name] = value[rows, place].float()

    run_listening(model, inputs, keywords, ("input", "output"), keep)
    if len(found) < 2:
        raise UserError(f"{type(model).__name__} has no stack of blocks that could be probed")
    return found


@system(
    id=None,
    name="Linear probes",
    paper="https://arxiv.org/abs/1610.01644",
    claim="they read out of a token what lies in it along a line and nothing else, and say what chance would",
    test="packages/core/tests/explain/test_probing.py",
)
def linear_probes(
    model: nn.Module,
    batches: Iterable[Sequence[Any]],
    questions: Tensor,
    *,
    token: int | Tensor = -1,
    held_out: float = 0.25,
    decay: float = 1e-2,
    keywords: Mapping[str, Any] | None = None,
) -> list[Probe]:
    """Asks how much of something is linearly readable in one token, at every depth of a model.

    At each depth a logistic regression is fitted to the first items and asked about the last ones, which it
    has not seen. A control is the same call with a model that was not trained.

    Args:
        model: A model with a stack of blocks.
        batches: What the model is called with, positional arguments of one batch after the other.
        questions: Yes or no, of each item, (N, K) bool.
        token: Which token, one for all items or one for each, (N,); counted from the end below 0.
        held_out: Share of the items that are asked about.
        decay: Weight of the squared coefficients, of standardised channels.
        keywords: What the model is called with by name.

    Returns:
        One for what enters the first stack, and one for each block, in the order of computation.

    Raises:
        UserError: If items and questions do not match, or none are left to fit or to ask about.

    Source:
        Alain and Bengio 2016, https://arxiv.org/abs/1610.01644, section 3.
    """
    taken: dict[str, list[Tensor]] = {}
    seen = 0
    for inputs in batches:
        rows = len(next(value for value in inputs if isinstance(value, Tensor)))
        place = token[seen : seen + rows] if isinstance(token, Tensor) else token
        for name, value in residual_stream(model, *inputs, token=place, keywords=keywords).items():
            taken.setdefault(name, []).append(value.cpu())
        seen += rows
    if questions.ndim != 2 or len(questions) != seen:
        raise UserError(
            f"there are {seen} items and questions of shape {list(questions.shape)}; expected a row for each"
        )
    asked = round(held_out * seen)
    if not 0 < asked < seen:
        raise UserError(
            f"held_out {held_out:g} of {seen} items leaves {seen - asked} to fit and {asked} to ask about"
        )
    wanted, fitted = questions.cpu().bool(), seen - asked
    usual = (wanted[:fitted].float().mean(dim=0) >= 0.5).expand(asked, -1)
    chance = float((usual == wanted[fitted:]).float().mean())
    numbers = torch.arange(fitted, seen)
    found = []
    for name, parts in taken.items():
        stream = torch.cat(parts)
        answers = _fit(stream[:fitted], wanted[:fitted], decay)(stream[fitted:])
        right = float((answers == wanted[fitted:]).float().mean())
        found.append(Probe(name, right, chance, answers, numbers))
    return found


class _Regression:
    """A logistic regression on standardised channels.

    Args:
        mean: Of each channel.
        std: Of each channel.
        layer: Coefficients.
    """

    def __init__(self, mean: Tensor, std: Tensor, layer: nn.Linear) -> None:
        self.mean, self.std, self.layer = mean, std, layer

    @torch.no_grad()
    def __call__(self, stream: Tensor) -> Tensor:
        return self.layer((stream - self.mean) / self.std) > 0


def _fit(stream: Tensor, wanted: Tensor, decay: float) -> _Regression:
    mean, std = stream.mean(dim=0), stream.std(dim=0).clamp_min(1e-6)
    layer = nn.Linear(stream.shape[1], wanted.shape[1])
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    given, target = (stream - mean) / std, wanted.float()
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=100, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(layer(given), target)
        # Per question, as the loss is a mean over them.
        loss = loss + decay * layer.weight.square().sum() / wanted.shape[1]
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return _Regression(mean, std, layer)

"""Masked diffusion: tokens disappear behind a mask, and a model that sees the others says what they were."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.generation.draws import uniform
from headway.core.generation.sampling import Sampling
from headway.core.module import Module

Predict = Callable[[Tensor, Tensor], Tensor]
"""``(tokens, rows) -> logits`` of what stands in each place (R, T, V), for these rows of a batch."""
# Numbers that a place draws in a step: the token, its luck, and whether guidance hides it.
_DRAWS = 3


def masking_times(
    count: int,
    *,
    least: float = 1e-3,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Returns the share of the tokens that each item hides, (count,): one draw, spread evenly over all items.

    Args:
        count: Items.
        least: The smallest share; the loss is divided by it.
        generator: Of the draw, on the CPU; the default one of the device if None.
        device: Where the result shall be.

    Source:
        Kingma et al. 2021, https://arxiv.org/abs/2107.00630, appendix I.1 (the even spread).
    """
    where = "cpu" if generator is not None else device
    offset = torch.rand((), generator=generator, device=where)
    spread = torch.arange(count, device=where) / count
    return (least + (1 - least) * ((offset / count + spread) % 1)).to(device)


def hide(time: Tensor, free: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Returns which tokens are behind the mask: each free one with the probability ``time`` of its row.

    Args:
        time: Share that is hidden.
        free: Tokens that may be hidden.
        generator: Of the draws, on the CPU; the default one of the device if None.

    Shape:
        time: (B,). free: (B, T) bool. Output: (B, T) bool.
    """
    where = "cpu" if generator is not None else free.device
    numbers = torch.rand(free.shape, generator=generator, device=where).to(free.device)
    return (numbers < time[:, None].to(free.device)) & free


def masked_bound(logits: Tensor, tokens: Tensor, hidden: Tensor, time: Tensor) -> Tensor:
    """Returns one estimate of the bound on the negative log-likelihood of each row, in nats, (B,).

    Hidden tokens are said by themselves, each counted ``1 / time`` times: the share that is hidden grows
    evenly with the time, and what is not hidden costs nothing.

    Args:
        logits: Of what stands in each place.
        tokens: What stands there.
        hidden: Which the model did not see.
        time: Share of them that was hidden.

    Shape:
        logits: (B, T, V). tokens, hidden: (B, T). time: (B,).

    Note:
        Within 1e-5 nats of the loss of bionemo-moco 0.0.2.2 on six rows.

    Source:
        Sahoo et al. 2024, https://arxiv.org/abs/2406.07524, eq. 10 with the log-linear schedule; Shi et al.
        2024, https://arxiv.org/abs/2406.04329.
    """
    nats = F.cross_entropy(logits.transpose(1, 2).float(), tokens, reduction="none")
    return nats.masked_fill(~hidden, 0.0).sum(dim=1) / time.to(nats)


class Unmasked(NamedTuple):
    """Rows whose masks are gone.

    Args:
        tokens: (B, T).
        log_probabilities: Under the model, of each token that was filled in when it was; 0 elsewhere, (B, T).
    """

    tokens: Tensor
    log_probabilities: Tensor


class Unmasking(Module):
    """In which order masks are lifted, and how many in a pass.

    A token is drawn for every mask; those that the model is surest of stay, the others are masked again.
    Gumbel noise, less from pass to pass, keeps the sure and common ones from always coming first.

    Args:
        order: ``confidence``, or ``random`` for what the diffusion itself does, backwards.
        randomness: How much noise is added to the log-probability of a token before the first pass.
        at_once: Masks of a row that are lifted in a pass.
        guidance: 1 is the model as it is; more leans away from what it says where a part of what was given
            is hidden, too (molecular context guidance). Costs a second pass.
        hidden_context: Share of what was given that is hidden then.

    Raises:
        UserError: If a number is out of range.

    Note:
        Without noise and with the likeliest token, texts are those of the released code (bionemo-moco
        0.0.2.2). Its noise follows the longest row of a batch; here each row has a clock of its own.

    Source:
        Chang et al. 2022, https://arxiv.org/abs/2202.04200, section 3.2 (confidence); Lee et al. 2025,
        https://arxiv.org/abs/2501.06158, sections 4.1 and 4.4 (the noise, guidance).
    """

    def __init__(
        self,
        *,
        order: Literal["confidence", "random"] = "confidence",
        randomness: float = 0.5,
        at_once: int = 1,
        guidance: float = 1.0,
        hidden_context: float = 0.3,
    ) -> None:
        super().__init__()
        if order not in ("confidence", "random"):
            raise UserError(f"order is {order!r}; masks are lifted by confidence or random")
        if not 0 <= randomness < float("inf") or at_once < 1 or not 0 <= guidance < float("inf"):
            raise UserError(
                f"randomness is {randomness}, guidance {guidance} and at_once {at_once}; they must be at "
                "least 0, 0 and 1"
            )
        if not 0 <= hidden_context <= 1:
            raise UserError(f"hidden_context is {hidden_context}; it is a share, 0 to 1")
        self.order, self.randomness, self.at_once = order, randomness, at_once
        self.guidance, self.hidden_context = guidance, hidden_context

    def forward(
        self,
        predict: Predict,
        tokens: Tensor,
        hidden: Tensor,
        *,
        mask: int,
        keys: Tensor,
        forbidden: Tensor,
        sampling: Sampling | None = None,
        context: Tensor | None = None,
    ) -> Unmasked:
        """Fills in what is hidden; what is not stays as it is.

        Args:
            predict: The model.
            tokens: What is given.
            hidden: Where something is to be filled in.
            mask: Number of the token that the model reads there.
            keys: Of the random stream of each row (``draws.row_keys``).
            forbidden: Which tokens are never filled in.
            sampling: How a token is chosen; from the whole softmax if None.
            context: Which of the given tokens guidance may hide; all if None.

        Shape:
            tokens: (B, T) int64. hidden, context: (B, T) bool. keys: (B,). forbidden: (V,) bool.

        Raises:
            UserError: If a part of the sampling remembers what was written.
        """
        sampling = sampling if sampling is not None else Sampling()
        if any(state is not None for state in sampling.init_states(1)):
            raise UserError(
                "a part of the sampling remembers what was written from left to right, such as a grammar; "
                "masks are lifted in any order"
            )
        tokens = tokens.masked_fill(hidden, mask)
        gained = torch.zeros(tokens.shape, device=tokens.device)
        left, asked = hidden.clone(), hidden.sum(dim=1)
        context = ~hidden if context is None else context & ~hidden
        places = torch.arange(tokens.shape[1], device=tokens.device)
        step = 0
        while len(rows := left.any(dim=1).nonzero()[:, 0]):
            here = left[rows]
            logits = self._logits(predict, tokens, rows, mask, keys, context, step)
            row, place = here.nonzero(as_tuple=True)
            asked_of = logits[row, place].float().masked_fill(forbidden, -torch.inf)
            counter = _DRAWS * (step * tokens.shape[1] + place)
            own = keys[rows][row]
            changed = sampling.changed(asked_of)
            chosen = sampling.draw(changed, uniform(own, counter))
            sure = changed.softmax(dim=-1).gather(1, chosen[:, None])[:, 0].log()
            noise = -(-uniform(own, counter + 1).clamp(1e-12, 1 - 1e-12).log()).log()
            # All of the noise in the first pass, none in the last.
            share = (here.sum(dim=1) - 1) / (asked[rows] - 1).clamp_min(1)
            rank = torch.full(here.shape, -torch.inf, dtype=torch.float64, device=tokens.device)
            if self.order == "random":
                rank[row, place] = noise
            else:
                rank[row, place] = sure.double() + self.randomness * share[row].double() * noise
            count = min(self.at_once, len(places))
            best = torch.zeros_like(here).scatter_(1, rank.topk(count, dim=1).indices, True) & here
            lifted = best[row, place]
            at, where = rows[row[lifted]], place[lifted]
            tokens[at, where] = chosen[lifted]
            said = asked_of[lifted].log_softmax(dim=-1)
            gained[at, where] = said.gather(1, chosen[lifted][:, None])[:, 0]
            left[at, where] = False
            step += 1
        return Unmasked(tokens, gained)

    def _logits(
        self,
        predict: Predict,
        tokens: Tensor,
        rows: Tensor,
        mask: int,
        keys: Tensor,
        context: Tensor,
        step: int,
    ) -> Tensor:
        seen = tokens[rows]
        logits = predict(seen, rows)
        if self.guidance == 1 or not bool(context[rows].any()):
            return logits
        places = torch.arange(seen.shape[1], device=seen.device)
        numbers = uniform(keys[rows][:, None], _DRAWS * (step * seen.shape[1] + places) + 2)
        poor = predict(
            seen.masked_fill((numbers < self.hidden_context) & context[rows], mask), rows
        )
        return poor + self.guidance * (logits - poor)

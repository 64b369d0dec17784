"""Texts of a decoder that writes from left to right, while CTC says which of them were heard."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.speech.decoding.ctc_prefix import PrefixScores
from headway.speech.decoding.guides import Guide, Guides


class Written(NamedTuple):
    """A text of a search.

    Args:
        tokens: Numbers of the tokens, without start and end.
        log_probs: Of each under the decoder.
        score: By which the search ranks.
    """

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    score: float


Step = Callable[[Tensor, Cache, Tensor], Tensor]
"""Logits (R, V) of what follows the last entries (R,) of rows, with their cache, of recordings (R,)."""


@torch.no_grad()
def joint_search(
    step: Step,
    cache: Cache,
    ctc: PrefixScores | None,
    *,
    start: int,
    end: int,
    most: Sequence[int],
    beams: int = 8,
    best: int = 1,
    ctc_weight: float = 0.3,
    guides: Sequence[Guide] = (),
) -> list[list[Written]]:
    """Returns the likeliest texts of each recording, the best in front.

    A text is worth ``(1 - ctc_weight)`` of its log-probability under the decoder and ``ctc_weight`` of that
    under CTC, which is that of a beginning until the text has ended, and what guides add. The decoder alone
    writes what nobody said, or stops early; CTC alone knows no language.

    Args:
        step: The decoder.
        cache: Of the decoder, one row for each recording.
        ctc: What CTC says of each recording; nothing if None.
        start: Entry in front of every text.
        end: Entry behind it.
        most: Most entries of the text of each recording.
        beams: Texts that are kept of each recording.
        best: Texts that are returned at most.
        ctc_weight: Of what CTC says.
        guides: What else knows which texts are likely.

    Raises:
        UserError: If a number is below 1, or a weight not in 0 to 1.

    Source:
        Hori et al. 2017, https://aclanthology.org/P17-1048, section 3.2 (one-pass decoding).
    """
    if beams < 1 or best < 1:
        raise UserError(f"beams {beams} and best {best} must be at least 1")
    if not 0 <= ctc_weight <= 1:
        raise UserError(f"ctc_weight is {ctc_weight}, not in 0 to 1")
    if ctc is None:
        ctc_weight = 0.0
    count, known = len(most), Guides(guides)
    texts: list[list[Written]] = [[Written((), (), 0.0)] for _ in range(count)]
    done: list[list[Written]] = [[] for _ in range(count)]
    heard = ctc.start() if ctc is not None else None
    by_decoder = torch.zeros(count)
    rows, last = torch.arange(count), torch.full((count,), start)
    for size in range(max(most) + 1):
        if not len(rows):
            break
        scores = step(last, cache, rows).float().log_softmax(-1).cpu()
        entries = scores.shape[1]
        now = (1 - ctc_weight) * (by_decoder[:, None] + scores)
        flat = [text for row in rows.unique_consecutive().tolist() for text in texts[row]]
        if ctc is not None and heard is not None and ctc_weight:
            begun = ctc.of(heard, rows.to(heard.last.device)).cpu()
            begun = torch.nn.functional.pad(begun, (0, entries - begun.shape[1]), value=-torch.inf)
            begun[:, end] = ctc.ended(heard).cpu()
            now = now + ctc_weight * begun
        now[:, start] = -torch.inf if start != end else now[:, start]
        if known.guides:
            before = torch.tensor([known.total(text.tokens) for text in flat])
            added = known.of([text.tokens for text in flat], entries)
            added[:, end] = torch.tensor(
                [sum(g.ending(t.tokens) for g in known.guides) for t in flat]
            )
            now = now + before[:, None] + added
        kept_rows, kept_last, from_row, sums = [], [], [], []
        first = 0
        for row in rows.unique_consecutive().tolist():
            mine = texts[row]
            here = now[first : first + len(mine)]
            if size >= most[row]:  # nothing but the end
                ends = here[:, end].clone()
                here = torch.full_like(here, -torch.inf)
                here[:, end] = ends
            values, places = here.flatten().topk(min(beams, here.numel()))
            fresh: list[Written] = []
            for value, place in zip(values.tolist(), places.tolist(), strict=True):
                if value == -torch.inf:
                    break
                number, entry = divmod(place, entries)
                text, sure = mine[number], float(scores[first + number, entry])
                if entry == end:
                    done[row].append(Written(text.tokens, text.log_probs, value))
                    continue
                fresh.append(Written((*text.tokens, entry), (*text.log_probs, sure), value))
                kept_rows.append(row)
                kept_last.append(entry)
                from_row.append(first + number)
                sums.append(float(by_decoder[first + number]) + sure)
            first += len(mine)
            done[row] = sorted(done[row], key=lambda w: (-w.score, w.tokens))[: max(beams, best)]
            # What is written only becomes less likely, unless a guide adds to it.
            full = len(done[row]) >= best and not known.guides
            if full and fresh and fresh[0].score < done[row][best - 1].score:
                cut = len(fresh)
                del kept_rows[-cut:], kept_last[-cut:], from_row[-cut:], sums[-cut:]
                fresh = []
            texts[row] = fresh
        chosen = torch.tensor(from_row, dtype=torch.int64)
        rows, last = (
            torch.tensor(kept_rows, dtype=torch.int64),
            torch.tensor(kept_last, dtype=torch.int64),
        )
        by_decoder = torch.tensor(sums)
        if len(rows):
            cache.select(chosen.to(cache.lengths.device))
            if ctc is not None and heard is not None and ctc_weight:
                device = heard.last.device
                picked = heard.select(chosen.to(device))
                heard = ctc.extend(picked, last.to(device), rows.to(device))
    return [found[:best] for found in done]

"""The losses of transducers, without the scores of all frames and tokens in memory."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from headway.core.errors import UserError
from headway.speech.layers.padding import zero_beyond
from headway.speech.losses.lattice import Arc, lattice_score

Joint = Callable[[Tensor, Tensor], Tensor]
"""Scores (B, t, U + 1, V) of frames (B, t, 1, C) and what was written before (B, 1, U + 1, C')."""

# Scores that are held at once, 8 MB in float32.
HELD = 1 << 21


def transducer_loss(
    joint: Joint,
    encoded: Tensor,
    predicted: Tensor,
    targets: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    *,
    blank: int = 0,
    durations: Sequence[int] = (),
    under_normalisation: float = 0.0,
    held: int = HELD,
) -> Tensor:
    """Returns the negative log-probability of each target, summed over all alignments, (B,).

    The joint network runs over a few frames at a time, and again in the backward pass: of a frame only the
    log-probabilities of the blank and of the next token are kept, so memory is not that of the vocabulary.
    What stands beyond an item, even NaN, changes neither results nor gradients.

    Args:
        joint: Scores of the vocabulary, blank counted, for frames and what was written before; with
            ``durations`` their scores behind those of the vocabulary.
        encoded: Frames.
        predicted: What was written before each token, and before the end.
        targets: Entries of the vocabulary, right-padded.
        lengths: Real frames of each item.
        target_lengths: Real tokens of each target.
        blank: Entry that stands for nothing.
        durations: Frames that an arc may move on, the token-and-duration transducer; the usual one, whose
            blank moves one frame and whose tokens move none, if empty.
        under_normalisation: Taken from the log-probability of every entry, so that long durations, with
            fewer arcs, are preferred (the paper: 0.05). The loss is no likelihood then.
        held: Scores that may be held at once.

    Shape:
        encoded: (B, T, C). predicted: (B, U + 1, C'). targets: (B, U). lengths, target_lengths: (B,).
        Output: (B,), in float32 at least, inf for a target that no alignment gives.

    Raises:
        UserError: If shapes do not fit, a length is not within them, or durations move nothing.

    Source:
        Graves 2012, https://arxiv.org/abs/1211.3711, section 2.4; Xu et al. 2023,
        https://arxiv.org/abs/2304.06795, equations 4 to 7.
    """
    _check(encoded, predicted, targets, lengths, target_lengths, durations)
    # Zero times NaN would be NaN in the gradients.
    encoded, predicted = zero_beyond(encoded, lengths), zero_beyond(predicted, target_lengths + 1)
    weights = partial(
        _arc_weights,
        joint,
        follows=_following(targets, target_lengths),
        blank=blank,
        durations=tuple(durations),
        under_normalisation=under_normalisation,
    )
    with torch.no_grad():
        probe = joint(encoded[:1, :1, None], predicted[:1, None, :1])
    step = max(1, held // max(1, len(encoded) * predicted.shape[1] * probe.shape[-1]))
    parts = [
        checkpoint(weights, part, predicted, use_reentrant=False)
        for part in encoded.split(step, dim=1)
    ]
    arcs = transducer_arcs(durations)
    return -lattice_score(torch.cat(parts, dim=2), arcs, lengths, target_lengths)


def transducer_loss_of_scores(
    scores: Tensor,
    targets: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    *,
    blank: int = 0,
    durations: Sequence[int] = (),
    under_normalisation: float = 0.0,
) -> Tensor:
    """``transducer_loss`` of scores that are there already, (B, T, U + 1, V)."""
    _check(scores, scores[:, 0], targets, lengths, target_lengths, durations)
    scores = zero_beyond(scores, lengths)
    scores = zero_beyond(scores, target_lengths + 1, axis=2)
    weights = _arcs_of_scores(
        scores,
        _following(targets, target_lengths),
        blank=blank,
        durations=tuple(durations),
        under_normalisation=under_normalisation,
    )
    return -lattice_score(weights, transducer_arcs(durations), lengths, target_lengths)


def transducer_arcs(durations: Sequence[int] = ()) -> list[Arc]:
    """Returns what arcs move on: blanks first, then tokens."""
    if not durations:
        return [(1, 0), (0, 1)]
    return [(frames, 0) for frames in durations if frames] + [(frames, 1) for frames in durations]


def _arc_weights(
    joint: Joint,
    encoded: Tensor,
    predicted: Tensor,
    *,
    follows: Tensor,
    blank: int,
    durations: tuple[int, ...],
    under_normalisation: float,
) -> Tensor:
    return _arcs_of_scores(
        joint(encoded[:, :, None], predicted[:, None]),
        follows,
        blank=blank,
        durations=durations,
        under_normalisation=under_normalisation,
    )


def _arcs_of_scores(
    scores: Tensor,
    follows: Tensor,
    *,
    blank: int,
    durations: tuple[int, ...],
    under_normalisation: float,
) -> Tensor:
    """Returns the log-probability of each arc, (B, A, T, U + 1)."""
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()  # sums of hundreds of logarithms follow
    entries = scores[..., : scores.shape[-1] - len(durations)]
    total = entries.logsumexp(-1) + under_normalisation
    nothing = entries[..., blank] - total
    rows = follows[:, None, :, None].expand(-1, scores.shape[1], -1, 1)
    token = entries.gather(-1, rows)[..., 0] - total
    if not durations:
        return torch.stack([nothing, token], dim=1)
    lasting = scores[..., -len(durations) :].log_softmax(-1)
    arcs = [nothing + lasting[..., place] for place, frames in enumerate(durations) if frames]
    arcs += [token + lasting[..., place] for place in range(len(durations))]
    return torch.stack(arcs, dim=1)


def _following(targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Returns the token that follows each place, (B, U + 1); any where there is none, it has no arc."""
    return torch.nn.functional.pad(zero_beyond(targets.long(), target_lengths), (0, 1))


def _check(
    encoded: Tensor,
    predicted: Tensor,
    targets: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    durations: Sequence[int],
) -> None:
    batch, frames = encoded.shape[:2]
    if predicted.shape[:2] != (batch, targets.shape[1] + 1) or len(targets) != batch:
        raise UserError(
            f"encoded {tuple(encoded.shape)}, predicted {tuple(predicted.shape)} and targets "
            f"{tuple(targets.shape)} do not fit: predicted has one place more than there are targets"
        )
    different = len(set(durations)) == len(durations)
    if durations and (min(durations) < 0 or max(durations) < 1 or not different):
        raise UserError(f"durations are different numbers from 0 on, one above it, got {durations}")
    if torch.compiler.is_compiling():
        return
    if bool((lengths > frames).any()) or bool((lengths < 1).any()):
        raise UserError(f"lengths {lengths.tolist()} must be within 1 and the {frames} frames")
    if bool((target_lengths > targets.shape[1]).any()):
        raise UserError(
            f"target_lengths {target_lengths.tolist()} go beyond the {targets.shape[1]} targets"
        )

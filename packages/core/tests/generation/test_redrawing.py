"""Rejection sampling: what is refused is drawn again, and nothing else."""

import torch

from headway.core.generation import Generated, redraw


def drawn(numbers: list[int], width: int) -> Generated:
    rows = len(numbers)
    tokens = torch.tensor(numbers)[:, None].expand(rows, width).contiguous()
    lengths = torch.full((rows,), width)
    return Generated(tokens, lengths, tokens * 0.5, torch.ones(rows, dtype=torch.bool))


def test_refused_places_are_drawn_again_until_accepted() -> None:
    asked: list[list[int]] = []

    def draw(places: torch.Tensor) -> Generated:
        asked.append(places.tolist())
        # The second round is wider, the third narrower than what is there.
        return drawn(
            [10 * len(asked) + place for place in places.tolist()], [2, 4, 1][len(asked) - 1]
        )

    refused = [{11, 13}, {23}, set()]
    result = redraw(
        draw,
        lambda found: [
            number not in refused[len(asked) - 1] for number in found.tokens[:, 0].tolist()
        ],
        4,
    )
    assert asked == [[0, 1, 2, 3], [1, 3], [3]]
    assert result.found.tokens[:, 0].tolist() == [10, 21, 12, 33]
    assert result.found.lengths.tolist() == [2, 4, 2, 1]
    assert result.found.log_likelihoods.tolist() == [10.0, 42.0, 12.0, 16.5]
    assert result.accepted.all()
    assert result.draws == 7


def test_what_is_never_accepted_is_given_up() -> None:
    result = redraw(
        lambda places: drawn(places.tolist(), 1),
        lambda found: [n > 0 for n in found.lengths * 0],
        2,
        most=3,
    )
    assert result.draws == 6
    assert not result.accepted.any()


def test_the_accepted_keep_their_distribution() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(places: torch.Tensor) -> Generated:
        return drawn(torch.randint(0, 4, (len(places),), generator=generator).tolist(), 1)

    result = redraw(draw, lambda found: [n != 0 for n in found.tokens[:, 0].tolist()], 6000)
    shares = torch.bincount(result.found.tokens[:, 0], minlength=4) / 6000
    assert (shares - torch.tensor([0.0, 1, 1, 1]) / 3).abs().max() < 0.025

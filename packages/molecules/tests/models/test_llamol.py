"""LLamol: what it is told moves what it writes, and only because it is told."""

import math

import torch

from headway.core.language import SPECIALS, StochasticContext
from headway.molecules.metrics import deviations, has_fragment, measure
from headway.molecules.models import LLamol
from headway.molecules.notation import SmilesTokenizer
from headway.molecules.properties import PROPERTIES

TOKENIZER = SmilesTokenizer(vocabulary=(*SPECIALS, "C", "O", "N"))
LENGTH, ROWS = 8, 256


def chains(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns chains of eight atoms of three kinds, the share of each kind drawn anew, and how many are O and N."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, 3, generator=generator) + 0.05
    atoms = 3 + torch.multinomial(share, LENGTH, replacement=True, generator=generator)
    edge = torch.ones(count, 1, dtype=torch.int64)
    counts = torch.stack([(atoms == 4).sum(1), (atoms == 5).sum(1)], dim=1)
    return torch.cat([edge, atoms, 2 * edge], dim=1), counts.float()


def trained(context: StochasticContext, seed: int = 0) -> LLamol:
    torch.manual_seed(seed)
    model = LLamol(
        tokenizer=TOKENIZER,
        properties=("O", "N"),
        dim=32,
        depth=2,
        heads=2,
        max_length=LENGTH + 2,
        max_fragment=3,
    )
    tokens, counts = chains(20_000, seed + 1)
    model.prefix.fit(counts)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(180):
        rows = slice(64 * step, 64 * step + 64)
        lengths = torch.full((64,), LENGTH + 2)
        told = context(counts[rows], tokens[rows], lengths, max_fragment=3)
        loss = -model.score(tokens[rows], **told).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def written(model: LLamol, values: torch.Tensor, fragments: list[str | None]) -> list[str]:
    rows = [
        {name: float(x) for name, x in zip("ON", row, strict=True) if not math.isnan(x)}
        for row in values.tolist()
    ]
    found = model.generate(
        [[1]] * len(rows),
        generator=torch.Generator().manual_seed(5),
        **model.conditions(rows, fragments),
    )
    return [TOKENIZER.decode(row) for row in found.tokens.tolist()]


def missed(texts: list[str], wanted: torch.Tensor) -> torch.Tensor:
    """Returns how far the numbers of O and N are from those wanted, on average."""
    got = torch.tensor([[text.count("O"), text.count("N")] for text in texts])
    return (got - wanted).abs().nanmean(dim=0)


def test_conditions_move_the_properties_in_any_subset_and_a_plain_decoder_knows_none() -> None:
    """The official code was not run: its licence does not allow it. Measured over five
    seeds: deviations 0.20 to 0.53 of those of the plain decoder, the piece in 29 to 43 % against 0 to 2 %."""
    told, plain = trained(StochasticContext()), trained(StochasticContext(fragment=0, told=0))
    _, wanted = chains(ROWS, 99)
    nothing = torch.full_like(wanted, math.nan)
    one = torch.stack([wanted[:, 0], nothing[:, 1]], dim=1)
    free: list[str | None] = [None] * ROWS
    both, only = (
        missed(written(told, wanted, free), wanted),
        missed(written(told, one, free), wanted),
    )
    without = missed(written(plain, wanted, free), wanted)
    assert bool((both < 0.7 * without).all()), (both, without)
    assert only[0] < 0.7 * without[0], (only, without)
    hits = {
        name: sum("NON" in text for text in written(model, nothing, ["NON"] * ROWS)) / ROWS
        for name, model in (("told", told), ("plain", plain))
    }
    assert hits["told"] > hits["plain"] + 0.15, hits


def test_what_came_is_measured_on_the_molecule() -> None:
    texts = measure(["CCO", "c1ccccc1C", "C1C"]).canonical
    far = deviations(texts, "weight", [46.0, math.nan, 3.0])
    assert far is not None
    assert abs(far - abs(46.069 - 46)) < 1e-3
    assert deviations(texts, "cost", [1.0] * 3) is None
    assert deviations([None], "weight", [1.0]) is None
    assert "logP" in PROPERTIES
    assert has_fragment("c1ccccc1C", "c1ccccc1")
    assert not has_fragment("CCO", "c1ccccc1")
    assert not has_fragment(None, "C")

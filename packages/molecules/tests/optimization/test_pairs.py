"""Pair-tuning: a frozen decoder, steered by a few vectors, writes what is better."""

import copy
import random
from pathlib import Path

import pytest
import torch

from headway.core.errors import UserError
from headway.core.language import GPT2, SPECIALS
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.models import Llama
from headway.molecules.notation import SmilesTokenizer
from headway.molecules.optimization import PairTuned, PairTuning, Run, mine_pairs
from headway.molecules.scoring import Function


def chain(share: float, source: random.Random) -> str:
    return "".join("N" if source.random() < share else "C" for _ in range(8))


def nitrogens(texts: list[str]) -> float:
    """Returns the mean number of nitrogens of a chain."""
    return sum(text.count("N") for text in texts) / len(texts)


def tuned_on(model: Llama, shares: tuple[float, float], seed: int = 0) -> PairTuned:
    """Returns vectors tuned on pairs of chains with these shares of nitrogen."""
    torch.manual_seed(seed)
    tuned = PairTuned(copy.deepcopy(model), prompts=8)
    source = random.Random(seed)
    adam = torch.optim.Adam([tuned.vectors], lr=3e-2)
    for _ in range(120):
        pairs = [(chain(shares[0], source), chain(shares[1], source)) for _ in range(32)]
        loss = tuned.loss(pairs)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return tuned


def test_vectors_tuned_on_pairs_let_a_frozen_model_write_better(
    taught: Llama,
) -> None:
    found = taught.generate([[1]] * 100, generator=torch.Generator().manual_seed(1))
    plain = nitrogens([taught.tokenizer.decode(row) for row in found.tokens.tolist()])
    source = random.Random(0)
    sources = [chain(0.25, source) for _ in range(100)]

    def written(tuned: PairTuned) -> float:
        return nitrogens(tuned.rewrite(sources, generator=torch.Generator().manual_seed(1))[0])

    better, swapped = tuned_on(taught, (0.25, 0.75)), tuned_on(taught, (0.75, 0.25))
    assert written(better) > plain + 0.4
    assert written(better) > written(swapped) + 0.8
    frozen = taught.state_dict()
    for name, tensor in better.model.state_dict().items():
        if name != "embedding.new":
            known = name.replace("embedding.known", "embedding")
            torch.testing.assert_close(tensor, frozen[known], rtol=0, atol=0)


def test_only_the_second_texts_count(taught: Llama) -> None:
    tuned = PairTuned(copy.deepcopy(taught), prompts=2)
    pairs = [("CCN", "CN"), ("C", "NNCC")]
    alone = [tuned.loss([pair]) for pair in pairs]
    # CN and its end are 3 tokens, NNCC and its end 5.
    torch.testing.assert_close(tuned.loss(pairs), (3 * alone[0] + 5 * alone[1]) / 8)
    numbers = tuned.prompt("CCN")
    assert numbers == [5, 6, 1, 3, 3, 4, 7]
    logits = tuned.model(torch.tensor([[*numbers, 3, 4, 2]]))[0, 6:9].log_softmax(dim=-1)
    assert logits.shape[1] == 5  # the vectors are no tokens that could be written
    expected = -(logits[0, 3] + logits[1, 4] + logits[2, 2]) / 3
    torch.testing.assert_close(alone[0], expected)


def test_what_was_tuned_comes_back(taught: Llama, tmp_path: Path) -> None:
    tuned = PairTuned(copy.deepcopy(taught), prompts=3)
    save_pretrained(tuned, tmp_path)
    again = from_pretrained(tmp_path)
    assert isinstance(again, PairTuned)
    texts = [tuned.rewrite(["CCN"] * 5, generator=torch.Generator().manual_seed(0))[0]]
    texts += [again.rewrite(["CCN"] * 5, generator=torch.Generator().manual_seed(0))[0]]
    assert texts[0] == texts[1]


def test_a_decoder_with_learned_positions_needs_enough_of_them() -> None:
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, "C", "N"))
    with pytest.raises(UserError, match="set_max_length"):
        PairTuned(GPT2(tokenizer=tokenizer, dim=8, depth=1, heads=1, max_length=20), prompts=2)


def test_pairs_are_alike_and_the_second_is_better() -> None:
    smiles = ["CCCCCO", "CCCCCCO", "c1ccccc1", "CCCCCCCO"]
    assert mine_pairs(smiles, [0.1, 0.5, 0.9, 0.45], similarity=0.5, gap=0.1) == [
        ("CCCCCO", "CCCCCCO"),
        ("CCCCCO", "CCCCCCCO"),
    ]
    assert mine_pairs(smiles, [0.5] * 4, similarity=0.0, gap=0.0) == []
    assert mine_pairs(["C"], [0.5]) == []


def test_a_run_goes_on_as_if_it_had_not_been_broken_off(taught: Llama, tmp_path: Path) -> None:
    scorer = Function(lambda smiles: [text.count("N") / 12 for text in smiles])

    def make() -> PairTuning:
        return PairTuning(
            taught, start=["CCCN", "c1ccccc1"], batch_size=16, pairs=8, first=5, pool=40, seed=1
        )

    whole = Run(make(), scorer, 1000, folder=tmp_path / "whole")
    whole.go(steps=6)
    Run(make(), scorer, 1000, folder=tmp_path / "broken").go(steps=3)
    again = Run(make(), scorer, 1000, folder=tmp_path / "broken", resume=True)
    again.go(steps=3)
    tables = [(tmp_path / name / "molecules.csv").read_text() for name in ("whole", "broken")]
    assert tables[0] == tables[1]
    assert isinstance(whole.optimizer, PairTuning)
    assert whole.optimizer.tuned_before
    assert "c1ccccc1" in whole.oracle.scores  # scored, though the model cannot read it

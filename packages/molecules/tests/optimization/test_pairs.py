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


def share_of_nitrogen(texts: list[str]) -> float:
    return sum(text.count("N") for text in texts) / sum(map(len, texts))


def test_vectors_tuned_on_pairs_let_a_frozen_model_write_better(taught: Llama) -> None:
    torch.manual_seed(0)
    tuned = PairTuned(copy.deepcopy(taught), prompts=8)
    frozen = {name: tensor.clone() for name, tensor in tuned.state_dict().items()}
    source = random.Random(0)
    sources = [chain(0.25, source) for _ in range(100)]
    adam = torch.optim.Adam([tuned.vectors], lr=3e-2)

    def written() -> float:
        texts, _ = tuned.rewrite(sources, generator=torch.Generator().manual_seed(1))
        return share_of_nitrogen([text for text in texts if text])

    before = written()
    for _ in range(80):
        loss = tuned.loss([(chain(0.25, source), chain(0.75, source)) for _ in range(32)])
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert before < 0.5
    assert written() > before + 0.15
    changed = [name for name, x in tuned.state_dict().items() if not torch.equal(x, frozen[name])]
    assert changed == ["model.embedding.new"]


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
            taught, start=["CCCN", "c1ccccc1"], batch_size=16, pairs=8, pool=40, seed=1
        )

    whole = Run(make(), scorer, 1000, folder=tmp_path / "whole")
    whole.go(steps=6)
    Run(make(), scorer, 1000, folder=tmp_path / "broken").go(steps=3)
    again = Run(make(), scorer, 1000, folder=tmp_path / "broken", resume=True)
    again.go(steps=3)
    tables = [(tmp_path / name / "molecules.csv").read_text() for name in ("whole", "broken")]
    assert tables[0] == tables[1]
    assert "c1ccccc1" in whole.oracle.scores  # scored, though the model cannot read it

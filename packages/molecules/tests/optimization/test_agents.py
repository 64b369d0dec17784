"""Language models that learn to write what scores well: REINVENT and PPO, and what they share."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from headway.core.errors import UserError
from headway.core.language import LanguageModel
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.models import Llama
from headway.molecules.optimization import (
    PPO,
    LearningAgent,
    Memory,
    Reinvent,
    Run,
    ScaffoldBuckets,
    running,
)
from headway.molecules.optimization.memory import Remembered
from headway.molecules.optimization.ppo import advantages_of
from headway.molecules.scoring import Function, Oracle, Scorer


def nitrogen(smiles: Sequence[str]) -> list[float]:
    return [text.count("N") / 12 for text in smiles]


def written(model: LanguageModel, count: int = 200) -> list[str]:
    found = model.generate([[1]] * count, generator=torch.Generator().manual_seed(7))
    return [model.tokenizer.decode(row) for row in found.tokens.tolist()]


def mean(model: LanguageModel, scorer: Scorer) -> float:
    return sum(scorer.score(written(model)).values) / 200


def after(optimizer: LearningAgent, scorer: Scorer, steps: int) -> float:
    Run(optimizer, scorer, 10**6).go(steps=steps)
    return mean(optimizer.agent, scorer)


def test_reinvent_learns_from_the_score_and_stays_where_it_is_without(taught: Llama) -> None:
    scorer = Function(nitrogen)
    before = mean(taught, scorer)
    with_score = after(Reinvent(taught, sigma=20, batch_size=32, lr=3e-3), scorer, 40)
    without = after(Reinvent(taught, sigma=0, batch_size=32, lr=3e-3), scorer, 25)
    assert before < 0.25
    assert with_score > before + 0.12
    assert abs(without - before) < 0.05


def test_ppo_learns_from_the_score_and_a_penalty_holds_it_back(taught: Llama) -> None:
    scorer = Function(nitrogen)
    before = mean(taught, scorer)
    free = after(PPO(taught, penalty=0.0, batch_size=32, lr=3e-3), scorer, 25)
    held = after(PPO(taught, penalty=10.0, batch_size=32, lr=3e-3), scorer, 25)
    assert free > before + 0.2
    assert held < free - 0.15


def test_the_loss_is_the_squared_distance_from_the_augmented_likelihood(taught: Llama) -> None:
    optimizer = Reinvent(taught, sigma=3, batch_size=4)
    seen: list[float] = []
    optimizer.take_step = lambda loss: seen.append(float(loss))  # pyright: ignore
    proposal = optimizer.ask()
    answers = Oracle(Function(nitrogen), 10)(proposal.smiles)
    optimizer.tell(answers)
    # The agent still is the prior: sigma times the score is all that is missing.
    assert seen == [pytest.approx(sum((3 * one.score) ** 2 for one in answers) / len(answers))]
    assert proposal.nll is not None
    tokens = torch.tensor([taught.tokenizer.encode(text) for text in proposal.smiles])
    assert proposal.nll == pytest.approx((-taught.score(tokens).sum(dim=1)).tolist(), abs=1e-4)


@pytest.mark.parametrize("kind", ["reinvent", "ppo"])
def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not_been(
    kind: str, taught: Llama, tmp_path: Path
) -> None:
    def make() -> LearningAgent:
        buckets = ScaffoldBuckets(size=3, least=0.1)
        if kind == "ppo":
            return PPO(taught, batch_size=16, buckets=buckets, seed=3)
        return Reinvent(taught, batch_size=16, buckets=buckets, memory=Memory(count=4), seed=3)

    def table(folder: Path) -> list[str]:
        return (folder / "molecules.csv").read_text().splitlines()

    scorer, facts = Function(nitrogen), {"seed": 3}
    whole = Run(make(), scorer, 1000, folder=tmp_path / "whole", facts=facts)
    whole.go(steps=6)
    broken = Run(make(), scorer, 1000, folder=tmp_path / "broken", facts=facts)
    broken.go(steps=3)
    lost = broken.optimizer.ask()  # written after the last state, and lost
    assert broken.history is not None
    broken.history.add(3, lost, broken.oracle(lost.smiles))
    again = Run(make(), scorer, 1000, folder=tmp_path / "broken", resume=True, facts=facts)
    again.go(steps=3)
    assert table(tmp_path / "broken") == table(tmp_path / "whole")
    assert again.oracle.scores == whole.oracle.scores
    one, other = again.optimizer, whole.optimizer
    assert isinstance(one, LearningAgent)
    assert isinstance(other, LearningAgent)
    for name, tensor in one.agent.state_dict().items():
        torch.testing.assert_close(tensor, other.agent.state_dict()[name], rtol=0, atol=0)
    with pytest.raises(UserError, match="another run: seed 3, not 4"):
        Run(make(), scorer, 1000, folder=tmp_path / "broken", resume=True, facts={"seed": 4})
    with pytest.raises(UserError, match="nothing to go on with"):
        Run(make(), scorer, 1000, folder=tmp_path / "none", resume=True)


def test_the_table_has_every_molecule_and_the_budget_ends_the_run(
    taught: Llama, tmp_path: Path
) -> None:
    run = Run(Reinvent(taught, batch_size=16), Function(nitrogen), 40, folder=tmp_path)
    costs: list[int] = []
    run.go(progress=costs.append)
    rows = list(csv.DictReader((tmp_path / "molecules.csv").open()))
    assert run.oracle.calls == sum(costs) == sum(row["new"] == "1" for row in rows) == 40
    calls = [int(row["call"]) for row in rows if row["new"] == "1"]
    assert calls == list(range(1, 41))
    scored = {row["canonical_smiles"]: float(row["score"]) for row in rows if row["call"]}
    assert scored == run.oracle.scores
    assert all(float(row["nll"]) > 0 for row in rows)


def test_a_run_that_has_settled_ends_if_asked(taught: Llama, monkeypatch) -> None:
    monkeypatch.setattr(running, "EARLY", 20)
    monkeypatch.setattr(running, "BEST", 3)
    flat = Function(lambda smiles: [0.5] * len(smiles))
    run = Run(Reinvent(taught, batch_size=16), flat, 200, settled=2)
    run.go()
    assert 20 < run.oracle.calls < 100
    assert run.still == 2
    with pytest.raises(UserError, match="settled is 0"):
        Run(Reinvent(taught), flat, 200, settled=0)


def test_it_ends_where_nothing_new_comes(taught: Llama) -> None:
    class Stuck(Reinvent):
        def ask(self):
            found = super().ask()
            return found._replace(smiles=["CC"] * len(found.smiles))

    run = Run(Stuck(taught, batch_size=4, lr=1e-9), Function(nitrogen), 40)
    run.go()
    assert run.oracle.calls == 1
    assert not run.oracle.spent


def test_a_tuned_agent_is_a_model_like_any_other(taught: Llama, tmp_path: Path) -> None:
    optimizer = Reinvent(taught, batch_size=8)
    Run(optimizer, Function(nitrogen), 100).go(steps=2)
    save_pretrained(optimizer.agent, tmp_path)
    loaded = from_pretrained(tmp_path)
    assert isinstance(loaded, LanguageModel)
    assert written(loaded, 20) == written(optimizer.agent, 20)
    assert optimizer.prior is taught


def test_buckets_of_scaffolds_fill_up() -> None:
    buckets = ScaffoldBuckets(size=2, least=0.4)
    benzenes = ["Cc1ccccc1", "CCc1ccccc1", "CCCc1ccccc1", "CC1CCCCC1"]
    assert [buckets.reward(text, 0.8) for text in benzenes] == [0.8, 0.8, 0.0, 0.8]
    assert buckets.reward("Cc1ccccc1", 0.8) == 0.0  # it was there before
    assert buckets.reward("Oc1ccccc1", 0.3) == 0.3  # not worth counting
    with pytest.raises(UserError, match="size is 0"):
        ScaffoldBuckets(size=0)


def test_the_memory_keeps_the_best_different_ones() -> None:
    memory = Memory(size=2, count=5)
    for text, score in [("C", 0.1), ("CC", 0.5), ("C", 0.9), ("CCC", 0.3), ("N", 0.0)]:
        memory.add(text, Remembered([1, 3, 2], score, -1.0))
    assert {text: one.score for text, one in memory.held.items()} == {"CC": 0.5, "CCC": 0.3}
    assert len(memory.draw(random.Random(0))) == 2


def test_advantages_are_those_of_the_formula() -> None:
    rewards, values = torch.tensor([[0.0, 1.0, 9.0]]), torch.tensor([[0.5, 0.25, 9.0]])
    real = torch.tensor([[True, True, False]])
    last = 1.0 - 0.25
    first = (0.25 - 0.5) + 0.95 * last
    found = advantages_of(rewards, values, real)
    torch.testing.assert_close(found, torch.tensor([[first, last, 0.0]]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda model: Reinvent(model, batch_size=0), "batch_size is 0"),
        (lambda model: Reinvent(model, lr=0), "lr 0"),
        (lambda model: PPO(model, clip=1.0), "clip is 1.0"),
    ],
)
def test_mistakes_are_one_line(make, said: str, taught: Llama) -> None:
    with pytest.raises(UserError, match=said):
        make(taught)

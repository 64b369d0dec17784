"""Pair-tuning as an optimiser: pairs are mined from what was scored, and the best molecules are rewritten."""

import copy
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rdkit import Chem
from torch import nn

from headway.core.errors import InputError, UserError
from headway.core.language import DecoderLanguageModel
from headway.core.module import evaluating
from headway.molecules.chemistry import molecule
from headway.molecules.metrics.moses.description import fingerprint, unpacked
from headway.molecules.metrics.moses.similarity import tanimoto
from headway.molecules.optimization.base import Optimizer, Proposal
from headway.molecules.optimization.pair_tuned import PairTuned
from headway.molecules.scoring import Answer

Pair = tuple[str, str]
# Batches that the model writes by itself before anything is tuned.
BEGUN = 3
# Of a pool, so many of the best are rewritten.
SOURCES = 100


def mine_pairs(
    smiles: Sequence[str],
    scores: Sequence[float],
    *,
    similarity: float = 0.4,
    gap: float = 0.1,
    fingerprints: Sequence[bytes] | None = None,
) -> list[Pair]:
    """Returns pairs of molecules that are alike and of which the second is better.

    Args:
        smiles: The molecules.
        scores: What each is worth.
        similarity: Least similarity of a pair (Tanimoto of Morgan fingerprints).
        gap: By how much the second must be better, at least.
        fingerprints: Packed, of the molecules; computed if None.

    Source:
        Jin et al. 2018, https://arxiv.org/abs/1812.01070, section 4, whose pairs GP-MoLFormer learns from.
    """
    if len(smiles) < 2:
        return []
    if fingerprints is None:
        fingerprints = [_fingerprint(text) for text in smiles]
    bits = torch.from_numpy(unpacked(fingerprints)).float()
    values = torch.tensor(scores, dtype=torch.float64)
    fitting = (tanimoto(bits, bits) >= similarity) & (values[None] >= values[:, None] + gap)
    fitting &= values[None] > values[:, None]
    texts = list(smiles)
    return [(texts[one], texts[other]) for one, other in fitting.nonzero().tolist()]


class PairTuning(Optimizer):
    """Tunes a few vectors on pairs out of the best molecules so far, and rewrites the best.

    It begins with molecules that the model writes, or with given ones.

    Args:
        model: A decoder, which is not changed. A small one must have read molecules one behind another
            (``in_a_row`` of ``SmilesFile``): it writes little that is valid behind a molecule otherwise.
        start: Molecules to begin with; the model writes them if there are none.
        prompts: Vectors in front.
        batch_size: Molecules of a step.
        pairs: Of an update.
        updates: Of a step.
        first: Updates when there are pairs for the first time.
        lr: Learning rate of Adam.
        similarity: Least similarity of a pair; of a thousand drug-like molecules 0.25 leaves thousands of
            pairs, 0.4 a hundred.
        gap: By how many standard deviations of the pool the second must be better.
        pool: So many of the best molecules pairs are made of.
        seed: Of all that is drawn.

    Raises:
        UserError: If a count is below 1.

    Source:
        Ross et al. 2024, https://arxiv.org/abs/2405.04912 (GP-MoLFormer). Theirs are pairs of a data set,
        tuned on once; mining them anew from what was just scored is ours.
    """

    def __init__(
        self,
        model: DecoderLanguageModel,
        *,
        start: Sequence[str] = (),
        prompts: int = 20,
        batch_size: int = 128,
        pairs: int = 32,
        updates: int = 4,
        first: int = 100,
        lr: float = 1e-2,
        similarity: float = 0.25,
        gap: float = 0.5,
        pool: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if min(batch_size, pairs, updates, pool) < 1:
            raise UserError("batch_size, pairs, updates and pool must be at least 1")
        if not isinstance(model, DecoderLanguageModel):
            raise UserError(f"pair-tuning takes a decoder; this is a {type(model).__name__}")
        self.model, self.start = model.eval(), list(start)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.tuned = PairTuned(copy.deepcopy(model), prompts=prompts)
        self.adam = torch.optim.Adam([self.tuned.vectors], lr=lr)
        self.batch_size, self.pairs = batch_size, pairs
        self.updates, self.first, self.tuned_before = updates, first, False
        self.similarity, self.gap, self.size = similarity, gap, pool
        self.pool: dict[str, float] = {}
        self._prints: dict[str, bytes] = {}

    @property
    def tuned_model(self) -> nn.Module:
        """The model that has learned to write."""
        return self.tuned

    def ask(self) -> Proposal:
        """Rewrites some of the best; in the first steps writes molecules, or gives those to begin with."""
        first = self.step * self.batch_size
        if first < len(self.start):
            return Proposal(self.start[first : first + self.batch_size])
        generator = torch.Generator().manual_seed(self.seed * 2**20 + self.step)
        if not self.tuned_before:
            tokenizer = self.model.tokenizer
            prompts = [tokenizer.prompt("")] * self.batch_size
            found = self.model.generate(prompts, generator=generator)
            texts = [tokenizer.decode(row) for row in found.tokens.tolist()]
        else:
            best = sorted(self.pool, key=lambda text: -self.pool[text])[:SOURCES]
            sources = self._random("sources").choices(best, k=self.batch_size)
            with evaluating(self.tuned):
                texts, found = self.tuned.rewrite(sources, generator=generator)
        return Proposal(texts, [-gained for gained in found.log_likelihoods.tolist()])

    def learn(self, answers: Sequence[Answer]) -> None:
        """Takes the molecules into the pool, mines pairs and tunes the vectors on them."""
        for one in answers:
            if one.canonical is not None and one.new and self._fits(one.canonical):
                self.pool[one.canonical] = one.score
        if len(self.pool) > self.size:
            best = sorted(self.pool, key=lambda text: -self.pool[text])[: self.size]
            self.pool = {text: self.pool[text] for text in best}
        self._prints = {text: self._prints.get(text) or _fingerprint(text) for text in self.pool}
        scores = list(self.pool.values())
        found = mine_pairs(
            list(self.pool),
            scores,
            similarity=self.similarity,
            gap=self.gap * float(np.std(scores)) if scores else 0.0,
            fingerprints=list(self._prints.values()),
        )
        if not found or len(self.pool) < min(self.size, BEGUN * self.batch_size):
            return
        source = self._random("pairs")
        with evaluating(self.tuned):
            for _ in range(self.updates if self.tuned_before else self.first):
                loss = self.tuned.loss(source.choices(found, k=self.pairs))
                self.adam.zero_grad()
                loss.backward()
                self.adam.step()
        self.tuned_before = True

    def state_dict(self) -> dict[str, Any]:
        """Returns what is needed to go on."""
        vectors = self.tuned.vectors.detach()
        return {
            **super().state_dict(),
            "vectors": vectors,
            "adam": self.adam.state_dict(),
            "pool": dict(self.pool),
            "tuned_before": self.tuned_before,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        super().load_state_dict(state)
        with torch.no_grad():
            self.tuned.vectors.copy_(state["vectors"])
        self.adam.load_state_dict(state["adam"])
        self.pool, self.tuned_before = dict(state["pool"]), state["tuned_before"]

    def _random(self, what: str) -> random.Random:
        return random.Random(f"{what} {self.seed} {self.step}")

    def _fits(self, text: str) -> bool:
        """Whether the model can read a molecule."""
        try:
            return len(self.model.tokenizer.encode(text)) <= self.model.max_length
        except InputError:
            return False


def _fingerprint(text: str) -> bytes:
    found = molecule(text)
    return fingerprint(found if found is not None else Chem.Mol())

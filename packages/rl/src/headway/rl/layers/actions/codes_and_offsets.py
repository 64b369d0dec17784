"""Chunks of actions as choices: words of a learned vocabulary, and how far a chunk lies from its words."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.residual_quantizer import ResidualQuantizer
from headway.rl.layers.actions.continuous import ScaledActions, Scaling
from headway.rl.layers.focal import focal_loss
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Space


class CodesAndOffsets(ScaledActions):
    """Says the words of a chunk of actions, from coarse to fine, and the offset of the chunk from them.

    It learns in two stages. An autoencoder whose middle is a residual vocabulary learns chunks; after
    ``autoencoder_steps`` losses in training it is settled and never changes again. From then on the words of
    chunks, and the offsets from what the autoencoder makes of the words, are learned from features. How far
    the first stage has come lies in the checkpoint; a settled head keeps words and scaling when it is trained
    further.

    Args:
        dim: Channels of a token.
        space: A ``Box``, or how many numbers.
        horizon: Actions of a chunk; of chunks of one it is a head of any decision model.
        words: Size of each vocabulary.
        levels: How many vocabularies, each for what the ones before leave over.
        code_dim: Numbers of a word.
        hidden_dim: Width of the autoencoder.
        autoencoder_steps: Losses of the first stage.
        commitment: Weight of the distance of chunks from their words in it.
        focus: Exponent of the focal loss of the words.
        code_weights: Weight of the loss of each level.
        offset_weight: Weight of the absolute error of the offset.
        temperature: What logits are divided by where words are drawn.
        sequential: Whether a level knows the words of the levels before it; all are said at once if not.
        scaling: By ``bounds`` or by ``statistics``.

    Shape:
        features: (..., dim). Chunks: (..., horizon, *shape).

    Raises:
        UserError: If a size, a weight or the temperature is too small, or weights and levels are not as many.

    Source:
        Lee et al. 2024 (VQ-BeT), https://arxiv.org/abs/2403.03181, sections 3.2 and 3.3.
    """

    updates: Tensor
    settled: Tensor

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        horizon: int = 1,
        words: int = 16,
        levels: int = 2,
        code_dim: int = 64,
        hidden_dim: int = 128,
        autoencoder_steps: int = 1000,
        commitment: float = 5.0,
        focus: float = 2.0,
        code_weights: Sequence[float] = (5.0, 0.5),
        offset_weight: float = 10.0,
        temperature: float = 0.1,
        sequential: bool = False,
        scaling: Scaling = "bounds",
    ) -> None:
        super().__init__(dim, space, scaling=scaling)
        if min(horizon, autoencoder_steps) < 1 or temperature <= 0:
            raise UserError(
                f"horizon is {horizon}, autoencoder_steps {autoencoder_steps} and temperature {temperature}; "
                "at least 1, at least 1 and more than 0 are needed"
            )
        if len(code_weights) != levels or min(*code_weights, commitment, focus, offset_weight) < 0:
            raise UserError(
                f"code_weights are {list(code_weights)} for {levels} levels, commitment {commitment}, focus "
                f"{focus} and offset_weight {offset_weight}; one weight for each level, none below 0"
            )
        self.horizon, self.words, self.levels = horizon, words, levels
        self.autoencoder_steps, self.commitment = autoencoder_steps, commitment
        self.focus, self.code_weights, self.offset_weight = (
            focus,
            tuple(code_weights),
            offset_weight,
        )
        self.temperature, self.sequential = temperature, sequential
        size = horizon * self.action_dim
        self.encoder = _layers(size, hidden_dim, code_dim)
        self.quantizer = ResidualQuantizer(code_dim, words=words, levels=levels)
        self.decoder = _layers(code_dim, hidden_dim, size)
        self.embedding = nn.Linear(self.action_dim, dim) if horizon == 1 else None
        sizes = [words] * levels if sequential else [levels * words]
        self.heads = nn.ModuleList(
            nn.Linear(dim + level * words, out) for level, out in enumerate(sizes)
        )
        self.offset = nn.Linear(dim, levels * words * size)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))

    def prepare(self, actions: Tensor) -> None:
        """Takes the scaling, unless the vocabulary is settled."""
        if not bool(self.settled):
            super().prepare(actions)

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens of single actions.

        Raises:
            UserError: If it says longer chunks.
        """
        if self.embedding is None:
            raise UserError(
                f"CodesAndOffsets says chunks of {self.horizon} actions and embeds none; give it a horizon "
                "of 1 or a model that reads no actions"
            )
        return self.embedding(self.scaled(actions))

    def codes(self, chunks: Tensor) -> Tensor:
        """Returns the words of chunks, (..., levels)."""
        return self.quantizer.codes(self.encoder(self.scaled(chunks).flatten(-2)))

    def decode(self, codes: Tensor) -> Tensor:
        """Returns the scaled chunks of words, (..., horizon, action_dim)."""
        return self._chunks(self.decoder(self.quantizer.vectors(codes)))

    def logits(self, features: Tensor, level: int, codes: Tensor) -> Tensor:
        """Returns the logits of the words of a level, (..., words).

        Args:
            features: (..., dim).
            level: Which.
            codes: Words of the levels before it, (..., level or more).
        """
        if not self.sequential:
            return self.heads[0](features).unflatten(-1, (self.levels, self.words))[..., level, :]
        before = F.one_hot(codes[..., :level], self.words).flatten(-2).to(features)
        return self.heads[level](torch.cat([features, before], dim=-1))

    def chunk_losses(self, features: Tensor, chunks: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Returns the loss of the present stage, and its parts; of both stages in evaluation.

        Args:
            features: (N, dim).
            chunks: What was done, (N, horizon, *shape); the last action stands where there were no more.
            mask: Which actions are real, (N, horizon).
        """
        found: dict[str, Tensor] = {}
        settled = bool(self.settled)
        if not (self.training and settled):
            found |= self._autoencoder_losses(chunks, mask)
        if settled or not self.training:
            found |= self._choice_losses(features, chunks, mask)
        elif torch.is_grad_enabled():
            self.updates += 1
            self.settled.copy_(self.updates >= self.autoencoder_steps)
        weighted = [found[name] * weight for name, weight in self._weights.items() if name in found]
        return {"loss": torch.stack(weighted).sum(), **found}

    @property
    def _weights(self) -> dict[str, float]:
        levels = {f"code_{n}": weight for n, weight in enumerate(self.code_weights, start=1)}
        own = {"reconstruction": 1.0, "commitment": self.commitment, "offset": self.offset_weight}
        return own | levels

    def _autoencoder_losses(self, chunks: Tensor, mask: Tensor) -> dict[str, Tensor]:
        scaled = self.scaled(chunks)
        found = self.quantizer(self.encoder(scaled.flatten(-2)))
        error = (self._chunks(self.decoder(found.vectors)) - scaled).abs()
        # The vocabulary weighs its loss itself, for models that add it up as it is.
        weight = self.quantizer.layers[0].commitment
        return {"reconstruction": _mean(error, mask), "commitment": found.loss / weight}

    def _choice_losses(self, features: Tensor, chunks: Tensor, mask: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            codes = self.codes(chunks)
            decoded = self.decode(codes)
        losses = {
            f"code_{level + 1}": focal_loss(
                self.logits(features, level, codes), codes[..., level], self.focus
            ).mean()
            for level in range(self.levels)
        }
        error = (decoded + self._offsets(features, codes) - self.scaled(chunks)).abs()
        return {**losses, "offset": _mean(error, mask)}

    def generate(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns chunks, (..., horizon, *shape): of the likeliest words, or of words that are drawn.

        Args:
            features: (..., dim), where words are drawn (B, dim).
            streams: Randomness of each row; the likeliest words if None.
        """
        codes = torch.zeros(*features.shape[:-1], 0, dtype=torch.int64, device=features.device)
        for level in range(self.levels):
            logits = self.logits(features, level, codes)
            if streams is None:
                word = logits.argmax(dim=-1)
            else:
                word = streams.choose((logits / self.temperature).softmax(dim=-1))
            codes = torch.cat([codes, word[..., None]], dim=-1)
        return self.unscaled(self.decode(codes) + self._offsets(features, codes))

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the mean loss of the real steps, for each step, (B, T)."""
        actions = batch["actions"]
        mask = batch.get("mask")
        mask = torch.ones_like(features[..., 0], dtype=torch.bool) if mask is None else mask
        chunks = actions[mask][:, None]
        single = torch.ones_like(chunks.flatten(2)[..., 0], dtype=torch.bool)
        return self.chunk_losses(features[mask], chunks, single)["loss"].expand(mask.shape)

    def predict(self, features: Tensor) -> Tensor:
        """Returns the first actions of the likeliest chunks."""
        return self._first(self.generate(features), features.ndim - 1)

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the first actions of the likeliest chunks, or of chunks that are drawn."""
        return self._first(self.generate(features, streams), features.ndim - 1)

    def get_classifier(self) -> nn.Module:
        """Returns what says the words."""
        return self.heads

    @staticmethod
    def _first(chunks: Tensor, axis: int) -> Tensor:
        return chunks.select(axis, 0)

    def _chunks(self, flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (self.horizon, self.action_dim))

    def _offsets(self, features: Tensor, codes: Tensor) -> Tensor:
        """Returns the sum of the offsets of words, (..., horizon, action_dim)."""
        offsets = self.offset(features).unflatten(-1, (self.levels, self.words, -1))
        place = codes[..., None, None].expand(*codes.shape, 1, offsets.shape[-1])
        return self._chunks(offsets.gather(-2, place)[..., 0, :].sum(dim=-2))


def _layers(dim: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, out),
    )


def _mean(error: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean over the numbers of real actions."""
    return error.mean(dim=-1)[mask].mean()

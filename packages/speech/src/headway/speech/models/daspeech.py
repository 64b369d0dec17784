"""DASpeech: what is heard becomes a graph of vertices, and a voice reads these: speech to speech."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd
from headway.speech.layers.graph import graph_places
from headway.speech.layers.graph_links import GraphLinks
from headway.speech.models.da_transformer import DATransformer, emitted
from headway.speech.models.fast_speech import FastSpeech, framed
from headway.speech.models.paraformer import ParallelDecoder
from headway.speech.synthesiser import AS_LEARNED, Manner, Spoken
from headway.speech.tokenizers import Unit


@system(
    id=470,
    name="DASpeech",
    paper="https://arxiv.org/abs/2310.07403",
    claim="a voice learns from where tokens lie on all paths of a graph, and reads the same vertices later",
    test="packages/speech/tests/models/test_daspeech.py",
)
class DASpeech(DATransformer):
    """A ``DATransformer`` with a voice that speaks what is written: it reads vertices, not embeddings.

    In training each token is the mean of the vertices, weighed by how likely it is said there by all paths
    that say the text; later the vertices of the path are read. Where a batch has no answers the graph learns
    alone, as in the paper's first stage.

    Args:
        encoder: As of ``DATransformer``.
        tokenizer: As of ``DATransformer``.
        front_end: As of ``DATransformer``.
        decoder: As of ``DATransformer``.
        links: As of ``DATransformer``.
        voice: Builds the voice, ``(tokenizer=)``.
        voice_dim: Channels of a token that the voice reads, its ``dim``.
        voice_weight: Of its losses.
        scale: As of ``DATransformer``.
        glance: As of ``DATransformer``.
        lookahead: As of ``DATransformer``.

    Shape:
        inputs: (B, T, F) features or (B, T) samples. lengths: (B,), all T if None. Output: ``Graph``.

    Raises:
        UserError: If the voice has another sample rate or other channels.

    Source:
        Fang et al. 2023, https://arxiv.org/abs/2310.07403; durations are learned (AlignTTS), there an aligner
        measured them before.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
        decoder: Callable[[int], ParallelDecoder] = ParallelDecoder,
        links: Callable[[int], GraphLinks] = GraphLinks,
        voice: Callable[[], FastSpeech] = FastSpeech,
        voice_dim: int = 256,
        voice_weight: float = 5.0,
        scale: float = 0.5,
        glance: float = 0.5,
        lookahead: float = 1.0,
    ) -> None:
        super().__init__(
            encoder=encoder,
            tokenizer=tokenizer,
            front_end=front_end,
            decoder=decoder,
            links=links,
            scale=scale,
            glance=glance,
            lookahead=lookahead,
        )
        make: Any = voice
        self.voice: FastSpeech = make(tokenizer=self.tokenizer)
        self.voice_weight = voice_weight
        rate, dim = self.voice.mel.sample_rate, self.voice.embedding.embedding_dim
        if rate != self.front_end.sample_rate or dim != voice_dim:
            raise UserError(
                f"the voice has {rate} Hz and {dim} channels; give it those of the front end, "
                f"{self.front_end.sample_rate} Hz, and of voice_dim, {voice_dim}"
            )
        width = encoder.dim
        self.adapter = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, voice_dim)
        )

    @property
    def complete(self) -> bool:
        """Whether the statistics of what is heard and of what is spoken are known."""
        return super().complete and self.voice.complete

    def measure(self, recordings: Iterable[Tensor]) -> None:
        """Measures both on recordings."""
        kept = list(recordings)
        for part in (self.front_end, self.voice.front_end):
            if not part.complete:
                part.measure(kept)

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the loss of the graph, and those of the voice where there are answers."""
        graph, losses = self.taught(batch, self.encoded(batch, encoded))
        if batch.answers is None or batch.answer_lengths is None:
            return losses
        tokens, lengths = framed(self.tokenizer, batch.targets, batch.target_lengths)
        places = graph_places(emitted(graph, tokens), graph.links, lengths, graph.lengths)
        vectors = self.adapter(places.to(graph.vectors) @ graph.vectors)
        spoken = self.voice.taught(vectors, tokens, lengths, batch.answers, batch.answer_lengths)
        total = losses["loss"] + self.voice_weight * spoken.pop("loss")
        return {"loss": total, "graph": losses["loss"], **spoken}

    @torch.no_grad()
    def answer(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, manner: Manner = AS_LEARNED
    ) -> Spoken:
        """Returns the mel features of what is said in turn; ``griffin_lim`` or a vocoder makes them sound.

        Args:
            waveforms: Samples of recordings.
            lengths: Samples of each; all of them if None.
            manner: How it is spoken.

        Shape:
            waveforms: (B, S). lengths: (B,).
        """
        graph = self(*self.front_end(waveforms, lengths))
        rows = [graph.vectors[row, path] for row, path in enumerate(self.paths(graph))]
        counts = torch.tensor([len(row) for row in rows], device=waveforms.device)
        vectors = self.adapter(pad_sequence(rows, batch_first=True))
        return self.voice.say(vectors, counts, manner=manner)

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        super().set_vocabulary(vocabulary)
        self.voice.set_vocabulary(vocabulary)

    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary of characters or words."""
        super().begin_vocabulary(unit)
        self.voice.set_vocabulary(self.tokenizer.vocabulary)

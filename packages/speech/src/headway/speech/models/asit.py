"""ASiT: a spectrogram transformer learns from recordings alone: it mends them and agrees with itself."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.answers import answer
from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.systems import system
from headway.speech.audio_batch import AudioBatch
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends.group_masking import GroupMasking, Masking
from headway.speech.layers.self_distillation import Prototypes, SelfDistillation
from headway.speech.models.audio_spectrogram import AST
from headway.speech.speech_model import SpeechModel


@answer
class Mended(NamedTuple):
    """What the student says of spectrograms.

    Args:
        patches: Values of each patch, (B, patches, side * side).
        whole: What it says of the whole, (B, answers).
        each: What it says of each patch, (B, patches, local answers).
    """

    patches: Tensor
    whole: Tensor
    each: Tensor


@system(
    id=303,
    name="ASiT",
    paper="https://arxiv.org/abs/2211.13189",
    claim="a student mends hidden groups of values and agrees with its own average about each patch and the "
    "whole; it tells classes apart better than one that mended scattered patches",
    test="packages/speech/tests/models/test_asit.py",
)
class ASiT(SpeechModel):
    """An ``AST`` that is taught without classes.

    Of each recording there are two views, shifted in time. In each, groups of values are hidden, by zeros or
    by those of another recording. The student mends them. It says of each patch what the teacher, its moving
    average, says of that patch in the view as it was; and of a view what the teacher says of the other one.
    The run starts a classifier (``pretrained_classifier``).

    Args:
        classifier: The student; its classes are of no account.
        masking: What is hidden by zeros; groups if None.
        mixing: What is replaced by another recording's, in half of the recordings; smaller groups if None.
        shift: How far a view is shifted at most, as a share of the steps.
        answers: How many answers there are about the whole.
        local_answers: How many about a patch.
        hidden: Channels of the layers between tokens and answers.
        agreement: What agreement about the whole counts in the loss.
        local_agreement: What agreement about patches counts.
        mending: What mending counts.
        momentum: How much of the teacher stays at each update.

    Shape:
        inputs: (B, T, bands). Output: ``Mended``.

    Raises:
        UserError: If a share or a weight is out of range.

    Source:
        Atito et al. 2022, https://arxiv.org/abs/2211.13189, and its published training script. Different from
        it: views are shifted instead of cut out of ten seconds, the whole is the mean of both front tokens of
        the AST, temperature and momentum do not change, and a perceptron mends each patch by itself.
    """

    def __init__(
        self,
        *,
        classifier: AST,
        masking: Masking | None = None,
        mixing: Masking | None = None,
        shift: float = 0.1,
        answers: int = 8192,
        local_answers: int = 1024,
        hidden: int = 2048,
        agreement: float = 1.0,
        local_agreement: float = 1.0,
        mending: float = 2.0,
        momentum: float = 0.996,
    ) -> None:
        super().__init__(front_end=classifier.front_end)
        if not 0 <= shift < 1 or not 0 <= momentum < 1:
            raise UserError(f"shift is {shift} and momentum {momentum}; both lie from 0 to below 1")
        if min(agreement, local_agreement, mending) < 0 or agreement + mending == 0:
            raise UserError(
                f"agreement {agreement}, local_agreement {local_agreement} and mending {mending} must not be "
                "negative, and something must count"
            )
        # The front end is the classifier's, in what is written down, too.
        del self.init_args["front_end"]
        self.classifier = classifier
        self.masking = GroupMasking() if masking is None else masking
        self.mixing = GroupMasking(share=0.3) if mixing is None else mixing
        self.shift, self.momentum = shift, momentum
        self.weights = {"agreement": agreement, "local": local_agreement, "mending": mending}
        dim = classifier.front.shape[-1]
        self.side: int = classifier.embedding.kernel
        self.mend = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, self.side * self.side)
        )
        self.whole = Prototypes(dim, answers, hidden=hidden)
        self.each = Prototypes(dim, local_answers, hidden=hidden)
        init_transformer_(self.mend)
        self.whole_agreement = SelfDistillation(answers)
        self.each_agreement = SelfDistillation(local_answers)
        self.teacher = nn.ModuleDict(
            {name: copy.deepcopy(part) for name, part in self._taught().items()}
        ).requires_grad_(False)

    def _taught(self) -> dict[str, nn.Module]:
        """Returns what the teacher is an average of."""
        return {"classifier": self.classifier, "whole": self.whole, "each": self.each}

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Mended:
        """Returns what the student says."""
        x, _ = self.classifier.tokens(inputs)
        return Mended(self.mend(x[:, 2:]), self.whole(x[:, :2].mean(dim=1)), self.each(x[:, 2:]))

    @torch.no_grad()
    def follow(self) -> None:
        """Lets the teacher follow the student, behind each update."""
        for name, part in self._taught().items():
            pairs = zip(self.teacher[name].parameters(), part.parameters(), strict=True)
            for mine, new in pairs:
                mine.lerp_(new, 1 - self.momentum)

    def loss(self, batch: SpeechBatch | AudioBatch) -> dict[str, Tensor]:
        """Returns the loss, and its parts."""
        views = torch.cat([self._shifted(batch.inputs) for _ in range(2)])
        hidden, altered = self._altered(views)
        said = self(altered)
        told = self._patches(views)
        off = (said.patches - told).abs() * self._patches(hidden.to(views))
        parts = {"mending": off.sum() / self._patches(hidden.to(views)).sum().clamp_min(1)}
        teacher: Any = self.teacher
        with torch.no_grad():
            x, _ = teacher["classifier"].tokens(views)
            whole, each = teacher["whole"](x[:, :2].mean(dim=1)), teacher["each"](x[:, 2:])
        # About the whole it is asked what the teacher hears in the other view.
        parts["agreement"] = self.whole_agreement(said.whole, whole.roll(len(batch.inputs), 0))
        parts["local"] = self.each_agreement(said.each, each)
        total = sum(
            (self.weights[name] * part for name, part in parts.items()), views.new_zeros(())
        )
        return {"loss": total, **parts}

    def _shifted(self, inputs: Tensor) -> Tensor:
        """Returns copies that begin earlier or later; what is missing is taken from the nearest step."""
        steps = inputs.shape[1]
        most = int(self.shift * steps)
        moved = torch.randint(-most, most + 1, (len(inputs), 1), device=inputs.device)
        place = (torch.arange(steps, device=inputs.device) + moved).clamp(0, steps - 1)
        return inputs.gather(1, place[..., None].expand_as(inputs))

    def _altered(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what is hidden of the views, and the views without it."""
        mixed = torch.rand(len(views), 1, 1, device=views.device) < 0.5
        hidden = torch.where(mixed, self.mixing(views), self.masking(views))
        other = views[torch.randint(len(views), (len(views),), device=views.device)]
        return hidden, torch.where(hidden, torch.where(mixed, other, 0.0), views)

    def _patches(self, views: Tensor) -> Tensor:
        """Returns the values of each patch, (B, patches, side * side)."""
        maps = views.transpose(1, 2)[:, None]
        return F.unfold(maps, self.side, stride=self.classifier.embedding.patch).transpose(1, 2)

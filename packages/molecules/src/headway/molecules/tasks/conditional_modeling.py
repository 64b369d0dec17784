"""Training of a language model of molecules that is told properties and a fragment."""

import torch
from torch import Tensor

from headway.core.language import ConditionalLanguageModel, StochasticContext
from headway.core.training import Passed, TrainingOptions
from headway.molecules.data import LabelledSmiles
from headway.molecules.metrics import deviations
from headway.molecules.notation import is_molecular
from headway.molecules.tasks.growing import labelled_data
from headway.molecules.tasks.language_modeling import LanguageModeling


class ConditionalOptions(TrainingOptions, total=False):
    """What the task passes on."""

    samples: int


class ConditionalModeling(LanguageModeling):
    """Trains a model to write molecules under any of some conditions, and under none.

    ``context`` draws for each molecule what it is told; the loss is that of the molecule alone. Besides what
    ``LanguageModeling`` logs there is, after each validation, ``mad_NAME`` of each property that RDKit
    computes: the mean absolute deviation of generated molecules from what molecules of the validation set
    have, of which they were told all properties.

    The model takes mean, deviation and range of the properties from the training data, unless it has some.

    Args:
        backbone: A ``ConditionalLanguageModel``.
        context: Draws what a molecule is told; ``StochasticContext()`` if None.
        **options: As of every ``LanguageModeling``.

    Shape:
        A batch is tokens (B, T), lengths (B,) and properties (B, P), nan where one is unknown.
    """

    def __init__(
        self,
        *,
        backbone: ConditionalLanguageModel,
        context: StochasticContext | None = None,
        **options: Passed[ConditionalOptions],
    ) -> None:
        super().__init__(backbone=backbone, **options)
        self.context = context if context is not None else StochasticContext()

    @property
    def model(self) -> ConditionalLanguageModel:
        """The language model."""
        assert isinstance(self.backbone, ConditionalLanguageModel)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Lets the model grow to what the data need, and tells it how their properties are distributed.

        Raises:
            UserError: If the data have other properties than the model.
        """
        super().setup(stage)
        data = labelled_data(self, self.model.properties)
        if data is not None and not int(self.model.prefix.seen):
            self.model.prefix.fit(data.values["train"])

    def predict_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Returns the log-likelihood of each molecule under all of its properties, (B,)."""
        tokens, lengths, values = batch
        return self.model.score(tokens, lengths=lengths, values=values).sum(dim=1)

    def on_validation_epoch_end(self) -> None:
        """Generates molecules like those of the validation set and says how near they are."""
        data = getattr(self.trainer, "datamodule", None)
        if not self.samples or self.trainer.sanity_checking or not isinstance(data, LabelledSmiles):
            return
        if not is_molecular(self.model.tokenizer):
            return  # whether a line of another notation is right, nobody here can say
        model, wanted = self.model, data.values["val"]
        wanted = wanted[torch.arange(self.samples) % len(wanted)]
        found = model.generate(
            [model.tokenizer.prompt("")] * self.samples,
            generator=torch.Generator(self.device).manual_seed(0),
            values=wanted.to(self.device),
        )
        quality = self.log_quality(found)
        for name, column in zip(model.properties, wanted.T.tolist(), strict=True):
            far = deviations(quality.canonical, name, column)
            if far is not None:
                self.log(f"val_mad_{name}", far)

    def _loss(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, int]:
        tokens, lengths, values = batch
        told = self.context(values, tokens, lengths, max_fragment=self.model.max_fragment)
        count = lengths.sum() - len(lengths)
        score = self.model.score(tokens, lengths=lengths, **told)
        return -score.sum() / count, int(count)

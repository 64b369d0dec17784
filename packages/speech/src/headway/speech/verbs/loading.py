"""A trained recogniser with what its recordings must go through."""

from dataclasses import dataclass

import torch
from torch import Tensor

from headway.core.cli.device import choose_device
from headway.core.errors import UserError
from headway.core.weights.preprocessing import reading_note
from headway.speech.data.front_end import FrontEnd
from headway.speech.data.tokenizer import Tokenizer
from headway.speech.decoding import Hypothesis, greedy
from headway.speech.models import CTC, CTCOutput, pretrained


@dataclass(frozen=True, kw_only=True)
class Recogniser:
    """A model ready to transcribe.

    Args:
        model: In evaluation mode, on its device.
        front_end: What a recording goes through.
        tokenizer: What the entries of the vocabulary mean.
        device: Where the model is.
    """

    model: CTC
    front_end: FrontEnd
    tokenizer: Tokenizer
    device: torch.device

    @torch.inference_mode()
    def scores(self, inputs: Tensor, lengths: Tensor) -> CTCOutput:
        """Returns the log-probabilities of a padded batch, on the CPU."""
        output = self.model(inputs.to(self.device), lengths.to(self.device))
        return CTCOutput(output.log_probs.float().cpu(), output.lengths.cpu())

    def decode(self, output: CTCOutput) -> list[Hypothesis]:
        """Returns what was heard in each item."""
        return greedy(*output, blank=self.model.blank)

    def too_short(self, inputs: Tensor) -> bool:
        """Whether a recording does not give the model a single token."""
        return int(self.model.output_lengths(torch.tensor([len(inputs)]))) < 1


def load_recogniser(source: str, device: str | None = None) -> Recogniser:
    """Loads a run folder, a checkpoint, a directory or a hub id.

    Raises:
        UserError: If the source is no recogniser, or does not say what its vocabulary is.
    """
    model = pretrained(source)
    cfg = model.pretrained_cfg
    if "frontend" not in cfg or "tokenizer" not in cfg:
        lacking = " and ".join(name for name in ("frontend", "tokenizer") if name not in cfg)
        raise UserError(
            f"{source} does not say its {lacking}; a run folder has preprocessing.json, a Hugging Face "
            "folder vocab.json"
        )
    with reading_note("tokenizer", source):
        tokenizer = Tokenizer.from_dict(cfg["tokenizer"])
    with reading_note("frontend", source):
        front_end = FrontEnd.from_dict(cfg["frontend"])
    if len(tokenizer.tokens) != model.vocab_size:
        raise UserError(
            f"the model answers for {model.vocab_size} entries, but its vocabulary has "
            f"{len(tokenizer.tokens)}; they do not belong together"
        )
    place = choose_device(device)
    return Recogniser(
        model=model.eval().to(place),
        front_end=front_end,
        tokenizer=tokenizer,
        device=place,
    )

"""What is compiled of a model before training is what its loss calls."""

from functools import partial

import pytest
import torch
from heard import LETTERS, encoder, front_end, spoken
from torch import nn

from headway.core.language import DecoderLanguageModel
from headway.core.training.task import compiled_parts
from headway.speech.layers import JointNetwork
from headway.speech.models import CTC, CTCAttention, Paraformer, ParallelDecoder, Transducer

PARTS = {"tokenizer": LETTERS}
DECODER = partial(DecoderLanguageModel, dim=16, depth=1, heads=2, max_length=32)
MODELS = {
    "CTC": CTC,
    "Transducer": partial(Transducer, predictor_dim=8, joint=partial(JointNetwork, dim=8)),
    "CTCAttention": partial(CTCAttention, decoder=DECODER),
    "Paraformer": partial(Paraformer, decoder=partial(ParallelDecoder, depth=1, heads=2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_training_calls_what_is_compiled(name: str) -> None:
    model = MODELS[name](encoder=encoder(), front_end=front_end(), **PARTS)
    parts = compiled_parts(model)
    assert model.encoder.encoder in parts
    called: set[nn.Module] = set()
    for part in parts:
        part.register_forward_pre_hook(lambda part, _: called.add(part))
    model.loss(spoken(2, torch.Generator().manual_seed(0)))
    assert called == set(parts)

"""What is compiled of a model before training is what its loss calls, in one graph where it can be."""

from collections.abc import Callable
from functools import partial
from typing import Any

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
    whole, *parts = compiled_parts(model)
    assert whole is model
    assert model.encoder.encoder in parts
    called: set[nn.Module] = set()
    for part in parts:
        part.register_forward_pre_hook(lambda part, _: called.add(part))
    model.loss(spoken(2, torch.Generator().manual_seed(0)))
    assert called == set(parts)


def test_a_model_that_is_called_as_a_whole_is_one_graph() -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    model = CTC(encoder=encoder(), front_end=front_end(), **PARTS).eval()
    heard = spoken(2, torch.Generator().manual_seed(0))
    wanted = model(heard.inputs, heard.lengths).log_probs
    for part in compiled_parts(model):
        part.compile(backend=backend)
    found = model(heard.inputs, heard.lengths).log_probs
    torch.testing.assert_close(found, wanted)
    assert len(graphs) == 1

"""Few parameters beside a frozen spectrogram transformer: adapters, prompts, and what a convolution adds."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from models.test_audio_spectrogram import saved, tiny, tones
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import (
    AdaptedBlock,
    BottleneckAdapter,
    ConvolutionAdapter,
    PreNormBlock,
    PromptedBlock,
)
from headway.core.changes import train_new_parameters
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.finetune import HeadOnly, trainable_parameters
from headway.core.layout import Layout
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.front_ends import FixedFbank
from headway.speech.models import AST, pretrained_classifier
from headway.speech.models.wav2vec2 import LanguageBlock

CONVOLUTION = partial(ConvolutionAdapter, width=4, window=5)
BOTTLENECK = partial(BottleneckAdapter, width=4)
BLOCKS: dict[str, Any] = {
    "Houlsby": partial(AdaptedBlock, adapter=BOTTLENECK),
    "Pfeiffer": partial(AdaptedBlock, adapter=BOTTLENECK, around=("feedforward",)),
    "behind": partial(AdaptedBlock, adapter=BOTTLENECK, parallel=False),
    "convolution": partial(AdaptedBlock, adapter=CONVOLUTION),
    "prompts": partial(PromptedBlock, prompts=3),
}


def small(**options: Any) -> AST:
    """One patch has all bands: the tokens are steps of time."""
    front_end = FixedFbank(sample_rate=8000, mels=20, steps=84, mean=None, std=None)
    sizes = {"dim": 16, "depth": 2, "heads": 2, "patch": 20, "stride": 8}
    return AST(classes=("up", "down"), front_end=front_end, **{**sizes, **options})


def frozen(source: Path, block: Any) -> AST:
    """Returns a published or own model with a block, of which only what is new learns."""
    model = pretrained_classifier(str(source), block=block)
    assert isinstance(model, AST)
    HeadOnly().apply(model)
    train_new_parameters(model)
    return model


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("published", [True, False])
def test_a_model_with_adapters_begins_as_it_was(name: str, published: bool, tmp_path: Path) -> None:
    if published:
        source = saved(tiny(), tmp_path / "hf")
    else:
        source = save_pretrained(small(), tmp_path / "own")
    plain, model = pretrained_classifier(str(source)).eval(), frozen(source, BLOCKS[name]).eval()
    inputs = torch.randn(2, 60, 32) if published else torch.randn(2, 84, 20)
    same = torch.equal(plain(inputs), model(inputs))
    assert same == (name != "prompts")  # these are read from the start
    learning = {key for key, value in model.named_parameters() if value.requires_grad}
    beside = {key for key in learning if ".adapter." in key or ".prompts." in key}
    assert all(key.startswith("head.") for key in learning - beside)
    assert set(model.load_report.missing) == {key for key in model.state_dict() if key in beside or ".adapter." in key}  # pyright: ignore # fmt: skip
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key in beside:
                value.add_(0.1 * torch.randn_like(value))
    again = from_pretrained(save_pretrained(model, tmp_path / "again")).eval()
    assert torch.equal(again(inputs), model(inputs))
    assert not torch.allclose(plain(inputs), model(inputs), atol=1e-3)


def test_what_a_checkpoint_lacks_besides_is_an_error(tmp_path: Path) -> None:
    source = save_pretrained(small(), tmp_path / "own")
    with pytest.raises(UserError, match="another model: it lacks 12 of"):
        from_pretrained(source, block=partial(LanguageBlock, adapter=partial(MLP, hidden_dim=4)))


@pytest.mark.parametrize("training", [True, False])
def test_the_convolution_adapter_is_the_papers(training: bool) -> None:
    """Layer norm, pointwise to twice the width, GLU, depth-wise, batch norm, swish, pointwise."""
    torch.manual_seed(0)
    ours = ConvolutionAdapter(12, width=4, window=5)
    norm, first, second = nn.LayerNorm(12, eps=1e-6), nn.Conv1d(12, 8, 1), nn.Conv1d(4, 12, 1)
    middle = nn.Conv1d(4, 4, 5, groups=4, padding="same")
    batch = nn.BatchNorm1d(4)
    mixer = ours.mixer
    with torch.no_grad():
        for value in ours.parameters():
            value.add_(0.3 * torch.randn_like(value))
        for mine, theirs in ((mixer.expand, first), (mixer.projection, second)):
            theirs.weight.copy_(mine.weight[..., None])
            theirs.bias.copy_(mine.bias)  # pyright: ignore
        for mine, theirs in ((mixer.convolution, middle), (mixer.norm, batch), (ours.norm, norm)):
            theirs.weight.copy_(mine.weight)  # pyright: ignore
            theirs.bias.copy_(mine.bias)  # pyright: ignore
    ours.train(training)
    batch.train(training)
    x = torch.randn(3, 9, 12)
    hidden = F.glu(first(norm(x).transpose(1, 2)), dim=1)
    wanted = second(F.silu(batch(middle(hidden)))).transpose(1, 2)
    torch.testing.assert_close(ours(x), wanted, atol=1e-5, rtol=1e-5)


def test_an_adapter_reads_what_the_sublayer_reads_or_what_it_answers() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8)
    for parallel in (True, False):
        block = AdaptedBlock(8, 2, adapter=BOTTLENECK, around=("feedforward",), parallel=parallel)
        branch = block.feedforward
        nn.init.normal_(branch.adapter.up.weight)  # pyright: ignore
        read = branch.norm(x)
        answer = branch.function(read)
        told = branch.adapter(read if parallel else answer)  # pyright: ignore
        torch.testing.assert_close(branch(x)[0], x + answer + told)
    with pytest.raises(UserError, match="around is .*; name some of mixer, feedforward"):
        AdaptedBlock(8, 2, around=("cross",))


def test_prompts_are_tokens_in_front() -> None:
    torch.manual_seed(0)
    block, x = PromptedBlock(8, 2, prompts=3), torch.randn(2, 5, 8)
    tokens = torch.cat([block.mixer.prompts().expand(2, -1, -1), x], dim=1)  # pyright: ignore
    plain = PreNormBlock(8, 2)
    plain.load_state_dict(block.state_dict(), strict=False)
    wanted, _ = plain(tokens)
    found, layout = block(x, Layout(prefix=1))
    torch.testing.assert_close(found, wanted[:, 3:])
    assert layout is not None
    assert layout.prefix == 1
    with pytest.raises(UserError, match="use adapters there"):
        block(x, mask=torch.ones(5, 5, dtype=torch.bool))


@pytest.mark.parametrize("name", BLOCKS)
def test_padding_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    block = BLOCKS[name](8, 2).eval()
    with torch.no_grad():
        for value in block.parameters():
            value.add_(0.2 * torch.randn_like(value))
    x, lengths = torch.randn(2, 9, 8), torch.tensor([9, 4])
    alone, _ = block(x[1:, :4])
    x[1, 4:] = torch.nan
    both, _ = block(x, Layout(lengths=lengths))
    torch.testing.assert_close(both[1, :4], alone[0], atol=1e-5, rtol=1e-5)


def right(source: Path, block: Any, seed: int, steps: int = 60) -> tuple[float, int]:
    """Returns which share is told right after training what is new, and how many numbers that is."""
    torch.manual_seed(seed)
    model = frozen(source, block)
    chosen = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=1e-2)
    generator = torch.Generator().manual_seed(seed)

    def heard(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        sounds, label = tones(generator, count)
        return model.front_end(sounds).inputs, label

    for _ in range(steps):
        inputs, label = heard(32, generator)
        loss = F.cross_entropy(model.train()(inputs), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inputs, label = heard(300, torch.Generator().manual_seed(1000 + seed))
    with torch.no_grad():
        found = (model.eval()(inputs).argmax(dim=1) == label).float().mean().item()
    return found, trainable_parameters(model)[0]


@pytest.mark.learns
def test_a_convolution_tells_an_order_that_the_frozen_model_cannot(
    seed: int, measured, tmp_path: Path
) -> None:
    """The frozen model knows no places: bottlenecks beside it know none, either, and guess."""
    torch.manual_seed(seed)
    first = small(position=None)
    first.front_end.measure(tones(torch.Generator().manual_seed(seed), 16)[0])
    source = save_pretrained(first, tmp_path / "first")
    by_convolution, few = right(source, partial(AdaptedBlock, adapter=CONVOLUTION), seed)
    wide = partial(AdaptedBlock, adapter=partial(BottleneckAdapter, width=16))
    by_bottleneck, more = right(source, wide, seed)
    assert few < more
    measured("told by a convolution", by_convolution, above=0.85)
    measured("told by a bottleneck", by_bottleneck, below=0.65)

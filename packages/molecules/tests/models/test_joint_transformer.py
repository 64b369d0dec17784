"""The Joint Transformer: the same weights write, fill in and predict, and together they optimise."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch

from headway.core.errors import UserError
from headway.core.language import SPECIALS
from headway.core.mixers import LinearAttention, SelfAttention
from headway.core.training import AdamW
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.models import JointTransformer
from headway.molecules.notation import SmilesTokenizer
from headway.molecules.tasks import JointModeling

LENGTH = 8
TOKENIZER = SmilesTokenizer(vocabulary=(*SPECIALS, "<mask>", "C", "O"), mask=3)


def chains(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns chains of eight atoms, their lengths, and how many of each are oxygen."""
    generator = torch.Generator().manual_seed(seed)
    atoms = 4 + torch.randint(0, 2, (count, LENGTH), generator=generator)
    edge = torch.ones(count, 1, dtype=torch.int64)
    tokens = torch.cat([edge, atoms, 2 * edge], dim=1)
    return tokens, torch.full((count,), LENGTH + 2), (atoms == 5).sum(1, keepdim=True).float()


def build(**options) -> JointTransformer:
    return JointTransformer(
        tokenizer=TOKENIZER,
        properties=("oxygens",),
        dim=32,
        depth=2,
        heads=2,
        max_length=LENGTH + 2,
        **options,
    )


def trained(seed: int = 0, *, lifted: bool = True) -> JointTransformer:
    torch.manual_seed(seed)
    model = build()
    if not lifted:
        model.reading = nullcontext  # pyright: ignore[reportAttributeAccessIssue]
    task = JointModeling(backbone=model, optimizer=AdamW(lr=3e-3))
    data = chains(64 * 120, seed + 1)
    model.fit_statistics(data[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(120):
        loss = task.joint_loss(tuple(part[64 * step : 64 * step + 64] for part in data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def wrong(model: JointTransformer) -> float:
    """Returns the mean absolute error of the predicted number of oxygens."""
    tokens, lengths, counts = chains(256, 55)
    with torch.no_grad():
        return float((model.predict(tokens, lengths=lengths) - counts).abs().mean())


def oxygens(model: JointTransformer, tries: int) -> float:
    """Returns how many oxygens proposed chains have."""
    found = model.propose(40, tries=tries, generator=torch.Generator().manual_seed(0))
    return float((found.tokens == 5).sum(1).float().mean())


def test_what_it_writes_and_expects_to_be_good_is_good_if_it_reads_with_the_mask_lifted() -> None:
    """The official code was not run. A stack that reads causally has nothing to predict from.

    Over five seeds errors are 0.05 to 0.36 against 1.1; the best of ten have 1.3 to 2.9 oxygens more than
    what is written, against 0.04.
    """
    joint, causal = trained(), trained(lifted=False)
    assert wrong(joint) < 0.7 * wrong(causal), (wrong(joint), wrong(causal))
    gains = {
        name: oxygens(model, 10) - oxygens(model, 1)
        for name, model in (("joint", joint), ("causal", causal))
    }
    assert gains["joint"] > gains["causal"] + 0.7, gains


def test_reading_sees_all_and_writing_what_came_before_with_the_same_weights(tmp_path) -> None:
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    tokens, lengths, _ = chains(3, 1)
    other = tokens.clone()
    other[:, 6] = 9 - other[:, 6]
    assert torch.equal(model(tokens)[:, :6], model(other)[:, :6])
    assert not torch.allclose(model.reconstruct(tokens)[:, :6], model.reconstruct(other)[:, :6])
    assert torch.equal(model(tokens)[:, :6], model(other)[:, :6])  # the mask is back
    longer = torch.cat([tokens, torch.zeros(3, 2, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(
        model.predict(longer, lengths=lengths), model.predict(tokens, lengths=lengths)
    )
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    assert torch.equal(again.predict(tokens), model.predict(tokens))
    ways = [
        model.propose(5, tries=4, batch_size=size, generator=torch.Generator().manual_seed(2))
        for size in (7, 20)
    ]
    assert torch.equal(ways[0].tokens, ways[1].tokens)
    assert len({tuple(row) for row in ways[0].tokens.tolist()}) == len(ways[0].tokens)
    assert bool((ways[0].predicted[:, 0].diff() <= 0).all())


def test_parts_whose_mask_cannot_be_lifted_are_refused() -> None:
    for mixer in (
        partial(LinearAttention, causal=True),
        partial(SelfAttention, causal=True, window=3),
    ):
        with pytest.raises(UserError, match="cannot be lifted; choose SelfAttention"):
            build(mixer=mixer)
    with pytest.raises(UserError, match="no mask"):
        JointTransformer(tokenizer=SmilesTokenizer(), dim=8, depth=1, heads=1)
    with pytest.raises(UserError, match="predicts no QED; it has oxygens"):
        build().propose(1, property="QED")
    with pytest.raises(UserError, match="no molecule of the training data has a oxygens"):
        build().fit_statistics(torch.full((3, 1), torch.nan))

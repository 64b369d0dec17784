"""XLNet of transformers with copied weights: both streams, gradients, files both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import XLNetConfig, XLNetLMHeadModel, XLNetModel

from headway.core.errors import UserError
from headway.core.language import XLNet
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, open_checkpoint, save_pretrained, save_published

SIZES: dict[str, Any] = {"vocab_size": 19, "d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 48}
TOKENS, LENGTHS = 17, torch.tensor([17, 9, 2])


def theirs(folder: Path, kind: Any = XLNetLMHeadModel, **more: Any) -> Any:
    torch.manual_seed(0)
    made = kind(XLNetConfig(**SIZES, **more)).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # no bias at zero, no norm at one
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    return made


def ours(folder: Path) -> XLNet:
    model = from_pretrained(folder).eval()
    assert type(model) is XLNet
    return model


def texts() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(6, 19, (3, TOKENS), generator=torch.Generator().manual_seed(1))
    return tokens, torch.arange(TOKENS) < LENGTHS[:, None]


@pytest.mark.parametrize("more", [{}, {"ff_activation": "relu", "tie_word_embeddings": False}])
def test_a_text_that_sees_itself(more: dict[str, Any], tmp_path: Path) -> None:
    other = theirs(tmp_path / "theirs", **more)
    check_round_trip(tmp_path / "theirs", tmp_path / "back")
    model = ours(tmp_path / "theirs")
    tokens, real = texts()
    expected = other(tokens, attention_mask=real.long()).logits
    found = model(tokens, lengths=LENGTHS)
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(tokens[1:2, :9])[0], found[1, :9], atol=1e-5, rtol=1e-5)
    for values in (found, expected):
        values[real].square().mean().backward()
    mine = model.encoder.blocks[0].get_parameter("mixer.function.position.relative.weight").grad
    peer = other.transformer.layer[0].rel_attn.r.grad
    assert mine is not None
    half = mine.T.unflatten(1, (4, -1))
    torch.testing.assert_close(torch.cat([half[0::2], half[1::2]]), peer, atol=1e-4, rtol=1e-4)


def in_order(generator: torch.Generator) -> Tensor:
    """Whether token i sees token j, for texts whose tokens are said in an order drawn for each."""
    turns = torch.rand(3, TOKENS, generator=generator).argsort(dim=1).argsort(dim=1)
    return turns[:, None, :] < turns[:, :, None]


def test_tokens_that_are_said_in_any_order(tmp_path: Path) -> None:
    other, (tokens, _) = theirs(tmp_path), texts()
    model, seen = ours(tmp_path), in_order(torch.Generator().manual_seed(2))
    expected = other(
        tokens,
        perm_mask=(~seen).float(),
        target_mapping=torch.eye(TOKENS).expand(3, -1, -1),
    ).logits
    found = model.say(tokens, seen)
    # Who sees nobody: there all scores are hidden, and transformers takes the mean of all tokens, itself too.
    asked = seen.any(dim=2)
    torch.testing.assert_close(found[asked], expected[asked], atol=1e-5, rtol=1e-5)


def test_a_token_is_said_without_seeing_it() -> None:
    torch.manual_seed(0)
    model = XLNet(dim=16, depth=2, heads=2).eval()
    tokens = torch.randint(3, (3, TOKENS))
    seen = in_order(torch.Generator().manual_seed(0))
    said = model.say(tokens, seen, lengths=LENGTHS)
    for place in (0, 5, 16):
        other = tokens.clone()
        other[:, place] = (other[:, place] + 1) % 3
        changed = model.say(other, seen, lengths=LENGTHS)
        blind = ~seen[:, :, place]
        torch.testing.assert_close(changed[blind], said[blind], atol=1e-6, rtol=1e-5)
        assert not torch.allclose(changed[0][seen[0, :, place]], said[0][seen[0, :, place]])
    alone = model.say(tokens[1:2, :9], seen[1:2, :9, :9])
    torch.testing.assert_close(alone[0], said[1, :9], atol=1e-6, rtol=1e-5)


def test_files_of_the_body_alone_and_our_own(tmp_path: Path) -> None:
    other = theirs(tmp_path / "body", XLNetModel)
    model, (tokens, _) = ours(tmp_path / "body"), texts()
    expected = other(tokens).last_hidden_state
    torch.testing.assert_close(model.features(tokens), expected, atol=1e-5, rtol=1e-5)
    save_pretrained(model, tmp_path / "own")
    again = from_pretrained(tmp_path / "own").eval()
    assert torch.equal(again(tokens), model(tokens))
    written = open_checkpoint(save_published(model, tmp_path / "back", like=tmp_path / "body"))
    assert all(
        torch.equal(x, written.state[n])
        for n, x in open_checkpoint(tmp_path / "body").state.items()
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"bi_data": True}, "bi_data"),
        ({"clamp_len": 40}, "clamp_len"),
        ({"attn_type": "uni"}, "attn_type"),
    ],
)
def test_what_is_not_supported_is_named(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    theirs(tmp_path, **more)
    with pytest.raises(UserError, match=said):
        from_pretrained(tmp_path)

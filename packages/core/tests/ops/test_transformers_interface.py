"""Stock models of transformers give the same with our attention as with their own."""

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.ops.transformers_interface import attention_forward, register_with_transformers

transformers = pytest.importorskip("transformers")


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    register_with_transformers()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The options of every call of ops.attention that the adapter makes."""
    from headway.core.ops import transformers_interface

    seen: list[dict[str, object]] = []
    original = transformers_interface.attention

    def recorded(*tensors: Tensor, **options: object) -> Tensor:
        seen.append(options)
        return original(*tensors, **options)  # pyright: ignore

    monkeypatch.setattr(transformers_interface, "attention", recorded)
    return seen


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=16,
        patch_size=4,
    )
    return transformers.ViTModel(config).eval()


def llama() -> nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    return transformers.LlamaForCausalLM(config).eval()


def gemma() -> nn.Module:
    config = transformers.Gemma2Config(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=48,
        sliding_window=4,
        attn_logit_softcapping=0.05,
        query_pre_attn_scalar=8,
    )
    return transformers.Gemma2ForCausalLM(config).eval()


def both(model: nn.Module, **inputs: Tensor) -> tuple[Tensor, Tensor]:
    """First output with eager attention and with ours."""
    found = []
    for name in ("eager", "headway"):
        model.set_attn_implementation(name)  # pyright: ignore[reportCallIssue]
        found.append(model(**inputs)[0])
    return found[0], found[1]


def test_a_vit_gives_the_same_in_gradients_too(calls: list[dict[str, object]]) -> None:
    torch.manual_seed(0)
    model = vit()
    pixels = torch.randn(2, 3, 16, 16, requires_grad=True)
    eager, ours = both(model, pixel_values=pixels)
    assert len(calls) == 2
    assert all(call["causal"] is False for call in calls)
    torch.testing.assert_close(ours, eager, atol=1e-5, rtol=0)
    grad = torch.randn_like(eager)
    for one, other in zip(
        torch.autograd.grad(ours, pixels, grad),
        torch.autograd.grad(eager, pixels, grad),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("build", [llama, gemma])
def test_a_language_model_gives_the_same_for_padded_batches(
    build: object, calls: list[dict[str, object]]
) -> None:
    torch.manual_seed(0)
    model = build()  # pyright: ignore
    tokens = torch.randint(50, (3, 9))
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[0, :4] = 0  # on the left
    mask[1, 6:] = 0  # on the right
    eager, ours = both(model, input_ids=tokens, attention_mask=mask)
    assert len(calls) == 2
    torch.testing.assert_close(ours[mask.bool()], eager[mask.bool()], atol=1e-5, rtol=0)
    eager, ours = both(model, input_ids=tokens)
    assert len(calls) == 4
    torch.testing.assert_close(ours, eager, atol=1e-5, rtol=0)
    assert {call["softcap"] for call in calls} == ({0.05} if build is gemma else {None})


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_a_language_model_generates_the_same_with_a_cache(kind: str) -> None:
    torch.manual_seed(0)
    model = llama()
    tokens = torch.randint(50, (2, 6))
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[0, :2] = 0
    found = []
    for name in ("eager", "headway"):
        model.set_attn_implementation(name)  # pyright: ignore[reportCallIssue]
        found.append(
            model.generate(  # pyright: ignore[reportCallIssue]
                tokens,
                attention_mask=mask,
                max_new_tokens=8,
                do_sample=False,
                cache_implementation=kind,
                output_logits=True,
                return_dict_in_generate=True,
                pad_token_id=0,
            )
        )
    assert torch.equal(found[0].sequences, found[1].sequences)
    for one, other in zip(found[0].logits, found[1].logits, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=0)


def test_sinks_and_additive_masks_are_those_of_the_op() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8)
    sinks, bias = torch.randn(4), torch.randn(2, 1, 5, 5)
    out, _ = attention_forward(nn.Identity(), query, key, key, bias, s_aux=sinks)
    wide = key.repeat_interleave(2, dim=1)
    scores = query @ wide.mT * 8**-0.5 + bias
    weights = torch.cat([scores, sinks[:, None, None].expand(2, 4, 5, 1)], dim=-1).softmax(-1)
    torch.testing.assert_close(out, (weights[..., :-1] @ wide).transpose(1, 2))


@pytest.mark.parametrize(
    ("option", "remedy"), [("output_attentions", "use 'eager'"), ("cache", "use 'sdpa'")]
)
def test_what_it_lacks_is_refused_with_the_remedy(option: str, remedy: str) -> None:
    query = torch.randn(1, 2, 3, 8)
    with pytest.raises(UserError, match=remedy):
        attention_forward(nn.Identity(), query, query, query, None, **{option: True})

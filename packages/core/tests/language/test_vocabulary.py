"""What becomes of embeddings and heads when the vocabulary changes."""

import pytest
import torch

from headway.core.language import SPECIALS, T5, Bert, Llama, NumberedTokens

VOCABULARY = (*SPECIALS, "<mask>", "a", "b")


def build(kind: type[Llama | Bert | T5], tied: bool) -> Llama | Bert | T5:
    torch.manual_seed(0)
    tokenizer = NumberedTokens(vocabulary=VOCABULARY, mask=3)
    return kind(tokenizer=tokenizer, dim=8, depth=1, heads=2, tied=tied)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", [Llama, Bert, T5])
def test_rows_move_and_learn_where_the_rest_is_frozen(
    kind: type[Llama | Bert | T5], tied: bool
) -> None:
    model = build(kind, tied).requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in model.named_parameters(remove_duplicate=False)}
    model.set_vocabulary((*VOCABULARY[:4], "new", *VOCABULARY[4:]))
    after = dict(model.named_parameters(remove_duplicate=False))
    changed = {name for name, value in after.items() if value.shape != before[name].shape}
    assert changed
    assert {name for name, value in after.items() if value.requires_grad} == changed
    for name in changed:
        kept = torch.cat([after[name][:4], after[name][5:]])
        assert torch.equal(kept, before[name]), name
    shared = [value for name, value in after.items() if name in changed and value.ndim > 1]
    assert len({id(value) for value in shared}) == (1 if tied else 2)


@pytest.mark.parametrize("kind", [Llama, Bert, T5])
def test_a_smaller_vocabulary(kind: type[Llama | Bert | T5]) -> None:
    model = build(kind, True)
    model.set_vocabulary((*VOCABULARY[:4], "b"))
    tokens = torch.tensor([[1, 4, 2]])
    told = {"source": tokens} if kind is T5 else {}
    assert model(tokens, **told).shape == (1, 3, 5)

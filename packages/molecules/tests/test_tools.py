"""The toolboxes act on Llama through the seams."""

import pytest
import torch

from headway.core.errors import UserError
from headway.core.explain import gradient_relevance, token_relevance
from headway.core.language import SPECIALS
from headway.core.reduction import MostSimilar, Neighbours, merge_tokens, unmerge_model
from headway.core.testing.tools import check_adapters, check_lora, token_slopes
from headway.molecules.models import Llama, PropertyPredictor
from headway.molecules.notation import SmilesTokenizer

TOKENS = torch.randint(3, 13, (2, 9), generator=torch.Generator().manual_seed(1))


def llama() -> Llama:
    torch.manual_seed(0)
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, *"CNOcn()=12"))
    model = Llama(tokenizer=tokenizer, dim=16, depth=2, heads=2, max_length=24)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double().eval()


def test_low_rank_adapters() -> None:
    check_lora(llama(), lambda model: model(TOKENS))


def test_base_and_adapter_are_the_tuned_model(tmp_path) -> None:
    def change(model: Llama) -> None:
        model.set_vocabulary((*model.vocabulary, "[nH]", "Br"))

    tokens = TOKENS.clone()
    tokens[:, 4:6] = torch.tensor([13, 14])
    check_adapters(llama, change, lambda model: model(tokens), tmp_path)


def predictor() -> PropertyPredictor:
    model = PropertyPredictor(backbone=llama(), properties={"logP": "regression"}, dropout=0)
    return model.double().eval()


def test_low_rank_adapters_below_a_head_of_properties() -> None:
    check_lora(predictor(), lambda model: model(TOKENS))


def test_base_and_adapter_predict_the_properties_of_the_tuned_model(tmp_path) -> None:
    def change(model: PropertyPredictor) -> None:
        model.set_vocabulary((*model.tokenizer.vocabulary, "[nH]", "Br"))
        model.set_properties({"toxic": "classification", "logS": "regression"})
        model.set_statistics(torch.tensor([0.0, -2.0]), torch.tensor([1.0, 3.0]))

    tokens = TOKENS.clone()
    tokens[:, 4:6] = torch.tensor([13, 14])
    check_adapters(predictor, change, lambda model: model.predict(tokens), tmp_path)


@pytest.mark.parametrize("explain", [gradient_relevance, token_relevance])
def test_what_comes_after_the_answer_and_padding_have_no_relevance(explain) -> None:
    model = llama()
    lengths = torch.tensor([9, 6])
    found = explain(
        model, TOKENS, keywords={"lengths": lengths}, answer=lambda logits: logits[:, 4], target=5
    )
    assert (found[:, 5:] == 0).all()
    assert (found[:, :5] != 0).all()
    found = explain(
        model, TOKENS, keywords={"lengths": lengths}, answer=lambda logits: logits.mean(1), target=5
    )
    assert (found[0] != 0).all()


def test_relevance_is_the_slope_of_the_answer_along_each_token() -> None:
    model = llama()
    slopes = token_slopes(model.decoder, lambda: model(TOKENS)[:, -1, 7])
    found = token_relevance(model, TOKENS, answer=lambda logits: logits[:, -1], target=7)
    torch.testing.assert_close(found, slopes, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
def test_merging_without_looking_ahead(where: str) -> None:
    model = llama()
    before = model(TOKENS)
    merge_tokens(model, Neighbours(threshold=1.1), where=where)  # nothing is that similar
    torch.testing.assert_close(model(TOKENS), before)
    merge_tokens(unmerge_model(model), Neighbours(threshold=-0.2), where=where)
    merged = model(TOKENS)
    assert not torch.allclose(merged, before)
    for place in range(1, 9):
        for token in range(3, 13):
            changed = TOKENS.clone()
            changed[:, place] = token
            torch.testing.assert_close(
                model(changed)[:, :place], merged[:, :place], atol=1e-12, rtol=0
            )
    padded = model(TOKENS, lengths=torch.tensor([9, 6]))
    torch.testing.assert_close(padded[1, :6], model(TOKENS[1:, :6])[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"cannot run step by step.*unmerge_model"):
        model.generate([[1]])
    # The same atom again and again: every token says the same.
    chain = torch.full((1, 9), 4)
    again = model(chain)
    torch.testing.assert_close(again, unmerge_model(model)(chain))
    with pytest.raises(UserError, match="SelfAttention is causal.*use Neighbours"):
        merge_tokens(model, MostSimilar(ratio=0.5), where=where)
    assert torch.equal(model(TOKENS), before)

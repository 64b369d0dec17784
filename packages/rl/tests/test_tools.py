"""The toolboxes act on the decision transformer through the seams."""

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.explain import gradient_relevance, token_relevance
from headway.core.reduction import MostSimilar, Neighbours, merge_tokens, unmerge_model
from headway.core.testing.tools import check_adapters, check_lora, token_slopes
from headway.rl.models import DecisionTransformer

STEPS = 5


def transformer() -> DecisionTransformer:
    torch.manual_seed(0)
    model = DecisionTransformer(
        observation_dim=4, action_dim=2, dim=16, depth=2, heads=2, context_length=STEPS
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(2, STEPS, *shape, generator=generator, dtype=torch.float64)

    timesteps = torch.arange(STEPS).expand(2, -1)
    given = {"observations": numbers(4), "actions": numbers(2), "returns_to_go": numbers()}
    return {**given, "timesteps": timesteps}


def last_action(actions: Tensor) -> Tensor:
    return actions[:, -1]


def test_low_rank_adapters() -> None:
    check_lora(transformer(), lambda model: model(**batch()))


def test_base_and_adapter_are_the_tuned_model_in_another_environment(tmp_path) -> None:
    def change(model: DecisionTransformer) -> None:
        model.set_observation_dim(6)
        model.set_action_dim(3)
        model.set_statistics(torch.full((6,), 0.5), torch.full((6,), 2.0), 10.0)

    def run(model: DecisionTransformer) -> Tensor:
        given = batch()
        given["observations"] = torch.cat([given["observations"], given["actions"]], dim=-1)
        given["actions"] = given["observations"][..., :3]
        return model(**given)

    check_adapters(transformer, change, run, tmp_path)


@pytest.mark.parametrize("explain", [gradient_relevance, token_relevance])
def test_what_comes_after_the_answer_and_padding_have_no_relevance(explain) -> None:
    model, given = transformer(), batch()
    mask = torch.ones(2, STEPS, dtype=torch.bool)
    mask[1, :2] = False
    keywords = {**given, "mask": mask}
    found = explain(model, keywords=keywords, answer=lambda actions: actions[:, 3], target=0)
    # Return, observation and action of each step; the answer is read at the observation of step 3.
    assert (found[:, 3 * 3 + 2 :] == 0).all()
    assert (found[1, :6] == 0).all()
    assert (found[0, : 3 * 3 + 2] != 0).all()
    assert (found[1, 6 : 3 * 3 + 2] != 0).all()


def test_relevance_is_the_slope_of_the_answer_along_each_token() -> None:
    model, given = transformer(), batch()
    slopes = token_slopes(model.decoder, lambda: last_action(model(**given))[:, 1])
    found = token_relevance(model, keywords=given, answer=last_action, target=1)
    torch.testing.assert_close(found, slopes, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
def test_merging_without_looking_ahead(where: str) -> None:
    model, given = transformer(), batch()
    before = model(**given)
    merge_tokens(model, Neighbours(threshold=1.1), where=where)  # nothing is that similar
    torch.testing.assert_close(model(**given), before)
    merge_tokens(unmerge_model(model), Neighbours(threshold=-0.2), where=where)
    merged = model(**given)
    assert not torch.allclose(merged, before)
    for step in range(1, STEPS):
        later = {name: value.clone() for name, value in given.items()}
        for name in ("observations", "actions", "returns_to_go"):
            later[name][:, step:] = later[name][:, step:].flip(0) - 1
        changed = model(**later)
        torch.testing.assert_close(changed[:, :step], merged[:, :step], atol=1e-12, rtol=0)
        assert (changed[:, step:] - merged[:, step:]).abs().max() > 1e-3
    mask = torch.ones(2, STEPS, dtype=torch.bool)
    mask[1, :2] = False
    short = {name: value[1:, 2:] for name, value in given.items()}
    torch.testing.assert_close(
        model(**given, mask=mask)[1, 2:], model(**short)[0], atol=1e-5, rtol=1e-5
    )
    with pytest.raises(UserError, match=r"cannot run step by step.*unmerge_model"):
        model.init_cache(1)
    with pytest.raises(UserError, match="SelfAttention is causal.*use Neighbours"):
        merge_tokens(unmerge_model(model), MostSimilar(ratio=0.5), where=where)
    assert torch.equal(model(**given), before)


def test_returns_and_observations_are_read_in_the_units_of_their_statistics() -> None:
    model, given = transformer(), batch()
    before = model(**given)
    model.set_statistics(torch.full((4,), 0.5), torch.full((4,), 2.0), 10.0)
    larger = {
        "observations": 2 * given["observations"] + 0.5,
        "returns_to_go": 10 * given["returns_to_go"],
    }
    torch.testing.assert_close(model(**(given | larger)), before)
    assert not torch.allclose(
        model(**(given | {**larger, "returns_to_go": given["returns_to_go"]})), before
    )


def test_later_steps_count_as_the_last_and_the_last_is_its_own() -> None:
    model, last = transformer(), 999

    def actions(step: int) -> Tensor:
        return model(**(batch() | {"timesteps": torch.full((2, STEPS), step)}))

    assert torch.equal(actions(last + 50), actions(last))
    assert not torch.allclose(actions(last - 1), actions(last))

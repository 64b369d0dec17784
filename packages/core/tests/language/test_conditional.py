"""What stands in front of a text: told row by row, read once, remembered, exaggerated, saved."""

import logging
import math

import pytest
import torch

from headway.core.errors import InputError, UserError
from headway.core.generation import Sampling
from headway.core.language import (
    ABSENT,
    SPECIALS,
    ConditionalLanguageModel,
    StochasticContext,
    SymbolTokenizer,
)
from headway.core.positions import PositionTable
from headway.core.weights import from_pretrained, save_pretrained

VOCABULARY = (*SPECIALS, *"abcdefghij")
PROPERTIES = ("size", "cost")
ROWS = 11


def build(*, learned: bool = False, **options) -> ConditionalLanguageModel:
    torch.manual_seed(0)
    model = ConditionalLanguageModel(
        tokenizer=SymbolTokenizer(pattern=".", joint="", vocabulary=VOCABULARY),
        properties=PROPERTIES,
        max_fragment=4,
        dim=16,
        depth=2,
        heads=2,
        max_length=16,
        position=PositionTable if learned else None,
        **options,
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    model.prefix.fit(100 + 20 * torch.randn(50, 2))
    return model.eval()


def told() -> dict[str, torch.Tensor]:
    """Returns conditions of which each row has others; some rows have none."""
    generator = torch.Generator().manual_seed(1)
    values = 100 + 20 * torch.randn(ROWS, 2, generator=generator).double()
    fragments = torch.randint(3, 13, (ROWS, 4), generator=generator)
    sizes = torch.arange(ROWS) % 5
    return {
        "values": values.masked_fill(torch.rand(ROWS, 2, generator=generator) < 0.4, math.nan),
        "fragments": fragments.masked_fill(torch.arange(4) >= sizes[:, None], ABSENT),
    }


def alone(conditions: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    """Returns what one row is told, and nothing of the room that others need."""
    values, fragment = conditions["values"][row], conditions["fragments"][row]
    return {"values": values[None], "fragments": fragment[fragment != ABSENT][None]}


@pytest.mark.parametrize("learned", [False, True])
def test_rows_that_are_told_different_things_are_what_each_is_alone(learned: bool) -> None:
    model, conditions = build(learned=learned), told()
    prompts = [[1, *[3 + (k * j) % 10 for j in range(k % 5)]] for k in range(ROWS)]
    whole = model.generate(
        prompts, generator=torch.Generator().manual_seed(3), batch_size=ROWS, **conditions
    )
    few = model.generate(
        prompts, generator=torch.Generator().manual_seed(3), batch_size=3, **conditions
    )
    assert torch.equal(whole.tokens, few.tokens)
    for row, prompt in enumerate(prompts):
        text = whole.tokens[row : row + 1, : whole.lengths[row]]
        score = model.score(text, **alone(conditions, row))[0, len(prompt) - 1 :]
        gained = whole.log_probabilities[row, len(prompt) : text.shape[1]]
        torch.testing.assert_close(gained, score.float(), atol=1e-5, rtol=1e-5)
        free = model.score(text)[0, len(prompt) - 1 :]
        is_told = any(x.isfinite().any() and x.numel() for x in alone(conditions, row).values())
        assert torch.allclose(free, score) != is_told
    batch = model.score(whole.tokens, lengths=whole.lengths, **conditions)
    for row in range(ROWS):
        text = whole.tokens[row : row + 1, : whole.lengths[row]]
        one = model.score(text, **alone(conditions, row))[0]
        torch.testing.assert_close(batch[row, : len(one)], one)


def test_conditions_and_a_prompt_are_read_in_one_pass() -> None:
    model, passes = build(), []
    model.decoder.register_forward_pre_hook(lambda _, args: passes.append(args[0].shape))
    told_once = {name: value[:4] for name, value in told().items()}
    model.generate([[1, 4, 5, 6, 7]] * 4, batch_size=4, **told_once)
    assert [shape[1] > 1 for shape in passes] == [True, *[False] * (len(passes) - 1)]
    assert len(passes) <= 1 + 16 - 5


def test_guidance_goes_from_no_conditions_to_conditions_and_beyond() -> None:
    model, conditions = build(), told()
    greedy = Sampling(temperature=0)
    found = model.generate(
        [[1, 5]] * ROWS, sampling=greedy, batch_size=3, guidance=1.7, **conditions
    )
    for row in range(ROWS):
        text = [1, 5]
        while len(text) < found.lengths[row]:
            tokens = torch.tensor([text])
            wanted = model(tokens, **alone(conditions, row))[0, -1].log_softmax(-1)
            free = model(tokens)[0, -1].log_softmax(-1)
            text.append(int((free + 1.7 * (wanted - free)).argmax()))
        assert text == found.tokens[row, : found.lengths[row]].tolist()
    ignored = model.generate([[1, 5]] * ROWS, sampling=greedy, guidance=0, **conditions)
    assert torch.equal(ignored.tokens, model.generate([[1, 5]] * ROWS, sampling=greedy).tokens)


def test_the_order_of_conditions_is_told_and_what_is_not_told_takes_no_room() -> None:
    model, tokens = build(learned=True), torch.tensor([[1, 4, 5, 6]])
    values, fragments = torch.tensor([[90.0, 120.0]]), torch.tensor([[7, 8]])
    ways = [
        model(tokens, values=values, fragments=fragments, ranks=torch.tensor([ranks]))
        for ranks in ([0, 1, 2], [2, 1, 0])
    ]
    plain = model(tokens, values=values, fragments=fragments)
    assert torch.equal(ways[0], plain)
    assert not torch.allclose(ways[1], plain)
    nothing = model(
        tokens, values=torch.full((1, 2), math.nan), fragments=torch.full((1, 3), ABSENT)
    )
    torch.testing.assert_close(nothing, model(tokens))


def test_statistics_are_saved_and_units_do_not_matter(tmp_path) -> None:
    model, tokens = build().float(), torch.tensor([[1, 4, 5, 6]])
    values = torch.tensor([[90.0, math.nan]])
    before = model(tokens, values=values)
    save_pretrained(model, tmp_path)
    assert torch.equal(from_pretrained(tmp_path).eval()(tokens, values=values), before)
    data = torch.randn(30, 2)
    model.prefix.fit(data)
    one = model(tokens, values=data[:1])
    model.prefix.fit(1000 * data + 7)
    torch.testing.assert_close(model(tokens, values=1000 * data[:1] + 7), one, atol=1e-4, rtol=1e-4)
    constant = torch.ones(5, 2)
    model.prefix.fit(constant)
    assert bool(model(tokens, values=constant[:1]).isfinite().all())
    with pytest.raises(UserError, match="no text of the training data has a cost"):
        model.prefix.fit(torch.tensor([[1.0, math.nan]]))


def test_wishes_are_checked(caplog) -> None:
    model = build()
    model.prefix.fit(torch.tensor([[0.0, 1.0], [10.0, 3.0]]))
    with caplog.at_level(logging.WARNING):
        found = model.conditions([{"size": 10}, {"cost": 1.0}, {}], ["ab", None, "abcd"])
    assert not caplog.records
    assert found["fragments"].tolist() == [[3, 4, -1, -1], [-1] * 4, [3, 4, 5, 6]]
    assert found["values"][0, 0] == 10
    assert found["values"].isnan().tolist() == [[False, True], [True, False], [True, True]]
    with caplog.at_level(logging.WARNING):
        model.conditions([{"size": 10.5}, {"size": 12}])
    assert [one.message for one in caplog.records] == [
        "size is asked for outside 0 to 10, the range of the training data; what comes may be far from it"
    ]
    with pytest.raises(
        UserError, match="row 3: the model knows no property 'x'; it has size, cost"
    ):
        model.conditions([{"x": 1.0}], names=["row 3"])
    with pytest.raises(UserError, match="size is nan; it must be a finite number"):
        model.conditions([{"size": math.nan}])
    with pytest.raises(InputError, match="does not know: Z"):
        model.conditions([{}], ["aZ"])
    with pytest.raises(InputError, match="'abcde' has 5 tokens; the model takes 4"):
        model.conditions([{}], ["abcde"])
    with pytest.raises(UserError, match="values has 1 columns for the 2 properties"):
        model(torch.tensor([[1]]), values=torch.zeros(1, 1))
    with pytest.raises(UserError, match="'a' twice|a twice"):
        ConditionalLanguageModel(properties=("a", "a"), dim=8, depth=1, heads=1)


def test_a_notation_is_cut_by_a_pattern_and_comes_back_or_is_named() -> None:
    words = SymbolTokenizer(vocabulary=(*SPECIALS, "Na", "Cl", "o+", "0"))
    assert words.decode(words.encode("Na Cl 0 o+")) == "Na Cl 0 o+"
    with pytest.raises(InputError, match="row 2: .* cannot be cut: ' ' at place 4"):
        words.split("Na  Cl", "row 2")
    with pytest.raises(InputError, match="does not know: K"):
        words.encode("Na K")
    digits = SymbolTokenizer(pattern=r"\d|[A-Z][a-z]?", joint="")
    assert digits.split("Na12K") == ["Na", "1", "2", "K"]
    with pytest.raises(InputError, match="'-' at place 3"):
        digits.split("Na-K")
    for pattern in ("(", "a*"):
        with pytest.raises(UserError, match="pattern"):
            SymbolTokenizer(pattern=pattern)


def test_a_longer_text_needs_places_behind_those_of_conditions() -> None:
    model = build(learned=True)
    model.set_max_length(10)
    assert model.position is not None
    assert model.position.length == 10 + 6
    with pytest.raises(UserError, match="learned positions"):
        model.set_max_length(17)


def test_a_context_is_any_part_of_what_is_known_and_a_piece_of_the_text() -> None:
    count = 4000
    values = torch.rand(count, 3)
    values[:100, 0] = math.nan
    lengths = 2 + torch.arange(count) % 9
    tokens = torch.randint(3, 13, (count, 10)).masked_fill(
        torch.arange(10) >= lengths[:, None] - 1, 2
    )
    tokens[:, 0] = 1
    context = StochasticContext(fragment=0.5, told=0.8)
    draw = {"max_fragment": 6, "generator": torch.Generator().manual_seed(0)}
    found = context(values, tokens, lengths, **draw)
    kept = ~found["values"].isnan()
    assert torch.equal(found["values"][kept], values[kept])
    shares = torch.bincount(kept[100:].sum(1), minlength=4) / (count - 100)
    torch.testing.assert_close(shares, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.03, rtol=0)
    assert bool((found["ranks"].sort(1).values == torch.arange(4)).all())
    sizes = (found["fragments"] != ABSENT).sum(1)
    assert 0.4 < float((sizes > 0).float().mean()) < 0.5  # texts of no token have no piece
    assert int(sizes.max()) == 6
    for text, length, piece, size in zip(
        tokens.tolist(), lengths.tolist(), found["fragments"].tolist(), sizes.tolist(), strict=True
    ):
        places = range(1, length - size)
        assert size == 0 or any(text[at : at + size] == piece[:size] for at in places)
    with pytest.raises(UserError, match="fragment is 2"):
        StochasticContext(fragment=2)

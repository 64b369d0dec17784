import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headway.core.errors import UserError
from headway.core.finetune import (
    Adapters,
    BitFit,
    Full,
    HeadOnly,
    LastBlocks,
    LoRA,
    LoRALinear,
    load_adapter,
    merge,
    save_adapter,
    trainable_parameters,
    unmerge,
)
from headway.core.finetune.adapter_files import merge_tensors
from headway.core.heads import ClassificationHead
from headway.core.linear import FusedLinear
from headway.core.module import Module
from headway.core.stacks import Encoder
from headway.core.training import AdamW, Task


class Model(Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(16, 3, 2)
        self.head = ClassificationHead(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(*self.encoder(x))


def model() -> Model:
    torch.manual_seed(0)
    return Model()


def learning(net: nn.Module) -> set[str]:
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


def step(net: nn.Module, steps: int = 3) -> None:
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.randn(8, 5, 16)), torch.arange(8) % 4).backward()
        optimizer.step()


def test_each_strategy_lets_exactly_its_parameters_learn() -> None:
    head = {"head.classifier.weight", "head.classifier.bias"}
    net = model()
    everything = learning(net)
    HeadOnly().apply(net)
    assert learning(net) == head
    LastBlocks(1).apply(net)
    last = {name for name in everything if name.startswith("encoder.blocks.2.")}
    assert learning(net) == head | last | {"encoder.norm.weight", "encoder.norm.bias"}
    BitFit().apply(net)
    assert learning(net) == head | {name for name in everything if name.endswith(".bias")}
    Full().apply(net)
    assert learning(net) == everything


@pytest.mark.parametrize("strategy", [HeadOnly(), LastBlocks(2), BitFit(), LoRA(rank=2)])
def test_training_leaves_frozen_parameters_bitwise_alone(strategy) -> None:
    net = model()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    strategy.apply(net)
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    step(net)
    assert frozen
    for name, value in net.named_parameters():
        if name in frozen:
            assert torch.equal(value, before[name.replace(".base.", ".")]), name


def test_lora_starts_as_the_model_and_merges_to_1e_6() -> None:
    net, x = model(), torch.randn(4, 5, 16)
    before = net(x)
    LoRA(rank=4, targets=("q", "v", "fc1", "projection")).apply(net)
    torch.testing.assert_close(net(x), before)
    step(net)
    adapted = net(x)
    assert not torch.allclose(adapted, before, atol=1e-2)
    merged = merge(net)
    assert not any(isinstance(m, LoRALinear) for m in merged.modules())
    assert isinstance(merged.encoder.blocks[0].mixer.function.qkv, FusedLinear)
    torch.testing.assert_close(merged(x), adapted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("rank", "alpha", "scale"), [(2, None, 2.0), (8, None, 2.0), (4, 4.0, 1.0)]
)
def test_a_product_is_scaled_by_alpha_over_rank_and_by_two_if_nothing_is_said(
    rank: int, alpha: float | None, scale: float
) -> None:
    net = model()
    LoRA(rank=rank, alpha=alpha, targets=("fc1",)).apply(net)
    layer = next(x for x in net.modules() if isinstance(x, LoRALinear))
    torch.nn.init.normal_(layer.up["all"])
    x = torch.randn(3, 16)
    product = layer.up["all"] @ layer.down["all"]
    torch.testing.assert_close(layer(x), layer.base(x) + scale * x @ product.T)
    torch.testing.assert_close(layer.weight, layer.base.weight + scale * product)


def test_lora_on_q_and_v_leaves_keys_alone() -> None:
    net = model()
    LoRA(rank=2).apply(net)
    step(net)
    layer = net.encoder.blocks[0].mixer.function.qkv
    change = layer.weight - layer.base.weight
    assert change[16:32].abs().sum() == 0
    assert change[:16].abs().sum() > 0
    assert change[32:].abs().sum() > 0
    assert torch.linalg.matrix_rank(change[:16].detach()) <= 2


def test_lora_names_what_can_be_adapted() -> None:
    with pytest.raises(
        UserError, match="no projection named query in Model; there are .*fc1.*q.*v"
    ):
        LoRA(targets=("query",)).apply(model())
    with pytest.raises(UserError, match="rank must be at least 1"):
        LoRA(rank=0)


def test_only_small_weights_are_saved_and_they_restore_the_model(tmp_path: Path) -> None:
    net, x = model(), torch.randn(2, 5, 16)
    LoRA(rank=2).apply(net)
    step(net)
    save_adapter(net, tmp_path / "adapter", base="some/model")
    learned, total = trainable_parameters(net)
    size = (tmp_path / "adapter" / "adapter.safetensors").stat().st_size
    assert size < 4 * learned + 2000 < 4 * total
    again = load_adapter(model(), tmp_path / "adapter")
    torch.testing.assert_close(again(x), net(x))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    net = model()
    LoRA(rank=2).apply(net)
    save_adapter(net, tmp_path)
    with pytest.raises(UserError, match="does not have"):
        load_adapter(nn.Sequential(nn.Linear(3, 3)), tmp_path)
    with pytest.raises(UserError, match=r"no adapter\.json"):
        load_adapter(model(), tmp_path / "nowhere")


def test_too_many_blocks_are_refused() -> None:
    with pytest.raises(UserError, match=r"LastBlocks\(4\) of a model with 3 blocks"):
        LastBlocks(4).apply(model())


def test_lora_on_the_first_layer_of_a_frozen_model() -> None:
    class First(Module):
        """Its first layer reads what needs no gradient and hands its answer on as it is."""

        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc1(x)

    net, x = First(), torch.randn(8, 16)
    kept = x.clone()
    LoRA(rank=2, targets=("fc1",)).apply(net)  # it has no head: features are adapted too
    step_loss = net(x).square().mean()
    step_loss.backward()
    assert net.fc1.up["all"].grad.abs().sum() > 0
    assert torch.equal(x, kept)


def test_lora_scales_by_twice_the_rank_unless_told() -> None:
    for rank in (1, 4):
        net = model()
        LoRA(rank=rank).apply(net)
        assert net.encoder.blocks[0].mixer.function.qkv.scale == 2.0
    net = model()
    LoRA(rank=4, alpha=4).apply(net)
    assert net.encoder.blocks[0].mixer.function.qkv.scale == 1.0


def test_lora_is_not_put_onto_itself() -> None:
    net = model()
    LoRA(rank=2).apply(net)
    with pytest.raises(UserError, match=r"has low-rank products already; merge"):
        LoRA(rank=2).apply(net)
    merge(net)
    LoRA(rank=2).apply(net)


def test_merging_is_undone_to_the_last_bit() -> None:
    net = model()
    LoRA(rank=2, targets=("q", "fc1")).apply(net)
    step(net)
    net.eval()
    before, x = {k: v.clone() for k, v in net.state_dict().items()}, torch.randn(2, 5, 16)
    adapted = net(x)
    merge(net, undoable=True)
    torch.testing.assert_close(net(x), adapted, atol=1e-6, rtol=1e-6)
    unmerge(net)
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert not any(module.training for module in net.modules())
    assert {n for n in learning(net) if "base" in n} == set()
    with pytest.raises(UserError, match="undoable=True"):
        unmerge(model())


def test_adapters_of_one_base_are_switched_by_name(tmp_path: Path) -> None:
    x, answers = torch.randn(2, 5, 16), {}
    for seed, name in enumerate(("birds", "fish")):
        net = model()
        LoRA(rank=2).apply(net)
        torch.manual_seed(seed)
        step(net)
        save_adapter(net, tmp_path / name)
        answers[name] = net(x)
    adapters = Adapters(model())
    before = adapters.base(x)
    for name in answers:
        adapters.load(name, tmp_path / name)
    assert adapters.names == ("birds", "fish")
    for name in ("fish", "birds", "fish"):
        torch.testing.assert_close(adapters[name](x), answers[name])
    assert torch.equal(adapters.base(x), before)
    assert all(parameter.requires_grad for parameter in adapters.base.parameters())
    key = "encoder.blocks.1.feedforward.function.fc1.weight"
    assert adapters["fish"].get_parameter(key) is adapters.base.get_parameter(key)
    with pytest.raises(UserError, match="no adapter 'cats'; loaded: birds, fish"):
        adapters["cats"]


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    class Tied(Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 16)
            self.fc1 = nn.Linear(16, 16)
            self.head = nn.Linear(16, 5, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.fc1(self.embedding(x)))

    torch.manual_seed(0)
    net = Tied()
    HeadOnly().apply(net)
    with torch.no_grad():
        net.head.weight.mul_(2)
    save_adapter(net, tmp_path)
    again = load_adapter(Tied(), tmp_path)
    assert again.head.weight is again.embedding.weight
    assert torch.equal(again.head.weight, net.head.weight)


def test_frozen_statistics_stay_as_they_were() -> None:
    class Normed(Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(16, 16)
            self.norms = nn.ModuleList([nn.BatchNorm1d(16), nn.BatchNorm1d(16, affine=False)])
            self.head = nn.Sequential(nn.BatchNorm1d(16), nn.Linear(16, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for norm in self.norms:
                x = norm(self.fc1(x))
            return self.head(x)

    net = Normed()
    task = Task(backbone=net, optimizer=AdamW(lr=0.1), finetune=HeadOnly())
    for mode in (True, False, True):
        task.train(mode)
    assert task.training
    net(torch.randn(8, 16) + 3)
    assert net.norms[0].running_mean.abs().sum() == 0
    assert net.norms[1].num_batches_tracked == 0
    assert net.head[0].running_mean.abs().sum() > 0  # it learns, so it follows


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"layers": []}', "layers is no mapping"),
        ("[]", "must hold a mapping"),
        ('{"layers": {"encoder.blocks.0.mixer.function.qkv": {"rank": 1e9}}}', "does not fit"),
        ('{"layers": {}, "changes": {"os.system": "x"}}', "changes os.system"),
    ],
)
def test_damaged_adapters_are_named(tmp_path: Path, text: str, reason: str) -> None:
    net = model()
    LoRA(rank=2).apply(net)
    save_adapter(net, tmp_path)
    (tmp_path / "adapter.json").write_text(text)
    with pytest.raises(UserError, match=reason):
        load_adapter(model(), tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"alpha": "x"}, {"rank": 0}, {"sections": {"q": [0, 999]}}, {"sections": {"x": [0, 1]}}, 3],
)
def test_a_checkpoint_with_a_damaged_adapter_beside_it_is_named(tmp_path: Path, wrong: Any) -> None:
    net = model()
    LoRA(rank=2).apply(net)
    save_adapter(net, tmp_path)
    file = tmp_path / "adapter.json"
    content = json.loads(file.read_text())
    merge_tensors(net.state_dict(), tmp_path)
    name = next(iter(content["layers"]))
    known = content["layers"][name]
    content["layers"][name] = {**known, **wrong} if isinstance(wrong, dict) else wrong
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not fit the"):
        merge_tensors(net.state_dict(), tmp_path)

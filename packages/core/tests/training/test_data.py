import tracemalloc

import torch
from headway_toy import ToyData

from headway.core.training.sampling import EpochOrder, Shard


def batches(data, *, epoch, start=0):
    data.setup("fit")
    data._position = lambda: (epoch, start)
    return [x for x, _ in data.train_dataloader()]


def same(one, two):
    return len(one) == len(two) and all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_draws_depend_on_seed_and_epoch_but_not_on_workers():
    plain = batches(ToyData(), epoch=3)
    torch.manual_seed(99)
    assert same(plain, batches(ToyData(workers=2), epoch=3))
    assert not same(plain, batches(ToyData(), epoch=4))
    assert not same(plain, batches(ToyData(seed=1), epoch=3))


def test_an_epoch_can_be_entered_at_any_batch():
    assert same(batches(ToyData(), epoch=3)[5:], batches(ToyData(), epoch=3, start=5))


def test_workers_that_live_on_hear_of_the_epoch():
    data = ToyData(workers=1)
    data.setup("fit")
    place = [0, 0]
    data._position = lambda: tuple(place)
    loader = data.train_dataloader()
    first = [x for x, _ in loader]
    place[0] = 1
    second = [x for x, _ in loader]
    assert same(first, batches(ToyData(), epoch=0))
    assert same(second, batches(ToyData(), epoch=1))


def test_items_leave_the_generators_of_training_alone():
    data = ToyData()
    data.setup("fit")
    loader = data.train_dataloader()
    state = torch.get_rng_state()
    assert loader.dataset[(0, 1)][0].shape == (4,)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_order_of_millions_is_no_list() -> None:
    tracemalloc.start()
    found = [index for index, _ in zip(EpochOrder(10**6, seed=1), range(5000), strict=False)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A million Python numbers take 40 MB.
    assert peak < 2e6
    assert len(set(found)) == 5000
    assert found == list(EpochOrder(10**6, seed=1))[:5000]


def test_ranks_share_an_epoch_and_count_no_evaluation_item_twice():
    orders = [list(EpochOrder(10, seed=1, rank=rank, world=3)) for rank in range(3)]
    assert {len(order) for order in orders} == {4}
    assert {index for order in orders for index in order} == set(range(10))
    shards = [list(Shard(10, rank=rank, world=3)) for rank in range(3)]
    assert sorted(index for shard in shards for index in shard) == list(range(10))

"""What the tests of kernels rely on finds the faults that it is there for."""

from collections.abc import Iterator

import pytest
import torch

from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    with nan_filled_memory():
        yield


def test_a_write_behind_a_buffer_is_found_by_name() -> None:
    from kernels_with_faults import double_kernel

    from headway.core.testing.interpreter import guarded_memory

    source, out = torch.arange(8.0), torch.empty(6)
    with guarded_memory():
        double_kernel[(1,)](source, out, 6, BLOCK=8)
    assert torch.equal(out, 2 * source[:6])
    with (
        guarded_memory(),
        pytest.raises(AssertionError, match="double_kernel wrote outside the memory of out"),
    ):
        double_kernel[(1,)](source, out, 8, BLOCK=8)


def test_what_is_read_behind_a_buffer_shows() -> None:
    from kernels_with_faults import double_kernel

    from headway.core.testing.interpreter import guarded_memory

    source, out = torch.arange(7.0), torch.empty(8)
    with guarded_memory():
        double_kernel[(1,)](source, out, 8, BLOCK=8)
    assert torch.equal(out[:7], 2 * source)
    assert torch.isnan(out[7])


def test_views_of_one_memory_stay_views_of_one_memory() -> None:
    from kernels_with_faults import double_kernel

    from headway.core.testing.interpreter import guarded_memory

    both = torch.arange(12.0)
    with guarded_memory():
        double_kernel[(1,)](both[:6], both[6:], 6, BLOCK=8)
    assert torch.equal(both, torch.cat([torch.arange(6.0), 2 * torch.arange(6.0)]))


def test_a_race_between_programs_shows_in_another_order() -> None:
    from kernels_with_faults import last_kernel, own_kernel

    from headway.core.testing.interpreter import permuted_programs

    def run(kernel: object, seed: int | None) -> torch.Tensor:
        out = torch.full((16,), -1.0)
        if seed is None:
            kernel[(16,)](out)  # pyright: ignore
        else:
            with permuted_programs(seed):
                kernel[(16,)](out)  # pyright: ignore
        return out

    assert torch.equal(run(own_kernel, None), run(own_kernel, 1))
    assert any(not torch.equal(run(last_kernel, None), run(last_kernel, seed)) for seed in range(3))

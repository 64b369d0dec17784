"""The diffusion process against its equations in numpy, and sampling with an exact denoiser."""

import numpy as np
import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation.diffusion import (
    CosineDiffusion,
    GaussianDiffusion,
    LinearDiffusion,
    Reconstruction,
    flow,
    on_the_way,
    sample,
)


def numpy_betas(kind: str, steps: int) -> np.ndarray:
    if kind == "linear":
        return np.linspace(0.1 / steps, 20 / steps, steps)
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.clip(1 - f[1:] / f[:-1], 0, 0.999)


@pytest.mark.parametrize(
    ("kind", "diffusion"), [("linear", LinearDiffusion), ("cosine", CosineDiffusion)]
)
def test_noising_posterior_and_weights_equal_the_equations(kind: str, diffusion) -> None:
    steps = 60
    process = diffusion(steps)
    beta = numpy_betas(kind, steps)
    bar = np.cumprod(1 - beta)
    generator = np.random.default_rng(0)
    start, x, noise = generator.normal(size=(3, steps, 4, 2))
    step = torch.arange(steps)
    tensors = [torch.from_numpy(value) for value in (start, x, noise)]
    column = (slice(None), None, None)
    noisy = np.sqrt(bar)[column] * start + np.sqrt(1 - bar)[column] * noise
    found = process.add_noise(tensors[0], step, tensors[2])
    np.testing.assert_allclose(found.numpy(), noisy, rtol=1e-12)
    np.testing.assert_allclose(process.noise_in(found, step, tensors[0]).numpy(), noise, atol=1e-6)
    again = process.start_of(found, step, tensors[2])
    np.testing.assert_allclose(again.numpy()[:-1], start[:-1], atol=1e-9)
    before = np.concatenate([[1.0], bar[:-1]])
    mean = (np.sqrt(before) * beta / (1 - bar))[column] * start
    mean = mean + (np.sqrt(1 - beta) * (1 - before) / (1 - bar))[column] * x
    variance = beta * (1 - before) / (1 - bar)
    ours, spread = process.posterior(tensors[1], step, tensors[0])
    np.testing.assert_allclose(ours.numpy(), mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(spread.numpy()[:, 0, 0], variance, rtol=1e-9, atol=1e-15)
    weight = np.sqrt(1 - beta) * np.sqrt(1 - bar) / beta / 100
    np.testing.assert_allclose(process.loss_weight(step).numpy(), weight, rtol=1e-5)


def test_the_posterior_is_bayes_of_two_gaussians() -> None:
    """From q(x_t | x_{t-1}) and q(x_{t-1} | x_0), without the published formula."""
    process = CosineDiffusion(20)
    step = torch.tensor([7])
    x, start = torch.tensor([[[0.3]], [[-1.1]]], dtype=torch.float64)
    beta, before = float(process.betas[7]), float(process.signal[6])
    precision = (1 - beta) / beta + 1 / (1 - before)
    mean = (np.sqrt(1 - beta) / beta * 0.3 + np.sqrt(before) / (1 - before) * -1.1) / precision
    found, variance = process.posterior(x, step, start)
    assert found.item() == pytest.approx(mean, rel=1e-9)
    assert variance.item() == pytest.approx(1 / precision, rel=1e-9)


def test_the_moments_of_noisy_data() -> None:
    torch.manual_seed(0)
    process = CosineDiffusion(100)
    start = 0.5 + 0.2 * torch.randn(200_000, 1)
    for step in (0, 40, 99):
        x = process.add_noise(start, torch.full((200_000,), step), torch.randn_like(start))
        signal = float(process.signal[step])
        assert x.mean().item() == pytest.approx(0.5 * signal**0.5, abs=0.01)
        assert x.var().item() == pytest.approx(0.04 * signal + 1 - signal, abs=0.01)
    # Step by step is the same as at once.
    x = start
    for beta in process.betas[:41].float():
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn_like(x)
    signal = float(process.signal[40])
    assert x.mean().item() == pytest.approx(0.5 * signal**0.5, abs=0.01)
    assert x.var().item() == pytest.approx(0.04 * signal + 1 - signal, abs=0.01)


def test_a_jump_to_the_step_before_is_the_posterior() -> None:
    torch.manual_seed(0)
    process = CosineDiffusion(30)
    step = torch.arange(30)
    x, start, noise = torch.randn(3, 30, 5, dtype=torch.float64).unbind(0)
    mean, variance = process.posterior(x, step, start)
    found = process.jump(x, step, step - 1, start, noise, 1.0)
    torch.testing.assert_close(found, mean + variance.sqrt() * noise, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(found[0], start[0])


class Gauss:
    """The exact denoiser of data with a mean and a covariance."""

    def __init__(self, mean: Tensor, covariance: Tensor, process: GaussianDiffusion) -> None:
        self.mean, self.covariance, self.process = mean, covariance, process

    def __call__(self, x: Tensor, step: Tensor) -> Tensor:
        signal = float(self.process.signal[step[0]])
        noisy = signal * self.covariance + (1 - signal) * torch.eye(len(self.mean))
        gain = signal**0.5 * self.covariance @ torch.linalg.inv(noisy)
        return self.mean + (x - signal**0.5 * self.mean) @ gain.T


def gauss(steps: int) -> tuple[GaussianDiffusion, Gauss]:
    process = CosineDiffusion(steps)
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]]) * 0.25
    return process, Gauss(torch.tensor([0.5, -0.3]), covariance, process)


@pytest.mark.parametrize(("steps", "eta"), [(None, 1.0), (250, 0.0), (400, 0.5)], ids=str)
def test_samples_of_an_exact_denoiser_have_the_moments_of_the_data(
    steps: int | None, eta: float
) -> None:
    process, denoiser = gauss(500)
    generator = torch.Generator().manual_seed(0)
    options = {"steps": steps, "eta": eta, "limit": None, "generator": generator}
    x = sample(denoiser, process, (20_000, 2), **options)
    torch.testing.assert_close(x.mean(dim=0), denoiser.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(x.T.cov(), denoiser.covariance, atol=0.02, rtol=0)


def test_what_is_known_stays_and_what_is_not_goes_with_it() -> None:
    process, denoiser = gauss(200)
    mask = torch.tensor([True, False]).expand(4000, 2)
    known = torch.tensor([1.2, torch.nan]).expand(4000, 2)

    def free_part(rate: float) -> float:
        torch.manual_seed(0)
        condition = Reconstruction(known, mask, rate=rate)
        x = sample(denoiser, process, (4000, 2), limit=None, condition=condition)
        assert (x[:, 0] == known[:, 0]).all()
        return x[:, 1].mean().item()

    # Where the first is 1.2, the second is 0.26 on average; where nothing is known, -0.3.
    assert free_part(0.02) == pytest.approx(0.26, abs=0.05)
    # The known part alone, put back at each step, does not tell the free part enough.
    assert free_part(0.0) < 0.1


def test_predictions_are_cut_to_the_limit() -> None:
    process = CosineDiffusion(10)
    x = sample(lambda x, step: torch.full_like(x, 5.0), process, (3, 2), limit=1.0)
    assert torch.equal(x, torch.ones(3, 2))


def test_nonsense_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 0"):
        CosineDiffusion(0)
    with pytest.raises(UserError, match="one variance between 0 and 1"):
        GaussianDiffusion(torch.ones(3))
    with pytest.raises(UserError, match="this diffusion has 1 to 10"):
        sample(lambda x, step: x, CosineDiffusion(10), (1, 2), steps=11)
    with pytest.raises(UserError, match="eta is 2"):
        sample(lambda x, step: x, CosineDiffusion(10), (1, 2), eta=2.0)
    with pytest.raises(UserError, match="of one shape"):
        Reconstruction(torch.zeros(1, 2), torch.zeros(2, dtype=torch.bool))


def test_draws_of_training_are_of_the_generator_and_of_every_step() -> None:
    process = CosineDiffusion(steps=7)
    start = torch.zeros(3000, 4, dtype=torch.float64)
    step, noise = process.draw(start, torch.Generator().manual_seed(3))
    again = process.draw(start, torch.Generator().manual_seed(3))
    assert torch.equal(step, again[0])
    assert torch.equal(noise, again[1])
    assert step.unique().tolist() == list(range(7))
    assert noise.dtype == torch.float64
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


def test_a_flow_with_the_exact_velocity_reaches_the_data_in_any_number_of_steps() -> None:
    start, noise = torch.randn(2, 4, 3)
    for steps in (1, 7):
        torch.testing.assert_close(flow(lambda x, time: start - noise, noise, steps=steps), start)
    time = torch.tensor([0.0, 0.25, 0.5, 1.0])
    wanted = torch.stack([t * a + (1 - t) * b for t, a, b in zip(time, start, noise, strict=True)])
    torch.testing.assert_close(on_the_way(start, time, noise), wanted)
    with pytest.raises(UserError, match="steps of a flow must be at least 1"):
        flow(lambda x, time: x, noise, steps=0)


def test_noise_may_be_drawn_item_by_item() -> None:
    drawn = [torch.full((2, 3), float(place)) for place in range(4)]
    found = sample(
        lambda x, step: torch.zeros_like(x),
        CosineDiffusion(20),
        (2, 3),
        steps=3,
        draw=iter(drawn).__next__,
    )
    torch.testing.assert_close(found, torch.zeros(2, 3))

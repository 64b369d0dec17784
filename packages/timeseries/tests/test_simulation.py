"""Solvers against exact solutions, and what they must conserve."""

import math

import pytest
import torch

from headway.core.errors import UserError
from headway.timeseries.simulation.darcy import conductances, darcy, outflow
from headway.timeseries.simulation.flows import advection_diffusion, burgers, random_fields


def test_a_wave_moves_and_fades_as_it_must() -> None:
    x, y = torch.meshgrid(*[torch.arange(n).double() / n for n in (16, 24)], indexing="ij")
    times = torch.tensor([0.0, 0.1, 0.7])

    def wave(time: float) -> torch.Tensor:
        phase = 2 * math.pi * (2 * (x - 0.3 * time) + (y + 0.2 * time))
        return torch.cos(phase) * math.exp(-0.01 * 4 * math.pi**2 * 5 * time)

    found = advection_diffusion(wave(0.0)[None], times, velocity=(0.3, -0.2), diffusivity=0.01)
    expected = torch.stack([wave(time) for time in times.tolist()])
    torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=1e-6)


def test_advection_conserves_mass_and_without_diffusion_energy() -> None:
    start = 1 + random_fields(3, (32, 31), seed=1)
    times = torch.linspace(0, 2, 5)
    found = advection_diffusion(start, times, velocity=(1.0, 0.5), diffusivity=0.002)
    mass = found.sum(dim=(2, 3))
    torch.testing.assert_close(mass, mass[:, :1].expand(-1, 5))
    energy = found.square().sum(dim=(2, 3))
    assert (energy.diff(dim=1) < 0).all()
    turned = advection_diffusion(start[:, :31], times, velocity=(1.0, 0.5), diffusivity=0.0)
    energy = turned.square().sum(dim=(2, 3))
    torch.testing.assert_close(energy, energy[:, :1].expand(-1, 5))
    # One turn around the domain: the field is back.
    torch.testing.assert_close(turned[:, -1], turned[:, 0])


def cole_hopf(size: int, time: float, viscosity: float) -> torch.Tensor:
    """The exact solution that starts as ``sin(2 pi x)``, by Cole and Hopf, from the heat equation."""
    x = torch.arange(4096).double() / 4096
    start = torch.exp((torch.cos(2 * math.pi * x) - 1) / (4 * math.pi * viscosity))
    wave = 2 * math.pi * torch.fft.rfftfreq(4096, 1 / 4096, dtype=torch.float64)
    spectrum = torch.fft.rfft(start) * torch.exp(-viscosity * wave.square() * time)
    heat, slope = torch.fft.irfft(spectrum), torch.fft.irfft(1j * wave * spectrum)
    return (-2 * viscosity * slope / heat)[:: 4096 // size]


@pytest.mark.parametrize("time", [0.1, 0.3])
def test_burgers_equals_the_exact_solution(time: float) -> None:
    x = torch.arange(256).double() / 256
    start = torch.sin(2 * math.pi * x)[None]
    found = burgers(start, torch.tensor([time / 2, time]), viscosity=0.01)
    torch.testing.assert_close(found[0, 1], cole_hopf(256, time, 0.01), atol=1e-5, rtol=0)


def test_burgers_is_of_the_fourth_order_and_conserves_the_mean() -> None:
    x = torch.arange(64).double() / 64
    start = (0.3 + torch.sin(2 * math.pi * x) + 0.4 * torch.cos(4 * math.pi * x))[None]
    time = torch.tensor([0.1])
    exact = burgers(start, time, viscosity=0.02, step=1e-4)
    errors = [
        float((burgers(start, time, viscosity=0.02, step=step) - exact).abs().max())
        for step in (0.005, 0.0025)
    ]
    assert 11 < errors[0] / errors[1] < 22
    long = burgers(start, torch.linspace(0, 1, 5), viscosity=0.02)
    torch.testing.assert_close(long.mean(dim=2), torch.full((1, 5), 0.3, dtype=torch.float64))
    assert (long.square().mean(dim=2).diff(dim=1) < 0).all()


def manufactured(size: int) -> float:
    """The error for ``u = sin(pi x) sin(2 pi y)`` in a medium ``1 + x``."""
    middles = (torch.arange(size).double() + 0.5) / size
    x, y = torch.meshgrid(middles, middles, indexing="ij")
    u = torch.sin(math.pi * x) * torch.sin(2 * math.pi * y)
    # -div((1 + x) grad u), by hand.
    slope = math.pi * torch.cos(math.pi * x) * torch.sin(2 * math.pi * y)
    source = 5 * math.pi**2 * (1 + x) * u - slope
    return float((darcy((1 + x)[None], source[None])[0] - u).abs().max())


def test_darcy_converges_with_the_second_order() -> None:
    errors = [manufactured(size) for size in (16, 32)]
    assert errors[1] < 5e-3
    assert errors[0] / errors[1] > 3.4


def test_what_is_fed_into_the_medium_leaves_through_its_border() -> None:
    permeability = torch.where(random_fields(2, (24, 24), seed=2) > 0, 12.0, 3.0)
    source = 1 + random_fields(2, (24, 24), seed=3)
    u = darcy(permeability, source)
    sides = conductances(permeability.double())
    torch.testing.assert_close(outflow(u, sides), source / 24**2, atol=1e-8, rtol=0)
    border = [(sides[0] * u)[:, 0], (sides[1] * u)[:, -1], (sides[2] * u)[..., 0]]
    total = sum(part.sum(dim=1) for part in [*border, (sides[3] * u)[..., -1]])
    torch.testing.assert_close(total, source.mean(dim=(1, 2)), atol=1e-6, rtol=0)


def test_random_fields_have_no_mean_and_a_falling_spectrum() -> None:
    fields = random_fields(50, (64,), smoothness=2.0, seed=4)
    assert fields.mean(dim=1).abs().max() < 1e-12
    assert fields.square().mean().item() == pytest.approx(1.0)
    power = torch.fft.rfft(fields).abs().square().mean(dim=0)
    # An amplitude that falls with the square has a power that falls with the fourth.
    slope = (power[2:5].sum().log() - power[16:40].sum().log()).item()
    falls = sum(k**-4 for k in range(2, 5)) / sum(k**-4 for k in range(16, 33))
    assert slope == pytest.approx(math.log(falls), abs=0.5)


def test_nonsense_is_refused() -> None:
    field = torch.zeros(1, 8)
    with pytest.raises(UserError, match="viscosity 0 must be above 0"):
        burgers(field, torch.tensor([1.0]), viscosity=0)
    with pytest.raises(UserError, match="needs as many velocities"):
        advection_diffusion(field, torch.tensor([1.0]), velocity=(1.0, 2.0), diffusivity=0.1)
    with pytest.raises(UserError, match="must not be negative"):
        advection_diffusion(field, torch.tensor([1.0]), velocity=(1.0,), diffusivity=-0.1)
    with pytest.raises(UserError, match="above 0 everywhere"):
        darcy(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))

"""Flows on periodic domains, solved in the frequencies of the fields."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from headway.core.errors import UserError


def wave_numbers(shape: tuple[int, ...], length: float = 1.0) -> list[Tensor]:
    """Returns the angular wave number of each axis, ready to be multiplied with a field's spectrum.

    Args:
        shape: Of the grid.
        length: Side of the domain.
    """
    found = []
    for axis, size in enumerate(shape):
        numbers = 2 * math.pi / length * torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
        found.append(numbers.reshape([-1 if other == axis else 1 for other in range(len(shape))]))
    return found


def advection_diffusion(
    start: Tensor, times: Tensor, *, velocity: tuple[float, ...], diffusivity: float
) -> Tensor:
    """Returns ``u`` of ``u_t + v . grad u = D laplace u`` on the periodic unit domain, exact at any time.

    Args:
        start: Fields at time 0.
        times: When they are wanted.
        velocity: Of each axis.
        diffusivity: D, not negative.

    Shape:
        start: (B, *grid), float64. times: (T,). Output: (B, T, *grid).

    Raises:
        UserError: If there is not one velocity for each axis, or the diffusivity is negative.
    """
    shape = tuple(start.shape[1:])
    if len(velocity) != len(shape):
        raise UserError(f"a grid of {len(shape)} axes needs as many velocities, got {velocity}")
    if diffusivity < 0:
        raise UserError(f"diffusivity {diffusivity} must not be negative: sharp edges would grow")
    waves = wave_numbers(shape)
    rate = sum(
        (-1j * speed * wave - diffusivity * wave.square()).to(torch.complex128)
        for speed, wave in zip(velocity, waves, strict=True)
    )
    axes = tuple(range(1, start.ndim))
    spectrum = torch.fft.fftn(start.double(), dim=axes)[:, None]
    growth = torch.exp(rate * times.double().reshape(-1, *[1] * len(shape)))
    return torch.fft.ifftn(spectrum * growth, dim=tuple(axis + 1 for axis in axes)).real


def burgers(
    start: Tensor, times: Tensor, *, viscosity: float | Tensor, step: float | None = None
) -> Tensor:
    """Returns ``u`` of ``u_t + u u_x = nu u_xx`` on the periodic unit interval.

    Pseudo-spectral: products at the places, slopes in the frequencies without the highest third, diffusion
    exact, and steps of the fourth order (integrating factor, Runge-Kutta).

    Args:
        start: Fields at time 0.
        times: When they are wanted, rising.
        viscosity: nu, above 0; one for all or one for each field.
        step: Largest step of time; a fifth of the time in which the fastest place crosses a cell if None.

    Shape:
        start: (B, N). times: (T,). viscosity: (B,). Output: (B, T, N), float64.

    Raises:
        UserError: If the viscosity is not positive, or a step is not.

    Source:
        Canuto et al. 2006, Spectral Methods, section 3.3.
    """
    size = start.shape[1]
    nu = _positive(viscosity)
    wave = 2 * math.pi * torch.fft.rfftfreq(size, 1 / size, dtype=torch.float64)
    kept = torch.arange(len(wave)) <= size // 3

    def slope(spectrum: Tensor) -> Tensor:
        square = torch.fft.rfft(torch.fft.irfft(spectrum * kept, n=size).square())
        return -0.5j * wave * square * kept

    field = start.double()
    spectra = _march(
        torch.fft.rfft(field),
        times,
        slope=slope,
        decay=nu.reshape(-1, 1) * wave.square(),
        limit=_limit(field, step, 0.2),
    )
    return torch.stack([torch.fft.irfft(spectrum, n=size) for spectrum in spectra], dim=1)


def burgers_plane(
    start: Tensor, times: Tensor, *, viscosity: float | Tensor, step: float | None = None
) -> Tensor:
    """Returns the velocity of ``u_t + (u . grad) u = nu laplace u`` on the periodic unit square.

    The scheme is that of ``burgers``. Without rotation at the start there is none later, and the mean stays.

    Args:
        start: Velocities at time 0, along the first and the second axis of the grid.
        times: When they are wanted, rising.
        viscosity: nu, above 0; one for all or one for each item.
        step: Largest step of time; half the time in which the fastest place crosses a cell if None.

    Shape:
        start: (B, 2, H, W). times: (T,). viscosity: (B,). Output: (B, T, 2, H, W), float64.

    Raises:
        UserError: If there are not two velocities, the viscosity is not positive, or a step is not.

    Source:
        Canuto et al. 2006, Spectral Methods, section 3.3.
    """
    if start.ndim != 4 or start.shape[1] != 2:
        raise UserError(
            f"a flow in the plane has two velocities (B, 2, H, W), got {tuple(start.shape)}"
        )
    shape = (start.shape[2], start.shape[3])
    nu = _positive(viscosity)
    # The last axis holds the frequencies from 0 on: the field is real.
    rows, columns = wave_numbers(shape)
    columns = columns[:, : shape[1] // 2 + 1].abs()
    limits = [2 * math.pi * (size // 3) for size in shape]
    kept = (rows.abs() <= limits[0]) & (columns <= limits[1])

    def slope(spectrum: Tensor) -> Tensor:
        spectrum = spectrum * kept
        speeds, down, right = (
            torch.fft.irfft2(part, s=shape)
            for part in (spectrum, 1j * rows * spectrum, 1j * columns * spectrum)
        )
        return -torch.fft.rfft2(speeds[:, :1] * down + speeds[:, 1:] * right) * kept

    field = start.double()
    spectra = _march(
        torch.fft.rfft2(field),
        times,
        slope=slope,
        decay=nu.reshape(-1, 1, 1, 1) * (rows.square() + columns.square()),
        limit=_limit(field, step, 0.5 * min(1.0, shape[1] / shape[0])),
    )
    return torch.stack([torch.fft.irfft2(spectrum, s=shape) for spectrum in spectra], dim=1)


def _positive(viscosity: float | Tensor) -> Tensor:
    nu = torch.as_tensor(viscosity, dtype=torch.float64)
    if not bool((nu > 0).all()):
        raise UserError(
            f"viscosity {viscosity} must be above 0: without it shocks are not resolved"
        )
    return nu


def _limit(field: Tensor, step: float | None, courant: float) -> float:
    """Returns the largest step of time: ``courant`` times what the fastest place needs for a cell."""
    fastest = max(float(field.abs().max()), 1e-6)
    limit = courant / field.shape[-1] / fastest if step is None else step
    if limit <= 0:
        raise UserError(f"step {step} must be above 0")
    return limit


def _march(
    spectrum: Tensor,
    times: Tensor,
    *,
    slope: Callable[[Tensor], Tensor],
    decay: Tensor,
    limit: float,
) -> list[Tensor]:
    """Returns the spectra at the times: ``decay`` acts exactly, ``slope`` with the fourth order."""
    now, found = 0.0, []
    for time in times.tolist():
        steps = max(1, math.ceil((time - now) / limit)) if time > now else 0
        width = (time - now) / max(1, steps)
        half = torch.exp(-decay * width / 2)
        for _ in range(steps):
            first = slope(spectrum)
            second = slope(half * (spectrum + width / 2 * first))
            third = slope(half * spectrum + width / 2 * second)
            fourth = slope(half.square() * spectrum + width * half * third)
            spectrum = half.square() * spectrum + width / 6 * (
                half.square() * first + 2 * half * (second + third) + fourth
            )
        now = time
        found.append(spectrum)
    return found


def random_fields(
    number: int, shape: tuple[int, ...], *, smoothness: float = 3.0, seed: int = 0
) -> Tensor:
    """Returns periodic Gaussian fields without a mean, of variance 1 over all of them.

    Args:
        number: Fields.
        shape: Of the grid.
        smoothness: The spectrum falls with this power of the wave number.
        seed: Of the draws.

    Shape:
        Output: (number, *shape), float64.
    """
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(number, *shape, generator=random, dtype=torch.float64)
    square = sum(wave.square() for wave in wave_numbers(shape))
    assert isinstance(square, Tensor)
    weight = torch.where(
        square > 0, (square / (2 * math.pi) ** 2).clamp_min(1e-9) ** (-smoothness / 2), 0.0
    )
    axes = tuple(range(1, len(shape) + 1))
    fields = torch.fft.ifftn(torch.fft.fftn(noise, dim=axes) * weight, dim=axes).real
    return fields / fields.square().mean().sqrt()

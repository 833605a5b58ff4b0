"""Image operations: what they do by hand, and their derivatives against finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from raydm.augmenters.operations import OPERATIONS, chosen, sample

NAMES = list(OPERATIONS)


def images(b=3, channels=3, height=6, width=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(b, channels, height, width, generator=generator, dtype=dtype)


def done(name, x, strength, place=(0.5, 0.5), fill=0.0):
    n = len(x)
    return OPERATIONS[name](x, x.new_full((n,), strength), x.new_tensor(place).expand(n, 2), fill)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_strength_0_leaves_images_as_they_are_bit_by_bit(name, dtype, fill):
    x = images(height=7, width=6, dtype=dtype)
    assert torch.equal(done(name, x, 0.0, place=(0.37, 0.81), fill=fill), x)


@pytest.mark.parametrize("name", NAMES)
def test_each_changes_images_at_its_limit_alone(name):
    x = images()
    together = done(name, x, OPERATIONS[name].limit)
    assert together.shape == x.shape
    assert not torch.allclose(together, x)
    torch.testing.assert_close(done(name, x[1:2], OPERATIONS[name].limit), together[1:2])  # an image at a time


def test_flip_mirrors_columns():
    x = images()
    assert torch.equal(done("flip", x, 1.0), x.flip(-1))


def test_translations_move_by_whole_pixels_exactly():
    x = images(height=4, width=5)
    moved = done("translate_x", x, 1 / 5, fill=0.25)  # the output at p is the input one column on
    torch.testing.assert_close(moved[..., :-1], x[..., 1:])
    assert (moved[..., -1] == 0.25).all()
    moved = done("translate_y", x, -2 / 4)
    torch.testing.assert_close(moved[..., 2:, :], x[..., :-2, :])
    assert (moved[..., :2, :] == 0).all()


def test_half_a_pixel_is_the_mean_of_two():
    x = images(height=4, width=5)
    moved = done("translate_x", x, 0.5 / 5)
    torch.testing.assert_close(moved[..., :-1], (x[..., :-1] + x[..., 1:]) / 2)
    torch.testing.assert_close(moved[..., -1], x[..., -1] / 2)


def test_a_quarter_turn_is_rot90():
    x = images(height=6, width=6)
    turned = sample(x, _turn(math.pi / 2).expand(3, 3, 3), 0.0)
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), rtol=0, atol=1e-12)
    torch.testing.assert_close(done("rotate", x, 0.3), sample(x, _turn(0.3).expand(3, 3, 3), 0.0))


def _turn(angle):
    cos, sin = math.cos(angle), math.sin(angle)
    # at a quarter out(column, row) = in(-row, column): rows count downwards, so the picture turns against the clock
    return torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=torch.float64)


def test_sampling_agrees_with_torch_inside_the_image():
    x, generator = images(2, 3, 9, 8), torch.Generator().manual_seed(1)
    linear = torch.eye(2, dtype=torch.float64) + 0.2 * torch.randn(2, 2, 2, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, 2, 1, generator=generator, dtype=torch.float64)
    matrix = torch.cat([torch.cat([linear, shift], 2), torch.tensor([[[0.0, 0, 1]]] * 2, dtype=torch.float64)], 1)
    # torch's coordinates are -1..1 over the image's width and height
    size = torch.tensor([8.0, 9.0], dtype=torch.float64) / 2
    theta = torch.cat([linear * size[None, None, :] / size[None, :, None], shift / size[None, :, None]], 2)
    grid = torch.nn.functional.affine_grid(theta, x.shape, align_corners=False)
    expected = torch.nn.functional.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(sample(x, matrix, 0.0), expected)


def test_a_zoom_keeps_the_centre_and_enlarges():
    x = images(height=5, width=5)
    enlarged = done("zoom", x, math.log(2))
    torch.testing.assert_close(enlarged[..., 2, 2], x[..., 2, 2])
    torch.testing.assert_close(enlarged[..., 0, 0], x[..., 1, 1])  # 2 pixels off the centre shows 1 pixel off it


def test_colours_by_hand():
    x = images()
    torch.testing.assert_close(done("brightness", x, 0.25), 1.25 * x)
    gray = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    torch.testing.assert_close(done("saturation", x, -1.0), gray.expand_as(x))
    torch.testing.assert_close(done("contrast", x, -1.0), gray.mean((2, 3), keepdim=True).expand_as(x))
    one = images(channels=1)
    torch.testing.assert_close(done("contrast", one, -1.0), one.mean((2, 3), keepdim=True).expand_as(one))


def test_cutout_takes_the_covered_part_of_each_pixel():
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    whole = done("cutout", x, 0.5)[0, 0]  # a box of 2 x 2 pixels in the middle
    assert whole.sum() == 12
    assert (whole[1:3, 1:3] == 0).all()
    small = done(
        "cutout", x, 0.125, place=(0.5, 0.5)
    )  # half a pixel wide, a quarter of a pixel over each of four... /4
    torch.testing.assert_close(1 - small[0, 0, 1:3, 1:3], torch.full((2, 2), 1 / 16, dtype=torch.float64))
    corner = done("cutout", x, 0.5, place=(0.0, 0.0), fill=0.5)[0, 0]  # only a quarter of the box lies inside
    assert corner[0, 0] == 0.5
    assert corner.sum() == 15.5


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_of_both_orders_are_finite_differences(name):
    x = images(2, 3, 4, 4).requires_grad_()
    strength = torch.tensor([0.13, 0.21], dtype=torch.float64, requires_grad=True)
    place = torch.tensor([[0.31, 0.62], [0.55, 0.4]], dtype=torch.float64)

    def f(x, strength):
        return OPERATIONS[name](x, strength, place, 0.5)

    assert torch.autograd.gradcheck(f, (x, strength), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (x, strength), fast_mode=True)


def test_names_are_chosen_in_one_order():
    assert [o.name for o in chosen(("cutout", "rotate", "flip"), 3)] == ["flip", "rotate", "cutout"]
    assert "saturation" not in [o.name for o in chosen(None, 1)]
    assert [o.name for o in chosen(None, 3)] == NAMES

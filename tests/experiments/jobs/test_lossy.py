"""What draws of one z keep of their images."""

import pytest
import torch

from experiments.jobs.lossy import kept


def test_draws_that_are_the_images_keep_all_and_draws_that_are_the_mean_image_nothing():
    torch.manual_seed(0)
    images = torch.rand(20, 3, 8, 8)
    assert kept(images, images[:, None].expand(20, 4, 3, 8, 8)) == pytest.approx({"grey_kept": 1, "colour_kept": 1})
    mean = images.mean(0).expand(20, 4, 3, 8, 8)
    assert kept(images, mean) == pytest.approx({"grey_kept": 0, "colour_kept": 0}, abs=1e-6)


def test_grey_and_colour_are_told_apart():
    """Draws with the right grey values and no colour, and draws with the right colours at one grey value."""
    torch.manual_seed(0)
    images = torch.rand(20, 3, 8, 8)
    grey = (torch.tensor([0.299, 0.587, 0.114])[:, None, None] * images).sum(1, keepdim=True)
    average = (images - grey).mean(0)
    found = kept(images, (grey + average)[:, None])
    assert found == pytest.approx({"grey_kept": 1, "colour_kept": 0}, abs=1e-5)
    found = kept(images, (images - grey + grey.mean(0))[:, None])
    assert found == pytest.approx({"grey_kept": 0, "colour_kept": 1}, abs=1e-5)


def test_noise_that_blocks_average_out_costs_little():
    torch.manual_seed(0)
    images = torch.rand(20, 1, 4, 4).repeat_interleave(4, -1).repeat_interleave(4, -2)
    drawn = images[:, None] + 0.2 * torch.randn(20, 8, 1, 16, 16)
    lost = 0.04 / (8 * 16) / (1 / 12)  # noise's variance in a block's mean, over that of a uniform value
    assert kept(images, drawn) == pytest.approx({"grey_kept": 1 - lost}, abs=0.003)

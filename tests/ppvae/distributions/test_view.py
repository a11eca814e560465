"""A view's density is left out, as zero; its draws are the transformation's."""

import torch

from ppvae.distributions import View


def test_a_view_is_drawn_and_never_scored():
    images = torch.rand(4, 1, 2, 3)
    view = View(lambda x: x + torch.rand(x.shape[:-3])[..., None, None, None], images)
    drawn = view.sample((5,))
    assert drawn.shape == (5, 4, 1, 2, 3)
    shift = drawn - images
    torch.testing.assert_close(shift, shift[..., :1, :1, :1].expand_as(shift))
    assert len(shift[..., 0, 0, 0].unique()) == 20  # another for each image and draw
    assert torch.equal(view.log_prob(drawn), torch.zeros(5, 4))
    assert torch.equal(torch.distributions.kl_divergence(view, view), torch.zeros(4))
    assert torch.equal(view.expand((5, 4)).images, images.expand(5, *images.shape))

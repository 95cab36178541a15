"""reon_face/mixing.py: what mixup and CutMix leave of an image."""

import pytest
import torch

from reon_face.mixing import edges, mix


def images(count=4, height=30, width=20):
    """Image k is all k + 1."""
    return torch.arange(1.0, count + 1)[:, None, None, None].expand(count, 3, height, width).clone()


def test_mixup_adds_each_image_and_the_one_before_it_by_the_share():
    torch.manual_seed(0)
    x = images()
    mixed, share = mix(x, 0.4, 0.0)
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * x + (1 - share) * x.roll(1, dims=0))


def test_cutmix_puts_a_rectangle_of_the_one_before_and_the_share_is_that_of_the_pixels():
    torch.manual_seed(0)
    x = images()
    shares = []
    for _ in range(300):
        mixed, share = mix(x, 0.0, 1.0)
        shares.append(share)
        foreign = mixed == x.roll(1, dims=0)
        assert torch.equal(mixed[~foreign], x[~foreign])
        assert foreign.double().mean().item() == pytest.approx(1 - share)
        assert torch.equal(foreign, foreign[:1, :1].expand_as(foreign))  # at the same place in all images
        rows, columns = foreign[0, 0].any(dim=1), foreign[0, 0].any(dim=0)
        assert torch.equal(foreign[0, 0], rows[:, None] & columns)
        for line in (rows, columns):
            places = line.nonzero().flatten()
            assert len(places) == 0 or places[-1] - places[0] + 1 == len(places)
    # the rectangle is cut off at the border, so that more than a half of an image is left in the mean
    assert min(shares) < 0.2 and max(shares) > 0.95 and 0.5 < sum(shares) / len(shares) < 0.75


def test_with_both_each_batch_gets_one_of_them():
    torch.manual_seed(0)
    x = images(2)
    values = [len(mix(x, 0.4, 1.0)[0].unique()) for _ in range(60)]
    whole = [torch.equal(mix(x, 0.4, 0.0)[0], x) for _ in range(20)]
    assert not all(whole)
    pasted = sum(set(mix(x, 0.4, 1.0)[0].unique().tolist()) <= {1.0, 2.0} for _ in range(200))
    assert 60 < pasted < 140 and set(values) <= {1, 2}


def test_a_stretch_ends_at_the_border():
    assert edges(0.5, 0.5, 20) == (5, 15) and edges(0.0, 0.5, 20) == (0, 5) and edges(1.0, 1.0, 20) == (10, 20)
    assert edges(0.3, 0.0, 20) == (6, 6)

import pytest
import torch

from distml.errors import UserError
from distml.train.modules import CNN
from distml.train.modules.convolution import image_size


@pytest.mark.parametrize(
    ("size", "dims", "expected"),
    [
        pytest.param((9,), 1, ((1, 9), False), id="signal"),
        pytest.param((3, 9), 1, ((3, 9), False), id="channels of a signal"),
        pytest.param((8, 9), 2, ((1, 8, 9), False), id="grey image"),
        pytest.param((3, 8, 9), 2, ((3, 8, 9), False), id="channels first"),
        pytest.param((8, 9, 3), 2, ((3, 8, 9), True), id="channels last"),
        pytest.param((2, 3, 2), 2, ((2, 3, 2), False), id="tiny image"),
    ],
)
def test_dimensions_are_read_as_channels_and_sides(size, dims, expected):
    assert image_size(size, dims, "CNN") == expected


def test_too_many_dimensions_are_refused():
    with pytest.raises(UserError, match=r"dims=2 reads arrays of 2 or 3 dimensions, not \(2, 3, 4"):
        image_size((2, 3, 4, 5), 2, "CNN")


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("size", [(1,), (7,), (40,), (1, 1), (5, 2), (30, 9), (7, 6, 3), (1, 9, 9)])
def test_sizes_fit_from_layer_to_layer(kernel_size, pool, size, shape_of):
    spec = CNN(channels=(2, 3), kernel_size=kernel_size, pool=pool, hidden=(4,))
    module = spec.build(shape_of(array=size)).eval()
    assert module(array=torch.randn(2, *size)).shape == (2, 4)


def test_large_images_do_not_make_large_dense_layers(shape_of):
    module = CNN(channels=(2, 2)).build(shape_of(array=(96, 64)))
    assert module.reader.width == 2 * 8 * 8


def test_matrix_is_read_as_images_that_are_standardised_alike(shape_of):
    torch.manual_seed(0)
    images = torch.randn(2, 1, 4, 6)
    from_matrix = CNN(channels=(2,), image_shape=(4, 6)).build(shape_of(numbers=(24,))).eval()
    from_array = CNN(channels=(2,)).build(shape_of(array=(4, 6))).eval()
    from_array.load_state_dict(from_matrix.state_dict())
    same = from_matrix(numbers=images.reshape(2, 24)), from_array(array=images[:, 0])
    assert torch.equal(*same)
    assert from_matrix.shares_scale
    assert not from_array.shares_scale


def test_channels_may_come_last(shape_of):
    module = CNN(channels=(2,)).build(shape_of(array=(6, 6, 3))).eval()
    image = torch.randn(1, 6, 6, 3)
    planes = module.reader.planes(image)
    assert planes.shape == (1, 3, 6, 6)
    assert torch.equal(planes[0, 1], image[0, :, :, 1])

"""Shapes, mirror symmetry and gradients of the networks; what they refuse."""

import pytest
import torch
from torch import nn

from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, BetaELBO, UserError, check_pair
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import ConvDecoder, ConvEncoder, MapDecoder, MapEncoder, MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior

SHAPES = [(1, 28, 28), (3, 33, 33), (3, 64, 64), (2, 28, 33), (1, 1, 5)]


def one_line(error: pytest.ExceptionInfo) -> bool:
    return "\n" not in str(error.value)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("encoder", "decoder"), [(ConvEncoder, ConvDecoder), (MLPEncoder, MLPDecoder)])
def test_shapes_with_extra_leading_dims(encoder, decoder, shape):
    encode, decode = encoder(shape), decoder(4, shape)
    for lead in [(), (2,), (3, 2)]:
        features = encode(torch.rand(*lead, *shape))
        assert features.shape == (*lead, encode.features)
        assert decode(torch.randn(*lead, 4)).shape == (*lead, *shape)


@pytest.mark.parametrize(("encoder", "decoder"), [(ConvEncoder, ConvDecoder), (MLPEncoder, MLPDecoder)])
def test_leading_dims_are_independent(encoder, decoder):
    images, z = torch.rand(3, 2, 2, 9, 7), torch.randn(3, 2, 4)
    encode, decode = encoder((2, 9, 7)), decoder(4, (2, 9, 7))
    torch.testing.assert_close(encode(images)[2, 1], encode(images[2, 1]))
    torch.testing.assert_close(decode(z)[2, 1], decode(z[2, 1]))


def test_without_hidden_layers_the_pixels_stay_and_the_decoder_is_linear():
    images, (a, b) = torch.rand(3, 2, 4, 5), torch.randn(2, 3, 4)
    encode, decode = MLPEncoder((2, 4, 5), hidden=()), MLPDecoder(4, (2, 4, 5), hidden=(), maps=3)
    assert torch.equal(encode(images), images.flatten(1))
    assert encode.features == 40
    torch.testing.assert_close(decode(a + b) + decode(torch.zeros(4)), decode(a) + decode(b))
    assert sum(one.numel() for one in decode.parameters()) == (4 + 1) * 3 * 4 * 5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_feature_maps_stand_at_one_scale_for_encoder_and_decoder(shape, halvings):
    encode = MapEncoder(shape, [5] * halvings, [6])
    decode = MapDecoder(2, shape, [5] * halvings, maps=4)
    assert decode.map_shape[1:] == encode.map_shape[1:] == tuple(-(-size // 2**halvings) for size in shape[1:])
    for lead in [(), (2,), (3, 2)]:
        images, z = torch.rand(*lead, *shape), torch.randn(*lead, *decode.map_shape)
        maps, features = encode.levels(images)
        assert (maps.shape, features.shape) == ((*lead, *encode.map_shape), (*lead, encode.features))
        assert torch.equal(encode(images), features)
        assert decode(z).shape == (*lead, 4, *shape[1:])
    torch.testing.assert_close(decode(z)[2, 1], decode(z[2, 1]))
    torch.testing.assert_close(encode.levels(images)[0][2, 1], encode.levels(images[2, 1])[0])


def test_features_are_made_of_the_maps_alone():
    encode = MapEncoder((1, 9, 7), [3], [4])
    images = torch.rand(2, 1, 9, 7)
    maps, features = encode.levels(images)
    torch.testing.assert_close(encode.to_the_top(maps).flatten(1), features)


def test_a_decoder_of_maps_ends_in_one_line():
    for count in (0, 1.5, True):
        with pytest.raises(UserError, match=f"latent_maps={count}: expected a whole number") as error:
            MapDecoder(count, (1, 9, 7))
        assert one_line(error)


@pytest.mark.parametrize("decoder", [ConvDecoder, MLPDecoder])
def test_decoders_draw_as_many_maps_as_asked(decoder):
    assert decoder(4, (2, 9, 7)).maps == 2
    decode = decoder(4, (2, 9, 7), maps=5)
    assert (decode.maps, decode.image_shape) == (5, (2, 9, 7))
    for lead in [(), (2,), (3, 2)]:
        assert decode(torch.randn(*lead, 4)).shape == (*lead, 5, 9, 7)


@pytest.mark.parametrize("decoder", [ConvDecoder, MLPDecoder])
def test_maps_of_an_images_channels_change_nothing(decoder):
    states = []
    for settings in ({}, {"maps": 2}, {"maps": None}):
        torch.manual_seed(3)
        states.append(decoder(4, (2, 9, 7), **settings).state_dict())
    for state in states[1:]:
        assert list(state) == list(states[0])
        assert all(torch.equal(state[name], value) for name, value in states[0].items())


@pytest.mark.parametrize("maps", [0, -1, 2.5, True])
@pytest.mark.parametrize("decoder", [ConvDecoder, MLPDecoder])
def test_maps_are_a_count(decoder, maps):
    with pytest.raises(UserError, match=f"maps={maps}: expected a whole number") as error:
        decoder(4, (2, 9, 7), maps=maps)
    assert one_line(error)


def map_sizes(network: nn.Module, value: torch.Tensor, kind: type) -> list[tuple[int, ...]]:
    """Shapes of the maps into and out of each layer of one kind."""
    sizes = []
    for layer in network.modules():
        if isinstance(layer, kind):
            layer.register_forward_hook(lambda _, i, o: sizes.extend([tuple(i[0].shape[1:]), tuple(o.shape[1:])]))
    network(value)
    return sizes


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_decoder_mirrors_the_encoder(shape):
    """The paper's 32, 32, 64, 64 filters of 3 × 3, stride 2: the same maps and kernels, in reverse."""
    encode, decode = ConvEncoder(shape), ConvDecoder(4, shape)
    down = map_sizes(encode, torch.rand(1, *shape), nn.Conv2d)
    up = map_sizes(decode, torch.randn(1, 4), nn.ConvTranspose2d)
    assert [size[0] for size in down[1::2]] == [32, 32, 64, 64]
    assert down == up[::-1]
    kernels = [layer.weight.shape for layer in encode.layers if isinstance(layer, nn.Conv2d)]
    transposed = [layer.weight.shape for layer in decode.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert kernels == transposed[::-1]
    assert {tuple(kernel[2:]) for kernel in kernels} == {(3, 3)}
    assert isinstance(decode.layers[-1], nn.ConvTranspose2d), "the last layer must be unbounded"


@pytest.mark.parametrize("convolutional", [True, False])
def test_every_parameter_gets_a_gradient(pair_name, convolutional, build):
    shape = (2, 9, 7)
    encoder = ConvEncoder(shape, (4, 8)) if convolutional else MLPEncoder(shape, (16, 12), "tanh")
    decoder = ConvDecoder(3, shape, (8, 4)) if convolutional else MLPDecoder(3, shape, (12, 16), "elu")
    pair = build(pair_name, "normal", encoder, decoder)
    BetaELBO()(pair.model, pair.guide, pair.images).backward()
    names = {
        name
        for part in (pair.model, pair.guide)
        for name, p in part.named_parameters()
        if p.grad is None or not p.grad.any()
    }
    assert not names, f"no gradient reaches {sorted(names)}"
    assert len(list(pair.model.parameters())) + len(list(pair.guide.parameters())) >= 14


@pytest.mark.parametrize(
    "network", [ConvEncoder, MLPEncoder, lambda shape: MLPDecoder(2, shape), lambda shape: ConvDecoder(2, shape)]
)
@pytest.mark.parametrize("shape", [(28, 28), (1, 0, 5), (1, 1, 28, 28), (-3, 8, 8)])
def test_image_shape_has_three_positive_sizes(network, shape):
    with pytest.raises(UserError, match=r"image_shape is .*expected \(channels, rows, columns\)") as error:
        network(shape)
    assert one_line(error)


@pytest.mark.parametrize("prior", [NormalPrior, NormalGammaPrior])
def test_prior_and_decoder_agree_on_latents(prior):
    with pytest.raises(UserError, match="prior has 4 latents but the decoder takes 3") as error:
        VAE(prior(4), NormalLikelihood(MLPDecoder(3, (1, 6, 6))))
    assert one_line(error)


@pytest.mark.parametrize("guide", [MeanFieldNormal, NormalGammaGuide])
@pytest.mark.parametrize("features", [None, 4.0, "4"])
def test_an_encoder_says_how_wide_it_is(guide, features):
    encoder = nn.Flatten()
    if features is not None:
        encoder.features = features
    with pytest.raises(UserError, match="encoder Flatten has no integer `features`") as error:
        guide(encoder, 3)
    assert one_line(error)


@pytest.mark.parametrize("latents", [0, -1, 2.5])
@pytest.mark.parametrize("part", [NormalPrior, NormalGammaPrior, MLPDecoder, ConvDecoder])
def test_latents_are_a_count(part, latents):
    arguments = () if part in (NormalPrior, NormalGammaPrior) else ((1, 6, 6),)
    with pytest.raises(UserError, match=f"latents.*{latents}.*expected") as error:
        part(latents, *arguments)
    assert one_line(error)


def test_a_misspelt_activation_lists_the_names():
    with pytest.raises(UserError, match=r"'swish'.*relu, tanh, leaky_relu, elu") as error:
        MLPEncoder((1, 6, 6), (16,), "swish")
    assert one_line(error)


def test_images_of_another_shape_are_refused(pair_name, build):
    pair = build(pair_name)
    check_pair(pair.model, pair.guide, pair.images)
    for images, match in [
        (torch.rand(2, 6, 6), "expected .image, channel, row, column"),
        (torch.rand(2, 1, 6, 5), r"images have shape \(1, 6, 5\).*built for \(1, 6, 6\)"),
    ]:
        with pytest.raises(UserError, match=match) as error:
            check_pair(pair.model, pair.guide, images)
        assert one_line(error)


def test_guide_and_model_agree_on_latents():
    model = VAE(NormalPrior(3), NormalLikelihood(MLPDecoder(3, (1, 6, 6))))
    with pytest.raises(
        UserError, match=r"site 'z' has event shape \(4,\) in the guide but \(3,\) in the model"
    ) as error:
        check_pair(model, MeanFieldNormal(MLPEncoder((1, 6, 6)), 4), torch.rand(2, 1, 6, 6))
    assert one_line(error)


def test_tanh_layers_pass_on_what_they_get():
    """Of standard normal inputs six tanh layers keep a variance of order one; with torch's weights it fades away."""
    torch.manual_seed(0)
    images = torch.randn(2000, 1, 16, 16)
    with torch.no_grad():
        glorot = MLPEncoder((1, 16, 16), [256] * 6, "tanh")(images).var().item()
        plain = nn.Sequential(nn.Flatten(), *(f for _ in range(6) for f in (nn.Linear(256, 256), nn.Tanh())))
        faded = plain(images).var().item()
    assert 0.2 < glorot < 0.6
    assert faded < 0.02

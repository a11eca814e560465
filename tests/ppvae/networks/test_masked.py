"""The masked network against Pyro's, which passes x and context through every layer's own product."""

import pytest
import torch
from pyro.nn import ConditionalAutoRegressiveNN
from torch import nn

from ppvae.networks.masked import MaskedNetwork

ENTRIES = 5


def pyros(network: MaskedNetwork, context: int, hidden: list[int]) -> ConditionalAutoRegressiveNN:
    """Pyro's network with the same weights."""
    order = network.permutation
    other = ConditionalAutoRegressiveNN(
        ENTRIES, context, hidden, permutation=order, skip_connections=True, nonlinearity=nn.ELU()
    ).double()
    weight, width = network.first.weight, hidden[0]
    if context:
        weight = torch.cat([network.context.weight, weight], 1)
    with torch.no_grad():
        other.layers[0].weight.copy_(weight[:width])
        other.layers[0].bias.copy_(network.first.bias[:width])
        other.skip_layer.weight.copy_(weight[width:])
        other.layers[-1].weight.copy_(network.last.weight)
        other.layers[-1].bias.copy_(network.first.bias[width:])
        for layer, inner in zip(other.layers[1:-1], network.inner, strict=True):
            layer.load_state_dict({**layer.state_dict(), **inner.state_dict()})
    return other


@pytest.mark.parametrize("hidden", [[7], [9, 5, 8]])
@pytest.mark.parametrize("context", [0, 1, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_it_is_pyros_network(reverse, context, hidden):
    """Values, and gradients of x, context and weights, for every image under two draws."""
    network = MaskedNetwork(ENTRIES, context, hidden, reverse=reverse).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    other = pyros(network, context, hidden)
    x = torch.randn(2, 6, ENTRIES, dtype=torch.float64).requires_grad_()
    given = torch.randn(6, context, dtype=torch.float64).requires_grad_() if context else None
    # Pyro's without a context would cat one of width zero
    outputs = network(x, given), other(x, x.new_zeros(0) if given is None else given)
    weights = torch.randn(2, 2, 6, ENTRIES, dtype=torch.float64)
    gradients = []
    for found, module in zip(outputs, (network, other), strict=True):
        loss = (torch.stack(found) * weights).sum()
        inputs = [x, *([] if given is None else [given])]
        loss.backward(retain_graph=True, inputs=[*inputs, *module.parameters()])
        gradients.append([p.grad.clone() for p in inputs])
        x.grad = None
        if given is not None:
            given.grad = None
    torch.testing.assert_close(*(torch.stack(found) for found in outputs))
    torch.testing.assert_close(*gradients)
    width = hidden[0]
    torch.testing.assert_close(network.first.weight.grad[:width], other.layers[0].weight.grad[:, context:])
    torch.testing.assert_close(network.first.weight.grad[width:], other.skip_layer.weight.grad[:, context:])
    torch.testing.assert_close(network.first.bias.grad[width:], other.layers[-1].bias.grad)
    torch.testing.assert_close(network.last.weight.grad, other.layers[-1].weight.grad)
    if context:
        torch.testing.assert_close(network.context.weight.grad[:width], other.layers[0].weight.grad[:, :context])


@pytest.mark.parametrize("context", [0, 60])
def test_it_starts_with_the_weights_of_a_layer_of_torchs(context):
    """Uniform in ±1/√inputs, a thousandth of it in what reaches the outputs; standard errors of 4 000 draws: 1.3 %."""
    network = MaskedNetwork(40, context, [100])
    bound = (40 + context) ** -0.5
    scales = {"hidden": network.first.weight[:100] / bound, "outputs": network.first.weight[100:] / bound * 1e3}
    scales["last"] = network.last.weight * 10 * 1e3
    if context:
        scales |= {"context": network.context.weight[:100] / bound}
    for name, weights in scales.items():
        assert weights.abs().max() <= 1, name
        assert weights.square().mean().sqrt().item() == pytest.approx(3**-0.5, rel=0.05), name

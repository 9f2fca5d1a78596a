"""What SplineConv needs of pyg-lib, which tests do without, in plain torch: bases of degree 1 (Fey 2018, §3).

Both sides of a comparison use it, so it is fullgraph that is tested here and not these kernels.
"""

import torch
from torch import Tensor
from torch_geometric.nn.conv import spline_conv


def spline_basis(pseudo: Tensor, kernel_size: Tensor, is_open_spline: Tensor, degree: int) -> tuple[Tensor, Tensor]:
    """The weights ``[E, 2^D]`` of the nearest control points of each edge, and which ones they are."""
    assert degree == 1
    position = pseudo * (kernel_size - is_open_spline.long())
    below = position.detach().floor()
    fraction = position - below
    basis, place = pseudo.new_ones(len(pseudo), 1), kernel_size.new_zeros(len(pseudo), 1)
    stride = 1
    for d in range(pseudo.size(1)):
        size = int(kernel_size[d])
        ends = (below[:, d, None].long() + torch.arange(2)) % size
        weights = torch.stack([1 - fraction[:, d], fraction[:, d]], dim=1)
        basis = (basis[:, None, :] * weights[:, :, None]).flatten(1)
        place = (place[:, None, :] + stride * ends[:, :, None]).flatten(1)
        stride *= size
    return basis, place


def spline_weighting(x: Tensor, weight: Tensor, basis: Tensor, place: Tensor) -> Tensor:
    """``sum over control points of basis * (x @ weight)``, ``[E, out_channels]``."""
    return torch.einsum("es,ei,esio->eo", basis, x, weight[place])


def install() -> None:
    """Give them to PyG where it has none."""
    if spline_conv.spline_basis is None:
        spline_conv.spline_basis, spline_conv.spline_weighting = spline_basis, spline_weighting

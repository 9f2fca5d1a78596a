"""What functions are called with: patterns of arguments, which are Python expressions of the names in `operands`.

Bars and ends of lines stand between patterns.
"""


def _split(text: str) -> tuple[str, ...]:
    patterns = (each.strip() for line in text.splitlines() for each in line.split("|"))
    return tuple(dict.fromkeys(each for each in patterns if each))


BLIND = _split(
    """x|v|x3|t|t3|i|lab|m|mm|z|f|h|p|col|nan|tie|sq|pd|w|x4|ids|by|x, 0|x, 1|x, -1|x, -2|x, 2|x, (0, 1)|x, (1,)
    x, (0,)|x, None|v, 0|v, -1|x3, 0|x3, 1|x3, 2|x3, -1|x3, (0, 2)|x3, (1, 2)|t, 0|t, 1|t, -1|t3, 1|t3, (0, 1)|i, 0
    i, 1|lab, 0|m, 0|mm, 0|mm, 1|mm, -1|tie, 0|tie, 1|nan, 0|nan, 1|x, dim=0|x, dim=1|x, dim=-1|x, dim=(0, 1)
    x, dim=(1,)|x, dim=None|v, dim=0|t, dim=0|t, dim=1|x, axis=0|x, axis=1|x3, dim=-2|mm, dim=0|i, dim=1|x, 0, True
    x, 1, True|x, -1, False|v, 0, True|t, 1, True|x, dim=0, keepdim=True|x, dim=1, keepdim=True
    x, dim=(0, 1), keepdim=True|x, keepdim=True|x3, dim=(0, 2), keepdim=True|t, dim=0, keepdim=True
    mm, dim=0, keepdim=True|x, axis=0, keepdims=True|x, dtype=torch.float32|x, 0, dtype=torch.float32
    x, 1, dtype=torch.float32|i, dtype=torch.float64|x, 2|x, 2.0|x, 0.5|x, 3, 1|x, 1, 0|x, 0, 1|x, -1, 0|x, 2, 1, 0
    x, 2, 1, -1|x, 1, 1, 2|x, 2, 0|x, True|i, 2|i, 3|lab, 2|m, True|x, 0, 0|x, 1, 0|x, 0, 2, 3|x, 1, 0, 2|x3, 1, 2
    x3, 0, 1|x3, 2, 0|t, 0, 1|t, 1, 0|x, 0, 1, 1|x, -1.0, 1.0|x, min=-0.5, max=0.5|x, min=Ec|x, value=1.0|x, p=1
    x, p=2|x, p=2, dim=0|x, p=2, dim=1|x, 1, 0, 0.5|x, y|x, E|E, x|x, v|x, Ec|Ec, x|x, Ev|x, col|x, Ecol|col, x
    E, col|x, B1|x, S|S, x|v, u|v, Ev|Ev, v|x, o|o, x|o, E|v, ov|x, w|w, x|w, w|x, t|t, x|t, t2|t, Ec1|t, Ev|t, v
    v, x|x3, y3|x3, x|x3, W|x3, b|x3, Ec1|R3, x|x, R3|x3, col|t3, b|i, j|j, i|i, Ei|i, x|x, i|x, f|f, x|x, h|h, f
    h, Ec|x, m1|x, mm|mm, x|m, m|mm, mm|mm, Emm|Emm, mm|x, z|z, x|i, f|lab, i|lab, ties|ids, 2|p, Ep|p, y|y, p|p, p
    x, p|f, f|h, h|z, z|f, Ef|x, Ecp|by, by|by, i|by, 3|2, x|2.0, v|3, i|True, m|x, W|x, WT|t, x|x, Q|E, W|A, x|A, v
    AK, x|AK, v|x, A|t, E|x, x|x.T, y|E.T, x|x.T, E|x3, W3|sq, sq|sq, x3|sq, one|k, WT|v, A|v, x|x, WT, b|x, W, b
    b, x, W|x, Ec, S|Ec, x, y|x, y, y|x, y, E|x, y, 0.5|x, y, Ec|x, y, alpha=2|x, x, x|x, t, W|x, Ec, Ec|v, x, Ec
    v, x, E|x, v, Ec|x, v, u|x, y, value=0.5|x, mm, y|mm, x, y|mm, x, E|m1, x, 0.0|Emm, x, y|mm, 1.0, 0.0|mm, Ec, x
    m1, E, Ec|x > 0, x, 0|x, m|x, mm, 0.0|x, mm, S|x, m1, 1.0|E, mm, 0.0|x, Em|x, Emm, 0.0|x, Emm|mm, mm, mm|v, m
    v, m, 0.0|x, mm, y|x, ids|x, lab|x, Eids|x, Eneg|x, Ebig|x, Enone|x, 0, ids|x, 0, Eids|x, 0, Eneg|x, 0, Ebig
    x, 1, Ecid|x, 0, Enone|x, oi|x, wi|v, 0, ids|v, ids|E, 0, ids|E, ids|E, lab|Ec, lab|Q, lab|Q, 0, lab|x, 0, wi
    E, 0, wi|x, 0, at|x, 1, at|x, 0, rid|x, 1, at1|x, 1, Eat|x, 0, Erid|E, 0, rid|E, 1, at|x, 1, ids|t, 1, ids
    t, 0, Ecid|t, 1, Eids|x, om|x, wm|x3, 0, ids|x3, 1, Ecid|v, Eids|x, Es|x, 0, Es|x, 0, ids, y|x, 0, ids, E
    x, 0, Eids, src|x, 0, Eids, 1.0|x, 0, ids, 1.0|x, 1, Ecid, k|x, 1, Ecid, 2.0|x, 1, at, y|x, 0, rid, y
    x, 1, at, 1.0|x, 0, rid, E|x, 0, Erid, y|E, 0, ids, x|Q, 0, lab, x|Ec, 0, lab, v|v, 0, ids, u|v, 0, lab, u
    v, 0, Eids, src1|x, 0, wi, w|x, 0, Ei3, R3|x, 1, at, y, reduce='add'|x, 0, rid, y, 'sum'|x, 1, at, y, 'amax'
    v, 0, ids, u, 'mean'|x, 0, ids, y, 'amax'|Ec, 0, lab, v, 'sum'|Q, 0, lab, x, 'mean'|x, 0, ids, y, alpha=2.0
    E, 0, Eids, x|x, (ids,), y|x, (Eids,), src|x, (ids, lab), v|x, (mm,), S|x, (m,), Ec|v, (ids,), u, True
    x, (Eids,), src, True|x, mm, v|x, (m1,)|x, [2, 5]|x, [1, 2], 1|x, [1, 2], dim=1|x, 3, 0|x, 3, dim=0|x, 2, dim=1
    x, (2, 5)|x, 7|x, (0,), (0,)|x, (1, 0)|x, 1, 0|x, (1, 1)|x, [0], [1]|x, [1], [0]|x3, (0, 2, 1)|x3, 0, 2, 1
    x3, 2, 1, 0|t, 1, 0|x, 7, 3|x, (7, 3)|x, -1|x, (-1,)|x, (7, -1)|x, -1, 3|x, (3, 7)|x, (21,)|x, 21|x, (-1, 1)
    x, 1, -1|x, (7, 1, 3)|x, 7, 1, 3|x, (7, 3, 1)|x3, (7, 6)|x3, (7, -1)|x3, (14, 3)|x3, (-1, 2)|x3, 0, 1|x3, 1, 2
    x3, -2, -1|v, (7, 1)|v, (7, 3)|v, 7, 1|col, (7, 3)|col, 7, 3|col, -1, 3|x, (2, 7, 3)|x, (2, 1)|x, (1, 2)|x, 2, 1
    x, 1, 2|x, (-1, 3)|x, (1, 3)|x, x.size(0), -1|x, (x.size(0), 3)|x, x.size(0) * 3|x, (x.size(0), 1, 3)
    v, (v.size(0), 2)|x, x.shape|E, x.shape|x, (0, 1)|x, (1, 1, 0, 0)|x, (0, 0, 1, 1)|x, (1, 2)|x, [0, 1, 0, 0]
    x, 1, 3|x, 1, (3, 1)|x, 0, (7, 1)|[x, y]|[x, E]|[x, y], 0|[x, y], 1|[x, y], -1|[x, y], dim=1|[x, k], 1|[x, w]
    [x, w], 0|[E, x], 0|[x, E], 1|[v, u]|[v, u], 1|(x, y)|[x, o], 1|[x, f], 0|[x3, y3], 2|[x, x, x]|[x, v], 1|[x]
    [E, w], 0|[t, t2], 0|[t, t2], 1|[x, B1], 0|[x, B1]|[m, m]|[v, Ev]|x, v, y|x, y, w|x[m]|x[ids]|x[Eids]|x[1:5]
    x[:, 1]|x[:, None]|x.T|x3.mT|x.detach()|x.double()|x[0]|x[m], y[m]|x[m], y[Em]|x[ids], y|x[Eids], y[Eids]
    x, ids > 2|x, slice(1, 5)|x, slice(None, None, 2)|x, slice(-3, None)|x, (slice(None), 1)
    x, (slice(None), slice(0, 2))|x, (slice(2, 4), 1)|x, (slice(None), None)|x, None|x, ...|x, (..., 0)
    x, (..., None)|x, (ids, lab)|x, (ids, 1)|x, (m, 1)|x, (m, slice(0, 2))|x, (0, 1)|x, -1|x, (Eids, Ecid[0])
    x, (slice(None), Ecid)|x, (slice(None), Emc)|x, (ids, slice(None))|x, (None, ids)|x, (torch.arange(7), lab)
    x, mm|x, [0, 2]|x, [True, False]|x, (1, slice(None))|x, (ids[:, None], Ecid)|x, (Em, 0)|E, m|E, ids
    E, (ids, lab)|Q, (lab, lab)|Ec, lab|x, ids[m]|x, m, 1.0|x, m, Ec|x, ids, 1.0|x, ids, y|x, Eids, src|x, Eids, 0.0
    x, 0, 1.0|x, 0, Ec|x, -1, Ec|x, slice(1, 3), 0.0|x, slice(0, 4), src|x, (slice(None), 1), v
    x, (slice(None), 1), 0.0|x, mm, 0.0|x, mm, S|x, mm, y[mm]|x, m, y[m]|x, (ids, lab), v|x, (m, 1), 0.0
    x, slice(None), y|x, slice(None), E|x, (slice(None), slice(0, 2)), k|x, Em, 2.0|E, m, 1.0|E, ids, x|E, 0, x
    E, slice(None), x|v, m, u[m]|v, ids, u|x, ..., 0.0|x, lab, reduction='sum'|x, y, reduction='none'
    x, y, reduction='sum'|x, y, reduction='mean'|v, u, sign|x, y, sign|x, y, v|x, size_average=False|x, (3,)
    x, (3,), Ec, Ec|x, [3], Ec, Ec, 1e-5|x, Ec, Ecp|x, Ec, Ecp, Ec, Ec, True|x, Ec, Ecp, training=True
    x, None, None, training=True|x, 0.5, True|x, 0.5, False|x, 1.0|x, 0.0|x, p=0.5|x3, 0.5|p, 2, True|x, 2, False
    x, 0.2, 0.4|x, 2, dim=0|x, 2, dim=1|x, k=2, dim=1|x, 2, 1, True, True|x, 1, True|v, 3|v, k=3, largest=False
    x, descending=True|x, dim=1, descending=True|x, dim=0, descending=True|x, stable=True|x, 0.5, 0|x, 0.5, 1
    x, Eq, 1|x, Eq|x, q=0.5, dim=1, keepdim=True|v, 0.5|x, edges|edges, x|edges, v|x, edges, right=True|lab, Ev
    lab, minlength=5|ids, Ev|lab, v|lab, num_classes=3|lab, 3|lab, 5|ids, 7|x, n=1|x, 1, 1|x, x=Ec, dim=1|x, 4
    x, bins=4|x, 4, -1.0, 1.0|x, 4, min=0, max=1|x, out=y|x, out=E|x, y, out=E|x, out=torch.empty(0)
    x, torch.float32|x, torch.int64|x, 'cpu'|x, device='cpu'|x, dtype=torch.int32|x, y.dtype
    x, memory_format=torch.contiguous_format|x, requires_grad=True|x, dtype=torch.float64, device='cpu'
    torch.float32, x|img|img, 2|img, (2, 2)|vol, 2|img, W4|seq, W3|seq, 2|seq, W3, b|img, W4, b|img, 1|img, (1, 1)
    img, scale_factor=2|x, scale_factor=2|x, nan=0.0|x, diagonal=1|x, offset=1|x, 1, 0, 1|x, dim1=0, dim2=1
    x3, 0, 1, 2|x3, dim1=1, dim2=2|x3, offset=0, dim1=-2, dim2=-1|sq, upper=True|x, repeats=2|x, 2, 0|x, 2, 1
    x, ties, 0|x, ties|ties|x, Ecols, 1|x, Ecols, dim=1|v, ties|x, repeats=ties, dim=0|x, Elab, 0
    x, 2, dim=0, output_size=14|x, return_inverse=True|lab, return_inverse=True|lab, return_counts=True
    lab, return_inverse=True, return_counts=True|i, dim=0|i, dim=1|x, correction=0|x, unbiased=False
    x, 0, unbiased=False|x, 1, False|x, 0, False, True|x, dim=0, correction=0
    x, dim=(0, 1), correction=1, keepdim=True|x, 'fro'|x, 'nuc'|x, float('inf')|x, float('inf'), 0|x, 1, 0, True
    x, 2, 1|x, 2, (0, 1)|x, 3, dim=0|x, ord=1, dim=0|x, -1, 1|x, 0, 0|x, 2, -1, 1e-6|x, y, 1|x, y, 0|x, y, dim=1
    x, y, dim=-1|x, y, dim=0|x, E, 1|x, Ec, 1|x, y, 2|x, y, p=1|x, E, p=2|E, x, p=2|x, y, 1e-3|x, y, rtol=1.0
    x, y, [[1], [0]]|x, y, dims=([0], [0])|x, W, 1|x, W, dims=1|x, y, dims=2|W, x, [[0], [1]]|A, x, 1
    x, x, [[0], [0]]|x, W.T, b|x, lambda a: a + 1|x, x.dim() - 1|x, mean=0.0|x, 1.0, 2.0|x, 0.3|p|p, 3|p, 3, True"""
)
"""Arguments that every function is tried with."""


def patterns_of(name: str) -> list[str]:
    """Those of the function of this name: the blind ones and its own."""
    return list(dict.fromkeys((*BLIND, *_split(OWN.get(name, "")))))


def _own(names: str, patterns: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), patterns)


_LOSS = """x, p|p, hot.double()|p, hot.double(), Ecp|x, hot.double(), Ecp|x, hot.double(), pos_weight=Ecp
    x, y, reduction='none'|x, y, beta=0.5|x, y, delta=0.5|x, y, 1.0|p, hot.double(), reduction='none'
    x, hot.double(), reduction='sum'|x, Ep, log_target=True|x, Ep, reduction='batchmean'
    x, Ep, reduction='batchmean', log_target=True|x, Ep, reduction='sum'|E, p|E, x|x, E, reduction='sum'
    v, u, sign, 0.5|v, Ev, sign|x, sign[:, None]|v, sign|v, sign, reduction='none'|v, sign, margin=0.5
    x, y, sign, 0.2|x, y, sign, reduction='none'|x, y, p|x, y, vp|x, y, vp, True|x, y, col.abs()|x, y, 0.5
    x, y, p, full=True, reduction='sum'|x, y, E|x, y, E, 0.5|x, y, E, swap=True|x, y, o, p=1.0
    x, y, E, reduction='none'|x, i|p, i, log_input=False|x, i, full=True|x, i, reduction='none'|x, hot|x, hot, Ecp
    x, hot, reduction='none'|v, hot[:, 0]|x, lab, reduction='none'|x, lab, p=2|x, lab, weight=Ecp, reduction='sum'
    x, at|x, w|v, wv|x, y, weight=E.abs()|x, y, weight=p|x, y, weight=p, reduction='sum'|o, y|x, m1"""
_CLASSES = """x, lab|x, Elab|E, lab|x, lab, Ecp|x, lab, weight=Ecp|x, lab, ignore_index=1
    x, lab, weight=Ecp, ignore_index=0, reduction='sum'|x, lab, reduction='none'|x, lab, label_smoothing=0.1
    x, lab, Ecp, label_smoothing=0.1|x, lab, Ecp, reduction='sum', label_smoothing=0.1|x, p|x, p, Ecp
    x, p, label_smoothing=0.2|x, p, reduction='sum'|x, p, reduction='none'|x, Ep|E, p|x3, at[:, :2]
    x3, at[:, :2], Ecp|x3, at[:, :2], reduction='none'|x3, at[:, :2], ignore_index=0|x, lab, ignore_index=-100
    x[m], lab[m]|x[m], Elab[Em]|x, lab, None, None, 1|x, torch.full((7,), -100)|x, lab - 5|x, lab * 0 - 100|t.T, lab
    x, wt|x[Eids], lab[Eids]|x[Eids], Elab[Eids]|x, lab, Ecp, ignore_index=2, label_smoothing=0.3|Ec, lab[0]
    x.softmax(1), lab|f, lab|h, lab|x, oi % 3|w, wt|x, lab, reduction='wrong'|x, lab.int()|x, y3[:, :, 0].softmax(1)
    x, p, Ecp, reduction='none'"""
_NORM = """x|x, None, None, None, None, True, 0.1, 1e-5|x, Ec, Ecp, Ec, Ec, True|x, Ec, Ecp, Ec, Ec, False
    x, Ec, Ecp, training=True, momentum=0.3|x3, Ec, Ecp, None, None, True|x3, None, None, Ec, Ec, True
    x, Ec, Ecp, x.mean(0), x.var(0), True, 0.1, 1e-5|f, None, None, Ef, Ef, True|x, None, None, training=True
    x3, None, None, training=True|x, (3,)|x3, (3, 2)|x3, (2,)|x3, [2], b|x, (7, 3)|x, [3], Ec, Ec
    x, [3], None, None, 1e-3|x, [3], Ec, eps=1e-3|x, 3|x, 1|x3, 3|x3, 1, Ec, Ec|x3, 3, eps=1e-2|t, 1|seq, 3|x3|img
    x3, Ec, Ecp|x3, use_input_stats=False, running_mean=Ec, running_var=Ecp|x3, weight=Ec, bias=Ec
    x3, None, None, Ec, Ec, True, 0.1, 1e-5|x, 2.0, 1|x, 2.0, 0|x, p=1, dim=0|x, dim=(0, 1)|x, eps=1e-3|t, dim=0
    x[m], training=True|x[m], Ec, Ecp, Ec, Ec, True|x[Eids], None, None, training=True
    x, None, None, None, None, True, 0.0, 1e-5|h, [3]|f, [3]|x3, (2,), b, b|E, [3]|x, (3,), v"""
_SCATTER = """x, 0, rid, y|x, 0, ids[:, None].expand(-1, 3), y|x, 0, ids[:, None].expand_as(y), y
    E, 0, ids[:, None].expand_as(y), y|Q, 0, lab[:, None].expand_as(x), x|Q, 0, at, x|Q * 0, 0, at, y
    Ec * 0, 0, lab, v|x, 1, at, y|x, 1, at1, col|x, 0, wi[:, None].expand_as(w), w|x, 0, ids, y, 'prod'
    x, 0, ids, y, 'mean'|x, 0, ids, y, 'amin'|x, 0, ids, y, 'amax', include_self=False|x, 0, rid, y, 'amax'
    x, 0, rid, y, 'mean', include_self=False|x, 0, rid, y, reduce='prod'|Q, 0, at, x, 'amax'
    Q, 0, at, x, 'amin', include_self=False|Q, 0, lab, x, 'sum'|Q, 0, lab, x|Ec, 0, lab, v
    Ec, 0, lab, v, 'mean', include_self=False|v, 0, ids, u, 'sum'|v, 0, ids, u, 'amax'
    v, 0, lab, u, 'amin', include_self=False|v, 0, ids, u, reduce='multiply'|i, 0, rid, j|i, 0, ids, j|v, 0, oi, ov
    x, 0, oi, o|x, 0, ids, o|x, 0, ids, 2.0|x, 1, at, 2.0|x, 0, rid, 1.0|x, 0, Eids, src, alpha=0.5
    x, 0, Eids, src, 'amax'|x, 0, Erid, E|x, 0, Erid, 1.0|x, 0, ids[m], y[m]|x, 0, ids[m], x[m], alpha=2
    x3, 0, ids, y3|x3, 1, Ecid, y3[:, :2]|t, 1, ids, t2|t, 1, Eids, src.T|x, index=ids, dim=0, source=y
    x, dim=0, index=rid, src=y|E, dim=0, index=ids, source=x|x, 0, wi, w|E, 0, wi, w|lab, 0, ids, lab
    ties, 0, ids, 1|x, -2, ids, y|x, -1, at, y|h, 0, ids, h|f, 0, ids, f|mm, 0, ids, mm|x, 0, ids, x.float()
    x, 0, ids - 7, y|x, 0, ids + 7, y|x, 0, rid[m], y[m]|x, 1, at, x, 'amin'"""
_CONV = """seq, W3|seq, W3, b|seq, W3, b, 2|seq, W3, padding=1|seq, W3, groups=1|img, W4|img, W4, b, stride=2
    img, W4, padding='same'|seq, W3[:, :1], groups=3|R3.mT, x[:, :, None]|seq, 2|seq, 2, 1|img, 2|img, (2, 2), 1
    vol, 2|vol, 2, 2|img, 2, return_indices=True|seq, 2, return_indices=True|img, output_size=2|img, (1, 2)|vol, 1
    x, 1|x, 2|x, kernel_size=2|img, 2, 2, 1|seq, 1|seq, 4|img, [2, 2]|img, kernel_size=2, stride=1|2.0 * seq, 2.0, 2
    img, scale_factor=2.0, mode='bilinear'|seq, scale_factor=2, mode='linear'|seq, size=4
    img, (8, 8), mode='nearest'|img, upscale_factor=1|img, 2, 0.5|img, 2, dilation=1|x, 0|seq, size=3|t, 2
    x.T[None], W3.mT[:, :, :1]|x[None], A[:2, :, None]|x, W3|img, 3"""
_INDEX = """x, 0|x, -1|x, 6|x, 7|x, m|x, ids|x, wi|x, oi|x, om|x, wm|x, Em|x, Eids|x, Eneg|x, Ebig|x, Enone|x, mm|x, Emm
    x, m1|x, i|x, (ids, slice(None))|x, (slice(None), Eneg[:1])|x, (slice(None), lab)|x, (..., slice(1, None))
    x, (..., ids)|x, (ids, None)|x, (m, None)|x, (ids, ids)|x, (ids, Es)|x, (Es, slice(None))|x, (Es, Es - 1)|x, Es
    x, (Eids, slice(0, 2))|x, (Eids, Eids % 3)|x, (m, lab)|x, (m, Elab[:1])|x, (ids, at[:, 0])|x, (rid, at)|x, rid
    x, Erid|x, (Eids[:, None], Ecid)|x, slice(5, 2)|x, slice(0, 100)|x, slice(0, 7, 3)|x, slice(6, None, 1)
    x, slice(-100, 3)|x, ()|x, (slice(None),)|x, (slice(None), 3)|x, (slice(None), -1)|x, (0, 0, 0)
    x, (slice(None), slice(None), None)|x, True|x, False|x, [0, 1, 2]|x, [[0, 1]]|x, ([0, 1], [1, 2])
    x3, (ids, slice(None), 0)|x3, (slice(None), 0)|x3, (slice(None), 0, 1)|x3, (slice(None), Ecid)
    x3, (slice(None), Ecid, slice(None))|x3, (ids, lab)|x3, m|x3, (slice(None), lab)|x3, (..., 0)|x3, mm
    x3, (m, 0, 0)|x3, (ids, slice(None), Es % 2)|v, m|v, ids|v, rid|v, 3|v, None|v, slice(2, 5)
    v, (slice(None), None)|v, Eids|t, (slice(None), ids)|t, (slice(None), m)|t, (slice(None), Eids)|t, 0
    t, (0, slice(None))|t, (0, ids)|t, (slice(None), 2)|t, (slice(None), slice(1, 4))|t, Ecid|t, (1, 2)
    t3, (slice(None), ids)|t3, (0, m)|lab, ids|lab, m|E, m|E, ids|E, (ids, lab)|E, (slice(None), lab)|E, (m, 0)
    E, rid|Q, lab|Q, (lab, lab)|Q, i % 3|Ec, at|E3, (ids, lab)|E, wi|E, wm|x, m.nonzero()|x, m.nonzero()[:, 0]
    x, (m.nonzero()[:, 0], 1)|x, ids[ids]|x, (m, slice(None), None)|x, (None, m)|x, (None, slice(2, 4))
    x, (slice(2, 4), Ecid)|x, (slice(2, 4), None, 1)|x, (lab > 0) & m|x, ~m|z, m|mm, m|i, (ids, lab)|x, by[:, 0]
    x, m.byte()|f, ids|h, m"""
_PUT = """x, m, 0.0|x, m, y[m]|x, m, E[0]|x, m, E[Em]|x, ids, 0.0|x, ids, y|x, ids, Ec|x, Eids, src|x, Eids, Ec
    x, Eids, y[Eids]|x, 0, 0.0|x, 0, Ec|x, 0, y[0]|x, 7, 0.0|x, slice(1, 4), 0.0|x, slice(1, 4), Ec
    x, slice(1, 4), E[1:4]|x, slice(1, 4), y[1:4]|x, slice(1, 4), y[2:5]|x, slice(None), 0.0|x, slice(None), y
    x, slice(None), E|x, slice(None, None, 2), y[::2]|x, (slice(None), 0), v|x, (slice(None), 0), Ev
    x, (slice(None), 0), 1.0|x, (slice(None), Ecid), k|x, (slice(None), Emc), 0.0|x, (slice(None), slice(1, 3)), k
    x, (slice(None), slice(1, 3)), 0.0|x, (slice(None), 1), u + v|x, (ids, lab), v|x, (ids, lab), 0.0
    x, (torch.arange(7), lab), v|x, (torch.arange(7), lab), 1.0|x, (m, 0), 0.0|x, (m, 0), v[m]
    x, (m, slice(0, 2)), k[m]|x, mm, 0.0|x, mm, y[mm]|x, Emm, 0.0|x, m1, 0.0|x, ..., y|x, (..., 0), v|x, (0, 1), 5.0
    x, (0, slice(None)), Ec|x, m, w|x, (Eids, 0), 3.0|x, (Eids, Eids % 3), src1|v, m, 0.0|v, m, u[m]|v, ids, u
    v, ids, 0.0|v, Eids, src1|v, 0, 1.0|v, slice(2, 4), 0.0|v, v > 0, 0.0|x, x > 0, 0.0|x, x > 0, -x[x > 0]
    m, ids, True|m, Eids, True|m, Eids, False|lab, m, 0|i, ids, j|E, m, 0.0|E, m, x[m]|E, ids, x|E, ids, 0.0
    E, 0, x[0]|E, slice(None), x|E, Em, x[m]|E, Eids, x[Eids]|Q, lab, x|Q, lab, 0.0|t, (slice(None), 0), Ec
    t, (slice(None), ids), t2|t, 0, v|t, (0, slice(None)), v|t, (slice(None), m), 0.0|x3, (slice(None), 0), k
    x3, m, 0.0|x3, (m, 0), k[m]|x3, mm, 0.0|x3, (slice(None), slice(None), 0), x|x, None, 0.0|x, wi, w|x, ids, o
    x, ~m, y[~m]|h, m, 0.0|f, m, f[m]|f, m, y[m]|i, m, 2|i, m, 1.5|x, (slice(0, 3), 1), 0.0
    x, (slice(0, 3), 1), v[:3]|x, slice(-2, None), 0.0|x, rid, 0.0|x, m, 1j"""
_ATTENTION = """x, y, y|x3, y3, y3|x[None], y[None], y[None]|x[:, None], y[:, None], y[:, None]
    x3, y3, y3, is_causal=True
    x3.mT, y3.mT, y3.mT, scale=0.5|x, E, E|E, x, x|E[None], x[None], y[None]|x[None], E[None], E[None]|x, y, y, A
    x, y, y, attn_mask=A > 0|x[None, None], y[None, None], y[None, None]|x3, y3, y3, W.T @ W|x, w, w
    x3, y3, y3, dropout_p=0.0|t.T[None], x[None], x[None]|x.view(7, 1, 3), y.view(7, 1, 3), y.view(7, 1, 3)"""
_TABLE = """ids, E|lab, Q|ids, x|lab, E|ids, E, padding_idx=1|lab, Q, padding_idx=0|i, E|rid, x|Eids, x|wi, x|wi, E
    lab, Q, max_norm=1.0|lab, Q, scale_grad_by_freq=True|at, Q|ids, E, sparse=True|Q, lab|E, ids|x, ids|x, Eids
    E, ids, 1|at, Q, mode='sum'|at, Q, None, None, 2.0, False, 'mean'|rid, x, mode='sum'|lab, Q, Eids[1:2] * 0"""
_SHAPES = """x, (7, 3)|x, x.size(0), 3|x, -1, 3|x, x.shape[0], -1|x, (-1,)|x, -1|x, 21|x, 3, 7|x, 7, 3, 1|x, 1, 7, 3
    x, 7, 1, 3|x, (7, 3, 1)|x3, 7, 6|x3, -1, 6|x3, 7, -1|x3, 14, 3|x3, -1, 2|x3, 21, 2|x3, -1|x3, 7, 2, 3
    x3, x3.size(0), -1|x4, 7, 2, 2|x4, -1, 2|x4, 14, 2|x4, -1, 2, 2|v, 7, 1|v, -1, 1|v, 1, -1|v, 1, 7|v, -1|v, (7,)
    col, -1|col, 7|col, (-1,)|t, -1|t, 21|t, 3, 7, 1|t, 1, 3, 7|t3, 3, -1|t3, 3, 14|t3, 3, 7, 2|t3, -1, 2|one, 7, 3
    one, 7, -1|x, torch.int32|x, E|x, y|x3, 0|x3, 0, 1|x3, 1|x3, start_dim=1|x3, 0, -1|x3, 1, 2|x, 0|x, 1
    x, start_dim=0|t3, 1|t3, 0, 1|x4, 1, (2, 2)|x4, -1, (2, -1)|x, 0, (7, 1)|x, 0, (-1, 7)|one, 1|one, 0|one|x, 2
    v, 0|v, 1|col, 1|col, -1|one, dim=1|col, 7, 3|col, -1, 4|col, (7, 3)|v, 3, 7|v, 3, -1|one, 7, 4, 3
    one, -1, 5, -1|x, 2, 7, 3|x, 2, -1, -1|E, 2, 7, 3|col, x.size(0), 2|Ecol, x|Ec, x|col, x|Ec, x.shape
    Ec, x.size(0), 3|B1, x.size(0), -1|x, 1, 2|x, 2, 1|x, 1, 1, 1|x, (1, 1)|x, 2|x, 3, 1, 1|v, 2|v, 1|v, 3, 1
    t, 1, 2|t, 2, 1|x3, 1, 2, 1|x, 0, 1|x3, 1, 2|x3, 0, 2|x3, -1, 0|t3, 0, 1|x, 1, -1"""
_DRAWS = """p|x, 0.5|x, 1.0, 2.0|x, 5|x, 0, 5|x, p=0.3|x, 1.0|x, mean=1.0, std=2.0|p, 2|p, 2, replacement=True
    x3, 0.5, True
    x, tau=0.5|x, hard=True|x, dim=0|f, 0.5|h, 0.5|x, 0.1, 0.3, True|x, training=True"""

OWN: dict[str, str] = {
    **_own(
        """l1_loss mse_loss smooth_l1_loss huber_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div
        soft_margin_loss margin_ranking_loss hinge_embedding_loss cosine_embedding_loss gaussian_nll_loss
        poisson_nll_loss triplet_margin_loss triplet_margin_with_distance_loss multilabel_soft_margin_loss
        multilabel_margin_loss multi_margin_loss pairwise_distance cosine_similarity""",
        _LOSS,
    ),
    **_own("cross_entropy nll_loss linear_cross_entropy", _CLASSES),
    **_own(
        """batch_norm layer_norm group_norm instance_norm rms_norm normalize local_response_norm native_batch_norm
        native_layer_norm""",
        _NORM,
    ),
    **_own(
        """scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ index_add index_add_ index_copy
        index_copy_ index_reduce index_reduce_ index_fill index_fill_""",
        _SCATTER,
    ),
    **_own(
        """conv1d conv2d conv3d conv_transpose1d conv_transpose2d avg_pool1d avg_pool2d avg_pool3d max_pool1d
        max_pool2d max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool2d lp_pool1d lp_pool2d interpolate unfold fold pixel_shuffle channel_shuffle""",
        _CONV,
    ),
    "__getitem__": _INDEX,
    **_own("__setitem__", _PUT),
    **_own("scaled_dot_product_attention", _ATTENTION),
    **_own("embedding embedding_bag", _TABLE),
    **_own(
        """view reshape flatten unflatten squeeze unsqueeze squeeze_ unsqueeze_ expand expand_as broadcast_to repeat
        tile view_as reshape_as transpose movedim swapaxes transpose_ permute ravel""",
        _SHAPES,
    ),
    **_own(
        """dropout dropout_ feature_dropout alpha_dropout dropout1d dropout2d dropout3d bernoulli bernoulli_ normal_
        uniform_ random_ exponential_ multinomial gumbel_softmax rrelu poisson binomial rand_like randn_like
        randint_like native_dropout""",
        _DRAWS,
    ),
    "index_put": """x, (m,), S|x, (ids,), S|x, (Eids,), S, True|x, (ids, lab), u, True|E, (ids,), x|x, (None, Ecid), k
    Q, (lab,), x, True""",
    "index_put_": """x, (m,), S|x, (ids,), S|x, (Eids,), S, True|x, (ids, lab), u, True|E, (ids,), x|x, (None, Ecid), k
    Q, (lab,), x, True""",
    "gather": """x, 1, at1|x, 1, at[:, :1]|x, dim=1, index=at|x, 0, ids[:, None]|x, 0, ids[:, None].expand(-1, 3)
    x3, 1, at[:, :, None]|x, 0, Erid[:3]|E, 0, ids[:, None]|E, 0, wi[:, None].expand(-1, 3)|t, 1, ti|t, 0, ti % 3
    x, -1, at|v, 0, ids|x, 1, at1, sparse_grad=True|E, 1, lab[:, None]""",
    "einsum": """'ij,jk->ik', x, W|'ij,ij->i', x, y|'ij,ij->j', x, y|'ij,ik->jk', x, y|'ij->', x|'ij->ji', x
    'i,ij->j', v, x
    'ki,ij->kj', A, x|'ij,kj->ik', x, y|'ij,kj->ik', x, E|'ijk,ij->ik', x3, x|'i,j->ij', v, Ec
    '...j,jk->...k', x3, W|'nc,nd->cd', x, k|'nc,mc->nm', x, w|'nc,cd,nd->n', x, W, k|'nn->n', A
    'nc,nc,nc->nc', x, y, o|'n,n->', v, u|'bnc,cd->bnd', R3, W|'nc,n->c', x, Ev|'cn,nd->cd', t, k|'ncd->cnd', x3
    'ncd,cd->n', x3, W|'nc->c', x|'nc,nc->', x, E|'n...,n...->...', x, y|'ii->i', sq[0]|'nii->n', sq
    'nij,njk->nik', sq, x3|'nij,nj->ni', sq, x""",
    "gradient": "x, dim=1|x, spacing=1.0, dim=1",
    "cdist": "x, y|x, E|E, x|x, w|x3, y3|x, Q|Q, x|x[None], y[None]|x[:, None], E",
    "bilinear": "x, y, W3|x, y, W3, b|x, E, W3|E, x, W3, b",
    "prelu": "x, Ec|x, S.view(1)|x3, Ec|x, Ecp",
    "glu": "x4|x4, 1|x4, 0|x4, -1|x, 0",
    "multi_head_attention_forward": "",
    "lerp": "x, y, p|x, E, 0.3|E, x, 0.3|x, y, S",
    "addcmul": "x, y, p|E, x, y|x, E, Ec, value=2|Ec, x, col",
    "where": """m1, x, y|mm, x, Ec|mm, E, Ec|Emm, x, E|mm, S, x|m|mm|mm, x, 0.0|m, v, 0.0|m, 1, 0|x > 0, 1.0, y|om, v, u
    mm, f, x""",
    "tensordot": "x, y, ([0], [0])|x, y, ([1], [1])|x3, W, ([1, 2], [0, 1])|x, W, ([1], [0])|t, x, ([1], [0])",
    "pad": """x, (1, 1)|x, (0, 0, 1, 1)|x3, (1, 1)|x3, (1, 0, 1, 0)|x3, (1, 1), 'reflect'|x, (0, 1), value=2.0
    x, (-1, 0)
    t, (0, 1)|t, (0, 0, 1, 0)|x, (1, 1), 'constant', 1.0|v, (0, 1)|seq, (1, 1), 'circular'""",
    "one_hot": "lab|lab, 3|lab, 4|at|lab, num_classes=2|ids|lab - 1",
    "clamp": "x, -0.5, 0.5|x, y, E|x, None, 0.5|x, max=Ec|E, x|x, min=y",
    "repeat_interleave": """x, Es, 0|x, ties, dim=0|x3, 2, 1|lab, 2|Eids, 2|x, ties, dim=0, output_size=7
    E, ties, 0|t, 2, 0|t, 2, 1""",
    "bucketize": "x, edges|v, edges, right=True|x, E|lab, edges|v, Ev",
    "bincount": "lab|ids|lab, minlength=7|lab, v|lab, vp, 5|lab, Ev|Elab, v|ids, weights=u|lab - 1",
    "new_zeros": """x, 3|x, (7, 3)|x, x.shape|x, x.size(0)|x, x.size(0), 4|x, (x.size(0), 2)
    x, (2, 3), dtype=torch.int64|v, v.shape""",
    "new_ones": "x, 3|x, x.shape|x, x.size(0), 4|x, (2, 3), dtype=torch.int64",
    "new_full": "x, (3,), 2.0|x, x.shape, 1.0|x, (x.size(0), 4), 0.5|x, (2, 3), 1, dtype=torch.int64",
    "new_empty": "x, 3|x, x.shape|x, (x.size(0), 4)",
    "new_tensor": "x, [1, 2]|x, E|x, y",
    "masked_scatter": "x, mm, y|x, Emm, y|x, mm, E|E, mm, x",
    "masked_select": "x, mm|x, m1|x, Emm|E, mm|v, m|x, Emc",
    "take_along_dim": "x, at, 1|x, at1, 1|x, rid, 0|x, at, dim=1|x, x.argsort(1), 1|E, rid, 0|x, x.argsort(0), 0",
    "diff": "x|x, 1, 1|x, dim=1|x, dim=0|x, n=2, dim=1|x, 1, 1, x|x, dim=1, prepend=x|x, dim=1, append=col",
}
"""Arguments for functions that the blind ones seldom fit, by name."""

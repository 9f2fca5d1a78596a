"""Writes docs/layers.md from the rules and the configurations that are compared.

Run it with ``python -m tests.equivalence.layers_page``.
A table kept by hand would promise what nobody tests; a test compares the page with what is generated here.
"""

import tempfile
from pathlib import Path

import fullgraph as fg
from fullgraph.pyg.explain import explained_layers
from fullgraph.pyg.rules import Way
from tests.equivalence import models, norms, splines
from tests.equivalence.cases import GRAPHS
from tests.equivalence.coverage import CASES, REFUSED

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"
TEXT = """# Which layer runs how

<!-- Generated: python -m tests.equivalence.layers_page -->

Every class that `torch_geometric.nn.conv` exports, {num_all} without `MessagePassing`. {num_compared} give the result
of PyG on one process, outputs and all gradients, on 1, 2 and 4 ranks in float64 to nine digits, in at least two
configurations each; {num_bounded} of them in bounded memory. The other {num_refused} need other
packages.

What a layer does follows from its class and configuration alone; `fg.explain(model, data)` says it for your model. A
layer

- *walks*: other ranks' rows come round by round, each row once ([how](how-it-works.md#rounds));
- or runs *block by block*: its own message is formed on the way, at most `chunk_edges` edges at a time, and again in
  backward;
- or runs *by neighbourhood*: all of its own code works on complete neighbourhoods, at most `chunk_edges` edges at a
  time, and again in backward;
- or takes all boundary rows *all at once*, with what PyG stores per edge.

The first three ways are for modes `sar` and `keep`, and need bounded memory. To the last lead buffers or
hooks within a layer's message, a message that looks beyond the edges that it is given, and attention weights that are
asked for.

## Compared

{compared}

Notes:

- Medians and quantiles work for nodes without in-edges wherever they are; PyG itself fails if the first node has
  none.
- `SplineConv` needs pyg-lib, which the tests do without: both sides ran the kernels' plain-torch twin in its place.
- `HypergraphConv` is compared with as many hyperedges as nodes, numbered alike: that is how a graph of one type is
  partitioned.
- `SuperGATConv` in training needs `neg_edge_index`: to sample negative edges is refused.
- `HeteroConv`, `HANConv` and `HGTConv` are compared here with several relations on one node type, and elsewhere on
  several node types, as are bipartite layers ([graphs of several types](heterogeneous.md)).

## Not compared

{refused}

## Models

Every name that `torch_geometric.nn.models` exports, compared with PyG on 1, 2 and 4 ranks in float64 to nine digits:
results, gradients of the graph's arrays and of all parameters, and buffers. Their layers run as above.

{models}

The others are not compared, or are no models:

{refused_models}

## Norms

Every class that `torch_geometric.nn.norm` exports, compared with PyG on 1, 2, 3 and 4 ranks with uneven parts: outputs,
all gradients and running statistics, in training and in evaluation.

{norms}
"""


def layers_page() -> str:
    """The page's text."""
    splines.install()
    with tempfile.TemporaryDirectory() as folder:
        graphs = {}
        for name, make in GRAPHS.items():
            fg.partition(make(), f"{folder}/{name}.fg", num_parts=1)
            graphs[name] = fg.open(f"{folder}/{name}.fg")
        compared, num_bounded = [], 0
        for layer, cases in sorted(CASES.items()):
            ways = [(case.name, _ways(case.build(), graphs[case.graph])) for case in cases]
            num_bounded += _is_bounded(ways[0][1])
            by_way: dict[str, list[str]] = {}
            for name, way in ways:
                by_way.setdefault(way, []).append(name)
            compared += [f"| `{layer}` | {'; '.join(names)} | {way} |" for way, names in by_way.items()]
        normed = [
            f"| `{norm}` | {'; '.join(case.name for case in cases)} |" for norm, cases in sorted(norms.CASES.items())
        ]
        modelled = [
            f"| `{model}` | {'; '.join(case.name for case in cases)} | {cases[0].rows} |"
            for model, cases in sorted(models.CASES.items())
        ]
        reasons = models.REFUSED | models.FUNCTIONS
        refused = [f"| `{layer}` | {reason} |" for layer, reason in sorted(REFUSED.items())]
    return TEXT.format(
        num_all=len(CASES) + len(REFUSED),
        num_compared=len(CASES),
        num_bounded=num_bounded,
        num_refused=len(REFUSED),
        compared="\n".join(["| layer | configuration | runs |", "| --- | --- | --- |", *compared]),
        refused="\n".join(["| layer | because |", "| --- | --- |", *refused]),
        models="\n".join(["| model | configurations | gives a row per |", "| --- | --- | --- |", *modelled]),
        refused_models="\n".join(
            ["| name | because |", "| --- | --- |", *(f"| `{name}` | {why} |" for name, why in sorted(reasons.items()))]
        ),
        norms="\n".join(["| norm | configurations |", "| --- | --- |", *normed]),
    )


def _ways(module, data) -> str:
    layers = explained_layers(module, data)
    return ", ".join(dict.fromkeys(f"{layer.way.value}: {layer.why}" for layer in layers))


def _is_bounded(ways: str) -> bool:
    return Way.AT_ONCE.value not in ways


if __name__ == "__main__":
    PAGE.write_text(layers_page())

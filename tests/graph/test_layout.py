"""File names of arrays: two names never share a file, and no name leaves the graph's folder."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fullgraph.graph.layout import edge_file, escape, node_file

names = st.text(alphabet=st.sampled_from("a_./% é-"), min_size=1, max_size=5)


def test_literal_names() -> None:
    assert node_file(3, "node", "x") == "part-00003/nodes/node/x.npy"
    assert edge_file(0, ("node", "to", "node"), "src") == "part-00000/edges/node__to__node/src.npy"
    assert edge_file(0, ("a_", "b__c", "../d"), "w") == "part-00000/edges/a%5F__b_%5Fc__%2E.%2Fd/w.npy"


@settings(deadline=None)
@given(names, names)
def test_different_names_are_different_files(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)
    assert "/" not in escape(one)
    assert escape(one) not in (".", "..")
    assert "__" not in escape(one)


@settings(deadline=None)
@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_different_relations_are_different_folders(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (edge_file(0, one, "src") == edge_file(0, other, "src")) == (one == other)

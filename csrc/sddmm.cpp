// Dots of row pairs, one per edge and head: out[edge(e), h] += <left[i, h], right[indices[e], h]>, the gradient of spmm's weight.
//
// A thread owns the entries of its rows or of its segment of a hub; an edge id occurs once in a block, so no two threads write
// the same place. The naive way would gather both ends to edges x width.
#include "arrays.h"
#include "sddmm_rows.h"
#include "segments.h"

namespace fullgraph {
namespace {

FULLGRAPH_PER_TARGET(Sddmm<float>, dot_rows)
FULLGRAPH_PER_TARGET(Sddmm<double>, dot_rows)

template <class T>
void sddmm(Indptr indptr, Indices indices, In<T, 2> left, In<T, 2> right, Out<T, 2> out, EdgeIds edge_ids, int num_threads) {
    const auto width = static_cast<std::int64_t>(left.shape(1)), heads = static_cast<std::int64_t>(out.shape(1));
    const Sddmm<T> k{csr_of(indptr, indices, edge_ids), right.data(), out.data(), width, heads, width / heads};
    const nb::gil_scoped_release release;
    const Segments segments(k.csr);
    for_rows_and_segments(
        k.csr, segments, width, num_threads,
        [&](std::int64_t first, std::int64_t last) { run(k, {k.csr.indptr, first, last, left.data()}); },
        [&](std::int64_t s) {
            run(k, {segments.bounds(s), 0, 1, left.data() + segments.row(segments.hub_of(s)) * width});
        },
        [](std::int64_t) {});
}

template <class T>
void bind(nb::module_& m) {
    m.def("sddmm", &sddmm<T>, "indptr"_a.noconvert(), "indices"_a.noconvert(), "left"_a.noconvert(), "right"_a.noconvert(),
          "out"_a.noconvert(), "edge_ids"_a.noconvert().none(), "num_threads"_a);
}

}  // namespace

void bind_sddmm(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

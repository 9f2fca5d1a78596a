// Sums neighbours' rows: out[i] += sum over entries e of row i of w_e * x[indices[e]]; or =, which saves clearing out.
//
// Pull: a thread owns the output rows of its range and reads any source row, so no two threads write the same place; a hub's
// segments are summed apart and added in order. The naive way (gather rows per edge, then scatter-add) would allocate edges x
// width; this allocates a row per segment of a hub and, where it pays, a copy of a tile of columns that fits half the cache.
#include <vector>

#include "arrays.h"
#include "segments.h"
#include "spmm_rows.h"
#include "tiling.h"

namespace fullgraph {
namespace {

using FloatSum = Spmm<float, float>;
using DoubleSum = Spmm<double, double>;
using BFloat16Sum = Spmm<BFloat16, BFloat16>;
using MixedSum = Spmm<BFloat16, float>;  // what a sum over several blocks of bfloat16 rows needs: it is rounded only at the end
FULLGRAPH_PER_TARGET(FloatSum, sum_rows)
FULLGRAPH_PER_TARGET(DoubleSum, sum_rows)
FULLGRAPH_PER_TARGET(BFloat16Sum, sum_rows)
FULLGRAPH_PER_TARGET(MixedSum, sum_rows)

// Adds a hub's partial sums to its row, in order and rounded once.
template <class X, class Out>
void combine(const Spmm<X, Out>& k, const Segments& segments, std::int64_t hub, const Accumulator<X>* partial) {
    Out* out = k.out + segments.row(hub) * k.width;
    for (std::int64_t column = k.begin; column < k.end; ++column) {
        Accumulator<X> sum = k.overwrites ? Accumulator<X>(0) : to_number(out[column]);
        for (std::int64_t s = segments.first_of(hub); s < segments.end_of(hub); ++s) sum += partial[s * k.width + column];
        assign(out[column], sum);
    }
}

template <class X, class Out>
void sum_columns_of_block(const Spmm<X, Out>& k, const Segments& segments, Accumulator<X>* partial, int num_threads) {
    using A = Accumulator<X>;
    const Spmm<X, A> apart{k.csr, k.x, k.weight, partial, k.x_stride, k.width, k.num_heads, k.channels, k.begin, k.end, false};
    for_rows_and_segments(
        k.csr, segments, k.end - k.begin, num_threads,
        [&](std::int64_t first, std::int64_t last) { run(k, {k.csr.indptr, first, last, k.out}); },
        [&](std::int64_t s) { run(apart, {segments.bounds(s), 0, 1, partial + s * k.width}); },
        [&](std::int64_t hub) { combine(k, segments, hub, partial); });
}

template <class X, class Out>
void sum_block(Spmm<X, Out> k, std::int64_t num_sources, int num_threads) {
    const Segments segments(k.csr);
    std::vector<Accumulator<X>> partial(static_cast<std::size_t>(segments.size() * k.width));
    const std::int64_t unit = k.num_heads > 1 ? k.channels : 64 / static_cast<std::int64_t>(sizeof(X));
    const std::int64_t tile = tile_columns(k.csr, num_sources, k.width, sizeof(X), unit);
    if (tile >= k.width) return sum_columns_of_block(k, segments, partial.data(), num_threads);
    PackedColumns<X> packed(num_sources, tile);
    const X* const x = k.x;
    k.x_stride = tile;
    for (k.begin = 0; k.begin < k.width; k.begin = k.end) {
        k.end = std::min(k.begin + tile, k.width);
        k.x = packed.copy(x + k.begin, k.width, k.end - k.begin, num_threads);
        sum_columns_of_block(k, segments, partial.data(), num_threads);
    }
}

// X and Out are what the kernel reads and adds to; a bfloat16 array arrives as its bits.
template <class X, class Out, class XBits, class OutBits>
void spmm(Indptr indptr, Indices indices, In<XBits, 2> x, fullgraph::Out<OutBits, 2> out,
          std::optional<In<Accumulator<X>, 2>> weight, EdgeIds edge_ids, bool overwrites, int num_threads) {
    const auto width = static_cast<std::int64_t>(x.shape(1));
    const auto heads = weight ? static_cast<std::int64_t>(weight->shape(1)) : 1;
    const Spmm<X, Out> k{csr_of(indptr, indices, edge_ids),
                         reinterpret_cast<const X*>(x.data()),
                         data_or_null(weight),
                         reinterpret_cast<Out*>(out.data()),
                         width,
                         width,
                         heads,
                         width / heads,
                         0,
                         width,
                         overwrites};
    const nb::gil_scoped_release release;
    sum_block(k, static_cast<std::int64_t>(x.shape(0)), num_threads);
}

template <class X, class Out, class XBits = X, class OutBits = Out>
void bind(nb::module_& m) {
    m.def("spmm", &spmm<X, Out, XBits, OutBits>, "indptr"_a.noconvert(), "indices"_a.noconvert(), "x"_a.noconvert(),
          "out"_a.noconvert(), "weight"_a.noconvert().none(), "edge_ids"_a.noconvert().none(), "overwrites"_a, "num_threads"_a);
}

}  // namespace

void bind_spmm(nb::module_& m) {
    bind<float, float>(m);
    bind<double, double>(m);
    bind<BFloat16, float, std::uint16_t, float>(m);
    bind<BFloat16, BFloat16, std::uint16_t, std::uint16_t>(m);
}

}  // namespace fullgraph

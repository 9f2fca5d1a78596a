// Sums neighbours' rows: out[i] += sum over entries e of row i of w_e * x[indices[e]].
//
// Pull: a thread owns the output rows of its range and reads any source row, so no two threads write the same place. The naive
// way (gather rows per edge, then scatter-add) would allocate edges × width; this allocates nothing.
#include "arrays.h"
#include "clones.h"

namespace fullgraph {
namespace {

template <class T>
struct Spmm {
    Csr csr;
    const T* x;       // [num_columns, num_heads * channels]
    const T* weight;  // [num_edges, num_heads] or null: every weight is 1
    T* out;           // [num_rows, num_heads * channels]
    std::int64_t num_heads, channels;
};

template <class T>
FULLGRAPH_INLINE void sum_rows(const Spmm<T>& k, std::int64_t first, std::int64_t last) {
    const std::int64_t heads = k.num_heads, channels = k.channels, width = heads * channels;
    for (std::int64_t row = first; row < last; ++row) {
        T* __restrict out = k.out + row * width;
        for (std::int64_t e = k.csr.indptr[row]; e < k.csr.indptr[row + 1]; ++e) {
            const T* __restrict x = k.x + k.csr.indices[e] * width;
            if (!k.weight) {
                for (std::int64_t f = 0; f < width; ++f) out[f] += x[f];
                continue;
            }
            const T* __restrict weight = k.weight + k.csr.edge(e) * heads;
            for (std::int64_t h = 0; h < heads; ++h) {
                const T w = weight[h];
                for (std::int64_t c = h * channels; c < (h + 1) * channels; ++c) out[c] += w * x[c];
            }
        }
    }
}

FULLGRAPH_CLONES void run(const Spmm<float>& k, std::int64_t first, std::int64_t last) { sum_rows(k, first, last); }
FULLGRAPH_CLONES void run(const Spmm<double>& k, std::int64_t first, std::int64_t last) { sum_rows(k, first, last); }

template <class T>
void spmm(Indptr indptr, Indices indices, In<T, 2> x, Out<T, 2> out, std::optional<In<T, 2>> weight, EdgeIds edge_ids,
          int num_threads) {
    const auto width = static_cast<std::int64_t>(x.shape(1));
    const auto heads = weight ? static_cast<std::int64_t>(weight->shape(1)) : 1;
    const Spmm<T> k{csr_of(indptr, indices, edge_ids), x.data(), data_or_null(weight), out.data(), heads, width / heads};
    const nb::gil_scoped_release release;
    for_row_ranges(k.csr, width, num_threads, [&k](std::int64_t first, std::int64_t last) { run(k, first, last); });
}

template <class T>
void bind(nb::module_& m) {
    m.def("spmm", &spmm<T>, "indptr"_a.noconvert(), "indices"_a.noconvert(), "x"_a.noconvert(), "out"_a.noconvert(),
          "weight"_a.noconvert().none(), "edge_ids"_a.noconvert().none(), "num_threads"_a);
}

}  // namespace

void bind_spmm(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

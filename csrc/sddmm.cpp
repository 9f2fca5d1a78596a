// Dots of row pairs, one per edge and head: out[edge(e), h] += <left[i, h], right[indices[e], h]>, the gradient of spmm's weight.
//
// A thread owns the entries of its rows; an edge id occurs once in a block, so no two threads write the same place. The naive
// way would gather both ends to edges × width.
#include "arrays.h"
#include "clones.h"

namespace fullgraph {
namespace {

template <class T>
struct Sddmm {
    Csr csr;
    const T* left;   // [num_rows, num_heads * channels]
    const T* right;  // [num_columns, num_heads * channels]
    T* out;          // [num_edges, num_heads]
    std::int64_t num_heads, channels;
};

template <class T>
FULLGRAPH_INLINE void dot_rows(const Sddmm<T>& k, std::int64_t first, std::int64_t last) {
    const std::int64_t heads = k.num_heads, channels = k.channels, width = heads * channels;
    for (std::int64_t row = first; row < last; ++row) {
        for (std::int64_t e = k.csr.indptr[row]; e < k.csr.indptr[row + 1]; ++e) {
            T* out = k.out + k.csr.edge(e) * heads;
            for (std::int64_t h = 0; h < heads; ++h) {
                const T* left = k.left + row * width + h * channels;
                const T* right = k.right + k.csr.indices[e] * width + h * channels;
                T dot = 0;
#pragma omp simd reduction(+ : dot)
                for (std::int64_t c = 0; c < channels; ++c) dot += left[c] * right[c];
                out[h] += dot;
            }
        }
    }
}

FULLGRAPH_CLONES void run(const Sddmm<float>& k, std::int64_t first, std::int64_t last) { dot_rows(k, first, last); }
FULLGRAPH_CLONES void run(const Sddmm<double>& k, std::int64_t first, std::int64_t last) { dot_rows(k, first, last); }

template <class T>
void sddmm(Indptr indptr, Indices indices, In<T, 2> left, In<T, 2> right, Out<T, 2> out, EdgeIds edge_ids, int num_threads) {
    const auto width = static_cast<std::int64_t>(left.shape(1)), heads = static_cast<std::int64_t>(out.shape(1));
    const Sddmm<T> k{csr_of(indptr, indices, edge_ids), left.data(), right.data(), out.data(), heads, width / heads};
    const nb::gil_scoped_release release;
    for_row_ranges(k.csr, width, num_threads, [&k](std::int64_t first, std::int64_t last) { run(k, first, last); });
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

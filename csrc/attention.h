// What all attention kernels share, whatever the score: the edges of a block, their bias and dropout, and chunks of a row.
//
// A row is walked in chunks of `chunk_entries` edges. What is computed per edge and head lies in planes [heads][chunk], so that
// loops over edges are contiguous and vectorise, and nothing larger than chunk × heads exists. Chunks start at the row's first
// edge: the order of every sum is fixed by the block alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "arrays.h"
#include "clones.h"
#include "exponential.h"
#include "keep.h"

namespace fullgraph {

constexpr std::int64_t chunk_entries = 32;

template <class T>
struct Edges {
    Csr csr;
    const T* bias;                  // [num_edges, num_heads] or null
    const std::int64_t* edge_keys;  // [num_edges] or null: no dropout
    Keep keep;
    T keep_scale;  // 1 / (1 - p)
    std::int64_t num_heads, channels;

    std::int64_t width() const { return num_heads * channels; }
    std::int64_t entry_work() const { return num_heads * (channels + 16); }
    std::size_t plane() const { return static_cast<std::size_t>(num_heads * chunk_entries); }
};

// raw += bias, of `count` entries from `begin`, for all heads.
template <class T>
FULLGRAPH_INLINE void add_bias(const Edges<T>& edges, std::int64_t begin, std::int64_t count, T* __restrict raw) {
    if (!edges.bias) return;
    for (std::int64_t e = 0; e < count; ++e) {
        const T* __restrict bias = edges.bias + edges.csr.edge(begin + e) * edges.num_heads;
        for (std::int64_t h = 0; h < edges.num_heads; ++h) raw[h * chunk_entries + e] += bias[h];
    }
}

// factor[e] = keep / (1 - p) of `count` entries from `begin`, for head h; only called with dropout.
template <class T>
FULLGRAPH_INLINE void fill_keep(const Edges<T>& edges, std::int64_t h, std::int64_t begin, std::int64_t count,
                                T* __restrict factor) {
    for (std::int64_t e = 0; e < count; ++e) {
        factor[e] = edges.keep(edges.edge_keys[edges.csr.edge(begin + e)], h) ? edges.keep_scale : T(0);
    }
}

template <class T>
FULLGRAPH_INLINE T dot(const T* __restrict left, const T* __restrict right, std::int64_t channels) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t c = 0; c < channels; ++c) sum += left[c] * right[c];
    return sum;
}

// What the bound functions take after the arrays: the same tail for every kernel.
template <class T>
struct EdgeArguments {
    std::optional<In<T, 2>> bias;
    EdgeIds edge_ids, edge_keys;  // edge_keys: none without dropout
    std::uint64_t key, threshold;
    double keep_scale;
};

template <class T>
Edges<T> edges_of(const Indptr& indptr, const Indices& indices, const EdgeArguments<T>& arguments, const In<T, 3>& rows) {
    return {csr_of(indptr, indices, arguments.edge_ids),
            data_or_null(arguments.bias),
            data_or_null(arguments.edge_keys),
            {arguments.key, arguments.threshold},
            static_cast<T>(arguments.keep_scale),
            static_cast<std::int64_t>(rows.shape(1)),
            static_cast<std::int64_t>(rows.shape(2))};
}

// Binds `function` under `name`, taking every array as it is: a converted output would be a copy, and the result lost. The
// arguments are nameless; the ops in src/fullgraph/ops give them names and pass them in order.
template <class Argument>
constexpr auto exact_argument() {
    if constexpr (std::is_arithmetic_v<Argument>) return nb::arg();
    else if constexpr (std::is_constructible_v<Argument, std::nullopt_t>) return nb::arg().noconvert().none();
    else return nb::arg().noconvert();
}

template <class... Arguments>
void bind_exactly(nb::module_& m, const char* name, void (*function)(Arguments...)) {
    m.def(name, function, exact_argument<Arguments>()...);
}

}  // namespace fullgraph

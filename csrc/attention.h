// What the three attention kernels share: the logits, weights and kept entries of one chunk of a row's edges.
//
// A row is walked in chunks of `chunk_entries` edges, and within a chunk one head at a time, so that every loop over edges is
// contiguous and vectorises, and nothing larger than chunk × heads exists. Chunks start at the row's first edge: the order of
// every sum is fixed by the block alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "arrays.h"
#include "clones.h"
#include "exponential.h"
#include "keep.h"

namespace fullgraph {

constexpr std::int64_t chunk_entries = 64;

template <class T>
struct Attention {
    Csr csr;
    const T* row_score;             // [num_rows, num_heads]
    const T* column_score;          // [num_columns, num_heads]
    const T* bias;                  // [num_edges, num_heads] or null
    const std::int64_t* edge_keys;  // [num_edges] or null: no dropout
    Keep keep;
    T keep_scale;  // 1 / (1 - p)
    T negative_slope;
    std::int64_t num_heads, channels;
};

// raw[e] = row score + column score + bias, before leaky_relu, of `count` entries from `begin`, for head h.
template <class T>
FULLGRAPH_INLINE void fill_raw(const Attention<T>& k, std::int64_t row, std::int64_t h, std::int64_t begin, std::int64_t count,
                               T* __restrict raw) {
    const T own = k.row_score[row * k.num_heads + h];
    const std::int32_t* __restrict columns = k.csr.indices + begin;
    for (std::int64_t e = 0; e < count; ++e) raw[e] = own + k.column_score[columns[e] * k.num_heads + h];
    if (!k.bias) return;
    for (std::int64_t e = 0; e < count; ++e) raw[e] += k.bias[k.csr.edge(begin + e) * k.num_heads + h];
}

template <class T>
FULLGRAPH_INLINE T leaky_relu(T raw, T negative_slope) {
    return raw > T(0) ? raw : raw * negative_slope;
}

// factor[e] = keep / (1 - p), or 1 without dropout, of `count` entries from `begin`, for head h.
template <class T>
FULLGRAPH_INLINE void fill_keep(const Attention<T>& k, std::int64_t h, std::int64_t begin, std::int64_t count,
                                T* __restrict factor) {
    if (!k.edge_keys) {
        std::fill_n(factor, count, T(1));
        return;
    }
    for (std::int64_t e = 0; e < count; ++e) {
        factor[e] = k.keep(k.edge_keys[k.csr.edge(begin + e)], h) ? k.keep_scale : T(0);
    }
}

template <class T>
FULLGRAPH_INLINE T dot(const T* left, const T* right, std::int64_t channels) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t c = 0; c < channels; ++c) sum += left[c] * right[c];
    return sum;
}

template <class T>
std::int64_t entry_work(const Attention<T>& k) {
    return k.num_heads * (k.channels + 16);
}

// What the bound functions take for dropout: all four, or none of them.
struct DropoutArguments {
    EdgeIds edge_keys;
    std::uint64_t key, threshold;
    double keep_scale;
};

template <class T>
Attention<T> attention_of(const Indptr& indptr, const Indices& indices, const EdgeIds& edge_ids, const In<T, 2>& row_score,
                          const In<T, 2>& column_score, const std::optional<In<T, 2>>& bias, const DropoutArguments& dropout,
                          double negative_slope, std::int64_t channels) {
    return {csr_of(indptr, indices, edge_ids),
            row_score.data(),
            column_score.data(),
            data_or_null(bias),
            data_or_null(dropout.edge_keys),
            {dropout.key, dropout.threshold},
            static_cast<T>(dropout.keep_scale),
            static_cast<T>(negative_slope),
            static_cast<std::int64_t>(row_score.shape(1)),
            channels};
}

}  // namespace fullgraph

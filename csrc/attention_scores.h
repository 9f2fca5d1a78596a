// The three scores of attention, seen from a block's rows: the logit of an edge, and its gradient to the row's side.
//
// A score is symmetric in what it needs of the two ends, so the same code serves forward (rows are destinations) and both
// backwards: the owner of whichever side the rows are adds the gradient of that side, and no one else writes it.
#pragma once

#include "attention.h"

namespace fullgraph {

template <class T>
FULLGRAPH_INLINE T leaky_relu(T raw, T negative_slope) {
    return raw > T(0) ? raw : raw * negative_slope;
}

// leaky_relu(row score + column score + bias): GAT.
template <class T>
struct Additive {
    const T* row_score;     // [num_rows, num_heads]
    const T* column_score;  // [num_columns, num_heads]
    T negative_slope;
    T* grad_row;  // [num_rows, num_heads], null in forward

    FULLGRAPH_INLINE void fill(const Edges<T>& edges, std::int64_t row, std::int64_t begin, std::int64_t count,
                               T* __restrict raw) const {
        const T* own = row_score + row * edges.num_heads;
        for (std::int64_t e = 0; e < count; ++e) {
            const T* __restrict other = column_score + edges.csr.indices[begin + e] * edges.num_heads;
            for (std::int64_t h = 0; h < edges.num_heads; ++h) raw[h * chunk_entries + e] = own[h] + other[h];
        }
    }
    FULLGRAPH_INLINE T logit(T raw) const { return leaky_relu(raw, negative_slope); }
    FULLGRAPH_INLINE T slope(T raw) const { return raw > T(0) ? T(1) : negative_slope; }

    FULLGRAPH_INLINE void add_gradient(const Edges<T>& edges, std::int64_t row, std::int64_t, std::int64_t count,
                                       const T* __restrict d, T*) const {
        for (std::int64_t h = 0; h < edges.num_heads; ++h) {
            T sum = 0;
#pragma omp simd reduction(+ : sum)
            for (std::int64_t e = 0; e < count; ++e) sum += d[h * chunk_entries + e];
            grad_row[row * edges.num_heads + h] += sum;
        }
    }
};

// <att, leaky_relu(x_row + x_column)> + bias: GATv2.
template <class T>
struct Gatv2 {
    const T* row_x;     // [num_rows, num_heads, channels]
    const T* column_x;  // [num_columns, num_heads, channels]
    const T* att;       // [num_heads, channels]
    T negative_slope;
    T* grad_row;  // [num_rows, num_heads, channels], null in forward

    FULLGRAPH_INLINE void fill(const Edges<T>& edges, std::int64_t row, std::int64_t begin, std::int64_t count,
                               T* __restrict raw) const {
        for (std::int64_t e = 0; e < count; ++e) {
            for (std::int64_t h = 0; h < edges.num_heads; ++h) {
                const T* __restrict own = row_x + row * edges.width() + h * edges.channels;
                const T* __restrict other = column_x + edges.csr.indices[begin + e] * edges.width() + h * edges.channels;
                const T* __restrict head_att = att + h * edges.channels;
                T sum = 0;
#pragma omp simd reduction(+ : sum)
                for (std::int64_t c = 0; c < edges.channels; ++c) {
                    sum += head_att[c] * leaky_relu(own[c] + other[c], negative_slope);
                }
                raw[h * chunk_entries + e] = sum;
            }
        }
    }
    FULLGRAPH_INLINE T logit(T raw) const { return raw; }
    FULLGRAPH_INLINE T slope(T) const { return T(1); }

    // grad_att: [num_heads, channels], the caller's own sum, or null.
    FULLGRAPH_INLINE void add_gradient(const Edges<T>& edges, std::int64_t row, std::int64_t begin, std::int64_t count,
                                       const T* __restrict d, T* __restrict grad_att) const {
        for (std::int64_t e = 0; e < count; ++e) {
            for (std::int64_t h = 0; h < edges.num_heads; ++h) {
                const T* __restrict own = row_x + row * edges.width() + h * edges.channels;
                const T* __restrict other = column_x + edges.csr.indices[begin + e] * edges.width() + h * edges.channels;
                const T* __restrict head_att = att + h * edges.channels;
                T* __restrict grad = grad_row + row * edges.width() + h * edges.channels;
                const T edge_d = d[h * chunk_entries + e], edge_d_negative = edge_d * negative_slope;
                for (std::int64_t c = 0; c < edges.channels; ++c) {
                    grad[c] += head_att[c] * (own[c] + other[c] > T(0) ? edge_d : edge_d_negative);
                }
                if (!grad_att) continue;
                for (std::int64_t c = 0; c < edges.channels; ++c) {
                    grad_att[h * edges.channels + c] += edge_d * leaky_relu(own[c] + other[c], negative_slope);
                }
            }
        }
    }
};

// scale <row, column> + bias: scaled dot product. The row side is the query where rows are destinations, else the key.
template <class T>
struct ScaledDot {
    const T* row;     // [num_rows, num_heads, channels]
    const T* column;  // [num_columns, num_heads, channels]
    T scale;
    T* grad_row;  // [num_rows, num_heads, channels], null in forward

    FULLGRAPH_INLINE void fill(const Edges<T>& edges, std::int64_t r, std::int64_t begin, std::int64_t count,
                               T* __restrict raw) const {
        const T* own = row + r * edges.width();
        for (std::int64_t e = 0; e < count; ++e) {
            const T* other = column + edges.csr.indices[begin + e] * edges.width();
            for (std::int64_t h = 0; h < edges.num_heads; ++h) {
                const std::int64_t at = h * edges.channels;
                raw[h * chunk_entries + e] = scale * dot(own + at, other + at, edges.channels);
            }
        }
    }
    FULLGRAPH_INLINE T logit(T raw) const { return raw; }
    FULLGRAPH_INLINE T slope(T) const { return T(1); }

    FULLGRAPH_INLINE void add_gradient(const Edges<T>& edges, std::int64_t r, std::int64_t begin, std::int64_t count,
                                       const T* __restrict d, T*) const {
        T* __restrict grad = grad_row + r * edges.width();
        for (std::int64_t e = 0; e < count; ++e) {
            const T* __restrict other = column + edges.csr.indices[begin + e] * edges.width();
            for (std::int64_t h = 0; h < edges.num_heads; ++h) {
                const T factor = scale * d[h * chunk_entries + e];
                for (std::int64_t c = h * edges.channels; c < (h + 1) * edges.channels; ++c) grad[c] += factor * other[c];
            }
        }
    }
};

}  // namespace fullgraph

// The three scores of attention, seen from a block's rows: the logit of an edge, and its gradient to the row's side.
//
// A score is symmetric in what it needs of the two ends, so the same code serves forward (rows are destinations) and both
// backwards: the owner of whichever side the rows are adds the gradient of that side, and no one else writes it.
//
// `fill` gives the raw scores of all heads of a chunk. A score made of rows also gives them for one head together with a second
// dot that the caller needs of the same edges (`fill_with`), so that no row is walked twice.
#pragma once

#include "attention.h"
#include "attention_vectors.h"

namespace fullgraph {

// Memory for what `Held` keeps where registers cannot: five operands or sums of one head.
template <class T>
struct HeldMemory {
    T* first;
    std::int64_t stride;  // at least channels + 16
    FULLGRAPH_INLINE T* operator[](std::int64_t i) const { return first + i * stride; }
};

// From raw score to logit. Values, not references to a kernel's memory, so that a loop over edges that stores need not read them
// again.
template <class T>
struct LeakyRelu {
    T negative_slope;
    FULLGRAPH_INLINE T logit(T raw) const { return raw > T(0) ? raw : raw * negative_slope; }
    FULLGRAPH_INLINE T slope(T raw) const { return raw > T(0) ? T(1) : negative_slope; }
};

template <class T>
struct Identity {
    FULLGRAPH_INLINE T logit(T raw) const { return raw; }
    FULLGRAPH_INLINE T slope(T) const { return T(1); }
};

// leaky_relu(row score + column score + bias): GAT.
template <class T>
struct Additive {
    static constexpr bool reads_rows = false;
    const T* row_score;     // [num_rows, num_heads]
    const T* column_score;  // [num_columns, num_heads]
    T negative_slope;
    T* grad_row;  // [num_rows, num_heads], null in forward

    std::int64_t grad_width(const Edges<T>& edges) const { return edges.num_heads; }

    // raw[e] of head h, which holds the columns' scores.
    FULLGRAPH_INLINE void add_own(const Edges<T>& edges, const Chunk& chunk, std::int64_t h, T* __restrict raw) const {
        const T own = row_score[chunk.row * edges.num_heads + h];
        for (std::int64_t e = 0; e < chunk.padded; ++e) raw[e] += own;
    }
    FULLGRAPH_INLINE LeakyRelu<T> activation() const { return {negative_slope}; }

    template <class S>
    FULLGRAPH_INLINE void add_gradient(const S&, const Edges<T>&, const Chunk& chunk, std::int64_t h, const T* __restrict d,
                                       const HeldMemory<T>&, T* __restrict grad, T*) const {
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t e = 0; e < chunk.padded; ++e) sum += d[e];
        grad[h] += sum;
    }
};

// <att, leaky_relu(x_row + x_column)> + bias: GATv2.
template <class T>
struct Gatv2 {
    static constexpr bool reads_rows = true;
    const T* row_x;     // [num_rows, num_heads, channels]
    const T* column_x;  // [num_columns, num_heads, channels]
    const T* att;       // [num_heads, channels]
    T negative_slope;
    T* grad_row;  // [num_rows, num_heads, channels], null in forward

    std::int64_t grad_width(const Edges<T>& edges) const { return edges.width(); }

    // Calls use(partial), where partial(e) is edge e's logit before the sum over lanes.
    template <class S, class Use>
    FULLGRAPH_INLINE void with_partial(const S& shape, const Edges<T>& edges, const Chunk& chunk, std::int64_t h,
                                       const HeldMemory<T>& memory, const Use& use) const {
        using V = typename S::V;
        const Held<S> own = operand(shape, row_x + chunk.row * edges.width() + h * edges.channels, memory[0]);
        const Held<S> head_att = operand(shape, att + h * edges.channels, memory[1]);
        const T* other = column_x + h * edges.channels;
        const std::int64_t width = edges.width();
        const T slope_ = negative_slope;
        use([&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
            const T* x = other + chunk.column[e] * width;
            chunk.prefetch(other, width, shape.width(), e);
            V sum{};
            each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE {
                const V raw = own.get(n) + read<S>(x + shape.at(n));
                sum += head_att.get(n) * (raw > V{} ? raw : raw * slope_);
            });
            return sum;
        });
    }
    FULLGRAPH_INLINE T scaled(T sum) const { return sum; }
    FULLGRAPH_INLINE Identity<T> activation() const { return {}; }

    // d leaky'(raw) summed over edges, times att once. grad_att: [num_heads, channels], the caller's own sum, or null.
    template <class S>
    FULLGRAPH_INLINE void add_gradient(const S& shape, const Edges<T>& edges, const Chunk& chunk, std::int64_t h,
                                       const T* __restrict d, const HeldMemory<T>& memory, T* __restrict grad,
                                       T* __restrict grad_att) const {
        using V = typename S::V;
        const Held<S> own = operand(shape, row_x + chunk.row * edges.width() + h * edges.channels, memory[0]);
        const Held<S> head_att = operand(shape, att + h * edges.channels, memory[1]);
        Held<S> slopes = zeros(shape, memory[2]), actives = zeros(shape, memory[3]);
        for (std::int64_t e = 0; e < chunk.count; ++e) {
            const T* x = column_x + chunk.column[e] * edges.width() + h * edges.channels;
            const V positive = V{} + d[e], negative = V{} + d[e] * negative_slope;
            each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE {
                const V raw = own.get(n) + read<S>(x + shape.at(n));
                const V slope_d = raw > V{} ? positive : negative;
                slopes.set(n, slopes.get(n) + slope_d);
                actives.set(n, actives.get(n) + slope_d * raw);
            });
        }
        each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE { slopes.set(n, slopes.get(n) * head_att.get(n)); });
        add_to(shape, slopes, grad + h * edges.channels);
        if (grad_att) add_to(shape, actives, grad_att + h * edges.channels);
    }
};

// scale <row, column> + bias: scaled dot product. The row side is the query where rows are destinations, else the key.
template <class T>
struct ScaledDot {
    static constexpr bool reads_rows = true;
    const T* row;     // [num_rows, num_heads, channels]
    const T* column;  // [num_columns, num_heads, channels]
    T scale;
    T* grad_row;  // [num_rows, num_heads, channels], null in forward

    std::int64_t grad_width(const Edges<T>& edges) const { return edges.width(); }

    template <class S, class Use>
    FULLGRAPH_INLINE void with_partial(const S& shape, const Edges<T>& edges, const Chunk& chunk, std::int64_t h,
                                       const HeldMemory<T>& memory, const Use& use) const {
        const Held<S> own = operand(shape, row + chunk.row * edges.width() + h * edges.channels, memory[0]);
        const T* other = column + h * edges.channels;
        const std::int64_t width = edges.width();
        use([&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
            chunk.prefetch(other, width, shape.width(), e);
            return partial_dot(shape, own, other + chunk.column[e] * width);
        });
    }
    FULLGRAPH_INLINE T scaled(T sum) const { return scale * sum; }
    FULLGRAPH_INLINE Identity<T> activation() const { return {}; }

    template <class S>
    FULLGRAPH_INLINE void add_gradient(const S& shape, const Edges<T>& edges, const Chunk& chunk, std::int64_t h,
                                       const T* __restrict d, const HeldMemory<T>& memory, T* __restrict grad, T*) const {
        Held<S> sum = zeros(shape, memory[2]);
        const T* other = column + h * edges.channels;
        add_rows(shape, (chunk.count + 3) / 4 * 4, d, sum,
                 [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE { return other + chunk.column[e] * edges.width(); });
        each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE { sum.set(n, sum.get(n) * scale); });
        add_to(shape, sum, grad + h * edges.channels);
    }
};

}  // namespace fullgraph

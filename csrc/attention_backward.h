// Gradients of attention, the weights rebuilt from the log-sum-exp instead of kept, for three scores: to the sources on the
// transposed block, to the destinations' side of the score and the bias on the block itself.
//
// Pull in both: a thread owns the rows it writes, and an edge id occurs once in a block, so the bias gradient has one writer too.
// With w = exp(logit - lse) and k = keep / (1 - p), an edge gives d = w (k <grad, message> - delta) to its logit. The gradient of
// GATv2's att has no owner among the rows: parts of the block, fixed by the block alone, sum it apart and are combined in order.
#pragma once

#include <vector>

#include "attention_scores.h"
#include "attention_tasks.h"

namespace fullgraph {
template <class T, template <class> class Score>
struct ToSource {  // rows are sources, columns destinations
    static constexpr bool to_source = true;
    Edges<T> edges;
    Score<T> score;
    const T* message;             // [num_rows, num_heads, channels]
    const T* grad;                // [num_columns, num_heads, channels]
    const T* numbers;             // [num_columns, stride]: per head log-sum-exp, delta and, of an additive score, score
    std::int64_t stride;
    Destination<T> grad_row;      // the score's gradient
    Destination<T> grad_message;  // [num_rows, num_heads, channels]

    const T* own() const { return message; }
    const T* other() const { return grad; }
};

template <class T, template <class> class Score>
struct ToDestination {  // rows are destinations, columns sources
    static constexpr bool to_source = false;
    Edges<T> edges;
    Score<T> score;
    const T* message;         // [num_columns, num_heads, channels]
    const T* logsumexp;       // [num_rows, num_heads]
    const T* grad;            // [num_rows, num_heads, channels]
    const T* delta;           // [num_rows, num_heads]
    Destination<T> grad_row;  // the score's gradient
    T* grad_bias;             // [num_edges, num_heads] or null

    const T* own() const { return grad; }
    const T* other() const { return message; }
};

// Of one head, in place: `weight` from log-sum-exp to exp(logit - lse), `slope` from raw score to logit'(raw); kept is weight *
// factor, 0 in the padding.
template <class T, class Activation>
FULLGRAPH_INLINE void weigh(const Activation activation, const Chunk& chunk, T* __restrict slope, T* __restrict weight,
                            const T* __restrict factor, T* __restrict kept) {
    const std::int64_t padded = chunk.padded;
    for (std::int64_t e = 0; e < padded; ++e) {
        const T raw = slope[e], w = exponential(activation.logit(raw) - weight[e]);
        weight[e] = w;
        slope[e] = activation.slope(raw);
        kept[e] = w * factor[e];
    }
    std::fill(kept + chunk.count, kept + padded, T(0));
}

template <int bytes, class T, template <class> class Score, template <class, template <class> class> class Direction>
FULLGRAPH_INLINE void return_rows(const Direction<T, Score>& k, const Task& task, Scratch<T>& scratch, T* grad_att) {
    constexpr bool to_source = Direction<T, Score>::to_source;
    constexpr bool same_rows = !to_source && std::is_same_v<Score<T>, Gatv2<T>>;  // the score reads the messages
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, channels = edges.channels, width = edges.width();
    T *raws = scratch.plane(0), *logsumexps = scratch.plane(1), *deltas = scratch.plane(2);
    T *inner = scratch.plane(3), *factor = inner + chunk_entries, *kept = factor + chunk_entries, *d = kept + chunk_entries;
    const HeldMemory<T> memory{scratch.held(), scratch.held_size};
    with_shape<bytes, T>(channels, [&](const auto& shape) FULLGRAPH_LAMBDA_INLINE {
        using S = std::remove_cvref_t<decltype(shape)>;
        using V = typename S::V;
        for (std::int64_t row = task.first; row < task.last; ++row) {
            T* grad_row = k.grad_row.at(task, row);
            const std::int64_t end = task.end(edges.csr, row);
            for (std::int64_t begin = task.begin(edges.csr, row); begin < end; begin += chunk_entries) {
                const Chunk chunk(edges.csr, row, begin, end, S::lanes > 4 ? S::lanes : 4);
                if constexpr (to_source) {
                    chunk.prefetch_all(k.numbers, k.stride, (Score<T>::reads_rows ? 2 : 3) * heads);
                    gather_planes(chunk, k.numbers, k.stride, heads, logsumexps);
                    gather_planes(chunk, k.numbers + heads, k.stride, heads, deltas);
                    if constexpr (!Score<T>::reads_rows) gather_planes(chunk, k.numbers + 2 * heads, k.stride, heads, raws);
                } else if constexpr (!Score<T>::reads_rows) {
                    chunk.prefetch_all(k.score.column_score, heads, heads);
                    gather_planes(chunk, k.score.column_score, heads, heads, raws);
                }
                for (std::int64_t h = 0; h < heads; ++h) {
                    T *raw = raws + h * chunk_entries, *logsumexp = logsumexps + h * chunk_entries;
                    T* delta = deltas + h * chunk_entries;
                    if constexpr (!to_source) {
                        std::fill_n(logsumexp, chunk.padded, k.logsumexp[row * heads + h]);
                        std::fill_n(delta, chunk.padded, k.delta[row * heads + h]);
                    }
                    const T* other = k.other() + h * channels;
                    const auto other_row = [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE { return other + chunk.column[e] * width; };
                    const Held<S> own = operand(shape, k.own() + row * width + h * channels, memory[4]);
                    if constexpr (Score<T>::reads_rows) {
                        k.score.with_partial(shape, edges, chunk, h, memory, [&](const auto& partial) FULLGRAPH_LAMBDA_INLINE {
                            sum_lanes(shape, chunk.padded, raw, inner, [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
                                if constexpr (!same_rows) chunk.prefetch(other, width, shape.width(), e);
                                return Two<V>{partial(e), partial_dot(shape, own, other_row(e))};
                            });
                        });
                        for (std::int64_t e = 0; e < chunk.padded; ++e) raw[e] = k.score.scaled(raw[e]);
                    } else {
                        k.score.add_own(edges, chunk, h, raw);
                    }
                    add_bias(edges, chunk, h, raw);
                    fill_keep(edges, chunk, h, factor);
                    T *weight = logsumexp, *slope = raw;  // in place
                    weigh(k.score.activation(), chunk, slope, weight, factor, kept);
                    if constexpr (to_source) {
                        Held<S> sum = zeros(shape, memory[2]);
                        if constexpr (Score<T>::reads_rows) {
                            add_rows(shape, (chunk.count + 3) / 4 * 4, kept, sum, other_row);
                        } else {
                            sum_lanes(shape, chunk.padded, inner, [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
                                const T* grad = other_row(e);
                                chunk.prefetch(other, width, shape.width(), e);
                                V product{};
                                each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE {
                                    const V value = read<S>(grad + shape.at(n));
                                    sum.set(n, sum.get(n) + kept[e] * value);
                                    product += own.get(n) * value;
                                });
                                return product;
                            });
                        }
                        add_to(shape, sum, k.grad_message.at(task, row) + h * channels);
                    } else if constexpr (!Score<T>::reads_rows) {
                        sum_lanes(shape, chunk.padded, inner, [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
                            chunk.prefetch(other, width, shape.width(), e);
                            return partial_dot(shape, own, other_row(e));
                        });
                    }
                    for (std::int64_t e = 0; e < chunk.padded; ++e) d[e] = slope[e] * weight[e] * (factor[e] * inner[e] - delta[e]);
                    std::fill(d + chunk.count, d + chunk.padded, T(0));
                    if constexpr (!to_source) {
                        if (k.grad_bias) {
                            for (std::int64_t e = 0; e < chunk.count; ++e) k.grad_bias[edges.csr.edge(begin + e) * heads + h] += d[e];
                        }
                    }
                    k.score.add_gradient(shape, edges, chunk, h, d, memory, grad_row, grad_att);
                }
            }
        }
    });
}

// Runs a kernel whose outputs still lack the segments' partial copies; gives it these, and adds them to the rows in order.
template <class T, class Kernel>
void run_all(Kernel k, T* grad_att, int num_threads) {
    const nb::gil_scoped_release release;
    const Edges<T>& edges = k.edges;
    const Tasks tasks(edges.csr);
    const Segments& segments = tasks.segments();
    const auto give_partial = [&](Destination<T>& destination, std::vector<T>& memory) {
        memory.assign(static_cast<std::size_t>(segments.size() * destination.width), T(0));
        destination.partial = memory.data();
    };
    const auto combine = [&](const Destination<T>& destination) {
        for (std::int64_t hub = 0; hub < segments.num_hubs(); ++hub) {
            T* to = destination.rows + segments.row(hub) * destination.width;
            for (std::int64_t s = segments.first_of(hub); s < segments.end_of(hub); ++s) {
                for (std::int64_t c = 0; c < destination.width; ++c) to[c] += destination.partial[s * destination.width + c];
            }
        }
    };
    std::vector<T> partial_row, partial_message;
    give_partial(k.grad_row, partial_row);
    if constexpr (Kernel::to_source) give_partial(k.grad_message, partial_message);
    const std::int64_t width = edges.width();
    std::vector<T> att_sums(grad_att ? static_cast<std::size_t>(tasks.size() * width) : 0, T(0));
    tasks.run(edges.entry_work(), num_threads, [&](const Task& task) {
        Scratch<T> scratch(3, edges.plane(), edges.channels);
        run(k, task, scratch, grad_att ? att_sums.data() + task.number * width : nullptr);
    });
    combine(k.grad_row);
    if constexpr (Kernel::to_source) combine(k.grad_message);
    for (std::size_t i = 0; i < att_sums.size(); ++i) grad_att[i % static_cast<std::size_t>(width)] += att_sums[i];
}

}  // namespace fullgraph

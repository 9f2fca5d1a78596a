// Gradients of attention, the weights rebuilt from the log-sum-exp instead of kept, for three scores: to the sources on the
// transposed block, to the destinations' side of the score on the block itself, or for an additive score in the first pass too.
//
// Pull in both: a thread owns the rows it writes, and an edge id occurs once in a block, so the bias gradient has one writer too.
// With w = exp(logit - lse) and k = keep / (1 - p), an edge gives d = w (k <grad, message> - delta) to its logit. What has no owner
// among the rows (the gradients of GATv2's att and of an additive score's columns) is summed apart by parts of the block, which
// depend on the block alone, and combined in order.
#pragma once

#include <vector>

#include "attention_scores.h"
#include "attention_light.h"
#include "attention_tasks.h"

namespace fullgraph {
template <class T, template <class> class Score>
struct ToSource {  // rows are sources, columns destinations
    static constexpr bool to_source = true;
    Edges<T> edges;
    Score<T> score;
    HeadRows<T> message;          // [num_rows, num_heads, channels]
    HeadRows<T> grad;             // [num_columns, num_heads or 1, channels]
    const T* numbers;             // [num_columns, stride]: per head log-sum-exp, delta and, of an additive score, score
    std::int64_t stride;
    Destination<T> grad_row;      // the score's gradient
    Destination<T> grad_message;  // [num_rows, num_heads, channels]
    T* grad_bias;                 // [num_edges, num_heads] or null; of an additive score only

    const HeadRows<T>& own() const { return message; }
    const HeadRows<T>& other() const { return grad; }
};

template <class T, template <class> class Score>
struct ToDestination {  // rows are destinations, columns sources
    static constexpr bool to_source = false;
    Edges<T> edges;
    Score<T> score;
    HeadRows<T> message;      // [num_columns, num_heads, channels]
    const T* logsumexp;       // [num_rows, num_heads]
    HeadRows<T> grad;         // [num_rows, num_heads or 1, channels]
    const T* delta;           // [num_rows, num_heads]
    Destination<T> grad_row;  // the score's gradient
    T* grad_bias;             // [num_edges, num_heads] or null

    const HeadRows<T>& own() const { return grad; }
    const HeadRows<T>& other() const { return message; }
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

// All gradients of an additive score, for light rows.
template <class S, class T>
FULLGRAPH_INLINE void return_light_rows(const S& shape, const ToSource<T, Additive>& k, const LightRows& rows,
                                        Scratch<T>& scratch, T* __restrict apart) {
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, width = edges.width(), padded = rows.padded(shape, heads);
    T *__restrict slope = scratch.plane(0), *__restrict weight = scratch.plane(1), *__restrict delta = scratch.plane(2);
    T *__restrict inner = scratch.plane(3), *__restrict factor = scratch.plane(4);
    rows.prefetch_columns(k.numbers, k.stride, 3 * heads);
    rows.prefetch_columns(apart, heads, heads);
    gather(rows, heads, k.numbers, k.stride, weight);
    gather(rows, heads, k.numbers + heads, k.stride, delta);
    raw_scores(rows, edges, k.score.row_score, k.numbers + 2 * heads, k.stride, slope);
    const auto activation = k.score.activation();
    for (std::int64_t i = 0; i < padded; ++i) {
        const T raw = slope[i], w = exponential(activation.logit(raw) - weight[i]);
        weight[i] = w;
        slope[i] = activation.slope(raw) * w;
    }
    fill_dots(shape, rows, heads, k.message, k.grad, inner);
    if (edges.edge_keys) {
        keep_factors(rows, edges, factor);
        for (std::int64_t i = 0; i < padded; ++i) {
            weight[i] *= factor[i];
            inner[i] *= factor[i];
        }
    }
    T* __restrict d = slope;
    for (std::int64_t i = 0; i < padded; ++i) d[i] = slope[i] * (inner[i] - delta[i]);
    for (std::int64_t r = 0; r < rows.num_rows; ++r) {
        each_head<T>(heads, [&]<class V>(std::int64_t h, V) FULLGRAPH_LAMBDA_INLINE {
            T* grad_row = k.grad_row.rows + rows.row[r] * heads + h;
            V sum = load<V>(d + rows.first[r] * heads + h);
            for (std::int64_t e = rows.first[r] + 1; e < rows.first[r + 1]; ++e) sum += load<V>(d + e * heads + h);
            store(grad_row, load<V>(grad_row) + sum);
        });
        for (std::int64_t e = rows.first[r]; e < rows.first[r + 1]; ++e) {
            each_head<T>(heads, [&]<class V>(std::int64_t h, V) FULLGRAPH_LAMBDA_INLINE {
                T* grad_column = apart + rows.column[e] * heads + h;
                store(grad_column, load<V>(grad_column) + load<V>(d + e * heads + h));
                if (!k.grad_bias) return;
                T* grad_bias = k.grad_bias + edges.csr.edge(rows.begin + e) * heads + h;
                store(grad_bias, load<V>(grad_bias) + load<V>(d + e * heads + h));
            });
        }
        add_few(
            shape, rows, r, heads, weight, [](std::int64_t) FULLGRAPH_LAMBDA_INLINE { return T(1); }, k.grad,
            k.grad_message.rows + rows.row[r] * width);
        rows.prefetch_columns_of(r, k.grad);
        rows.prefetch_row(r, k.message.data, width);
        rows.prefetch_row(r, k.grad_message.rows, width);
    }
}

template <int bytes, class T, template <class> class Score, template <class, template <class> class> class Direction>
FULLGRAPH_INLINE void return_rows(const Direction<T, Score>& k, const Task& task, Scratch<T>& scratch, T* apart) {
    constexpr bool to_source = Direction<T, Score>::to_source;
    constexpr bool to_columns = to_source && !Score<T>::reads_rows;  // the columns' scores get their gradient in this pass
    constexpr bool same_rows = !to_source && std::is_same_v<Score<T>, Gatv2<T>>;  // the score reads the messages
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, channels = edges.channels;
    T *raws = scratch.plane(0), *logsumexps = scratch.plane(1), *deltas = scratch.plane(2);
    T *inner = scratch.plane(3), *factor = inner + chunk_entries, *kept = factor + chunk_entries, *line = kept + chunk_entries;
    const HeldMemory<T> memory{scratch.held(), scratch.held_size};
    with_shape<bytes, T>(channels, [&](const auto& shape) FULLGRAPH_LAMBDA_INLINE {
        using S = std::remove_cvref_t<decltype(shape)>;
        using V = typename S::V;
        for (std::int64_t row = task.first; row < task.last; ++row) {
            if constexpr (to_columns) {
                while (row < task.last && is_light(edges.csr, row)) {
                    const LightRows rows(edges.csr, row, task.last);
                    if (rows.num_entries > 0) return_light_rows(shape, k, rows, scratch, apart);
                    row = rows.next;
                }
                if (row == task.last) break;
            }
            T* grad_row = k.grad_row.at(task, row);
            const std::int64_t end = task.end(edges.csr, row);
            for (std::int64_t begin = task.begin(edges.csr, row); begin < end; begin += chunk_entries) {
                const Chunk chunk(edges.csr, row, begin, end, S::lanes > 4 ? S::lanes : 4);
                if constexpr (to_source) {
                    chunk.prefetch_all(k.numbers, k.stride, (Score<T>::reads_rows ? 2 : 3) * heads);
                    gather_planes(chunk, k.numbers, k.stride, heads, logsumexps);
                    gather_planes(chunk, k.numbers + heads, k.stride, heads, deltas);
                    if constexpr (to_columns) {
                        gather_planes(chunk, k.numbers + 2 * heads, k.stride, heads, raws);
                        chunk.prefetch_all(apart, heads, heads);
                    }
                } else if constexpr (!Score<T>::reads_rows) {
                    chunk.prefetch_all(k.score.column_score, heads, heads);
                    gather_planes(chunk, k.score.column_score, heads, heads, raws);
                }
                RowsAhead<T> ahead{chunk, k.other(), heads, channels};
                for (std::int64_t h = 0; h < heads; ++h) {
                    T *raw = raws + h * chunk_entries, *logsumexp = logsumexps + h * chunk_entries;
                    T* delta = deltas + h * chunk_entries;
                    if constexpr (!to_source) {
                        std::fill_n(logsumexp, chunk.padded, k.logsumexp[row * heads + h]);
                        std::fill_n(delta, chunk.padded, k.delta[row * heads + h]);
                    }
                    const T* other = k.other().at(0, h);
                    const std::int64_t width = k.other().width;
                    const auto other_row = [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE { return other + chunk.column[e] * width; };
                    const Held<S> own = operand(shape, k.own().at(row, h), memory[4]);
                    if constexpr (Score<T>::reads_rows) {
                        k.score.with_partial(shape, edges, chunk, h, memory, [&](const auto& partial) FULLGRAPH_LAMBDA_INLINE {
                            sum_lanes(shape, chunk.padded, raw, inner, [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
                                if constexpr (!same_rows) ahead.step();
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
                                ahead.step();
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
                            ahead.step();
                            return partial_dot(shape, own, other_row(e));
                        });
                    }
                    T* d = to_columns ? slope : line;
                    for (std::int64_t e = 0; e < chunk.padded; ++e) d[e] = slope[e] * weight[e] * (factor[e] * inner[e] - delta[e]);
                    std::fill(d + chunk.count, d + chunk.padded, T(0));
                    if (k.grad_bias) {
                        for (std::int64_t e = 0; e < chunk.count; ++e) k.grad_bias[edges.csr.edge(begin + e) * heads + h] += d[e];
                    }
                    k.score.add_gradient(shape, edges, chunk, h, d, memory, grad_row, apart);
                }
                if constexpr (to_columns) scatter_planes(chunk, raws, heads, apart);
            }
        }
    });
}

// Adds the segments' partial rows to their row, in order.
template <class T>
void combine(const Segments& segments, const Destination<T>& destination) {
    for (std::int64_t hub = 0; hub < segments.num_hubs(); ++hub) {
        T* to = destination.rows + segments.row(hub) * destination.width;
        for (std::int64_t s = segments.first_of(hub); s < segments.end_of(hub); ++s) {
            for (std::int64_t c = 0; c < destination.width; ++c) to[c] += destination.partial[s * destination.width + c];
        }
    }
}

// Runs a kernel whose outputs still lack the segments' partial copies: gives it these, and adds them to the rows in order. What
// belongs to no row is summed in `apart` [apart_size], or null: each of `num_groups` groups of tasks has a copy of its own, and a
// thread takes a whole group.
template <class T, class Kernel>
void run_all(Kernel k, T* apart, std::int64_t apart_size, std::int64_t num_groups, int num_threads) {
    const nb::gil_scoped_release release;
    const Edges<T>& edges = k.edges;
    const Tasks tasks(edges.csr);
    const Segments& segments = tasks.segments();
    const auto partial = [&](Destination<T>& destination) {
        std::vector<T> memory(static_cast<std::size_t>(segments.size() * destination.width), T(0));
        destination.partial = memory.data();
        return memory;
    };
    std::vector<T> partial_row = partial(k.grad_row), partial_message;
    if constexpr (Kernel::to_source) partial_message = partial(k.grad_message);
    std::vector<T> copies(apart && num_groups > 1 ? static_cast<std::size_t>(num_groups * apart_size) : 0, T(0));
    const auto copy_of = [&](std::int64_t group) { return copies.empty() ? apart : copies.data() + group * apart_size; };
    tasks.run(edges.entry_work(), num_threads, apart ? num_groups : tasks.size(), [&](const Task& task, std::int64_t group) {
        Scratch<T> scratch(5, edges.plane(), edges.channels);
        run(k, task, scratch, apart ? copy_of(group) : nullptr);
    });
    combine(segments, k.grad_row);
    if constexpr (Kernel::to_source) combine(segments, k.grad_message);
    if (copies.empty()) return;
    for_equal_ranges(apart_size, num_groups, num_threads, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t group = 0; group < num_groups; ++group) {
            for (std::int64_t i = first; i < last; ++i) apart[i] += copies[static_cast<std::size_t>(group * apart_size + i)];
        }
    });
}

}  // namespace fullgraph

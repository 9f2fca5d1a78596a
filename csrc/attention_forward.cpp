// Attention over a block, fused, for three scores: score, online softmax and weighted sum in one pass, carrying (maximum, total,
// acc) from block to block.
//
// Pull: rows are destinations, a thread owns the rows it updates. The naive way holds the weights (edges × heads) and the
// messages (edges × heads × channels); this holds one chunk of weights per thread. A row that meets a larger logit rescales what
// it has, once per chunk at most.
#include <limits>
#include <vector>

#include "attention_scores.h"
#include "attention_light.h"
#include "attention_tasks.h"

namespace fullgraph {
namespace {

template <class T, template <class> class Score>
struct Forward {
    Edges<T> edges;
    Score<T> score;
    HeadRows<T> message;     // [num_columns, num_heads, channels]
    Destination<T> maximum;  // [num_rows, num_heads]
    Destination<T> total;    // [num_rows, num_heads]
    Destination<T> acc;      // [num_rows, num_heads, channels]
};

// Turns the raw scores of one head into exp(logit - maximum), 0 in the padding, after raising the maximum and rescaling total and
// acc to it.
template <class T, class Activation>
FULLGRAPH_INLINE void weigh(const Activation activation, const Chunk& chunk, std::int64_t channels, T* __restrict weight, T& maximum,
                            T& total, T* __restrict acc) {
    const std::int64_t padded = chunk.padded;
    T highest = maximum;
#pragma omp simd reduction(max : highest)
    for (std::int64_t e = 0; e < padded; ++e) {  // the padding may repeat a logit: no new maximum
        weight[e] = activation.logit(weight[e]);
        highest = weight[e] > highest ? weight[e] : highest;
    }
    if (highest > maximum) {
        const T scale = exponential(maximum - highest);  // exp(-inf) = 0 at the first chunk
        total *= scale;
        for (std::int64_t c = 0; c < channels; ++c) acc[c] *= scale;
        maximum = highest;
    }
    for (std::int64_t e = 0; e < padded; ++e) weight[e] = exponential(weight[e] - highest);
    std::fill(weight + chunk.count, weight + padded, T(0));
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t e = 0; e < padded; ++e) sum += weight[e];
    total += sum;
}

// The same for light rows: what a row has is scaled to its new maximum while its messages are added.
template <class S, class T>
FULLGRAPH_INLINE void attend_light_rows(const S& shape, const Forward<T, Additive>& k, const LightRows& rows, Scratch<T>& scratch) {
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, width = edges.width(), padded = rows.padded(shape, heads);
    T *__restrict weight = scratch.plane(0), *__restrict scale = scratch.plane(1), *__restrict factor = scratch.plane(2);
    rows.prefetch_columns(k.score.column_score, heads, heads);
    raw_scores(rows, edges, k.score.row_score, k.score.column_score, heads, weight);
    const auto activation = k.score.activation();
    for (std::int64_t i = 0; i < padded; ++i) weight[i] = activation.logit(weight[i]);
    for (std::int64_t r = 0; r < rows.num_rows; ++r) {
        T* maximum = k.maximum.rows + rows.row[r] * heads;
        each_head<T>(heads, [&]<class V>(std::int64_t h, V) FULLGRAPH_LAMBDA_INLINE {
            const V before = load<V>(maximum + h);
            V highest = before;
            for (std::int64_t e = rows.first[r]; e < rows.first[r + 1]; ++e) {
                const V logit = load<V>(weight + e * heads + h);
                highest = logit > highest ? logit : highest;
            }
            store(maximum + h, highest);
            store(scale + r * heads + h, highest > before ? before - highest : V{});
            for (std::int64_t e = rows.first[r]; e < rows.first[r + 1]; ++e) {
                store(weight + e * heads + h, load<V>(weight + e * heads + h) - highest);
            }
        });
    }
    for (std::int64_t i = 0; i < padded; ++i) weight[i] = exponential(weight[i]);
    for (std::int64_t i = 0; i < padded; ++i) scale[i] = exponential(scale[i]);  // no more rows than entries
    for (std::int64_t r = 0; r < rows.num_rows; ++r) {
        T* total = k.total.rows + rows.row[r] * heads;
        each_head<T>(heads, [&]<class V>(std::int64_t h, V) FULLGRAPH_LAMBDA_INLINE {
            V sum = load<V>(total + h) * load<V>(scale + r * heads + h);
            for (std::int64_t e = rows.first[r]; e < rows.first[r + 1]; ++e) sum += load<V>(weight + e * heads + h);
            store(total + h, sum);
        });
    }
    if (edges.edge_keys) {
        keep_factors(rows, edges, factor);
        for (std::int64_t i = 0; i < padded; ++i) weight[i] *= factor[i];
    }
    for (std::int64_t r = 0; r < rows.num_rows; ++r) {
        add_few(
            shape, rows, r, heads, weight, [&](std::int64_t h) FULLGRAPH_LAMBDA_INLINE { return scale[r * heads + h]; },
            k.message, k.acc.rows + rows.row[r] * width);
        rows.prefetch_columns_of(r, k.message);
        rows.prefetch_row(r, k.acc.rows, width);
    }
}

template <int bytes, class T, template <class> class Score>
FULLGRAPH_INLINE void attend_rows(const Forward<T, Score>& k, const Task& task, Scratch<T>& scratch, T*) {
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, channels = edges.channels, width = edges.width();
    T *weight = scratch.plane(0), *factor = scratch.plane(1);
    const HeldMemory<T> memory{scratch.held(), scratch.held_size};
    with_shape<bytes, T>(channels, [&](const auto& shape) FULLGRAPH_LAMBDA_INLINE {
        using S = std::remove_cvref_t<decltype(shape)>;
        for (std::int64_t row = task.first; row < task.last; ++row) {
            if constexpr (!Score<T>::reads_rows) {
                while (row < task.last && is_light(edges.csr, row)) {
                    const LightRows rows(edges.csr, row, task.last);
                    if (rows.num_entries > 0) attend_light_rows(shape, k, rows, scratch);
                    row = rows.next;
                }
                if (row == task.last) break;
            }
            T *maximum = k.maximum.at(task, row), *total = k.total.at(task, row), *acc = k.acc.at(task, row);
            const std::int64_t end = task.end(edges.csr, row);
            for (std::int64_t begin = task.begin(edges.csr, row); begin < end; begin += chunk_entries) {
                const Chunk chunk(edges.csr, row, begin, end, S::lanes > 4 ? S::lanes : 4);
                if constexpr (!Score<T>::reads_rows) {
                    chunk.prefetch_all(k.score.column_score, heads, heads);
                    gather_planes(chunk, k.score.column_score, heads, heads, weight);
                }
                const auto weigh_head = [&](std::int64_t h) FULLGRAPH_LAMBDA_INLINE {
                    T* head_weight = weight + h * chunk_entries;
                    if constexpr (Score<T>::reads_rows) {
                        k.score.with_partial(shape, edges, chunk, h, memory, [&](const auto& partial) FULLGRAPH_LAMBDA_INLINE {
                            sum_lanes(shape, chunk.padded, head_weight, partial);
                        });
                        for (std::int64_t e = 0; e < chunk.padded; ++e) head_weight[e] = k.score.scaled(head_weight[e]);
                    } else {
                        k.score.add_own(edges, chunk, h, head_weight);
                    }
                    add_bias(edges, chunk, h, head_weight);
                    std::fill(head_weight + chunk.count, head_weight + chunk.padded, head_weight[chunk.count - 1]);
                    weigh(k.score.activation(), chunk, channels, head_weight, maximum[h], total[h], acc + h * channels);
                    if (edges.edge_keys) {
                        fill_keep(edges, chunk, h, factor);
                        for (std::int64_t e = 0; e < chunk.count; ++e) head_weight[e] *= factor[e];
                    }
                };
                RowsAhead<T> ahead{chunk, k.message, heads, channels};
                const auto add_head = [&](std::int64_t h) FULLGRAPH_LAMBDA_INLINE {
                    const T* message = k.message.at(0, h);
                    Held<S> sum = zeros(shape, memory[0]);
                    add_rows(shape, (chunk.count + 3) / 4 * 4, weight + h * chunk_entries, sum,
                             [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
                                 // GATv2 has just read the same rows for its scores
                                 if constexpr (!std::is_same_v<Score<T>, Gatv2<T>>) ahead.step();
                                 return message + chunk.column[e] * width;
                             });
                    add_to(shape, sum, acc + h * channels);
                };
                if constexpr (heads_of_registers<S> > 0) {
                    if (heads == heads_of_registers<S>) {
                        for (std::int64_t h = 0; h < heads; ++h) weigh_head(h);
                        add_whole_rows(shape, chunk.count, acc,
                                       [&](std::int64_t e, std::int64_t h) FULLGRAPH_LAMBDA_INLINE { return weight[h * chunk_entries + e]; },
                                       [&](std::int64_t e) FULLGRAPH_LAMBDA_INLINE {
                                           if constexpr (!std::is_same_v<Score<T>, Gatv2<T>>) chunk.prefetch(k.message.data, width, width, e);
                                           return k.message.at(chunk.column[e], 0);
                                       });
                        continue;
                    }
                }
                if constexpr (Score<T>::reads_rows) {  // the heads' chains of arithmetic overlap
                    for (std::int64_t h = 0; h < heads; ++h) weigh_head(h);
                    for (std::int64_t h = 0; h < heads; ++h) add_head(h);
                } else {  // arithmetic and memory alternate
                    for (std::int64_t h = 0; h < heads; ++h) {
                        weigh_head(h);
                        add_head(h);
                    }
                }
            }
        }
    });
}

FULLGRAPH_RUN(attend_rows, float, Forward<float, Additive>)
FULLGRAPH_RUN_PLAINLY(attend_rows, double, Forward<double, Additive>)
FULLGRAPH_RUN(attend_rows, float, Forward<float, Gatv2>)
FULLGRAPH_RUN_PLAINLY(attend_rows, double, Forward<double, Gatv2>)
FULLGRAPH_RUN(attend_rows, float, Forward<float, ScaledDot>)
FULLGRAPH_RUN_PLAINLY(attend_rows, double, Forward<double, ScaledDot>)

// Joins a segment's state into its row's, as if its edges came next.
template <class T>
void absorb(std::int64_t heads, std::int64_t channels, const T* maximum, const T* total, const T* acc, T* row_maximum,
            T* row_total, T* row_acc) {
    for (std::int64_t h = 0; h < heads; ++h) {
        const T highest = std::max(row_maximum[h], maximum[h]);
        const T old_scale = row_maximum[h] == highest ? T(1) : exponential(row_maximum[h] - highest);
        const T new_scale = maximum[h] == highest ? T(1) : exponential(maximum[h] - highest);
        row_maximum[h] = highest;
        row_total[h] = row_total[h] * old_scale + total[h] * new_scale;
        for (std::int64_t c = h * channels; c < (h + 1) * channels; ++c) {
            row_acc[c] = row_acc[c] * old_scale + acc[c] * new_scale;
        }
    }
}

template <class T, template <class> class Score>
void run_all(const Edges<T>& edges, const Score<T>& score, const HeadRows<T>& message, T* maximum, T* total, T* acc, int num_threads) {
    const nb::gil_scoped_release release;
    const Tasks tasks(edges.csr);
    const Segments& segments = tasks.segments();
    const std::int64_t heads = edges.num_heads, width = edges.width();
    std::vector<T> highest(static_cast<std::size_t>(segments.size() * heads), -std::numeric_limits<T>::infinity());
    std::vector<T> sums(static_cast<std::size_t>(segments.size() * (heads + width)), T(0));
    T* partial_acc = sums.data() + segments.size() * heads;
    const Forward<T, Score> k{edges, score, message, {maximum, highest.data(), heads}, {total, sums.data(), heads},
                              {acc, partial_acc, width}};
    tasks.run(edges.entry_work(), num_threads, tasks.size(), [&](const Task& task, std::int64_t) {
        Scratch<T> scratch(3, edges.plane(), edges.channels);
        run(k, task, scratch, nullptr);
    });
    for (std::int64_t hub = 0; hub < segments.num_hubs(); ++hub) {
        const std::int64_t row = segments.row(hub);
        for (std::int64_t s = segments.first_of(hub); s < segments.end_of(hub); ++s) {
            absorb(heads, edges.channels, highest.data() + s * heads, sums.data() + s * heads, partial_acc + s * width,
                   maximum + row * heads, total + row * heads, acc + row * width);
        }
    }
}

template <class T>
void additive(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst, Out<T, 2> maximum,
              Out<T, 2> total, Out<T, 3> acc, double negative_slope, std::optional<In<T, 2>> bias, EdgeIds edge_ids,
              EdgeKeys edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x);
    const Additive<T> score{score_dst.data(), score_src.data(), static_cast<T>(negative_slope), nullptr};
    run_all(edges, score, head_rows(x), maximum.data(), total.data(), acc.data(), num_threads);
}

template <class T>
void gatv2(Indptr indptr, Indices indices, In<T, 3> x_src, In<T, 3> x_dst, In<T, 2> att, Out<T, 2> maximum, Out<T, 2> total,
           Out<T, 3> acc, double negative_slope, std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeKeys edge_keys,
           std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x_src);
    const Gatv2<T> score{x_dst.data(), x_src.data(), att.data(), static_cast<T>(negative_slope), nullptr};
    run_all(edges, score, head_rows(x_src), maximum.data(), total.data(), acc.data(), num_threads);
}

template <class T>
void scaled_dot(Indptr indptr, Indices indices, In<T, 3> query, In<T, 3> key_rows, In<T, 3> value, Out<T, 2> maximum,
                Out<T, 2> total, Out<T, 3> acc, double scale, std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeKeys edge_keys,
                std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, value);
    const ScaledDot<T> score{query.data(), key_rows.data(), static_cast<T>(scale), nullptr};
    run_all(edges, score, head_rows(value), maximum.data(), total.data(), acc.data(), num_threads);
}

template <class T>
void bind(nb::module_& m) {
    bind_exactly(m, "attention_forward", &additive<T>);
    bind_exactly(m, "attention_v2_forward", &gatv2<T>);
    bind_exactly(m, "attention_dot_forward", &scaled_dot<T>);
}

}  // namespace

void bind_attention_forward(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

// Gradients of attention, the weights rebuilt from the log-sum-exp instead of kept, for three scores: to the sources on the
// transposed block, to the destinations' side of the score and the bias on the block itself.
//
// Pull in both: a thread owns the rows it writes, and an edge id occurs once in a block, so the bias gradient has one writer too.
// With w = exp(logit - lse) and k = keep / (1 - p), an edge gives d = w (k <grad, message> - delta) to its logit. The gradient of
// GATv2's att has no owner among the rows: parts of the block, fixed by the block alone, sum it apart and are combined in order.
#include <vector>

#include "attention_scores.h"

namespace fullgraph {
namespace {

template <class T, template <class> class Score>
struct ToSource {  // rows are sources, columns destinations
    Edges<T> edges;
    Score<T> score;
    const T* message;    // [num_rows, num_heads, channels]
    const T* logsumexp;  // [num_columns, num_heads]
    const T* grad;       // [num_columns, num_heads, channels]
    const T* delta;      // [num_columns, num_heads]
    T* grad_message;     // [num_rows, num_heads, channels]
};

template <class T, template <class> class Score>
struct ToDestination {  // rows are destinations, columns sources
    Edges<T> edges;
    Score<T> score;
    const T* message;    // [num_columns, num_heads, channels]
    const T* logsumexp;  // [num_rows, num_heads]
    const T* grad;       // [num_rows, num_heads, channels]
    const T* delta;      // [num_rows, num_heads]
    T* grad_bias;        // [num_edges, num_heads] or null
};

// Of one head: weight[e] = exp(logit - lse(e)) and slope[e] = logit'(raw), in place of the raw scores in `weight`.
template <class T, class Score, class LogSumExp>
FULLGRAPH_INLINE void weigh(const Score& score, std::int64_t count, T* __restrict weight, T* __restrict slope,
                            const LogSumExp& logsumexp) {
    for (std::int64_t e = 0; e < count; ++e) {
        slope[e] = score.slope(weight[e]);
        weight[e] = exponential(score.logit(weight[e]) - logsumexp(e));
    }
}

// grad_message += kept * grad, and <grad, message>, in one pass over grad.
template <class T>
FULLGRAPH_INLINE T add_and_dot(T kept, const T* __restrict grad, const T* __restrict message, T* __restrict grad_message,
                               std::int64_t channels) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t c = 0; c < channels; ++c) {
        grad_message[c] += kept * grad[c];
        sum += grad[c] * message[c];
    }
    return sum;
}

// weight, slope and factor: planes that begin at `scratch`, filled for the chunk.
template <class T, template <class> class Score, class LogSumExp>
FULLGRAPH_INLINE void fill_chunk(const Edges<T>& edges, const Score<T>& score, std::int64_t row, std::int64_t begin,
                                 std::int64_t count, T* scratch, const LogSumExp& logsumexp) {
    T *weight = scratch, *slope = scratch + edges.plane(), *factor = scratch + 2 * edges.plane();
    score.fill(edges, row, begin, count, weight);
    add_bias(edges, begin, count, weight);
    for (std::int64_t h = 0; h < edges.num_heads; ++h) {
        const std::int64_t at = h * chunk_entries;
        weigh(score, count, weight + at, slope + at, [&](std::int64_t e) { return logsumexp(e, h); });
        if (edges.edge_keys) fill_keep(edges, h, begin, count, factor + at);
        else std::fill_n(factor + at, count, T(1));
    }
}

template <class T, template <class> class Score>
FULLGRAPH_INLINE void return_rows(const ToSource<T, Score>& k, T* scratch, T*, std::int64_t first, std::int64_t last) {
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, channels = edges.channels, width = edges.width();
    const T *weight = scratch, *slope = scratch + edges.plane(), *factor = scratch + 2 * edges.plane();
    T* d = scratch + 3 * edges.plane();
    for (std::int64_t row = first; row < last; ++row) {
        const T* message = k.message + row * width;
        const std::int64_t end = edges.csr.indptr[row + 1];
        for (std::int64_t begin = edges.csr.indptr[row]; begin < end; begin += chunk_entries) {
            const std::int64_t count = std::min(chunk_entries, end - begin);
            const std::int32_t* columns = edges.csr.indices + begin;
            fill_chunk(edges, k.score, row, begin, count, scratch,
                       [&](std::int64_t e, std::int64_t h) { return k.logsumexp[columns[e] * heads + h]; });
            for (std::int64_t e = 0; e < count; ++e) {
                const T* grad = k.grad + columns[e] * width;
                const T* delta = k.delta + columns[e] * heads;
                for (std::int64_t h = 0; h < heads; ++h) {
                    const std::int64_t at = h * chunk_entries + e;
                    T* grad_message = k.grad_message + row * width + h * channels;
                    const T inner =
                        add_and_dot(weight[at] * factor[at], grad + h * channels, message + h * channels, grad_message, channels);
                    d[at] = weight[at] * slope[at] * (factor[at] * inner - delta[h]);
                }
            }
            k.score.add_gradient(edges, row, begin, count, d, nullptr);
        }
    }
}

template <class T, template <class> class Score>
FULLGRAPH_INLINE void return_rows(const ToDestination<T, Score>& k, T* scratch, T* grad_att, std::int64_t first,
                                  std::int64_t last) {
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, channels = edges.channels, width = edges.width();
    const T *weight = scratch, *slope = scratch + edges.plane(), *factor = scratch + 2 * edges.plane();
    T* d = scratch + 3 * edges.plane();
    for (std::int64_t row = first; row < last; ++row) {
        const T* grad = k.grad + row * width;
        const T* delta = k.delta + row * heads;
        const std::int64_t end = edges.csr.indptr[row + 1];
        for (std::int64_t begin = edges.csr.indptr[row]; begin < end; begin += chunk_entries) {
            const std::int64_t count = std::min(chunk_entries, end - begin);
            fill_chunk(edges, k.score, row, begin, count, scratch,
                       [&](std::int64_t, std::int64_t h) { return k.logsumexp[row * heads + h]; });
            for (std::int64_t e = 0; e < count; ++e) {
                const T* message = k.message + edges.csr.indices[begin + e] * width;
                for (std::int64_t h = 0; h < heads; ++h) {
                    const std::int64_t at = h * chunk_entries + e;
                    const T inner = dot(grad + h * channels, message + h * channels, channels);
                    d[at] = weight[at] * slope[at] * (factor[at] * inner - delta[h]);
                    if (k.grad_bias) k.grad_bias[edges.csr.edge(begin + e) * heads + h] += d[at];
                }
            }
            k.score.add_gradient(edges, row, begin, count, d, grad_att);
        }
    }
}

using Row = std::int64_t;
#define FULLGRAPH_RUN(T, Score)                                                                             \
    FULLGRAPH_CLONES void run(const ToSource<T, Score>& k, T* scratch, T* part, Row first, Row last) {      \
        return_rows(k, scratch, part, first, last);                                                         \
    }                                                                                                       \
    FULLGRAPH_CLONES void run(const ToDestination<T, Score>& k, T* scratch, T* part, Row first, Row last) { \
        return_rows(k, scratch, part, first, last);                                                         \
    }
FULLGRAPH_RUN(float, Additive)
FULLGRAPH_RUN(double, Additive)
FULLGRAPH_RUN(float, Gatv2)
FULLGRAPH_RUN(double, Gatv2)
FULLGRAPH_RUN(float, ScaledDot)
FULLGRAPH_RUN(double, ScaledDot)
#undef FULLGRAPH_RUN

constexpr std::int64_t num_planes = 4, num_parts = 128;

template <class T, template <class> class Score, template <class, template <class> class> class Direction>
void run_all(const Direction<T, Score>& k, int num_threads) {
    const nb::gil_scoped_release release;
    for_row_ranges(k.edges.csr, k.edges.entry_work(), num_threads, [&k](Row first, Row last) {
        std::vector<T> scratch(num_planes * k.edges.plane());
        run(k, scratch.data(), nullptr, first, last);
    });
}

// As run_all, with grad_att [num_heads, channels] summed by equally long runs of rows whose number does not depend on threads.
template <class T>
void run_parts(const ToDestination<T, Gatv2>& k, T* grad_att, int num_threads) {
    const nb::gil_scoped_release release;
    const std::int64_t rows = k.edges.csr.num_rows, width = k.edges.width(), parts = std::min(num_parts, rows);
    if (rows == 0) return;
    std::vector<T> sums(static_cast<std::size_t>(parts * width), T(0));
    const bool serial = (k.edges.csr.indptr[rows] + rows) * k.edges.entry_work() < serial_work;
#pragma omp parallel for schedule(dynamic, 1) num_threads(num_threads) if (!serial && num_threads > 1)
    for (std::int64_t part = 0; part < parts; ++part) {
        std::vector<T> scratch(num_planes * k.edges.plane());
        run(k, scratch.data(), sums.data() + part * width, rows * part / parts, rows * (part + 1) / parts);
    }
    for (std::int64_t part = 0; part < parts; ++part) {
        for (std::int64_t c = 0; c < width; ++c) grad_att[c] += sums[static_cast<std::size_t>(part * width + c)];
    }
}

template <class T>
void additive_to_source(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst, In<T, 2> logsumexp,
                        In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_x, Out<T, 2> grad_score_src, double negative_slope,
                        std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeIds edge_keys, std::uint64_t key,
                        std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x);
    const Additive<T> score{score_src.data(), score_dst.data(), static_cast<T>(negative_slope), grad_score_src.data()};
    run_all(ToSource<T, Additive>{edges, score, x.data(), logsumexp.data(), grad.data(), delta.data(), grad_x.data()},
            num_threads);
}

template <class T>
void additive_to_destination(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst,
                             In<T, 2> logsumexp, In<T, 3> grad, In<T, 2> delta, Out<T, 2> grad_score_dst,
                             std::optional<Out<T, 2>> grad_bias, double negative_slope, std::optional<In<T, 2>> bias,
                             EdgeIds edge_ids, EdgeIds edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale,
                             int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x);
    const Additive<T> score{score_dst.data(), score_src.data(), static_cast<T>(negative_slope), grad_score_dst.data()};
    run_all(ToDestination<T, Additive>{edges, score, x.data(), logsumexp.data(), grad.data(), delta.data(),
                                       data_or_null(grad_bias)},
            num_threads);
}

template <class T>
void gatv2_to_source(Indptr indptr, Indices indices, In<T, 3> x_src, In<T, 3> x_dst, In<T, 2> att, In<T, 2> logsumexp,
                     In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_x_src, double negative_slope,
                     std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeIds edge_keys, std::uint64_t key,
                     std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x_src);
    const Gatv2<T> score{x_src.data(), x_dst.data(), att.data(), static_cast<T>(negative_slope), grad_x_src.data()};
    run_all(ToSource<T, Gatv2>{edges, score, x_src.data(), logsumexp.data(), grad.data(), delta.data(), grad_x_src.data()},
            num_threads);
}

template <class T>
void gatv2_to_destination(Indptr indptr, Indices indices, In<T, 3> x_src, In<T, 3> x_dst, In<T, 2> att, In<T, 2> logsumexp,
                          In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_x_dst, Out<T, 2> grad_att,
                          std::optional<Out<T, 2>> grad_bias, double negative_slope, std::optional<In<T, 2>> bias,
                          EdgeIds edge_ids, EdgeIds edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale,
                          int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x_src);
    const Gatv2<T> score{x_dst.data(), x_src.data(), att.data(), static_cast<T>(negative_slope), grad_x_dst.data()};
    run_parts(ToDestination<T, Gatv2>{edges, score, x_src.data(), logsumexp.data(), grad.data(), delta.data(),
                                      data_or_null(grad_bias)},
              grad_att.data(), num_threads);
}

template <class T>
void dot_to_source(Indptr indptr, Indices indices, In<T, 3> key_rows, In<T, 3> value, In<T, 3> query, In<T, 2> logsumexp,
                   In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_key, Out<T, 3> grad_value, double scale,
                   std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeIds edge_keys, std::uint64_t key,
                   std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, value);
    const ScaledDot<T> score{key_rows.data(), query.data(), static_cast<T>(scale), grad_key.data()};
    run_all(ToSource<T, ScaledDot>{edges, score, value.data(), logsumexp.data(), grad.data(), delta.data(), grad_value.data()},
            num_threads);
}

template <class T>
void dot_to_destination(Indptr indptr, Indices indices, In<T, 3> key_rows, In<T, 3> value, In<T, 3> query, In<T, 2> logsumexp,
                        In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_query, std::optional<Out<T, 2>> grad_bias, double scale,
                        std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeIds edge_keys, std::uint64_t key,
                        std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, value);
    const ScaledDot<T> score{query.data(), key_rows.data(), static_cast<T>(scale), grad_query.data()};
    run_all(ToDestination<T, ScaledDot>{edges, score, value.data(), logsumexp.data(), grad.data(), delta.data(),
                                        data_or_null(grad_bias)},
            num_threads);
}

template <class T>
void bind(nb::module_& m) {
    bind_exactly(m, "attention_backward_src", &additive_to_source<T>);
    bind_exactly(m, "attention_backward_dst", &additive_to_destination<T>);
    bind_exactly(m, "attention_v2_backward_src", &gatv2_to_source<T>);
    bind_exactly(m, "attention_v2_backward_dst", &gatv2_to_destination<T>);
    bind_exactly(m, "attention_dot_backward_src", &dot_to_source<T>);
    bind_exactly(m, "attention_dot_backward_dst", &dot_to_destination<T>);
}

}  // namespace

void bind_attention_backward(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

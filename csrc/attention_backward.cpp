// Gradients of additive attention, the weights rebuilt from the log-sum-exp instead of kept: to the sources on the transposed
// block, to the destination scores and the bias on the block itself.
//
// Pull in both: a thread owns the rows it writes, and an edge id occurs once in a block, so the bias gradient has one writer too.
// With w = exp(logit - lse) and k = keep / (1 - p), an edge gives d = w (k <grad, x> - delta) leaky'(raw) to both its scores.
#include <vector>

#include "attention.h"

namespace fullgraph {
namespace {

template <class T>
struct ToSource {  // rows are sources, columns destinations
    Attention<T> attention;
    const T* x;          // [num_rows, num_heads, channels]
    const T* logsumexp;  // [num_columns, num_heads]
    const T* grad;       // [num_columns, num_heads, channels]
    const T* delta;      // [num_columns, num_heads]
    T* grad_x;           // [num_rows, num_heads, channels]
    T* grad_score;       // [num_rows, num_heads]
};

template <class T>
struct ToDestination {  // rows are destinations, columns sources
    Attention<T> attention;
    const T* x;          // [num_columns, num_heads, channels]
    const T* logsumexp;  // [num_rows, num_heads]
    const T* grad;       // [num_rows, num_heads, channels]
    const T* delta;      // [num_rows, num_heads]
    T* grad_score;       // [num_rows, num_heads]
    T* grad_bias;        // [num_edges, num_heads] or null
};

// weight[e] = exp(logit - lse(e)) and slope[e] = leaky'(raw), in place of the raw scores in `weight`.
template <class T, class LogSumExp>
FULLGRAPH_INLINE void weigh(T negative_slope, std::int64_t count, T* __restrict weight, T* __restrict slope,
                            const LogSumExp& logsumexp) {
    for (std::int64_t e = 0; e < count; ++e) {
        slope[e] = weight[e] > T(0) ? T(1) : negative_slope;
        weight[e] = exponential(leaky_relu(weight[e], negative_slope) - logsumexp(e));
    }
}

// grad_x += kept * grad, and <grad, x>, in one pass over grad.
template <class T>
FULLGRAPH_INLINE T add_and_dot(T kept, const T* __restrict grad, const T* __restrict x, T* __restrict grad_x,
                               std::int64_t channels) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t c = 0; c < channels; ++c) {
        grad_x[c] += kept * grad[c];
        sum += grad[c] * x[c];
    }
    return sum;
}

template <class T>
FULLGRAPH_INLINE void return_rows(const ToSource<T>& k, T* scratch, std::int64_t first, std::int64_t last) {
    const Attention<T>& a = k.attention;
    const std::int64_t heads = a.num_heads, channels = a.channels, width = heads * channels, plane = heads * chunk_entries;
    T *weight = scratch, *slope = scratch + plane, *factor = scratch + 2 * plane;  // each [heads, chunk]
    for (std::int64_t row = first; row < last; ++row) {
        const T* x = k.x + row * width;
        T* grad_score = k.grad_score + row * heads;
        const std::int64_t end = a.csr.indptr[row + 1];
        for (std::int64_t begin = a.csr.indptr[row]; begin < end; begin += chunk_entries) {
            const std::int64_t count = std::min(chunk_entries, end - begin);
            const std::int32_t* columns = a.csr.indices + begin;
            for (std::int64_t h = 0; h < heads; ++h) {
                const std::int64_t offset = h * chunk_entries;
                fill_raw(a, row, h, begin, count, weight + offset);
                weigh(a.negative_slope, count, weight + offset, slope + offset,
                      [&](std::int64_t e) { return k.logsumexp[columns[e] * heads + h]; });
                fill_keep(a, h, begin, count, factor + offset);
            }
            for (std::int64_t e = 0; e < count; ++e) {
                const T* __restrict grad = k.grad + columns[e] * width;
                const T* delta = k.delta + columns[e] * heads;
                for (std::int64_t h = 0; h < heads; ++h) {
                    const std::int64_t at = h * chunk_entries + e;
                    const T kept = weight[at] * factor[at];
                    T* grad_x = k.grad_x + row * width + h * channels;
                    const T inner = add_and_dot(kept, grad + h * channels, x + h * channels, grad_x, channels);
                    grad_score[h] += weight[at] * slope[at] * (factor[at] * inner - delta[h]);
                }
            }
        }
    }
}

template <class T>
FULLGRAPH_INLINE void return_rows(const ToDestination<T>& k, T* scratch, std::int64_t first, std::int64_t last) {
    const Attention<T>& a = k.attention;
    const std::int64_t heads = a.num_heads, channels = a.channels, width = heads * channels, plane = heads * chunk_entries;
    T *weight = scratch, *slope = scratch + plane, *factor = scratch + 2 * plane;  // each [heads, chunk]
    for (std::int64_t row = first; row < last; ++row) {
        const T* grad = k.grad + row * width;
        const T* delta = k.delta + row * heads;
        T* grad_score = k.grad_score + row * heads;
        const std::int64_t end = a.csr.indptr[row + 1];
        for (std::int64_t begin = a.csr.indptr[row]; begin < end; begin += chunk_entries) {
            const std::int64_t count = std::min(chunk_entries, end - begin);
            for (std::int64_t h = 0; h < heads; ++h) {
                const std::int64_t offset = h * chunk_entries;
                const T logsumexp = k.logsumexp[row * heads + h];
                fill_raw(a, row, h, begin, count, weight + offset);
                weigh(a.negative_slope, count, weight + offset, slope + offset, [logsumexp](std::int64_t) { return logsumexp; });
                fill_keep(a, h, begin, count, factor + offset);
            }
            for (std::int64_t e = 0; e < count; ++e) {
                const T* x = k.x + a.csr.indices[begin + e] * width;
                for (std::int64_t h = 0; h < heads; ++h) {
                    const std::int64_t at = h * chunk_entries + e;
                    const T inner = dot(grad + h * channels, x + h * channels, channels);
                    const T d = weight[at] * slope[at] * (factor[at] * inner - delta[h]);
                    grad_score[h] += d;
                    if (k.grad_bias) k.grad_bias[a.csr.edge(begin + e) * heads + h] += d;
                }
            }
        }
    }
}

using Row = std::int64_t;
FULLGRAPH_CLONES void run(const ToSource<float>& k, float* scratch, Row first, Row last) { return_rows(k, scratch, first, last); }
FULLGRAPH_CLONES void run(const ToSource<double>& k, double* scratch, Row first, Row last) {
    return_rows(k, scratch, first, last);
}
FULLGRAPH_CLONES void run(const ToDestination<float>& k, float* scratch, Row first, Row last) {
    return_rows(k, scratch, first, last);
}
FULLGRAPH_CLONES void run(const ToDestination<double>& k, double* scratch, Row first, Row last) {
    return_rows(k, scratch, first, last);
}

template <class T, template <class> class Direction>
void run_all(const Direction<T>& k, int num_threads) {
    const nb::gil_scoped_release release;
    for_row_ranges(k.attention.csr, entry_work(k.attention), num_threads, [&k](Row first, Row last) {
        std::vector<T> scratch(static_cast<std::size_t>(3 * k.attention.num_heads * chunk_entries));
        run(k, scratch.data(), first, last);
    });
}

template <class T>
void attention_backward_src(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst,
                            In<T, 2> logsumexp, In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_x, Out<T, 2> grad_score_src,
                            double negative_slope, std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeIds edge_keys,
                            std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const auto channels = static_cast<std::int64_t>(x.shape(2));
    const ToSource<T> k{attention_of<T>(indptr, indices, edge_ids, score_src, score_dst, bias,
                                        {edge_keys, key, threshold, keep_scale}, negative_slope, channels),
                        x.data(),     logsumexp.data(), grad.data(),
                        delta.data(), grad_x.data(),    grad_score_src.data()};
    run_all(k, num_threads);
}

template <class T>
void attention_backward_dst(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst,
                            In<T, 2> logsumexp, In<T, 3> grad, In<T, 2> delta, Out<T, 2> grad_score_dst,
                            std::optional<Out<T, 2>> grad_bias, double negative_slope, std::optional<In<T, 2>> bias,
                            EdgeIds edge_ids, EdgeIds edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale,
                            int num_threads) {
    const auto channels = static_cast<std::int64_t>(x.shape(2));
    const ToDestination<T> k{attention_of<T>(indptr, indices, edge_ids, score_dst, score_src, bias,
                                             {edge_keys, key, threshold, keep_scale}, negative_slope, channels),
                             x.data(),     logsumexp.data(),      grad.data(),
                             delta.data(), grad_score_dst.data(), grad_bias ? grad_bias->data() : nullptr};
    run_all(k, num_threads);
}

template <class T>
void bind(nb::module_& m) {
    m.def("attention_backward_src", &attention_backward_src<T>, "indptr"_a.noconvert(), "indices"_a.noconvert(),
          "x"_a.noconvert(), "score_src"_a.noconvert(), "score_dst"_a.noconvert(), "logsumexp"_a.noconvert(),
          "grad"_a.noconvert(), "delta"_a.noconvert(), "grad_x"_a.noconvert(), "grad_score_src"_a.noconvert(),
          "negative_slope"_a, "bias"_a.noconvert().none(), "edge_ids"_a.noconvert().none(),
          "edge_keys"_a.noconvert().none(), "key"_a, "threshold"_a, "keep_scale"_a, "num_threads"_a);
    m.def("attention_backward_dst", &attention_backward_dst<T>, "indptr"_a.noconvert(), "indices"_a.noconvert(),
          "x"_a.noconvert(), "score_src"_a.noconvert(), "score_dst"_a.noconvert(), "logsumexp"_a.noconvert(),
          "grad"_a.noconvert(), "delta"_a.noconvert(), "grad_score_dst"_a.noconvert(), "grad_bias"_a.noconvert().none(),
          "negative_slope"_a, "bias"_a.noconvert().none(), "edge_ids"_a.noconvert().none(),
          "edge_keys"_a.noconvert().none(), "key"_a, "threshold"_a, "keep_scale"_a, "num_threads"_a);
}

}  // namespace

void bind_attention_backward(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

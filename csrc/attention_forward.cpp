// Attention over a block, fused, for three scores: score, online softmax and weighted sum in one pass, carrying (maximum, total,
// acc) from block to block.
//
// Pull: rows are destinations, a thread owns the rows it updates. The naive way holds the weights (edges × heads) and the
// messages (edges × heads × channels); this holds one chunk of weights per thread. A row that meets a larger logit rescales what
// it has, once per chunk at most.
#include <vector>

#include "attention_scores.h"

namespace fullgraph {
namespace {

template <class T, template <class> class Score>
struct Forward {
    Edges<T> edges;
    Score<T> score;
    const T* message;  // [num_columns, num_heads, channels]
    T* maximum;        // [num_rows, num_heads]
    T* total;          // [num_rows, num_heads]
    T* acc;            // [num_rows, num_heads, channels]
};

// Turns the raw scores of one head into exp(logit - maximum), after raising the maximum and rescaling total and acc to it.
template <class T, class Score>
FULLGRAPH_INLINE void weigh(const Score& score, std::int64_t count, std::int64_t channels, T* __restrict weight, T& maximum,
                            T& total, T* __restrict acc) {
    T highest = maximum;
#pragma omp simd reduction(max : highest)
    for (std::int64_t e = 0; e < count; ++e) {
        weight[e] = score.logit(weight[e]);
        highest = weight[e] > highest ? weight[e] : highest;
    }
    if (highest > maximum) {
        const T scale = exponential(maximum - highest);  // exp(-inf) = 0 at the first chunk
        total *= scale;
        for (std::int64_t c = 0; c < channels; ++c) acc[c] *= scale;
        maximum = highest;
    }
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t e = 0; e < count; ++e) {
        weight[e] = exponential(weight[e] - highest);
        sum += weight[e];
    }
    total += sum;
}

template <class T, template <class> class Score>
FULLGRAPH_INLINE void attend_rows(const Forward<T, Score>& k, T* scratch, std::int64_t first, std::int64_t last) {
    const Edges<T>& edges = k.edges;
    const std::int64_t heads = edges.num_heads, channels = edges.channels, width = edges.width();
    T* weight = scratch;  // [heads, chunk]
    T* factor = scratch + edges.plane();
    for (std::int64_t row = first; row < last; ++row) {
        T* __restrict acc = k.acc + row * width;
        const std::int64_t end = edges.csr.indptr[row + 1];
        for (std::int64_t begin = edges.csr.indptr[row]; begin < end; begin += chunk_entries) {
            const std::int64_t count = std::min(chunk_entries, end - begin);
            k.score.fill(edges, row, begin, count, weight);
            add_bias(edges, begin, count, weight);
            for (std::int64_t h = 0; h < heads; ++h) {
                T* __restrict head_weight = weight + h * chunk_entries;
                weigh(k.score, count, channels, head_weight, k.maximum[row * heads + h], k.total[row * heads + h],
                      acc + h * channels);
                if (!edges.edge_keys) continue;
                fill_keep(edges, h, begin, count, factor);
                for (std::int64_t e = 0; e < count; ++e) head_weight[e] *= factor[e];
            }
            for (std::int64_t e = 0; e < count; ++e) {
                const T* __restrict message = k.message + edges.csr.indices[begin + e] * width;
                for (std::int64_t h = 0; h < heads; ++h) {
                    const T w = weight[h * chunk_entries + e];
#pragma omp simd
                    for (std::int64_t c = h * channels; c < (h + 1) * channels; ++c) acc[c] += w * message[c];
                }
            }
        }
    }
}

using Row = std::int64_t;
#define FULLGRAPH_RUN(T, Score)                                                                  \
    FULLGRAPH_CLONES void run(const Forward<T, Score>& k, T* scratch, Row first, Row last) {     \
        attend_rows(k, scratch, first, last);                                                    \
    }
FULLGRAPH_RUN(float, Additive)
FULLGRAPH_RUN(double, Additive)
FULLGRAPH_RUN(float, Gatv2)
FULLGRAPH_RUN(double, Gatv2)
FULLGRAPH_RUN(float, ScaledDot)
FULLGRAPH_RUN(double, ScaledDot)
#undef FULLGRAPH_RUN

template <class T, template <class> class Score>
void run_all(const Forward<T, Score>& k, int num_threads) {
    const nb::gil_scoped_release release;
    for_row_ranges(k.edges.csr, k.edges.entry_work(), num_threads, [&k](Row first, Row last) {
        std::vector<T> scratch(k.edges.plane() + chunk_entries);
        run(k, scratch.data(), first, last);
    });
}

template <class T>
void additive(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst, Out<T, 2> maximum,
              Out<T, 2> total, Out<T, 3> acc, double negative_slope, std::optional<In<T, 2>> bias, EdgeIds edge_ids,
              EdgeIds edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x);
    const Additive<T> score{score_dst.data(), score_src.data(), static_cast<T>(negative_slope), nullptr};
    run_all(Forward<T, Additive>{edges, score, x.data(), maximum.data(), total.data(), acc.data()}, num_threads);
}

template <class T>
void gatv2(Indptr indptr, Indices indices, In<T, 3> x_src, In<T, 3> x_dst, In<T, 2> att, Out<T, 2> maximum, Out<T, 2> total,
           Out<T, 3> acc, double negative_slope, std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeIds edge_keys,
           std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x_src);
    const Gatv2<T> score{x_dst.data(), x_src.data(), att.data(), static_cast<T>(negative_slope), nullptr};
    run_all(Forward<T, Gatv2>{edges, score, x_src.data(), maximum.data(), total.data(), acc.data()}, num_threads);
}

template <class T>
void scaled_dot(Indptr indptr, Indices indices, In<T, 3> query, In<T, 3> key_rows, In<T, 3> value, Out<T, 2> maximum,
                Out<T, 2> total, Out<T, 3> acc, double scale, std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeIds edge_keys,
                std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, value);
    const ScaledDot<T> score{query.data(), key_rows.data(), static_cast<T>(scale), nullptr};
    run_all(Forward<T, ScaledDot>{edges, score, value.data(), maximum.data(), total.data(), acc.data()}, num_threads);
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

// Additive attention over a block, fused: score, online softmax and weighted sum in one pass, carrying (maximum, total, acc)
// from block to block.
//
// Pull: rows are destinations, a thread owns the rows it updates. The naive way holds the weights (edges × heads) and the
// messages (edges × heads × channels); this holds one chunk of weights per thread. A row that meets a larger logit rescales what
// it has, once per chunk at most.
#include <vector>

#include "attention.h"

namespace fullgraph {
namespace {

template <class T>
struct Forward {
    Attention<T> attention;
    const T* x;  // [num_columns, num_heads, channels]
    T* maximum;  // [num_rows, num_heads]
    T* total;    // [num_rows, num_heads]
    T* acc;      // [num_rows, num_heads, channels]
};

// Turns the raw scores of one head into exp(logit - maximum), after raising the maximum and rescaling total and acc to it.
template <class T>
FULLGRAPH_INLINE void weigh(T slope, std::int64_t count, std::int64_t channels, T* __restrict weight, T& maximum, T& total,
                            T* __restrict acc) {
    T highest = maximum;
#pragma omp simd reduction(max : highest)
    for (std::int64_t e = 0; e < count; ++e) {
        weight[e] = leaky_relu(weight[e], slope);
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

template <class T>
FULLGRAPH_INLINE void attend_rows(const Forward<T>& k, T* scratch, std::int64_t first, std::int64_t last) {
    const Attention<T>& a = k.attention;
    const std::int64_t heads = a.num_heads, channels = a.channels, width = heads * channels;
    T* weight = scratch;  // [heads, chunk]
    T* factor = scratch + heads * chunk_entries;
    for (std::int64_t row = first; row < last; ++row) {
        T* __restrict acc = k.acc + row * width;
        const std::int64_t end = a.csr.indptr[row + 1];
        for (std::int64_t begin = a.csr.indptr[row]; begin < end; begin += chunk_entries) {
            const std::int64_t count = std::min(chunk_entries, end - begin);
            for (std::int64_t h = 0; h < heads; ++h) {
                T* head_weight = weight + h * chunk_entries;
                fill_raw(a, row, h, begin, count, head_weight);
                weigh(a.negative_slope, count, channels, head_weight, k.maximum[row * heads + h], k.total[row * heads + h],
                      acc + h * channels);
                if (!a.edge_keys) continue;
                fill_keep(a, h, begin, count, factor);
                for (std::int64_t e = 0; e < count; ++e) head_weight[e] *= factor[e];
            }
            for (std::int64_t e = 0; e < count; ++e) {
                const T* __restrict x = k.x + a.csr.indices[begin + e] * width;
                for (std::int64_t h = 0; h < heads; ++h) {
                    const T w = weight[h * chunk_entries + e];
#pragma omp simd
                    for (std::int64_t c = h * channels; c < (h + 1) * channels; ++c) acc[c] += w * x[c];
                }
            }
        }
    }
}

using Row = std::int64_t;
FULLGRAPH_CLONES void run(const Forward<float>& k, float* scratch, Row first, Row last) { attend_rows(k, scratch, first, last); }
FULLGRAPH_CLONES void run(const Forward<double>& k, double* scratch, Row first, Row last) {
    attend_rows(k, scratch, first, last);
}

template <class T>
void attention_forward(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst, Out<T, 2> maximum,
                       Out<T, 2> total, Out<T, 3> acc, double negative_slope, std::optional<In<T, 2>> bias, EdgeIds edge_ids,
                       EdgeIds edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const auto channels = static_cast<std::int64_t>(x.shape(2));
    const Forward<T> k{attention_of<T>(indptr, indices, edge_ids, score_dst, score_src, bias,
                                       {edge_keys, key, threshold, keep_scale}, negative_slope, channels),
                       x.data(), maximum.data(), total.data(), acc.data()};
    const nb::gil_scoped_release release;
    for_row_ranges(k.attention.csr, entry_work(k.attention), num_threads, [&k](Row first, Row last) {
        std::vector<T> scratch(static_cast<std::size_t>((k.attention.num_heads + 1) * chunk_entries));
        run(k, scratch.data(), first, last);
    });
}

template <class T>
void bind(nb::module_& m) {
    m.def("attention_forward", &attention_forward<T>, "indptr"_a.noconvert(), "indices"_a.noconvert(), "x"_a.noconvert(),
          "score_src"_a.noconvert(), "score_dst"_a.noconvert(), "maximum"_a.noconvert(), "total"_a.noconvert(),
          "acc"_a.noconvert(), "negative_slope"_a, "bias"_a.noconvert().none(), "edge_ids"_a.noconvert().none(),
          "edge_keys"_a.noconvert().none(), "key"_a, "threshold"_a, "keep_scale"_a, "num_threads"_a);
}

}  // namespace

void bind_attention_forward(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

// Gradients of attention to the sources, over the transposed block: of the messages and of the source side of each score. Of an
// additive score, whose destination side is a number per head, also to the destinations and the biases.
#include "attention_backward.h"

namespace fullgraph {

FULLGRAPH_RUN(return_rows, float, ToSource<float, Additive>)
FULLGRAPH_RUN_PLAINLY(return_rows, double, ToSource<double, Additive>)
FULLGRAPH_RUN(return_rows, float, ToSource<float, Gatv2>)
FULLGRAPH_RUN_PLAINLY(return_rows, double, ToSource<double, Gatv2>)
FULLGRAPH_RUN(return_rows, float, ToSource<float, ScaledDot>)
FULLGRAPH_RUN_PLAINLY(return_rows, double, ToSource<double, ScaledDot>)

namespace {

// What an edge needs of its destination besides rows, packed so that it lies in one cache line and not in three.
template <class T>
class Numbers {
public:
    Numbers(std::int64_t rows, std::int64_t heads, std::initializer_list<const T*> parts, int num_threads) {
        const auto used = static_cast<std::int64_t>(parts.size()) * heads;
        constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
        stride = used <= line ? line : used;
        memory_.resize(static_cast<std::size_t>(rows * stride + line));
        const auto misaligned = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(memory_.data()) % 64 / sizeof(T));
        T* to = memory_.data() + (line - misaligned) % line;
        data = to;
        for_equal_ranges(rows, used, num_threads, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t row = first; row < last; ++row) {
                T* at = to + row * stride;
                for (const T* part : parts) at = std::copy_n(part + row * heads, heads, at);
            }
        });
    }
    const T* data;
    std::int64_t stride;

private:
    std::vector<T> memory_;
};

// How many copies of the columns' gradients are summed apart: more let more threads work, but cost memory and time per column.
inline std::int64_t num_column_groups(const Csr& csr, std::int64_t num_columns) {
    return std::clamp<std::int64_t>(csr.num_entries() / (2 * num_columns + 1), 1, 16);
}

template <class T>
void additive(Indptr indptr, Indices indices, In<T, 3> x, In<T, 2> score_src, In<T, 2> score_dst, In<T, 2> logsumexp,
              In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_x, Out<T, 2> grad_score_src, Out<T, 2> grad_score_dst,
              std::optional<Out<T, 2>> grad_bias, double negative_slope, std::optional<In<T, 2>> bias, EdgeIds edge_ids,
              EdgeKeys edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x);
    const Additive<T> score{score_src.data(), score_dst.data(), static_cast<T>(negative_slope), grad_score_src.data()};
    const auto num_columns = static_cast<std::int64_t>(grad.shape(0));
    const Numbers<T> numbers(num_columns, edges.num_heads, {logsumexp.data(), delta.data(), score_dst.data()}, num_threads);
    run_all<T>(ToSource<T, Additive>{edges, score, head_rows(x), head_rows(grad), numbers.data, numbers.stride,
                                     {score.grad_row, nullptr, score.grad_width(edges)}, {grad_x.data(), nullptr, edges.width()},
                                     data_or_null(grad_bias)},
               grad_score_dst.data(), num_columns * edges.num_heads, num_column_groups(edges.csr, num_columns), num_threads);
}

template <class T>
void gatv2_to_source(Indptr indptr, Indices indices, In<T, 3> x_src, In<T, 3> x_dst, In<T, 2> att, In<T, 2> logsumexp,
                     In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_x_src, double negative_slope,
                     std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeKeys edge_keys, std::uint64_t key,
                     std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x_src);
    const Gatv2<T> score{x_src.data(), x_dst.data(), att.data(), static_cast<T>(negative_slope), grad_x_src.data()};
    const Numbers<T> numbers(static_cast<std::int64_t>(grad.shape(0)), edges.num_heads, {logsumexp.data(), delta.data()}, num_threads);
    run_all<T>(ToSource<T, Gatv2>{edges, score, head_rows(x_src), head_rows(grad), numbers.data, numbers.stride, {score.grad_row, nullptr, score.grad_width(edges)},
                            {grad_x_src.data(), nullptr, edges.width()}, nullptr},
               nullptr, 0, 1, num_threads);
}

template <class T>
void dot_to_source(Indptr indptr, Indices indices, In<T, 3> key_rows, In<T, 3> value, In<T, 3> query, In<T, 2> logsumexp,
                   In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_key, Out<T, 3> grad_value, double scale,
                   std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeKeys edge_keys, std::uint64_t key,
                   std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, value);
    const ScaledDot<T> score{key_rows.data(), query.data(), static_cast<T>(scale), grad_key.data()};
    const Numbers<T> numbers(static_cast<std::int64_t>(grad.shape(0)), edges.num_heads, {logsumexp.data(), delta.data()}, num_threads);
    run_all<T>(ToSource<T, ScaledDot>{edges, score, head_rows(value), head_rows(grad), numbers.data, numbers.stride, {score.grad_row, nullptr, score.grad_width(edges)},
                            {grad_value.data(), nullptr, edges.width()}, nullptr},
               nullptr, 0, 1, num_threads);
}

template <class T>
void bind(nb::module_& m) {
    bind_exactly(m, "attention_backward", &additive<T>);
    bind_exactly(m, "attention_v2_backward_src", &gatv2_to_source<T>);
    bind_exactly(m, "attention_dot_backward_src", &dot_to_source<T>);
}

}  // namespace

void bind_attention_backward_src(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

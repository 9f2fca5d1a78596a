// Gradients of attention to the destinations, over the block, where a score is made of rows: of their side of it, of the biases and
// of GATv2's att.
#include "attention_backward.h"

namespace fullgraph {

FULLGRAPH_RUN(return_rows, float, ToDestination<float, Gatv2>)
FULLGRAPH_RUN_PLAINLY(return_rows, double, ToDestination<double, Gatv2>)
FULLGRAPH_RUN(return_rows, float, ToDestination<float, ScaledDot>)
FULLGRAPH_RUN_PLAINLY(return_rows, double, ToDestination<double, ScaledDot>)

namespace {

template <class T>
void gatv2_to_destination(Indptr indptr, Indices indices, In<T, 3> x_src, In<T, 3> x_dst, In<T, 2> att, In<T, 2> logsumexp,
                          In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_x_dst, Out<T, 2> grad_att,
                          std::optional<Out<T, 2>> grad_bias, double negative_slope, std::optional<In<T, 2>> bias,
                          EdgeIds edge_ids, EdgeKeys edge_keys, std::uint64_t key, std::uint64_t threshold, double keep_scale,
                          int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, x_src);
    const Gatv2<T> score{x_dst.data(), x_src.data(), att.data(), static_cast<T>(negative_slope), grad_x_dst.data()};
    run_all<T>(ToDestination<T, Gatv2>{edges, score, head_rows(x_src), logsumexp.data(), head_rows(grad), delta.data(),
                                 {score.grad_row, nullptr, score.grad_width(edges)}, data_or_null(grad_bias)},
               grad_att.data(), edges.width(), most_row_tasks, num_threads);
}

template <class T>
void dot_to_destination(Indptr indptr, Indices indices, In<T, 3> key_rows, In<T, 3> value, In<T, 3> query, In<T, 2> logsumexp,
                        In<T, 3> grad, In<T, 2> delta, Out<T, 3> grad_query, std::optional<Out<T, 2>> grad_bias, double scale,
                        std::optional<In<T, 2>> bias, EdgeIds edge_ids, EdgeKeys edge_keys, std::uint64_t key,
                        std::uint64_t threshold, double keep_scale, int num_threads) {
    const Edges<T> edges = edges_of<T>(indptr, indices, {bias, edge_ids, edge_keys, key, threshold, keep_scale}, value);
    const ScaledDot<T> score{query.data(), key_rows.data(), static_cast<T>(scale), grad_query.data()};
    run_all<T>(ToDestination<T, ScaledDot>{edges, score, head_rows(value), logsumexp.data(), head_rows(grad), delta.data(),
                                 {score.grad_row, nullptr, score.grad_width(edges)}, data_or_null(grad_bias)},
               nullptr, 0, 1, num_threads);
}

template <class T>
void bind(nb::module_& m) {
    bind_exactly(m, "attention_v2_backward_dst", &gatv2_to_destination<T>);
    bind_exactly(m, "attention_dot_backward_dst", &dot_to_destination<T>);
}

}  // namespace

void bind_attention_backward_dst(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

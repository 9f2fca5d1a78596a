// The extension's table of contents: one line per kernel family. Every kernel takes arrays and adds into arrays; what each
// means, and all checking, is in src/fullgraph/ops.
#include <nanobind/nanobind.h>

#include "targets.h"

namespace fullgraph {
void bind_spmm(nanobind::module_& m);
void bind_sddmm(nanobind::module_& m);
void bind_extremum(nanobind::module_& m);
void bind_attention_forward(nanobind::module_& m);
void bind_attention_backward_src(nanobind::module_& m);
void bind_attention_backward_dst(nanobind::module_& m);
void bind_dropout(nanobind::module_& m);
void bind_nonzero(nanobind::module_& m);
void bind_norm(nanobind::module_& m);
void bind_gather_and_add(nanobind::module_& m);
}  // namespace fullgraph

NB_MODULE(_core, m) {
    m.doc() = "CSR kernels of fullgraph (called through fullgraph.ops)";
    fullgraph::bind_spmm(m);
    fullgraph::bind_sddmm(m);
    fullgraph::bind_extremum(m);
    fullgraph::bind_attention_forward(m);
    fullgraph::bind_attention_backward_src(m);
    fullgraph::bind_attention_backward_dst(m);
    fullgraph::bind_dropout(m);
    fullgraph::bind_nonzero(m);
    fullgraph::bind_norm(m);
    fullgraph::bind_gather_and_add(m);
    m.def("register_bytes", &fullgraph::register_bytes);
}

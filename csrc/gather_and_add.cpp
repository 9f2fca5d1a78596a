// The yardstick of the sums, used by benchmarks only: reads every source row once per edge and adds it to the output row in
// memory, row after row. This is the plain loop that anybody would write; the memory it touches is what any kernel must touch
// that visits each row once per edge.
//
// Pull: a thread owns the output rows of its range, so no two threads write the same place.
#include "arrays.h"
#include "clones.h"

namespace fullgraph {
namespace {

FULLGRAPH_CLONES void run(const Csr& csr, const float* rows, float* sums, std::int64_t width, std::int64_t first,
                          std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        float* __restrict sum = sums + row * width;
        for (std::int64_t e = csr.indptr[row]; e < csr.indptr[row + 1]; ++e) {
            const float* __restrict x = rows + csr.indices[e] * width;
            for (std::int64_t f = 0; f < width; ++f) sum[f] += x[f];
        }
    }
}

void gather_and_add(Indptr indptr, Indices indices, In<float, 2> x, Out<float, 2> out, int num_threads) {
    const Csr csr = csr_of(indptr, indices, {});
    const auto width = static_cast<std::int64_t>(x.shape(1));
    const nb::gil_scoped_release release;
    for_row_ranges(csr, width, num_threads, [&](std::int64_t first, std::int64_t last) {
        run(csr, x.data(), out.data(), width, first, last);
    });
}

}  // namespace

void bind_gather_and_add(nb::module_& m) {
    m.def("gather_and_add", &gather_and_add, "indptr"_a.noconvert(), "indices"_a.noconvert(), "x"_a.noconvert(),
          "out"_a.noconvert(), "num_threads"_a);
}

}  // namespace fullgraph

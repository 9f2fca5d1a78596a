// Running maximum or minimum of neighbours' rows with the number of ties, and its gradient on the transposed block.
//
// Pull: a thread owns the rows it writes; a hub's segments are worked out apart and combined in order. Carrying (value, count)
// instead of an arg-index lets blocks be absorbed one after another, and lets backward share a gradient evenly among ties.
// NaN wins over every number, as in torch's amax.
#include <limits>
#include <vector>

#include "arrays.h"
#include "extremum_rows.h"
#include "segments.h"

namespace fullgraph {
namespace {

FULLGRAPH_PER_TARGET(Extremum<float>, absorb_rows)
FULLGRAPH_PER_TARGET(Extremum<double>, absorb_rows)
FULLGRAPH_PER_TARGET(ExtremumBackward<float>, return_rows)
FULLGRAPH_PER_TARGET(ExtremumBackward<double>, return_rows)

template <class T>
void combine(const Extremum<T>& k, const Segments& segments, std::int64_t hub, const Best<T>& partial) {
    const std::int64_t row = segments.row(hub) * k.width;
    for (std::int64_t s = segments.first_of(hub); s < segments.end_of(hub); ++s) {
        for (std::int64_t column = 0; column < k.width; ++column) {
            T& value = k.best.value[row + column];
            std::int32_t& count = k.best.count[row + column];
            const T candidate = partial.value[s * k.width + column];
            const std::int32_t times = partial.count[s * k.width + column];
            take(k.largest, value, count, candidate, times);
        }
    }
}

template <class T>
void extremum(Indptr indptr, Indices indices, In<T, 2> x, Out<T, 2> value, Out<std::int32_t, 2> count, bool largest,
              int num_threads) {
    const auto width = static_cast<std::int64_t>(x.shape(1));
    const Extremum<T> k{csr_of(indptr, indices, {}), x.data(), {value.data(), count.data()}, width, largest};
    const nb::gil_scoped_release release;
    const Segments segments(k.csr);
    const auto size = static_cast<std::size_t>(segments.size() * width);
    std::vector<T> values(size, largest ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity());
    std::vector<std::int32_t> counts(size);
    const Best<T> partial{values.data(), counts.data()};
    for_rows_and_segments(
        k.csr, segments, width, num_threads,
        [&](std::int64_t first, std::int64_t last) { run(k, {k.csr.indptr, first, last, k.best}); },
        [&](std::int64_t s) {
            run(k, {segments.bounds(s), 0, 1, {partial.value + s * width, partial.count + s * width}});
        },
        [&](std::int64_t hub) { combine(k, segments, hub, partial); });
}

template <class T>
void extremum_backward(Indptr indptr, Indices indices, In<T, 2> x, In<T, 2> value, In<T, 2> grad, Out<T, 2> out,
                       int num_threads) {
    const auto width = static_cast<std::int64_t>(x.shape(1));
    const ExtremumBackward<T> k{csr_of(indptr, indices, {}), x.data(), value.data(), grad.data(), width};
    const nb::gil_scoped_release release;
    const Segments segments(k.csr);
    std::vector<T> partial(static_cast<std::size_t>(segments.size() * width));
    for_rows_and_segments(
        k.csr, segments, 2 * width, num_threads,
        [&](std::int64_t first, std::int64_t last) { run(k, {k.csr.indptr, first, last, out.data()}); },
        [&](std::int64_t s) {
            ExtremumBackward<T> of_hub = k;
            of_hub.x += segments.row(segments.hub_of(s)) * width;
            run(of_hub, {segments.bounds(s), 0, 1, partial.data() + s * width});
        },
        [&](std::int64_t hub) {
            T* row = out.data() + segments.row(hub) * width;
            for (std::int64_t s = segments.first_of(hub); s < segments.end_of(hub); ++s) {
                for (std::int64_t column = 0; column < width; ++column) row[column] += partial[static_cast<std::size_t>(s * width + column)];
            }
        });
}

template <class T>
void bind(nb::module_& m) {
    m.def("extremum", &extremum<T>, "indptr"_a.noconvert(), "indices"_a.noconvert(), "x"_a.noconvert(),
          "value"_a.noconvert(), "count"_a.noconvert(), "largest"_a, "num_threads"_a);
    m.def("extremum_backward", &extremum_backward<T>, "indptr"_a.noconvert(), "indices"_a.noconvert(), "x"_a.noconvert(),
          "value"_a.noconvert(), "grad"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
}

}  // namespace

void bind_extremum(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

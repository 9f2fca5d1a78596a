// Running maximum or minimum of neighbours' rows with the number of ties, and its gradient on the transposed block.
//
// Pull: a thread owns the rows it writes. Carrying (value, count) instead of an arg-index lets blocks be absorbed one after
// another, and lets backward share a gradient evenly among ties. NaN wins over every number, as in torch's amax.
#include "arrays.h"
#include "clones.h"

namespace fullgraph {
namespace {

template <class T>
struct Extremum {
    Csr csr;
    const T* x;           // [num_columns, width]
    T* value;             // [num_rows, width]
    std::int32_t* count;  // [num_rows, width]
    std::int64_t width;
    bool largest;
};

template <class T>
struct ExtremumBackward {
    Csr csr;         // rows are sources, columns destinations
    const T* x;      // [num_rows, width]
    const T* value;  // [num_columns, width]
    const T* grad;   // [num_columns, width]
    T* out;          // [num_rows, width]
    std::int64_t width;
};

template <bool largest, class T>
FULLGRAPH_INLINE void absorb(const T* __restrict x, T* __restrict value, std::int32_t* __restrict count, std::int64_t width) {
    for (std::int64_t f = 0; f < width; ++f) {
        const T candidate = x[f], best = value[f];
        const bool is_nan = candidate != candidate, was_nan = best != best;
        const bool better = (largest ? candidate > best : candidate < best) | (is_nan & !was_nan);
        const bool tie = (candidate == best) | (is_nan & was_nan);
        const std::int32_t counted = count[f] + (tie ? 1 : 0);
        value[f] = better ? candidate : best;
        count[f] = better ? 1 : counted;
    }
}

template <class T>
FULLGRAPH_INLINE void absorb_rows(const Extremum<T>& k, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        T* value = k.value + row * k.width;
        std::int32_t* count = k.count + row * k.width;
        for (std::int64_t e = k.csr.indptr[row]; e < k.csr.indptr[row + 1]; ++e) {
            const T* x = k.x + k.csr.indices[e] * k.width;
            if (k.largest) absorb<true>(x, value, count, k.width);
            else absorb<false>(x, value, count, k.width);
        }
    }
}

template <class T>
FULLGRAPH_INLINE void return_rows(const ExtremumBackward<T>& k, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        const T* __restrict x = k.x + row * k.width;
        T* __restrict out = k.out + row * k.width;
        for (std::int64_t e = k.csr.indptr[row]; e < k.csr.indptr[row + 1]; ++e) {
            const T* __restrict value = k.value + k.csr.indices[e] * k.width;
            const T* __restrict grad = k.grad + k.csr.indices[e] * k.width;
            for (std::int64_t f = 0; f < k.width; ++f) out[f] += x[f] == value[f] ? grad[f] : T(0);
        }
    }
}

using Row = std::int64_t;
FULLGRAPH_CLONES void run(const Extremum<float>& k, Row first, Row last) { absorb_rows(k, first, last); }
FULLGRAPH_CLONES void run(const Extremum<double>& k, Row first, Row last) { absorb_rows(k, first, last); }
FULLGRAPH_CLONES void run(const ExtremumBackward<float>& k, Row first, Row last) { return_rows(k, first, last); }
FULLGRAPH_CLONES void run(const ExtremumBackward<double>& k, Row first, Row last) { return_rows(k, first, last); }

template <class T>
void extremum(Indptr indptr, Indices indices, In<T, 2> x, Out<T, 2> value, Out<std::int32_t, 2> count, bool largest,
              int num_threads) {
    const auto width = static_cast<std::int64_t>(x.shape(1));
    const Extremum<T> k{csr_of(indptr, indices, {}), x.data(), value.data(), count.data(), width, largest};
    const nb::gil_scoped_release release;
    for_row_ranges(k.csr, width, num_threads, [&k](Row first, Row last) { run(k, first, last); });
}

template <class T>
void extremum_backward(Indptr indptr, Indices indices, In<T, 2> x, In<T, 2> value, In<T, 2> grad, Out<T, 2> out,
                       int num_threads) {
    const auto width = static_cast<std::int64_t>(x.shape(1));
    const ExtremumBackward<T> k{csr_of(indptr, indices, {}), x.data(), value.data(), grad.data(), out.data(), width};
    const nb::gil_scoped_release release;
    for_row_ranges(k.csr, width, num_threads, [&k](Row first, Row last) { run(k, first, last); });
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

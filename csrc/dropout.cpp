// Dropout whose mask is a function of (key, row id, column) and therefore never stored: out = x * keep / (1 - p).
//
// Each output row is written by one thread. torch's dropout would keep a mask as large as x for backward, and would draw another
// mask on another number of ranks.
#include "arrays.h"
#include "keep.h"
#include "vectors.h"

namespace fullgraph {
namespace {

template <class T>
struct Dropout {
    const T* x;                   // [num_rows, width]
    T* out;                       // [num_rows, width]
    const std::int64_t* row_ids;  // [num_rows]
    std::int64_t width;
    Keep keep;
    Accumulator<T> keep_scale;
};

template <class T>
FULLGRAPH_INLINE void drop_rows(const Dropout<T>& k, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        const T* x = k.x + row * k.width;
        T* out = k.out + row * k.width;  // may be where x is: each number is read before it is written
#pragma omp simd
        for (std::int64_t f = 0; f < k.width; ++f) {
            const Accumulator<T> kept = to_number(x[f]) * k.keep_scale;  // read whatever is chosen, or nothing is vectorised
            assign(out[f], k.keep(k.row_ids[row], f) ? kept : Accumulator<T>(0));
        }
    }
}

FULLGRAPH_CLONES void run(const Dropout<float>& k, std::int64_t first, std::int64_t last) { drop_rows(k, first, last); }
FULLGRAPH_CLONES void run(const Dropout<double>& k, std::int64_t first, std::int64_t last) { drop_rows(k, first, last); }
FULLGRAPH_CLONES void run(const Dropout<BFloat16>& k, std::int64_t first, std::int64_t last) { drop_rows(k, first, last); }

// T is what the kernel reads; a bfloat16 array arrives as its bits.
template <class T, class Bits>
void dropout(In<Bits, 2> x, Out<Bits, 2> out, In<std::int64_t, 1> row_ids, std::uint64_t key, std::uint64_t threshold,
             double keep_scale, int num_threads) {
    const auto rows = static_cast<std::int64_t>(x.shape(0)), width = static_cast<std::int64_t>(x.shape(1));
    const Dropout<T> k{reinterpret_cast<const T*>(x.data()),
                       reinterpret_cast<T*>(out.data()),
                       row_ids.data(),
                       width,
                       {key, threshold},
                       static_cast<Accumulator<T>>(keep_scale)};
    const nb::gil_scoped_release release;
    for_equal_ranges(rows, width, num_threads, [&k](std::int64_t first, std::int64_t last) { run(k, first, last); });
}

template <class T, class Bits = T>
void bind(nb::module_& m) {
    m.def("dropout", &dropout<T, Bits>, "x"_a.noconvert(), "out"_a.noconvert(), "row_ids"_a.noconvert(), "key"_a, "threshold"_a,
          "keep_scale"_a, "num_threads"_a);
}

}  // namespace

void bind_dropout(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
    bind<BFloat16, std::uint16_t>(m);
}

}  // namespace fullgraph

// What a norm over rows needs, one column at a time: sums over rows, and rows made of rows, each in one pass and with nothing
// between. Written with torch's operations a norm makes a tensor per step, forward and backward, as large as the rows.
//
// Sums are taken over ranges of rows that do not depend on the number of threads, and added in order, in float64. bfloat16 rows are
// widened as they are read; what is given by column is float32 beside them.
#include <vector>

#include "arrays.h"
#include "vectors.h"

namespace fullgraph {
namespace {

constexpr std::int64_t range_rows = 512;

template <class T>
struct Rows {
    const T* x;                  // [num_rows, width]
    const T* grad;               // [num_rows, width], or null
    const Accumulator<T>* mean;  // [width], or null for sums of x alone
    std::int64_t num_rows, width;

    std::int64_t num_ranges() const { return (num_rows + range_rows - 1) / range_rows; }
};

// sums[f] += x.
template <class T>
FULLGRAPH_INLINE void add_rows(const Rows<T>& k, Accumulator<T>* __restrict sums, std::int64_t row) {
    const T* __restrict x = k.x + row * k.width;
    for (std::int64_t f = 0; f < k.width; ++f) sums[f] += to_number(x[f]);
}

// sums[f] += (x - mean)^2.
template <class T>
FULLGRAPH_INLINE void add_squares(const Rows<T>& k, Accumulator<T>* __restrict sums, std::int64_t row) {
    const T* __restrict x = k.x + row * k.width;
    for (std::int64_t f = 0; f < k.width; ++f) {
        const Accumulator<T> deviation = to_number(x[f]) - k.mean[f];
        sums[f] += deviation * deviation;
    }
}

// sums[f] += grad and sums[width + f] += grad * (x - mean).
template <class T>
FULLGRAPH_INLINE void add_gradients(const Rows<T>& k, Accumulator<T>* __restrict sums, std::int64_t row) {
    const T* __restrict x = k.x + row * k.width;
    const T* __restrict grad = k.grad + row * k.width;
    for (std::int64_t f = 0; f < k.width; ++f) {
        sums[f] += to_number(grad[f]);
        sums[k.width + f] += to_number(grad[f]) * (to_number(x[f]) - k.mean[f]);
    }
}

template <class T>
FULLGRAPH_INLINE void sum_range(const Rows<T>& k, Accumulator<T>* sums, std::int64_t range) {
    const std::int64_t first = range * range_rows, last = std::min(first + range_rows, k.num_rows);
    for (std::int64_t row = first; row < last; ++row) {
        if (k.grad) add_gradients(k, sums, row);
        else if (k.mean) add_squares(k, sums, row);
        else add_rows(k, sums, row);
    }
}

FULLGRAPH_CLONES void run_range(const Rows<float>& k, float* sums, std::int64_t range) { sum_range(k, sums, range); }
FULLGRAPH_CLONES void run_range(const Rows<double>& k, double* sums, std::int64_t range) { sum_range(k, sums, range); }
FULLGRAPH_CLONES void run_range(const Rows<BFloat16>& k, float* sums, std::int64_t range) { sum_range(k, sums, range); }

template <class T>
void sum_ranges(const Rows<T>& k, std::int64_t num_sums, double* out, int num_threads) {
    std::vector<Accumulator<T>> sums(static_cast<std::size_t>(k.num_ranges() * num_sums), 0);
    for_tasks(k.num_ranges(), num_threads, [&](std::int64_t range) { run_range(k, sums.data() + range * num_sums, range); });
    std::fill(out, out + num_sums, 0.0);
    for (std::int64_t range = 0; range < k.num_ranges(); ++range) {
        for (std::int64_t i = 0; i < num_sums; ++i) out[i] += sums[static_cast<std::size_t>(range * num_sums + i)];
    }
}

// T is what the kernel reads; a bfloat16 array arrives as its bits.
template <class T, class Bits>
const T* numbers(const In<Bits, 2>& rows) {
    return reinterpret_cast<const T*>(rows.data());
}

template <class T, class Bits>
Rows<T> rows_of(const In<Bits, 2>& x, const T* grad, const Accumulator<T>* mean) {
    return {numbers<T>(x), grad, mean, static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1))};
}

template <class T, class Bits>
void column_sums(In<Bits, 2> x, Out<double, 1> out, int num_threads) {
    const auto k = rows_of<T>(x, nullptr, nullptr);
    const nb::gil_scoped_release release;
    sum_ranges(k, k.width, out.data(), num_threads);
}

template <class T, class Bits>
void squared_deviations(In<Bits, 2> x, In<Accumulator<T>, 1> mean, Out<double, 1> out, int num_threads) {
    const auto k = rows_of<T>(x, nullptr, mean.data());
    const nb::gil_scoped_release release;
    sum_ranges(k, k.width, out.data(), num_threads);
}

template <class T, class Bits>
void gradient_sums(In<Bits, 2> grad, In<Bits, 2> x, In<Accumulator<T>, 1> mean, Out<double, 2> out, int num_threads) {
    const auto k = rows_of<T>(x, numbers<T>(grad), mean.data());
    const nb::gil_scoped_release release;
    sum_ranges(k, 2 * k.width, out.data(), num_threads);
}

// Rows made of rows: three numbers per column say how.
template <class T>
struct Made {
    Rows<T> rows;
    const Accumulator<T>*a, *b, *c;  // [width]
    T* out;                          // [num_rows, width]
};

// out = (x - mean) * a + b.
struct Scaled {
    template <class T>
    FULLGRAPH_INLINE static Accumulator<T> at(const Made<T>& k, std::int64_t i, std::int64_t f) {
        return (to_number(k.rows.x[i]) - k.rows.mean[f]) * k.a[f] + k.b[f];
    }
};

// out = grad * a + (x - mean) * b + c.
struct Gradient {
    template <class T>
    FULLGRAPH_INLINE static Accumulator<T> at(const Made<T>& k, std::int64_t i, std::int64_t f) {
        return to_number(k.rows.grad[i]) * k.a[f] + ((to_number(k.rows.x[i]) - k.rows.mean[f]) * k.b[f] + k.c[f]);
    }
};

// out = grad where what `Scaled` makes is not below or equal to 0.
struct Positive {
    template <class T>
    FULLGRAPH_INLINE static Accumulator<T> at(const Made<T>& k, std::int64_t i, std::int64_t f) {
        using A = Accumulator<T>;
        const A grad = to_number(k.rows.grad[i]), made = Scaled::at(k, i, f);  // both read whatever is chosen, or nothing is vectorised
        return made <= A(0) ? A(0) : grad;
    }
};

template <class Step, class T>
FULLGRAPH_INLINE void make_rows(const Made<T>& k, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        const std::int64_t start = row * k.rows.width;
        T* out = k.out + start;  // may be where the gradients are: each number is read before it is written
#pragma omp simd
        for (std::int64_t f = 0; f < k.rows.width; ++f) assign(out[f], Step::at(k, start + f, f));
    }
}

// One overload per step and dtype, since clones cannot be templates.
#define FULLGRAPH_MAKE(Step, T) \
    FULLGRAPH_CLONES void run(Step, const Made<T>& k, std::int64_t first, std::int64_t last) { make_rows<Step>(k, first, last); }
FULLGRAPH_MAKE(Scaled, float)
FULLGRAPH_MAKE(Scaled, double)
FULLGRAPH_MAKE(Scaled, BFloat16)
FULLGRAPH_MAKE(Gradient, float)
FULLGRAPH_MAKE(Gradient, double)
FULLGRAPH_MAKE(Gradient, BFloat16)
FULLGRAPH_MAKE(Positive, float)
FULLGRAPH_MAKE(Positive, double)
FULLGRAPH_MAKE(Positive, BFloat16)
#undef FULLGRAPH_MAKE

template <class Step, class T>
void make(const Made<T>& k, int num_threads) {
    const nb::gil_scoped_release release;
    for_equal_ranges(k.rows.num_rows, k.rows.width, num_threads,
                     [&k](std::int64_t first, std::int64_t last) { run(Step{}, k, first, last); });
}

template <class T, class Bits>
void scaled_deviations(In<Bits, 2> x, In<Accumulator<T>, 1> mean, In<Accumulator<T>, 1> scale, In<Accumulator<T>, 1> shift,
                       Out<Bits, 2> out, int num_threads) {
    const auto rows = rows_of<T>(x, nullptr, mean.data());
    make<Scaled>(Made<T>{rows, scale.data(), shift.data(), nullptr, reinterpret_cast<T*>(out.data())}, num_threads);
}

template <class T, class Bits>
void combined_gradient(In<Bits, 2> grad, In<Bits, 2> x, In<Accumulator<T>, 1> mean, In<Accumulator<T>, 1> of_grad,
                       In<Accumulator<T>, 1> of_deviation, In<Accumulator<T>, 1> shift, Out<Bits, 2> out, int num_threads) {
    const auto rows = rows_of<T>(x, numbers<T>(grad), mean.data());
    const Made<T> k{rows, of_grad.data(), of_deviation.data(), shift.data(), reinterpret_cast<T*>(out.data())};
    make<Gradient>(k, num_threads);
}

template <class T, class Bits>
void positive_gradient(In<Bits, 2> grad, In<Bits, 2> x, In<Accumulator<T>, 1> mean, In<Accumulator<T>, 1> scale,
                       In<Accumulator<T>, 1> shift, Out<Bits, 2> out, int num_threads) {
    const auto rows = rows_of<T>(x, numbers<T>(grad), mean.data());
    make<Positive>(Made<T>{rows, scale.data(), shift.data(), nullptr, reinterpret_cast<T*>(out.data())}, num_threads);
}

template <class T, class Bits = T>
void bind(nb::module_& m) {
    m.def("column_sums", &column_sums<T, Bits>, "x"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
    m.def("squared_deviations", &squared_deviations<T, Bits>, "x"_a.noconvert(), "mean"_a.noconvert(), "out"_a.noconvert(),
          "num_threads"_a);
    m.def("gradient_sums", &gradient_sums<T, Bits>, "grad"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(),
          "out"_a.noconvert(), "num_threads"_a);
    m.def("scaled_deviations", &scaled_deviations<T, Bits>, "x"_a.noconvert(), "mean"_a.noconvert(), "scale"_a.noconvert(),
          "shift"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
    m.def("combined_gradient", &combined_gradient<T, Bits>, "grad"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(),
          "of_grad"_a.noconvert(), "of_deviation"_a.noconvert(), "shift"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
    m.def("positive_gradient", &positive_gradient<T, Bits>, "grad"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(),
          "scale"_a.noconvert(), "shift"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
}

}  // namespace

void bind_norm(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
    bind<BFloat16, std::uint16_t>(m);
}

}  // namespace fullgraph

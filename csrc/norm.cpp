// What a norm over rows needs, one column at a time: sums over rows, and rows made of rows, each in one pass and with nothing
// between. Written with torch's operations a norm makes a tensor per step, forward and backward, as large as the rows.
//
// Sums are taken over ranges of rows that do not depend on the number of threads, and added in order, in float64.
#include <vector>

#include "arrays.h"
#include "clones.h"

namespace fullgraph {
namespace {

constexpr std::int64_t range_rows = 512;

template <class T>
struct Rows {
    const T* x;     // [num_rows, width]
    const T* grad;  // [num_rows, width], or null
    const T* mean;  // [width]
    std::int64_t num_rows, width;

    std::int64_t num_ranges() const { return (num_rows + range_rows - 1) / range_rows; }
};

// sums[f] += (x - mean)^2.
template <class T>
FULLGRAPH_INLINE void add_squares(const Rows<T>& k, T* __restrict sums, std::int64_t row) {
    const T* __restrict x = k.x + row * k.width;
    for (std::int64_t f = 0; f < k.width; ++f) sums[f] += (x[f] - k.mean[f]) * (x[f] - k.mean[f]);
}

// sums[f] += grad and sums[width + f] += grad * (x - mean).
template <class T>
FULLGRAPH_INLINE void add_gradients(const Rows<T>& k, T* __restrict sums, std::int64_t row) {
    const T* __restrict x = k.x + row * k.width;
    const T* __restrict grad = k.grad + row * k.width;
    for (std::int64_t f = 0; f < k.width; ++f) {
        sums[f] += grad[f];
        sums[k.width + f] += grad[f] * (x[f] - k.mean[f]);
    }
}

template <class T>
FULLGRAPH_INLINE void sum_range(const Rows<T>& k, T* sums, std::int64_t range) {
    const std::int64_t first = range * range_rows, last = std::min(first + range_rows, k.num_rows);
    for (std::int64_t row = first; row < last; ++row) k.grad ? add_gradients(k, sums, row) : add_squares(k, sums, row);
}

FULLGRAPH_CLONES void run_range(const Rows<float>& k, float* sums, std::int64_t range) { sum_range(k, sums, range); }
FULLGRAPH_CLONES void run_range(const Rows<double>& k, double* sums, std::int64_t range) { sum_range(k, sums, range); }

template <class T>
void sum_ranges(const Rows<T>& k, std::int64_t num_sums, double* out, int num_threads) {
    std::vector<T> sums(static_cast<std::size_t>(k.num_ranges() * num_sums), T(0));
    for_tasks(k.num_ranges(), num_threads, [&](std::int64_t range) { run_range(k, sums.data() + range * num_sums, range); });
    std::fill(out, out + num_sums, 0.0);
    for (std::int64_t range = 0; range < k.num_ranges(); ++range) {
        for (std::int64_t i = 0; i < num_sums; ++i) out[i] += sums[static_cast<std::size_t>(range * num_sums + i)];
    }
}

template <class T>
void squared_deviations(In<T, 2> x, In<T, 1> mean, Out<double, 1> out, int num_threads) {
    const auto rows = static_cast<std::int64_t>(x.shape(0)), width = static_cast<std::int64_t>(x.shape(1));
    const Rows<T> k{x.data(), nullptr, mean.data(), rows, width};
    const nb::gil_scoped_release release;
    sum_ranges(k, width, out.data(), num_threads);
}

template <class T>
void gradient_sums(In<T, 2> grad, In<T, 2> x, In<T, 1> mean, Out<double, 2> out, int num_threads) {
    const auto rows = static_cast<std::int64_t>(x.shape(0)), width = static_cast<std::int64_t>(x.shape(1));
    const Rows<T> k{x.data(), grad.data(), mean.data(), rows, width};
    const nb::gil_scoped_release release;
    sum_ranges(k, 2 * width, out.data(), num_threads);
}

// Rows made of rows: three numbers per column say how.
template <class T>
struct Made {
    Rows<T> rows;
    const T *a, *b, *c;  // [width]
    T* out;              // [num_rows, width]
};

// out = (x - mean) * a + b.
struct Scaled {
    template <class T>
    FULLGRAPH_INLINE static T at(const Made<T>& k, std::int64_t i, std::int64_t f) {
        return (k.rows.x[i] - k.rows.mean[f]) * k.a[f] + k.b[f];
    }
};

// out = grad * a + (x - mean) * b + c.
struct Gradient {
    template <class T>
    FULLGRAPH_INLINE static T at(const Made<T>& k, std::int64_t i, std::int64_t f) {
        return k.rows.grad[i] * k.a[f] + ((k.rows.x[i] - k.rows.mean[f]) * k.b[f] + k.c[f]);
    }
};

// out = grad where what `Scaled` makes is not below or equal to 0.
struct Positive {
    template <class T>
    FULLGRAPH_INLINE static T at(const Made<T>& k, std::int64_t i, std::int64_t f) {
        const T grad = k.rows.grad[i], made = Scaled::at(k, i, f);  // both read whatever is chosen, or nothing is vectorised
        return made <= T(0) ? T(0) : grad;
    }
};

template <class Step, class T>
FULLGRAPH_INLINE void make_rows(const Made<T>& k, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        const std::int64_t start = row * k.rows.width;
        T* out = k.out + start;  // may be where the gradients are: each number is read before it is written
#pragma omp simd
        for (std::int64_t f = 0; f < k.rows.width; ++f) out[f] = Step::at(k, start + f, f);
    }
}

// One overload per step and dtype, since clones cannot be templates.
#define FULLGRAPH_MAKE(Step, T) \
    FULLGRAPH_CLONES void run(Step, const Made<T>& k, std::int64_t first, std::int64_t last) { make_rows<Step>(k, first, last); }
FULLGRAPH_MAKE(Scaled, float)
FULLGRAPH_MAKE(Scaled, double)
FULLGRAPH_MAKE(Gradient, float)
FULLGRAPH_MAKE(Gradient, double)
FULLGRAPH_MAKE(Positive, float)
FULLGRAPH_MAKE(Positive, double)
#undef FULLGRAPH_MAKE

template <class Step, class T>
void make(const Made<T>& k, int num_threads) {
    const nb::gil_scoped_release release;
    for_equal_ranges(k.rows.num_rows, k.rows.width, num_threads,
                     [&k](std::int64_t first, std::int64_t last) { run(Step{}, k, first, last); });
}

template <class T>
Rows<T> rows_of(const In<T, 2>& x, const T* grad, const In<T, 1>& mean) {
    return {x.data(), grad, mean.data(), static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1))};
}

template <class T>
void scaled_deviations(In<T, 2> x, In<T, 1> mean, In<T, 1> scale, In<T, 1> shift, Out<T, 2> out, int num_threads) {
    make<Scaled>(Made<T>{rows_of<T>(x, nullptr, mean), scale.data(), shift.data(), nullptr, out.data()}, num_threads);
}

template <class T>
void combined_gradient(In<T, 2> grad, In<T, 2> x, In<T, 1> mean, In<T, 1> of_grad, In<T, 1> of_deviation, In<T, 1> shift,
                       Out<T, 2> out, int num_threads) {
    const Made<T> k{rows_of<T>(x, grad.data(), mean), of_grad.data(), of_deviation.data(), shift.data(), out.data()};
    make<Gradient>(k, num_threads);
}

template <class T>
void positive_gradient(In<T, 2> grad, In<T, 2> x, In<T, 1> mean, In<T, 1> scale, In<T, 1> shift, Out<T, 2> out,
                       int num_threads) {
    make<Positive>(Made<T>{rows_of<T>(x, grad.data(), mean), scale.data(), shift.data(), nullptr, out.data()}, num_threads);
}

template <class T>
void bind(nb::module_& m) {
    m.def("squared_deviations", &squared_deviations<T>, "x"_a.noconvert(), "mean"_a.noconvert(), "out"_a.noconvert(),
          "num_threads"_a);
    m.def("gradient_sums", &gradient_sums<T>, "grad"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(),
          "out"_a.noconvert(), "num_threads"_a);
    m.def("scaled_deviations", &scaled_deviations<T>, "x"_a.noconvert(), "mean"_a.noconvert(), "scale"_a.noconvert(),
          "shift"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
    m.def("combined_gradient", &combined_gradient<T>, "grad"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(),
          "of_grad"_a.noconvert(), "of_deviation"_a.noconvert(), "shift"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
    m.def("positive_gradient", &positive_gradient<T>, "grad"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(),
          "scale"_a.noconvert(), "shift"_a.noconvert(), "out"_a.noconvert(), "num_threads"_a);
}

}  // namespace

void bind_norm(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}

}  // namespace fullgraph

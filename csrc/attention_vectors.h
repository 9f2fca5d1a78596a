// The channels of one head as vector registers, and the three loops over edges that attention is made of: dots with an edge's
// row, weighted sums of rows, and both at once.
//
// A dot product ends in a sum across lanes. Done edge by edge it would cost more than the product; here as many edges as a
// vector has lanes are folded together, pairwise, into one vector of their sums. The order of every sum is fixed by the shape.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "clones.h"

// A lambda has no target of its own, so it must disappear into the function that has one.
#define FULLGRAPH_LAMBDA_INLINE __attribute__((always_inline))

namespace fullgraph {

template <class T, int lanes>
struct LanesOf {
    typedef T type __attribute__((vector_size(lanes * sizeof(T))));
};
template <class T>
struct LanesOf<T, 1> {
    using type = T;
};

template <class S>
FULLGRAPH_INLINE typename S::V read(const typename S::T* from) {
    typename S::V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

// How a head's channels lie in vectors. `fixed` > 0: exactly that many whole vectors, all in registers. 0: any number >= lanes of
// channels; the last vector then overlaps the one before it, and an operand's lanes in the overlap are 0.
template <class T_, int lanes_, int fixed_>
struct Shape {
    using T = T_;
    static constexpr int lanes = lanes_, fixed = fixed_;
    using V = typename LanesOf<T, lanes>::type;
    std::int64_t channels;

    FULLGRAPH_INLINE std::int64_t size() const {
        if constexpr (fixed > 0) return fixed;
        else return (channels + lanes - 1) / lanes;
    }
    FULLGRAPH_INLINE std::int64_t at(std::int64_t n) const {
        if constexpr (fixed > 0) return n * lanes;
        else return std::min(n * lanes, channels - lanes);
    }
    FULLGRAPH_INLINE std::int64_t width() const {
        if constexpr (fixed > 0) return fixed * lanes;
        else return channels;
    }
    FULLGRAPH_INLINE std::int64_t overlap() const { return size() * lanes - width(); }
};

// Calls use(n) for the vectors of a head from `first` on; unrolled where their number is fixed.
template <std::size_t first = 0, class S, class Use>
FULLGRAPH_INLINE void each(const S& shape, const Use& use) {
    if constexpr (S::fixed > 0) {
        [&]<std::size_t... n>(std::index_sequence<n...>) FULLGRAPH_LAMBDA_INLINE {
            (use(static_cast<std::int64_t>(first + n)), ...);
        }(std::make_index_sequence<S::fixed - first>{});
    } else {
        for (std::int64_t n = first; n < shape.size(); ++n) use(n);
    }
}

// One vector per piece of a head: in registers where their number is fixed, else in `memory` [size * lanes].
template <class S>
struct Held {
    using V = typename S::V;
    using T = typename S::T;
    T* memory;
    V registers[S::fixed > 0 ? S::fixed : 1];

    FULLGRAPH_INLINE V get(std::int64_t n) const {
        if constexpr (S::fixed > 0) return registers[n];
        else return read<S>(memory + n * S::lanes);
    }
    FULLGRAPH_INLINE void set(std::int64_t n, V value) {
        if constexpr (S::fixed > 0) registers[n] = value;
        else std::memcpy(memory + n * S::lanes, &value, sizeof value);
    }
};

// A head's operand, read once for many edges.
template <class S>
FULLGRAPH_INLINE Held<S> operand(const S& shape, const typename S::T* from, typename S::T* memory) {
    Held<S> held{memory, {}};
    each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE { held.set(n, read<S>(from + shape.at(n))); });
    if constexpr (S::fixed == 0) std::fill_n(memory + (shape.size() - 1) * S::lanes, shape.overlap(), typename S::T(0));
    return held;
}

template <class S>
FULLGRAPH_INLINE Held<S> zeros(const S& shape, typename S::T* memory) {
    Held<S> held{memory, {}};
    each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE { held.set(n, typename S::V{}); });
    return held;
}

// to += held.
template <class S>
FULLGRAPH_INLINE void add_to(const S& shape, const Held<S>& held, typename S::T* to) {
    each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE {
        typename S::T* at = to + shape.at(n);
        const typename S::V sum = read<S>(at) + held.get(n);
        if (S::fixed > 0 || n + 1 < shape.size() || shape.overlap() == 0) {
            std::memcpy(at, &sum, sizeof sum);
            return;
        }
        typename S::T each[S::lanes];
        std::memcpy(each, &sum, sizeof each);
        for (std::int64_t lane = shape.overlap(); lane < S::lanes; ++lane) at[lane] = each[lane];
    });
}

// The partial dots of two products that read the same edge's rows.
template <class V>
struct Two {
    V first, second;
};

template <int item, class V, std::size_t... lane>
FULLGRAPH_INLINE V fold_pair(V a, V b, std::index_sequence<lane...>) {
    constexpr int half = item / 2;
    return __builtin_shufflevector(a, b, static_cast<int>(lane / half * item + lane % half)...) +
           __builtin_shufflevector(a, b, static_cast<int>(lane / half * item + lane % half + half)...);
}

// partial(e) of `group` edges from `first`, folded to lanes / group lanes for each, in order.
template <int lanes, int group, class Partial>
FULLGRAPH_INLINE auto fold(std::int64_t first, const Partial& partial) {
    if constexpr (group == 1) {
        return partial(first);
    } else {
        constexpr int item = 2 * lanes / group;
        const auto a = fold<lanes, group / 2>(first, partial);
        const auto b = fold<lanes, group / 2>(first + group / 2, partial);
        using Lane = std::make_index_sequence<static_cast<std::size_t>(lanes)>;
        if constexpr (requires { a.first; }) {
            return decltype(a){fold_pair<item>(a.first, b.first, Lane{}), fold_pair<item>(a.second, b.second, Lane{})};
        } else {
            return fold_pair<item>(a, b, Lane{});
        }
    }
}

// out[e] = sum over lanes of partial(e), for e < padded, a multiple of lanes and of 4.
template <class S, class Partial>
FULLGRAPH_INLINE void sum_lanes(const S&, std::int64_t padded, typename S::T* out, const Partial& partial) {
    for (std::int64_t e = 0; e < padded; e += S::lanes) {
        const auto sums = fold<S::lanes, S::lanes>(e, partial);
        std::memcpy(out + e, &sums, sizeof sums);
    }
}

template <class S, class Partial>
FULLGRAPH_INLINE void sum_lanes(const S&, std::int64_t padded, typename S::T* first, typename S::T* second,
                                const Partial& partial) {
    for (std::int64_t e = 0; e < padded; e += S::lanes) {
        const auto sums = fold<S::lanes, S::lanes>(e, partial);
        std::memcpy(first + e, &sums.first, sizeof sums.first);
        std::memcpy(second + e, &sums.second, sizeof sums.second);
    }
}

// sum over n of operand * row, lane by lane.
template <class S>
FULLGRAPH_INLINE typename S::V partial_dot(const S& shape, const Held<S>& own, const typename S::T* row) {
    typename S::V sum = own.get(0) * read<S>(row + shape.at(0));
    each<1>(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE { sum += own.get(n) * read<S>(row + shape.at(n)); });
    return sum;
}

// held += sum over e < padded, a multiple of 4, of weight[e] * row(e). Four edges per visit of a held vector.
template <class S, class Row>
FULLGRAPH_INLINE void add_rows(const S& shape, std::int64_t padded, const typename S::T* weight, Held<S>& held, const Row& row) {
    for (std::int64_t e = 0; e < padded; e += 4) {
        const typename S::T *r0 = row(e), *r1 = row(e + 1), *r2 = row(e + 2), *r3 = row(e + 3);
        const typename S::T w0 = weight[e], w1 = weight[e + 1], w2 = weight[e + 2], w3 = weight[e + 3];
        each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE {
            const std::int64_t at = shape.at(n);
            typename S::V even = held.get(n) + w0 * read<S>(r0 + at);
            typename S::V odd = w1 * read<S>(r1 + at);
            even += w2 * read<S>(r2 + at);
            odd += w3 * read<S>(r3 + at);
            held.set(n, even + odd);
        });
    }
}

// How many heads fill eight registers; 0 where their vectors are not in registers.
template <class S>
constexpr int heads_of_registers = S::fixed > 0 && 8 % S::fixed == 0 ? 8 / S::fixed : 0;

// acc [heads, channels] += sum over e < count of weight(e, h) * row(e) [heads, channels], for `heads_of_registers` heads: each row is
// visited once, not once per head.
template <class S, class Weight, class Row>
FULLGRAPH_INLINE void add_whole_rows(const S&, std::int64_t count, typename S::T* acc, const Weight& weight, const Row& row) {
    constexpr int heads = heads_of_registers<S>, registers = heads * S::fixed;
    typename S::V sum[registers];
    for (int n = 0; n < registers; ++n) sum[n] = read<S>(acc + n * S::lanes);
    for (std::int64_t e = 0; e < count; ++e) {
        const typename S::T* x = row(e);
        for (int n = 0; n < registers; ++n) sum[n] += weight(e, n / S::fixed) * read<S>(x + n * S::lanes);
    }
    for (int n = 0; n < registers; ++n) std::memcpy(acc + n * S::lanes, &sum[n], sizeof sum[n]);
}

}  // namespace fullgraph

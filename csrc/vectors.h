// A register of numbers: loads and stores between storage types and the type that sums are kept in.
//
// Storage may be float, double or bfloat16; bfloat16 is widened to float when read, and rounded to nearest even when written.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "clones.h"

namespace fullgraph {

// The upper half of a float. A type of its own, so that no integer arithmetic happens to it by accident.
struct BFloat16 {
    std::uint16_t bits;
};

template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

template <class T, int lanes>
struct VectorOf {
    typedef T type __attribute__((vector_size(lanes * sizeof(T))));
};
template <class T>
struct VectorOf<T, 1> {
    using type = T;
};
template <class T, int lanes>
using Vector = typename VectorOf<T, lanes>::type;

template <class V, class T>
FULLGRAPH_INLINE V load(const T* from) {
    V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

// The same bits as another type. std::bit_cast is a function, which must not be called with registers: a caller of one target
// and a callee of another pass them differently. This is always inlined.
template <class To, class From>
FULLGRAPH_INLINE To same_bits(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

FULLGRAPH_INLINE float to_number(float value) { return value; }
FULLGRAPH_INLINE double to_number(double value) { return value; }
FULLGRAPH_INLINE float to_number(BFloat16 value) { return same_bits<float>(static_cast<std::uint32_t>(value.bits) << 16); }

// The bits of floats rounded to bfloat16 in their upper halves: to nearest, ties to even; NaN stays NaN. Works on a register
// of floats as on one.
template <class Bits, class Floats>
FULLGRAPH_INLINE Bits rounded_bits(Floats value) {
    const auto bits = same_bits<Bits>(value);
    return value != value ? bits | 0x400000u : bits + 0x7FFFu + ((bits >> 16) & 1u);
}

FULLGRAPH_INLINE void assign(float& to, float value) { to = value; }
FULLGRAPH_INLINE void assign(double& to, double value) { to = value; }
FULLGRAPH_INLINE void assign(BFloat16& to, float value) {
    to.bits = static_cast<std::uint16_t>(rounded_bits<std::uint32_t>(value) >> 16);
}

// The running values of `columns` neighbouring features: one register of storage, held as accumulators.
template <class X, int columns>
struct Columns {
    static constexpr int registers = 1;
    using V = Vector<X, columns>;
    V value;

    FULLGRAPH_INLINE void clear() { value = V{}; }
    FULLGRAPH_INLINE void read(const X* from) { value = load<V>(from); }
    FULLGRAPH_INLINE void add(const X* x) { value += load<V>(x); }
    FULLGRAPH_INLINE void add(X weight, const X* x) { value += weight * load<V>(x); }
    FULLGRAPH_INLINE void write(X* to) const { std::memcpy(to, &value, sizeof value); }
};

template <>
struct Columns<BFloat16, 1> {
    static constexpr int registers = 1;
    float value;

    FULLGRAPH_INLINE void clear() { value = 0; }
    template <class Out>
    FULLGRAPH_INLINE void read(const Out* from) { value = to_number(*from); }
    FULLGRAPH_INLINE void add(const BFloat16* x) { value += to_number(*x); }
    FULLGRAPH_INLINE void add(float weight, const BFloat16* x) { value += weight * to_number(*x); }
    template <class Out>
    FULLGRAPH_INLINE void write(Out* to) const { assign(*to, value); }
};

// bfloat16 pairs lie in 32-bit lanes: a shift makes floats of the even columns, a mask of the odd ones. Widening in order would
// cost more instructions than the sum itself; here the two are interleaved again once, when the row is written.
template <int columns>
    requires(columns > 1)
struct Columns<BFloat16, columns> {
    static constexpr int registers = 2;
    static constexpr int lanes = columns / 2;
    using V = Vector<float, lanes>;
    using Bits = Vector<std::uint32_t, lanes>;
    V even, odd;

    FULLGRAPH_INLINE void clear() { even = odd = V{}; }
    FULLGRAPH_INLINE void read(const BFloat16* from) {
        const auto pairs = load<Bits>(from);
        even = low_halves(pairs);
        odd = high_halves(pairs);
    }
    FULLGRAPH_INLINE void read(const float* from) { read_floats(from, std::make_integer_sequence<int, lanes>{}); }
    FULLGRAPH_INLINE void add(const BFloat16* x) {
        const auto pairs = load<Bits>(x);
        even += low_halves(pairs);
        odd += high_halves(pairs);
    }
    FULLGRAPH_INLINE void add(float weight, const BFloat16* x) {
        const auto pairs = load<Bits>(x);
        even += weight * low_halves(pairs);
        odd += weight * high_halves(pairs);
    }
    FULLGRAPH_INLINE void write(BFloat16* to) const {
        const Bits pairs = (rounded_bits<Bits>(even) >> 16) | (rounded_bits<Bits>(odd) & 0xFFFF0000u);
        std::memcpy(to, &pairs, sizeof pairs);
    }
    FULLGRAPH_INLINE void write(float* to) const { write_floats(to, std::make_integer_sequence<int, lanes>{}); }

private:
    FULLGRAPH_INLINE static V low_halves(Bits pairs) { return same_bits<V>(pairs << 16); }
    FULLGRAPH_INLINE static V high_halves(Bits pairs) { return same_bits<V>(pairs & 0xFFFF0000u); }

    template <int... i>
    FULLGRAPH_INLINE void read_floats(const float* from, std::integer_sequence<int, i...>) {
        const V low = load<V>(from), high = load<V>(from + lanes);
        even = __builtin_shufflevector(low, high, 2 * i...);
        odd = __builtin_shufflevector(low, high, 2 * i + 1 ...);
    }
    template <int... i>
    FULLGRAPH_INLINE void write_floats(float* to, std::integer_sequence<int, i...>) const {
        const V low = __builtin_shufflevector(even, odd, (i / 2 + i % 2 * lanes)...);
        const V high = __builtin_shufflevector(even, odd, (lanes / 2 + i / 2 + i % 2 * lanes)...);
        std::memcpy(to, &low, sizeof low);
        std::memcpy(to + lanes, &high, sizeof high);
    }
};

// Writes the columns from `skip` on; the ones before it belong to the register on the left.
template <class X, int columns, class Out>
FULLGRAPH_INLINE void write_from(const Columns<X, columns>& sum, Out* to, std::int64_t skip) {
    if (skip == 0) return sum.write(to);
    Out each[columns];
    sum.write(each);
    for (std::int64_t column = skip; column < columns; ++column) to[column] = each[column];
}

template <class T, int columns>
FULLGRAPH_INLINE void write_from(Vector<T, columns> value, T* to, std::int64_t skip) {
    write_from(Columns<T, columns>{value}, to, skip);
}

// The same integers in another width.
template <class To, class From>
FULLGRAPH_INLINE To converted(From value) {
    if constexpr (std::is_arithmetic_v<From>) return static_cast<To>(value);
    else return __builtin_convertvector(value, To);
}

}  // namespace fullgraph

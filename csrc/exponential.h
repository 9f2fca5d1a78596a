// exp for attention weights: the library's for double, and for float a polynomial without branches or calls, because a loop
// over std::exp does not vectorise and would cost more than the weighted sum it feeds.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "clones.h"

namespace fullgraph {

FULLGRAPH_INLINE double exponential(double x) { return std::exp(x); }

// exp(x) within 1.02 ulp for -87.3 <= x <= 88 (compared with double's exp at every one of the 2.2e9 floats in it); 0 below,
// where the exact value is subnormal or nearly; clamped above 88; NaN for NaN.
//
// x = n ln 2 + r with |r| <= ln 2 / 2, the polynomial of Cephes' expf in r, and 2^n written into the exponent bits.
FULLGRAPH_INLINE float exponential(float x) {
    constexpr float log2_e = 1.44269504088896341f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    constexpr float round_magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer held in the low mantissa bits
    constexpr float lowest = -87.3f, highest = 88.0f;
    float clamped = x < lowest ? lowest : x;
    clamped = clamped > highest ? highest : clamped;
    const float shifted = clamped * log2_e + round_magic;
    const float n = shifted - round_magic;
    const float r = (clamped - n * ln2_high) - n * ln2_low;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(round_magic) + 127u;
    const float result = p * std::bit_cast<float>(exponent << 23);
    return x < lowest ? 0.0f : result;
}

}  // namespace fullgraph

// Which entries dropout keeps: a hash of (key, row id, column), so that any thread, rank or pass draws the same mask and none
// is ever stored. The twin in torch is ops/reference.py `keep_mask`; the two agree bit for bit.
#pragma once

#include <cstdint>

#include "clones.h"

namespace fullgraph {

struct Keep {
    std::uint64_t key;
    std::uint64_t threshold;  // round(p * 2^24), compared with the upper 24 bits of the hash

    // The finaliser of splitmix64 over a Weyl step in each coordinate.
    FULLGRAPH_INLINE bool operator()(std::int64_t row_id, std::int64_t column) const {
        std::uint64_t z = key + static_cast<std::uint64_t>(row_id) * 0x9E3779B97F4A7C15u +
                          static_cast<std::uint64_t>(column) * 0xD1B54A32D192ED03u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        return (z >> 40) >= threshold;
    }
};

}  // namespace fullgraph

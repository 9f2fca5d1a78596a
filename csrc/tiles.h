// A row's features, cut into tiles of a few registers each.
#pragma once

#include <algorithm>
#include <cstdint>

#include "clones.h"

namespace fullgraph {

// Consecutive rows: row i of first … last has the entries bounds[i] … bounds[i + 1], and its own values at data + i * width.
template <class T>
struct RowRun {
    const std::int64_t* bounds;
    std::int64_t first, last;
    T* data;
};

// Registers of columns from `column` on. The last one starts at `last`, maybe to the left of where it would, so that it ends
// with the row: its columns before `skip` belong to the register on its left.
struct Tile {
    std::int64_t column, last, skip;
};

// Calls body.tile<n>(tile) for the tiles of n registers that cover the columns first … last, which hold at least one register:
// as many of `most` registers as there are, then what is left.
template <int columns, int most, class Body>
FULLGRAPH_INLINE void for_tiles(std::int64_t first, std::int64_t last, const Body& body) {
    for (std::int64_t column = first; column < last;) {
        const std::int64_t left = (last - column + columns - 1) / columns;
        const std::int64_t n = left >= most ? most : std::min<std::int64_t>(left, 8);
        const std::int64_t past = column + n * columns, overlap = std::max<std::int64_t>(past - last, 0);
        const Tile tile{column, past - columns - overlap, overlap};
        switch (n) {
            case 1: body.template tile<1>(tile); break;
            case 2: body.template tile<2>(tile); break;
            case 3: body.template tile<3>(tile); break;
            case 4: body.template tile<4>(tile); break;
            default:
                if constexpr (most > 4) {
                    switch (n) {
                        case 5: body.template tile<5>(tile); break;
                        case 6: body.template tile<6>(tile); break;
                        case 7: body.template tile<7>(tile); break;
                        case 8: body.template tile<8>(tile); break;
                        default: body.template tile<most>(tile); break;
                    }
                }
        }
        column = past;
    }
}

// Calls body.rows<columns, most>() for the widest register that `width` columns of `size` bytes fill: of `bytes`, or a half or
// quarter of that, or one number. `most` is the number of registers of a tile at 16 registers; AVX-512 has twice as many.
template <int bytes, int size, int most, class Body>
FULLGRAPH_INLINE void with_widest(std::int64_t width, const Body& body) {
    if (width >= bytes / size) return body.template rows<bytes / size, bytes == 64 ? 2 * most : most>();
    if constexpr (bytes == 64) {
        if (width >= 32 / size) return body.template rows<32 / size, std::min(most, 4)>();
    }
    if constexpr (bytes >= 32) {
        if (width >= 16 / size) return body.template rows<16 / size, std::min(most, 4)>();
    }
    body.template rows<1, std::min(most, 4)>();
}

}  // namespace fullgraph

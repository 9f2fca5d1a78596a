// Tiles of feature columns: where the source rows exceed the last-level cache but a part of each row would fit, a kernel walks
// the block once per part, on a packed copy of it.
//
// Packed, because a tile inside full rows would use a fraction of each page and of the cache's sets, and because the copy can
// lie on huge pages. Measured (50k rows x 256 floats, 50 entries per row): 2 x faster. Tiles under 256 bytes lost against whole
// rows with prefetching (200k rows x 64 to 256 floats: 1.1 to 1.9 x slower), so larger blocks are not tiled.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <sys/mman.h>

#include "cache.h"
#include "csr.h"

namespace fullgraph {

constexpr std::int64_t least_tile_bytes = 256;
constexpr std::int64_t least_reuse = 8;  // entries per source row; a copy reads and writes each row once

// The number of columns per tile: `width` itself where tiling does not pay, else a multiple of `unit` columns.
inline std::int64_t tile_columns(const Csr& csr, std::int64_t num_sources, std::int64_t width, std::int64_t element_bytes,
                                 std::int64_t unit) {
    const std::int64_t budget = last_level_cache_bytes() / 2;  // the rest is for outputs, indices and other processes
    if (num_sources * width * element_bytes <= budget || csr.num_entries() < least_reuse * num_sources) return width;
    const std::int64_t most = budget / (num_sources * element_bytes) / unit * unit;
    if (most * element_bytes < least_tile_bytes) return width;
    const std::int64_t num_tiles = (width + most - 1) / most;
    const std::int64_t even = (width + num_tiles - 1) / num_tiles;  // 200 columns are two tiles of 112 and 88, not 160 and 40
    return (even + unit - 1) / unit * unit;
}

// A copy of some columns of a matrix, rows one after another.
template <class T>
class PackedColumns {
public:
    PackedColumns(std::int64_t num_rows, std::int64_t columns) : num_rows_(num_rows), columns_(columns) {
        const std::size_t page = std::size_t{2} << 20;
        const std::size_t bytes = static_cast<std::size_t>(num_rows * columns) * sizeof(T);
        const std::size_t rounded = (bytes + page - 1) / page * page;
        data_.reset(static_cast<T*>(std::aligned_alloc(page, rounded)));
        if (!data_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
        madvise(data_.get(), rounded, MADV_HUGEPAGE);  // a wish: without it the copy works as well, on small pages
#endif
    }

    // Copies `count` columns of rows that are `width` long, from `from` on.
    const T* copy(const T* from, std::int64_t width, std::int64_t count, int num_threads) {
        for_equal_ranges(num_rows_, count, num_threads, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t row = first; row < last; ++row) {
                std::memcpy(data_.get() + row * columns_, from + row * width, static_cast<std::size_t>(count) * sizeof(T));
            }
        });
        return data_.get();
    }

private:
    struct Free {
        void operator()(T* data) const { std::free(data); }
    };
    std::int64_t num_rows_, columns_;
    std::unique_ptr<T, Free> data_;
};

}  // namespace fullgraph

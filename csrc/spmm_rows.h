// The inner loops of spmm: one row at a time, a tile of its features in registers over all its entries.
//
// Adding each source row into the output row in memory costs a load and a store of the output per entry and register; here
// both happen once per row. A row wider than the registers is walked in tiles.
#pragma once

#include "csr.h"
#include "prefetch.h"
#include "targets.h"
#include "tiles.h"
#include "vectors.h"

namespace fullgraph {

template <class X, class Out>
struct Spmm {
    using A = Accumulator<X>;
    using Rows = RowRun<Out>;
    Csr csr;
    const X* x;       // row j at x + j * x_stride; its first element is column `begin`
    const A* weight;  // [num_edges, num_heads] or null: every weight is 1
    Out* out;         // [num_rows, width]
    std::int64_t x_stride, width, num_heads, channels;
    std::int64_t begin, end;  // the columns to sum: whole heads, if there are several
    bool overwrites;          // out is written; else added into
};

// What an entry's row is multiplied by within a tile: nothing, one number, or a number for each register.
enum class Scale { none, tile, registers };

// One row: adds its entries to `out`.
template <int columns, Scale scale, class X, class Out>
struct RowSum {
    const Spmm<X, Out>& k;
    std::int64_t begin, end;
    Out* out;

    template <int n>
    FULLGRAPH_INLINE void tile(const Tile tile) const {
        constexpr std::int64_t bytes = n * columns * static_cast<std::int64_t>(sizeof(X));
        Out* const first_out = out + tile.column;
        Out* const last_out = out + tile.last;
        Columns<X, columns> sum[n];
        if (k.overwrites) {
            for (int v = 0; v < n; ++v) sum[v].clear();
        } else {
            for (int v = 0; v < n - 1; ++v) sum[v].read(first_out + v * columns);
            sum[n - 1].read(last_out);
        }

        std::int64_t head[n];
        for (int v = 0; v < n; ++v) head[v] = scale == Scale::none ? 0 : (tile.column + v * columns) / k.channels;
        const X* const base = k.x + (tile.column - k.begin);
        const std::int64_t last = tile.last - tile.column, final_entry = k.csr.indptr[k.csr.num_rows] - 1;
        for (std::int64_t e = begin; e < end; ++e) {
            prefetch<bytes>(base + k.csr.indices[std::min(e + prefetch_entries(bytes), final_entry)] * k.x_stride);
            const X* x = opaque(base + k.csr.indices[e] * k.x_stride);
            if constexpr (scale == Scale::none) {
                for (int v = 0; v < n - 1; ++v) sum[v].add(x + v * columns);
                sum[n - 1].add(x + last);
            } else {
                const Accumulator<X>* weight = k.weight + k.csr.edge(e) * k.num_heads;
                for (int v = 0; v < n - 1; ++v) sum[v].add(weight[head[scale == Scale::tile ? 0 : v]], x + v * columns);
                sum[n - 1].add(weight[head[scale == Scale::tile ? 0 : n - 1]], x + last);
            }
        }
        for (int v = 0; v < n - 1; ++v) sum[v].write(first_out + v * columns);
        write_from(sum[n - 1], last_out, tile.skip);
    }
};

template <class X, class Out>
struct RowSums {
    const Spmm<X, Out>& k;
    const RowRun<Out>& run;

    template <int columns, int most>
    FULLGRAPH_INLINE void rows() const {
        for (std::int64_t row = run.first; row < run.last; ++row) {
            const std::int64_t begin = run.bounds[row], end = run.bounds[row + 1];
            Out* out = run.data + row * k.width;
            if (begin == end) {
                if (k.overwrites) std::fill(out + k.begin, out + k.end, Out{});
                continue;
            }
            if (!k.weight) {
                for_tiles<columns, most>(k.begin, k.end, RowSum<columns, Scale::none, X, Out>{k, begin, end, out});
            } else if (k.num_heads > 1 && k.channels % columns == 0) {
                for_tiles<columns, most>(k.begin, k.end, RowSum<columns, Scale::registers, X, Out>{k, begin, end, out});
            } else {
                const std::int64_t step = k.num_heads > 1 ? k.channels : k.end - k.begin;
                for (std::int64_t column = k.begin; column < k.end; column += step) {
                    for_tiles<columns, most>(column, column + step, RowSum<columns, Scale::tile, X, Out>{k, begin, end, out});
                }
            }
        }
    }
};

template <int bytes, class X, class Out>
FULLGRAPH_INLINE void sum_rows(const Spmm<X, Out>& k, const RowRun<Out>& run) {
    constexpr int size = static_cast<int>(sizeof(X)), most = 8 / Columns<X, 16 / size>::registers;
    with_widest<bytes, size, most>(k.weight && k.num_heads > 1 ? k.channels : k.end - k.begin, RowSums<X, Out>{k, run});
}

}  // namespace fullgraph

// The inner loops of sddmm: one row at a time, a tile of one head of it in registers over all its entries.
#pragma once

#include "csr.h"
#include "prefetch.h"
#include "targets.h"
#include "tiles.h"
#include "vectors.h"

namespace fullgraph {

template <class T>
struct Sddmm {
    using Rows = RowRun<const T>;
    Csr csr;
    const T* right;  // [num_columns, num_heads * channels]
    T* out;          // [num_edges, num_heads]
    std::int64_t width, num_heads, channels;
};

// The sum of a register's numbers, in a fixed order: halves added to each other.
template <int columns, class T>
FULLGRAPH_INLINE T sum_of(Vector<T, columns> value) {
    if constexpr (columns == 1) {
        return value;
    } else {
        T each[columns];
        std::memcpy(each, &value, sizeof each);
        Vector<T, columns / 2> low, high;
        std::memcpy(&low, each, sizeof low);
        std::memcpy(&high, each + columns / 2, sizeof high);
        return sum_of<columns / 2, T>(low + high);
    }
}

template <int columns, class T>
struct RowDots {
    const Sddmm<T>& k;
    std::int64_t begin, end, head;
    const T* left;

    template <int n>
    FULLGRAPH_INLINE void tile(const Tile tile) const {
        using Value = Vector<T, columns>;
        constexpr std::int64_t bytes = n * columns * static_cast<std::int64_t>(sizeof(T));
        const std::int64_t last = tile.last - tile.column, final_entry = k.csr.indptr[k.csr.num_rows] - 1;
        Value own[n];
        for (int v = 0; v < n; ++v) own[v] = load<Value>(left + (v + 1 < n ? tile.column + v * columns : tile.last));
        T counted[columns];  // which of the last register's columns are this register's own
        for (int c = 0; c < columns; ++c) counted[c] = c >= tile.skip ? T(1) : T(0);
        const Value owned = load<Value>(counted);
        const T* const base = k.right + tile.column;
        for (std::int64_t e = begin; e < end; ++e) {
            prefetch<bytes>(base + k.csr.indices[std::min(e + prefetch_entries(bytes), final_entry)] * k.width);
            const T* right = opaque(base + k.csr.indices[e] * k.width);
            const Value product = own[n - 1] * load<Value>(right + last);
            Value dot = owned == T(1) ? product : Value{};  // selected, not multiplied: 0 * infinity is NaN
            for (int v = 0; v < n - 1; ++v) dot += own[v] * load<Value>(right + v * columns);
            k.out[k.csr.edge(e) * k.num_heads + head] += sum_of<columns, T>(dot);
        }
    }
};

template <class T>
struct RowsDots {
    const Sddmm<T>& k;
    const RowRun<const T>& run;

    template <int columns, int most>
    FULLGRAPH_INLINE void rows() const {
        for (std::int64_t row = run.first; row < run.last; ++row) {
            const std::int64_t begin = run.bounds[row], end = run.bounds[row + 1];
            if (begin == end) continue;
            const T* left = run.data + row * k.width;
            for (std::int64_t h = 0; h < k.num_heads; ++h) {
                for_tiles<columns, most>(h * k.channels, (h + 1) * k.channels, RowDots<columns, T>{k, begin, end, h, left});
            }
        }
    }
};

template <int bytes, class T>
FULLGRAPH_INLINE void dot_rows(const Sddmm<T>& k, const RowRun<const T>& run) {
    with_widest<bytes, sizeof(T), 8>(k.channels, RowsDots<T>{k, run});
}

}  // namespace fullgraph

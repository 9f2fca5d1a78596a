// The inner loops of extremum and its gradient: one row at a time, a tile of its features in registers over all its entries.
#pragma once

#include "csr.h"
#include "prefetch.h"
#include "targets.h"
#include "tiles.h"
#include "vectors.h"

namespace fullgraph {

template <class T>
struct Best {
    T* value;
    std::int32_t* count;
};

// Consecutive rows, as RowRun, with two arrays of their own.
template <class T>
struct BestRun {
    const std::int64_t* bounds;
    std::int64_t first, last;
    Best<T> best;
};

template <class T>
struct Extremum {
    using Rows = BestRun<T>;
    Csr csr;
    const T* x;    // [num_columns, width]
    Best<T> best;  // [num_rows, width]
    std::int64_t width;
    bool largest;
};

template <class T>
struct ExtremumBackward {
    using Rows = RowRun<T>;
    Csr csr;         // rows are sources, columns destinations
    const T* x;      // [num_rows, width]; for a segment its own row
    const T* value;  // [num_columns, width]
    const T* grad;   // [num_columns, width]
    std::int64_t width;
};

// Takes a candidate that has been met `times` times: a better one replaces, an equal one counts. NaN is better than a number.
// Works on a register as on one number.
template <bool largest, class Value, class Count>
FULLGRAPH_INLINE void take(Value& best, Count& count, const Value candidate, const Count times) {
    const auto is_nan = candidate != candidate, was_nan = best != best;
    const auto better = (largest ? candidate > best : candidate < best) | (is_nan & (best == best));
    const auto tie = (candidate == best) | (is_nan & was_nan);
    count = better ? times : (tie ? count + times : count);
    best = better ? candidate : best;
}

template <int columns, bool largest, class T>
struct RowBest {
    const Extremum<T>& k;
    std::int64_t begin, end;
    Best<T> row;

    template <int n>
    FULLGRAPH_INLINE void tile(const Tile tile) const {
        using Integer = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;  // as wide as T, so that masks fit both
        using Value = Vector<T, columns>;
        using Count = Vector<Integer, columns>;
        constexpr std::int64_t bytes = n * columns * static_cast<std::int64_t>(sizeof(T));
        const std::int64_t last = tile.last - tile.column, final_entry = k.csr.indptr[k.csr.num_rows] - 1;
        Value value[n];
        Count count[n];
        for (int v = 0; v < n; ++v) {
            const std::int64_t column = v + 1 < n ? tile.column + v * columns : tile.last;
            value[v] = load<Value>(row.value + column);
            count[v] = converted<Count>(load<Vector<std::int32_t, columns>>(row.count + column));
        }
        const Count once = Count{} + Integer{1};
        const T* const base = k.x + tile.column;
        for (std::int64_t e = begin; e < end; ++e) {
            prefetch<bytes>(base + k.csr.indices[std::min(e + prefetch_entries(bytes), final_entry)] * k.width);
            const T* x = opaque(base + k.csr.indices[e] * k.width);
            for (int v = 0; v < n - 1; ++v) take<largest>(value[v], count[v], load<Value>(x + v * columns), once);
            take<largest>(value[n - 1], count[n - 1], load<Value>(x + last), once);
        }
        for (int v = 0; v < n; ++v) {
            const std::int64_t column = v + 1 < n ? tile.column + v * columns : tile.last;
            const std::int64_t skip = v + 1 < n ? 0 : tile.skip;
            write_from<T, columns>(value[v], row.value + column, skip);
            write_from<std::int32_t, columns>(converted<Vector<std::int32_t, columns>>(count[v]), row.count + column, skip);
        }
    }
};

template <class T>
struct RowBests {
    const Extremum<T>& k;
    const BestRun<T>& run;

    template <int columns, int most>
    FULLGRAPH_INLINE void rows() const {
        for (std::int64_t row = run.first; row < run.last; ++row) {
            const std::int64_t begin = run.bounds[row], end = run.bounds[row + 1];
            if (begin == end) continue;
            const Best<T> best{run.best.value + row * k.width, run.best.count + row * k.width};
            if (k.largest) for_tiles<columns, most>(0, k.width, RowBest<columns, true, T>{k, begin, end, best});
            else for_tiles<columns, most>(0, k.width, RowBest<columns, false, T>{k, begin, end, best});
        }
    }
};

template <int columns, class T>
struct RowShare {
    const ExtremumBackward<T>& k;
    std::int64_t begin, end;
    const T* own;
    T* out;

    template <int n>
    FULLGRAPH_INLINE void tile(const Tile tile) const {
        using Value = Vector<T, columns>;
        constexpr std::int64_t bytes = n * columns * static_cast<std::int64_t>(sizeof(T));
        const std::int64_t last = tile.last - tile.column, final_entry = k.csr.indptr[k.csr.num_rows] - 1;
        Value x[n], sum[n];
        for (int v = 0; v < n; ++v) {
            const std::int64_t column = v + 1 < n ? tile.column + v * columns : tile.last;
            x[v] = load<Value>(own + column);
            sum[v] = load<Value>(out + column);
        }
        for (std::int64_t e = begin; e < end; ++e) {
            const std::int64_t coming = k.csr.indices[std::min(e + prefetch_entries(2 * bytes), final_entry)];
            prefetch<bytes>(k.value + coming * k.width + tile.column);
            prefetch<bytes>(k.grad + coming * k.width + tile.column);
            const std::int64_t at = k.csr.indices[e] * k.width + tile.column;
            const T* value = opaque(k.value + at);
            const T* grad = opaque(k.grad + at);
            for (int v = 0; v < n; ++v) {
                const std::int64_t column = v + 1 < n ? v * columns : last;
                sum[v] += x[v] == load<Value>(value + column) ? load<Value>(grad + column) : Value{};
            }
        }
        for (int v = 0; v < n - 1; ++v) write_from<T, columns>(sum[v], out + tile.column + v * columns, 0);
        write_from<T, columns>(sum[n - 1], out + tile.last, tile.skip);
    }
};

template <class T>
struct RowShares {
    const ExtremumBackward<T>& k;
    const RowRun<T>& run;

    template <int columns, int most>
    FULLGRAPH_INLINE void rows() const {
        for (std::int64_t row = run.first; row < run.last; ++row) {
            const std::int64_t begin = run.bounds[row], end = run.bounds[row + 1], at = row * k.width;
            if (begin == end) continue;
            for_tiles<columns, most>(0, k.width, RowShare<columns, T>{k, begin, end, k.x + at, run.data + at});
        }
    }
};

template <int bytes, class T>
FULLGRAPH_INLINE void absorb_rows(const Extremum<T>& k, const BestRun<T>& run) {
    with_widest<bytes, sizeof(T), 4>(k.width, RowBests<T>{k, run});
}

template <int bytes, class T>
FULLGRAPH_INLINE void return_rows(const ExtremumBackward<T>& k, const RowRun<T>& run) {
    with_widest<bytes, sizeof(T), 4>(k.width, RowShares<T>{k, run});
}

}  // namespace fullgraph

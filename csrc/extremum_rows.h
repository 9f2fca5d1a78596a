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

// Takes a candidate that was met `times` times: a better one replaces, an equal one counts. NaN is better than a number.
template <class T>
FULLGRAPH_INLINE void take(bool largest, T& best, std::int32_t& count, T candidate, std::int32_t times) {
    const bool is_nan = candidate != candidate, was_nan = best != best;
    if ((largest ? candidate > best : candidate < best) || (is_nan && !was_nan)) {
        best = candidate;
        count = times;
    } else if (candidate == best || (is_nan && was_nan)) {
        count += times;
    }
}

// The same for a register of candidates met once each, but for NaN: `zero` stays 0 as long as all candidates are finite. Each
// comparison makes a choice at once, and none is with itself: GCC would take the register apart into single numbers.
template <bool largest, class Value, class Count>
FULLGRAPH_INLINE void take_finite(Value& best, Count& count, Value& zero, const Value candidate) {
    const Count no{}, one = no + 1;
    const Value high = largest ? candidate : best, low = largest ? best : candidate;
    count = high > low ? no : count;
    count += high >= low ? one : no;
    best = high > low ? candidate : best;
    zero += candidate * Value{};
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
        Value zero{};
        for (int v = 0; v < n; ++v) {
            const std::int64_t column = v + 1 < n ? tile.column + v * columns : tile.last;
            value[v] = load<Value>(row.value + column);
            count[v] = converted<Count>(load<Vector<std::int32_t, columns>>(row.count + column));
        }
        const T* const base = k.x + tile.column;
        for (std::int64_t e = begin; e < end; ++e) {
            prefetch<bytes>(base + k.csr.indices[std::min(e + prefetch_entries(bytes), final_entry)] * k.width);
            const T* x = opaque(base + k.csr.indices[e] * k.width);
            for (int v = 0; v < n - 1; ++v) take_finite<largest>(value[v], count[v], zero, load<Value>(x + v * columns));
            take_finite<largest>(value[n - 1], count[n - 1], zero, load<Value>(x + last));
        }
        if (!all_zero(zero)) return take_one_by_one(tile.column, tile.last + columns);
        for (int v = 0; v < n; ++v) {
            const std::int64_t column = v + 1 < n ? tile.column + v * columns : tile.last;
            const std::int64_t skip = v + 1 < n ? 0 : tile.skip;
            write_from<T, columns>(value[v], row.value + column, skip);
            write_from<std::int32_t, columns>(converted<Vector<std::int32_t, columns>>(count[v]), row.count + column, skip);
        }
    }

private:
    FULLGRAPH_INLINE static bool all_zero(const Vector<T, columns>& value) {
        T each[columns], sum = 0;
        std::memcpy(each, &value, sizeof each);
        for (int lane = 0; lane < columns; ++lane) sum += each[lane];
        return sum == T(0);  // NaN is not
    }

    // What a tile with NaN or infinity among its candidates falls back to.
    [[gnu::noinline]] void take_one_by_one(std::int64_t first, std::int64_t past) const {
        for (std::int64_t e = begin; e < end; ++e) {
            const T* x = k.x + k.csr.indices[e] * k.width;
            for (std::int64_t column = first; column < past; ++column) take(largest, row.value[column], row.count[column], x[column], 1);
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

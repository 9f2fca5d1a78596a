// The rows a kernel runs over, and how threads share them: every kernel pulls, one thread owns a row, so there is no atomic,
// no race, and no result that depends on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fullgraph {

// A CSR block as raw pointers; shapes were checked by the Python op that owns the name.
struct Csr {
    const std::int64_t* indptr;    // [num_rows + 1]
    const std::int32_t* indices;   // [num_entries], columns
    const std::int64_t* edge_ids;  // [num_entries] or null: entry e is edge e
    std::int64_t num_rows;

    std::int64_t edge(std::int64_t entry) const { return edge_ids ? edge_ids[entry] : entry; }
};

// Below this many scalar operations a parallel region costs more than it saves (tens of microseconds against about ten).
constexpr std::int64_t serial_work = 1 << 15;

// Calls `run(first, last)` on disjoint row ranges that cover all rows, on up to `num_threads` threads.
//
// Ranges hold about equally many entries (an empty row counts as one), several per thread and handed out on demand, so rows
// of very different lengths balance; a single row is never split. `entry_work` is the number of scalars touched per entry.
template <class Run>
void for_row_ranges(const Csr& csr, std::int64_t entry_work, int num_threads, const Run& run) {
    const std::int64_t rows = csr.num_rows;
    if (rows == 0) return;
    const auto load_before = [&csr](std::int64_t row) { return csr.indptr[row] - csr.indptr[0] + row; };
    const std::int64_t load = load_before(rows);
    if (num_threads <= 1 || load * entry_work < serial_work) {
        run(std::int64_t{0}, rows);
        return;
    }
    const std::int64_t num_ranges = std::min<std::int64_t>(rows, std::int64_t{16} * num_threads);
    const auto boundary = [&](std::int64_t range) {  // the first row whose load reaches the range's share
        if (range >= num_ranges) return rows;
        const std::int64_t share = load / num_ranges * range;
        std::int64_t low = 0, high = rows;
        while (low < high) {
            const std::int64_t middle = low + (high - low) / 2;
            if (load_before(middle) < share) low = middle + 1;
            else high = middle;
        }
        return low;
    };
#pragma omp parallel for schedule(dynamic, 1) num_threads(num_threads)
    for (std::int64_t range = 0; range < num_ranges; ++range) {
        const std::int64_t first = boundary(range), last = boundary(range + 1);
        if (first < last) run(first, last);
    }
}

// Calls `run(first, last)` on equal row ranges, one per thread: for work that every row has the same amount of.
template <class Run>
void for_equal_ranges(std::int64_t rows, std::int64_t row_work, int num_threads, const Run& run) {
    if (num_threads <= 1 || rows * row_work < serial_work) {
        run(std::int64_t{0}, rows);
        return;
    }
#pragma omp parallel for schedule(static, 1) num_threads(num_threads)
    for (int range = 0; range < num_threads; ++range) {
        run(rows * range / num_threads, rows * (range + 1) / num_threads);
    }
}

}  // namespace fullgraph

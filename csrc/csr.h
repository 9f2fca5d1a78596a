// The rows a kernel runs over, and how threads share them: every kernel pulls, one thread owns a row, so there is no atomic,
// no race, and no result that depends on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel.h"

namespace fullgraph {

// A CSR block as raw pointers; shapes were checked by the Python op that owns the name.
struct Csr {
    const std::int64_t* indptr;    // [num_rows + 1]
    const std::int32_t* indices;   // [num_entries], columns
    const std::int32_t* edge_ids;  // [num_entries] or null: entry e is edge e
    std::int64_t num_rows;

    std::int64_t edge(std::int64_t entry) const { return edge_ids ? edge_ids[entry] : entry; }
    std::int64_t num_entries() const { return indptr[num_rows] - indptr[0]; }
};

// Below this many scalar operations a parallel region costs more than it saves (tens of microseconds against about ten).
constexpr std::int64_t serial_work = 1 << 15;

// Tasks per thread: enough that rows of very different lengths balance, few enough that handing them out costs nothing.
constexpr std::int64_t tasks_per_thread = 16;

// Cuts rows into ranges of about equally many entries (an empty row counts as one); a row is never split.
class RowRanges {
public:
    RowRanges(const Csr& csr, std::int64_t count)
        : indptr_(csr.indptr), rows_(csr.num_rows), count_(std::clamp<std::int64_t>(count, 1, std::max<std::int64_t>(rows_, 1))) {}

    std::int64_t size() const { return count_; }

    // The first row of a range: the first whose load reaches the range's share.
    std::int64_t begin(std::int64_t range) const {
        if (range >= count_) return rows_;
        const std::int64_t share = load_before(rows_) / count_ * range;
        std::int64_t low = 0, high = rows_;
        while (low < high) {
            const std::int64_t middle = low + (high - low) / 2;
            if (load_before(middle) < share) low = middle + 1;
            else high = middle;
        }
        return low;
    }

private:
    std::int64_t load_before(std::int64_t row) const { return indptr_[row] - indptr_[0] + row; }

    const std::int64_t* indptr_;
    std::int64_t rows_, count_;
};

// Whether a block's work is worth a parallel region. `entry_work` is the number of scalars touched per entry.
inline bool is_parallel(const Csr& csr, std::int64_t entry_work, int num_threads) {
    return num_threads > 1 && (csr.num_entries() + csr.num_rows) * entry_work >= serial_work;
}

// Calls `run(first, last)` on disjoint row ranges that cover all rows, on up to `num_threads` threads.
template <class Run>
void for_row_ranges(const Csr& csr, std::int64_t entry_work, int num_threads, const Run& run) {
    if (csr.num_rows == 0) return;
    if (!is_parallel(csr, entry_work, num_threads)) {
        run(std::int64_t{0}, csr.num_rows);
        return;
    }
    const RowRanges ranges(csr, tasks_per_thread * num_threads);
    for_tasks(ranges.size(), num_threads, [&](std::int64_t range) {
        const std::int64_t first = ranges.begin(range), last = ranges.begin(range + 1);
        if (first < last) run(first, last);
    });
}

// Calls `run(first, last)` on equal row ranges, one per thread: for work that every row has the same amount of.
template <class Run>
void for_equal_ranges(std::int64_t rows, std::int64_t row_work, int num_threads, const Run& run) {
    if (num_threads <= 1 || rows * row_work < serial_work) {
        run(std::int64_t{0}, rows);
        return;
    }
    for_tasks(num_threads, num_threads, [&](std::int64_t range) {
        run(rows * range / num_threads, rows * (range + 1) / num_threads);
    });
}

}  // namespace fullgraph

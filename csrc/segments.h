// Rows too long for one thread: a hub's entries are cut into segments, whose partial results are combined in order.
//
// On a power-law graph one row can hold half of all edges, and the thread that owned it would work alone. The cut is at every
// `segment_entries`-th entry of the row, whatever the number of threads, so the order of every sum is fixed by the block alone.
#pragma once

#include <vector>

#include "csr.h"

namespace fullgraph {

// A row with more entries than this is split. Each segment costs one row of partial results: 1 / 4096 of an edge array's rows.
constexpr std::int64_t segment_entries = 4096;

// The long rows (hubs) of a block and their segments, both numbered through.
class Segments {
public:
    explicit Segments(const Csr& csr) {
        if (csr.num_entries() <= segment_entries) return;
        for (std::int64_t row = 0; row < csr.num_rows; ++row) {
            if (csr.indptr[row + 1] - csr.indptr[row] > segment_entries) add(row, csr.indptr[row], csr.indptr[row + 1]);
        }
    }

    std::int64_t size() const { return static_cast<std::int64_t>(bounds_.size() - rows_.size()); }
    std::int64_t num_hubs() const { return static_cast<std::int64_t>(rows_.size()); }
    std::int64_t row(std::int64_t hub) const { return rows_[at(hub)]; }
    std::int64_t first_of(std::int64_t hub) const { return first_[at(hub)]; }
    std::int64_t end_of(std::int64_t hub) const { return hub + 1 < num_hubs() ? first_[at(hub + 1)] : size(); }

    std::int64_t hub_of(std::int64_t segment) const {
        return std::upper_bound(first_.begin(), first_.end(), segment) - first_.begin() - 1;
    }

    // Two numbers: the first entry of a segment and the one after its last.
    const std::int64_t* bounds(std::int64_t segment) const { return bounds_.data() + segment + hub_of(segment); }

    // Calls `run(first, last)` on the runs of rows between first and last that are not long.
    template <class Run>
    void for_short_rows(std::int64_t first, std::int64_t last, const Run& run) const {
        for (auto next = std::lower_bound(rows_.begin(), rows_.end(), first); next != rows_.end() && *next < last; ++next) {
            if (first < *next) run(first, *next);
            first = *next + 1;
        }
        if (first < last) run(first, last);
    }

private:
    static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

    void add(std::int64_t row, std::int64_t begin, std::int64_t end) {
        first_.push_back(size());
        rows_.push_back(row);
        for (; begin < end; begin += segment_entries) bounds_.push_back(begin);
        bounds_.push_back(end);
    }

    std::vector<std::int64_t> rows_;    // the long rows, ascending
    std::vector<std::int64_t> first_;   // per long row: its first segment
    std::vector<std::int64_t> bounds_;  // per long row: where its segments begin, and where the last one ends
};

// Runs a kernel over all entries of a block: `rows(first, last)` for runs of short rows, `segment(s)` for the segments of long
// ones, on up to `num_threads` threads; then `combine(hub)` for each long row.
template <class Rows, class Segment, class Combine>
void for_rows_and_segments(const Csr& csr, const Segments& segments, std::int64_t entry_work, int num_threads, const Rows& rows,
                           const Segment& segment, const Combine& combine) {
    if (csr.num_rows == 0) return;
    const bool parallel = is_parallel(csr, entry_work, num_threads);
    const RowRanges ranges(csr, parallel ? tasks_per_thread * num_threads : 1);
    const auto run = [&](std::int64_t task) {
        if (task < segments.size()) return segment(task);
        const std::int64_t range = task - segments.size();
        segments.for_short_rows(ranges.begin(range), ranges.begin(range + 1), rows);
    };
    const std::int64_t num_tasks = segments.size() + ranges.size();
    if (parallel) {
        for_tasks(num_tasks, num_threads, run);
    } else {
        for (std::int64_t task = 0; task < num_tasks; ++task) run(task);
    }
    for (std::int64_t hub = 0; hub < segments.num_hubs(); ++hub) combine(hub);
}

}  // namespace fullgraph

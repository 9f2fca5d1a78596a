// How threads share the rows of an attention kernel: tasks fixed by the block alone, and a vector shape fixed by the channels.
//
// A task is a range of rows, or a segment of a hub's entries whose partial results are combined in order afterwards. As the
// tasks do not depend on the number of threads, a sum that belongs to no row (GATv2's att, say) can be kept per group of tasks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "attention.h"
#include "attention_vectors.h"
#include "segments.h"
#include "targets.h"

namespace fullgraph {

// Ranges of rows: at most so many, and each with so many rows and entries that starting it costs nothing beside them.
constexpr std::int64_t most_row_tasks = 256, least_task_load = 1024;

struct Task {
    std::int64_t first, last;  // rows
    const std::int64_t* entries;  // null: all of each row; else the first entry of the only row, and the one after the last
    std::int64_t segment;         // which one, or -1

    std::int64_t begin(const Csr& csr, std::int64_t row) const { return entries ? entries[0] : csr.indptr[row]; }
    std::int64_t end(const Csr& csr, std::int64_t row) const { return entries ? entries[1] : csr.indptr[row + 1]; }
};

// Where a task writes what belongs to a row: the row itself, or the segment's own copy of it.
template <class T>
struct Destination {
    T* rows;
    T* partial;
    std::int64_t width;
    FULLGRAPH_INLINE T* at(const Task& task, std::int64_t row) const {
        return task.segment < 0 ? rows + row * width : partial + task.segment * width;
    }
};

class Tasks {
public:
    explicit Tasks(const Csr& csr)
        : csr_(csr),
          segments_(csr),
          ranges_(csr, std::clamp<std::int64_t>((csr.num_entries() + csr.num_rows) / least_task_load, 1, most_row_tasks)) {}

    const Segments& segments() const { return segments_; }
    std::int64_t size() const { return segments_.size() + ranges_.size(); }

    // Calls `run(task, group)` for all tasks; a range of rows with hubs in it is several runs. The tasks are dealt to `num_groups`
    // groups, and those of one group run one after another, in order.
    template <class Run>
    void run(std::int64_t entry_work, int num_threads, std::int64_t num_groups, const Run& run) const {
        if (csr_.num_rows == 0) return;
        const auto run_group = [&](std::int64_t group) {
            for (std::int64_t number = group; number < size(); number += num_groups) {
                run_task(number, [&](const Task& task) { run(task, group); });
            }
        };
        if (is_parallel(csr_, entry_work, num_threads)) {
            for_tasks(num_groups, num_threads, run_group);
        } else {
            for (std::int64_t group = 0; group < num_groups; ++group) run_group(group);
        }
    }

private:
    template <class Run>
    void run_task(std::int64_t number, const Run& run) const {
        if (number < segments_.size()) {
            const std::int64_t row = segments_.row(segments_.hub_of(number));
            return run(Task{row, row + 1, segments_.bounds(number), number});
        }
        const std::int64_t range = number - segments_.size();
        segments_.for_short_rows(ranges_.begin(range), ranges_.begin(range + 1), [&](std::int64_t first, std::int64_t last) {
            run(Task{first, last, nullptr, -1});
        });
    }

    const Csr& csr_;
    Segments segments_;
    RowRanges ranges_;
};

// Calls use(shape) with the vector shape for this many channels: one of a few fixed ones, else the widest that fits a head.
template <int bytes, class T, class Use>
FULLGRAPH_INLINE void with_shape(std::int64_t channels, const Use& use) {
    constexpr int lanes = bytes / static_cast<int>(sizeof(T));
    if constexpr (std::is_same_v<T, float> && bytes >= 32) {
        if (channels == 8) return use(Shape<T, 8, 1>{channels});
        if (channels == 16) return use(Shape<T, lanes, 16 / lanes>{channels});
        if (channels == 32) return use(Shape<T, lanes, 32 / lanes>{channels});
        if constexpr (bytes == 64) {  // four registers of operands, four of sums; with half as wide ones they would not fit
            if (channels == 64) return use(Shape<T, lanes, 64 / lanes>{channels});
        }
    }
    if (channels >= lanes) return use(Shape<T, lanes, 0>{channels});
    if constexpr (lanes > 4) {
        if (channels >= 4) return use(Shape<T, 4, 0>{channels});
    }
    return use(Shape<T, 1, 0>{channels});
}

// A kernel's scratch: planes [heads, chunk], then four lines [chunk] (as plane number num_planes), then what held vectors need.
template <class T>
struct Scratch {
    std::vector<T> memory;
    std::int64_t plane_size, held_size;

    Scratch(std::int64_t num_planes, std::int64_t plane, std::int64_t channels)
        : plane_size(plane), held_size(channels + 16) {
        memory.resize(static_cast<std::size_t>(num_planes * plane + num_lines * chunk_entries + num_held * held_size));
        planes_ = num_planes;
    }
    T* plane(std::int64_t i) { return memory.data() + i * plane_size; }
    T* held() { return memory.data() + planes_ * plane_size + num_lines * chunk_entries; }

private:
    static constexpr std::int64_t num_held = 5, num_lines = 4;  // a line: one number per edge of a chunk
    std::int64_t planes_;
};

}  // namespace fullgraph

// Defines run(kernel, task, scratch, grad_att) for one kind of kernel as `body`<bytes>, compiled for this machine's widest register.
#if FULLGRAPH_HAS_TARGETS
#define FULLGRAPH_RUN(body, T, ...)                                                                 \
    FULLGRAPH_V4 static void run_v4(const __VA_ARGS__& k, const Task& task, Scratch<T>& scratch, T* att) { \
        body<64>(k, task, scratch, att);                                                            \
    }                                                                                               \
    FULLGRAPH_V3 static void run_v3(const __VA_ARGS__& k, const Task& task, Scratch<T>& scratch, T* att) { \
        body<32>(k, task, scratch, att);                                                            \
    }                                                                                               \
    static void run(const __VA_ARGS__& k, const Task& task, Scratch<T>& scratch, T* att) {                 \
        if (register_bytes() == 64) return run_v4(k, task, scratch, att);                           \
        if (register_bytes() == 32) return run_v3(k, task, scratch, att);                           \
        body<16>(k, task, scratch, att);                                                            \
    }
#else
#define FULLGRAPH_RUN(body, T, ...) FULLGRAPH_RUN_PLAINLY(body, T, __VA_ARGS__)
#endif

// The same for one width everywhere: for double, whose exp is a call anyway and which is there to check float against.
#define FULLGRAPH_RUN_PLAINLY(body, T, ...)                                         \
    static void run(const __VA_ARGS__& k, const Task& task, Scratch<T>& scratch, T* att) { \
        body<16>(k, task, scratch, att);                                            \
    }

// How the kernels use threads: tasks numbered 0 … n - 1, handed out on demand to torch's OpenMP threads.
//
// ThreadSanitizer does not see the barriers of libgomp and would report every kernel. Built with FULLGRAPH_STD_THREADS (`make
// sanitize` does so), the same tasks run on std::thread, whose synchronisation it understands.
#pragma once

#include <cstdint>

#ifdef FULLGRAPH_STD_THREADS
#include <atomic>
#include <thread>
#include <vector>
#endif

namespace fullgraph {

// Calls `run(task)` once for every task below `num_tasks`, in any order, on up to `num_threads` threads; returns when all are done.
template <class Run>
void for_tasks(std::int64_t num_tasks, int num_threads, const Run& run) {
#ifdef FULLGRAPH_STD_THREADS
    std::atomic<std::int64_t> next{0};
    const auto drain = [&] {
        for (std::int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < num_tasks;) run(task);
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < num_threads; ++i) threads.emplace_back(drain);
    drain();
    for (std::thread& thread : threads) thread.join();
#else
#pragma omp parallel for schedule(dynamic, 1) num_threads(num_threads)
    for (std::int64_t task = 0; task < num_tasks; ++task) run(task);
#endif
}

}  // namespace fullgraph

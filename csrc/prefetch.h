// Asks for the source rows of coming entries: their addresses are random, so no hardware prefetcher finds them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "clones.h"

namespace fullgraph {

// How many entries ahead, for rows (or tiles of rows) of `bytes` each. Measured on rows of 256 B to 1 KiB in main memory: the
// time falls until about 8 KiB are under way, by up to a third against 2 KiB, and is flat to 16 KiB.
constexpr std::int64_t prefetch_entries(std::int64_t bytes) { return std::clamp<std::int64_t>(12288 / bytes, 8, 64); }

// The same pointer, of unknown origin: keeps the compiler from splitting the addresses within a row into sums of loop
// invariants, which would take more registers than there are.
template <class T>
FULLGRAPH_INLINE const T* opaque(const T* pointer) {
    asm("" : "+r"(pointer));
    return pointer;
}

// Asks for `bytes` from `from` on.
template <std::int64_t bytes, class T>
FULLGRAPH_INLINE void prefetch(const T* from) {
    const char* line = opaque(reinterpret_cast<const char*>(from));
    for (std::int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(line + byte);
}

}  // namespace fullgraph

// How much of a block's source rows the last-level cache can hold: what decides whether features are tiled.
#pragma once

#include <cstdint>

namespace fullgraph {

// Bytes of the last-level cache that the first core sees; 32 MiB where the system does not say.
std::int64_t last_level_cache_bytes();

}  // namespace fullgraph

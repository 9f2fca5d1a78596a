// Reads the size of the last-level cache once, from where each system keeps it.
#include "cache.h"

#include <fstream>
#include <string>
#include <unistd.h>

namespace fullgraph {
namespace {

// Linux describes each cache in sysfs ("32768K"). It comes before sysconf, which in a virtual machine can report the sum over
// a socket that this machine sees only a part of.
std::int64_t bytes_from_sysfs() {
    for (int index = 4; index >= 2; --index) {
        std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size");
        std::int64_t size = 0;
        char unit = 'K';
        if (file >> size) {
            file >> unit;
            return size * (unit == 'M' ? 1 << 20 : 1 << 10);
        }
    }
    return 0;
}

std::int64_t bytes_from_sysconf() {
#ifdef _SC_LEVEL3_CACHE_SIZE
    return static_cast<std::int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE));
#else
    return 0;
#endif
}

}  // namespace

std::int64_t last_level_cache_bytes() {
    static const std::int64_t bytes = [] {
        std::int64_t found = bytes_from_sysfs();
        if (found <= 0) found = bytes_from_sysconf();
        return found > 0 ? found : std::int64_t{32} << 20;
    }();
    return bytes;
}

}  // namespace fullgraph

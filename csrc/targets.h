// One kernel, three vector widths: which one this machine runs is decided once, when the extension is loaded.
//
// clones.h lets the compiler vectorise a loop for several targets. A kernel that keeps its accumulators in registers must
// know how wide a register is, so it is a template over the bytes of one, instantiated inside functions of a fixed target.
// x86-64-v2 adds nothing to v1 that a sum of rows could use, so the plain build serves both.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "clones.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FULLGRAPH_HAS_TARGETS 1
#define FULLGRAPH_V3 __attribute__((target("arch=x86-64-v3")))
#define FULLGRAPH_V4 __attribute__((target("arch=x86-64-v4,prefer-vector-width=512")))
#else
#define FULLGRAPH_HAS_TARGETS 0
#endif

namespace fullgraph {

// Bytes of the widest vector register that kernels may use here. FULLGRAPH_REGISTER_BYTES in the environment (16 or 32) asks for
// narrower ones, so that every build can be tested on one machine.
inline int register_bytes() {
#if FULLGRAPH_HAS_TARGETS
    static const int bytes = [] {
        const int widest = __builtin_cpu_supports("x86-64-v4") ? 64 : __builtin_cpu_supports("x86-64-v3") ? 32 : 16;
        const char* asked = std::getenv("FULLGRAPH_REGISTER_BYTES");
        return asked && std::atoi(asked) >= 32 ? std::min(widest, 32) : asked ? 16 : widest;
    }();
    return bytes;
#else
    return 16;
#endif
}

}  // namespace fullgraph

// Defines run(kernel, rows) as body<bytes>(kernel, rows) compiled for the widest register of this machine.
#if FULLGRAPH_HAS_TARGETS
#define FULLGRAPH_PER_TARGET(Kernel, body)                                                             \
    FULLGRAPH_V4 void run_v4(const Kernel& k, const Kernel::Rows& rows) { body<64>(k, rows); }         \
    FULLGRAPH_V3 void run_v3(const Kernel& k, const Kernel::Rows& rows) { body<32>(k, rows); }         \
    void run(const Kernel& k, const Kernel::Rows& rows) {                                              \
        if (register_bytes() == 64) run_v4(k, rows);                                                   \
        else if (register_bytes() == 32) run_v3(k, rows);                                              \
        else body<16>(k, rows);                                                                        \
    }
#else
#define FULLGRAPH_PER_TARGET(Kernel, body) \
    void run(const Kernel& k, const Kernel::Rows& rows) { body<16>(k, rows); }
#endif

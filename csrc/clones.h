// Picks the vector width at load time: one binary carries each kernel for plain x86-64, AVX2 and AVX-512.
//
// A kernel is written once as an always-inlined template and instantiated by plain overloads marked FULLGRAPH_CLONES, one
// per dtype. The mark belongs on the function that a thread calls for its range of rows: what OpenMP outlines from a
// parallel region does not inherit it.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(FULLGRAPH_NO_CLONES)
#define FULLGRAPH_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FULLGRAPH_CLONES
#endif

#define FULLGRAPH_INLINE __attribute__((always_inline)) inline

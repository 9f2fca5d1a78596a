// Numbers without their zeros: a bit per number that says whether it is there, and those that are. After a ReLU half of all
// numbers are zero, after dropout too three quarters; none of them has to travel.
//
// A number is zero if all its bits are, so -0.0 stays what it is, and NaN too. Marking and packing share the numbers out in words
// of 64, each written by one thread. Unpacking runs backward in the memory that holds the packed values at its front: a value
// never moves to the left, so what is still to be read is never overwritten. That takes no second copy, and is why one thread
// does it, in up to three times the time of a copy.
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "arrays.h"
#include "clones.h"

namespace fullgraph {
namespace {

constexpr std::int64_t word_bits = 64;
constexpr std::int64_t task_words = 1 << 10;

template <class T>
struct Numbers {
    T* numbers;  // [size], unsigned integers as wide as the numbers
    std::int64_t size;

    T* of_word(std::int64_t word) const { return numbers + word * word_bits; }
    std::int64_t length_of_word(std::int64_t word) const { return std::min(word_bits, size - word * word_bits); }
};

template <class T>
FULLGRAPH_INLINE void mark_words(const Numbers<const T>& k, std::uint64_t* bits, std::int64_t first, std::int64_t last) {
    for (std::int64_t word = first; word < last; ++word) {
        const T* __restrict x = k.of_word(word);
        std::uint8_t is_there[word_bits] = {};
        if (k.length_of_word(word) == word_bits) {
            for (std::int64_t i = 0; i < word_bits; ++i) is_there[i] = x[i] != 0;
        } else {
            for (std::int64_t i = 0; i < k.length_of_word(word); ++i) is_there[i] = x[i] != 0;
        }
        std::uint64_t marks = 0;
        for (std::int64_t i = 0; i < word_bits; i += 8) {
            std::uint64_t eight = 0;
            for (std::int64_t j = 0; j < 8; ++j) eight |= std::uint64_t{is_there[i + j]} << (8 * j);
            marks |= ((eight * 0x0102040810204080u) >> 56) << i;  // moves bit 8 j to bit 56 + j
        }
        bits[word] = marks;
    }
}

template <class T>
FULLGRAPH_INLINE void pack_words(const Numbers<const T>& k, const std::uint64_t* bits, T* values, std::int64_t first,
                                 std::int64_t last) {
    for (std::int64_t word = first; word < last; ++word) {
        const T* __restrict x = k.of_word(word);
        for (std::uint64_t marks = bits[word]; marks; marks &= marks - 1) *values++ = x[std::countr_zero(marks)];
    }
}

// How many numbers are there before each task's words, and last of all how many there are.
FULLGRAPH_CLONES void count_words(const std::uint64_t* bits, std::int64_t words, std::int64_t* starts) {
    std::int64_t count = 0;
    for (std::int64_t word = 0; word < words; ++word) {
        if (word % task_words == 0) *starts++ = count;
        count += std::popcount(bits[word]);
    }
    *starts = count;
}

template <class T>
FULLGRAPH_INLINE void unpack_words(const Numbers<T>& k, const std::uint64_t* bits, std::int64_t words, std::int64_t count) {
    T values[word_bits];
    for (std::int64_t word = words; word-- > 0;) {
        const std::int64_t here = std::popcount(bits[word]);
        count -= here;
        std::memcpy(values, k.numbers + count, static_cast<std::size_t>(here) * sizeof(T));
        T* const out = k.of_word(word);
        std::fill_n(out, k.length_of_word(word), T(0));
        const T* next = values;
        for (std::uint64_t marks = bits[word]; marks; marks &= marks - 1) out[std::countr_zero(marks)] = *next++;
    }
}

using Bits16 = std::uint16_t;
using Bits32 = std::uint32_t;
using Bits64 = std::uint64_t;

#define FULLGRAPH_NONZERO(T)                                                                                                  \
    FULLGRAPH_CLONES void mark(const Numbers<const T>& k, Bits64* bits, std::int64_t first, std::int64_t last) {             \
        mark_words(k, bits, first, last);                                                                                     \
    }                                                                                                                         \
    FULLGRAPH_CLONES void pack(const Numbers<const T>& k, const Bits64* bits, T* values, std::int64_t first,                 \
                               std::int64_t last) {                                                                           \
        pack_words(k, bits, values, first, last);                                                                             \
    }                                                                                                                         \
    FULLGRAPH_CLONES void unpack(const Numbers<T>& k, const Bits64* bits, std::int64_t words, std::int64_t count) {          \
        unpack_words(k, bits, words, count);                                                                                  \
    }
FULLGRAPH_NONZERO(Bits16)
FULLGRAPH_NONZERO(Bits32)
FULLGRAPH_NONZERO(Bits64)

// Per task of words and once more: how many numbers are there before it.
std::vector<std::int64_t> starts_of(const std::uint64_t* bits, std::int64_t words) {
    std::vector<std::int64_t> starts(static_cast<std::size_t>((words + task_words - 1) / task_words + 1));
    count_words(bits, words, starts.data());
    return starts;
}

template <class T>
std::int64_t mark_nonzero(In<T, 1> numbers, Out<std::uint64_t, 1> bits, int num_threads) {
    const Numbers<const T> k{numbers.data(), static_cast<std::int64_t>(numbers.shape(0))};
    const auto words = static_cast<std::int64_t>(bits.shape(0));
    const nb::gil_scoped_release release;
    for_equal_ranges(words, word_bits, num_threads,
                     [&](std::int64_t first, std::int64_t last) { mark(k, bits.data(), first, last); });
    return starts_of(bits.data(), words).back();
}

template <class T>
void pack_nonzero(In<T, 1> numbers, In<std::uint64_t, 1> bits, Out<T, 1> values, int num_threads) {
    const Numbers<const T> k{numbers.data(), static_cast<std::int64_t>(numbers.shape(0))};
    const auto words = static_cast<std::int64_t>(bits.shape(0));
    const nb::gil_scoped_release release;
    const std::vector<std::int64_t> starts = starts_of(bits.data(), words);
    const auto tasks = static_cast<std::int64_t>(starts.size()) - 1;
    for_equal_ranges(tasks, task_words * word_bits, num_threads, [&](std::int64_t first, std::int64_t last) {
        if (first == last) return;
        T* const place = values.data() + starts[static_cast<std::size_t>(first)];
        pack(k, bits.data(), place, first * task_words, std::min(last * task_words, words));
    });
}

template <class T>
void unpack_nonzero(In<std::uint64_t, 1> bits, Out<T, 1> numbers) {
    const Numbers<T> k{numbers.data(), static_cast<std::int64_t>(numbers.shape(0))};
    const auto words = static_cast<std::int64_t>(bits.shape(0));
    const nb::gil_scoped_release release;
    unpack(k, bits.data(), words, starts_of(bits.data(), words).back());
}

template <class T>
void bind(nb::module_& m) {
    m.def("mark_nonzero", &mark_nonzero<T>, "numbers"_a.noconvert(), "bits"_a.noconvert(), "num_threads"_a);
    m.def("pack_nonzero", &pack_nonzero<T>, "numbers"_a.noconvert(), "bits"_a.noconvert(), "values"_a.noconvert(),
          "num_threads"_a);
    m.def("unpack_nonzero", &unpack_nonzero<T>, "bits"_a.noconvert(), "numbers"_a.noconvert());
}

}  // namespace

void bind_nonzero(nb::module_& m) {
    bind<Bits16>(m);
    bind<Bits32>(m);
    bind<Bits64>(m);
}

}  // namespace fullgraph

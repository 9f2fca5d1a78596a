// What all attention kernels share, whatever the score: the edges of a block, and one chunk of a row's edges at a time.
//
// What is computed per edge and head lies in planes [heads][chunk], so that loops over edges are contiguous and vectorise, and
// nothing larger than chunk × heads exists. Chunks start at the row's first edge (or a hub segment's): the order of every sum is
// fixed by the block alone. Rows with few edges are done several at a time where the score allows it, see attention_light.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "arrays.h"
#include "clones.h"
#include "exponential.h"
#include "keep.h"

namespace fullgraph {

constexpr std::int64_t chunk_entries = 32;  // its rows, and the next chunk's on their way, fit the first-level cache or nearly

template <class T>
struct Edges {
    Csr csr;
    const T* bias;                  // [num_edges, num_heads] or null
    const std::int64_t* edge_keys;  // [num_edges] or null: no dropout
    Keep keep;
    T keep_scale;  // 1 / (1 - p)
    std::int64_t num_heads, channels;

    std::int64_t width() const { return num_heads * channels; }
    std::int64_t entry_work() const { return num_heads * (channels + 16); }
    std::int64_t plane() const { return num_heads * chunk_entries; }
};

// Rows by heads: [num_rows, num_heads, channels], or [num_rows, 1, channels] where all heads have the same.
template <class T>
struct HeadRows {
    const T* data;
    std::int64_t width;   // of a row
    std::int64_t stride;  // from one head to the next; 0 where they share

    FULLGRAPH_INLINE const T* at(std::int64_t row, std::int64_t h) const { return data + row * width + h * stride; }
};

template <class T>
HeadRows<T> head_rows(const In<T, 3>& rows) {
    const auto heads = static_cast<std::int64_t>(rows.shape(1)), channels = static_cast<std::int64_t>(rows.shape(2));
    return {rows.data(), heads * channels, heads > 1 ? channels : 0};
}

// Asks for `width` numbers from `from` on.
template <class T>
FULLGRAPH_INLINE void prefetch_numbers(const T* from, std::int64_t width) {
    const char* line = reinterpret_cast<const char*>(from);
    for (std::int64_t byte = 0; byte < width * static_cast<std::int64_t>(sizeof(T)); byte += 64) __builtin_prefetch(line + byte);
}

// One chunk: its entries, and for each what is looked up more than once. Entries from `count` to `padded` repeat the last one, so
// that whole vectors of edges can be computed; whoever sums over edges gives them the weight 0.
//
// `ahead` are the columns that come one chunk later, in this row or a coming one: a loop asks for their rows while it works on
// this chunk's, one piece per edge, so that memory and arithmetic overlap.
struct Chunk {
    std::int64_t row, begin, count, padded;
    std::int64_t column[chunk_entries], ahead[chunk_entries];

    FULLGRAPH_INLINE Chunk(const Csr& csr, std::int64_t row_, std::int64_t begin_, std::int64_t end, std::int64_t multiple)
        : row(row_), begin(begin_), count(std::min(chunk_entries, end - begin_)), padded((count + multiple - 1) / multiple * multiple) {
        for (std::int64_t e = 0; e < count; ++e) column[e] = csr.indices[begin + e];
        for (std::int64_t e = count; e < padded; ++e) column[e] = column[count - 1];
        const std::int64_t known = std::clamp<std::int64_t>(csr.indptr[csr.num_rows] - begin - chunk_entries, 0, count);
        for (std::int64_t e = 0; e < known; ++e) ahead[e] = csr.indices[begin + chunk_entries + e];
        for (std::int64_t e = known; e < padded; ++e) ahead[e] = column[count - 1];  // nothing new to ask for
    }

    // Asks for `width` numbers of edge e's row one chunk ahead.
    template <class T>
    FULLGRAPH_INLINE void prefetch(const T* rows, std::int64_t stride, std::int64_t width, std::int64_t e) const {
        prefetch_numbers(rows + ahead[e] * stride, width);
    }
    template <class T>
    FULLGRAPH_INLINE void prefetch_all(const T* rows, std::int64_t stride, std::int64_t width) const {
        for (std::int64_t e = 0; e < count; ++e) prefetch(rows, stride, width, e);
    }
};

// Four vectors of four, transposed.
template <class T>
struct Transposed {
    typedef T Four __attribute__((vector_size(4 * sizeof(T))));
    Four row[4];
    FULLGRAPH_INLINE explicit Transposed(const Four (&r)[4]) {
        const Four low01 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), high01 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
        const Four low23 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5), high23 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
        row[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
        row[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
        row[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
        row[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
    }
};

// Asks for the rows one chunk ahead while loops over (head, edge) work on this chunk's: each step asks for one head's part of a
// row, all parts of a row in a row, so that memory opens it once.
template <class T>
struct RowsAhead {
    const Chunk& chunk;
    HeadRows<T> rows;
    std::int64_t heads, channels;
    std::int64_t edge = 0, part = 0;

    FULLGRAPH_INLINE void step() {
        prefetch_numbers(rows.at(chunk.ahead[edge], part), channels);
        if (++part == heads) {
            part = 0;
            ++edge;
        }
    }
};

// planes[h][e] = rows[column of e][h], from rows [num_columns, stride]: a transpose, four heads of four edges at a time. Not
// inlined: it is the same for every vector width and shape.
template <class T>
[[gnu::noinline]] void gather_planes(const Chunk& chunk, const T* rows, std::int64_t stride, std::int64_t heads, T* planes) {
    using Four = typename Transposed<T>::Four;
    std::int64_t h = 0;
    for (; h + 4 <= heads; h += 4) {
        for (std::int64_t e = 0; e < chunk.padded; e += 4) {
            Four r[4];
            for (int i = 0; i < 4; ++i) std::memcpy(&r[i], rows + chunk.column[e + i] * stride + h, sizeof r[i]);
            const Transposed<T> out(r);
            for (int i = 0; i < 4; ++i) std::memcpy(planes + (h + i) * chunk_entries + e, &out.row[i], sizeof out.row[i]);
        }
    }
    for (; h < heads; ++h) {
        for (std::int64_t e = 0; e < chunk.padded; ++e) planes[h * chunk_entries + e] = rows[chunk.column[e] * stride + h];
    }
}

// rows[column of e][h] += planes[h][e], into rows [num_columns, heads]: `gather_planes` the other way round. A column may occur
// more than once in a chunk, so edges are added one after another.
template <class T>
[[gnu::noinline]] void scatter_planes(const Chunk& chunk, const T* planes, std::int64_t heads, T* rows) {
    using Four = typename Transposed<T>::Four;
    std::int64_t h = 0;
    for (; h + 4 <= heads; h += 4) {
        for (std::int64_t e = 0; e < chunk.padded; e += 4) {
            Four r[4];
            for (int i = 0; i < 4; ++i) std::memcpy(&r[i], planes + (h + i) * chunk_entries + e, sizeof r[i]);
            const Transposed<T> out(r);
            for (int i = 0; i < 4; ++i) {
                T* to = rows + chunk.column[e + i] * heads + h;
                Four sum;
                std::memcpy(&sum, to, sizeof sum);
                sum += out.row[i];
                std::memcpy(to, &sum, sizeof sum);
            }
        }
    }
    for (; h < heads; ++h) {
        for (std::int64_t e = 0; e < chunk.count; ++e) rows[chunk.column[e] * heads + h] += planes[h * chunk_entries + e];
    }
}

// raw += bias, for head h.
template <class T>
FULLGRAPH_INLINE void add_bias(const Edges<T>& edges, const Chunk& chunk, std::int64_t h, T* __restrict raw) {
    if (!edges.bias) return;
    for (std::int64_t e = 0; e < chunk.count; ++e) raw[e] += edges.bias[edges.csr.edge(chunk.begin + e) * edges.num_heads + h];
}

// factor[e] = keep / (1 - p) for head h, 1 without dropout.
template <class T>
FULLGRAPH_INLINE void fill_keep(const Edges<T>& edges, const Chunk& chunk, std::int64_t h, T* __restrict factor) {
    if (!edges.edge_keys) {
        std::fill_n(factor, chunk.padded, T(1));
        return;
    }
    for (std::int64_t e = 0; e < chunk.count; ++e) {
        factor[e] = edges.keep(edges.edge_keys[edges.csr.edge(chunk.begin + e)], h) ? edges.keep_scale : T(0);
    }
    std::fill(factor + chunk.count, factor + chunk.padded, T(0));
}

// What the bound functions take after the arrays: the same tail for every kernel.
template <class T>
struct EdgeArguments {
    std::optional<In<T, 2>> bias;
    EdgeIds edge_ids;
    EdgeKeys edge_keys;  // none without dropout
    std::uint64_t key, threshold;
    double keep_scale;
};

template <class T>
Edges<T> edges_of(const Indptr& indptr, const Indices& indices, const EdgeArguments<T>& arguments, const In<T, 3>& rows) {
    return {csr_of(indptr, indices, arguments.edge_ids),
            data_or_null(arguments.bias),
            data_or_null(arguments.edge_keys),
            {arguments.key, arguments.threshold},
            static_cast<T>(arguments.keep_scale),
            static_cast<std::int64_t>(rows.shape(1)),
            static_cast<std::int64_t>(rows.shape(2))};
}

// Binds `function` under `name`, taking every array as it is: a converted output would be a copy, and the result lost. The
// arguments are nameless; the ops in src/fullgraph/ops give them names and pass them in order.
template <class Argument>
constexpr auto exact_argument() {
    if constexpr (std::is_arithmetic_v<Argument>) return nb::arg();
    else if constexpr (std::is_constructible_v<Argument, std::nullopt_t>) return nb::arg().noconvert().none();
    else return nb::arg().noconvert();
}

template <class... Arguments>
void bind_exactly(nb::module_& m, const char* name, void (*function)(Arguments...)) {
    m.def(name, function, exact_argument<Arguments>()...);
}

}  // namespace fullgraph

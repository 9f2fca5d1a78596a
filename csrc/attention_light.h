// Light rows, which have few edges: several at a time, where a score is a number per row, column and head (GAT's).
//
// A rank's edges are cut into a block for every round of foreign rows, and there most rows have one to four edges. Taken row by
// row, vectors of edges would be nearly empty: padding, and not edges, would be most of the work. Here edges of consecutive rows
// lie side by side, [entry][head], so that vectors are full whatever row an edge is of; and a row's sums are read, scaled and
// written once. Heavier rows do without this: what belongs to their row stays in registers over all of their edges.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "attention.h"
#include "attention_vectors.h"
#include "vectors.h"

namespace fullgraph {

// A row of more entries fills vectors by itself.
constexpr std::int64_t light_entries = 12;

inline bool is_light(const Csr& csr, std::int64_t row) { return csr.indptr[row + 1] - csr.indptr[row] <= light_entries; }

// Consecutive light rows that have at most `chunk_entries` entries together. Columns and rows of the last entry are repeated
// after it, so that whole vectors can be computed; the results for these are not used.
//
// `row_ahead` and `column_ahead` are those of the rows and entries that come next: loops ask for them while they work on these.
struct LightRows {
    std::int64_t next, begin;                                   // the first row after them, the first entry of theirs
    std::int64_t num_entries = 0, num_rows = 0;                 // rows without entries do not count
    std::int64_t row[chunk_entries], first[chunk_entries + 1];  // per row: which, and the place of its first entry here
    std::int64_t row_ahead[chunk_entries];
    std::int64_t row_of[chunk_entries], column[chunk_entries], column_ahead[chunk_entries];  // per entry

    FULLGRAPH_INLINE LightRows(const Csr& csr, std::int64_t first_row, std::int64_t last_row)
        : next(first_row), begin(csr.indptr[first_row]) {
        for (; next < last_row && is_light(csr, next); ++next) {
            const std::int64_t more = csr.indptr[next + 1] - begin;
            if (more > chunk_entries) break;
            if (more == num_entries) continue;
            row[num_rows] = next;
            first[num_rows++] = num_entries;
            while (num_entries < more) row_of[num_entries++] = next;
        }
        first[num_rows] = num_entries;
        if (num_entries == 0) return;
        for (std::int64_t e = 0; e < num_entries; ++e) column[e] = csr.indices[begin + e];
        const std::int64_t known = std::min(csr.indptr[csr.num_rows] - begin - num_entries, num_entries);
        for (std::int64_t e = 0; e < known; ++e) column_ahead[e] = csr.indices[begin + num_entries + e];
        std::fill(column_ahead + known, column_ahead + num_entries, column[num_entries - 1]);  // nothing new to ask for
        std::int64_t coming = 0;
        for (std::int64_t later = next; later < last_row && coming < num_rows; ++later) {
            if (csr.indptr[later] < csr.indptr[later + 1]) row_ahead[coming++] = later;
        }
        std::fill(row_ahead + coming, row_ahead + num_rows, row[0]);
        std::fill(row_of + num_entries, row_of + chunk_entries, row_of[num_entries - 1]);
        std::fill(column + num_entries, column + chunk_entries, column[num_entries - 1]);
    }

    // How many numbers per head and entry are computed: whole vectors.
    template <class S>
    FULLGRAPH_INLINE std::int64_t padded(const S&, std::int64_t heads) const {
        return (num_entries * heads + S::lanes - 1) / S::lanes * S::lanes;
    }

    // Asks for `width` numbers of each column of the entries that come next, of `columns` [num_columns, stride].
    template <class T>
    FULLGRAPH_INLINE void prefetch_columns(const T* columns, std::int64_t stride, std::int64_t width) const {
        for (std::int64_t e = 0; e < num_entries; ++e) prefetch_numbers(columns + column_ahead[e] * stride, width);
    }
    // The same for all numbers of as many entries as row number r has, so that memory and arithmetic overlap.
    template <class T>
    FULLGRAPH_INLINE void prefetch_columns_of(std::int64_t r, const HeadRows<T>& columns) const {
        for (std::int64_t e = first[r]; e < first[r + 1]; ++e) prefetch_numbers(columns.at(column_ahead[e], 0), columns.width);
    }
    // Asks for one of the rows that come next, of `rows` [num_rows, width].
    template <class T>
    FULLGRAPH_INLINE void prefetch_row(std::int64_t r, const T* rows, std::int64_t width) const {
        prefetch_numbers(rows + row_ahead[r] * width, width);
    }
};

// Reads, changes and writes numbers per head: four heads at once, then one by one. `use` takes the head and a zero of the type
// that holds as many.
template <class T, class Use>
FULLGRAPH_INLINE void each_head(std::int64_t heads, const Use& use) {
    std::int64_t h = 0;
    for (; h + 4 <= heads; h += 4) use(h, typename Transposed<T>::Four{});
    for (; h < heads; ++h) use(h, T{});
}

template <class V, class T>
FULLGRAPH_INLINE void store(T* to, V value) {
    std::memcpy(to, &value, sizeof value);
}

// values[entry][head] = columns[column of entry][head], from columns [num_columns, stride].
template <class T>
FULLGRAPH_INLINE void gather(const LightRows& rows, std::int64_t heads, const T* columns, std::int64_t stride,
                             T* __restrict values) {
    for (std::int64_t e = 0; e < rows.num_entries; ++e) {
        each_head<T>(heads, [&]<class V>(std::int64_t h, V) FULLGRAPH_LAMBDA_INLINE {
            store(values + e * heads + h, load<V>(columns + rows.column[e] * stride + h));
        });
    }
}

// raw[entry][head] = row score + column score + bias.
template <class T>
FULLGRAPH_INLINE void raw_scores(const LightRows& rows, const Edges<T>& edges, const T* row_score, const T* column_score,
                                 std::int64_t stride, T* __restrict raw) {
    const std::int64_t heads = edges.num_heads;
    for (std::int64_t e = 0; e < rows.num_entries; ++e) {
        each_head<T>(heads, [&]<class V>(std::int64_t h, V) FULLGRAPH_LAMBDA_INLINE {
            V score = load<V>(row_score + rows.row_of[e] * heads + h) + load<V>(column_score + rows.column[e] * stride + h);
            if (edges.bias) score += load<V>(edges.bias + edges.csr.edge(rows.begin + e) * heads + h);
            store(raw + e * heads + h, score);
        });
    }
}

// factor[entry][head] = keep / (1 - p), for a block with dropout.
template <class T>
FULLGRAPH_INLINE void keep_factors(const LightRows& rows, const Edges<T>& edges, T* __restrict factor) {
    for (std::int64_t e = 0; e < rows.num_entries; ++e) {
        const std::int64_t edge_key = edges.edge_keys[edges.csr.edge(rows.begin + e)];
        for (std::int64_t h = 0; h < edges.num_heads; ++h) {
            factor[e * edges.num_heads + h] = edges.keep(edge_key, h) ? edges.keep_scale : T(0);
        }
    }
}

// The dot of two heads' channels, lane by lane.
template <class S>
FULLGRAPH_INLINE typename S::V partial_dot(const S& shape, const typename S::T* left, const typename S::T* right) {
    using V = typename S::V;
    V sum{};
    if constexpr (S::fixed > 0) {
        each(shape, [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE {
            sum += read<S>(left + shape.at(n)) * read<S>(right + shape.at(n));
        });
    } else {
        const std::int64_t last = shape.size() - 1;
        for (std::int64_t n = 0; n < last; ++n) sum += read<S>(left + shape.at(n)) * read<S>(right + shape.at(n));
        typename S::T counts[S::lanes];  // the last vector's lanes that the one before it has not
        for (std::int64_t lane = 0; lane < S::lanes; ++lane) counts[lane] = lane >= shape.overlap() ? 1 : 0;
        sum += (read<S>(counts) > V{} ? read<S>(left + shape.at(last)) : V{}) * read<S>(right + shape.at(last));
    }
    return sum;
}

// dots[entry][head] = <left(row of entry), right(column of entry)>.
template <class S, class T>
FULLGRAPH_INLINE void fill_dots(const S& shape, const LightRows& rows, std::int64_t heads, const HeadRows<T>& left,
                                const HeadRows<T>& right, T* __restrict dots) {
    std::int64_t e = 0, h = 0;
    sum_lanes(shape, rows.padded(shape, heads), dots, [&](std::int64_t) FULLGRAPH_LAMBDA_INLINE {  // called in order
        const auto sum = partial_dot(shape, left.at(rows.row_of[e], h), right.at(rows.column[e], h));
        if (++h == heads) {
            h = 0;
            ++e;
        }
        return sum;
    });
}

// to [heads, channels] = scale(h) * to + sum over the entries e of row number r of weight[e][h] * columns(column of e).
template <class S, class T, class Scale>
FULLGRAPH_INLINE void add_few(const S& shape, const LightRows& rows, std::int64_t r, std::int64_t heads, const T* weight,
                              const Scale& scale, const HeadRows<T>& columns, T* to) {
    using V = typename S::V;
    const std::int64_t first = rows.first[r], last = rows.first[r + 1];
    if constexpr (heads_of_registers<S> > 0) {
        constexpr int whole = heads_of_registers<S>, registers = whole * S::fixed;
        if (heads == whole) {
            V sum[registers];
            for (int n = 0; n < registers; ++n) sum[n] = scale(n / S::fixed) * read<S>(to + n * S::lanes);
            for (std::int64_t e = first; e < last; ++e) {
                for (int n = 0; n < registers; ++n) {
                    const T* x = columns.at(rows.column[e], n / S::fixed) + n % S::fixed * S::lanes;
                    sum[n] += weight[e * whole + n / S::fixed] * read<S>(x);
                }
            }
            for (int n = 0; n < registers; ++n) store(to + n * S::lanes, sum[n]);
            return;
        }
    }
    for (std::int64_t h = 0; h < heads; ++h) {
        const auto piece = [&](std::int64_t n) FULLGRAPH_LAMBDA_INLINE {
            V sum = scale(h) * read<S>(to + h * shape.width() + shape.at(n));
            for (std::int64_t e = first; e < last; ++e) {
                sum += weight[e * heads + h] * read<S>(columns.at(rows.column[e], h) + shape.at(n));
            }
            return sum;
        };
        const V overlapping = piece(shape.size() - 1);  // before any of its lanes is written
        for (std::int64_t n = 0; n + 1 < shape.size(); ++n) store(to + h * shape.width() + shape.at(n), piece(n));
        store(to + h * shape.width() + shape.at(shape.size() - 1), overlapping);
    }
}

}  // namespace fullgraph

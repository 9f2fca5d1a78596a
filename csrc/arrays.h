// The array types of the extension's signatures: CPU, C order, exactly the named dtype and rank, never converted or copied.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <cstdint>
#include <optional>

#include "csr.h"

namespace fullgraph {

namespace nb = nanobind;
using namespace nb::literals;

template <class T, int rank>
using In = nb::ndarray<const T, nb::ndim<rank>, nb::c_contig, nb::device::cpu>;
template <class T, int rank>
using Out = nb::ndarray<T, nb::ndim<rank>, nb::c_contig, nb::device::cpu>;

using Indptr = In<std::int64_t, 1>;
using Indices = In<std::int32_t, 1>;
using EdgeIds = std::optional<In<std::int32_t, 1>>;
using EdgeKeys = std::optional<In<std::int64_t, 1>>;

template <class Array>
auto data_or_null(const std::optional<Array>& array) {
    return array ? array->data() : nullptr;
}

inline Csr csr_of(const Indptr& indptr, const Indices& indices, const EdgeIds& edge_ids) {
    return {indptr.data(), indices.data(), data_or_null(edge_ids), static_cast<std::int64_t>(indptr.shape(0)) - 1};
}

}  // namespace fullgraph

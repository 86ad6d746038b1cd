#pragma once

#include <pybind11/numpy.h>
#include <pybind11/typing.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "als/reducer.h"
#include "bindings/device_matrix.h"

namespace cofactor::bindings {

using Reduce = pybind11::typing::Callable<void(
    pybind11::typing::Union<pybind11::array_t<double>, DeviceMatrix>)>;
using Exchange =
    pybind11::typing::Callable<pybind11::typing::List<pybind11::bytes>(pybind11::bytes)>;

/// Processes that Python reaches. The sums are handed over where they lie.
class PyReducer final : public Reducer {
 public:
  PyReducer(std::optional<Reduce> reduce, std::optional<Exchange> exchange, Memory memory)
      : reduce_(std::move(reduce)), exchange_(std::move(exchange)), memory_(memory) {}

  /// What keeps the sums alive; there is none before the first pass.
  void set_owner(pybind11::handle owner) { owner_ = owner; }

  [[nodiscard]] bool adds() const override { return reduce_.has_value(); }
  [[nodiscard]] Memory memory() const override { return memory_; }
  void all_reduce(const PassSums& sums) override {
    if (!reduce_) return;
    const pybind11::gil_scoped_acquire gil;
    // A message that fails may still be under way, so that the array must outlive the call.
    const std::int64_t size = std::ssize(sums.numbers);
    if (sums.memory == Memory::kHost) {
      (*reduce_)(pybind11::array_t<double>(size, sums.numbers.data(), owner_));
      return;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(sums.numbers.data());
    const auto owner = pybind11::reinterpret_borrow<pybind11::object>(owner_);
    (*reduce_)(DeviceMatrix::at(address, 1, size, size, "float64", sums.device, true, owner));
  }
  [[nodiscard]] std::vector<Bytes> gather(const Bytes& own) override {
    if (!exchange_) return {own};
    const pybind11::gil_scoped_acquire gil;
    const pybind11::bytes given(reinterpret_cast<const char*>(own.data()), own.size());
    std::vector<Bytes> parts;
    for (const pybind11::handle part : (*exchange_)(given)) {
      const auto bytes =
          std::as_bytes(std::span(std::string_view(pybind11::cast<pybind11::bytes>(part))));
      parts.emplace_back(bytes.begin(), bytes.end());
    }
    return parts;
  }

 private:
  std::optional<Reduce> reduce_;
  std::optional<Exchange> exchange_;
  Memory memory_;
  pybind11::handle owner_;
};

}  // namespace cofactor::bindings

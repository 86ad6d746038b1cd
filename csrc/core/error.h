#pragma once

#include <stdexcept>
#include <string>

namespace cofactor {

/// What kind of mistake an error reports; the bindings translate each to one Python exception.
enum class ErrorKind {
  kValue,        ///< a number, shape or name that cannot be used (ValueError)
  kType,         ///< an object of the wrong kind (TypeError)
  kUnavailable,  ///< a feature that this build or machine lacks (RuntimeError)
  kMemory,       ///< memory that a device does not have (MemoryError)
  kFile,         ///< a file that cannot be read or written (OSError)
};

/// The only exception type that the core throws on purpose.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace cofactor

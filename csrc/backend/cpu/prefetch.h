#pragma once

#include <cstdint>

namespace cofactor::cpu {
namespace {

/// Draws memory into the first-level cache. It need not exist: a prefetch never faults. Where
/// `data` does not begin a cache line, its first line is left to whoever drew in what lies before
/// it.
inline void prefetch(const char* data, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(data + at + 63, 0, 3);
}

}  // namespace
}  // namespace cofactor::cpu

#pragma once

#include <cstdint>

namespace cofactor {

/// Bytes of the data caches that a core sees.
struct CacheSizes {
  std::int64_t l2 = 1 << 20;
  std::int64_t last = 8 << 20;  ///< of the last level, however many cores share it
};

/// What the operating system says, or the defaults above where it says nothing.
[[nodiscard]] CacheSizes cache_sizes();

}  // namespace cofactor

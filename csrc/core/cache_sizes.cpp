#include "core/cache_sizes.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace cofactor {

CacheSizes cache_sizes() {
  CacheSizes sizes;
  int last_level = 0;
  // Linux describes each cache in a directory of its own, with a size such as "1024K".
  for (int index = 0;; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    int level = 0;
    std::int64_t size = 0;
    char unit = 'K';
    std::string type;
    std::ifstream(folder + "/level") >> level;
    std::ifstream(folder + "/type") >> type;
    if (level == 0) return sizes;
    if (type == "Instruction" || !(std::ifstream(folder + "/size") >> size >> unit)) continue;
    const std::int64_t bytes = size * (unit == 'M' ? 1 << 20 : 1 << 10);
    if (bytes <= 0) continue;
    if (level == 2) sizes.l2 = bytes;
    if (level >= std::max(2, last_level)) {
      last_level = level;
      sizes.last = bytes;
    }
  }
}

}  // namespace cofactor

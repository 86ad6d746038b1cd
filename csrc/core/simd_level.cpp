#include "core/simd_level.h"

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace cofactor {

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kScalar:
      return "scalar";
    case Level::kAvx2:
      return "avx2";
    case Level::kAvx512:
      return "avx512";
    case Level::kAvx512BF16:
      return "avx512bf16";
    case Level::kNeon:
      return "neon";
  }
  return "";
}

std::vector<Level> supported_levels() {
  std::vector<Level> levels{Level::kScalar};
#ifdef COFACTOR_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (avx2) levels.push_back(Level::kAvx2);
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx2 && avx512) {
    levels.push_back(Level::kAvx512);
    if (__builtin_cpu_supports("avx512bf16")) levels.push_back(Level::kAvx512BF16);
  }
#endif
#ifdef COFACTOR_ARM64
  levels.push_back(Level::kNeon);
#endif
  return levels;
}

Level active_level() {
  const std::vector<Level> levels = supported_levels();
  const char* wanted = std::getenv("COFACTOR_SIMD");
  if (wanted == nullptr || *wanted == '\0') return levels.back();
  std::string names;
  for (const Level level : levels) {
    if (name_of(level) == wanted) return level;
    names += (names.empty() ? "" : ", ") + std::string(name_of(level));
  }
  throw Error(ErrorKind::kValue, "COFACTOR_SIMD=" + std::string(wanted) +
                                     " is not available; this machine and build offer: " + names);
}

bool bfloat16_is_faster() {
#ifdef COFACTOR_X86
  // Measured on Intel's cores: one such instruction, of twice the operations, in the time of four
  // of float32.
  return active_level() == Level::kAvx512BF16 && !__builtin_cpu_is("intel");
#else
  return false;
#endif
}

}  // namespace cofactor

#include "backend/cuda/runtime.h"

#include <cstdio>

namespace cofactor::cuda {
namespace {

std::string megabytes(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

std::string out_of_memory_message(std::size_t asked, const MemoryInfo& info) {
  return "the GPU has no memory left: " + megabytes(static_cast<std::int64_t>(asked)) +
         " were asked for, " + megabytes(info.free) + " of " + megabytes(info.total) +
         " are free; fit fewer components or fits at a time, free what else lies on the GPU, or "
         "use device='cpu'";
}

}  // namespace cofactor::cuda

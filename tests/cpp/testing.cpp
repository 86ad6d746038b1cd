#include "testing.h"

namespace cofactor::testing {

double Random::uniform(double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(engine_);
}

std::int64_t Random::integer(std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
}

bool Random::chance(double probability) { return uniform(0, 1) < probability; }

}  // namespace cofactor::testing

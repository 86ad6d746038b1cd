#pragma once

namespace cofactor::cpu {
namespace {

/// Divides k components into tiles of at most kMost and of nearly equal size, the larger ones
/// first: 21 by 4 is 4, 4, 4, 3, 3, 3.
template <int kMost>
struct ComponentTiles {
  explicit ComponentTiles(int k)
      : count((k + kMost - 1) / kMost), least(k / count), larger(k % count) {}
  [[nodiscard]] int first(int tile) const { return tile * least + (tile < larger ? tile : larger); }
  [[nodiscard]] int size(int tile) const { return least + (tile < larger ? 1 : 0); }

  int count;
  int least;   ///< components of the smaller tiles
  int larger;  ///< tiles that have one more
};

}  // namespace
}  // namespace cofactor::cpu

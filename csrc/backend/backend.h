#pragma once

// The few operations that the loop needs. Whoever adds a device implements this header and touches
// nothing else: `als/` talks to a device through it alone.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/matrix_view.h"
#include "core/problem.h"

namespace cofactor {

class BlockSource;

/// Copies of the factors H that a backend holds.
enum class Factor {
  kInput,     ///< what the next pass solves W with
  kSolved,    ///< the minimiser for the last pass's sums
  kPrevious,  ///< the last accepted minimiser
};

/// In place of a view: C of all rows, whatever views they have.
inline constexpr int kEveryRow = -1;

/// What a pass does with each block of rows; W_b always follows from the block and the input H.
enum class PassMode {
  kFit,       ///< W = NNLS; sums C += W^T W, S_v += W^T X_v, and the scalars
  kEncode,    ///< W = NNLS; sums C and the scalars
  kResidual,  ///< W = NNLS; ||X_v - W H_v||^2 with the solved H
  kLinear,    ///< W = sum_v w_v X_v H_v^T, unconstrained; sums C and S_v (power iteration)
};

/// How the two products multiply.
enum class Precision {
  kFull,      ///< in the compute type
  kBFloat16,  ///< operands rounded to bfloat16, sums in float32; not for float64 problems
};

/// Sums over rows for one fit, each row times its weight.
struct RowSums {
  double cross = 0.0;        ///< <B, W>, B = sum_v w_v X_v H_v^T
  double w_l1 = 0.0;         ///< ||W||_1
  double group_norms = 0.0;  ///< sum of ||W[g, r]||_2 over groups and components
};

/// Terms of one view's loss and penalties for one fit, with S_v and C of the last pass.
struct ViewTerms {
  double cross = 0.0;     ///< <S_v, H_v>
  double model = 0.0;     ///< <C, H_v H_v^T>
  double residual = 0.0;  ///< ||X_v - W H_v||^2, after a kResidual pass
  double h_l1 = 0.0;      ///< ||H_v||_1
  double h_l2 = 0.0;      ///< ||H_v||_F^2
};

/// Checks that a full read gives: whether the data can be factorized, and its weight in the loss.
/// Of the rows that have the view; the squares of a row count with its weight.
struct ViewStats {
  double sum_of_squares = 0.0;
  double minimum = 0.0;  ///< the smallest value, or 0 if that is positive
  std::int64_t nonfinite = 0;
};

/// The sums of a pass, where they lie: C, every S_v and the scalars, in one array.
struct PassSums {
  std::span<double> numbers;
  Memory memory = Memory::kHost;
  int device = -1;  ///< number of the CUDA device that they lie on, for kDevice
};

struct BackendOptions {
  int threads = 0;         ///< 0: default_threads()
  int device = -1;         ///< number of the CUDA device; -1: the calling thread's own
  bool float64 = false;    ///< compute type of products and factors
  double tolerance = 0.0;  ///< of the non-negative solves; 0: a default by compute type
  /// Rounds of block pivoting, after which an active-set method finishes a solve.
  int max_exchanges = 10;
  /// Of a CUDA device: passes over rows that stay where they are give it their work at once, as one
  /// graph.
  bool graphs = true;
  /// Called now and then from the calling thread during a pass; may throw to stop it.
  std::function<void()> check_interrupt;
};

/// One problem on one device: holds the factors and the sums, and does the arithmetic. Fits are
/// stacked: K = sum of ranks.
class Backend {
 public:
  virtual ~Backend() = default;

  /// Copies K x d_v numbers of float64, row-major, into the input factor, and the others with it.
  virtual void set_input(int view, const double* h) = 0;
  /// Copies the same into the previous factor alone, to go on where a fit was.
  virtual void set_previous(int view, const double* h) = 0;
  /// Copies a factor out, K x d_v, row-major.
  virtual void get_factor(Factor factor, int view, double* h) const = 0;

  /// Copies the values of one row, in memory of the host, into a component of the input, solved and
  /// previous factors.
  virtual void set_component(int component, const Block& row) = 0;
  /// Drops all fits but these, given in ascending order; what is kept moves up.
  virtual void keep(const std::vector<int>& fits) = 0;

  /// The penalty on groups is majorised at norms ||W[g, r]||_2: the next pass adds
  /// group_penalty / norm to row r of the diagonal of G, for rows of group g. Groups x K numbers,
  /// at first infinity. They belong to the factors: a step that is accepted takes the norms of the
  /// last pass, and one that is rejected leaves them.
  virtual void set_group_norms(const double* norms) = 0;
  [[nodiscard]] virtual std::span<const double> group_norms() const = 0;

  /// Of the passes to come. With kBFloat16 a pass rounds the input H, and W once it is solved, so
  /// that the sums are exactly those of the factors that the products multiply.
  virtual void set_precision(Precision precision) = 0;

  /// Prepares a pass with the input H: Gram matrices, and sums set to zero.
  virtual void begin_pass(PassMode mode) = 0;
  /// Adds the next rows. Blocks follow in row order; any division into blocks gives the same bits.
  /// `w_out`, if not null, receives rows x K numbers of the compute type.
  virtual void process(const Block& block, void* w_out) = 0;
  /// Closes the sums and gives them, to be added up over processes in place: where the backend
  /// computes, if `memory` asks for a device and it has one, and in the host's memory otherwise.
  /// Whoever wants none calls finish_pass alone, and a device's sums then stay where they are.
  virtual PassSums end_pass(Memory memory) = 0;
  /// Ends every pass: what is asked for from here on follows from the sums as they are now.
  virtual void finish_pass() = 0;

  /// Row sums of the last pass, by fit.
  [[nodiscard]] virtual std::vector<RowSums> row_sums() const = 0;
  /// Sum of w w^T over the rows that have view `view`, or over all with kEveryRow, each times its
  /// weight: K x K, of which only the fits' own blocks count.
  [[nodiscard]] virtual std::span<const double> c(int view) const = 0;
  /// S_v, over the same rows, K x d_v.
  [[nodiscard]] virtual std::span<const double> s(int view) const = 0;
  /// sum_v w_v H_v H_v^T of the input factor of one fit, k x k.
  [[nodiscard]] virtual std::span<const double> gram(int fit) const = 0;

  /// solved H_v = argmin over H >= 0 of 1/2 <C H, H> - <S_v, H> + penalties, every fit and every
  /// view that is not fixed. Unit rows come from sweeps over rows, from the input on.
  virtual void solve_h() = 0;
  /// Loss terms of the solved factor, by fit and view.
  [[nodiscard]] virtual std::vector<std::vector<ViewTerms>> terms() const = 0;

  /// input = max(0, solved + momentum (solved - previous)); previous = solved. Accepts a step.
  virtual void advance(int fit, double momentum) = 0;
  /// input = previous. Rejects the last step, or ends an extrapolation.
  virtual void restore(int fit) = 0;
  /// solved = input, so that losses of the input pair can be asked for.
  virtual void adopt_input() = 0;

  /// Statistics of the rows of a block, by view, in value units, added to `stats`.
  virtual void scan(const Block& block, std::vector<ViewStats>& stats) = 0;
  /// sum_v w_v ||X_v[i]||^2 of every row of a block, whatever the row's weight.
  virtual void row_squares(const Block& block, double* squares) = 0;
  /// Copies rows of a block to memory of the host, without gaps.
  virtual void copy_rows(const MatrixView& rows, void* to) const = 0;

  /// Bytes of one number of the compute type: 4 or 8.
  [[nodiscard]] virtual int compute_size() const = 0;
};

[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(const Problem& problem,
                                                        const BackendOptions& options);

/// Of rows in a device's memory. Throws Error with what is missing where there is no CUDA device,
/// driver or build.
[[nodiscard]] std::unique_ptr<Backend> make_cuda_backend(const Problem& problem,
                                                         const BackendOptions& options);

/// Another source's rows in the memory of the device that `options` name. As many of the first ones
/// as it has room for stay there for the passes to come; the others are copied in every pass, while
/// the device works on those before. Rows that lie in its memory already are passed on. `source`
/// outlives what is made. Throws as make_cuda_backend.
[[nodiscard]] std::unique_ptr<BlockSource> make_cuda_source(BlockSource& source,
                                                            const BackendOptions& options);

struct CudaDevice {
  std::string name;
  std::string capability;  ///< such as "9.0"
  std::int64_t bytes = 0;  ///< of its memory
};

/// What of CUDA there is in this build and on this machine.
struct CudaInfo {
  bool built = false;
  std::string runtime;  ///< version that this was built with, such as "13.0"
  std::string driver;   ///< the latest version that the driver supports; empty without a driver
  std::vector<CudaDevice> devices;
  std::string missing;  ///< why there is no device to use; empty where there is one
};
[[nodiscard]] CudaInfo cuda_info();
/// Whether make_cuda_backend can succeed here.
[[nodiscard]] bool cuda_available();

}  // namespace cofactor

#include "backend/product_side.h"

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "bindings/bindings.h"
#include "bindings/matrix.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

/// Sums with their shapes, as numpy has them.
struct Sums {
  py::array_t<double> coefficients, gram, cross;
  double penalty;
};

std::string shape_of(const Matrix& matrix) {
  std::string text;
  for (py::ssize_t axis = 0; axis < matrix.ndim(); ++axis) {
    text += (axis == 0 ? "" : " x ") + std::to_string(matrix.shape(axis));
  }
  return text;
}

class Side {
 public:
  Side(const Matrix& basis, const Matrix& singular, const ProductSideOptions& options)
      : k_(options.components), r_(singular.size()) {
    if (basis.ndim() != 2 || basis.size() == 0 || singular.ndim() != 1 || basis.shape(0) != r_) {
      throw Error(ErrorKind::kValue, "the basis is " + shape_of(basis) +
                                         " with singular values of " + shape_of(singular) +
                                         "; expected r x n with r");
    }
    n_ = basis.shape(1);
    const double* const u = basis.data();
    const double* const s = singular.data();
    if (!std::all_of(s, s + r_, [](double value) { return value > 0; })) {
      throw Error(ErrorKind::kValue, "singular values must be positive");
    }
    if (k_ < 1) {
      throw Error(ErrorKind::kValue, "components must be at least 1, got " + std::to_string(k_));
    }
    const py::gil_scoped_release unlocked;
    side_ = make_cpu_product_side(u, n_, r_, s, options);
  }

  Sums start(const Matrix& x) {
    check(x, n_, "x");
    const double* const from = x.data();
    return numpy_sums([&] { return side_->start(from); });
  }
  Sums descend(const Matrix& coefficients, const Matrix& gram, int sweeps) {
    check(coefficients, r_, "coefficients");
    check(gram, k_, "gram");
    if (sweeps < 1) {
      throw Error(ErrorKind::kValue, "sweeps must be at least 1, got " + std::to_string(sweeps));
    }
    const double* const k = coefficients.data();
    const double* const g = gram.data();
    return numpy_sums([&] { return side_->descend(k, g, sweeps); });
  }
  void accept() { side_->accept(); }
  [[nodiscard]] py::array_t<double> factor() const {
    py::array_t<double> x({std::int64_t{k_}, n_});
    side_->get_factor(x.mutable_data());
    return x;
  }

 private:
  void check(const Matrix& matrix, std::int64_t columns, const char* name) const {
    if (matrix.ndim() == 2 && matrix.shape(0) == k_ && matrix.shape(1) == columns) return;
    throw Error(ErrorKind::kValue, std::string(name) + " must be " + std::to_string(k_) + " x " +
                                       std::to_string(columns) + ", got " + shape_of(matrix));
  }

  template <class Work>
  Sums numpy_sums(const Work& work) const {
    SideSums sums;
    {
      const py::gil_scoped_release unlocked;
      sums = work();
    }
    return {matrix_of(sums.coefficients, k_, r_), matrix_of(sums.gram, k_, k_),
            matrix_of(sums.cross, k_, k_), sums.penalty};
  }

  int k_;
  std::int64_t r_;
  std::int64_t n_ = 0;
  std::unique_ptr<ProductSide> side_;
};

}  // namespace

void register_product_side(py::module_& module) {
  py::class_<Sums>(module, "SideSums", "What a factor of one side says to the other.")
      .def_readonly("coefficients", &Sums::coefficients, "X U^T, k x r.")
      .def_readonly("gram", &Sums::gram, "X X^T, k x k.")
      .def_readonly("cross", &Sums::cross, "X' X^T with the accepted factor X', k x k.")
      .def_readonly("penalty", &Sums::penalty, "l1 ||X||_1 + l2 / 2 ||X||_F^2.");

  py::class_<Side>(module, "ProductSide",
                   "Coordinate descent for the factor of one side of a product U^T diag(s) V.")
      .def(py::init([](const Matrix& basis, const Matrix& singular, int components, double l1,
                       double l2, bool float64, int threads) {
             return Side(basis, singular, {components, l1, l2, float64, threads});
           }),
           py::arg("basis"), py::arg("singular"), py::kw_only(), py::arg("components"),
           py::arg("l1"), py::arg("l2"), py::arg("float64"), py::arg("threads"))
      .def("start", &Side::start, py::arg("x"), "Sets the accepted factor, k x n.")
      .def("descend", &Side::descend, py::arg("coefficients"), py::arg("gram"), py::kw_only(),
           py::arg("sweeps"),
           "Sweeps from the accepted factor on, with X U^T and X X^T of the other side's factor.")
      .def("accept", &Side::accept, "Accepts the factor that descend led to.")
      .def("factor", &Side::factor, "The accepted factor, k x n.");
}

}  // namespace cofactor::bindings

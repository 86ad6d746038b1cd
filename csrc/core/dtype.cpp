#include "core/dtype.h"

#include <string>

#include "core/error.h"

namespace cofactor {

DType parse_dtype(std::string_view name) {
  if (name == "uint8") return DType::kUInt8;
  if (name == "float16") return DType::kFloat16;
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "float32") return DType::kFloat32;
  if (name == "float64") return DType::kFloat64;
  throw Error(ErrorKind::kType, "dtype " + std::string(name) +
                                    " is not supported; expected uint8, float16, bfloat16, "
                                    "float32 or float64");
}

}  // namespace cofactor

#include <gtest/gtest.h>

#include <string>

#include "backend/backend.h"
#include "core/error.h"

namespace cofactor {
namespace {

TEST(NoCudaTest, SaysWhatIsMissingAndWhatToDo) {
  if (cuda_available()) GTEST_SKIP() << "this build and machine have CUDA";
  Problem problem;
  problem.rows = 2;
  problem.views.push_back({.columns = 3});
  problem.ranks = {1};
  try {
    static_cast<void>(make_cuda_backend(problem, {}));
    FAIL() << "made a CUDA backend where cuda_available() is false";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
    const std::string text = error.what();
    EXPECT_NE(text.find("CUDA"), std::string::npos) << text;
    EXPECT_NE(text.find("device='cpu'"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace cofactor

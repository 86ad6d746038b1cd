#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cofactor::testing {

/// A file that exists for one scope.
class TemporaryFile {
 public:
  template <class T>
  explicit TemporaryFile(const std::vector<T>& values, std::size_t lead = 0) {
    const char* directory = std::getenv("TMPDIR");
    path_ = std::string(directory != nullptr ? directory : "/tmp") + "/cofactor-XXXXXX";
    const int descriptor = mkstemp(path_.data());
    std::FILE* const file = descriptor < 0 ? nullptr : fdopen(descriptor, "wb");
    if (file == nullptr) throw std::runtime_error(path_ + " cannot be made");
    const std::vector<char> start(lead);
    const auto write = [file](const void* data, std::size_t size, std::size_t count) {
      return count == 0 || std::fwrite(data, size, count, file) == count;
    };
    const bool written =
        write(start.data(), 1, lead) && write(values.data(), sizeof(T), values.size());
    if (std::fclose(file) != 0 || !written) throw std::runtime_error(path_ + " is not written");
  }
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  TemporaryFile& operator=(TemporaryFile&&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  void cut(std::size_t bytes) const {
    if (truncate(path_.c_str(), static_cast<off_t>(bytes)) != 0) {
      throw std::runtime_error(path_ + " cannot be cut");
    }
  }

 private:
  std::string path_;
};

}  // namespace cofactor::testing

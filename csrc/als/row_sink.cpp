#include "als/row_sink.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace cofactor {

FileSink::FileSink(int descriptor, std::string path, std::int64_t offset, std::size_t row_bytes)
    : descriptor_(descriptor), path_(std::move(path)), offset_(offset), row_bytes_(row_bytes) {}

void* FileSink::begin(std::int64_t first, std::int64_t rows) {
  first_ = first;
  rows_.resize(static_cast<std::size_t>(rows) * row_bytes_);
  return rows_.data();
}

void FileSink::end() {
  const std::byte* from = rows_.data();
  std::size_t left = rows_.size();
  std::int64_t at = offset_ + first_ * static_cast<std::int64_t>(row_bytes_);
  while (left > 0) {
    const ssize_t written = pwrite(descriptor_, from, std::min(left, std::size_t{1} << 30), at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      throw Error(ErrorKind::kFile, path_ + ": cannot be written: " + std::strerror(errno));
    }
    from += written;
    at += written;
    left -= static_cast<std::size_t>(written);
  }
}

SampleSink::SampleSink(std::vector<std::int64_t> sample, void* rows, std::size_t row_bytes)
    : sample_(std::move(sample)), rows_(static_cast<std::byte*>(rows)), row_bytes_(row_bytes) {}

void* SampleSink::begin(std::int64_t first, std::int64_t rows) {
  if (first == 0) next_ = 0;
  first_ = first;
  count_ = rows;
  block_.resize(static_cast<std::size_t>(rows) * row_bytes_);
  return block_.data();
}

void SampleSink::end() {
  for (; next_ < sample_.size() && sample_[next_] < first_ + count_; ++next_) {
    const auto row = static_cast<std::size_t>(sample_[next_] - first_);
    std::memcpy(rows_ + next_ * row_bytes_, block_.data() + row * row_bytes_, row_bytes_);
  }
}

}  // namespace cofactor

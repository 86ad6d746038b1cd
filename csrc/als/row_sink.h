#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cofactor {

/// Takes the rows that a pass writes, a block at a time and in order.
class RowSink {
 public:
  virtual ~RowSink() = default;
  /// Where rows [first, first + rows) are to be written, one after the other.
  virtual void* begin(std::int64_t first, std::int64_t rows) = 0;
  /// They have been written.
  virtual void end() {}
};

/// Rows that stay in the caller's memory.
class MemorySink final : public RowSink {
 public:
  MemorySink(void* rows, std::size_t row_bytes)
      : rows_(static_cast<std::byte*>(rows)), row_bytes_(row_bytes) {}
  void* begin(std::int64_t first, std::int64_t /*rows*/) override {
    return rows_ + static_cast<std::size_t>(first) * row_bytes_;
  }

 private:
  std::byte* rows_;
  std::size_t row_bytes_;
};

/// Rows that go to a file: memory holds those of one block.
class FileSink final : public RowSink {
 public:
  /// Row 0 is at `offset` of an open file; `path` is its name in errors.
  FileSink(int descriptor, std::string path, std::int64_t offset, std::size_t row_bytes);
  void* begin(std::int64_t first, std::int64_t rows) override;
  /// Throws Error where the disk is full or fails.
  void end() override;

 private:
  int descriptor_;
  std::string path_;
  std::int64_t offset_;
  std::size_t row_bytes_;
  std::int64_t first_ = 0;
  std::vector<std::byte> rows_;
};

/// Some of the rows, in the caller's memory.
class SampleSink final : public RowSink {
 public:
  /// `sample` ascends; row i of `rows` receives row sample[i] of the pass.
  SampleSink(std::vector<std::int64_t> sample, void* rows, std::size_t row_bytes);
  void* begin(std::int64_t first, std::int64_t rows) override;
  void end() override;

 private:
  std::vector<std::int64_t> sample_;
  std::byte* rows_;
  std::size_t row_bytes_;
  std::size_t next_ = 0;
  std::int64_t first_ = 0;
  std::int64_t count_ = 0;
  std::vector<std::byte> block_;
};

}  // namespace cofactor

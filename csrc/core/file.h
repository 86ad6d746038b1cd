#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/bus_guard.h"

namespace cofactor {

/// A file opened for reading. Failures throw Error and name it.
class File {
 public:
  explicit File(std::string path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  /// Reads exactly so many bytes.
  void read(std::int64_t offset, std::size_t bytes, void* out) const;
  /// Throws unless the file has at least so many bytes.
  void check_size(std::int64_t bytes) const;

 private:
  std::string path_;
  int descriptor_;
};

/// Part of a file in memory, without a copy and read-only; given back when it ends.
class FileMapping {
 public:
  FileMapping(const File& file, std::int64_t offset, std::size_t bytes);
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  [[nodiscard]] const std::byte* data() const noexcept { return base_ + lead_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

  /// Reads all of it, so that no later access waits for the disk.
  void populate() const;
  /// Throws if any of it was missing when it was read: what came in its place is not the file's.
  void check() const;

 private:
  std::string path_;
  std::int64_t end_;  ///< in the file
  std::size_t bytes_;
  std::size_t lead_;  ///< bytes of the first page that come before the part
  std::size_t length_;
  std::byte* base_;
  std::unique_ptr<BusGuard> guard_;
};

}  // namespace cofactor

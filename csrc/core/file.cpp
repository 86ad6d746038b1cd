#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

#if defined(__linux__) && !defined(MADV_POPULATE_READ)
#define MADV_POPULATE_READ 22  // Linux 5.14, in headers from glibc 2.35 on
#endif

namespace cofactor {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  throw Error(ErrorKind::kFile, path + ": " + what + ": " + std::strerror(error));
}

[[noreturn]] void fail_short(const std::string& path) {
  throw Error(ErrorKind::kFile,
              path +
                  ": the file has become shorter, or the disk failed, since it was opened; "
                  "restore it or write the store again");
}

}  // namespace

File::File(std::string path)
    // Not to wait for the writer of a pipe that has taken the file's place.
    : path_(std::move(path)), descriptor_(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_ < 0) fail(path_, "cannot be opened", errno);
}

File::~File() { close(descriptor_); }

void File::read(std::int64_t offset, std::size_t bytes, void* out) const {
  auto* to = static_cast<std::byte*>(out);
  while (bytes > 0) {
    // Linux reads at most 2 GiB in one call.
    const ssize_t got = pread(descriptor_, to, std::min(bytes, std::size_t{1} << 30), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_, "cannot be read", errno);
    if (got == 0) fail_short(path_);
    to += got;
    offset += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

void File::check_size(std::int64_t bytes) const {
  struct stat status = {};
  if (fstat(descriptor_, &status) != 0) fail(path_, "cannot be examined", errno);
  if (status.st_size < bytes) fail_short(path_);
}

FileMapping::FileMapping(const File& file, std::int64_t offset, std::size_t bytes)
    : path_(file.path()), end_(offset + static_cast<std::int64_t>(bytes)), bytes_(bytes) {
  file.check_size(end_);
  const std::int64_t page = sysconf(_SC_PAGESIZE);
  const std::int64_t start = offset / page * page;
  lead_ = static_cast<std::size_t>(offset - start);
  const auto pages =
      (lead_ + bytes + static_cast<std::size_t>(page) - 1) / static_cast<std::size_t>(page);
  length_ = pages * static_cast<std::size_t>(page);
  void* const base = mmap(nullptr, length_, PROT_READ, MAP_SHARED, file.descriptor(), start);
  if (base == MAP_FAILED) fail(path_, "cannot be mapped", errno);
  base_ = static_cast<std::byte*>(base);
  guard_ = std::make_unique<BusGuard>(base_, length_);
}

FileMapping::~FileMapping() {
  guard_.reset();
  munmap(base_, length_);
}

void FileMapping::populate() const {
#ifdef MADV_POPULATE_READ
  if (madvise(base_, length_, MADV_POPULATE_READ) == 0) return;
  if (errno == EFAULT) fail_short(path_);
#endif
  // Older systems: a look at every page, which the guard survives.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (std::size_t at = 0; at < length_; at += page) {
    static_cast<void>(*const_cast<const volatile std::byte*>(base_ + at));
  }
}

void FileMapping::check() const {
  // Behind the end of a file, its last page reads as zeros without a fault.
  struct stat status = {};
  const bool cut = stat(path_.c_str(), &status) == 0 && status.st_size < end_;
  if (cut || guard_->struck()) fail_short(path_);
}

}  // namespace cofactor

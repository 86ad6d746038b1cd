#include "core/file.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <numeric>
#include <thread>

#include "core/error.h"
#include "temporary_file.h"

namespace cofactor {
namespace {

using testing::TemporaryFile;

const auto kPage = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

std::vector<unsigned char> numbered(std::size_t bytes) {
  std::vector<unsigned char> values(bytes);
  for (std::size_t i = 0; i < bytes; ++i) values[i] = static_cast<unsigned char>(i * 7 + i / 256);
  return values;
}

unsigned char at(const FileMapping& mapping, std::size_t i) {
  return *reinterpret_cast<const volatile unsigned char*>(mapping.data() + i);
}

void expect_short(const std::function<void()>& act, const std::string& path) {
  try {
    act();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFile);
    const std::string text = error.what();
    EXPECT_EQ(text.find(path), 0U) << text;
    EXPECT_NE(text.find("shorter"), std::string::npos) << text;
  }
}

TEST(FileTest, ReadsAndMapsAnyPart) {
  const auto values = numbered(3 * kPage + 100);
  const TemporaryFile temporary(values);
  const File file(temporary.path());
  for (const std::size_t first : {std::size_t{0}, std::size_t{1}, kPage - 1, kPage, kPage + 17}) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{64}, kPage, 2 * kPage}) {
      std::vector<unsigned char> read(bytes);
      file.read(static_cast<std::int64_t>(first), bytes, read.data());
      const FileMapping mapping(file, static_cast<std::int64_t>(first), bytes);
      mapping.populate();
      EXPECT_EQ(mapping.bytes(), bytes);
      for (std::size_t i = 0; i < bytes; ++i) {
        ASSERT_EQ(read[i], values[first + i]);
        ASSERT_EQ(at(mapping, i), values[first + i]);
      }
      EXPECT_NO_THROW(mapping.check());
    }
  }
}

TEST(FileTest, SaysWhatIsMissing) {
  const TemporaryFile temporary(numbered(100));
  const File file(temporary.path());
  std::vector<unsigned char> read(200);
  expect_short([&] { file.read(0, 101, read.data()); }, temporary.path());
  expect_short([&] { const FileMapping mapping(file, 50, 51); }, temporary.path());
  try {
    const File missing("/nowhere/at all");
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFile);
    EXPECT_STREQ(error.what(), "/nowhere/at all: cannot be opened: No such file or directory");
  }
}

TEST(FileTest, AMappedFileThatIsCutIsAnErrorAndNoSignal) {
  const auto values = numbered(8 * kPage);
  const TemporaryFile temporary(values);
  const File file(temporary.path());
  const FileMapping mapping(file, 3, 8 * kPage - 3);
  const FileMapping before(file, 0, 2 * kPage);
  EXPECT_EQ(at(mapping, 5 * kPage), values[5 * kPage + 3]);
  temporary.cut(3 * kPage);
  EXPECT_EQ(at(mapping, 0), values[3]);
  EXPECT_EQ(at(mapping, 5 * kPage), 0);
  EXPECT_EQ(at(mapping, 7 * kPage), 0);
  EXPECT_EQ(at(mapping, 2 * kPage), values[2 * kPage + 3]);
  expect_short([&] { mapping.check(); }, temporary.path());
  EXPECT_NO_THROW(before.check());
}

TEST(FileTest, ACutFileCannotBePopulated) {
  const TemporaryFile temporary(numbered(8 * kPage));
  const File file(temporary.path());
  const FileMapping mapping(file, 0, 8 * kPage);
  temporary.cut(kPage);
  const auto read = [&] {
    mapping.populate();
    mapping.check();
  };
  expect_short(read, temporary.path());
}

TEST(FileTest, ManyThreadsMayMeetTheSameEnd) {
  const TemporaryFile temporary(numbered(64 * kPage));
  const File file(temporary.path());
  const FileMapping mapping(file, 0, 64 * kPage);
  temporary.cut(1);
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (std::size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t page = 1; page < 64; ++page)
        sum += at(mapping, (page * (t + 1)) % 63 * kPage + kPage);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum.load(), 0);
  expect_short([&] { mapping.check(); }, temporary.path());
}

bool handles_bus_errors() {
  struct sigaction action = {};
  sigaction(SIGBUS, nullptr, &action);
  return (action.sa_flags & SA_SIGINFO) != 0 || action.sa_handler != SIG_DFL;
}

/// The handler of whoever asks, for one scope.
class ScopedHandler {
 public:
  explicit ScopedHandler(void (*handler)(int)) {
    struct sigaction action = {};
    action.sa_handler = handler;
    sigaction(SIGBUS, &action, &previous_);
  }
  ~ScopedHandler() { sigaction(SIGBUS, &previous_, nullptr); }
  ScopedHandler(const ScopedHandler&) = delete;
  ScopedHandler& operator=(const ScopedHandler&) = delete;

 private:
  struct sigaction previous_ = {};
};

TEST(BusGuardTest, IsThereForAsLongAsItIsNeeded) {
  const ScopedHandler none(SIG_DFL);
  const TemporaryFile temporary(numbered(kPage));
  const File file(temporary.path());
  EXPECT_FALSE(handles_bus_errors());
  {
    const FileMapping first(file, 0, 1);
    const FileMapping second(file, 0, 1);
    EXPECT_TRUE(handles_bus_errors());
  }
  EXPECT_FALSE(handles_bus_errors());
}

volatile std::sig_atomic_t heard = 0;

TEST(BusGuardTest, LeavesSignalsOfOthersToThem) {
  const ScopedHandler other([](int) { heard = heard + 1; });
  const TemporaryFile temporary(numbered(kPage));
  const File file(temporary.path());
  {
    const FileMapping mapping(file, 0, 1);
    raise(SIGBUS);
    EXPECT_EQ(heard, 1);
  }
  raise(SIGBUS);
  EXPECT_EQ(heard, 2);
}

TEST(BusGuardDeathTest, AnAccessElsewhereEndsTheProcessAsBefore) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto act = [] {
    const ScopedHandler none(SIG_DFL);
    const TemporaryFile temporary(numbered(2 * kPage));
    const File file(temporary.path());
    const FileMapping guarded(file, 0, kPage);
    void* const bare = mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    temporary.cut(0);
    unlink(temporary.path().c_str());
    static_cast<void>(*(static_cast<volatile unsigned char*>(bare) + kPage));
  };
  EXPECT_EXIT(act(), ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace cofactor

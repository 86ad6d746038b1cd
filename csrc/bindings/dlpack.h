#pragma once

// The structures that DLPack hands over in capsules, as its specification lays them out in memory:
// https://dmlc.github.io/dlpack/latest/c_api.html

#include <cstdint>

namespace cofactor::bindings::dlpack {

inline constexpr char kName[] = "dltensor";
inline constexpr char kUsedName[] = "used_dltensor";
inline constexpr char kVersionedName[] = "dltensor_versioned";
inline constexpr char kUsedVersionedName[] = "used_dltensor_versioned";

/// The version of the versioned structure that is laid out here.
inline constexpr std::uint32_t kMajorVersion = 1;

inline constexpr std::int32_t kCuda = 2;
inline constexpr std::int32_t kCudaManaged = 13;

inline constexpr std::uint64_t kReadOnly = 1;

enum TypeCode : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kBool = 6 };

struct Device {
  std::int32_t type;
  std::int32_t id;
};

struct Type {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  Type dtype;
  std::int64_t* shape;
  std::int64_t* strides;  ///< in elements; null where rows follow each other without gaps
  std::uint64_t byte_offset;
};

struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

struct VersionedTensor {
  std::uint32_t major;
  std::uint32_t minor;
  void* context;
  void (*deleter)(VersionedTensor*);
  std::uint64_t flags;
  Tensor tensor;
};

}  // namespace cofactor::bindings::dlpack

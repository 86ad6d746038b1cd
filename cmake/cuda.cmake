# The CUDA backend, or what stands in for it.

if(NOT COFACTOR_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "COFACTOR_CUDA is ${COFACTOR_CUDA}; expected AUTO, ON or OFF")
endif()

set(with_cuda ${COFACTOR_CUDA})
if(COFACTOR_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  set(with_cuda OFF)
  if(CMAKE_CUDA_COMPILER AND NOT CMAKE_CROSSCOMPILING)
    set(with_cuda ON)
  endif()
endif()

if(NOT with_cuda)
  message(STATUS "Without CUDA")
  target_sources(cofactor_core PRIVATE csrc/backend/no_cuda/no_cuda.cpp)
  return()
endif()

set(own_architectures OFF)
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(own_architectures ON)
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(own_architectures)
  # Machine code for what the toolkit knows of these, and code that later devices compile.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND CMAKE_CUDA_ARCHITECTURES 100-real 120-real 120-virtual)
  else()
    list(APPEND CMAKE_CUDA_ARCHITECTURES 90-virtual)
  endif()
endif()
message(STATUS "With CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")

# CMake 3.25 does not know that nvcc has C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

# Kernels alone need nvcc: each file instantiates those of one header.
file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/backend/cuda/instances/*.cu)
add_library(cofactor_cuda_kernels OBJECT ${kernels})
target_include_directories(cofactor_cuda_kernels PRIVATE csrc)
target_compile_options(cofactor_cuda_kernels PRIVATE
  --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-Wshadow -Xfatbin=-compress-all --threads=2)
if(COFACTOR_WERROR)
  target_compile_options(cofactor_cuda_kernels PRIVATE -Werror=all-warnings -Xcompiler=-Werror)
endif()

# Nothing else sees CUDA's headers, so that it is compiled alike with CUDA and without.
add_library(cofactor_cuda OBJECT
  csrc/backend/cuda/cuda_backend.cpp
  csrc/backend/cuda/cuda_info.cpp
  csrc/backend/cuda/cuda_runtime.cpp
  csrc/backend/cuda/device_memory.cpp)
target_include_directories(cofactor_cuda PRIVATE csrc)
target_link_libraries(cofactor_cuda PRIVATE CUDA::cudart_static)
target_compile_options(cofactor_cuda PRIVATE ${warnings})

# cudart is linked in and looks for the driver when it is called: without one the module loads.
target_sources(cofactor_core PRIVATE
  $<TARGET_OBJECTS:cofactor_cuda> $<TARGET_OBJECTS:cofactor_cuda_kernels>)
target_link_libraries(cofactor_core PUBLIC $<LINK_ONLY:CUDA::cudart_static>)

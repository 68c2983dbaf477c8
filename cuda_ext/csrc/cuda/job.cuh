// What a residual quantization reads and writes.
#pragma once

#include <cstdint>

#include "device.cuh"

namespace echoic {

constexpr int kThreads = 256;
constexpr int kLanes = 32;
constexpr int kWarps = kThreads / kLanes;
constexpr unsigned kAllLanes = 0xffffffffu;

// x (rows, groups * width), books (layers, groups, size, width), as in registry.py; all contiguous.
struct Job {
  const float* x;
  const float* books;
  const float* offsets;  // (layers, groups, size)
  const float* masks;    // (masked, groups * width), for the first layers
  int64_t rows;
  int layers, groups, size, width, masked;
  int64_t* codes;    // (rows, layers, groups)
  float* quantized;  // (rows, groups * width), or null where codes are all that is wanted
  float* energies;   // (rows, layers)

  __device__ int64_t channels() const { return int64_t(groups) * width; }
  __device__ const float* book(int layer, int group) const {
    return books + (int64_t(layer) * groups + group) * size * width;
  }
  __device__ const float* offset(int layer, int group) const {
    return offsets + (int64_t(layer) * groups + group) * size;
  }
  __device__ int64_t* code(int64_t row, int layer, int group) const {
    return codes + (row * layers + layer) * groups + group;
  }
  __device__ const float* chosen(int64_t row, int layer, int group) const {
    return book(layer, group) + *code(row, layer, group) * width;
  }
};

}  // namespace echoic

// Rows to bytes in loops that every compiler turns into vectors, compiled once for each instruction
// set. int8_rows_reference.py says the same in torch.
#pragma once

#include <cstdint>
#include <cstring>

#include "rows.h"

namespace {

// 1.5 * 2^23: a small float added to it leaves its nearest integer, even in ties, in the low bits.
constexpr float kMagic = 12582912.0f;
constexpr float kSmallestPeak = 1e-30f;
constexpr int32_t kSign = 0x7fffffff;

inline int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// One row as the bytes shall say it, which may be in `scratch`.
inline const float* finished(const echoic::Rows& job, int64_t row, float* scratch) {
  const float* x = job.x + row * job.width;
  if (job.factor == nullptr && !job.rectify) return x;
  float* __restrict to = scratch;
  const int64_t width = job.width;
  if (job.factor == nullptr) {
    std::memcpy(to, x, width * sizeof(float));
  } else {
    const float factor = job.factor[row];
    const float* bias = job.bias;
    for (int64_t k = 0; k < width; ++k) to[k] = x[k] * factor + bias[k];
  }
  if (job.rectify) {
    // NaN stays: the comparison is false for it.
    for (int64_t k = 0; k < width; ++k) to[k] = to[k] < 0.0f ? 0.0f : to[k];
  }
  return scratch;
}

// Writes x as the bytes and the scale of a row of the output.
inline void write_row(const echoic::Rows& job, const float* x, int64_t row, int32_t zero) {
  const int64_t width = job.width;
  // Floats without their sign are ordered as integers are, and NaN lies above all: unlike the
  // largest float, the largest integer can be found in vectors.
  int32_t peak_bits = 0;
  for (int64_t k = 0; k < width; ++k) {
    const int32_t size = bits_of(x[k]) & kSign;
    peak_bits = peak_bits > size ? peak_bits : size;
  }
  const float found = float_of(peak_bits);
  const float peak = found < kSmallestPeak ? kSmallestPeak : found;
  const float per_step = job.levels / peak;
  job.scales[row] = peak / job.levels;
  uint8_t* __restrict bytes = job.bytes + row * width;
  for (int64_t k = 0; k < width; ++k) {
    bytes[k] = uint8_t(bits_of(x[k] * per_step + kMagic) + zero);
  }
}

inline void rows_to_bytes(const echoic::Rows& job, int64_t begin, int64_t end, float* scratch) {
  const int64_t width = job.width;
  const int32_t zero = job.rectify ? 0 : int32_t(job.levels) + 1;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = finished(job, row, scratch);
    write_row(job, x, row, zero);
    if (!job.halves) continue;
    const uint8_t* bytes = job.bytes + row * width;
    const float scale = job.scales[row];
    for (int64_t k = 0; k < width; ++k) scratch[k] = x[k] - float(bytes[k] - zero) * scale;
    write_row(job, scratch, job.rows + row, zero);
  }
}

}  // namespace

// Rounding to bfloat16, to nearest even; what is below the smallest normal number becomes zero, as
// the processor's products take it.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

inline uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
  return static_cast<uint16_t>(bits >> 16);
}

inline float from_bfloat16(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

// Residual quantization of many rows: layers, groups, masks, threads.
#pragma once

#include <cstdint>

#include "search.h"

namespace echoic {

// Shapes as in ops.py: x (rows, width), books (layers, groups, size, width / groups).
struct Quantize {
  const float* x;
  const float* codebooks;
  const float* offsets;
  const float* panels;
  const uint16_t* screen;  // null: search exactly
  const float* bounds;
  const float* masks;  // (masked, width) or null
  int64_t rows, width, layers, groups, size, masked;
  int64_t* codes;    // (rows, layers, groups)
  float* quantized;  // (rows, width); null: codes are all that is wanted (one layer)
  float* energies;   // (rows, layers)

  int64_t slice() const { return width / groups; }
  Book book(int64_t layer, int64_t group) const;
};

// Returns false, with the outputs undefined, where x holds NaN or Inf.
bool quantize(const Quantize& job);

}  // namespace echoic

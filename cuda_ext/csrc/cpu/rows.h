// Rows of floats to bytes, each with a scale of its own: what an 8-bit product reads.
#pragma once

#include <cstdint>

namespace echoic {

struct Rows {
  const float* x;       // (rows, width)
  const float* factor;  // (rows) or null: row r is first multiplied by factor[r] ...
  const float* bias;    // (width) or null: ... and gets this added
  bool rectify;         // negative values count as 0; bytes then start at 0, not in the middle
  float levels;         // the peak of a row is so far from its zero
  int64_t rows, width;
  bool halves;     // what the bytes leave of a row becomes bytes, too: as many rows, behind these
  uint8_t* bytes;  // (rows, width), or twice as many rows
  float* scales;   // (rows) or twice as many: a byte's step
};

// Rows [begin, end); `scratch` holds `width` floats.
using ToBytes = void (*)(const Rows&, int64_t begin, int64_t end, float* scratch);

void to_bytes(const Rows&);  // by the processor's best instructions, in torch's threads

void to_bytes_portable(const Rows&, int64_t begin, int64_t end, float* scratch);
void to_bytes_avx2(const Rows&, int64_t begin, int64_t end, float* scratch);
void to_bytes_avx512(const Rows&, int64_t begin, int64_t end, float* scratch);

}  // namespace echoic

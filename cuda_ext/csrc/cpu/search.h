// The search for the best code: what every instruction set implements.
#pragma once

#include <cstdint>

namespace echoic {

constexpr int64_t kPanel = 32;  // codes side by side in a packed book; reference.py says the same
constexpr int64_t kLanes = 16;  // the widest vector: room for one score and one index per lane
constexpr int64_t kMaxRows = 96;  // of a query; a multiple of every kernel's block of rows

// One book, as packed by pack.cpp. Code j, channel k is panels[(j / 32 * width + k) * 32 + j % 32].
struct Book {
  const float* codes;      // (size, width), row by row
  const float* offsets;    // (size), taken off x.e
  const float* panels;     // (ceil(size / 32), width, 32)
  const uint16_t* screen;  // (ceil(size / 32), ceil(width / 2), 32, 2) bfloat16, or null
  const float* bounds;     // (ceil(size / 32), 3): longest code, its rounding, largest |offset|
  int64_t size;
  int64_t width;

  int64_t num_panels() const { return (size + kPanel - 1) / kPanel; }
};

// Rows to be searched for in panels [first, last) of a book.
struct Query {
  const float* x;  // row r, channel k at x[r * stride + k]
  int64_t stride;
  int64_t rows;
  int64_t begin, end;  // channels outside are zero in every row, and skipped
  int64_t first, last;
  bool wants_scores;  // `scores` is read; a screen may otherwise leave a sure winner unscored
  float* scores;      // (rows), of the winners
  int32_t* codes;     // (rows), 0 where nothing scores above -inf
};

// Fills scores and codes; `scratch` holds scratch_floats(rows, width) floats, 64-byte aligned.
using Search = void (*)(const Book&, const Query&, float* scratch);

inline int64_t scratch_floats(int64_t rows, int64_t width) {
  // Rows channel by channel, copies of some, all in bfloat16; and two vectors of state a row.
  return rows * (3 * (width + 4) + 2 * kLanes) + width + 128;
}

void search_portable(const Book&, const Query&, float* scratch);
void search_avx2(const Book&, const Query&, float* scratch);
void search_avx512(const Book&, const Query&, float* scratch);
void screen_avx512_bf16(const Book&, const Query&, float* scratch);

}  // namespace echoic

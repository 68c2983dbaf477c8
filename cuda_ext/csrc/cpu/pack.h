// Layouts of books for the search, made once per book.
#pragma once

#include <cstdint>

namespace echoic {

// Half norms (books, size) and panels (books, ceil(size / 32), width, 32) of (books, size, width).
void pack(const float* codes, int64_t books, int64_t size, int64_t width, float* half_norms,
          float* panels);

// bfloat16 panels (books, ceil(size / 32), ceil(width / 2), 32, 2), and for each panel the longest
// code, the longest rounding of a code and the largest offset.
void pack_screen(const float* codes, const float* offsets, int64_t books, int64_t size,
                 int64_t width, uint16_t* screen, float* bounds);

}  // namespace echoic

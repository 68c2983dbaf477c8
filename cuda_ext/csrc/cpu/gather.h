// Codes back to vectors, and vectors summed by code.
#pragma once

#include <cstdint>

namespace echoic {

// Sums over layers of looked-up codes: codes (rows, layers, groups), books (layers, groups, size,
// width), out (rows, groups * width). Returns false where a code lies outside its book.
template <class T>
bool lookup_sum(const int64_t* codes, const T* books, int64_t rows, int64_t layers, int64_t groups,
                int64_t size, int64_t width, T* out);

// Sums of rows by their code. Each code's rows are added up in their order, in double.
template <class T>
struct ScatterJob {
  const T* x;  // row r at x + r * x_stride, `width` channels
  int64_t x_stride;
  const int64_t* codes;  // of row r at codes[r * codes_stride]
  int64_t codes_stride;
  int64_t rows, width, size;
  T* counts;  // (size) or null
  T* sums;    // (size, width)
};

// Returns false where a code lies outside 0..size-1.
template <class T>
bool scatter(const ScatterJob<T>& job);

}  // namespace echoic

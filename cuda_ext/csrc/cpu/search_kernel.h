// The exact search over any vector type. Included by one file per instruction set, inside an unnamed
// namespace: the linker must never merge code for different processors.
//
// Each (row, code) has one accumulator that takes the channels in their order with fused
// multiply-add, so a score depends neither on its neighbours nor on the width of the vectors.

#pragma once

#include "search.h"

namespace {

using echoic::Book;
using echoic::kPanel;
using echoic::Query;

template <int R>
struct Constant {
  static constexpr int value = R;
};

// Bytes of codes that should stay in the first-level cache while all rows pass.
constexpr int64_t kHotBytes = 320 * 1024;

// Book with the offsets of its last panel filled up: what fills a panel must never win.
struct PaddedBook {
  const Book& book;
  float last_offsets[kPanel];

  explicit PaddedBook(const Book& b) : book(b) {
    for (int64_t j = 0; j < kPanel; ++j) {
      const int64_t code = b.size / kPanel * kPanel + j;
      last_offsets[j] = code < b.size ? b.offsets[code] : __builtin_inff();
    }
  }
  const float* offsets(int64_t panel) const {
    return panel < book.size / kPanel ? book.offsets + panel * kPanel : last_offsets;
  }
};

// R rows against panels [first, last). `rows` is (channel, R); best and index are (R, lanes).
template <class V, int R>
void scan(const PaddedBook& padded, const Query& query, int64_t first, int64_t last,
          const float* rows, float* best, int32_t* index) {
  constexpr int C = V::columns;
  constexpr int64_t step = C * V::lanes;
  const Book& book = padded.book;
  const int64_t channels = query.end - query.begin;
  for (int64_t panel = first; panel < last; ++panel) {
    const float* offsets = padded.offsets(panel);
    for (int64_t column = 0; column < kPanel; column += step) {
      const float* code = book.panels + (panel * book.width + query.begin) * kPanel + column;
      const float* row = rows;
      typename V::F sum[R][C];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) sum[r][c] = V::zero();
      }
      for (int64_t k = 0; k < channels; ++k, code += kPanel, row += R) {
        typename V::F e[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) e[c] = V::load(code + c * V::lanes);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const typename V::F x = V::broadcast(row + r);
#pragma GCC unroll 8
          for (int c = 0; c < C; ++c) sum[r][c] = V::fma(x, e[c], sum[r][c]);
        }
      }
      // Out of the registers before they are compared: what that takes would otherwise cost the
      // loop above one or two of them, and a sum that goes through memory takes thrice as long.
      float sums[R * step];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) V::store(sums + r * step + c * V::lanes, sum[r][c]);
      }
      asm volatile("" : : "r"(sums) : "memory");
      for (int r = 0; r < R; ++r) {
        typename V::F top = V::load(best + r * V::lanes);
        typename V::I who = V::load_index(index + r * V::lanes);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const typename V::F offset = V::load(offsets + column + c * V::lanes);
          const auto base = V::splat_index(int32_t(panel * kPanel + column + c * V::lanes));
          V::keep_greater(V::sub(V::load(sums + r * step + c * V::lanes), offset), base, top, who);
        }
        V::store(best + r * V::lanes, top);
        V::store_index(index + r * V::lanes, who);
      }
    }
  }
}

// Calls visit(integral constant R, first row) for blocks of rows: V::rows each, then smaller ones.
template <class V, class Visit>
void for_blocks(int64_t rows, Visit visit) {
  int64_t r = 0;
  for (; r + V::rows <= rows; r += V::rows) visit(Constant<V::rows>{}, r);
  for (; r + 4 <= rows; r += 4) visit(Constant<4>{}, r);
  for (; r + 2 <= rows; r += 2) visit(Constant<2>{}, r);
  for (; r < rows; ++r) visit(Constant<1>{}, r);
}

template <class V>
void search(const Book& book, const Query& query, float* scratch) {
  const PaddedBook padded(book);
  const int64_t channels = query.end - query.begin;
  float* transposed = scratch;
  float* best = transposed + query.rows * channels + (-(query.rows * channels) & 15);
  int32_t* index = reinterpret_cast<int32_t*>(best + query.rows * V::lanes);
  for (int64_t i = 0; i < query.rows * V::lanes; ++i) {
    best[i] = -__builtin_inff();
    index[i] = 0;
  }
  for_blocks<V>(query.rows, [&](auto block, int64_t r) {
    constexpr int R = decltype(block)::value;
    float* out = transposed + r * channels;
    for (int64_t k = 0; k < channels; ++k) {
      for (int i = 0; i < R; ++i) {
        out[k * R + i] = query.x[(r + i) * query.stride + query.begin + k];
      }
    }
  });
  const int64_t bytes = kPanel * int64_t(sizeof(float)) * (channels > 0 ? channels : 1);
  const int64_t hot = kHotBytes / bytes > 1 ? kHotBytes / bytes : 1;
  for (int64_t first = query.first; first < query.last; first += hot) {
    const int64_t last = first + hot < query.last ? first + hot : query.last;
    for_blocks<V>(query.rows, [&](auto block, int64_t r) {
      constexpr int R = decltype(block)::value;
      scan<V, R>(padded, query, first, last, transposed + r * channels, best + r * V::lanes,
                 index + r * V::lanes);
    });
  }
  for (int64_t r = 0; r < query.rows; ++r) {
    V::reduce(best + r * V::lanes, index + r * V::lanes, query.scores[r], query.codes[r]);
  }
}

}  // namespace

// The screened search: scores in bfloat16, twice as many products a cycle, and exact ones only for
// codes that rounding could have robbed of their win. The codes are those of the exact search.
//
// With x = y + dx and e = f + de rounded to bfloat16, |x.e - y.f| <= |dx||e| + |y||de|; sums of n
// products in any order err by n roundings of |x||e| at most (Higham 2002, 3.5). A code stays in the
// race while its score plus that bound reaches the best score less its own bound.
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "search.h"

namespace {

using echoic::Book;
using echoic::kMaxRows;
using echoic::kPanel;
using echoic::Query;

constexpr int kRows = 12;  // x 2 vectors of sums: the registers are full
constexpr int kRoom = 80;  // candidates a row may hold; a panel brings 32 at most
constexpr int kCrowded = kRoom + 1;  // count of a row that is searched exactly
constexpr int64_t kHotBytes = 320 * 1024;
constexpr float kRounding = 0x1p-24f;

// What stands for each row while the panels pass.
struct Race {
  // A panel's bound is length_share * longest code + rounding_share * longest rounding + steady.
  float length_share[kMaxRows], rounding_share[kMaxRows], steady;
  float floor[kMaxRows];  // the best score so far, less its bound
  int count[kMaxRows];
  int32_t codes[kMaxRows][kRoom + 16];  // whole vectors are stored
  float uppers[kMaxRows][kRoom + 16];   // score plus bound

  void prune(int64_t r) {
    int kept = 0;
    for (int i = 0; i < count[r]; ++i) {
      if (uppers[r][i] >= floor[r]) {
        codes[r][kept] = codes[r][i];
        uppers[r][kept++] = uppers[r][i];
      }
    }
    count[r] = kept;
  }
};

// The channels that are looked at, in whole pairs; x is zero in the half of a pair that is not.
struct Span {
  int64_t begin, end, first_pair, pairs;

  explicit Span(const Query& query)
      : begin(query.begin), end(query.end), first_pair(query.begin / 2), pairs(0) {
    if (end > begin) pairs = (end + 1) / 2 - first_pair;
  }
};

// Rounds row r of a block of R rows into `pairs` (pair, R), and sets out its bounds.
void start(const float* x, const Span& span, int64_t r, int64_t column, int R, uint32_t* pairs,
           uint32_t* rounded_row, Race& race) {
  __m512 length = _mm512_setzero_ps(), lost = _mm512_setzero_ps();
  for (int64_t k = span.first_pair * 2; k < span.end; k += 16) {
    const int64_t before = k < span.begin ? span.begin - k : 0;
    const int64_t after = span.end - k < 16 ? span.end - k : 16;
    const __mmask16 inside = __mmask16((1u << after) - (1u << before));
    const __m512 value = _mm512_maskz_loadu_ps(inside, x + k);
    const __m256i half = (__m256i)_mm512_cvtneps_pbh(value);
    const __m512 near = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
    const __m512 rest = _mm512_sub_ps(value, near);  // without rounding
    length = _mm512_fmadd_ps(value, value, length);
    lost = _mm512_fmadd_ps(rest, rest, lost);
    _mm256_storeu_si256((__m256i*)(rounded_row + (k / 2 - span.first_pair)), half);
  }
  for (int64_t k = 0; k < span.pairs; ++k) pairs[k * R + column] = rounded_row[k];
  const float squared = _mm512_reduce_add_ps(length);
  const float width = float(span.end - span.begin) + 2;
  // Sums round width times for exact scores and up to 2 * width + 4 times here, and what is
  // compared a few times more. The hundredth pays for the roundings of all these numbers, `tiny`
  // for squares that underflow.
  const float sums = 1.01f * (3 * width + 24) * kRounding;
  const float tiny = 4e-19f * std::sqrt(width);
  const float size = 1.01f * std::sqrt(squared) + tiny;
  const float dropped = 1.01f * std::sqrt(_mm512_reduce_add_ps(lost)) + tiny;
  race.length_share[r] = dropped + sums * size;
  race.rounding_share[r] = (1 + sums) * (size + dropped);
  const bool tame = squared < 1e30f;  // beyond, scores could overflow
  race.count[r] = tame ? 0 : kCrowded;
  race.floor[r] = tame ? -__builtin_inff() : __builtin_inff();
}

// Takes the codes of a panel that may still win. Seldom called once a row has seen a few panels.
__attribute__((noinline)) void enter(Race& race, int64_t r, float bound, __m512 low, __m512 high,
                                     int32_t first) {
  if (race.count[r] == kCrowded) return;
  const float best = _mm512_reduce_max_ps(_mm512_max_ps(low, high));
  if (!(best > -__builtin_inff())) return;  // also keeps out what fills the last panel
  if (best - bound > race.floor[r]) race.floor[r] = best - bound;
  if (race.count[r] + kPanel > kRoom) race.prune(r);
  if (race.count[r] + kPanel > kRoom) {
    race.count[r] = kCrowded;
    race.floor[r] = __builtin_inff();  // nothing enters any more
    return;
  }
  const __m512 least = _mm512_set1_ps(race.floor[r] - bound);
  const __m512 spread = _mm512_set1_ps(bound);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int half = 0; half < 2; ++half) {
    const __m512 scores = half == 0 ? low : high;
    const __mmask16 open = _mm512_cmp_ps_mask(scores, least, _CMP_GE_OQ);
    const __m512i codes = _mm512_add_epi32(lane, _mm512_set1_epi32(first + 16 * half));
    const int at = race.count[r];
    // Compressing into memory takes some processors a hundred cycles, into a register three.
    _mm512_storeu_si512(race.codes[r] + at, _mm512_maskz_compress_epi32(open, codes));
    _mm512_storeu_ps(race.uppers[r] + at,
                     _mm512_maskz_compress_ps(open, _mm512_add_ps(scores, spread)));
    race.count[r] = at + __builtin_popcount(open);
  }
}

// R rows of the race, from row `r` on, against panels [first, last).
template <int R>
void pass(const Book& book, const Span& span, int64_t first, int64_t last,
          const float* last_offsets, const uint32_t* pairs, Race& race, int64_t r) {
  const int64_t stride = (book.width + 1) / 2 * kPanel * 2;
  for (int64_t panel = first; panel < last; ++panel) {
    const uint16_t* code = book.screen + panel * stride + span.first_pair * kPanel * 2;
    const uint32_t* row = pairs;
    __m512 low[R], high[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) low[i] = high[i] = _mm512_setzero_ps();
    for (int64_t k = 0; k < span.pairs; ++k, code += kPanel * 2, row += R) {
      const __m512bh a = (__m512bh)_mm512_loadu_si512(code);
      const __m512bh b = (__m512bh)_mm512_loadu_si512(code + kPanel);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const __m512bh x = (__m512bh)_mm512_set1_epi32(int32_t(row[i]));
        low[i] = _mm512_dpbf16_ps(low[i], x, a);
        high[i] = _mm512_dpbf16_ps(high[i], x, b);
      }
    }
    const float* offsets =
        panel < book.size / kPanel ? book.offsets + panel * kPanel : last_offsets;
    const __m512 a = _mm512_loadu_ps(offsets), b = _mm512_loadu_ps(offsets + 16);
    const float* limits = book.bounds + panel * 3;
    const float steady = race.steady + 16 * kRounding * limits[2];
    float bound[R], least[R];
    for (int i = 0; i < R; ++i) {
      bound[i] = race.length_share[r + i] * limits[0] + race.rounding_share[r + i] * limits[1] +
                 steady;
      least[i] = race.floor[r + i] - bound[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      low[i] = _mm512_sub_ps(low[i], a);
      high[i] = _mm512_sub_ps(high[i], b);
      const __mmask16 open =
          _mm512_cmp_ps_mask(_mm512_max_ps(low[i], high[i]), _mm512_set1_ps(least[i]), _CMP_GE_OQ);
      if (__builtin_expect(open != 0, 0)) {
        enter(race, r + i, bound[i], low[i], high[i], int32_t(panel * kPanel));
      }
    }
  }
}

// Exact scores of a row's candidates, eight sums at a time; each in the order of the channels.
void decide(const Book& book, const Query& query, const Race& race, int64_t r) {
  const float* x = query.x + r * query.stride;
  const int32_t* codes = race.codes[r];
  float score = -__builtin_inff();
  int32_t code = 0;
  for (int i = 0; i < race.count[r]; i += 8) {
    const int some = race.count[r] - i < 8 ? race.count[r] - i : 8;
    const float* e[8];
    float sums[8] = {};
    for (int j = 0; j < 8; ++j) e[j] = book.codes + codes[i + (j < some ? j : 0)] * book.width;
    for (int64_t k = query.begin; k < query.end; ++k) {
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) sums[j] = __builtin_fmaf(x[k], e[j][k], sums[j]);
    }
    for (int j = 0; j < some; ++j) {  // candidates stand in the order of their codes
      const float own = sums[j] - book.offsets[codes[i + j]];
      if (own > score) {
        score = own;
        code = codes[i + j];
      }
    }
  }
  query.scores[r] = score;
  query.codes[r] = code;
}

// Searches the crowded rows exactly, side by side.
void search_crowded(const Book& book, const Query& query, const Race& race, float* scratch) {
  int64_t which[kMaxRows], crowded = 0;
  float scores[kMaxRows];
  int32_t codes[kMaxRows];
  for (int64_t r = 0; r < query.rows; ++r) {
    if (race.count[r] != kCrowded) continue;
    std::memcpy(scratch + crowded * book.width, query.x + r * query.stride,
                sizeof(float) * book.width);
    which[crowded++] = r;
  }
  if (crowded == 0) return;
  Query some = query;
  some.x = scratch;
  some.stride = book.width;
  some.rows = crowded;
  some.scores = scores;
  some.codes = codes;
  echoic::search_avx512(book, some, scratch + crowded * book.width);
  for (int64_t i = 0; i < crowded; ++i) {
    query.scores[which[i]] = scores[i];
    query.codes[which[i]] = codes[i];
  }
}

// Calls visit.operator()<R>(first row) for blocks of rows.
template <class Visit>
void for_blocks(int64_t rows, Visit visit) {
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) visit.template operator()<kRows>(r);
  for (; r + 4 <= rows; r += 4) visit.template operator()<4>(r);
  for (; r + 2 <= rows; r += 2) visit.template operator()<2>(r);
  for (; r < rows; ++r) visit.template operator()<1>(r);
}

}  // namespace

namespace echoic {

void screen_avx512_bf16(const Book& book, const Query& query, float* scratch) {
  const Span span(query);
  uint32_t* pairs = reinterpret_cast<uint32_t*>(scratch);
  uint32_t* row = pairs + query.rows * span.pairs;
  Race race;
  race.steady = float(book.width + 2) * 0x1p-120f;  // what underflow takes
  for_blocks(query.rows, [&]<int R>(int64_t r) {
    for (int i = 0; i < R; ++i) {
      start(query.x + (r + i) * query.stride, span, r + i, i, R, pairs + r * span.pairs, row, race);
    }
  });
  float last_offsets[kPanel];
  for (int64_t j = 0; j < kPanel; ++j) {
    const int64_t code = book.size / kPanel * kPanel + j;
    last_offsets[j] = code < book.size ? book.offsets[code] : __builtin_inff();
  }
  const int64_t bytes = kPanel * 4 * (span.pairs > 0 ? span.pairs : 1);
  const int64_t hot = kHotBytes / bytes > 1 ? kHotBytes / bytes : 1;
  for (int64_t first = query.first; first < query.last; first += hot) {
    const int64_t last = first + hot < query.last ? first + hot : query.last;
    for_blocks(query.rows, [&]<int R>(int64_t r) {
      pass<R>(book, span, first, last, last_offsets, pairs + r * span.pairs, race, r);
    });
  }
  for (int64_t r = 0; r < query.rows; ++r) {
    if (race.count[r] == kCrowded) continue;
    race.prune(r);
    if (race.count[r] == 1 && !query.wants_scores) {
      query.codes[r] = race.codes[r][0];
    } else {
      decide(book, query, race, r);
    }
  }
  search_crowded(book, query, race, scratch);
}

}  // namespace echoic

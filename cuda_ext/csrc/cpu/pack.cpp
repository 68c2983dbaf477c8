#include "pack.h"

#include <algorithm>
#include <cmath>

#include "bfloat16.h"
#include "parallel.h"
#include "search.h"

namespace echoic {
namespace {

// Rounds a length up when it is stored as float: a bound must never be too small.
float upper(double length) { return static_cast<float>(length * (1.0 + 1e-6)); }

void pack_panel(const float* codes, int64_t count, int64_t width, float* half_norms, float* panel) {
  double sums[kPanel] = {};
  for (int64_t k = 0; k < width; ++k) {
    float* out = panel + k * kPanel;
    for (int64_t j = 0; j < kPanel; ++j) out[j] = j < count ? codes[j * width + k] : 0.0f;
    for (int64_t j = 0; j < kPanel; ++j) sums[j] += double(out[j]) * double(out[j]);
  }
  for (int64_t j = 0; j < count; ++j) half_norms[j] = static_cast<float>(0.5 * sums[j]);
}

void screen_panel(const float* codes, const float* offsets, int64_t count, int64_t width,
                  uint16_t* screen, float* bounds) {
  double longest = 0, rounding = 0, offset = 0;
  std::fill(screen, screen + (width + 1) / 2 * kPanel * 2, uint16_t{0});
  for (int64_t j = 0; j < count; ++j) {
    double length = 0, rest = 0;
    for (int64_t k = 0; k < width; ++k) {
      const float value = codes[j * width + k];
      const uint16_t half = to_bfloat16(value);
      screen[(k / 2 * kPanel + j) * 2 + k % 2] = half;
      const double lost = double(value) - double(from_bfloat16(half));
      length += double(value) * double(value);
      rest += lost * lost;
    }
    longest = std::max(longest, length);
    rounding = std::max(rounding, rest);
    offset = std::max(offset, std::fabs(double(offsets[j])));
  }
  bounds[0] = upper(std::sqrt(longest));
  bounds[1] = upper(std::sqrt(rounding));
  bounds[2] = upper(offset);
}

// Calls each(book, panel, first code, count of codes) for all panels of all books.
template <class Each>
void for_panels(int64_t books, int64_t size, const Each& each) {
  const int64_t panels = (size + kPanel - 1) / kPanel;
  parallel_tasks(books * panels, [&](int64_t task) {
    const int64_t panel = task % panels;
    each(task / panels, task, panel * kPanel, std::min(kPanel, size - panel * kPanel));
  });
}

}  // namespace

void pack(const float* codes, int64_t books, int64_t size, int64_t width, float* half_norms,
          float* panels) {
  for_panels(books, size, [&](int64_t book, int64_t panel, int64_t first, int64_t count) {
    pack_panel(codes + (book * size + first) * width, count, width,
               half_norms + book * size + first, panels + panel * width * kPanel);
  });
}

void pack_screen(const float* codes, const float* offsets, int64_t books, int64_t size,
                 int64_t width, uint16_t* screen, float* bounds) {
  const int64_t halves = (width + 1) / 2 * kPanel * 2;
  for_panels(books, size, [&](int64_t book, int64_t panel, int64_t first, int64_t count) {
    screen_panel(codes + (book * size + first) * width, offsets + book * size + first, count,
                 width, screen + panel * halves, bounds + panel * 3);
  });
}

}  // namespace echoic

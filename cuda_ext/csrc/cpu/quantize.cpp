#include "quantize.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "isa.h"
#include "parallel.h"

namespace echoic {
namespace {

constexpr int64_t kBlock = 12;  // rows that pass at once in the widest kernel
// Books beyond this do not stay in a shared cache: threads better share the rows of one pass.
constexpr int64_t kBigBookBytes = 8 << 20;
// A thread woken for less than this many bytes of codes saves some microseconds, and costs many
// milliseconds where its processor is busy with something else.
constexpr int64_t kShareBytes = 4 << 20;
// Nor does one for a tile of fewer products than this.
constexpr int64_t kTileProducts = 4 << 20;

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float[], Free>;

Buffer allocate(int64_t floats) {
  const int64_t bytes = (std::max<int64_t>(floats, 1) * 4 + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, bytes);
  if (memory == nullptr) std::abort();  // as the allocator of torch would end it
  return Buffer(static_cast<float*>(memory));
}

bool all_finite(const float* x, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bad |= (bits & 0x7f800000u) == 0x7f800000u;
  }
  return bad == 0;
}

// Channels [begin, end) of a slice that a mask leaves: what is zero adds nothing to any score.
void span_of_mask(const float* mask, int64_t width, int64_t& begin, int64_t& end) {
  begin = 0;
  end = width;
  if (mask == nullptr) return;
  while (end > 0 && mask[end - 1] == 0.0f) --end;
  while (begin < end && mask[begin] == 0.0f) ++begin;
}

// |seen - chosen|² in 16 sums, whatever the compiler's vectors are, and the residual's next state.
float subtract(const float* seen, const float* chosen, int64_t width, float* residual,
               float* quantized, bool first) {
  float sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= width; i += 16) {
    for (int64_t j = 0; j < 16; ++j) {
      const float rest = seen[i + j] - chosen[i + j];
      sums[j] += rest * rest;
    }
  }
  for (int64_t j = 0; i + j < width; ++j) {
    const float rest = seen[i + j] - chosen[i + j];
    sums[j] += rest * rest;
  }
  for (i = 0; i < width; ++i) residual[i] -= chosen[i];
  for (i = 0; i < width; ++i) quantized[i] = first ? chosen[i] : quantized[i] + chosen[i];
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
  }
  return sums[0];
}

// The residual of rows [first, first + count) while all layers pass over them.
class Tile {
 public:
  Tile(const Quantize& job, int64_t first, int64_t count)
      : job_(job),
        first_(first),
        count_(count),
        residual_(allocate(job.quantized != nullptr ? count * job.width : 0)),
        masked_(allocate(job.masked > 0 ? count * job.width : 0)),
        chosen_(allocate(job.width)) {
    if (job.quantized != nullptr) {
      std::memcpy(residual_.get(), x(), sizeof(float) * count * job.width);
    }
  }

  const float* x() const { return job_.x + first_ * job_.width; }

  // What a layer looks at.
  const float* seen(int64_t layer) {
    if (layer >= job_.masked) return layer == 0 ? x() : residual_.get();
    const float* mask = job_.masks + layer * job_.width;
    for (int64_t r = 0; r < count_; ++r) {
      for (int64_t i = 0; i < job_.width; ++i) {
        masked_[r * job_.width + i] = x()[r * job_.width + i] * mask[i];
      }
    }
    return masked_.get();
  }

  Query query(const float* seen, int64_t layer, int64_t group) const {
    const int64_t slice = job_.slice();
    Query query{};
    query.x = seen + group * slice;
    query.stride = job_.width;
    query.rows = count_;
    const float* mask =
        layer < job_.masked ? job_.masks + layer * job_.width + group * slice : nullptr;
    span_of_mask(mask, slice, query.begin, query.end);
    query.last = job_.book(layer, group).num_panels();
    return query;
  }

  // Takes the codes (groups, count) of a layer: writes them, and moves the residual on.
  void apply(int64_t layer, const float* seen, const int32_t* codes) {
    const int64_t slice = job_.slice();
    for (int64_t r = 0; r < count_; ++r) {
      const int64_t row = first_ + r;
      for (int64_t g = 0; g < job_.groups; ++g) {
        const int64_t code = codes[g * count_ + r];
        job_.codes[(row * job_.layers + layer) * job_.groups + g] = code;
        if (job_.quantized != nullptr) {
          std::memcpy(chosen_.get() + g * slice, job_.book(layer, g).codes + code * slice,
                      sizeof(float) * slice);
        }
      }
      if (job_.quantized == nullptr) continue;
      job_.energies[row * job_.layers + layer] =
          subtract(seen + r * job_.width, chosen_.get(), job_.width,
                   residual_.get() + r * job_.width, job_.quantized + row * job_.width, layer == 0);
    }
  }

 private:
  const Quantize& job_;
  const int64_t first_, count_;
  Buffer residual_, masked_, chosen_;
};

Search search_of(const Quantize& job) {
  return job.screen != nullptr ? current_isa().screened : current_isa().exact;
}

// All layers of one tile in one thread.
void quantize_tile(const Quantize& job, int64_t first, int64_t count) {
  const Search search = search_of(job);
  Tile tile(job, first, count);
  Buffer scratch = allocate(scratch_floats(count, job.slice()));
  Buffer scores = allocate(count);
  std::unique_ptr<int32_t[]> codes(new int32_t[job.groups * count]);
  for (int64_t layer = 0; layer < job.layers; ++layer) {
    const float* seen = tile.seen(layer);
    for (int64_t g = 0; g < job.groups; ++g) {
      Query query = tile.query(seen, layer, g);
      query.scores = scores.get();
      query.codes = codes.get() + g * count;
      search(job.book(layer, g), query, scratch.get());
    }
    tile.apply(layer, seen, codes.get());
  }
}

// One tile whose books are shared out among the threads, part by part of each layer.
void quantize_shared(const Quantize& job, int64_t first, int64_t count, int64_t parts) {
  const Search search = search_of(job);
  const int64_t tasks = parts * job.groups;
  const int64_t floats = scratch_floats(count, job.slice()) / 16 * 16 + 16;
  Tile tile(job, first, count);
  Buffer scratch = allocate(floats * tasks);
  Buffer scores = allocate(count * tasks);
  std::unique_ptr<int32_t[]> codes(new int32_t[count * tasks]);
  for (int64_t layer = 0; layer < job.layers; ++layer) {
    const float* seen = tile.seen(layer);
    parallel_tasks(tasks, [&](int64_t task) {
      const int64_t group = task / parts, part = task % parts;
      Query query = tile.query(seen, layer, group);
      const int64_t panels = query.last;
      query.first = panels * part / parts;
      query.last = panels * (part + 1) / parts;
      query.wants_scores = parts > 1;
      query.scores = scores.get() + task * count;
      query.codes = codes.get() + task * count;
      search(job.book(layer, group), query, scratch.get() + task * floats);
    });
    for (int64_t g = 0; g < job.groups; ++g) {
      for (int64_t r = 0; r < count; ++r) {
        int64_t won = g * parts;  // the first of equals: it has the lower codes
        for (int64_t task = won + 1; task < (g + 1) * parts; ++task) {
          if (scores[task * count + r] > scores[won * count + r]) won = task;
        }
        codes[g * count + r] = codes[won * count + r];
      }
    }
    tile.apply(layer, seen, codes.get());
  }
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Book Quantize::book(int64_t layer, int64_t group) const {
  const int64_t index = layer * groups + group, width = slice();
  Book book{};
  book.size = size;
  book.width = width;
  const int64_t panels_of_book = book.num_panels();
  book.codes = codebooks + index * size * width;
  book.offsets = offsets + index * size;
  book.panels = panels + index * panels_of_book * width * kPanel;
  if (screen != nullptr) {
    book.screen = screen + index * panels_of_book * ((width + 1) / 2) * kPanel * 2;
    book.bounds = bounds + index * panels_of_book * 3;
  }
  return book;
}

bool quantize(const Quantize& job) {
  const int64_t threads = num_threads();
  const int64_t layer_bytes = job.size * job.width * int64_t(sizeof(float));
  const bool big = layer_bytes / job.groups > kBigBookBytes;
  int64_t tile_rows = kMaxRows;
  if (!big) {  // small books may pass once per thread
    const int64_t products_of_row = std::max<int64_t>(job.layers * job.size * job.width, 1);
    const int64_t even = ceil_div(job.rows, threads);
    const int64_t rows = std::max(even, ceil_div(kTileProducts, products_of_row));
    tile_rows = std::min(ceil_div(rows, kBlock) * kBlock, kMaxRows);
  }
  const int64_t tiles = ceil_div(job.rows, tile_rows);
  const int64_t useful = std::min(threads, layer_bytes / kShareBytes);
  const int64_t parts = std::min(ceil_div(useful, job.groups), ceil_div(job.size, kPanel));
  std::atomic<bool> finite{true};
  if (tiles < threads && useful > 1 && parts * job.groups > tiles) {
    for (int64_t first = 0; first < job.rows; first += tile_rows) {
      const int64_t count = std::min(tile_rows, job.rows - first);
      if (!all_finite(job.x + first * job.width, count * job.width)) return false;
      quantize_shared(job, first, count, parts);
    }
    return true;
  }
  parallel_tasks(tiles, [&](int64_t tile) {
    const int64_t first = tile * tile_rows;
    const int64_t count = std::min(tile_rows, job.rows - first);
    if (!finite.load(std::memory_order_relaxed)) return;
    if (!all_finite(job.x + first * job.width, count * job.width)) {
      finite.store(false);
      return;
    }
    quantize_tile(job, first, count);
  });
  return finite.load();
}

}  // namespace echoic

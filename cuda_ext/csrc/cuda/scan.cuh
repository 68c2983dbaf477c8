// The exact search: a tile of rows against a range of one book's codes.
//
// 256 threads stand 16 x 16. Each has R rows and 8 codes in registers, and adds up the channels of
// each pair in their order by fused multiply-add, as the CPU does: a score depends on its row and
// its code alone. Codes come through shared memory in two stages, the next one copied while this
// one is multiplied; scores never leave the registers.
#pragma once

#include <cmath>

#include "job.cuh"

namespace echoic {

constexpr int kSide = 16;             // threads of a block stand kSide x kSide
constexpr int kCodesOfThread = 8;
constexpr int kCodesOfTile = kSide * kCodesOfThread;
constexpr int kChunk = 32;            // channels of a stage
constexpr int kPitch = kChunk + 4;    // so that 8 neighbours' 16 bytes lie in different banks

__host__ __device__ constexpr int stage_floats(int rows_of_stage) {
  return kCodesOfTile * kPitch + kCodesOfTile + rows_of_stage * kPitch;
}

// Codes [first, last) of a book, and rows: in shared memory, or to be fetched with the codes.
struct Scan {
  const float* codes;    // (size, width)
  const float* offsets;  // (size)
  int first, last, width;
  const float* tile;     // rows in shared memory, `pitch` apart; or null, then:
  int pitch;
  const float* rows;     // `count` rows in global memory, `stride` apart
  int64_t stride;
  int count;
};

// Copies `count` rows of [channel, channel + kChunk) to `to`; zeros beyond them, up to `all`.
template <bool kWide>
__device__ inline void fetch(float* to, const float* from, int64_t stride, int count, int all,
                             int channel, int width) {
  constexpr int kFloats = kWide ? 4 : 1;
  constexpr int kPieces = kChunk / kFloats;
  for (int i = threadIdx.x; i < all * kPieces; i += kThreads) {
    const int row = i / kPieces, k = i % kPieces * kFloats;
    const bool there = row < count && channel + k < width;
    const float* source = there ? from + row * stride + channel + k : from;
    copy_async<4 * kFloats>(to + row * kPitch + k, source, there);
  }
}

// Adds `steps` times 4 channels to the sums.
template <int R>
__device__ inline void multiply(const float* rows, int pitch, const float* codes, int steps,
                                float (&sums)[R][kCodesOfThread]) {
#pragma unroll 2
  for (int step = 0; step < steps; ++step) {
    float4 x[R];
#pragma unroll
    for (int i = 0; i < R; ++i) {
      x[i] = *reinterpret_cast<const float4*>(rows + i * kSide * pitch + 4 * step);
    }
#pragma unroll
    for (int j = 0; j < kCodesOfThread; ++j) {
      const float4 e = *reinterpret_cast<const float4*>(codes + j * kSide * kPitch + 4 * step);
#pragma unroll
      for (int i = 0; i < R; ++i) {
        float sum = sums[i][j];
        sum = fmaf(x[i].x, e.x, sum);
        sum = fmaf(x[i].y, e.y, sum);
        sum = fmaf(x[i].z, e.z, sum);
        sums[i][j] = fmaf(x[i].w, e.w, sum);
      }
    }
  }
}

// Leaves the best score and the lowest code that has it in all 16 threads of each row.
template <int R>
__device__ inline void agree(float (&best)[R], int (&who)[R]) {
  for (int step = kSide / 2; step > 0; step /= 2) {
#pragma unroll
    for (int i = 0; i < R; ++i) {
      const float score = __shfl_xor_sync(kAllLanes, best[i], step);
      const int code = __shfl_xor_sync(kAllLanes, who[i], step);
      if (score > best[i] || (score == best[i] && code < who[i])) {
        best[i] = score;
        who[i] = code;
      }
    }
  }
}

// Searches: thread (side by side) t finds for rows t / 16 + 16 * i the best score and its code, 0
// where no score is above -inf. `stages` holds two stages; what they held before is lost.
template <int R, bool kWide>
__device__ inline void search(const Scan& scan, float* stages, float (&best)[R], int (&who)[R]) {
  const bool streamed = scan.tile == nullptr;
  const int column = threadIdx.x % kSide, line = threadIdx.x / kSide;
  const int stage_size = stage_floats(streamed ? R * kSide : 0);
  const int chunks = (scan.width + kChunk - 1) / kChunk;

  const auto start = [&](int code, int chunk, float* stage) {
    const int left = scan.last - code;
    const int count = left < kCodesOfTile ? left : kCodesOfTile;
    const int channel = chunk * kChunk;
    fetch<kWide>(stage, scan.codes + int64_t(code) * scan.width, scan.width, count, kCodesOfTile,
                 channel, scan.width);
    float* offsets = stage + kCodesOfTile * kPitch;
    if (chunk == chunks - 1 && threadIdx.x < kCodesOfTile) {
      const bool there = static_cast<int>(threadIdx.x) < count;
      copy_async<4>(offsets + threadIdx.x, scan.offsets + code + (there ? threadIdx.x : 0), there);
    }
    if (streamed) {
      fetch<kWide>(offsets + kCodesOfTile, scan.rows, scan.stride, scan.count, R * kSide, channel,
                   scan.width);
    }
  };

#pragma unroll
  for (int i = 0; i < R; ++i) {
    best[i] = -INFINITY;
    who[i] = 0;
  }
  __syncthreads();  // nobody reads a stage any more
  if (scan.first < scan.last) start(scan.first, 0, stages);
  float sums[R][kCodesOfThread] = {};
  int turn = 0, chunk = 0;
  for (int code = scan.first; code < scan.last; turn ^= 1) {
    float* stage = stages + turn * stage_size;
    wait_for_copies();
    __syncthreads();  // this stage is there for all, and all are done with the other one
    const bool done = chunk == chunks - 1;
    const int next_code = done ? code + kCodesOfTile : code;
    const int next_chunk = done ? 0 : chunk + 1;
    if (next_code < scan.last) start(next_code, next_chunk, stages + (turn ^ 1) * stage_size);

    const int left = scan.width - chunk * kChunk;
    const int steps = ((left < kChunk ? left : kChunk) + 3) / 4;
    const float* codes = stage + column * kPitch;
    if (streamed) {
      const float* rows = stage + kCodesOfTile * (kPitch + 1);
      multiply<R>(rows + line * kPitch, kPitch, codes, steps, sums);
    } else {
      multiply<R>(scan.tile + line * scan.pitch + chunk * kChunk, scan.pitch, codes, steps, sums);
    }
    if (done) {
      const float* offsets = stage + kCodesOfTile * kPitch;
#pragma unroll
      for (int j = 0; j < kCodesOfThread; ++j) {
        const int place = column + kSide * j;
        const float offset = offsets[place];
#pragma unroll
        for (int i = 0; i < R; ++i) {
          const float score = __fsub_rn(sums[i][j], offset);
          if (code + place < scan.last && score > best[i]) {
            best[i] = score;
            who[i] = code + place;
          }
          sums[i][j] = 0.0f;
        }
      }
    }
    code = next_code;
    chunk = next_chunk;
  }
  agree<R>(best, who);
}

}  // namespace echoic

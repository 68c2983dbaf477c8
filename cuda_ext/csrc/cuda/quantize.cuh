// Kernels of the residual quantization: all layers in one, or layer by layer.
#pragma once

#include "rows.cuh"
#include "scan.cuh"

namespace echoic {

// Floats of a row's group in a tile, and of a row: groups start at 16 bytes, and two rows that one
// warp reads at once lie in different banks.
__host__ __device__ inline int tile_slot(int width) { return (width + 3) / 4 * 4; }
__host__ __device__ inline int tile_pitch(int groups, int width) {
  const int floats = groups * tile_slot(width);
  return floats % 8 == 0 ? floats + 4 : floats;
}

inline int64_t fused_floats(int rows_of_thread, int groups, int width) {
  return int64_t(rows_of_thread) * kSide * tile_pitch(groups, width) + 2 * stage_floats(0);
}

inline int64_t layer_floats(int rows_of_thread) {
  return 2 * int64_t(stage_floats(rows_of_thread * kSide));
}

// 16 * R rows through all layers and groups. What the next layer sees stays in shared memory.
template <int R, bool kWide>
__global__ void __launch_bounds__(kThreads) fused_kernel(const Job job) {
  const int64_t first = int64_t(blockIdx.x) * R * kSide;
  const int64_t left = job.rows - first;
  const int count = left < R * kSide ? int(left) : R * kSide;
  const int slot = tile_slot(job.width), pitch = tile_pitch(job.groups, job.width);
  const int warp = threadIdx.x / kLanes;
  float* tile = shared_memory();
  float* stages = tile + R * kSide * pitch;

  for (int i = threadIdx.x; i < R * kSide * pitch; i += kThreads) tile[i] = 0.0f;
  for (int layer = 0; layer < job.layers; ++layer) {
    __syncthreads();  // the codes of the layer before, and the zeros, are there
    if (layer <= job.masked) {  // else what is there is what the layer before left
      for (int r = warp; r < count; r += kWarps) {
        prepare_row(job, first + r, layer, tile + r * pitch, slot);
      }
    }
    for (int group = 0; group < job.groups; ++group) {
      Scan scan{};
      scan.codes = job.book(layer, group);
      scan.offsets = job.offset(layer, group);
      scan.last = job.size;
      scan.width = job.width;
      scan.tile = tile + group * slot;
      scan.pitch = pitch;
      float best[R];
      int who[R];
      search<R, kWide>(scan, stages, best, who);
      if (threadIdx.x % kSide == 0) {
#pragma unroll
        for (int i = 0; i < R; ++i) {
          const int r = threadIdx.x / kSide + kSide * i;
          if (r < count) *job.code(first + r, layer, group) = who[i];
        }
      }
    }
    __syncthreads();
    for (int r = warp; r < count; r += kWarps) {
      settle_row(job, first + r, layer, tile + r * pitch, slot, layer >= job.masked);
    }
  }
  for (int r = warp; r < count; r += kWarps) sum_row(job, first + r);
}

// Rows (rows, groups * width) against a share of one layer's codes each: block (tile, part, group)
// notes the best of its part. `scores` and `candidates` are (groups, parts, rows).
template <int R, bool kWide>
__global__ void __launch_bounds__(kThreads)
    layer_kernel(const Job job, int layer, const float* seen, float* scores, int* candidates) {
  const int64_t first = int64_t(blockIdx.x) * R * kSide;
  const int64_t left = job.rows - first;
  const int part = blockIdx.y, parts = gridDim.y, group = blockIdx.z;
  const int tiles = (job.size + kCodesOfTile - 1) / kCodesOfTile;
  const int64_t last = int64_t(tiles) * (part + 1) / parts * kCodesOfTile;
  Scan scan{};
  scan.codes = job.book(layer, group);
  scan.offsets = job.offset(layer, group);
  scan.first = int(int64_t(tiles) * part / parts) * kCodesOfTile;
  scan.last = last < job.size ? int(last) : job.size;
  scan.width = job.width;
  scan.rows = seen + first * job.channels() + int64_t(group) * job.width;
  scan.stride = job.channels();
  scan.count = left < R * kSide ? int(left) : R * kSide;
  float best[R];
  int who[R];
  search<R, kWide>(scan, shared_memory(), best, who);
  if (threadIdx.x % kSide != 0) return;
#pragma unroll
  for (int i = 0; i < R; ++i) {
    const int r = threadIdx.x / kSide + kSide * i;
    if (r >= scan.count) continue;
    const int64_t at = (int64_t(group) * parts + part) * job.rows + first + r;
    scores[at] = best[i];
    candidates[at] = who[i];
  }
}

// Takes each row's best part; the first of equals, as it has the lower codes.
__global__ void __launch_bounds__(kThreads)
    merge_kernel(const Job job, int layer, int parts, const float* scores, const int* candidates) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= job.rows * job.groups) return;
  const int group = int(i / job.rows);
  const int64_t row = i % job.rows;
  const int64_t start = int64_t(group) * parts * job.rows + row;
  int64_t won = start;
  for (int part = 1; part < parts; ++part) {
    const int64_t at = start + part * job.rows;
    if (scores[at] > scores[won]) won = at;
  }
  *job.code(row, layer, group) = candidates[won];
}

// Between the layers: a warp a row, 8 rows a block.
__global__ void __launch_bounds__(kThreads) prepare_kernel(const Job job, int layer, float* seen) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (row < job.rows) prepare_row(job, row, layer, seen + row * job.channels(), job.width);
}

__global__ void __launch_bounds__(kThreads)
    settle_kernel(const Job job, int layer, float* seen, bool keep) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (row < job.rows) settle_row(job, row, layer, seen + row * job.channels(), job.width, keep);
}

__global__ void __launch_bounds__(kThreads) sum_kernel(const Job job) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (row < job.rows) sum_row(job, row);
}

}  // namespace echoic

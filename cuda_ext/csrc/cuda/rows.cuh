// One row between two searches, by one warp: what a layer sees, what its codes leave of it.
// Channel k of group g of a row lies at row[g * slot + k]; channels beyond the width stay zero.
#pragma once

#include "job.cuh"

namespace echoic {

// Writes what `layer` sees: x times its mask, or what the codes of all earlier layers left.
__device__ inline void prepare_row(const Job& job, int64_t row, int layer, float* seen, int slot) {
  const int lane = threadIdx.x % kLanes;
  for (int g = 0; g < job.groups; ++g) {
    const int64_t first = int64_t(g) * job.width;
    const float* x = job.x + row * job.channels() + first;
    for (int k = lane; k < slot; k += kLanes) {
      float value = 0.0f;
      if (k < job.width) {
        value = x[k];
        if (layer < job.masked) {
          value *= job.masks[layer * job.channels() + first + k];
        } else {
          for (int q = 0; q < layer; ++q) value -= job.chosen(row, q, g)[k];
        }
      }
      seen[g * slot + k] = value;
    }
  }
}

// Takes the codes of `layer` off what it saw: notes the energy of the rest, and keeps the rest in
// `seen` where the next layer is to see it.
__device__ inline void settle_row(const Job& job, int64_t row, int layer, float* seen, int slot,
                                  bool keep) {
  const int lane = threadIdx.x % kLanes;
  float energy = 0.0f;
  for (int g = 0; g < job.groups; ++g) {
    const float* chosen = job.chosen(row, layer, g);
    for (int k = lane; k < job.width; k += kLanes) {
      const float rest = seen[g * slot + k] - chosen[k];
      energy = fmaf(rest, rest, energy);
      if (keep) seen[g * slot + k] = rest;
    }
  }
  for (int step = kLanes / 2; step > 0; step /= 2) {
    energy += __shfl_xor_sync(kAllLanes, energy, step);
  }
  if (lane == 0) job.energies[row * job.layers + layer] = energy;
}

// Writes the sum of all layers' codes.
__device__ inline void sum_row(const Job& job, int64_t row) {
  const int lane = threadIdx.x % kLanes;
  for (int g = 0; g < job.groups; ++g) {
    float* out = job.quantized + row * job.channels() + int64_t(g) * job.width;
    for (int k = lane; k < job.width; k += kLanes) {
      float sum = job.chosen(row, 0, g)[k];
      for (int q = 1; q < job.layers; ++q) sum += job.chosen(row, q, g)[k];
      out[k] = sum;
    }
  }
}

}  // namespace echoic

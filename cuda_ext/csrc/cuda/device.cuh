// The few things that a kernel says in assembly. Tests that run the kernels on a CPU, thread by
// thread, bring their own and define ECHOIC_ON_HOST.
#pragma once

#include <cstdint>

#ifndef ECHOIC_ON_HOST

namespace echoic {

// The block's shared memory, as much as it was started with.
__device__ inline float* shared_memory() {
  extern __shared__ float4 echoic_shared[];
  return reinterpret_cast<float*>(echoic_shared);
}

// Starts to copy 4 or 16 bytes into shared memory; zeros where `there` is false.
template <int kBytes>
__device__ inline void copy_async(void* to, const void* from, bool there) {
  static_assert(kBytes == 4 || kBytes == 16, "sizes of cp.async that are used");
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = there ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from),
                 "r"(bytes)
                 : "memory");
  }
}

// Waits until all copies that this thread started have arrived.
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

}  // namespace echoic

#endif

// Runs CUDA kernels on the CPU, so that their code can be tested where there is no GPU.
//
// Each thread of a block is a coroutine. They run one after the other, in an order that is drawn
// anew after each barrier and with warps that lag, so a barrier that is missing shows. Asynchronous copies arrive when they
// are started or only when they are waited for, by chance. Shared memory starts as NaN, and what
// lies behind it is watched.
#pragma once

#define ECHOIC_ON_HOST
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline dim3 threadIdx, blockIdx, gridDim, blockDim;

namespace on_host {

constexpr size_t kStack = 64 << 10;
constexpr size_t kGuard = 4096;
constexpr unsigned char kPoison = 0xff;  // all bits set: NaN
constexpr int kWarp = 32;

enum class Wait { kNothing, kBlock, kWarp, kEnd };

struct Copy {
  void* to;
  const void* from;
  int bytes;
  bool there;
  void arrive() const {
    if (there) {
      std::memcpy(to, from, bytes);
    } else {
      std::memset(to, 0, bytes);
    }
  }
};

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  Wait wait = Wait::kNothing;
  std::vector<Copy> copies;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<uint64_t> exchange;  // one word a thread, for what lanes of a warp tell each other
  ucontext_t scheduler;
  std::unique_ptr<unsigned char[]> shared;
  size_t shared_bytes = 0;
  std::mt19937 random{1};
  size_t current = 0;
  std::function<void()> body;
};
inline Block* block = nullptr;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "cuda_on_host: %s\n", what);
  std::abort();
}

inline void pause(Wait wait) {
  Thread& self = block->threads[block->current];
  self.wait = wait;
  swapcontext(&self.context, &block->scheduler);
}

inline void enter() {
  block->body();
  if (!block->threads[block->current].copies.empty()) fail("a thread ended with copies under way");
  pause(Wait::kEnd);
}

inline unsigned char* aligned_shared() {
  const auto address = reinterpret_cast<uintptr_t>(block->shared.get());
  return block->shared.get() + (-address & 15);
}

inline bool release(size_t begin, size_t end, Wait wait) {
  size_t waiting = 0, ended = 0;
  for (size_t i = begin; i < end; ++i) {
    waiting += block->threads[i].wait == wait;
    ended += block->threads[i].wait == Wait::kEnd;
  }
  if (waiting == 0 || waiting + ended < end - begin) return false;
  if (wait == Wait::kWarp && ended > 0) fail("lanes of a warp ended before its exchange");
  for (size_t i = begin; i < end; ++i) {
    if (block->threads[i].wait == wait) block->threads[i].wait = Wait::kNothing;
  }
  return true;
}

inline void run_block() {
  const size_t count = block->threads.size();
  std::vector<size_t> order(count);
  for (size_t i = 0; i < count; ++i) order[i] = i;
  size_t late = count;  // a warp that does not run while any other can
  while (true) {
    for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[block->random() % i]);
    bool ran = false;
    for (const size_t i : order) {
      if (block->threads[i].wait != Wait::kNothing || i / kWarp == late) continue;
      ran = true;
      block->current = i;
      threadIdx.x = unsigned(i);
      swapcontext(&block->scheduler, &block->threads[i].context);
    }
    const bool freed_all = release(0, count, Wait::kBlock);
    bool freed = freed_all;
    for (size_t w = 0; w < count; w += kWarp) freed |= release(w, w + kWarp, Wait::kWarp);
    if (!ran && !freed && late == count) break;
    if (!ran || freed_all) late = late == count ? block->random() % (2 * count / kWarp) : count;
  }
  for (const Thread& thread : block->threads) {
    if (thread.wait != Wait::kEnd) fail("threads wait for each other for ever");
  }
  for (size_t i = 0; i < kGuard; ++i) {
    if (aligned_shared()[block->shared_bytes + i] != kPoison) fail("wrote behind shared memory");
  }
}

// Runs `kernel` as <<<grid, threads, bytes>>> would.
inline void launch(dim3 grid, unsigned threads, size_t bytes, unsigned seed,
                   std::function<void()> kernel) {
  gridDim = grid;
  blockDim = {threads, 1, 1};
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        Block now;
        now.threads = std::vector<Thread>(threads);
        now.exchange.resize(threads);
        now.shared.reset(new unsigned char[bytes + kGuard + 16]);
        std::memset(now.shared.get(), kPoison, bytes + kGuard + 16);
        now.shared_bytes = bytes;
        now.random.seed(seed + x + 977 * y + 7919 * z);
        now.body = kernel;
        block = &now;
        blockIdx = {x, y, z};
        for (Thread& thread : now.threads) {
          getcontext(&thread.context);
          thread.context.uc_stack.ss_sp = thread.stack.get();
          thread.context.uc_stack.ss_size = kStack;
          thread.context.uc_link = nullptr;
          makecontext(&thread.context, enter, 0);
        }
        run_block();
        block = nullptr;
      }
    }
  }
}

template <class T>
uint64_t bits_of(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

// What `lane` of this thread's warp passes to the same call.
template <class T>
T exchange(T value, int lane) {
  const size_t self = block->current;
  block->exchange[self] = bits_of(value);
  pause(Wait::kWarp);
  const uint64_t bits = block->exchange[self / kWarp * kWarp + lane];
  pause(Wait::kWarp);  // the words may be written anew once all have read
  T out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

}  // namespace on_host

inline void __syncthreads() { on_host::pause(on_host::Wait::kBlock); }
inline void __syncwarp(unsigned = 0) { on_host::pause(on_host::Wait::kWarp); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int step) {
  return on_host::exchange(value, int(threadIdx.x % on_host::kWarp) ^ step);
}

inline unsigned __match_any_sync(unsigned, int value) {
  const size_t self = on_host::block->current, first = self / on_host::kWarp * on_host::kWarp;
  on_host::block->exchange[self] = on_host::bits_of(value);
  on_host::pause(on_host::Wait::kWarp);
  unsigned mask = 0;
  for (int lane = 0; lane < on_host::kWarp; ++lane) {
    mask |= unsigned(on_host::block->exchange[first + lane] == on_host::bits_of(value)) << lane;
  }
  on_host::pause(on_host::Wait::kWarp);
  return mask;
}

inline float __fsub_rn(float a, float b) { return a - b; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at += value;
  return before;
}

namespace echoic {

inline float* shared_memory() { return reinterpret_cast<float*>(on_host::aligned_shared()); }

template <int kBytes>
void copy_async(void* to, const void* from, bool there) {
  if (reinterpret_cast<uintptr_t>(to) % kBytes || reinterpret_cast<uintptr_t>(from) % kBytes) {
    on_host::fail("a copy is not aligned");
  }
  const auto place = static_cast<unsigned char*>(to) - on_host::aligned_shared();
  if (place < 0 || place + kBytes > ptrdiff_t(on_host::block->shared_bytes)) {
    on_host::fail("a copy goes beyond shared memory");
  }
  const on_host::Copy copy{to, from, kBytes, there};
  if (on_host::block->random() % 2 == 0) {
    copy.arrive();
  } else {
    on_host::block->threads[on_host::block->current].copies.push_back(copy);
  }
}

inline void wait_for_copies() {
  auto& copies = on_host::block->threads[on_host::block->current].copies;
  for (const on_host::Copy& copy : copies) copy.arrive();
  copies.clear();
}

}  // namespace echoic

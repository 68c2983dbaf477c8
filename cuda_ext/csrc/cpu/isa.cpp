#include "isa.h"

#include <atomic>
#include <cstring>

namespace echoic {
namespace {

#if defined(__x86_64__)
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

bool always() { return true; }

struct Choice {
  Isa isa;
  bool (*present)();
};

const Choice kChoices[] = {
#if defined(__x86_64__)
    {{"avx512_bf16", search_avx512, screen_avx512_bf16, to_bytes_avx512}, has_avx512_bf16},
    {{"avx512", search_avx512, search_avx512, to_bytes_avx512}, has_avx512},
    {{"avx2", search_avx2, search_avx2, to_bytes_avx2}, has_avx2},
#endif
    {{"portable", search_portable, search_portable, to_bytes_portable}, always},
};

const Choice& best() {
  for (const Choice& choice : kChoices) {
    if (choice.present()) return choice;
  }
  return kChoices[sizeof(kChoices) / sizeof(kChoices[0]) - 1];
}

std::atomic<const Choice*>& chosen() {
  static std::atomic<const Choice*> choice{&best()};
  return choice;
}

}  // namespace

const Isa& current_isa() { return chosen().load(std::memory_order_relaxed)->isa; }

}  // namespace echoic

extern "C" const char* echoic_isa_name(int index) {
  for (const auto& choice : echoic::kChoices) {
    if (choice.present() && index-- == 0) return choice.isa.name;
  }
  return nullptr;
}

extern "C" int echoic_use_isa(const char* name) {
  for (const auto& choice : echoic::kChoices) {
    if (choice.present() && (name == nullptr || std::strcmp(name, choice.isa.name) == 0)) {
      echoic::chosen().store(&choice);
      return 1;
    }
  }
  return 0;
}

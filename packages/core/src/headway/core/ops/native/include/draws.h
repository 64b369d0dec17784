// Which elements dropout keeps: a function of a seed and of their numbers, the same on every device.
#pragma once

#include "vectors.h"

namespace headway {

typedef uint32_t Draws __attribute__((vector_size(W * sizeof(uint32_t))));

// A 32-bit integer hash with low bias (Wellons 2018, https://nullprogram.com/blog/2018/07/31/).
template <class T>
inline T mixed(T x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

struct Dropout {
  uint32_t seed = 0;
  uint32_t threshold = 0;  // an element stays if its draw is above
  float gain = 0.0f;       // by which those that stay grow; 0 if there is no dropout

  // What elements number .. number + W are multiplied by.
  Vec factors(uint64_t number) const {
    Draws low, high = Draws{} + (uint32_t)(number >> 32);
    for (int i = 0; i < W; i++) low[i] = i;
    low += (uint32_t)number;
    // The low half may begin anew within a vector.
    high -= (Draws)(low < Draws{} + (uint32_t)number);
    const Draws draws = mixed(mixed(low) ^ high ^ seed);
    return select((Ints)(draws > Draws{} + threshold), splat(gain), Vec{});
  }
  float factor(uint64_t number) const {
    const uint32_t draw = mixed(mixed((uint32_t)number) ^ (uint32_t)(number >> 32) ^ seed);
    return draw > threshold ? gain : 0.0f;
  }
};

}  // namespace headway

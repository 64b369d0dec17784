// Dropout in one pass: nothing is stored, and the gradient draws the same numbers again.

#include "draws.h"
#include "rows.h"

using namespace headway;

namespace {

template <class T>
void drop(const T* from, T* to, long count, const Dropout& dropout, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long v = 0; v < count / W; v++)
    store_narrow(to + v * W, load_wide(from + v * W) * dropout.factors(v * W));
  for (long i = count / W * W; i < count; i++)
    narrow(widened(from[i]) * dropout.factor(i), to + i);
}

}  // namespace

HEADWAY_EXPORT void headway_dropout(const void* from, void* to, long count, const Dropout* dropout, long threads, int narrow) {
  if (narrow) drop((const bfloat16*)from, (bfloat16*)to, count, *dropout, threads);
  else drop((const float*)from, (float*)to, count, *dropout, threads);
}

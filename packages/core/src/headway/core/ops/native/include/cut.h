// How many sequences with several heads are cut into tasks for threads.
#pragma once

namespace headway {

// Ranges of sequences, and where allowed of heads. `wanted` ranges if it is not zero: sums over a range
// then do not depend on the threads. Where something is ADDED to the scores, a few sequences are visited
// head by head, so that it is made once for them and what they hold stays near; else memory is read in
// its order.
struct Cut {
  static constexpr long kNear = 4;
  long count, heads, ranges, near, head_parts;

  Cut(long count, long heads, long threads, long wanted, bool heads_apart, bool added)
      : count(count), heads(heads), ranges(wanted ? wanted : (count + kNear - 1) / kNear), near(added ? kNear : 1) {
    if (!wanted && ranges < 4 * threads) ranges = count;
    head_parts = heads_apart && ranges < 4 * threads ? heads : 1;
  }

  long tasks() const { return ranges * head_parts; }
  long range(long task) const { return task / head_parts; }

  template <class Run>
  void visit(long task, Run run) const {
    const long number = range(task), part = task % head_parts;
    const long begin = count * number / ranges, end = count * (number + 1) / ranges;
    const long first = heads * part / head_parts, last = heads * (part + 1) / head_parts;
    for (long from = begin; from < end; from += near)
      for (long head = first; head < last; head++)
        for (long at = from; at < from + near && at < end; at++) run(at, head);
  }
};

}  // namespace headway

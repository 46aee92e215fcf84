// Events in order of simulated time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lastbit::sim::engine {

// Something that happens to a task at a time.
struct Event {
  enum class Kind : std::uint32_t { kEnd, kBegin };

  double time_s;
  std::uint32_t task;
  Kind kind;

  // Later in the queue: ties go by kind (ends free what begins need), then by task number.
  [[nodiscard]] bool after(const Event& other) const {
    if (time_s != other.time_s) return time_s > other.time_s;
    if (kind != other.kind) return kind > other.kind;
    return task > other.task;
  }
};

// A binary heap, earliest event on top.
class EventQueue {
 public:
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] const Event& top() const { return heap_.front(); }
  void push(const Event& event) {
    heap_.push_back(event);
    std::push_heap(heap_.begin(), heap_.end(), [](const Event& a, const Event& b) { return a.after(b); });
  }
  Event pop() {
    std::pop_heap(heap_.begin(), heap_.end(), [](const Event& a, const Event& b) { return a.after(b); });
    const Event event = heap_.back();
    heap_.pop_back();
    return event;
  }

 private:
  std::vector<Event> heap_;
};

}  // namespace lastbit::sim::engine

// Asynchronous operations that a thread issues, commits in groups and waits for: cp.async, wgmma, bulk stores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace lastbit::simt {

enum class GroupKind : std::uint8_t { kCopy, kProduct, kBulkStore };
inline constexpr std::size_t kGroupKinds = 3;

class AsyncGroups {
 public:
  // `end` is called once the operation is known to have ended: when it is waited for.
  void add(std::function<void()> end) { open_.push_back(std::move(end)); }
  void commit() {
    committed_.push_back(std::move(open_));
    open_.clear();
  }
  // Until at most `left` groups, the youngest, may be running. What is not committed is not waited for.
  void wait(std::size_t left) {
    while (committed_.size() > left) {
      for (const std::function<void()>& end : committed_.front()) end();
      committed_.erase(committed_.begin());
    }
  }
  [[nodiscard]] bool empty() const {
    if (!open_.empty()) return false;
    for (const auto& group : committed_)
      if (!group.empty()) return false;
    return true;
  }

 private:
  std::vector<std::function<void()>> open_;
  std::vector<std::vector<std::function<void()>>> committed_;
};

}  // namespace lastbit::simt
